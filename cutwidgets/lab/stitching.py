"""Stitching: the beginning of one network, a linear map, and the end of another.

Lenc and Vedaldi 2015, "Understanding image representations by measuring their equivariance and
equivalence"; Bansal, Nakkiran, Barak 2021, "Revisiting model stitching to compare neural
representations".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..graph.callgraph import between
from ..inference.forward import arrays, forward
from ..progress import track
from ..structure.anatomy import Anatomy
from ..structure.places import PlaceLike
from . import stitch_fitting as fitting
from .controls import Control, with_control
from .lesions import Measured
from .results import Result, for_any_page, frame, new_axes
from .stitch_fitting import Spot
from .stitch_pairs import SAMPLE, Part, Sewn, Work, groups_of, parts_of, ranks_of

if TYPE_CHECKING:
    import pandas as pd

_SAME = 1e-3  # of the largest answer


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Stitching(Measured):
    """How well one network continues another, for all pairs of places.

    Columns: front, back (the places), resize (how lengths are made equal, if they are not), cka and
    divergence (of the two places, before any fit; divergence only for classes), `kind` (of the
    stitched network, on the test data), penalty (how much worse that is than the back alone),
    rank_cka and rank_divergence (1 for the pair that fits best by that measure; smaller is better),
    start (the penalty before training, if there was any), note (why a pair is left out, or what to
    mind).

    Attributes:
        other: Name of the network whose end is used.
    """

    other: str
    _from_zero = False
    _size = (7, 6)
    _front: keras.Model = field(compare=False)
    _back: keras.Model = field(compare=False)
    _anatomies: tuple[Anatomy, Anatomy] = field(compare=False)
    _sewn: Mapping[tuple[str, str], Sewn] = field(compare=False)
    _sample: Mapping[int, np.ndarray] = field(compare=False)

    @property
    def best(self) -> tuple[str, str]:
        """The pair of places with the smallest penalty; of equals, the one of the highest CKA."""
        rows = self.table.sort_values(["penalty", "cka"], ascending=[True, False])
        return str(rows["front"].iloc[0]), str(rows["back"].iloc[0])

    def model(self, front: str | None = None, back: str | None = None) -> keras.Model:
        """The stitched network for a pair of places.

        Args:
            front: Where the front ends, as in the table; `None` for the best pair.
            back: Where the back begins: what follows that place. `None` for the best pair.

        Returns:
            A `keras.Model` with layers of its own, flat but for models inside of the two networks
            that are used as a whole. It saves, and loads without cutwidgets.

        Raises:
            CutwidgetsError: If the table has no such pair, it is left out, or the networks have
                changed since.
            CutError: If a layer cannot be copied.
        """
        if front is None or back is None:
            front, back = self.best
        sewn = self._sewn.get((front, back))
        if sewn is None:
            rows = self.table[(self.table["front"] == front) & (self.table["back"] == back)]
            reason = f"it is left out, as {rows['note'].iloc[0]}" if len(rows) else "no such pair"
            raise CutwidgetsError(
                f"{front!r} of {self.name!r} and {back!r} of {self.other!r} cannot be stitched: "
                f"{reason}. The columns front and back of .table have the pairs."
            )
        built = fitting.whole(
            (self._front, self._back), self._anatomies, (sewn.start, sewn.end), sewn.stitch
        )
        graph = self._anatomies[0].graph
        needed = between(graph, [sewn.start.tensor], ())[1]
        sample = [self._sample[index] for index in graph.inputs if index in needed]
        (answers,) = arrays(forward(built, sample))
        if np.abs(answers - sewn.answers).max() > _SAME * max(np.abs(sewn.answers).max(), 1e-6):
            raise CutwidgetsError(
                f"{self.name!r} or {self.other!r} has changed since their stitches were fitted. "
                "Call lab.stitch again."
            )
        return built

    @property
    def finding(self) -> str:
        """The best pair, and how well the ranks foretold the penalties."""
        table = self.table.dropna(subset=["penalty"])
        front, back = self.best
        alone = "" if self.kind == "change" else f" ({self.kind} {self._text(self.base)} alone)"
        pairs = "1 pair" if len(table) == 1 else f"{len(table)} pairs"
        text = (
            f"{self.name} continued by {self.other}{alone}: of {pairs} of places the best is "
            f"{front} to {back}, with a penalty of {self._points(table['penalty'].min())} "
            f"(median {self._points(table['penalty'].median())})."
        )
        found = [(c, self._foretold(table, c)) for c in ("cka", "divergence") if c in table]
        ranks = " and ".join(f"{value:.2f} by {name}" for name, value in found if value == value)
        if ranks:
            text += f" Spearman's correlation of the rank before the fit with the penalty: {ranks}."
        if left_out := len(self.table) - len(table):
            text += f" {left_out} pairs are left out; the column note says why."
        return text

    def _points(self, value: float) -> str:
        """A penalty in words."""
        share = self.kind in ("error", "wrong decisions")
        return f"{100 * value:.1f} points" if share else self._text(value)

    @staticmethod
    def _foretold(table: "pd.DataFrame", column: str) -> float:
        rank = table[f"rank_{column}"]
        if rank.nunique() < 2 or table["penalty"].nunique() < 2:
            return float("nan")
        return float(rank.corr(table["penalty"], method="spearman"))

    def plot(self, *others: Result, axes: Any = None, labels: Sequence[str] | None = None) -> Any:
        """Draw the penalties of all pairs of places.

        Args:
            others: Must be empty: one pair of axes holds one stitching.
            axes: Axes of matplotlib to draw into; `None` for a new figure.
            labels: A name for the front, in a list.

        Returns:
            The axes.

        Raises:
            CutwidgetsError: If there are others, or matplotlib is not installed.
        """
        if others:
            raise CutwidgetsError(
                "Stitchings cannot be drawn on top of each other. Draw each into its own axes."
            )
        if axes is None:
            axes = new_axes(self._size)
        return Result.plot(replace(self, control=None), axes=axes, labels=labels)

    def _finish(self, axes: Any, legend: bool) -> None:
        """No legend: the colours have a bar of their own."""
        for_any_page(axes)

    def _fill(self, figure: Any) -> None:
        results = [r for r in (self, self.control) if r is not None]
        places = np.ravel(figure.subplots(1, len(results)))
        for result, axes in zip(results, places, strict=True):
            result.plot(axes=axes)
        images = [axes.images[0] for axes in places]
        limits = np.array([image.get_clim() for image in images])
        for image in images:  # one scale for both
            image.set_clim(limits[:, 0].min(), limits[:, 1].max())

    def _draw(self, axes: Any, colour: str) -> None:
        grid = self.table.pivot(index="front", columns="back", values="penalty")
        rows, columns = (list(dict.fromkeys(self.table[name])) for name in ("front", "back"))
        values = self._factor * grid.loc[rows, columns].to_numpy()
        image = axes.imshow(values, cmap="viridis_r", aspect="auto")
        axes.set_facecolor("0.8")  # visible where a pair is left out
        points = " (points)" if self.kind in ("error", "wrong decisions") else ""
        for_any_page(axes.figure.colorbar(image, ax=axes, label=f"penalty{points}").ax)
        step = -(-len(columns) // 40)
        axes.set_xticks(range(0, len(columns), step), columns[::step], rotation=90, fontsize=7)
        step = -(-len(rows) // 40)
        axes.set_yticks(range(0, len(rows), step), rows[::step], fontsize=7)
        axes.set(xlabel=f"continued by {self.other} after", ylabel=f"{self.name} up to")
        middle = (np.nanmin(values) + np.nanmax(values)) / 2
        digits = 0 if np.nanmax(values) - np.nanmin(values) >= 10 else 2
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value) and values.size <= 400:
                shade = "white" if value > middle else "black"
                text = f"{round(value, digits) + 0.0:.{digits}f}"  # never "-0"
                axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=6)


def stitch(
    front: keras.Model,
    back: keras.Model,
    x: Any,
    y: Any = None,
    *,
    test: tuple[Any, Any] | None = None,
    fronts: Sequence[PlaceLike] | None = None,
    backs: Sequence[PlaceLike] | None = None,
    epochs: int = 0,
    seed: int = 0,
    measure: str | None = None,
    control: Control = None,
) -> Stitching:
    """Let one network continue another: head, a linear map of the channels, and tail.

    For each pair of places, a 1×1 convolution with bias maps the activations of the front to those
    of the back by least squares, as in the start of SN-Net (Pan, Cai, Zhuang 2023, "Stitchable
    neural networks"). Maps of other lengths are first averaged or repeated if the lengths are
    multiples, as those of strides are, and otherwise interpolated. If the front's features can be
    mapped to the back's, the stitched network is hardly worse than the back alone: Bansal et al.
    2021 stitch trained networks of one architecture without drop in performance, with a stitch that
    they train. With an untrained front the penalty is high. Training on the loss lowers all
    penalties, but can make distant places look alike that least squares tells apart (Balogh and
    Jelasity 2024, "How not to stitch representations to measure similarity").

    Before any fit, the pairs are ranked by their linear CKA, as ReStNet chooses them (Wang et al.
    2025, "ReStNet: a reusable & stitchable network for dynamic adaptation on IoT devices"), and by
    the Kullback-Leibler divergence of the answers of linear probes at both places, after KLAS,
    which selects stitches by the KL divergence between intermediate representations (Sanyal et al.
    2026, "KLAS: using similarity to stitch neural networks for improved accuracy-efficiency
    tradeoffs"). The finding says how well that foretold the penalties.

    Args:
        front: The network whose beginning is used. It is not changed.
        back: The network whose end is used; it accepts the same input. It is not changed.
        x: Input of both, with the batch axis, to which the stitches are fitted.
        y: Classes as integers or one-hot; yes or no for each of several classes; or numbers of the
            shape of the back's output. `None` to measure how far the answers are from those of the
            back alone.
        test: Other inputs and labels (or `None`), on which penalties are measured; `None` to hold
            out a quarter of `x`.
        fronts: Places of the front; `None` for all blocks but those that compute the output. Of a
            place with several outputs the last counts. For large networks, choose a few: the time
            goes by their number times that of `backs`.
        backs: Places of the back. What follows the place is used.
        epochs: Number of epochs for which each stitch is trained after the fit, on the loss; needs
            labels.
        seed: Seed of what is held out, of the order in training, and of minibatches.
        measure: `"error"`, `"wrong decisions"`, `"squared error"` or `"change"`; `None` to choose
            by the labels.
        control: Another front for comparison; `True` for `untrained(front, x)`.

    Raises:
        CutwidgetsError: If the data do not fit both networks, or no pair of places can be stitched.
        UnsupportedModelError: If a model is subclassed, not built or not a Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> front, back = (lab.residual_network(blocks=(2,), width=w, seed=w) for w in (4, 6))
        >>> result = lab.stitch(front, back, *lab.digits().test, fronts=["stage1_block2"])
        >>> result.table["back"].tolist()
        ['stem', 'stage1_block1', 'stage1_block2']
        >>> stitched = result.model("stage1_block2", "stem")
        >>> stitched.get_layer("stitch").get_config()["filters"]
        6
    """
    fit, held = parts_of((front, back), (x, y), test, seed, measure)
    if not isinstance(epochs, int) or epochs < 0 or (epochs and fit.back.labels is None):
        raise CutwidgetsError(
            "Stitches are trained on a loss for a whole number of epochs, which needs labels. "
            f"Received: epochs={epochs!r}, y={'None' if y is None else 'labels'}."
        )
    starts, ends = fitting.spots(fit.front, fronts), fitting.spots(fit.back, backs)
    notes = {(a, b): fitting.misfit(a, b, fit.anatomies) for a in starts for b in ends}
    if all(notes.values()):
        raise CutwidgetsError(
            f"No place of {front.name!r} can be stitched to one of {back.name!r}: "
            f"{next(iter(notes.values()))}."
        )
    at = fitting.activations(fit.front, starts), fitting.activations(fit.back, ends)
    ranks = ranks_of(fit, starts, ends, at, seed)
    alone = held.back.output()
    work = Work(fit, held, at, fitting.activations(held.front, starts), alone, epochs, seed)
    rows: dict[tuple[str, str], tuple[float, float]] = {}
    sewn: dict[tuple[str, str], Sewn] = {}
    groups = groups_of(notes)
    for group in track(groups, "fitting stitches"):
        for found, first, score in work.done(*group):
            key = found.start.name, found.end.name
            sewn[key], rows[key] = found, (first, score)
    base = held.back.score(alone, alone)
    result = Stitching(
        name=fit.front.anatomy.name,
        table=_table(fit, notes, ranks, rows, base, bool(epochs)),
        kind=fit.back.kind,
        base=base,
        chance=held.back.chance,
        other=fit.back.anatomy.name,
        _front=front,
        _back=back,
        _anatomies=fit.anatomies,
        _sewn=sewn,
        _sample={index: array[:SAMPLE] for index, array in held.front.inputs.items()},
    )
    options: dict[str, Any] = {"test": test, "backs": backs, "epochs": epochs, "seed": seed}
    options |= {"fronts": None if fronts is None else [start.name for start in starts]}

    def study(other: keras.Model) -> Stitching:
        return stitch(other, back, x, y, measure=measure, **options)

    return with_control(result, study, front, x, control)


def _table(
    fit: Part,
    notes: Mapping[tuple[Spot, Spot], str | None],
    ranks: Mapping[tuple[str, str], tuple[float, float]],
    scores: Mapping[tuple[str, str], tuple[float, float]],
    base: float,
    trained: bool,
) -> "pd.DataFrame":
    """A row for each pair of places."""
    rows, nothing = [], (float("nan"), float("nan"))
    for (start, end), note in notes.items():
        key = start.name, end.name
        first, last = scores.get(key, nothing)
        resizing = "" if note else fitting.resize_text(start, end)
        positions = fit.front.size * int(np.prod(end.shape[:-1]))
        if note is None and positions <= start.shape[-1]:
            note = f"not unique: {positions} positions for {start.shape[-1]} channels"
        rows.append((*key, resizing, *ranks[key], last, last - base, first - base, note or ""))
    kind = fit.back.kind
    columns = ["front", "back", "resize", "cka", "divergence", kind, "penalty", "start", "note"]
    table = frame(rows, columns)
    fits = table["penalty"].notna()
    table.insert(5, "rank_cka", table["cka"].where(fits).rank(ascending=False, method="min"))
    ranked = table["divergence"].where(fits).rank(method="min")
    table.insert(6, "rank_divergence", ranked)
    if table["divergence"].isna().all():
        table = table.drop(columns=["divergence", "rank_divergence"])
    return table if trained else table.drop(columns="start")
