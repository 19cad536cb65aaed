"""Linear probes: what a linear classifier can read from the output of each block.

Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd

from ..blocks.blocks import Block
from ..errors import CutwidgetsError
from ..graph.interpreter import compute
from ..inference.backend import compiled, finite, in_batches
from ..progress import track
from ..structure.anatomy import Anatomy
from ..text import percent_text
from .labels import Subject, as_labels, subject
from .results import Result, by_block


@dataclass(frozen=True, eq=False, repr=False)
class Probes(Result):
    """How often a linear classifier on the output of each block is right.

    Columns: block, stage, accuracy (the mean over the folds), low, high (one standard deviation of
    the folds below and above, within 0 and 1).

    Attributes:
        chance: How often it is right to name always the largest class.
    """

    chance: float
    _from_zero = True

    @property
    def finding(self) -> str:
        """The accuracy on the first, the last and the best block."""
        values = self.table["accuracy"]
        first, last, best = (self.table.iloc[i] for i in (0, -1, int(values.argmax())))
        return (
            f"{self.name}: a linear classifier on the output of {first['block']} is right in "
            f"{percent_text(first['accuracy'])} (chance {percent_text(self.chance)}), of "
            f"{last['block']} in {percent_text(last['accuracy'])}; at best in "
            f"{percent_text(best['accuracy'])}, of {best['block']}."
        )

    def _draw(self, axes: Any, colour: str) -> None:
        blocks, percent = self.table["block"], 100 * self.table[["accuracy", "low", "high"]]
        axes.axhline(100 * self.chance, color=colour, linewidth=0.8, linestyle=":")
        axes.plot(blocks, percent["accuracy"], "o-", color=colour, markersize=4, label=self.name)
        axes.fill_between(
            blocks, percent["low"], percent["high"], color=colour, alpha=0.2, linewidth=0
        )
        axes.set(ylabel="accuracy of a linear probe (%)")
        by_block(axes)


def probes(model: keras.Model, x: Any, y: Any, folds: int = 5, seed: int = 0) -> Probes:
    """Train a linear classifier on what each block gives, and measure how often it is right.

    Each is a logistic regression on standardised features, trained on all folds but one and
    measured on that one, in which each class has its share. Features are the channels of a block's
    output, averaged over all positions of a picture or a sequence, as a classifier behind global
    pooling sees them. Of a block with several outputs the last is looked at; blocks whose output is
    made of no floating numbers, as tokens are, or has no batch axis are left out.

    Args:
        model: A built functional or Sequential model with one output, with or without a classifier.
        x: Input of the model, with the batch axis.
        y: Classes of the examples, integers of shape (number,), or one-hot, (number, classes). They
            need not be those that the model was trained for.
        folds: Into how many parts the examples are split.
        seed: Seed of the split.

    Raises:
        CutwidgetsError: If the data do not fit, or there are too few examples of a class.
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> model, (x, y) = lab.residual_network(blocks=(2,), width=4), lab.digits().test
        >>> found = lab.probes(model, x[:100], y[:100], folds=2)
        >>> found.table["block"].tolist()
        ['stem', 'stage1_block1', 'stage1_block2', 'classifier']
        >>> bool(found.table["accuracy"].max() > 2 * found.chance)
        True
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    seen = subject(model, x)
    labels = classes_of(y, seen.size)
    counts = {int(name): int((labels == name).sum()) for name in np.unique(labels)}
    if not isinstance(folds, int) or folds < 2:
        raise CutwidgetsError(
            f"The examples are split into 2 folds at least. Received: folds={folds!r}."
        )
    rarest = min(counts, key=counts.__getitem__)
    if counts[rarest] < folds:
        raise CutwidgetsError(
            f"With {folds} folds each class needs {folds} examples, and the class {rarest} has "
            f"{counts[rarest]}. Give more of it or leave it out, or take fewer folds."
        )
    blocks = readable(seen.anatomy)
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    read = features(seen, [block.exits[-1] for block in blocks])
    rows = []
    for block, values in track(list(zip(blocks, read, strict=True)), "training probes"):
        scores = cross_val_score(classifier(), values, labels, cv=split)
        mean, deviation = float(scores.mean()), float(scores.std())
        rows.append(
            {
                "block": block.name,
                "stage": block.stage,
                "accuracy": mean,
                "low": max(mean - deviation, 0.0),
                "high": min(mean + deviation, 1.0),
            }
        )
    chance = max(counts.values()) / seen.size
    return Probes(seen.anatomy.name, pd.DataFrame(rows), chance)


