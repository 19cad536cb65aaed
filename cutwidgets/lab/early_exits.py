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
from ..text import number_text, percent_text
from .controls import Control, with_control
from .labels import classes_of
from .linear_probes import classifier, features, readable
from .results import CONTROL, Result, frame
from .subjects import Subject, require_other_examples, subject

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
        answered_by: Who answers where no example leaves early: `"model"`, or `"probe"`, a probe on
            the last block, if the model does not output a score for each of these classes.
        threshold: The cheapest threshold that loses at most half a percentage point. It is chosen
            on training examples that no probe was fitted to, not on the test examples; `None` if
            there is none.
    """

    whole: float
    macs: int
    answered_by: str
    threshold: float | None

    @property
    def finding(self) -> str:
        """The whole model, and the threshold that was chosen on training examples."""
        who = {
            "model": "the whole model",
            "probe": "a probe on the last block (these are not the classes of the model)",
        }[self.answered_by]
        begin = (
            f"{self.name}: {who} is right in {percent_text(self.whole)} with "
            f"{number_text(self.macs, 'MACs')}"
        )
        if self.threshold is None:
            return f"{begin}; with early exits it loses more than half a point at any threshold."
        row = self.table[self.table["threshold"] == self.threshold].iloc[0]
        return (
            f"{begin}; with exits at a probability of {row['threshold']:g}, chosen on training "
            f"examples, in {percent_text(row['accuracy'])} with {number_text(row['macs'], 'MACs')} "
            f"({percent_text(row['share'])}), and {percent_text(row['early'])} leave early."
        )

    def _draw(self, axes: Any, colour: str) -> None:
        self._curve(axes, colour, "macs", "accuracy", 100)
        axes.plot(self.macs, 100 * self.whole, "*", color=colour, markersize=11)
        if colour != CONTROL:
            for row in self.table.itertuples():
                axes.annotate(
                    f"{row.threshold:g}", (row.macs, 100 * row.accuracy), fontsize=6,
                    xytext=(3, -8), textcoords="offset points", color=colour,
                )  # fmt: skip
        axes.set(
            xscale="log",
            xlabel="MACs per example (number at a dot: its threshold; star: the whole model)",
            ylabel="accuracy (%)",
        )


def exits(
    model: keras.Model,
    train: tuple[Any, Any],
    test: tuple[Any, Any],
    thresholds: Sequence[float] | None = None,
    *,
    seed: int = 0,
    control: Control = None,
) -> Exits:
    """Let examples leave a model as soon as a linear probe is confident; measure what that saves.

    Each block has a probe like those of `lab.probes`, fitted to the training examples. A test
    example leaves at the first block whose probe assigns to a class a probability that reaches the
    threshold; the class is its prediction. Examples that reach the end use the model's own
    prediction, or that of the last probe if these are not the model's classes: if it does not
    output a score for each of them, or if they are some of its numbers but the model is no better
    at them than naming the most frequent one. The threshold of the finding is chosen on a fifth of
    the training examples, with probes fitted to the others.

    The cost is that of all blocks up to the exit, in the order of the anatomy, plus features times
    classes for each probe on the way.

    Args:
        model: A built functional or Sequential model with one output, with or without a classifier.
        train: Input of the model, with the batch axis, and classes as integers or one-hot.
        test: The same, of other examples.
        thresholds: Probabilities above 0, up to 1, where hardly any example leaves; `None` for
            twelve from 0.5 to 1.
        seed: Seed of the choice of the fifth.
        control: A model for comparison; `True` for `untrained(model, train[0])`.

    Raises:
        CutwidgetsError: If the data or the thresholds do not fit, test examples are also training
            examples, there is no block to leave at, or scikit-learn is not installed.
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
    require_other_examples(fitting, testing)
    model_anatomy = testing.anatomy
    blocks, outputs = readable(model_anatomy), model_anatomy.graph.outputs
    has_classes = _has_classes(fitting, labels, truth)
    if has_classes:  # then the last block needs no probe
        blocks = [block for block in blocks if block.name != model_anatomy[-1].name]
    if not blocks or model_anatomy[-1].name == blocks[0].name:
        raise CutwidgetsError(
            f"The model {model_anatomy.name!r} has no block but its last that outputs "
            "floating-point numbers for each example, so there is nowhere to leave early."
        )
    ends = [block.exits[-1] for block in blocks]
    ends += outputs if has_classes else ()
    train_features, test_features = features(fitting, ends), features(testing, ends)
    rows = costs(model, [array.shape[1:] for array in testing.inputs.values()])
    spent = np.cumsum([row.macs for row in rows])
    spent_at = dict(zip([row.name for row in rows], spent, strict=True))
    held_out, how = _held_out(labels, seed), testing.answers.seen(testing.output)
    measured = _Leaving([], [], [], held_out), _Leaving([], [], [], np.arange(len(truth)))
    probing = 0
    for i, block in enumerate(track(blocks, "training probes")):
        values, others = train_features[i], np.setdiff1d(np.arange(len(labels)), held_out)
        partial = classifier().fit(values[others], labels[others])
        measured[0].add(partial, values[held_out], labels[held_out])
        probe = classifier().fit(values, labels)
        measured[1].add(probe, test_features[i], truth)
        probing += probe[-1].coef_.size
        for one in measured:
            one.price.append(spent_at[block.name] + probing)
    for one, values, right in zip(
        measured, (train_features[-1], test_features[-1]), (labels, truth), strict=True
    ):
        if has_classes:
            answers = how.classes(values[one.examples])
            one.right.append(answers == right[one.examples])
            one.price.append(rows.total.macs + probing)
        else:
            one.confidence.pop()  # the last probe predicts, however confident it is
            one.price[-1] = rows.total.macs + probing
    chosen, table = (one.table(thresholds, rows.total.macs) for one in measured)
    result = Exits(
        model_anatomy.name,
        table,
        float(measured[1].right[-1].mean()),
        rows.total.macs,
        "model" if has_classes else "probe",
        _cheapest(chosen, float(measured[0].right[-1].mean())),
    )
    return with_control(
        result,
        lambda m: exits(m, train, test, thresholds, seed=seed),
        model,
        train[0],
        control,
    )


