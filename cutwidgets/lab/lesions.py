"""Lesions: what a model does without some of its blocks, or with blocks in another order.

Veit, Wilber, Belongie 2016, "Residual networks behave like ensembles of relatively shallow
networks", section 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import comb
from typing import Any

import keras
import numpy as np
import pandas as pd

from ..errors import CutwidgetsError
from ..progress import track
from ..surgery.effects import swappable
from ..text import percent_text
from .interventions import Gated, Reordered
from .labels import lesionable, names_of, subject
from .results import Result, by_block, by_number

_NAMES = {
    "error": "error (%)",
    "squared error": "squared error",
    "change": "change of the output (% of its length)",
}


@dataclass(frozen=True, eq=False, repr=False)
class Measured(Result):
    """A study of how badly a model answers after a change.

    Attributes:
        kind: `"error"`, the share of wrong answers, where there are classes; the mean
            `"squared error"` for numbers; without labels `"change"`, the length of the difference
            of the outputs divided by that of the whole model's output.
        base: That of the whole model.
    """

    kind: str
    base: float
    _from_zero = True

    def _text(self, value: float) -> str:
        return f"{value:.3g}" if self.kind == "squared error" else percent_text(value)

    def _line(self, axes: Any, colour: str) -> float:
        """Draw what the whole model does; what to multiply values with for the axes."""
        factor = 1 if self.kind == "squared error" else 100
        if self.kind != "change":
            axes.axhline(factor * self.base, color=colour, linewidth=0.8, linestyle=":")
        axes.set_ylabel(_NAMES[self.kind])
        return factor

    @property
    def _whole(self) -> str:
        return "" if self.kind == "change" else f"whole {self._text(self.base)}, "


class Lesions(Measured):
    """What a model does without each one of its blocks. Columns: block, stage, shortcut, `kind`."""

    @property
    def finding(self) -> str:
        """The median and the worst."""
        values = self.table[self.kind]
        worst = self.table.loc[values.idxmax(), "block"]
        return (
            f"{self.name}, {self.kind}: {self._whole}without one block "
            f"{self._text(values.median())} (median of {len(values)}), "
            f"at worst {self._text(values.max())} (without {worst})."
        )

    def _draw(self, axes: Any, colour: str) -> None:
        factor = self._line(axes, colour)
        blocks, values = self.table["block"], factor * self.table[self.kind]
        axes.plot(blocks, values, "o-", color=colour, markersize=4, label=self.name)
        by_block(axes)


def lesions(model: keras.Model, x: Any, y: Any = None) -> Lesions:
    """Take each block out in turn, and measure what the model does without it.

    Of a residual block the shortcut stays, as with `cutwidgets.remove`: the results are the same as
    those of models that are built anew, and no model is built. Blocks that cannot be taken out are
    left out.

    Args:
        model: A built functional or Sequential model with one output.
        x: Input of the model, with the batch axis.
        y: Classes as integers or one-hot, or numbers of the output's shape. `None` to measure by
            how much the output changes.

    Raises:
        CutwidgetsError: If no block can be taken out, or the data do not fit.
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> found = lab.lesions(lab.residual_network(blocks=(2, 1)), *lab.digits().test)
        >>> found.table["block"].tolist(), found.kind
        (['stage1_block1', 'stage1_block2', 'stage2_block1'], 'error')
    """
    seen = subject(model, x, y)
    blocks = lesionable(seen.anatomy)
    gated = Gated(seen.anatomy, blocks)
    whole = gated(seen.given, (), seen.at_once)
    rows = [
        {
            "block": block.name,
            "stage": block.stage,
            "shortcut": block.shortcut,
            seen.kind: seen.score(gated(seen.given, [block.name], seen.at_once), whole),
        }
        for block in track(blocks, "taking out blocks")
    ]
    table = pd.DataFrame(rows)
    return Lesions(seen.anatomy.name, table, seen.kind, seen.score(whole, whole))


class RandomLesions(Measured):
    """What a model does without several blocks at once.

    Columns: blocks (how many are gone), `kind` (the mean over all draws), low, high (the 10th and
    the 90th percentile).
    """

    @property
    def finding(self) -> str:
        """The mean for each number of blocks."""
        rows = self.table[["blocks", self.kind]].itertuples(index=False)
        told = ", ".join(f"{count}: {self._text(value)}" for count, value in rows)
        return f"{self.name}, {self.kind}: {self._whole}without blocks drawn at random {told}."

    def _draw(self, axes: Any, colour: str) -> None:
        factor = self._line(axes, colour)
        counts, table = self.table["blocks"], factor * self.table[[self.kind, "low", "high"]]
        axes.plot(counts, table[self.kind], "o-", color=colour, markersize=4, label=self.name)
        axes.fill_between(counts, table["low"], table["high"], color=colour, alpha=0.2, linewidth=0)
        by_number(axes, "blocks taken out")


def random_lesions(
    model: keras.Model,
    x: Any,
    y: Any = None,
    counts: Sequence[int] | None = None,
    repeats: int = 10,
    seed: int = 0,
) -> RandomLesions:
    """Take several blocks out at once, drawn at random, and measure what the model does.

    Args:
        model: A built functional or Sequential model with one output.
        x: Input of the model, with the batch axis.
        y: Labels, as for `lesions`.
        counts: How many blocks to take out; `None` for 1, 2, 5, 10, 20, as far as there are.
        repeats: How often to draw for each.
        seed: Seed of the draws.

    Raises:
        CutwidgetsError: If no block can be taken out, the data do not fit, or there are not as many
            blocks.
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> model = lab.residual_network(blocks=(2, 1))
        >>> lab.random_lesions(model, *lab.digits().test, repeats=2).table["blocks"].tolist()
        [1, 2]
    """
    seen = subject(model, x, y)
    names = names_of(lesionable(seen.anatomy))
    if counts is None:
        counts = [count for count in (1, 2, 5, 10, 20) if count <= len(names)]
    if not counts or repeats < 1 or any(count not in range(len(names) + 1) for count in counts):
        raise CutwidgetsError(
            f"The model {seen.anatomy.name!r} has {len(names)} blocks that can be taken out, and "
            f"each number is drawn once at least. Received: counts={counts!r}, repeats={repeats!r}."
        )
    gated = Gated(seen.anatomy, [seen.anatomy[name] for name in names])
    whole = gated(seen.given, (), seen.at_once)
    random = np.random.default_rng(seed)
    draws = [
        (count, random.choice(names, count, replace=False).tolist())
        for count in counts
        # Nothing is gained by drawing more often than there are choices.
        for _ in range(min(repeats, comb(len(names), count)))
    ]
    rows = [
        (count, seen.score(gated(seen.given, closed, seen.at_once), whole))
        for count, closed in track(draws, "taking out blocks")
    ]
    scores = pd.DataFrame(rows, columns=["blocks", seen.kind]).groupby("blocks")[seen.kind]
    table = scores.mean().to_frame()
    table["low"], table["high"] = scores.quantile(0.1), scores.quantile(0.9)
    base = seen.score(whole, whole)
    return RandomLesions(seen.anatomy.name, table.reset_index(), seen.kind, base)


class Shuffles(Measured):
    """What a model does with blocks in another order. Columns: swaps, tau, `kind`, a row a draw."""

    @property
    def finding(self) -> str:
        """The mean for each number of swaps."""
        means = self.table.groupby("swaps")[["tau", self.kind]].mean()
        told = ", ".join(
            f"{swaps}: {self._text(row[self.kind])} (tau {row['tau']:.2f})"
            for swaps, row in means.iterrows()
        )
        return f"{self.name}, {self.kind}: {self._whole}with pairs of blocks swapped {told}."

    def _draw(self, axes: Any, colour: str) -> None:
        factor = self._line(axes, colour)
        values = factor * self.table[self.kind]
        axes.plot(self.table["tau"], values, "o", color=colour, alpha=0.6, label=self.name)
        axes.set_xlabel("Kendall's tau of the order with the original one")
        axes.xaxis.set_inverted(True)


def shuffles(
    model: keras.Model,
    x: Any,
    y: Any = None,
    swaps: Sequence[int] = (1, 2, 5, 10),
    repeats: int = 10,
    seed: int = 0,
) -> Shuffles:
    """Swap pairs of blocks of equal shape, and measure what the model does.

    How much the order has changed is told by Kendall's tau, the share of pairs of blocks that stand
    as before minus that of those that do not (Kendall 1938, "A new measure of rank correlation").

    Args:
        model: A built functional or Sequential model with one output.
        x: Input of the model, with the batch axis.
        y: Labels, as for `lesions`.
        swaps: How many pairs to swap, one after the other, each two blocks of one row of blocks
            that take and give the same shape.
        repeats: How often to draw for each.
        seed: Seed of the draws.

    Raises:
        CutwidgetsError: If no two blocks can change places, or the data do not fit.
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> model = lab.residual_network(blocks=(3,), width=4)
        >>> found = lab.shuffles(model, *lab.digits().test, swaps=[1], repeats=2)
        >>> found.table["tau"].between(-1, 1).all()
        np.True_
    """
    from scipy.stats import kendalltau

    seen = subject(model, x, y)
    rows = _rows(swappable(seen.anatomy))
    if not rows:
        raise CutwidgetsError(
            f"No two neighbouring blocks of the model {seen.anatomy.name!r} take and give the same "
            "shape, so none can change places."
        )
    if repeats < 1 or not swaps or any(number < 1 for number in swaps):
        raise CutwidgetsError(
            f"Give how many to swap. Received: swaps={swaps!r}, repeats={repeats!r}."
        )
    random = np.random.default_rng(seed)
    reordered = Reordered(seen.anatomy, rows)
    whole = reordered(seen.given, rows, seen.at_once)
    # Rows count by their number of pairs, so that all pairs are as probable.
    pairs = np.array([comb(len(row), 2) for row in rows])
    found = []
    draws = [number for number in swaps for _ in range(repeats)]
    for number in track(draws, "swapping blocks"):
        orders = [list(row) for row in rows]
        for _ in range(number):
            order = orders[random.choice(len(rows), p=pairs / pairs.sum())]
            one, other = random.choice(len(order), 2, replace=False)
            order[one], order[other] = order[other], order[one]
        tau = float(kendalltau([*chain(*orders)], [*chain(*rows)]).statistic)
        score = seen.score(reordered(seen.given, orders, seen.at_once), whole)
        found.append({"swaps": number, "tau": tau, seen.kind: score})
    table = pd.DataFrame(found)
    return Shuffles(seen.anatomy.name, table, seen.kind, seen.score(whole, whole))


def _rows(firsts: Sequence[int]) -> list[list[int]]:
    """Positions of blocks in rows within which all can change places."""
    rows: list[list[int]] = []
    for first in firsts:
        if rows and rows[-1][-1] == first:
            rows[-1].append(first + 1)
        else:
            rows.append([first, first + 1])
    return rows
