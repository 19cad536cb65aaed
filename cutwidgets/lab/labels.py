"""The model and the data of a study, checked, and how well the model does on them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import keras
import numpy as np

from ..blocks.blocks import Block
from ..errors import CutwidgetsError
from ..inference.backend import finite, in_batches
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
        inputs: Arrays for the model's inputs, by their indices in the call graph.
        labels: The correct outputs; `None` if there are none.
        kind: What `score` measures: `"error"`, the share of wrong answers; `"squared error"`, its
            mean, for numbers; or without labels `"change"`, the length of the difference from the
            whole model's output, as a share of that output's length.
    """

    anatomy: Anatomy
    inputs: Mapping[int, np.ndarray]
    labels: np.ndarray | None
    kind: str

    @property
    def size(self) -> int:
        """The number of examples."""
        return len(next(iter(self.inputs.values())))

    @property
    def at_once(self) -> int:
        """The size of a batch; all batches are of nearly equal size."""
        return ceil(self.size / ceil(self.size / self._at_most))

    @property
    def _at_most(self) -> int:
        elements = sum(array.size for array in self.inputs.values()) // self.size
        return max(1, min(EXAMPLES_AT_ONCE, self.size, _ELEMENTS_AT_ONCE // max(elements, 1)))

    def first(self) -> tuple[dict[int, Any], Any]:
        """The first examples, a full batch at most: their inputs and their labels, as tensors."""
        assert self.labels is not None
        convert, first = keras.ops.convert_to_tensor, slice(self._at_most)
        dtype = "float32" if self.labels.dtype.kind == "f" else "int32"
        inputs = {index: convert(array[first]) for index, array in self.inputs.items()}
        return inputs, convert(self.labels[first].astype(dtype))

    def computed(self, function: Callable[[Mapping[int, Any]], Any]) -> np.ndarray:
        """Apply a function of tensors to all examples, in batches.

        Args:
            function: A compiled function from tensors, by the indices of the model's inputs, to one
                with the batch axis.

        Raises:
            CutwidgetsError: If a layer does not accept these values, or the result is not finite.
        """
        return finite(self.anatomy.name, in_batches(function, self.inputs, self.at_once))

    def score(self, output: np.ndarray, whole: np.ndarray) -> float:
        """How wrong an output is, in the measure of `kind`.

        Args:
            output: An output, with the batch axis.
            whole: The output of the whole model.
        """
        output = output.astype("float64")
        if self.labels is None:
            return float(np.linalg.norm(output - whole) / (np.linalg.norm(whole) or 1))
        if self.kind == "squared error":
            return float(np.mean((output - self.labels) ** 2))
        return float(np.mean(classes_in(output, self.anatomy) != self.labels))


def subject(model: keras.Model, x: Any, y: Any = None) -> Subject:
    """Check that a model can be studied, and that the data fit it.

    Args:
        model: A built functional or Sequential model with one output.
        x: Input of the model, with the batch axis: an array, or one for each input.
        y: Classes as integers or one-hot, or numbers of the output's shape.

    Raises:
        CutwidgetsError: If the data do not fit the model, or are not finite.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> tiny = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> subject(tiny, np.zeros((5, 4)), [0, 1, 2, 0, 1]).kind
        'error'
    """
    model_anatomy = anatomy(model)
    graph = model_anatomy.graph
    inputs = as_inputs(graph, x)
    if len(graph.outputs) != 1:
        raise CutwidgetsError(
            f"The model {graph.name!r} has {len(graph.outputs)} outputs; a study needs a model "
            "with one. Pass keras.Model(model.inputs, model.outputs[0])."
        )
    sizes = {len(array) for array in inputs.values()}
    if len(sizes) > 1 or 0 in sizes:
        raise CutwidgetsError(
            f"All inputs need the same number of examples, at least one. Received: {sizes}."
        )
    for index, array in inputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise CutwidgetsError(
                f"The input {graph.maker(index).name!r} contains "
                f"{np.count_nonzero(~np.isfinite(array)):,} values that are not finite (NaN or "
                "infinite). Drop these examples, or fill the gaps."
            )
    labels, kind = (None, "change") if y is None else labels_of(model_anatomy, y, sizes.pop())
    return Subject(model_anatomy, inputs, labels, kind)


def labels_of(model_anatomy: Anatomy, y: Any, size: int) -> tuple[np.ndarray, str]:
    """Convert labels to integers, or to numbers of the output's shape; return also their `kind`.

    Raises:
        CutwidgetsError: If they do not fit the model's output.
    """
    labels, name = as_labels(y, size), model_anatomy.name
    shape = model_anatomy.graph.tensors[model_anatomy.graph.outputs[0]].shape
    if labels.ndim == len(shape) and labels.shape[-1] == 1 != shape[-1]:
        labels = labels[..., 0]  # as Keras's data sets have them
    if labels.ndim == len(shape) - 1 and shape[-1] == 1:
        labels = labels[..., np.newaxis]
    classes, whole = shape[-1] or 2, bool((labels == np.round(labels)).all())
    if labels.ndim == len(shape) - 1 and whole and classes > 1:
        if labels.min() < 0 or labels.max() >= classes:
            raise CutwidgetsError(
                f"The model {name!r} has the classes 0 to {classes - 1}. Received the labels "
                f"{int(labels.min())} to {int(labels.max())}."
            )
        return labels.astype(int), "error"
    if labels.ndim != len(shape) or any(
        fixed not in (None, length) for fixed, length in zip(shape, labels.shape, strict=True)
    ):
        raise CutwidgetsError(
            f"The model {name!r} outputs {shape}. Received labels of shape {labels.shape}: pass "
            "the number of a class for each example, or numbers of the output's shape."
        )
    if classes == 1 and set(np.unique(labels)) <= {0, 1}:
        return labels[..., 0].astype(int), "error"
    if _is_one_hot(labels):
        return labels.argmax(-1), "error"
    return labels.astype("float64"), "squared error"


def as_labels(y: Any, size: int) -> np.ndarray:
    """Convert labels to an array.

    Args:
        y: Numbers.
        size: The number of examples.

    Raises:
        CutwidgetsError: If they are not finite numbers, or not one for each example.

    Example:
        >>> as_labels([3, 4], size=2)
        array([3, 4])
    """
    labels = np.asarray(y)
    if labels.dtype.kind not in "biuf" or not np.isfinite(labels).all():
        raise CutwidgetsError(f"Labels are finite numbers. Received: {y!r:.200}")
    if labels.ndim == 0 or len(labels) != size:
        raise CutwidgetsError(
            f"There are {size:,} examples, and labels of shape {labels.shape}: pass as many."
        )
    return labels


def classes_of(y: Any, size: int) -> np.ndarray:
    """Convert classes, which need not be the model's own, to integers.

    Args:
        y: Classes as integers or one-hot.
        size: The number of examples.

    Raises:
        CutwidgetsError: If they are no classes, not one for each example, or all the same.

    Example:
        >>> classes_of([[0, 1], [1, 0]], size=2)
        array([1, 0])
    """
    labels = as_labels(y, size)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]  # as Keras's data sets have them
    elif labels.ndim == 2 and _is_one_hot(labels):
        labels = labels.argmax(1)
    if labels.ndim != 1 or (labels != np.round(labels)).any():
        raise CutwidgetsError(
            "A linear probe predicts classes: pass the number of a class for each example, or "
            f"one-hot. Received labels of shape {labels.shape}: {y!r:.200}"
        )
    if (labels == labels[0]).all():
        raise CutwidgetsError(
            f"A linear probe needs examples of two classes at least. All {size:,} examples are of "
            f"a single class, {int(labels[0])}."
        )
    return labels.astype(int)


def _is_one_hot(labels: np.ndarray) -> bool:
    return set(np.unique(labels)) <= {0, 1} and bool((labels.sum(-1) == 1).all())


def classes_in(output: np.ndarray, model_anatomy: Anatomy) -> np.ndarray:
    """The classes that an output predicts: the largest score, or yes or no for a single number."""
    if output.shape[-1] > 1:
        return np.asarray(output.argmax(-1))
    threshold = 0 if last_activation(model_anatomy) is None else 0.5
    return np.asarray(output[..., 0] > threshold, int)


def last_activation(model_anatomy: Anatomy) -> str | None:
    """`"softmax"` or `"sigmoid"` if the model ends with it, else `None`."""
    call = model_anatomy.graph.maker(model_anatomy.graph.outputs[0])
    name = getattr(getattr(call.layer, "activation", None), "__name__", call.kind).lower()
    return name if name in ("softmax", "sigmoid") else None


def residual_blocks(model_anatomy: Anatomy) -> list[Block]:
    """The blocks in which a branch and a shortcut merge.

    Raises:
        CutwidgetsError: If there are none.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> residual_blocks(cw.anatomy(keras.applications.VGG16(weights=None)))
        Traceback (most recent call last):
        cutwidgets.errors.CutwidgetsError: The model 'vgg16' has no residual blocks...
    """
    blocks = [block for block in model_anatomy if block.shortcut]
    if not blocks:
        kinds = ", ".join(dict.fromkeys(block.kind for block in model_anatomy))
        raise CutwidgetsError(
            f"The model {model_anatomy.name!r} has no residual blocks, which this study is about. "
            f"Its blocks are: {kinds}."
        )
    return blocks


def lesionable(model_anatomy: Anatomy) -> list[Block]:
    """The blocks that can be removed.

    Raises:
        CutwidgetsError: If there are none.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> len(lesionable(cw.anatomy(keras.applications.ResNet50(weights=None))))
        16
    """
    blocks = removable(model_anatomy)
    if not blocks:
        raise CutwidgetsError(
            f"No block of the model {model_anatomy.name!r} can be removed: none has a shortcut "
            "that would remain, or input and output of equal shape."
        )
    return blocks


def the_merge(model_anatomy: Anatomy, block: Block) -> tuple[int, int]:
    """The tensor in which branch and shortcut of a residual block merge, and the shortcut's own."""
    assert block.merge is not None
    assert block.shortcut_tensor is not None
    return model_anatomy.graph.calls[block.merge].outputs[0], block.shortcut_tensor


def labelled(model: keras.Model, x: Any, y: Any) -> Subject:
    """As `subject`, for studies that need a loss.

    Raises:
        CutwidgetsError: As `subject`, and if there are no labels.
    """
    if y is None:
        raise CutwidgetsError("A loss needs labels. Received: y=None.")
    return subject(model, x, y)


def the_loss(case: Subject, output: Any, labels: Any) -> Any:
    """The sum of the losses of all examples: cross-entropy for classes, or squared error.

    Args:
        case: The model and the data.
        output: The model's output for the examples, a tensor.
        labels: Their labels, a tensor.
    """
    ops = keras.ops
    if case.kind == "squared error":
        return ops.sum(ops.mean((output - labels) ** 2, axis=tuple(range(1, len(output.shape)))))
    from_logits = last_activation(case.anatomy) is None
    if output.shape[-1] == 1:
        targets = ops.cast(labels, output.dtype)[..., None]
        losses = ops.binary_crossentropy(targets, output, from_logits=from_logits)
    else:
        losses = ops.sparse_categorical_crossentropy(labels, output, from_logits=from_logits)
    rest = tuple(range(1, len(losses.shape)))
    return ops.sum(ops.mean(losses, axis=rest) if rest else losses)
