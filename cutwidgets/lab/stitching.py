"""Stitching: the beginning of one network, a linear map, and the end of another.

Lenc and Vedaldi 2015, "Understanding image representations by measuring their equivariance and
equivalence"; Bansal, Nakkiran, Barak 2021, "Revisiting model stitching to compare neural
representations".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..graph.interpreter import compute
from ..inference.backend import compiled
from ..inference.forward import arrays, forward
from ..progress import track
from ..structure.anatomy import Anatomy
from ..structure.places import PlaceLike
from . import stitch_fitting as fitting
from .labels import Subject, last_activation, subject
from .lesions import Measured
from .results import Result, frame
from .stitch_fitting import Spot, Stitch
from .stitch_ranks import cka, divergence, grams, probe_answers

if TYPE_CHECKING:
    import pandas as pd

_HELD_OUT = 0.25  # the share of the examples on which stitches are tested
_SAMPLE = 4  # examples by which a built model is checked
_SAME = 1e-3  # of the largest answer


@dataclass(frozen=True, slots=True)
class Sewn:
    """A stitch that was fitted.

    Attributes:
        start: Where the front ends.
        end: Where the back begins.
        stitch: The linear map between them.
        answers: What the stitched network answers to the first test examples.
    """

    start: Spot
    end: Spot
    stitch: Stitch
    answers: np.ndarray


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
    _front: keras.Model = field(compare=False)
    _back: keras.Model = field(compare=False)
    _anatomies: tuple[Anatomy, Anatomy] = field(compare=False)
    _sewn: Mapping[tuple[str, str], Sewn] = field(compare=False)
    _sample: Sequence[np.ndarray] = field(compare=False)

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
            A flat `keras.Model` with layers of its own. It consists of layers of the two networks
            and of Keras, so it saves, and loads without cutwidgets.

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
        (answers,) = arrays(forward(built, self._sample))
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
        text = (
            f"{self.name} continued by {self.other}{alone}: of {len(table)} pairs of places the "
            f"best is {front} to {back}, with a penalty of {self._text(table['penalty'].min())} "
            f"(median {self._text(table['penalty'].median())})."
        )
        found = [(c, self._foretold(table, c)) for c in ("cka", "divergence") if c in table]
        ranks = " and ".join(f"{value:.2f} by {name}" for name, value in found if value == value)
        if ranks:
            text += f" Spearman's correlation of the rank before the fit with the penalty: {ranks}."
        if left_out := len(self.table) - len(table):
            text += f" {left_out} pairs are left out; the column note says why."
        return text

    @staticmethod
    def _foretold(table: "pd.DataFrame", column: str) -> float:
        rank = table[f"rank_{column}"]
        if rank.nunique() < 2 or table["penalty"].nunique() < 2:
            return float("nan")
        return float(rank.corr(table["penalty"], method="spearman"))

    def plot(self, *others: Result, axes: Any = None, **options: Any) -> Any:
        """Draw the penalties of all pairs of places.

        Args:
            others: Must be empty: one pair of axes holds one stitching.
            axes: Axes of matplotlib to draw into; `None` for a new figure.
            options: As for other results.

        Returns:
            The axes.

        Raises:
            CutwidgetsError: If there are others.
        """
        if others:
            raise CutwidgetsError(
                "Stitchings cannot be drawn on top of each other. Draw each into its own axes."
            )
        return super().plot(axes=axes, **options)

    def _draw(self, axes: Any, colour: str) -> None:
        grid = self.table.pivot(index="front", columns="back", values="penalty")
        rows, columns = (list(dict.fromkeys(self.table[name])) for name in ("front", "back"))
        values = self._factor * grid.loc[rows, columns].to_numpy()
        image = axes.imshow(values, cmap="viridis_r", aspect="auto")
        axes.set_facecolor("0.8")  # visible where a pair is left out
        points = " (points)" if self.kind == "error" else ""
        axes.figure.colorbar(image, ax=axes, label=f"penalty{points}")
        axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=7)
        axes.set_yticks(range(len(rows)), rows, fontsize=7)
        axes.set(xlabel=f"continued by {self.other} after", ylabel=f"{self.name} up to")
        middle = (np.nanmin(values) + np.nanmax(values)) / 2
        digits = 0 if np.nanmax(values) >= 10 else 2
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value) and values.size <= 400:
                shade = "white" if value > middle else "black"
                text = f"{value:.{digits}f}"
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
) -> Stitching:
    """Let one network continue another: head, a linear map of the channels, and tail.

    For each pair of places, a 1×1 convolution with bias maps the activations of the front to those
    of the back by least squares, as in the start of SN-Net (Pan, Cai, Zhuang 2023, "Stitchable
    neural networks"). Maps of other lengths are first averaged or repeated if the lengths are
    multiples, as those of strides are, and otherwise interpolated. If the front's features can be
    mapped to the back's, the stitched network is hardly worse than the back alone: Bansal et al.
    2021, section 4, find penalties of a few points at most between networks that differ by their
    seed. An untrained front gives high ones.

    Before any fit, the pairs are ranked by their linear CKA, as ReStNet chooses them (Wang et al.
    2025, "ReStNet: a reusable and stitchable network"), and by the divergence of the answers that
    linear probes give at both places, as KLAS does (Sanyal et al. 2026, "KLAS: using similarity to
    stitch neural networks"). The finding says how well that foretold the penalties.

    Args:
        front: The network whose beginning is used. It is not changed.
        back: The network whose end is used; it accepts the same input. It is not changed.
        x: Input of both, with the batch axis, to which the stitches are fitted.
        y: Classes as integers or one-hot, or numbers of the back's output's shape. `None` to
            measure how far the answers are from those of the back alone.
        test: Other inputs and labels (or `None`), on which penalties are measured; `None` to hold
            out a quarter of `x`.
        fronts: Places of the front, each with one output; `None` for all blocks but those that
            compute the output. For large networks, choose a few: the time goes by their number
            times that of `backs`.
        backs: Places of the back. What follows the place is used.
        epochs: Number of epochs for which each stitch is trained after the fit, on the loss; needs
            labels.
        seed: Seed of what is held out, of the order in training, and of minibatches.

    Raises:
        CutwidgetsError: If the data do not fit both networks, or no pair of places can be stitched.
        UnsupportedModelError: If a model is subclassed, not built or not a Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> front, back = (lab.residual_network(blocks=(2,), width=w, seed=w) for w in (4, 6))
        >>> result = lab.stitch(front, back, *lab.digits().test, fronts=["stage1_block2"])
        >>> result.table["back"].tolist()
        ['stem', 'stage1_block1', 'stage1_block2']
        >>> result.model("stage1_block2", "stem").get_layer("stitch").kernel.shape
        (1, 1, 4, 6)
    """
    fit, held = _parts(front, back, x, y, test, seed)
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
    ranks = _ranks(fit, starts, ends, at, seed)
    graph = fit.back.anatomy.graph
    alone = held.back.computed(compiled(lambda v: compute(graph, graph.outputs, v)[0]))
    work = _Work(fit, held, at, fitting.activations(held.front, starts), alone, epochs, seed)
    rows: dict[tuple[str, str], tuple[float, float]] = {}
    sewn: dict[tuple[str, str], Sewn] = {}
    groups = _groups(notes)
    for group in track(groups, "fitting stitches"):
        for found, first, score in work.done(*group):
            key = found.start.name, found.end.name
            sewn[key], rows[key] = found, (first, score)
    base = held.back.score(alone, alone)
    return Stitching(
        name=fit.front.anatomy.name,
        table=_table(fit, notes, ranks, rows, base, bool(epochs)),
        kind=fit.back.kind,
        base=base,
        other=fit.back.anatomy.name,
        _front=front,
        _back=back,
        _anatomies=fit.anatomies,
        _sewn=sewn,
        _sample=[held.front.inputs[i][:_SAMPLE] for i in fit.front.anatomy.graph.inputs],
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """Examples, for both networks."""

    front: Subject
    back: Subject

    @property
    def anatomies(self) -> tuple[Anatomy, Anatomy]:
        return self.front.anatomy, self.back.anatomy

    def rows(self, chosen: np.ndarray) -> "_Part":
        """Some of the examples."""
        front, back = (
            replace(
                case,
                inputs={index: array[chosen] for index, array in case.inputs.items()},
                labels=None if case.labels is None else case.labels[chosen],
            )
            for case in (self.front, self.back)
        )
        return _Part(front, back)


def _parts(
    front: keras.Model, back: keras.Model, x: Any, y: Any, test: Any, seed: int
) -> tuple[_Part, _Part]:
    """The examples to which stitches are fitted, and those on which they are tested."""
    given = _Part(subject(front, x), subject(back, x, y))
    if test is None:
        size = given.front.size
        if size < 2:
            raise CutwidgetsError("Some examples are held out for the test: pass 2 at least.")
        order = np.random.default_rng(seed).permutation(size)
        number = max(1, round(_HELD_OUT * size))
        return given.rows(np.sort(order[number:])), given.rows(np.sort(order[:number]))
    if not isinstance(test, tuple | list) or len(test) != 2 or ((test[1] is None) != (y is None)):
        raise CutwidgetsError(
            "test must be a pair of inputs and labels, with labels if there is y, and else None. "
            f"Received: {type(test).__name__}."
        )
    other = _Part(subject(front, test[0]), subject(back, *test))
    pairs = zip(given.front.inputs.values(), other.front.inputs.values(), strict=True)
    if all(np.array_equal(one, two) for one, two in pairs):
        raise CutwidgetsError(
            "x and test are the same examples, so the penalties would be those of the fit. Pass "
            "others, or leave test out, and a quarter of x is held out."
        )
    return given, other


def _groups(notes: Mapping[tuple[Spot, Spot], str | None]) -> list[tuple[Spot, list[Spot]]]:
    """Pairs that fit, by the front's place and the lengths of the back's."""
    groups: dict[tuple[Spot, tuple[int, ...]], list[Spot]] = {}
    for (start, end), note in notes.items():
        if note is None:
            groups.setdefault((start, end.shape[:-1]), []).append(end)
    return [(start, ends) for (start, _), ends in groups.items()]


def _ranks(
    fit: _Part,
    starts: Sequence[Spot],
    ends: Sequence[Spot],
    at: tuple[Callable[[Spot], np.ndarray], Callable[[Spot], np.ndarray]],
    seed: int,
) -> dict[tuple[str, str], tuple[float, float]]:
    """CKA and divergence of all pairs, before any fit."""
    labels = _classes(fit)
    sides: list[dict[str, tuple[Any, Any]]] = [{}, {}]
    work = [(side, spot) for side, spots in enumerate((starts, ends)) for spot in spots]
    for side, spot in track(work, "ranking places"):
        values = at[side](spot)
        answers = None if labels is None else probe_answers(values, labels, seed)
        sides[side][spot.name] = grams(values, seed), answers
    found = {}
    for a, (one, first) in sides[0].items():
        for b, (other, second) in sides[1].items():
            known = first is not None and second is not None
            found[a, b] = cka(one, other), divergence(first, second) if known else float("nan")
    return found


def _classes(fit: _Part) -> np.ndarray | None:
    """A class for each example, of its label or the back's answer; `None` if there are none."""
    case = fit.back
    if case.labels is not None:
        return case.labels if case.kind == "error" and case.labels.ndim == 1 else None
    graph = case.anatomy.graph
    if last_activation(case.anatomy) != "softmax":
        return None
    answers = case.computed(compiled(lambda v: compute(graph, graph.outputs, v)[0]))
    return answers.argmax(-1) if answers.ndim == 2 else None


@dataclass(frozen=True, slots=True)
class _Work:
    """What fitting needs."""

    fit: _Part
    held: _Part
    at: tuple[Callable[[Spot], np.ndarray], Callable[[Spot], np.ndarray]]
    seen: Callable[[Spot], np.ndarray]
    alone: np.ndarray
    epochs: int
    seed: int
    tails: dict[Spot, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)
    trainers: dict[Spot, Callable[..., Stitch]] = field(default_factory=dict)

    def done(self, start: Spot, ends: Sequence[Spot]) -> list[tuple[Sewn, float, float]]:
        """Stitches from a place to others of equal lengths, their first scores and their last."""
        axis, at_once = self.fit.back.anatomy.graph.channel_axis, self.fit.front.at_once
        values, seen = (
            fitting.resized(function(start), start, ends[0], axis, at_once)
            for function in (self.at[0], self.seen)
        )
        targets = [self.at[1](end) for end in ends]
        stitches = fitting.least_squares(*fitting.smaller(self.at[0](start), values, targets))
        found = []
        for end, stitch in zip(ends, stitches, strict=True):
            tail = self.tails.setdefault(end, fitting.tail_from(self.held.back, end))
            answers = tail(stitch(seen))
            first = last = self.held.back.score(answers, self.alone)
            if self.epochs:
                train = self.trainers.setdefault(end, fitting.trainer_for(self.fit.back, end))
                stitch = train(values, stitch, self.epochs, self.seed)
                answers = tail(stitch(seen))
                last = self.held.back.score(answers, self.alone)
            found.append((Sewn(start, end, stitch, answers[:_SAMPLE].copy()), first, last))
        return found


def _table(
    fit: _Part,
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
