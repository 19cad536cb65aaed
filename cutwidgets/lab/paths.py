"""The paths through a residual network, how long they are, and which of them carry the gradient.

Veit, Wilber, Belongie 2016, "Residual networks behave like ensembles of relatively shallow
networks", sections 3 and 5.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from typing import Any

import keras
import numpy as np
import pandas as pd

from ..blocks import flow
from ..errors import CutwidgetsError
from ..graph.interpreter import Edit, compute
from ..inference.backend import compiled, gradients
from ..progress import track
from ..structure.anatomy import Anatomy, anatomy
from ..text import number_text
from .labels import labelled, residual_blocks, the_loss, the_merge
from .results import Result, by_number

_LEVEL = 0.95


class Paths(Result):
    """How many paths of each length there are. Columns: length, paths, share."""

    @property
    def finding(self) -> str:
        """How many paths there are, and how long they are."""
        total = sum(self.table["paths"])
        mean = float((self.table["length"] * self.table["share"]).sum())
        first, last = _middle(self.table["share"].to_numpy())
        lengths = self.table["length"]
        return (
            f"{self.name}: {number_text(total)} paths through 0 to {lengths.iloc[-1]} "
            f"residual branches, "
            f"{mean:.1f} in the mean; {100 * _LEVEL:.0f} % of them through "
            f"{lengths[first]} to {lengths[last]}."
        )

    def _draw(self, axes: Any, colour: str) -> None:
        axes.bar(
            self.table["length"],
            100 * self.table["share"],
            color=colour,
            alpha=0.7,
            label=self.name,
        )
        axes.set_ylabel("share of all paths (%)")
        by_number(axes, "residual branches on the path")


def paths(model: keras.Model) -> Paths:
    """Count the paths from the input to the output of a model, by the branches that they take.

    Each residual block doubles the paths: through its branch, or through its shortcut. With n
    blocks in a row n over k paths take k branches. What is inside of a branch counts as one.

    Args:
        model: A built functional or Sequential model.

    Raises:
        CutwidgetsError: If the model has no residual blocks.
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> lab.paths(lab.residual_network(blocks=(2, 1))).table["paths"].tolist()
        [1, 3, 3, 1]
    """
    found = anatomy(model)
    residual_blocks(found)
    counts = _counts(found)
    rows = {"length": range(len(counts)), "paths": counts}
    table = pd.DataFrame(rows, dtype=object).astype({"length": int})
    table["share"] = [count / sum(counts) for count in counts]
    return Paths(found.name, table)


def _counts(found: Anatomy) -> list[int]:
    """The number of paths that take 0, 1, 2… branches, as long as it takes: Python's integers."""
    residual = {block.name for block in residual_blocks(found)}
    counts: dict[int, list[int]] = {-1: [1]}
    for i, makers in enumerate(flow.sources(found.blocks)):
        entering = [counts[maker] for maker in makers]
        total = [0] * max(map(len, entering))
        for own in entering:
            total = [a + b for a, b in zip(total, own + [0] * len(total), strict=False)]
        if i < len(found) and found[i].name in residual:
            total = [a + b for a, b in zip([*total, 0], [0, *total], strict=True)]
        counts[i] = total
    return counts[len(found)]


@dataclass(frozen=True, eq=False, repr=False)
class PathGradients(Result):
    """The gradient that arrives at the input through paths of each length.

    Columns: length, share (of all paths), gradient (its mean norm through a single path), low, high
    (the 10th and the 90th percentile of the draws), contribution (share times gradient, normalised
    to a sum of 1).

    Attributes:
        shortest: Length of the shortest effective paths: between these and the longest come 95 % of
            the contributions.
        longest: Length of the longest effective paths.
        effective: The share of all paths that are effective.
    """

    shortest: int
    longest: int
    effective: float

    @property
    def finding(self) -> str:
        """The effective paths."""
        return (
            f"{self.name}: {100 * _LEVEL:.0f} % of the gradient comes through {self.shortest} to "
            f"{self.longest} of {len(self.table) - 1} residual branches; these are "
            f"{100 * self.effective:.3g} % of all paths."
        )

    def _draw(self, axes: Any, colour: str) -> None:
        lengths, whole = self.table["length"], self.table["contribution"]
        axes.bar(lengths, 100 * self.table["share"], color=colour, alpha=0.25)
        axes.plot(lengths, 100 * whole, "o-", color=colour, markersize=4, label=self.name)
        axes.set_ylabel("% (bars: of all paths,\nline: of the gradient)")
        by_number(axes, "residual branches on the path")


