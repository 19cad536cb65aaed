"""What surgery changes in a model's output, for one input: computed, without a new model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import CutError
from ..graph.callgraph import between, parameters
from ..inference.forward import arrays, evaluate
from ..structure.anatomy import Anatomy
from ..structure.places import PlaceLike
from .removal import without


@dataclass(frozen=True, slots=True)
class Change:
    """The outputs of a model before and after surgery.

    Attributes:
        before: The model's outputs, arrays with the batch axis.
        after: Those of the changed model.
        parameters_before: Number of parameters of the model.
        parameters_after: That of the changed model.
    """

    before: tuple[np.ndarray, ...]
    after: tuple[np.ndarray, ...]
    parameters_before: int
    parameters_after: int

    @property
    def largest(self) -> float:
        """The largest absolute difference between two elements."""
        return max(
            float(np.abs(a.astype("float64") - b).max(initial=0))
            for a, b in zip(self.after, self.before, strict=True)
        )

    @property
    def relative(self) -> float:
        """The length of the difference, as a vector, divided by that of the model's output."""
        before, after = map(_flat, (self.before, self.after))
        return float(np.linalg.norm(after - before) / (np.linalg.norm(before) or 1))

    @property
    def cosine(self) -> float:
        """The cosine of the angle between the outputs, as vectors: 1 for the same direction."""
        before, after = map(_flat, (self.before, self.after))
        lengths = np.linalg.norm(before) * np.linalg.norm(after)
        return float(before @ after / lengths) if lengths else 0.0


def removal(
    anatomy: Anatomy, blocks: Iterable[PlaceLike], given: Mapping[int, np.ndarray]
) -> Change:
    """What a model computes with and without some blocks, as `cutwidgets.remove` removes them.

    Args:
        anatomy: The anatomy of the model.
        blocks: Blocks or stages.
        given: Values of the model's inputs, by their indices in the call graph.

    Raises:
        UnknownPlaceError: If the model has no such block.
        CutError: If a block cannot be removed, or a layer cannot take these values.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> from cutwidgets.surgery import effects as changes
        >>> from cutwidgets.inference import forward as running
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> given = running.random_input(anatomy.graph, seed=0)
        >>> changes.removal(anatomy, ["conv3_block2"], given).after[0].shape
        (2, 1000)
    """
    graph, smaller = anatomy.graph, without(anatomy, blocks)
    before = evaluate(graph, graph.outputs, given)
    after = evaluate(smaller, smaller.outputs, given)
    left = between(smaller, smaller.outputs, ())[0]
    return _change(anatomy, before, after, parameters(smaller, left))


def swappable(anatomy: Anatomy) -> list[int]:
    """Positions of the blocks that can change places with the one behind them.

    Both take and give the same shape, and nothing else reads what enters or leaves the first.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> [anatomy[i].name for i in swappable(anatomy)][:2]
        ['conv2_block2', 'conv3_block2']
    """
    return [i for i in range(len(anatomy) - 1) if _can_swap(anatomy, i)]


def _can_swap(anatomy: Anatomy, i: int) -> bool:
    one, other = anatomy[i], anatomy[i + 1]
    tensors = anatomy.graph.tensors
    if any(len(ends) != 1 for ends in (one.entries, one.exits, other.entries, other.exits)):
        return False
    between_them, behind = tensors[one.exits[0]], tensors[other.exits[0]]
    entering = tensors[one.entries[0]]
    return (
        other.entries == one.exits
        and len({(t.shape, t.dtype) for t in (entering, between_them, behind)}) == 1
        and set(entering.users) <= set(one.calls)
        and set(between_them.users) <= set(other.calls)
        and not set(anatomy.graph.outputs) & {*one.entries, *one.exits}
    )


def swap(anatomy: Anatomy, i: int, given: Mapping[int, np.ndarray]) -> Change:
    """What a model computes as it is, and with a block and the one behind it in each other's place.

    Args:
        anatomy: The anatomy of the model.
        i: Position of the first of the two blocks, one of `swappable`.
        given: Values of the model's inputs, by their indices in the call graph.

    Raises:
        CutError: If the blocks cannot change places, or a layer cannot take these values.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> from cutwidgets.surgery import effects as changes
        >>> from cutwidgets.inference import forward as running
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> given = running.random_input(anatomy.graph, seed=0)
        >>> change = changes.swap(anatomy, 5, given)
        >>> change.parameters_after == change.parameters_before
        True
    """
    if i not in range(len(anatomy) - 1) or not _can_swap(anatomy, i):
        pair = " and ".join(repr(block.name) for block in anatomy.blocks[max(0, i) :][:2])
        raise CutError(
            f"Cannot swap {pair}: only neighbours that take and give the same shape, and that "
            "nothing else bypasses, can change places."
        )
    graph, one, other = anatomy.graph, anatomy[i], anatomy[i + 1]
    (entering,) = arrays(evaluate(graph, one.entries, given))
    (first,) = arrays(evaluate(graph, other.exits, {one.exits[0]: entering}))
    (second,) = arrays(evaluate(graph, one.exits, {one.entries[0]: first}))
    after = evaluate(graph, graph.outputs, {**given, other.exits[0]: second})
    before = evaluate(graph, graph.outputs, given)
    return _change(anatomy, before, after, _params(anatomy))


def _change(anatomy: Anatomy, before: list[Any], after: list[Any], params: int) -> Change:
    return Change(tuple(arrays(before)), tuple(arrays(after)), _params(anatomy), params)


def _params(anatomy: Anatomy) -> int:
    return parameters(anatomy.graph, range(len(anatomy.graph.calls)))


def _flat(values: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([value.astype("float64").ravel() for value in values])
