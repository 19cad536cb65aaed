"""What a study looks at: a model and data that fit it, and how well the model does on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import keras
import numpy as np

from ..blocks.blocks import Block
from ..errors import CutwidgetsError
from ..inference.inputs import as_inputs
from ..structure.anatomy import Anatomy, anatomy
from ..surgery.removal import removable

EXAMPLES_AT_ONCE = 256

_ELEMENTS_AT_ONCE = 2**22  # of the input: 27 photographs of 224 by 224


@dataclass(frozen=True, slots=True)
class Subject:
    """A model and data that fit it.

    Attributes:
        anatomy: The anatomy of the model.
        given: Values of the model's inputs, by their indices in the call graph.
        labels: What the model should answer; `None` where nobody knows.
        kind: What `score` measures: `"error"`, the share of wrong answers; `"squared error"`, its
            mean, for numbers; or without labels `"change"`, by how much of its length the output
            differs from that of the whole model.
    """

    anatomy: Anatomy
    given: Mapping[int, np.ndarray]
    labels: np.ndarray | None
    kind: str

    @property
    def size(self) -> int:
        """The number of examples."""
        return len(next(iter(self.given.values())))

    @property
    def at_once(self) -> int:
        """How many examples are computed at once, in batches that are as good as equally large."""
        return ceil(self.size / ceil(self.size / self._at_most))

    @property
    def _at_most(self) -> int:
        elements = sum(value.size for value in self.given.values()) // self.size
        return max(1, min(EXAMPLES_AT_ONCE, self.size, _ELEMENTS_AT_ONCE // max(elements, 1)))

    def first_inputs(self) -> dict[int, Any]:
        """Tensors of the first examples, as many as are computed at once at most."""
        convert = keras.ops.convert_to_tensor
        return {index: convert(value[: self._at_most]) for index, value in self.given.items()}

    def first_labels(self) -> Any:
        """Their labels, a tensor."""
        assert self.labels is not None
        labels = self.labels[: self._at_most]
        return keras.ops.convert_to_tensor(
            labels.astype("float32" if labels.dtype.kind == "f" else "int32")
        )

    def score(self, output: np.ndarray, whole: np.ndarray) -> float:
        """How badly an output answers, in the measure of `kind`.

        Args:
            output: What was computed, an array with the batch axis.
            whole: The output of the whole model.
        """
        output = output.astype("float64")
        if self.labels is None:
            return float(np.linalg.norm(output - whole) / (np.linalg.norm(whole) or 1))
        if self.kind == "squared error":
            return float(np.mean((output - self.labels) ** 2))
        return float(np.mean(_answers(output, self.anatomy) != self.labels))


def subject(model: keras.Model, x: Any, y: Any = None) -> Subject:
    """A model and data, checked.

    Args:
        model: A built functional or Sequential model with one output.
        x: Input of the model, with the batch axis: an array, or as many as the model takes.
        y: Classes as integers or one-hot, or numbers of the output's shape.

    Raises:
        CutwidgetsError: If the data do not fit the model, or hold what is no number.
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> tiny = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> subject(tiny, np.zeros((5, 4)), [0, 1, 2, 0, 1]).kind
        'error'
    """
    found = anatomy(model)
    given = as_inputs(found.graph, x)
    if len(found.graph.outputs) != 1:
        raise CutwidgetsError(
            f"The model {found.name!r} has {len(found.graph.outputs)} outputs, and a study looks "
            "at one. Give keras.Model(model.inputs, model.outputs[0])."
        )
    sizes = {len(value) for value in given.values()}
    if len(sizes) > 1 or 0 in sizes:
        raise CutwidgetsError(f"A study needs as many examples for each input. Received {sizes}.")
    for index, value in given.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise CutwidgetsError(
                f"The input {found.graph.maker(index).name!r} holds "
                f"{np.count_nonzero(~np.isfinite(value)):,} values that are not finite (NaN or "
                "infinite). Drop these examples, or fill the gaps."
            )
    if y is None:
        return Subject(found, given, None, "change")
    return Subject(found, given, *labels_of(found, y, sizes.pop()))


def labels_of(found: Anatomy, y: Any, size: int) -> tuple[np.ndarray, str]:
    """Labels as integers, or numbers of the shape of the output; and how they are compared.

    Raises:
        CutwidgetsError: If they are not what the model answers.
    """
    labels = as_labels(y, size)
    shape = found.graph.tensors[found.graph.outputs[0]].shape
    if labels.ndim == len(shape) and labels.shape[-1] == 1 != shape[-1]:
        labels = labels[..., 0]  # as Keras's data sets have them
    if labels.ndim == len(shape) - 1 and shape[-1] == 1:
        labels = labels[..., np.newaxis]
    classes, whole = shape[-1] or 2, bool((labels == np.round(labels)).all())
    if labels.ndim == len(shape) - 1 and whole and classes > 1:
        if labels.min() < 0 or labels.max() >= classes:
            raise CutwidgetsError(
                f"The model {found.name!r} knows the classes 0 to {classes - 1}. Received the "
                f"labels {int(labels.min())} to {int(labels.max())}."
            )
        return labels.astype(int), "error"
    if labels.ndim != len(shape) or any(
        want not in (None, got) for want, got in zip(shape, labels.shape, strict=True)
    ):
        raise CutwidgetsError(
            f"The model {found.name!r} gives {shape}. Received labels of shape {labels.shape}: "
            "give the number of a class for each, or numbers of the output's shape."
        )
    if set(np.unique(labels)) <= {0, 1} and (classes == 1 or (labels.sum(-1) == 1).all()):
        return (labels[..., 0] if classes == 1 else labels.argmax(-1)).astype(int), "error"
    return labels.astype("float64"), "squared error"


def as_labels(y: Any, size: int) -> np.ndarray:
    """Labels as an array.

    Args:
        y: Numbers.
        size: How many examples there are.

    Raises:
        CutwidgetsError: If they are no finite numbers, or not as many.

    Example:
        >>> as_labels([3, 4], size=2)
        array([3, 4])
    """
    labels = np.asarray(y)
    if labels.dtype.kind not in "biuf" or not np.isfinite(labels).all():
        raise CutwidgetsError(f"Labels are finite numbers. Received: {y!r:.200}")
    if labels.ndim == 0 or len(labels) != size:
        raise CutwidgetsError(
            f"There are {size:,} examples, and labels of shape {labels.shape}: give as many."
        )
    return labels


def _answers(output: np.ndarray, found: Anatomy) -> np.ndarray:
    """The classes that an output names: the largest, or of a single number yes or no."""
    if output.shape[-1] > 1:
        return np.asarray(output.argmax(-1))
    return np.asarray(output[..., 0] > (0 if last_activation(found) is None else 0.5), int)


def last_activation(found: Anatomy) -> str | None:
    """`"softmax"` or `"sigmoid"`, where that is how a model's output was made; else `None`."""
    call = found.graph.maker(found.graph.outputs[0])
    name = getattr(getattr(call.layer, "activation", None), "__name__", call.kind).lower()
    return name if name in ("softmax", "sigmoid") else None


