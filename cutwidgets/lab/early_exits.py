"""Early exits: the cost saved when examples leave as soon as a linear probe is confident.

Teerapittayanon, McDanel, Kung 2016, "BranchyNet: fast inference via early exiting from deep neural
networks"; Kaya, Hong, Dumitraş 2019, "Shallow-deep networks: understanding and mitigating network
overthinking".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ..analysis.costs import costs
from ..errors import CutwidgetsError
from ..progress import track
from ..structure.anatomy import Anatomy
from ..text import number_text, percent_text
from .labels import Subject, classes_in, classes_of, subject
from .linear_probes import classifier, features, readable
from .results import Result, frame

if TYPE_CHECKING:
    import pandas as pd

_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)

_TOLERANCE = 0.005


@dataclass(frozen=True, eq=False, repr=False)
class Exits(Result):
    """Accuracy and cost of a model whose examples leave as soon as a probe is confident.

    Columns: threshold (the probability at which an example leaves), accuracy, macs (multiply-
    accumulate operations per example on average, including those of the probes it passes), share
    (of the whole model's MACs), early (the share of the examples that leave early).

    Attributes:
        whole: The accuracy if no example leaves early.
        macs: MACs of the whole model per example.
    """

    whole: float
    macs: int

    @property
    def finding(self) -> str:
        """The cheapest threshold that loses at most half a percentage point of accuracy."""
        begin = (
            f"{self.name}: the whole model is right in {percent_text(self.whole)} with "
            f"{number_text(self.macs, 'MACs')}"
        )
        # Half a point may be a whole number of examples.
        good = self.table[self.table["accuracy"] >= self.whole - _TOLERANCE - 1e-9]
        if good.empty:
            return (
                f"{begin}; with early exits it loses more than half a point: it is right in "
                f"{percent_text(self.table['accuracy'].max())} at best."
            )
        row = good.loc[good["macs"].idxmin()]
        return (
            f"{begin}; with exits at a probability of {row['threshold']:g}, in "
            f"{percent_text(row['accuracy'])} with {number_text(row['macs'], 'MACs')} "
            f"({percent_text(row['share'])}), and {percent_text(row['early'])} leave early."
        )

    def _draw(self, axes: Any, colour: str) -> None:
        self._curve(axes, colour, "macs", "accuracy", 100)
        axes.plot(self.macs, 100 * self.whole, "*", color=colour, markersize=11)
        axes.set(xlabel="MACs per example (star: the whole model)", ylabel="accuracy (%)")


def exits(
    model: keras.Model,
    train: tuple[Any, Any],
    test: tuple[Any, Any],
    thresholds: Sequence[float] | None = None,
) -> Exits:
    """Let examples leave a model as soon as a linear probe is confident; measure what that saves.

    Each block has a probe like those of `lab.probes`, fitted to the training examples. A test
    example leaves at the first block whose probe assigns to a class a probability that reaches the
    threshold; the class is its prediction. Examples that reach the end use the model's own
    prediction, or that of the last probe if the model does not output a score for each class. The
    cost is that of all blocks up to the exit, in the order of the anatomy, plus features times
    classes for each probe on the way.

    Args:
        model: A built functional or Sequential model with one output, with or without a classifier.
        train: Input of the model, with the batch axis, and classes as integers or one-hot.
        test: The same, of other examples.
        thresholds: Probabilities above 0, up to 1, where hardly any example leaves; `None` for
            twelve from 0.5 to 1.

    Raises:
        CutwidgetsError: If the data or the thresholds do not fit, there is no block to leave at, or
            scikit-learn is not installed.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> model, data = lab.residual_network(blocks=(2,), width=4), lab.digits()
        >>> result = lab.exits(model, [part[:200] for part in data.train], data.test, [0.5, 0.9])
        >>> result.table["early"].is_monotonic_decreasing
        True
    """
    thresholds = _checked(thresholds)
    (fitting, labels), (testing, truth) = _pair(model, train, "train"), _pair(model, test, "test")
    model_anatomy = testing.anatomy
    blocks, outputs = readable(model_anatomy), model_anatomy.graph.outputs
    has_classes = _has_classes(model_anatomy, labels)
    if has_classes:  # then the last block needs no probe
        blocks = [block for block in blocks if block.name != model_anatomy[-1].name]
    if not blocks or model_anatomy[-1].name == blocks[0].name:
        raise CutwidgetsError(
            f"The model {model_anatomy.name!r} has no block but its last that outputs "
            "floating-point numbers for each example, so there is nowhere to leave early."
        )
    ends = [block.exits[-1] for block in blocks]
    test_features = features(testing, [*ends, *outputs] if has_classes else ends)
    rows = costs(model, [array.shape[1:] for array in testing.inputs.values()])
    spent = np.cumsum([row.macs for row in rows])
    spent_at = dict(zip([row.name for row in rows], spent, strict=True))
    confidence, right, price, probing = [], [], [], 0
    columns = zip(blocks, features(fitting, ends), test_features[: len(ends)], strict=True)
    for block, values, test_values in track(list(columns), "training probes"):
        probe = classifier().fit(values, labels)
        probabilities = probe.predict_proba(test_values)
        probing += probe[-1].coef_.size
        confidence.append(probabilities.max(1))
        right.append(probe.classes_[probabilities.argmax(1)] == truth)
        price.append(spent_at[block.name] + probing)
    if has_classes:
        right.append(classes_in(test_features[-1], model_anatomy) == truth)
        price.append(rows.total.macs + probing)
    else:
        confidence.pop()  # the last probe predicts, however confident it is
        price[-1] = rows.total.macs + probing
    table = _table(
        thresholds, np.array(confidence), np.array(right), np.array(price), rows.total.macs
    )
    return Exits(model_anatomy.name, table, float(right[-1].mean()), rows.total.macs)


def _checked(thresholds: Sequence[float] | None) -> list[float]:
    array = np.asarray(_THRESHOLDS if thresholds is None else thresholds)
    if (
        array.ndim != 1
        or not array.size
        or array.dtype.kind not in "iuf"
        or not ((array > 0) & (array <= 1)).all()
    ):
        raise CutwidgetsError(
            "Thresholds are probabilities above 0, up to 1, in a list. "
            f"Received: thresholds={thresholds!r:.200}."
        )
    return sorted({float(threshold) for threshold in array})


def _pair(model: keras.Model, pair: Any, which: str) -> tuple[Subject, np.ndarray]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise CutwidgetsError(f"{which} must be a pair (x, y) of examples and classes.")
    case = subject(model, pair[0])
    return case, classes_of(pair[1], case.size)


def _has_classes(model_anatomy: Anatomy, labels: np.ndarray) -> bool:
    """Whether a model outputs a score for each of just these classes, or one score for two."""
    shape = model_anatomy.graph.tensors[model_anatomy.graph.outputs[0]].shape
    classes = 2 if shape[-1] == 1 else shape[-1] or 0
    return len(shape) == 2 and set(np.unique(labels)) == set(range(classes))


def _table(
    thresholds: Sequence[float],
    confidence: np.ndarray,
    right: np.ndarray,
    price: np.ndarray,
    whole: int,
) -> "pd.DataFrame":
    """A row for each threshold.

    Args:
        thresholds: The probabilities at which examples leave.
        confidence: The largest probability of each probe for each example, (exits - 1, number).
        right: Whether the prediction of each exit is right, (exits, number); the last is the end.
        price: MACs up to each exit, (exits,).
        whole: MACs of the model itself.
    """
    examples, rows = np.arange(right.shape[1]), []
    for threshold in thresholds:
        leaves = np.vstack([confidence >= threshold, np.ones(right.shape[1], bool)])
        exit_of = leaves.argmax(0)  # the first
        macs = float(price[exit_of].mean())
        accuracy = float(right[exit_of, examples].mean())
        share = macs / whole if whole else float("nan")
        rows.append((threshold, accuracy, macs, share, float((exit_of < len(confidence)).mean())))
    return frame(rows, ["threshold", "accuracy", "macs", "share", "early"])
