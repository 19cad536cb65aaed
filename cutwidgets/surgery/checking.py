"""Verify on one input that a slice computes what its layers compute in the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph, between
from ..graph.reader import read
from ..inference.forward import arrays, evaluate, forward
from ..inference.inputs import as_inputs, random_input
from ..inference.side_effects import Record, put_back_after
from ..structure.anatomy import Anatomy, anatomy
from ..structure.places import PlaceLike
from ..tables import Column, Table
from .build import Section, build, symbols_of
from .slicing import section

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Check:
    """The outputs of a model, beside those of its tail on its slice on its head.

    Attributes:
        max_abs_difference: The largest difference between two elements; 0.0 for *bit for bit*. NaN
            equals NaN, and infinity equals itself; every other difference to them is infinite, as
            is the difference between two texts.
        max_abs_output: The largest finite absolute element of the model's outputs.
        sensitivity: By how much the outputs differ between this input and another one, at most. A
            difference says little where the output hardly depends on the input. `None` where there
            is no other input: see `check`.
        carried: Names of the layers whose output was carried round the slice to the tail.
        differences: For each block whose output is computed in slice or tail, its name and the
            largest difference there, in call order.
        first_difference: Name of the first block whose output differs by more than is allowed.
        elements: Number of elements of the model's outputs.
        nan: How many of them are NaN.
        infinite: How many of them are infinite.
        unsteadiness: By how much the model's outputs differ between two runs on this input, at
            most; measured only where `max_abs_difference` is too large.
    """

    max_abs_difference: float
    max_abs_output: float
    sensitivity: float | None
    carried: tuple[str, ...]
    differences: tuple[tuple[str, float], ...]
    first_difference: str | None
    elements: int = 0
    nan: int = 0
    infinite: int = 0
    unsteadiness: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the outputs are equal, to the last bit or to 1e-6 of the largest output."""
        return _is_small(self.max_abs_difference, self.max_abs_output)

    @property
    def conclusive(self) -> bool:
        """Whether the outputs depend on the input, so that a wrong slice would show."""
        return self.sensitivity is not None and self.sensitivity > TOLERANCE * self.max_abs_output

    def __str__(self) -> str:
        """The verdict in a sentence."""
        verdict = self._verdict()
        for count, name in ((self.nan, "NaN"), (self.infinite, "infinite")):
            if count:
                verdict += f" {count:,} of the {self.elements:,} values of the output are {name}"
                verdict += " in both." if self.ok else " in the model."
        if self.first_difference:
            verdict += f" It differs first at {self.first_difference}."
        if self.carried:
            names = ", ".join(self.carried)
            verdict += f" Around the slice, the tail also takes the output of {names}."
        if self.sensitivity is None:
            return f"{verdict} Whether another input changes the output was not measured."
        if not self.conclusive:
            return f"{verdict} But this says little: another input hardly changes the output."
        return f"{verdict} (Another input changes the output by up to {self.sensitivity:.3g}.)"

    def _verdict(self) -> str:
        if self.max_abs_difference == 0:
            return "Head, slice and tail compute the model's output bit for bit."
        if self.ok:
            return (
                "Head, slice and tail compute the model's output to "
                f"{self.max_abs_difference / self.max_abs_output:.1g} of its largest value."
            )
        if not _is_small(self.unsteadiness, self.max_abs_output):
            return (
                "Whether head, slice and tail compute the model's output cannot be told: its own "
                f"output differs by up to {self.unsteadiness:.3g} between two runs on this input. "
                "Give its random layers a keras.random.SeedGenerator."
            )
        return (
            "Head, slice and tail do NOT compute the model's output: it differs by up to "
            f"{self.max_abs_difference:.3g}."
        )

    def _repr_html_(self) -> str:
        mark = ("✓" if self.conclusive else "?") if self.ok else "✗"
        return (
            f"<p><strong>{mark}</strong> {escape(str(self))}</p><details><summary>Block by block"
            f"</summary>{self._table().html()}</details>"
        )

    @property
    def table(self) -> "pd.DataFrame":
        """The largest difference for each block as a DataFrame of pandas: block, difference."""
        return self._table().frame()

    def _table(self) -> Table:
        columns = [
            Column("block", value=itemgetter(0), left=True),
            Column(
                "difference",
                "largest difference",
                value=itemgetter(1),
                text=lambda row: f"{row[1]:.3g}",
            ),
        ]
        return Table(columns, self.differences)