def residual_blocks(found: Anatomy) -> list[Block]:
    """The blocks whose branch and shortcut meet.

    Raises:
        CutwidgetsError: If there are none.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> residual_blocks(cw.anatomy(keras.applications.VGG16(weights=None)))
        Traceback (most recent call last):
        cutwidgets.errors.CutwidgetsError: The model 'vgg16' has no residual blocks...
    """
    blocks = [block for block in found if block.shortcut]
    if not blocks:
        kinds = ", ".join(dict.fromkeys(block.kind for block in found))
        raise CutwidgetsError(
            f"The model {found.name!r} has no residual blocks, which is what this study is about. "
            f"Its blocks are: {kinds}."
        )
    return blocks


def lesionable(found: Anatomy) -> list[Block]:
    """The blocks that can be taken out.

    Raises:
        CutwidgetsError: If there are none.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> len(lesionable(cw.anatomy(keras.applications.ResNet50(weights=None))))
        16
    """
    blocks = removable(found)
    if not blocks:
        raise CutwidgetsError(
            f"No block of the model {found.name!r} can be taken out: none has a shortcut to leave "
            "in its place, or gives the shape that it takes."
        )
    return blocks


def the_merge(found: Anatomy, block: Block) -> tuple[int, int]:
    """The tensor in which a residual block's branch and shortcut meet, and that of the shortcut."""
    assert block.merge is not None
    assert block.shortcut_tensor is not None
    return found.graph.calls[block.merge].outputs[0], block.shortcut_tensor


def labelled(model: keras.Model, x: Any, y: Any) -> Subject:
    """A model and data with labels, checked, for what asks for a loss.

    Raises:
        CutwidgetsError: If the data do not fit the model, hold what is no number, or have no
            labels.
    """
    if y is None:
        raise CutwidgetsError("A loss needs labels. Received: y=None.")
    return subject(model, x, y)


def the_loss(seen: Subject, output: Any, labels: Any) -> Any:
    """The sum of the losses of all examples: cross-entropy for classes, or squared error.

    Args:
        seen: The model and the data.
        output: What the model gives for the examples, a tensor.
        labels: Their labels, a tensor.
    """
    ops = keras.ops
    if seen.kind == "squared error":
        return ops.sum(ops.mean((output - labels) ** 2, axis=tuple(range(1, len(output.shape)))))
    from_logits = last_activation(seen.anatomy) is None
    if output.shape[-1] == 1:
        wanted = ops.cast(labels, output.dtype)[..., None]
        losses = ops.binary_crossentropy(wanted, output, from_logits=from_logits)
    else:
        losses = ops.sparse_categorical_crossentropy(labels, output, from_logits=from_logits)
    rest = tuple(range(1, len(losses.shape)))
    return ops.sum(ops.mean(losses, axis=rest) if rest else losses)


def names_of(blocks: Sequence[Block]) -> list[str]:
    """The names of blocks."""
    return [block.name for block in blocks]
