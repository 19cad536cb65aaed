"""Early exits: what a network saves where examples leave as soon as a linear probe is sure.

Teerapittayanon, McDanel, Kung 2016, "BranchyNet: fast inference via early exiting from deep neural
networks"; Kaya, Hong, Dumitraş 2019, "Shallow-deep networks: understanding and mitigating network
overthinking".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd

from ..analysis.costs import costs
from ..errors import CutwidgetsError
from ..progress import track
from ..structure.anatomy import Anatomy
from ..text import number_text, percent_text
from .labels import Subject, last_activation, subject
from .linear_probes import classes_of, classifier, features, readable
from .results import Result

_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)

_TOLERANCE = 0.005


@dataclass(frozen=True, eq=False, repr=False)
class Exits(Result):
    """How a model answers, and at what cost, if examples leave as soon as a probe is sure.

    Columns: threshold (the probability at which an example leaves), accuracy, macs (multiply-
    accumulate operations for an example, in the mean, with those of the probes that were asked),
    share (of the model's own), early (the share of the examples that left early).

    Attributes:
        whole: The accuracy where nobody leaves early.
        macs: What the model itself costs for each example.
    """

    whole: float
    macs: int

    @property
    def finding(self) -> str:
        """The cheapest threshold that costs half a point of accuracy at most."""
        begin = (
            f"{self.name}: the whole model is right in {percent_text(self.whole)} with "
            f"{number_text(self.macs, 'MACs')}"
        )
        # Half a point may be a whole number of examples.
        good = self.table[self.table["accuracy"] >= self.whole - _TOLERANCE - 1e-9]
        if good.empty:
            best = self.table.loc[self.table["accuracy"].idxmax()]
            return (
                f"{begin}; with early exits it loses more than half a point, and is right in "
                f"{percent_text(best['accuracy'])} at best."
            )
        row = good.loc[good["macs"].idxmin()]
        return (
            f"{begin}; if examples leave where a probe is sure to {row['threshold']:g}, in "
            f"{percent_text(row['accuracy'])} with {number_text(row['macs'], 'MACs')} "
            f"({percent_text(row['share'])}), and {percent_text(row['early'])} leave early."
        )

    def _draw(self, axes: Any, colour: str) -> None:
        macs, percent = self.table["macs"], 100 * self.table["accuracy"]
        axes.plot(macs, percent, "o-", color=colour, markersize=4, label=self.name)
        axes.plot(self.macs, 100 * self.whole, "*", color=colour, markersize=11)
        axes.set(xlabel="MACs for an example (star: the whole model)", ylabel="accuracy (%)")


def exits(
    model: keras.Model,
    train: tuple[Any, Any],
    test: tuple[Any, Any],
    thresholds: Sequence[float] | None = None,
) -> Exits:
    """Let examples leave a model as soon as a linear probe is sure, and measure what that saves.

    Each block has a probe as those of `lab.probes`, trained on the training examples. A test
    example leaves at the first block whose probe gives a class a probability that reaches the
    threshold, with that class as its answer. If none does it goes through the whole model, whose
    own answer it gets; where the model does not give a number for each class, that of the last
    probe. What is counted are all blocks up to the one where an example leaves, in the order of the
    anatomy, and for each probe that was asked the product of its features and classes.

    Args:
        model: A built functional or Sequential model with one output, with or without a classifier.
        train: Input of the model, with the batch axis, and classes as integers or one-hot.
        test: The same, of other examples.
        thresholds: Probabilities above 0, up to 1, where hardly any example leaves; `None` for
            twelve from 0.5 to 1.

    Raises:
        CutwidgetsError: If the data or the thresholds do not fit, or there is no block to leave at.
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> model, data = lab.residual_network(blocks=(2,), width=4), lab.digits()
        >>> found = lab.exits(model, [part[:200] for part in data.train], data.test, [0.5, 0.9])
        >>> found.table["early"].is_monotonic_decreasing
        True
    """
    asked = _asked(thresholds)
    (seen, labels), (tested, wanted) = _pair(model, train, "train"), _pair(model, test, "test")
    found = seen.anatomy
    blocks, graph = readable(found), found.graph
    answers_itself = _answers_itself(found, labels)
    if answers_itself:
        # Whoever has come to the end gets the model's own answer, which costs no probe.
        blocks = [block for block in blocks if block.name != found[-1].name]
    if not blocks or found[-1].name == blocks[0].name:
        raise CutwidgetsError(
            f"The model {found.name!r} has no block but its last that gives floating numbers for "
            "each example, so there is nowhere to leave early."
        )
    ends = [block.exits[-1] for block in blocks]
    read = features(tested, [*ends, *graph.outputs] if answers_itself else ends)
    rows = costs(model, [value.shape[1:] for value in tested.given.values()])
    passed = dict(
        zip([row.name for row in rows], np.cumsum([row.macs for row in rows]), strict=True)
    )
    sure, right, price, probing = [], [], [], 0
    columns = zip(blocks, features(seen, ends), read[: len(ends)], strict=True)
    for block, values, test_values in track(list(columns), "training probes"):
        probe = classifier().fit(values, labels)
        chances = probe.predict_proba(test_values)
        probing += probe[-1].coef_.size
        sure.append(chances.max(1))
        right.append(probe.classes_[chances.argmax(1)] == wanted)
        price.append(passed[block.name] + probing)
    if answers_itself:
        right.append(_answers(read[-1], found) == wanted)
        price.append(rows.total.macs + probing)
    else:
        sure.pop()  # the last probe answers, however sure it is
        price[-1] = rows.total.macs + probing
    table = _table(asked, np.array(sure), np.array(right), np.array(price), rows.total.macs)
    return Exits(found.name, table, float(right[-1].mean()), rows.total.macs)


def _asked(thresholds: Sequence[float] | None) -> list[float]:
    if thresholds is None:
        return list(_THRESHOLDS)
    asked = np.asarray(thresholds)
    if asked.ndim != 1 or not asked.size or asked.dtype.kind not in "iuf":
        asked = np.zeros(1)
    if not ((asked > 0) & (asked <= 1)).all():
        raise CutwidgetsError(
            "Thresholds are probabilities above 0, up to 1, in a list. "
            f"Received: thresholds={thresholds!r:.200}."
        )
    return sorted({float(threshold) for threshold in asked})


def _pair(model: keras.Model, given: Any, which: str) -> tuple[Subject, np.ndarray]:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise CutwidgetsError(f"Give {which} as a pair (x, y) of examples and classes.")
    seen = subject(model, given[0])
    return seen, classes_of(given[1], seen.size)


def _answers_itself(found: Anatomy, labels: np.ndarray) -> bool:
    """Whether a model gives a number for each of just these classes, or one for two of them."""
    shape = found.graph.tensors[found.graph.outputs[0]].shape
    classes = 2 if shape[-1] == 1 else shape[-1] or 0
    return len(shape) == 2 and set(np.unique(labels)) == set(range(classes))


def _answers(output: np.ndarray, found: Anatomy) -> np.ndarray:
    if output.shape[1] > 1:
        return np.asarray(output.argmax(1))
    return np.asarray(output[:, 0] > (0 if last_activation(found) is None else 0.5), int)


def _table(
    thresholds: Sequence[float],
    sure: np.ndarray,
    right: np.ndarray,
    price: np.ndarray,
    whole: int,
) -> pd.DataFrame:
    """A row for each threshold.

    Args:
        thresholds: When examples leave.
        sure: The largest probability of each probe for each example, (exits - 1, number).
        right: Whether the answer of each exit is right, (exits, number); the last is the end.
        price: What it costs to get there, (exits,).
        whole: What the model itself costs.
    """
    examples, rows = np.arange(right.shape[1]), []
    for threshold in thresholds:
        leaves = np.vstack([sure >= threshold, np.ones(right.shape[1], bool)])
        exit_of = leaves.argmax(0)  # the first
        macs = float(price[exit_of].mean())
        rows.append(
            {
                "threshold": threshold,
                "accuracy": float(right[exit_of, examples].mean()),
                "macs": macs,
                "share": macs / whole if whole else float("nan"),
                "early": float((exit_of < len(sure)).mean()),
            }
        )
    return pd.DataFrame(rows)
