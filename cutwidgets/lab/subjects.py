"""The model and the data of a study, checked, and how well the model does on them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import keras
import numpy as np

from ..blocks.blocks import Block
from ..errors import CutwidgetsError
from ..graph.interpreter import compute
from ..inference.backend import compiled, finite, in_batches
from ..inference.inputs import as_inputs
from ..structure.anatomy import Anatomy, anatomy
from ..surgery.removal import removable
from .answers import Answers, answers
from .labels import MEASURES, as_labels, labels_of

EXAMPLES_AT_ONCE = 256

_ELEMENTS_AT_ONCE = 2**19  # of the input: 3 photographs of 224 by 224, about a second of ResNet50


@dataclass(frozen=True, slots=True)
class Subject:
    """A model and data that fit it.

    Attributes:
        anatomy: The anatomy of the model.
        inputs: Arrays for the model's inputs, by their indices in the call graph.
        labels: The correct outputs; `None` if there are none.
        kind: What `score` measures. `"error"`: the share of wrong answers, where each example, or
            each position, has one class. `"wrong decisions"`: the share of wrong ones among the
            decisions between yes and no, where an example can have several classes. `"squared
            error"`: its mean, for numbers. `"change"`, without labels: the length of the difference
            from the whole model's output, as a share of that output's length.
        answers: How the output is to be read.
    """

    anatomy: Anatomy
    inputs: Mapping[int, np.ndarray]
    labels: np.ndarray | None
    kind: str
    answers: Answers

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

    @property
    def output_classes(self) -> int | None:
        """The length of the output's axis of classes."""
        graph = self.anatomy.graph
        return graph.tensors[graph.outputs[0]].shape[self.answers.axis]

    @property
    def chance(self) -> float | None:
        """The lowest `score` of an answer that is the same for all examples, for classes."""
        if self.labels is None or self.kind not in ("error", "wrong decisions"):
            return None
        if self.kind == "error":
            return 1 - float(np.bincount(self.labels.ravel()).max() / self.labels.size)
        others = tuple(i for i in range(self.labels.ndim) if i != self.answers.axis)
        share = self.labels.mean(others)
        return float(np.minimum(share, 1 - share).mean())

    def shuffled(self, seed: int = 0) -> np.ndarray:
        """The positions of the examples in a random order that depends only on what they are.

        Data often come sorted by class. However they come, the order in which they are taken is the
        same.
        """
        labels = [] if self.labels is None else [self.labels]
        fingerprints = self.fingerprints(str(seed).encode(), labels)
        return np.array(sorted(range(self.size), key=fingerprints.__getitem__))

    def fingerprints(self, key: bytes = b"", others: Sequence[np.ndarray] = ()) -> list[bytes]:
        """Bytes for each example, which are the same only for the same inputs.

        Args:
            key: Another key gives other bytes.
            others: Arrays with the batch axis that belong to the examples too.
        """
        arrays = [np.ascontiguousarray(array) for array in (*self.inputs.values(), *others)]
        fingerprints = []
        for i in range(self.size):
            digest = hashlib.blake2b(key=key, digest_size=16)
            for array in arrays:
                text = array.dtype.kind in "OSU"
                digest.update(repr(array[i]).encode() if text else array[i].tobytes())
            fingerprints.append(digest.digest())
        return fingerprints

    def some(self, seed: int = 0) -> tuple[dict[int, np.ndarray], np.ndarray]:
        """Up to 256 examples, drawn as `shuffled` does: their inputs and labels."""
        chosen = self.shuffled(seed)[:EXAMPLES_AT_ONCE]
        inputs = {index: array[chosen] for index, array in self.inputs.items()}
        return inputs, self.targets[chosen]

    @property
    def targets(self) -> np.ndarray:
        """The labels in the dtype in which `the_loss` reads them: float32 or int32."""
        assert self.labels is not None
        return self.labels.astype("float32" if self.labels.dtype.kind == "f" else "int32")

    def computed(self, function: Callable[[Mapping[int, Any]], Any]) -> np.ndarray:
        """Apply a function of tensors to all examples, in batches.

        Args:
            function: A compiled function from tensors, by the indices of the model's inputs, to one
                with the batch axis.

        Raises:
            CutwidgetsError: If a layer does not accept these values, or the result is not finite.
        """
        return finite(self.anatomy.name, in_batches(function, self.inputs, self.at_once))

    def output(self) -> np.ndarray:
        """The model's own output for all examples.

        Raises:
            CutwidgetsError: If a layer does not accept these values, or the result is not finite.
        """
        graph = self.anatomy.graph
        return self.computed(compiled(lambda values: compute(graph, graph.outputs, values)[0]))

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
        if self.kind == "wrong decisions":
            return float(np.mean(self.answers.decisions(output) != self.labels))
        return float(np.mean(self.answers.classes(output) != self.labels))


