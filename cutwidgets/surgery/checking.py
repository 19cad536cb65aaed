"""Verify on one input that a slice computes what its layers compute in the model."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from html import escape
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..graph.callgraph import between
from ..graph.reader import read
from ..inference.forward import arrays, evaluate, forward
from ..inference.inputs import as_inputs, random_input
from ..inference.side_effects import Record, put_back_after
from ..progress import doing
from ..structure.anatomy import anatomy
from ..structure.places import EndLike, PlaceLike
from ..tables import Column, Table
from .build import Section, Weights, build, require_weights, symbols_of
from .slicing import section

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-6

Values = Mapping[int, Any]  # by the indices of tensors


@dataclass(frozen=True, slots=True)
class Check:
    """How the outputs of a model compare with those of its head, slice and tail in sequence.

    Attributes:
        max_abs_difference: The largest difference between two elements; 0.0 for *bit for bit*. NaN
            equals NaN, and infinity equals itself; every other difference to them is infinite, as
            is the difference between two texts.
        max_abs_output: The largest finite absolute element of the model's outputs.
        sensitivity: The largest difference between the outputs for this input and for another one.
            A small `max_abs_difference` says little where the output hardly depends on the input.
            `None` where there is no other input: see `check`.
        carried: Names of the layers whose output is carried round the slice to the tail.
        differences: The name of each block whose output the slice or the tail computes, and the
            largest difference there, in call order. For a slice with several ends also the key of
            each end, and the largest difference of what the slice returns there to the model's own
            tensors.
        first_difference: Name of the first block whose output differs by more than the tolerance.
        elements: Number of elements of the model's outputs.
        nan: How many of them are NaN.
        infinite: How many of them are infinite.
        unsteadiness: The largest difference between two runs of the model on this input; measured
            only where `max_abs_difference` is too large.
        wrong_ends: For a slice with several ends, the keys of those that differ from the model's
            own tensors by more than the tolerance.
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
    wrong_ends: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the outputs are equal, to the last bit or to 1e-6 of the largest output.

        For a slice with several ends, what it returns at each of them has to be equal as well.
        """
        return self._is_model and not self.wrong_ends

    @property
    def _is_model(self) -> bool:
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
            verdict += f" The tail also needs the output of {names}, which bypasses the slice."
        if self.sensitivity is None:
            return f"{verdict} Whether a different input changes the output was not measured."
        if not self.conclusive:
            return f"{verdict} But this says little: a different input hardly changes the output."
        return f"{verdict} (A different input changes the output by up to {self.sensitivity:.3g}.)"

    def _verdict(self) -> str:
        if self._is_model and self.wrong_ends:
            ends = " and ".join(map(repr, self.wrong_ends))
            return f"The slice does NOT return what the model has at {ends}."
        if self.max_abs_difference == 0:
            return "Head, slice and tail compute the model's output bit for bit."
        if self.ok:
            return (
                "Head, slice and tail compute the model's output to "
                f"{self.max_abs_difference / self.max_abs_output:.1g} of its largest value."
            )
        if not _is_small(self.unsteadiness, self.max_abs_output):
            return (
                "Whether head, slice and tail compute the model's output cannot be told: the model "
                f"itself returns outputs that differ by up to {self.unsteadiness:.3g} between two "
                "runs on this input. Give its random layers a keras.random.SeedGenerator."
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
    end: EndLike | None = None,
    x: Any = None,
    *,
    weights: Weights = "share",
    allow_bypass: bool = False,
    input_shape: Any = None,
) -> Check:
    """Compare the model's output with that of head, slice and tail in sequence, block by block.

    Where the end is no cut point, the tensors that bypass it are carried round the slice to the
    tail. All runs are in inference mode and begin from the same states and seeds, which are put
    back afterwards.

    Args:
        model: A built functional or Sequential model.
        start: A place; `None` for the model's own input.
        end: A place; `None` for the model's own output. Several as for `cut`: then the slice's
            output at each end is also compared with the model's own tensor.
        x: Input of the model: an array with a batch axis, or a list or dictionary with one array
            for each input. `None` for random input. The other input, which shows whether the output
            depends on it, has the same values in another order, and floats are halved; where there
            is no other order, as with a single text, this is not measured.
        weights: As for `cut`.
        allow_bypass: As for `cut`.
        input_shape: As for `cut`: the shape that the slice accepts. Random input then has this
            shape, and enters at the start of the slice instead of the model.

    Raises:
        CutError: If the slice cannot be cut (see `cut`).
        CutwidgetsError: If `x` does not fit the model, or the model cannot run on the input.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(
        ...     include_top=False, weights=None, input_shape=(64, 64, 3)
        ... )
        >>> result = cw.check(resnet, "conv3", "conv4")
        >>> result.ok, result.carried, result.differences[0]
        (True, (), ('conv3_block1', 0.0))
        >>> cw.check(resnet, "conv3", "conv4", input_shape=(8, 24, 256)).ok
        True
        >>> dict(cw.check(resnet, "conv3", {"C3": "conv3", "C4": "conv4"}).differences)["C3"]
        0.0
    """
    require_weights(weights)
    model_anatomy = anatomy(model)
    part = section(model_anatomy, start, end, allow_bypass=allow_bypass, input_shape=input_shape)
    values, others = _two_inputs(part, x)
    with doing("Running the model"):
        outputs = _run(model, part, values)
    sensitivity = None
    if any(not np.array_equal(values[tensor], others[tensor]) for tensor in values):
        # A layer may accept the input, but in no other order.
        with suppress(CutwidgetsError), doing("Running the model on another input"):
            sensitivity = _largest_difference(outputs, _run(model, part, others))
    blocks = {tensor: block.name for block in model_anatomy for tensor in block.exits}
    with put_back_after(call.layer for call in part.graph.calls):
        return _compare(model, part, weights, values, outputs, blocks, sensitivity)


def _two_inputs(part: Section, x: Any) -> tuple[Values, Values]:
    """Two inputs of the model, and with new shapes also of the slice."""
    graph, tensors = part.graph, list(part.graph.tensors)
    for tensor, shape in zip(part.inputs, part.shapes, strict=True):
        tensors[tensor] = replace(tensors[tensor], shape=shape)
    graph = replace(graph, tensors=tuple(tensors))
    if x is not None:
        values = as_inputs(graph, x)
        return values, {tensor: _another(array) for tensor, array in values.items()}
    if part.new_shapes:
        graph = replace(graph, inputs=tuple(dict.fromkeys((*graph.inputs, *part.inputs))))
    return random_input(graph, seed=0), random_input(graph, seed=1)


def _run(model: keras.Model, part: Section, values: Values) -> list[np.ndarray]:
    """The model's outputs; if the slice has new shapes, without the model's own check of shapes."""
    graph = part.graph
    if part.new_shapes:
        return arrays(evaluate(graph, graph.outputs, values))
    return arrays(forward(model, [values[tensor] for tensor in graph.inputs]))


def _another(array: np.ndarray) -> np.ndarray:
    """The same values in another order, as far as there is one; floats are halved.

    No new values: a vocabulary may lack them, and a layer may refuse them.
    """
    other = np.roll(array, 1, axis=0)
    if np.array_equal(other, array):
        other = np.flip(array)
    return other / 2 if array.dtype.kind in "fc" else other


def _compare(
    model: keras.Model,
    part: Section,
    weights: Weights,
    values: Values,
    outputs: Sequence[np.ndarray],
    blocks: Mapping[int, str],
    sensitivity: float | None,
) -> Check:
    """Run head, slice and tail, which changes the states of the layers.

    Args:
        model: The model.
        part: The slice.
        weights: As for `cut`.
        values: The input.
        outputs: The model's outputs.
        blocks: For each block's output tensor, the name of the block.
        sensitivity: See `Check`.
    """
    graph, record = part.graph, Record()
    tensors = list(dict.fromkeys([*graph.outputs, *blocks, *part.outputs]))
    with doing("Running the model, block by block"):
        in_model = dict(zip(tensors, evaluate(graph, tensors, values, record.keep), strict=True))

    # Arrays go from piece to piece: a tensor of the backend may bring a mask along.
    with doing("Running the head"):
        tensors = [*part.inputs, *part.carried]
        entering = arrays(evaluate(graph, tensors, values, before=record.begin))
    record.begin_all(part.calls)
    with doing("Running the slice"):
        returned, in_pieces = _run_slice(model, part, weights, entering[: len(part.inputs)])
    returned = arrays(returned)
    cut = dict(zip(part.outputs, returned, strict=True))
    cut |= zip(part.carried, entering[len(part.inputs) :], strict=True)
    in_tail = {t for i in between(graph, graph.outputs, cut)[0] for t in graph.calls[i].outputs}
    behind = [tensor for tensor in blocks if tensor in in_tail]
    with doing("Running the tail"):
        tensors = [*graph.outputs, *behind]
        of_tail = evaluate(graph, tensors, {**values, **cut}, before=record.begin)
    again = arrays(of_tail[: len(graph.outputs)])
    in_pieces |= zip(behind, of_tail[len(graph.outputs) :], strict=True)

    record.begin_all(range(len(graph.calls)))
    # What the slice returns at each of several ends counts, and not what is inside it there.
    ends = dict(zip(zip(part.keys, part.outputs, strict=False), returned, strict=False))
    made = {(blocks[t], t): in_pieces[t] for t in blocks.keys() & in_pieces} | ends
    sizes = {
        place: _largest_difference([in_model[place[1]]], [made[place]])
        for place in sorted(made, key=itemgetter(1))
    }
    wrong = [p for p, size in sizes.items() if not _is_small(size, _largest([in_model[p[1]]]))]
    difference, scale = _largest_difference(outputs, again), _largest(outputs)
    second_run = outputs
    if not _is_small(difference, scale):
        with doing("Running the model again"):
            second_run = _run(model, part, values)
    return Check(
        max_abs_difference=difference,
        max_abs_output=scale,
        sensitivity=sensitivity,
        carried=tuple(graph.maker(tensor).name for tensor in part.carried),
        differences=tuple((name, size) for (name, _), size in sizes.items()),
        first_difference=wrong[0][0] if wrong else None,
        elements=sum(array.size for array in outputs),
        nan=sum(int(np.isnan(_numbers(array)).sum()) for array in outputs),
        infinite=sum(int(np.isinf(_numbers(array)).sum()) for array in outputs),
        unsteadiness=_largest_difference(outputs, second_run),
        wrong_ends=tuple(dict.fromkeys(place[0] for place in wrong if place in ends)),
    )


def _run_slice(
    model: keras.Model, part: Section, weights: Weights, inputs: Sequence[Any]
) -> tuple[list[Any], dict[int, Any]]:
    """The slice's outputs, and the values inside it by the indices of the whole model's tensors.

    The slice has new connections, so the values inside are computed along these.
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