def classifier() -> Any:
    """A linear classifier of scikit-learn, not trained yet: logistic regression.

    Example:
        >>> classifier().fit([[0.0], [1.0]], [3, 4]).predict([[2.0]])
        array([4])
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # The usual limit of 100 steps is too low for some blocks, even with features of one scale.
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000))


def classes_of(y: Any, size: int) -> np.ndarray:
    """Classes as integers.

    Args:
        y: Classes as integers or one-hot.
        size: How many examples there are.

    Raises:
        CutwidgetsError: If they are no classes, not as many, or all the same.

    Example:
        >>> classes_of([[0, 1], [1, 0]], size=2)
        array([1, 0])
    """
    labels = as_labels(y, size)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]  # as Keras's data sets have them
    elif labels.ndim == 2 and set(np.unique(labels)) <= {0, 1} and (labels.sum(1) == 1).all():
        labels = labels.argmax(1)
    if labels.ndim != 1 or (labels != np.round(labels)).any():
        raise CutwidgetsError(
            "A linear probe tells classes apart: give the number of a class for each example, or "
            f"one-hot. Received labels of shape {labels.shape}: {y!r:.200}"
        )
    if (labels == labels[0]).all():
        raise CutwidgetsError(
            f"A linear probe tells classes apart, and all {size:,} examples are of a single class, "
            f"{int(labels[0])}. Give examples of two classes at least."
        )
    return labels.astype(int)


def readable(found: Anatomy) -> list[Block]:
    """The blocks whose last output holds, for each example, floating numbers in known channels.

    Raises:
        CutwidgetsError: If there are none.

    Example:
        >>> import cutwidgets as cw
        >>> from cutwidgets import lab
        >>> len(readable(cw.anatomy(lab.residual_network(blocks=(2,)))))
        4
    """
    graph = found.graph
    batch = graph.tensors[graph.inputs[0]].shape[0]
    blocks = []
    for block in found:
        tensor = graph.tensors[block.exits[-1]]
        if "float" in tensor.dtype and tensor.shape and tensor.shape[0] == batch:
            fixed = len(tensor.shape) == 1 or tensor.shape[graph.channel_axis] is not None
            blocks += [block] if fixed else []
    if not blocks:
        raise CutwidgetsError(
            f"No block of the model {found.name!r} gives floating numbers for each example, so "
            "there is nothing to read from."
        )
    return blocks


def features(seen: Subject, ends: Sequence[int]) -> list[np.ndarray]:
    """What a model computes of its examples, averaged over positions, in one pass in batches.

    Args:
        seen: The model and the data.
        ends: Indices of tensors with the batch axis and a known number of channels.

    Returns:
        For each tensor an array, float64 (number, channels).

    Raises:
        CutwidgetsError: If a layer cannot take these values, or what comes out is no number.

    Example:
        >>> from cutwidgets import lab
        >>> seen = subject(lab.residual_network(blocks=(2,), width=4), lab.digits().test[0][:5])
        >>> [values.shape for values in features(seen, [seen.anatomy["stem"].exits[0]])]
        [(5, 4)]
    """
    graph = seen.anatomy.graph
    shapes = [graph.tensors[tensor].shape for tensor in ends]
    widths = [1 if len(shape) == 1 else int(shape[graph.channel_axis] or 0) for shape in shapes]

    def function(values: Mapping[int, Any]) -> Any:
        pooled = [_pooled(value, graph.channel_axis) for value in compute(graph, ends, values)]
        return keras.ops.concatenate(pooled, axis=1)

    found = in_batches(compiled(function), seen.given, seen.at_once)
    # In float32 the classifier's solver may find no way down any more, and warn.
    found = finite(seen.anatomy.name, found).astype("float64")
    return np.split(found, np.cumsum(widths)[:-1], axis=1)


def _pooled(value: Any, channel_axis: int) -> Any:
    """The channels of each example, averaged over all other axes."""
    value = keras.ops.cast(value, "float32")
    axes = len(value.shape)
    if axes == 1:
        return value[:, None]
    return keras.ops.mean(value, axis=[i for i in range(1, axes) if i != channel_axis % axes])
