"""All pairs of places of two networks: their data, their ranks, and their stitches."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..progress import track
from ..structure.anatomy import Anatomy
from . import stitch_fitting as fitting
from .stitch_fitting import Spot, Stitch
from .stitch_ranks import cka, divergence, grams, probe_answers
from .stitch_training import trainer_for
from .subjects import Subject, subject

SAMPLE = 4  # examples by which a built model is checked

_HELD_OUT = 0.25  # the share of the examples on which stitches are tested


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


@dataclass(frozen=True, slots=True)
class Part:
    """Examples, for both networks."""

    front: Subject
    back: Subject

    @property
    def anatomies(self) -> tuple[Anatomy, Anatomy]:
        """The anatomies of both networks."""
        return self.front.anatomy, self.back.anatomy

    def rows(self, chosen: np.ndarray) -> "Part":
        """Some of the examples."""
        front, back = (
            replace(
                case,
                inputs={index: array[chosen] for index, array in case.inputs.items()},
                labels=None if case.labels is None else case.labels[chosen],
            )
            for case in (self.front, self.back)
        )
        return Part(front, back)


def parts_of(
    models: tuple[keras.Model, keras.Model],
    data: tuple[Any, Any],
    test: Any,
    seed: int,
    measure: str | None,
) -> tuple[Part, Part]:
    """The examples to which stitches are fitted, and those on which they are tested."""
    (front, back), (x, y) = models, data
    given = Part(subject(front, x), subject(back, x, y, measure))
    if test is None:
        size = given.front.size
        if size < 2:
            raise CutwidgetsError("Some examples are held out for the test: pass 2 at least.")
        order = given.front.shuffled(seed)
        number = max(1, round(_HELD_OUT * size))
        return given.rows(np.sort(order[number:])), given.rows(np.sort(order[:number]))
    if not isinstance(test, tuple | list) or len(test) != 2 or ((test[1] is None) != (y is None)):
        raise CutwidgetsError(
            "test must be a pair of inputs and labels, with labels if there is y, and else None. "
            f"Received: {type(test).__name__}."
        )
    other = Part(subject(front, test[0]), subject(back, test[0], test[1], measure))
    pairs = zip(given.front.inputs.values(), other.front.inputs.values(), strict=True)
    if all(np.array_equal(one, two) for one, two in pairs):
        raise CutwidgetsError(
            "x and test are the same examples, so the penalties would be those of the fit. Pass "
            "others, or leave test out, and a quarter of x is held out."
        )
    return given, other


def groups_of(notes: Mapping[tuple[Spot, Spot], str | None]) -> list[tuple[Spot, list[Spot]]]:
    """Pairs that fit, by the front's place and the lengths of the back's."""
    groups: dict[tuple[Spot, tuple[int, ...]], list[Spot]] = {}
    for (start, end), note in notes.items():
        if note is None:
            groups.setdefault((start, end.shape[:-1]), []).append(end)
    return [(start, ends) for (start, _), ends in groups.items()]


def ranks_of(
    fit: Part,
    starts: Sequence[Spot],
    ends: Sequence[Spot],
    at: tuple[Callable[[Spot], np.ndarray], Callable[[Spot], np.ndarray]],
    seed: int,
) -> dict[tuple[str, str], tuple[float, float]]:
    """CKA and divergence of all pairs, before any fit."""
    labels, order = _classes(fit), fit.front.shuffled(seed)
    sides: list[dict[str, tuple[Any, Any]]] = [{}, {}]
    work = [(side, spot) for side, spots in enumerate((starts, ends)) for spot in spots]
    for side, spot in track(work, "ranking places"):
        values = at[side](spot)
        answers = None if labels is None else probe_answers(values, labels, order)
        sides[side][spot.name] = grams(values, order), answers
    found = {}
    for a, (one, first) in sides[0].items():
        for b, (other, second) in sides[1].items():
            known = first is not None and second is not None
            found[a, b] = cka(one, other), divergence(first, second) if known else float("nan")
    return found


def _classes(fit: Part) -> np.ndarray | None:
    """A class for each example, of its label or the back's answer; `None` if there are none."""
    case = fit.back
    if case.labels is not None:
        return case.labels if case.kind == "error" and case.labels.ndim == 1 else None
    answers = case.output()
    if case.answers.seen(lambda: answers).activation != "softmax":
        return None
    return case.answers.classes(answers) if answers.ndim == 2 else None


@dataclass(frozen=True, slots=True)
class Work:
    """What fitting needs."""

    fit: Part
    held: Part
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
                train = self.trainers.setdefault(end, trainer_for(self.fit.back, end))
                stitch = train(values, stitch, self.epochs, self.seed)
                answers = tail(stitch(seen))
                last = self.held.back.score(answers, self.alone)
            found.append((Sewn(start, end, stitch, answers[:SAMPLE].copy()), first, last))
        return found