def _held_out(labels: np.ndarray, seed: int) -> np.ndarray:
    """The positions of about a fifth of the examples of each class, but not all of any."""
    random, held_out = np.random.default_rng(seed), []
    for label in np.unique(labels):
        own = random.permutation(np.flatnonzero(labels == label))
        held_out += own[: min(-(-len(own) // 5), len(own) - 1)].tolist()
    return np.sort(np.array(held_out, int))


def _cheapest(table: "pd.DataFrame", whole: float) -> float | None:
    """The cheapest threshold that loses at most half a percentage point."""
    # Half a point may be a whole number of examples.
    good = table[table["accuracy"] >= whole - _TOLERANCE - 1e-9]
    return None if good.empty else float(good.loc[good["macs"].idxmin(), "threshold"])


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


def _has_classes(case: Subject, labels: np.ndarray, others: np.ndarray) -> bool:
    """Whether a model outputs a score for each of these classes, or one score for two.

    Where only some of its classes occur, they may be of another task, with numbers of their own:
    then the model is not better at them than naming the most frequent one.
    """
    classes = 2 if case.output_classes == 1 else case.output_classes or 0
    known = set(np.unique(np.concatenate([labels, others])).tolist())
    if case.answers.rank != 2 or not known <= set(range(classes)):
        return False
    if known == set(range(classes)):
        return True
    output = case.output()
    right = case.answers.seen(lambda: output).classes(output) == labels
    return bool(right.mean() > np.bincount(labels).max() / len(labels))


@dataclass(frozen=True)
class _Leaving:
    """What each exit says about some examples; the last exit is the end of the model.

    Attributes:
        confidence: The largest probability of each probe for each example.
        right: Whether the prediction of each exit is right.
        price: MACs up to each exit.
        examples: The positions of the examples.
    """

    confidence: list[np.ndarray]
    right: list[np.ndarray]
    price: list[int]
    examples: np.ndarray

    def add(self, probe: Any, values: np.ndarray, labels: np.ndarray) -> None:
        """Add what a probe says."""
        probabilities = probe.predict_proba(values)
        self.confidence.append(probabilities.max(1))
        self.right.append(probe.classes_[probabilities.argmax(1)] == labels)

    def table(self, thresholds: Sequence[float], whole: int) -> "pd.DataFrame":
        """A row for each threshold.

        Args:
            thresholds: The probabilities at which examples leave.
            whole: MACs of the model itself.
        """
        number, rows = len(self.examples), []
        confidence, right, price = map(np.array, (self.confidence, self.right, self.price))
        for threshold in thresholds:
            leaves = np.vstack([confidence >= threshold, np.ones(number, bool)])
            exit_of = leaves.argmax(0)  # the first
            macs = float(price[exit_of].mean())
            accuracy = float(right[exit_of, np.arange(number)].mean())
            share = macs / whole if whole else float("nan")
            early = float((exit_of < len(confidence)).mean())
            rows.append((threshold, accuracy, macs, share, early))
        return frame(rows, ["threshold", "accuracy", "macs", "share", "early"])