def path_gradients(
    model: keras.Model, x: Any, y: Any, repeats: int = 5, seed: int = 0
) -> PathGradients:
    """Measure the gradient of the loss at the input through paths of each length.

    The examples go forward through the whole network. Backward, the gradient passes the branches of
    as many blocks as the path is long, drawn at random, and the shortcuts of the others. What all
    paths of a length contribute is their number times this.

    Args:
        model: A built functional or Sequential model with one output, whose residual blocks stand
            in a row.
        x: Input of the model, with the batch axis; of many examples the first 256 are looked at.
        y: Classes as integers or one-hot, or numbers of the output's shape.
        repeats: How many paths of each length are drawn.
        seed: Seed of the draws.

    Raises:
        CutwidgetsError: If the model has no residual blocks or some that not all paths pass, the
            data do not fit, or Keras runs on a backend whose gradients are not known here.
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> model = lab.residual_network(blocks=(2, 1))
        >>> found = lab.path_gradients(model, *lab.digits().test, repeats=1)
        >>> found.table["length"].tolist()
        [0, 1, 2, 3]
    """
    seen = labelled(model, x, y)
    blocks = residual_blocks(seen.anatomy)
    number = len(blocks)
    counts = _counts(seen.anatomy)
    if counts != [comb(number, length) for length in range(number + 1)]:
        raise CutwidgetsError(
            f"Not every path through the model {seen.anatomy.name!r} passes all of its {number} "
            "residual blocks, so their lengths are not told by drawing blocks. Give a part of it "
            "in which they stand in a row, as cutwidgets.cut makes."
        )
    if repeats < 1:
        raise CutwidgetsError(f"Each length is drawn once at least. Received: repeats={repeats!r}.")
    graph = seen.anatomy.graph
    merges = [the_merge(seen.anatomy, block) for block in blocks]

    def function(inputs: Mapping[int, Any], labels: Any, branches: Any) -> Any:
        edits = {out: _one_way(branches[i], shortcut) for i, (out, shortcut) in enumerate(merges)}

        def loss(values: list[Any]) -> Any:
            known = dict(zip(inputs, values, strict=True))
            return the_loss(seen, compute(graph, graph.outputs, known, edits)[0], labels)

        squares = [
            keras.ops.sum(keras.ops.reshape(slope, (keras.ops.shape(slope)[0], -1)) ** 2, axis=1)
            for slope in gradients(loss, list(inputs.values()))
        ]
        return keras.ops.mean(keras.ops.sqrt(sum(squares)))

    traced, inputs, labels = compiled(function), seen.first_inputs(), seen.first_labels()
    random = np.random.default_rng(seed)
    draws = [k for k in range(number + 1) for _ in range(min(repeats, comb(number, k)))]
    rows = []
    for length in track(draws, "drawing paths"):
        branches = np.zeros(number, "float32")
        branches[random.choice(number, length, replace=False)] = 1
        with keras.StatelessScope():
            norm = traced(inputs, labels, keras.ops.convert_to_tensor(branches))
        rows.append((length, float(keras.ops.convert_to_numpy(norm))))
    norms = pd.DataFrame(rows, columns=["length", "gradient"]).groupby("length")["gradient"]
    return _effective(seen.anatomy.name, counts, norms)


def _one_way(through_branch: Any, shortcut: int) -> Edit:
    """The same value, whose gradient goes through the branch alone or the shortcut alone."""

    def change(value: Any, other: Any) -> Any:
        stop = keras.ops.stop_gradient
        branch, gate = value - other, keras.ops.cast(through_branch, value.dtype)
        return stop(value) + gate * (branch - stop(branch)) + (1 - gate) * (other - stop(other))

    return Edit(change, (shortcut,))


def _effective(name: str, counts: list[int], norms: Any) -> PathGradients:
    shares = np.array([count / sum(counts) for count in counts])
    table = pd.DataFrame({"length": range(len(counts)), "share": shares})
    table["gradient"] = norms.mean()
    table["low"], table["high"] = norms.quantile(0.1), norms.quantile(0.9)
    carried = table["share"] * table["gradient"]
    if not carried.sum() > 0 or not np.isfinite(carried).all():
        raise CutwidgetsError(
            f"No gradient arrives at the input of the model {name!r} (or one that is not finite), "
            "so there are no effective paths. A loss of exactly zero has no gradient: give "
            "examples on which the model errs."
        )
    table["contribution"] = carried / carried.sum()
    first, last = _middle(table["contribution"].to_numpy())
    return PathGradients(name, table, first, last, float(shares[first : last + 1].sum()))


def _middle(shares: np.ndarray) -> tuple[int, int]:
    """The first and the last position between which there is all but the two tails."""
    sums, tail = np.cumsum(shares), (1 - _LEVEL) / 2
    return int(np.searchsorted(sums, tail)), int(np.searchsorted(sums, 1 - tail))
