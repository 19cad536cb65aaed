"""Lesions: a model without some of its blocks, or with blocks in another order.

Veit, Wilber, Belongie 2016, "Residual networks behave like ensembles of relatively shallow
networks", section 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..extras import needs
from ..progress import track
from ..surgery.effects import swappable
from ..text import percent_text
from .controls import Control, with_control
from .interventions import gated, reorderable
from .results import (
    CONTROL,
    Result,
    block_frame,
    by_number,
    chance_line,
    errors_on_a_log_axis,
    frame,
)
from .sampling import orders, subsets
from .subjects import Subject, lesionable, subject

_LABELS = {
    "error": "error (%)",
    "wrong decisions": "wrong decisions (%)",
    "squared error": "squared error",
    "change": "change of the output (% of its length)",
}


@dataclass(frozen=True, eq=False, repr=False)
class Measured(Result):
    """A study of how wrong a model is after a change.

    Attributes:
        kind: `"error"`, the share of wrong answers, if there are classes; `"wrong decisions"`, the
            share of them, if each class is a decision of its own; the mean `"squared error"` for
            numbers; without labels `"change"`, the length of the difference of the outputs divided
            by that of the whole model's output.
        base: The same measure for the whole model.
        chance: The measure of an answer that is always the same; `None` where that has no meaning.
    """

    kind: str
    base: float
    chance: float | None = None
    _from_zero = True

    def _text(self, value: float) -> str:
        return f"{value:.3g}" if self.kind == "squared error" else percent_text(value)

    @property
    def _begin(self) -> str:
        """The beginning of the finding."""
        whole = "" if self.kind == "change" else f" whole {self._text(self.base)},"
        return f"{self.name}, {self.kind}:{whole}"

    @property
    def _factor(self) -> float:
        """By which values are multiplied for the axes."""
        return 1 if self.kind == "squared error" else 100

    def _line(self, axes: Any, colour: str) -> None:
        """Draw the whole model as a dotted line, chance as a dashed one; label the axis."""
        if self.kind != "change" and colour != CONTROL:
            axes.axhline(self._factor * self.base, color=colour, linewidth=0.8, linestyle=":")
        if self.chance is not None and colour != CONTROL:
            chance_line(axes, self._factor * self.chance)
        label = _LABELS[self.kind]
        axes.set_ylabel(label if self.kind == "change" else f"{label}\ndotted: whole model")
        if self._factor == 100 and self.kind != "change":
            errors_on_a_log_axis(axes)


class Lesions(Measured):
    """Results of removing each block in turn. Columns: block, stage, shortcut, `kind`."""

    @property
    def finding(self) -> str:
        """The median and the worst."""
        values = self.table[self.kind]
        worst = self.table.loc[values.idxmax(), "block"]
        median = f"{self._text(values.median())} (median of {len(values)})"
        most = f"most for {worst}: {self._text(values.max())}."
        if self.kind == "change":
            return f"{self.name}: removing one block moves the output by {median}; {most}"
        return f"{self._begin} without one block {median}; {most}"

    def _draw(self, axes: Any, colour: str) -> None:
        self._line(axes, colour)
        self._curve(axes, colour, "block", self.kind, self._factor)


def lesions(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    measure: str | None = None,
    control: Control = None,
) -> Lesions:
    """Remove each block in turn, and measure how wrong the model is without it.

    A residual block keeps its shortcut, as with `cutwidgets.remove`. The results are the same as
    those of rebuilt models, but no model is built. Blocks that cannot be removed are left out.

    Args:
        model: A built functional or Sequential model with one output.
        x: Input of the model, with the batch axis.
        y: Classes as integers or one-hot; yes or no for each of several classes; or numbers of the
            output's shape. `None` to measure how much the output changes.
        measure: `"error"`, `"wrong decisions"`, `"squared error"` or `"change"`; `None` to choose
            by the labels.
        control: A model for comparison; `True` for `untrained(model, x)`.

    Raises:
        CutwidgetsError: If no block can be removed, or the data do not fit.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> result = lab.lesions(lab.residual_network(blocks=(2, 1)), *lab.digits().test)
        >>> result.table["block"].tolist(), result.kind
        (['stage1_block1', 'stage1_block2', 'stage2_block1'], 'error')
    """
    case = subject(model, x, y, measure)
    blocks = lesionable(case.anatomy)
    without = gated(case, blocks)
    whole = without([])
    scores = [case.score(without([b.name]), whole) for b in track(blocks, "removing blocks")]
    shortcuts = [block.shortcut for block in blocks]
    table = block_frame(blocks, **{"shortcut": shortcuts, case.kind: scores})
    result = Lesions(case.anatomy.name, table, *_whole(case, whole))
    return with_control(result, lambda m: lesions(m, x, y, measure=measure), model, x, control)


def _whole(case: Subject, output: np.ndarray) -> tuple[str, float, float | None]:
    """What is measured, its value for the whole model, and for an answer that is always the same.

    Args:
        case: The model and the data.
        output: The output of the whole model.
    """
    return case.kind, case.score(output, output), case.chance


class RandomLesions(Measured):
    """A model without several blocks at once.

    Columns: blocks (the number removed), draws (how many different sets of blocks), `kind` (the
    mean over them), low, high (the 10th and the 90th percentile).
    """

    @property
    def finding(self) -> str:
        """The mean for each number of blocks."""
        rows = self.table[["blocks", self.kind]].itertuples(index=False)
        means = ", ".join(f"{count}: {self._text(value)}" for count, value in rows)
        return f"{self._begin} without blocks drawn at random {means}."

    def _draw(self, axes: Any, colour: str) -> None:
        self._line(axes, colour)
        self._curve(axes, colour, "blocks", self.kind, self._factor, band=True)
        by_number(axes, "blocks removed")


def random_lesions(
    model: keras.Model,
    x: Any,
    y: Any = None,
    counts: Sequence[int] | None = None,
    repeats: int = 10,
    seed: int = 0,
    *,
    measure: str | None = None,
    control: Control = None,
) -> RandomLesions:
    """Remove several random blocks at once, and measure how wrong the model is.

    No set of blocks is drawn twice. Where there are no more sets than `repeats`, each is measured
    once, so that the mean is exact.

    Args:
        model: A built functional or Sequential model with one output.
        x: Input of the model, with the batch axis.
        y: Labels, as for `lesions`.
        counts: Numbers of blocks to remove; `None` for 1, 2, 5, 10, 20, up to the number there is.
        repeats: Number of draws for each.
        seed: Seed of the draws.
        measure: As for `lesions`.
        control: As for `lesions`.

    Raises:
        CutwidgetsError: If no block can be removed, the data do not fit, or there are not as many
            blocks.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> model = lab.residual_network(blocks=(2, 1))
        >>> lab.random_lesions(model, *lab.digits().test, repeats=2).table["blocks"].tolist()
        [1, 2]
    """
    case = subject(model, x, y, measure)
    blocks = lesionable(case.anatomy)
    names = [block.name for block in blocks]
    if counts is None:
        counts = [count for count in (1, 2, 5, 10, 20) if count <= len(names)]
    counts = list(dict.fromkeys(counts))
    if not counts or repeats < 1 or any(count not in range(len(names) + 1) for count in counts):
        raise CutwidgetsError(
            f"The model {case.anatomy.name!r} has {len(names)} blocks that can be removed, and "
            f"repeats must be at least 1. Received: counts={counts!r}, repeats={repeats!r}."
        )
    without = gated(case, blocks)
    whole = without([])
    random = np.random.default_rng(seed)
    draws = [drawn for count in counts for drawn in subsets(len(names), count, repeats, random)]
    rows = [
        (len(drawn), case.score(without([names[i] for i in drawn]), whole))
        for drawn in track(draws, "removing blocks")
    ]
    scores = frame(rows, ["blocks", case.kind]).groupby("blocks")[case.kind]
    table = scores.size().rename("draws").to_frame()
    table[case.kind] = scores.mean()
    table["low"], table["high"] = scores.quantile(0.1), scores.quantile(0.9)
    result = RandomLesions(case.anatomy.name, table.reset_index(), *_whole(case, whole))
    return with_control(
        result,
        lambda m: random_lesions(m, x, y, counts, repeats, seed, measure=measure),
        model,
        x,
        control,
    )


class Shuffles(Measured):
    """A model with blocks in another order. Columns: swaps, tau, `kind`, with a row for a draw."""

    @property
    def finding(self) -> str:
        """The mean for each number of swaps."""
        means = self.table.groupby("swaps")[["tau", self.kind]].mean()
        texts = ", ".join(
            f"{swaps}: {self._text(row[self.kind])} (tau {row['tau']:.2f})"
            for swaps, row in means.iterrows()
        )
        return f"{self._begin} with pairs of blocks swapped {texts}."

    def _draw(self, axes: Any, colour: str) -> None:
        self._line(axes, colour)
        values = self._factor * self.table[self.kind]
        axes.plot(self.table["tau"], values, "o", color=colour, alpha=0.6, label=self.name)
        axes.set_xlabel("Kendall's tau between the new order and the original")
        axes.xaxis.set_inverted(True)


def shuffles(
    model: keras.Model,
    x: Any,
    y: Any = None,
    swaps: Sequence[int] = (1, 2, 5, 10),
    repeats: int = 10,
    seed: int = 0,
    *,
    measure: str | None = None,
    control: Control = None,
) -> Shuffles:
    """Swap pairs of blocks of equal shape, and measure how wrong the model is.

    Kendall's tau measures how much the order has changed: the share of pairs of blocks that keep
    their order minus the share of those that do not (Kendall 1938, "A new measure of rank
    correlation").

    Args:
        model: A built functional or Sequential model with one output.
        x: Input of the model, with the batch axis.
        y: Labels, as for `lesions`.
        swaps: Numbers of pairs to swap, one after the other; a pair comes from one row of blocks
            whose input and output have the same shape.
        repeats: Number of orders for each. None is drawn twice; where there are no more orders than
            that, each is measured once.
        seed: Seed of the draws.
        measure: As for `lesions`.
        control: As for `lesions`.

    Raises:
        CutwidgetsError: If no two blocks can be swapped, the data do not fit, or SciPy is not
            installed.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> model = lab.residual_network(blocks=(3,), width=4)
        >>> result = lab.shuffles(model, *lab.digits().test, swaps=[1], repeats=2)
        >>> result.table["tau"].between(-1, 1).all()
        np.True_
    """
    with needs("lab", "Kendall's tau"):
        from scipy.stats import kendalltau

    case = subject(model, x, y, measure)
    rows = _rows(swappable(case.anatomy))
    if not rows:
        raise CutwidgetsError(
            f"No two neighbouring blocks of the model {case.anatomy.name!r} have inputs and "
            "outputs of the same shape, so no blocks can be swapped."
        )
    if repeats < 1 or not swaps or any(number < 1 for number in swaps):
        raise CutwidgetsError(
            f"swaps and repeats must be at least 1. Received: swaps={swaps!r}, repeats={repeats!r}."
        )
    random = np.random.default_rng(seed)
    reordered = reorderable(case, rows)
    whole = reordered(rows)
    original = tuple(chain(*rows))
    draws = [(n, order) for n in swaps for order in orders(rows, n, repeats, random)]
    scores = []
    for number, order in track(draws, "swapping blocks"):
        tau = float(kendalltau(order, original).statistic)
        places = iter(order)
        new = [[next(places) for _ in row] for row in rows]
        scores.append((number, tau, case.score(reordered(new), whole)))
    table = frame(scores, ["swaps", "tau", case.kind])
    result = Shuffles(case.anatomy.name, table, *_whole(case, whole))
    return with_control(
        result,
        lambda m: shuffles(m, x, y, swaps, repeats, seed, measure=measure),
        model,
        x,
        control,
    )


def _rows(firsts: Sequence[int]) -> list[list[int]]:
    """Positions of blocks, in rows within which all can be swapped."""
    rows: list[list[int]] = []
    for first in firsts:
        if rows and rows[-1][-1] == first:
            rows[-1].append(first + 1)
        else:
            rows.append([first, first + 1])
    return rows