def check(
    model: keras.Model,
    start: PlaceLike | None = None,
    end: PlaceLike | None = None,
    x: Any = None,
    *,
    weights: str = "share",
    allow_bypass: bool = False,
) -> Check:
    """Run the whole model, and tail on slice on head, and compare what they give, block by block.

    Where the end is no cut point, what the tail needs besides is carried round the slice. All runs
    are in inference mode and begin from the same states and seeds, which are put back afterwards.

    Args:
        model: A built functional or Sequential model.
        start: A place; `None` for the model's own input.
        end: A place; `None` for the model's own output.
        x: Input of the model: an array with a batch axis, or as many of them, in a list or a
            dictionary, as the model takes. `None` for random input. The other input, which shows
            whether the output depends on it, has the same values in another order, and floats are
            halved; where there is no other order, as with a single text, it is not measured.
        weights: As for `cut`.
        allow_bypass: As for `cut`.

    Raises:
        CutError: If the slice cannot be cut (see `cut`), or `x` does not fit the model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(
        ...     include_top=False, weights=None, input_shape=(64, 64, 3)
        ... )
        >>> result = cw.check(resnet, "conv3", "conv4")
        >>> result.ok, result.carried, result.differences[0]
        (True, (), ('conv3_block1', 0.0))
    """
    found = anatomy(model)
    part = section(found, start, end, allow_bypass=allow_bypass)
    graph = part.graph
    if x is None:
        given = random_input(graph, seed=0)
        other = random_input(graph, seed=1)
    else:
        given = as_inputs(graph, x)
        other = {tensor: _another(array) for tensor, array in given.items()}
    expected = _run(model, graph, given)
    sensitivity = _sensitivity(model, graph, given, other, expected)
    with put_back_after(call.layer for call in graph.calls):
        return _compare(model, found, part, weights, given, expected, sensitivity)


def _run(model: keras.Model, graph: CallGraph, given: Mapping[int, Any]) -> list[np.ndarray]:
    return arrays(forward(model, [given[tensor] for tensor in graph.inputs]))


def _another(array: np.ndarray) -> np.ndarray:
    """The same values in another order, as far as there is one; floats are halved.

    Nothing is made up: a vocabulary may not have it, and a layer may refuse it.
    """
    other = np.roll(array, 1, axis=0)
    if np.array_equal(other, array):
        other = np.flip(array)
    return other / 2 if array.dtype.kind in "fc" else other


def _sensitivity(
    model: keras.Model,
    graph: CallGraph,
    given: Mapping[int, np.ndarray],
    other: Mapping[int, np.ndarray],
    expected: Sequence[np.ndarray],
) -> float | None:
    if all(np.array_equal(given[tensor], other[tensor]) for tensor in given):
        return None
    try:
        return _largest_difference(expected, _run(model, graph, other))
    except CutwidgetsError:  # a layer takes the input, but not in another order
        return None