def subject(model: keras.Model, x: Any, y: Any = None, measure: str | None = None) -> Subject:
    """Check that a model can be studied, and that the data fit it.

    Args:
        model: A built functional or Sequential model with one output.
        x: Input of the model, with the batch axis: an array, or one for each input.
        y: Classes as integers or one-hot; or yes or no, 1 or 0, for each of several classes; or
            numbers of the output's shape.
        measure: One of `MEASURES`; `None` to choose by the labels.

    Raises:
        CutwidgetsError: If the data do not fit the model or the measure, or are not finite; or if a
            weight of the model is not a number.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> tiny = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> subject(tiny, np.zeros((5, 4)), [0, 1, 2, 0, 1]).kind
        'error'
    """
    case = matched(model, x, y, measure)
    # Not every output shows them: on JAX a ReLU makes zeros of them.
    for weight in model.weights:
        if "float" in str(weight.dtype) and np.isnan(keras.ops.convert_to_numpy(weight)).any():
            raise CutwidgetsError(
                f"The weight {weight.path!r} of the model {model.name!r} has values that are not "
                "finite (NaN), so there is nothing to study. The training may have diverged."
            )
    return case


def matched(model: keras.Model, x: Any, y: Any = None, measure: str | None = None) -> Subject:
    """As `subject`, for a model whatever its weights."""
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
    if measure not in (None, *MEASURES):
        raise CutwidgetsError(f"measure is one of {MEASURES}, or None. Received: {measure!r}.")
    case = Subject(model_anatomy, inputs, None, "change", answers(graph))
    if y is None:
        if measure not in (None, "change"):
            raise CutwidgetsError(f"The measure {measure!r} needs labels. Received: y=None.")
        return case
    if measure == "change":
        as_labels(y, case.size)
        return case
    case = replace(case, answers=case.answers.seen(case.output))
    labels, kind = labels_of(graph, y, case.size, case.answers, measure)
    return replace(case, labels=labels, kind=kind)


def require_other_examples(fitting: Subject, testing: Subject) -> None:
    """Refuse test examples that are also training examples.

    Raises:
        CutwidgetsError: If more than a twentieth of them are.
    """
    known = set(fitting.fingerprints())
    shared = sum(print_ in known for print_ in testing.fingerprints())
    # Some data sets hold an example twice.
    if shared > 0.05 * testing.size:
        raise CutwidgetsError(
            f"{shared:,} of the {testing.size:,} test examples are also training examples, on "
            "which a trained model is better than on others. Pass other examples as test."
        )


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


def labelled(model: keras.Model, x: Any, y: Any, measure: str | None = None) -> Subject:
    """As `subject`, for studies that need a loss.

    Raises:
        CutwidgetsError: As `subject`, and if there are no labels.
    """
    if y is None:
        raise CutwidgetsError("A loss needs labels. Received: y=None.")
    if measure == "change":
        raise CutwidgetsError("A loss needs labels, and the measure 'change' uses none.")
    return subject(model, x, y, measure)


def loss_name(case: Subject) -> str:
    """The name of the loss that `the_loss` computes."""
    if case.kind == "squared error":
        return "squared error"
    binary = case.kind == "wrong decisions" or case.output_classes == 1
    return "binary cross-entropy" if binary else "cross-entropy"


def the_loss(case: Subject, output: Any, labels: Any) -> Any:
    """The sum of the losses of all examples: cross-entropy, or squared error for numbers.

    Args:
        case: The model and the data.
        output: The model's output for the examples, a tensor.
        labels: Their labels, a tensor.
    """
    ops, from_logits = keras.ops, case.answers.activation is None
    rest = tuple(range(1, len(output.shape)))
    if case.kind == "squared error":
        return ops.sum(ops.mean((output - labels) ** 2, axis=rest))
    if case.answers.activation == "log_sigmoid":
        output = ops.exp(output)
    output = ops.moveaxis(output, case.answers.axis, -1)
    if case.kind == "wrong decisions":
        targets = ops.cast(ops.moveaxis(labels, case.answers.axis, -1), output.dtype)
        losses = ops.binary_crossentropy(targets, output, from_logits=from_logits)
    elif output.shape[-1] == 1:
        targets = ops.cast(labels, output.dtype)[..., None]
        losses = ops.binary_crossentropy(targets, output, from_logits=from_logits)
    else:
        losses = ops.sparse_categorical_crossentropy(labels, output, from_logits=from_logits)
    rest = tuple(range(1, len(losses.shape)))
    return ops.sum(ops.mean(losses, axis=rest) if rest else losses)
