"""The effect of removing or swapping blocks on a model's output, without building a model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..blocks.finding import find
from ..errors import CutError
from ..graph.callgraph import CallGraph, between, connect, parameters
from ..graph.subgraph import needed, subgraph
from ..inference.forward import arrays, evaluate
from ..progress import doing
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
        """The norm of the difference divided by the norm of the model's output."""
        before, after = map(_flat, (self.before, self.after))
        return float(np.linalg.norm(after - before) / (np.linalg.norm(before) or 1))

    @property
    def cosine(self) -> float:
        """The cosine of the angle between the outputs, as vectors: 1 for the same direction."""
        before, after = map(_flat, (self.before, self.after))
        lengths = np.linalg.norm(before) * np.linalg.norm(after)
        return float(before @ after / lengths) if lengths else 0.0


def removal(
    anatomy: Anatomy, blocks: Sequence[PlaceLike], values: Mapping[int, np.ndarray]
) -> Change:
    """The outputs of a model with and without some blocks, as `cutwidgets.remove` removes them.

    Args:
        anatomy: The anatomy of the model.
        blocks: Blocks or stages.
        values: Values of the model's inputs, by their indices in the call graph.

    Raises:
        UnknownPlaceError: If the model has no such block.
        CutError: If a block cannot be removed.
        CutwidgetsError: If a layer does not accept these values.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> from cutwidgets.inference.inputs import random_input
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> values = random_input(anatomy.graph, seed=0)
        >>> removal(anatomy, ["conv3_block2"], values).after[0].shape
        (2, 1000)
    """
    smaller = without(anatomy, blocks)
    with doing("Running the model without the blocks"):
        after = evaluate(smaller, smaller.outputs, values)
    return _change(anatomy, values, after, between(smaller, smaller.outputs, ())[0])


def removed(anatomy: Anatomy, blocks: Sequence[PlaceLike]) -> Anatomy:
    """The anatomy of the model that `cutwidgets.remove` would return, which is not built.

    Raises:
        UnknownPlaceError: If the model has no such block.
        CutError: If a block cannot be removed.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> len(anatomy), len(removed(anatomy, ["conv3_block2"]))
        (18, 17)
    """
    smaller = without(anatomy, blocks)
    return _anatomy_of(subgraph(smaller, needed(smaller)))


def swapped(anatomy: Anatomy, i: int) -> Anatomy:
    """The anatomy of the model with two neighbouring blocks swapped, which is not built.

    Raises:
        CutError: If the blocks cannot change places.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> [block.name for block in swapped(anatomy, 5)][5:7]
        ['conv3_block3', 'conv3_block2']
    """
    _require_swappable(anatomy, i)
    graph, one, other = anatomy.graph, anatomy[i], anatomy[i + 1]
    (entering,), (middle,), (leaving,) = one.entries, one.exits, other.exits
    calls = list(graph.calls)
    for index, call in enumerate(calls):
        if index in one.calls:
            calls[index] = call.reading({entering: leaving})
        elif index in other.calls:
            calls[index] = call.reading({middle: entering})
        else:
            calls[index] = call.reading({leaving: middle})
    outputs = tuple(middle if tensor == leaving else tensor for tensor in graph.outputs)
    both = iter((*other.calls, *one.calls))
    moving = {*one.calls, *other.calls}
    order = [next(both) if index in moving else index for index in range(len(calls))]
    return _anatomy_of(subgraph(connect(graph, calls, outputs), order))


def _anatomy_of(graph: CallGraph) -> Anatomy:
    return Anatomy(graph.name, *find(graph), graph)


def swappable(anatomy: Anatomy) -> list[int]:
    """Positions of the blocks that can change places with the next one.

    Both keep the shape, and nothing else reads the first one's input or output.

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
    between_them, leaving = tensors[one.exits[0]], tensors[other.exits[0]]
    entering = tensors[one.entries[0]]
    return (
        other.entries == one.exits
        and len({(t.shape, t.dtype) for t in (entering, between_them, leaving)}) == 1
        and set(entering.users) <= set(one.calls)
        and set(between_them.users) <= set(other.calls)
        and not set(anatomy.graph.outputs) & {*one.entries, *one.exits}
    )


def swap(anatomy: Anatomy, i: int, values: Mapping[int, np.ndarray]) -> Change:
    """The outputs of a model as it is, and with two neighbouring blocks swapped.

    Args:
        anatomy: The anatomy of the model.
        i: Position of the first of the two blocks, one of `swappable`.
        values: Values of the model's inputs, by their indices in the call graph.

    Raises:
        CutError: If the blocks cannot change places.
        CutwidgetsError: If a layer does not accept these values.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> from cutwidgets.inference.inputs import random_input
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> values = random_input(anatomy.graph, seed=0)
        >>> change = swap(anatomy, 5, values)
        >>> change.parameters_after == change.parameters_before
        True
    """
    _require_swappable(anatomy, i)
    graph, one, other = anatomy.graph, anatomy[i], anatomy[i + 1]
    with doing("Running the head"):
        (entering,) = arrays(evaluate(graph, one.entries, values))
    with doing("Running the swapped blocks"):
        (first,) = arrays(evaluate(graph, other.exits, {one.exits[0]: entering}))
        (second,) = arrays(evaluate(graph, one.exits, {one.entries[0]: first}))
    with doing("Running the tail"):
        after = evaluate(graph, graph.outputs, {**values, other.exits[0]: second})
    return _change(anatomy, values, after, range(len(graph.calls)))


def _require_swappable(anatomy: Anatomy, i: int) -> None:
    if i not in range(len(anatomy) - 1) or not _can_swap(anatomy, i):
        pair = " and ".join(repr(block.name) for block in anatomy.blocks[max(0, i) :][:2])
        raise CutError(
            f"Cannot swap {pair}: only neighbours that keep the shape, and that nothing else "
            "bypasses, can change places."
        )


def _change(
    anatomy: Anatomy, values: Mapping[int, np.ndarray], after: list[Any], calls: Iterable[int]
) -> Change:
    """The change from the whole model to other outputs, which only some of its calls compute."""
    graph = anatomy.graph
    with doing("Running the model"):
        before = evaluate(graph, graph.outputs, values)
    return Change(
        tuple(arrays(before)),
        tuple(arrays(after)),
        parameters(graph, range(len(graph.calls))),
        parameters(graph, calls),
    )


def _flat(values: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([value.astype("float64").ravel() for value in values])
