"""The paths through a residual network: their lengths, and which of them carry the gradient.

Veit, Wilber, Belongie 2016, "Residual networks behave like ensembles of relatively shallow
networks", sections 3 and 5.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import comb
from typing import Any

import keras
import numpy as np

from ..blocks import flow
from ..errors import CutwidgetsError
from ..graph.interpreter import Edit, compute
from ..inference.backend import compiled, finite, gradients, in_batches
from ..progress import track
from ..structure.anatomy import Anatomy, anatomy
from ..text import number_text
from .controls import Control, with_control
from .results import COLOURS, CONTROL, Result, by_number, for_any_page, frame, new_axes
from .sampling import subsets
from .subjects import labelled, residual_blocks, the_loss, the_merge

_LEVEL = 0.95


class Paths(Result):
    """The number of paths of each length. Columns: length, paths, share."""

    @property
    def finding(self) -> str:
        """The number of paths, and their length."""
        lengths, shares = self.table["length"], self.table["share"]
        first, last = _middle(shares.to_numpy())
        return (
            f"{self.name}: {number_text(sum(self.table['paths']))} paths through 0 to "
            f"{lengths.iloc[-1]} residual branches, {float((lengths * shares).sum()):.1f} on "
            f"average; {100 * _LEVEL:.0f} % of them through {lengths[first]} to {lengths[last]}."
        )

    def _draw(self, axes: Any, colour: str) -> None:
        share = 100 * self.table["share"]
        axes.bar(self.table["length"], share, color=colour, alpha=0.7, label=self.name)
        axes.set_ylabel("share of all paths (%)")
        by_number(axes, "residual branches on the path")


def paths(model: keras.Model) -> Paths:
    """Count the paths from a model's input to its output, by the number of branches they take.

    Each residual block doubles the paths: through its branch, or through its shortcut. Of n blocks
    in a row, "n choose k" paths take k branches. A branch counts as one path, whatever is in it.

    Args:
        model: A built functional or Sequential model.

    Raises:
        CutwidgetsError: If the model has no residual blocks.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> lab.paths(lab.residual_network(blocks=(2, 1))).table["paths"].tolist()
        [1, 3, 3, 1]
    """
    model_anatomy = anatomy(model)
    counts = _counts(model_anatomy)
    table = frame({"length": range(len(counts))})
    table["paths"] = np.array(counts, dtype=object)  # may exceed 64 bits
    table["share"] = [count / sum(counts) for count in counts]
    return Paths(model_anatomy.name, table)


def _counts(model_anatomy: Anatomy) -> list[int]:
    """The number of paths that take 0, 1, 2… branches."""
    residual = {block.name for block in residual_blocks(model_anatomy)}
    counts: dict[int, list[int]] = {-1: [1]}
    for i, makers in enumerate(flow.sources(model_anatomy.blocks)):
        entering = [counts[maker] for maker in makers]
        total = [0] * max(map(len, entering))
        for own in entering:
            total = [a + b for a, b in zip(total, own + [0] * len(total), strict=False)]
        if i < len(model_anatomy) and model_anatomy[i].name in residual:
            total = [a + b for a, b in zip([*total, 0], [0, *total], strict=True)]
        counts[i] = total
    return counts[len(model_anatomy)]


@dataclass(frozen=True, eq=False, repr=False)
class PathGradients(Result):
    """The gradient that arrives at the input through paths of each length.

    Columns: length, share (of all paths), gradient (its mean norm through a single path), low, high
    (the 10th and the 90th percentile of the draws), contribution (share times gradient, normalised
    to a sum of 1).

    Attributes:
        shortest: Length of the shortest effective paths. Lengths from `shortest` to `longest` make
            up 95 % of the contributions.
        longest: Length of the longest effective paths.
        effective: The share of all paths that are effective.
    """

    shortest: int
    longest: int
    effective: float
    _size = (8.5, 3.2)

    @property
    def means(self) -> tuple[float, float]:
        """The mean length of all paths, and that weighted by the gradient through each."""
        shares = self.table[["share", "contribution"]]
        both = shares.mul(self.table["length"], axis=0).sum()
        return float(both["share"]), float(both["contribution"])

    @property
    def finding(self) -> str:
        """The mean lengths, and the effective paths."""
        paths, gradient = self.means
        return (
            f"{self.name}: a path goes through {paths:.1f} of {len(self.table) - 1} residual "
            f"branches on average, the gradient through {gradient:.1f}. {100 * _LEVEL:.0f} % of "
            f"the gradient comes through {self.shortest} to {self.longest} branches; these are "
            f"{100 * self.effective:.3g} % of all paths."
        )

    def _draw(self, axes: Any, colour: str) -> None:
        share = 100 * self.table["share"]
        if colour != CONTROL:
            label = f"{self.name}: all paths"
            axes.bar(self.table["length"], share, color=colour, alpha=0.25, label=label)
        label = f"{self.name}: gradient"
        replace(self, name=label)._curve(axes, colour, "length", "contribution", 100)
        axes.set_ylabel("share (%)")
        by_number(axes, "residual branches on the path")

    def plot_decay(self, *others: "PathGradients", axes: Any = None) -> Any:
        """Draw the gradient through a single path of each length on a logarithmic axis.

        As figure 6b of Veit et al. 2016, where it falls exponentially: a straight line.

        Args:
            others: Results of other models, for comparison.
            axes: Axes of matplotlib to draw into; `None` for a new figure.

        Returns:
            The axes.
        """
        if axes is None:
            axes = new_axes()
        results = [self, *others]
        controls = [r.control for r in results if isinstance(r.control, PathGradients)]
        for one, colour in zip(
            [*controls, *results], [CONTROL] * len(controls) + list(COLOURS), strict=False
        ):
            # Gradients too small for float32 are zero, which has no place on this axis.
            table = one.table.replace({"gradient": {0.0: np.nan}, "low": {0.0: np.nan}})
            replace(one, table=table)._curve(axes, colour, "length", "gradient", band=True)
        axes.set(yscale="log", ylabel="‖gradient‖ through one path")
        by_number(axes, "residual branches on the path")
        self._finish(axes, len(controls) + len(results) > 1)
        return axes

    def _fill(self, figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        self.plot_decay(axes=left)
        self.plot(axes=right)
        if left.get_legend():
            left.get_legend().remove()
        right.legend(frameon=False, fontsize=7, loc="upper right")
        for_any_page(right)


def path_gradients(
    model: keras.Model,
    x: Any,
    y: Any,
    repeats: int = 5,
    seed: int = 0,
    *,
    measure: str | None = None,
    control: Control = None,
) -> PathGradients:
    """Measure the gradient of the loss at the input through paths of each length.

    The forward pass uses the whole network. In the backward pass, the gradient of a path of length
    k takes the branches of k blocks, drawn at random, and the shortcuts of the others. The
    contribution of a length is its number of paths times their mean gradient.

    Args:
        model: A built functional or Sequential model with one output, whose residual blocks stand
            in a row.
        x: Input of the model, with the batch axis. Of more than 256 examples, 256 are drawn at
            random, the same ones in whatever order they come.
        y: As for `gradients`.
        repeats: Number of different paths drawn of each length; all of them where there are no
            more.
        seed: Seed of the draws.
        measure: As for `gradients`.
        control: As for `gradients`.

    Raises:
        CutwidgetsError: If the model has no residual blocks or some that not all paths pass, the
            data do not fit, or the backend of Keras is neither TensorFlow nor JAX.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> model = lab.residual_network(blocks=(2, 1))
        >>> result = lab.path_gradients(model, *lab.digits().test, repeats=1)
        >>> result.table["length"].tolist()
        [0, 1, 2, 3]
    """
    case = labelled(model, x, y, measure)
    blocks = residual_blocks(case.anatomy)
    number = len(blocks)
    counts = _counts(case.anatomy)
    if counts != [comb(number, length) for length in range(number + 1)]:
        raise CutwidgetsError(
            f"Not every path through the model {case.anatomy.name!r} passes all of its {number} "
            "residual blocks, so blocks drawn at random are not paths of known length. "
            "Use cutwidgets.cut to get a part in which the blocks stand in a row."
        )
    if repeats < 1:
        raise CutwidgetsError(f"repeats must be at least 1. Received: repeats={repeats!r}.")
    graph = case.anatomy.graph
    merges = [the_merge(case.anatomy, block) for block in blocks]

    inputs, labels = case.some()
    last = len(graph.tensors)  # the key of the labels among the indices of the inputs

    def function(branches: Any, values: Mapping[int, Any]) -> Any:
        inputs = {index: values[index] for index in graph.inputs}
        edits = {out: _one_way(branches[i], shortcut) for i, (out, shortcut) in enumerate(merges)}

        def loss(at: list[Any]) -> Any:
            tensors = dict(zip(inputs, at, strict=True))
            return the_loss(case, compute(graph, graph.outputs, tensors, edits)[0], values[last])

        squares = [
            keras.ops.sum(keras.ops.reshape(slope, (keras.ops.shape(slope)[0], -1)) ** 2, axis=1)
            for slope in gradients(loss, list(inputs.values()))
        ]
        return keras.ops.sqrt(sum(squares))

    traced, arrays = compiled(function), {**inputs, last: labels}
    at_once = min(case.at_once, len(labels))
    random = np.random.default_rng(seed)
    draws = [drawn for k in range(number + 1) for drawn in subsets(number, k, repeats, random)]
    rows = []
    for drawn in track(draws, "drawing paths"):
        branches = np.zeros(number, "float32")
        branches[list(drawn)] = 1
        gates = partial(traced, keras.ops.convert_to_tensor(branches))
        norms = finite(graph.name, in_batches(gates, arrays, at_once))
        rows.append((len(drawn), float(norms.mean())))
    by_length = frame(rows, ["length", "gradient"]).groupby("length")["gradient"]
    return with_control(
        _effective(case.anatomy.name, counts, by_length),
        lambda m: path_gradients(m, x, y, repeats, seed, measure=measure),
        model,
        x,
        control,
    )


def _one_way(through_branch: Any, shortcut: int) -> Edit:
    """An edit that keeps the value, and lets the gradient pass only the branch or the shortcut."""

    def change(value: Any, other: Any) -> Any:
        stop = keras.ops.stop_gradient
        branch, gate = value - other, keras.ops.cast(through_branch, value.dtype)
        return stop(value) + gate * (branch - stop(branch)) + (1 - gate) * (other - stop(other))

    return Edit(change, (shortcut,))


def _effective(name: str, counts: list[int], norms: Any) -> PathGradients:
    shares = np.array([count / sum(counts) for count in counts])
    table = frame({"length": range(len(counts)), "share": shares})
    table["gradient"] = norms.mean()
    table["low"], table["high"] = norms.quantile(0.1), norms.quantile(0.9)
    products = table["share"] * table["gradient"]
    if not products.sum() > 0 or not np.isfinite(products).all():
        raise CutwidgetsError(
            f"The gradient at the input of the model {name!r} is zero or not finite, so there are "
            "no effective paths. A loss of exactly zero has no gradient: pass examples on which "
            "the model errs."
        )
    table["contribution"] = products / products.sum()
    first, last = _middle(table["contribution"].to_numpy())
    return PathGradients(name, table, first, last, float(shares[first : last + 1].sum()))


def _middle(shares: np.ndarray) -> tuple[int, int]:
    """The first and the last position of what remains without the two tails."""
    sums, tail = np.cumsum(shares), (1 - _LEVEL) / 2
    return int(np.searchsorted(sums, tail)), int(np.searchsorted(sums, 1 - tail))