def _compare(
    model: keras.Model,
    found: Anatomy,
    part: Section,
    weights: str,
    given: Mapping[int, np.ndarray],
    expected: Sequence[np.ndarray],
    sensitivity: float | None,
) -> Check:
    """Run head, slice and tail; the states of the layers are others afterwards."""
    graph, record = part.graph, Record()
    ends = {tensor: block.name for block in found for tensor in block.exits}
    values = evaluate(graph, [*graph.outputs, *ends], given, before=record.keep)
    wanted = dict(zip(ends, values[len(graph.outputs) :], strict=True))

    # Arrays go from piece to piece: a tensor of the backend may bring a mask along.
    taken = arrays(evaluate(graph, [*part.inputs, *part.carried], given, before=record.begin))
    record.begin_all(part.calls)
    made, inside = _run_slice(model, part, weights, taken[: len(part.inputs)])
    known = dict(zip(part.outputs, arrays(made), strict=True))
    known |= zip(part.carried, taken[len(part.inputs) :], strict=True)
    behind = {t for i in between(graph, graph.outputs, known)[0] for t in graph.calls[i].outputs}
    later = [tensor for tensor in ends if tensor in behind]
    result = evaluate(graph, [*graph.outputs, *later], {**given, **known}, before=record.begin)
    inside |= dict(zip(later, result[len(graph.outputs) :], strict=True))
    outputs = arrays(result[: len(graph.outputs)])

    record.begin_all(range(len(graph.calls)))
    compared = sorted(ends.keys() & inside.keys())
    differences = [(t, _largest_difference([wanted[t]], [inside[t]])) for t in compared]
    largest, scale = _largest_difference(expected, outputs), _largest(expected)
    again = expected if _is_small(largest, scale) else _run(model, graph, given)
    return Check(
        max_abs_difference=largest,
        max_abs_output=scale,
        sensitivity=sensitivity,
        carried=tuple(graph.maker(tensor).name for tensor in part.carried),
        differences=tuple((ends[tensor], difference) for tensor, difference in differences),
        first_difference=next(
            (ends[t] for t, d in differences if not _is_small(d, _largest([wanted[t]]))), None
        ),
        elements=sum(array.size for array in expected),
        nan=sum(int(np.isnan(_numbers(array)).sum()) for array in expected),
        infinite=sum(int(np.isinf(_numbers(array)).sum()) for array in expected),
        unsteadiness=_largest_difference(expected, again),
    )


def _run_slice(
    model: keras.Model, part: Section, weights: str, inputs: Sequence[Any]
) -> tuple[list[Any], dict[int, Any]]:
    """What a slice gives, and the values inside of it by the indices of the whole model's tensors.

    The slice is wired anew, so its inside is computed along its own wires.
    """
    built = build(model, part, weights)
    graph = read(built)
    index = {id(alias): tensor.index for tensor in graph.tensors for alias in tensor.aliases}
    symbols = symbols_of(model, part) if weights == "share" else {}
    inside = {
        tensor: index[id(symbol)]
        for tensor, symbol in symbols.items()
        if id(symbol) in index and tensor not in part.inputs
    }
    values = evaluate(graph, list(inside.values()), dict(zip(graph.inputs, inputs, strict=True)))
    return forward(built, inputs), dict(zip(inside, values, strict=True))


def _is_small(difference: float, largest: float) -> bool:
    return difference == 0 or difference <= TOLERANCE * largest


def _numbers(array: np.ndarray) -> np.ndarray:
    """In double precision; nothing for texts."""
    if array.dtype.kind in "OSU":
        return np.zeros(0)
    return array.astype("complex128" if array.dtype.kind == "c" else "float64")


def _largest(values: Sequence[Any]) -> float:
    sizes = (np.abs(_numbers(array)) for array in arrays(values))
    return max(float(size[np.isfinite(size)].max(initial=0)) for size in sizes)


def _largest_difference(one: Sequence[Any], other: Sequence[Any]) -> float:
    """The largest absolute difference; NaN and infinity are equal to themselves only."""
    largest = 0.0
    for a, b in zip(arrays(one), arrays(other), strict=True):
        # Before double precision, which rounds large integers.
        differs = np.asarray(a != b)
        if a.dtype.kind in "OSU":
            largest = np.inf if differs.any() else largest
            continue
        x, y = _numbers(a), _numbers(b)
        differs &= ~(np.isnan(x) & np.isnan(y))
        with np.errstate(invalid="ignore"):
            difference = np.abs(x[differs] - y[differs])
        difference[~np.isfinite(difference)] = np.inf
        if a.dtype.kind in "iu":
            difference = np.maximum(difference, 1)
        largest = max(largest, float(difference.max(initial=0)))
    return largest
