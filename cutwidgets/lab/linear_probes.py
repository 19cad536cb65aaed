"""Linear probes: what a linear classifier can read from the output of each block.

Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ..blocks.blocks import Block
from ..errors import CutwidgetsError
from ..extras import needs
from ..graph.callgraph import Tensor
from ..graph.interpreter import compute
from ..inference.backend import compiled
from ..progress import track
from ..structure.anatomy import Anatomy
from ..text import percent_text
from .controls import Control, with_control
from .labels import classes_of
from .results import Result, block_frame, chance_line
from .subjects import Subject, subject


@dataclass(frozen=True, eq=False, repr=False)
class Probes(Result):
    """The accuracy of a linear classifier on the output of each block.

    Columns: block, stage, accuracy (the mean over the folds), low, high (one standard deviation of
    the folds below and above, within 0 and 1).

    Attributes:
        chance: The accuracy of always naming the largest class.
    """

    chance: float
    _from_zero = True

    @property
    def finding(self) -> str:
        """The accuracy on the first, the last and the best block."""
        accuracy = self.table["accuracy"]
        (first, low), (last, high), (best, top) = (
            (self.table["block"].iloc[i], percent_text(accuracy.iloc[i]))
            for i in (0, -1, int(accuracy.argmax()))
        )
        return (
            f"{self.name}: a linear classifier on the output of {first} is right in {low} (chance "
            f"{percent_text(self.chance)}), on that of {last} in {high}; the best is {best} with "
            f"{top}."
        )

    def _draw(self, axes: Any, colour: str) -> None:
        chance_line(axes, 100 * self.chance)
        self._curve(axes, colour, "block", "accuracy", 100, band=True)
        axes.set_ylabel("accuracy of a linear probe (%)")


def probes(
    model: keras.Model, x: Any, y: Any, folds: int = 5, seed: int = 0, *, control: Control = None
) -> Probes:
    """Train a linear classifier on the output of each block, and measure its accuracy.

    Each classifier is a logistic regression on standardised features, cross-validated over
    stratified folds. The features are the channels of a block's output, averaged over all
    positions of an image or a sequence, as a classifier after global pooling sees them. Of a block
    with several outputs the last counts. Blocks whose output is not floating-point (tokens, for
    example) or has no batch axis are left out.

    Args:
        model: A built functional or Sequential model with one output, with or without a classifier.
        x: Input of the model, with the batch axis.
        y: Classes of the examples, integers of shape (number,), or one-hot, (number, classes). They
            need not be those that the model was trained for.
        folds: Number of folds of the cross-validation.
        seed: Seed of the split.
        control: A model for comparison; `True` for `untrained(model, x)`.

    Raises:
        CutwidgetsError: If the data do not fit, there are too few examples of a class, or
            scikit-learn is not installed.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> model, (x, y) = lab.residual_network(blocks=(2,), width=4), lab.digits().test
        >>> result = lab.probes(model, x[:100], y[:100], folds=2)
        >>> result.table["block"].tolist()
        ['stem', 'stage1_block1', 'stage1_block2', 'classifier']
        >>> bool(result.table["accuracy"].max() > 2 * result.chance)
        True
    """
    with needs("lab", "A linear probe"):
        from sklearn.model_selection import StratifiedKFold, cross_val_score

    case = subject(model, x)
    labels = classes_of(y, case.size)
    if not isinstance(folds, int) or folds < 2:
        raise CutwidgetsError(
            f"Cross-validation needs 2 folds at least. Received: folds={folds!r}."
        )
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < folds:
        raise CutwidgetsError(
            f"With {folds} folds each class needs {folds} examples, but the class "
            f"{classes[counts.argmin()]} has {counts.min()}. Add examples, leave the class out, or "
            "use fewer folds."
        )
    blocks = readable(case.anatomy)
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    scores = [
        cross_val_score(classifier(), values, labels, cv=split)
        for values in track(features(case, [b.exits[-1] for b in blocks]), "training probes")
    ]
    mean, deviation = np.mean(scores, axis=1), np.std(scores, axis=1)
    table = block_frame(
        blocks,
        accuracy=mean,
        low=np.maximum(mean - deviation, 0),
        high=np.minimum(mean + deviation, 1),
    )
    result = Probes(case.anatomy.name, table, float(counts.max() / case.size))
    return with_control(result, lambda m: probes(m, x, y, folds, seed), model, x, control)


def classifier() -> Any:
    """An untrained linear classifier of scikit-learn: logistic regression.

    Example:
        >>> classifier().fit([[0.0], [1.0]], [3, 4]).predict([[2.0]])
        array([4])
    """
    with needs("lab", "A linear probe"):
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

    # The default limit of 100 steps is too low for some blocks, even with standardised features.
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000))


def readable(model_anatomy: Anatomy) -> list[Block]:
    """The blocks whose last output is floating-point, per example, with a fixed channel count.

    Raises:
        CutwidgetsError: If there are none.

    Example:
        >>> import cutwidgets as cw
        >>> from cutwidgets import lab
        >>> len(readable(cw.anatomy(lab.residual_network(blocks=(2,)))))
        4
    """
    graph = model_anatomy.graph
    batch = graph.tensors[graph.inputs[0]].shape[0]

    def is_readable(tensor: Tensor) -> bool:
        if "float" not in tensor.dtype or not tensor.shape or tensor.shape[0] != batch:
            return False
        return len(tensor.shape) == 1 or tensor.shape[graph.channel_axis] is not None

    blocks = [b for b in model_anatomy if is_readable(graph.tensors[b.exits[-1]])]
    if not blocks:
        raise CutwidgetsError(
            f"No block of the model {model_anatomy.name!r} outputs floating-point numbers for each "
            "example, so there are no features to read."
        )
    return blocks


def features(case: Subject, ends: Sequence[int]) -> list[np.ndarray]:
    """Tensors of a model for all examples, averaged over positions, in one pass.

    Args:
        case: The model and the data.
        ends: Indices of tensors with a batch axis and a fixed number of channels.

    Returns:
        For each tensor an array, float64 (number, channels).

    Raises:
        CutwidgetsError: If a layer does not accept these values, or the result is not finite.

    Example:
        >>> from cutwidgets import lab
        >>> case = subject(lab.residual_network(blocks=(2,), width=4), lab.digits().test[0][:5])
        >>> [values.shape for values in features(case, case.anatomy["stem"].exits)]
        [(5, 4)]
    """
    graph = case.anatomy.graph
    shapes = [graph.tensors[end].shape for end in ends]
    widths = [1 if len(shape) == 1 else int(shape[graph.channel_axis] or 0) for shape in shapes]

    def function(values: Mapping[int, Any]) -> Any:
        pooled = [_pooled(value, graph.channel_axis) for value in compute(graph, ends, values)]
        return keras.ops.concatenate(pooled, axis=1)

    # In float32 the classifier's solver can get stuck, and warns.
    pooled = case.computed(compiled(function)).astype("float64")
    return np.split(pooled, np.cumsum(widths)[:-1], axis=1)


def _pooled(value: Any, channel_axis: int) -> Any:
    """The channels of each example, averaged over all other axes."""
    value = keras.ops.cast(value, "float32")
    axes = len(value.shape)
    if axes == 1:
        return value[:, None]
    return keras.ops.mean(value, axis=[i for i in range(1, axes) if i != channel_axis % axes])
