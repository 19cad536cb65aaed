"""Prove that a slice computes what its layers compute in the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import keras
import numpy as np

from ._anatomy import anatomy
from .building import Section, build, symbols_of
from .callgraph import read
from .graph import between
from .places import PlaceLike
from .running import arrays, as_inputs, evaluate, forward, random_input
from .slicing import section

TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Proof:
    """The outputs of a model, beside those of its tail on its slice on its head.

    Attributes:
        max_abs_difference: The largest difference between two elements; 0.0 for *bit for bit*.
        max_abs_output: The largest absolute element of the model's outputs.
        sensitivity: By how much the outputs differ between this input and another one, at most. A
            difference says little where the output hardly depends on the input.
        carried: Names of the layers whose output was carried round the slice to the tail.
        differences: For each block whose output is computed in slice or tail, its name and the
            largest difference there, in call order.
        first_difference: Name of the first block whose output differs by more than is allowed.
    """

    max_abs_difference: float
    max_abs_output: float
    sensitivity: float
    carried: tuple[str, ...]
    differences: tuple[tuple[str, float], ...]
    first_difference: str | None

    @property
    def ok(self) -> bool:
        """Whether the outputs are equal, to the last bit or to 1e-6 of the largest output."""
        return _is_small(self.max_abs_difference, self.max_abs_output)

    @property
    def conclusive(self) -> bool:
        """Whether the outputs depend on the input, so that a wrong slice would show."""
        return self.sensitivity > TOLERANCE * self.max_abs_output

    def __str__(self) -> str:
        """The verdict in a sentence."""
        if self.max_abs_difference == 0:
            verdict = "Head, slice and tail compute the model's output bit for bit."
        elif self.ok:
            verdict = (
                "Head, slice and tail compute the model's output to "
                f"{self.max_abs_difference / self.max_abs_output:.1g} of its largest value."
            )
        else:
            verdict = (
                "Head, slice and tail do NOT compute the model's output: it differs by up to "
                f"{self.max_abs_difference:.3g}."
            )
        if self.first_difference:
            verdict += f" It differs first at {self.first_difference}."
        if self.carried:
            names = ", ".join(self.carried)
            verdict += f" Around the slice, the tail also takes the output of {names}."
        if not self.conclusive:
            return f"{verdict} But this says little: another input hardly changes the output."
        return f"{verdict} (Another input changes the output by up to {self.sensitivity:.3g}.)"

    def _repr_html_(self) -> str:
        mark = ("✓" if self.conclusive else "?") if self.ok else "✗"
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{difference:.3g}</td></tr>"
            for name, difference in self.differences
        )
        return (
            f"<p><strong>{mark}</strong> {escape(str(self))}</p><details><summary>Block by block"
            "</summary><table><tr><th>block</th><th>largest difference</th></tr>"
            f"{rows}</table></details>"
        )


def check(
    model: keras.Model,
    start: PlaceLike | None = None,
    end: PlaceLike | None = None,
    x: Any = None,
    *,
    weights: str = "share",
    bypass: str | None = None,
) -> Proof:
    """Run the whole model, and tail on slice on head, and compare what they give, block by block.

    Where the end is no cut point, what the tail needs besides is carried round the slice.

    Args:
        model: A built functional or Sequential model.
        start: A place; `None` for the model's own input.
        end: A place; `None` for the model's own output.
        x: Input of the model: an array with a batch axis, or as many of them, in a list or a
            dictionary, as the model takes. `None` for random input.
        weights: As for `cut`.
        bypass: As for `cut`.

    Raises:
        CutError: If the slice cannot be cut (see `cut`), or `x` does not fit the model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(
        ...     include_top=False, weights=None, input_shape=(64, 64, 3)
        ... )
        >>> proof = cw.check(resnet, "conv3", "conv4")
        >>> proof.ok, proof.carried, proof.differences[0]
        (True, (), ('conv3_block1', 0.0))
    """
    found = anatomy(model)
    part = section(found, start, end, bypass=bypass)
    graph = part.graph
    given = random_input(graph, seed=0) if x is None else as_inputs(graph, x)
    expected = forward(model, [given[tensor] for tensor in graph.inputs])
    other = forward(model, list(random_input(graph, seed=1, like=given).values()))

    # Arrays go from piece to piece: a tensor of the backend may bring a mask along.
    taken = arrays(evaluate(graph, [*part.inputs, *part.carried], given))
    made, inside = _run_slice(model, part, weights, taken[: len(part.inputs)])
    known = dict(zip(part.outputs, arrays(made), strict=True))
    known |= zip(part.carried, taken[len(part.inputs) :], strict=True)
    ends = {tensor: block.name for block in found for tensor in block.exits}
    behind = {t for i in between(graph, graph.outputs, known)[0] for t in graph.calls[i].outputs}
    later = [tensor for tensor in ends if tensor in behind]
    result = evaluate(graph, [*graph.outputs, *later], given | known)
    inside |= dict(zip(later, result[len(graph.outputs) :], strict=True))

    compared = sorted(ends.keys() & inside.keys())
    wanted = dict(zip(compared, evaluate(graph, compared, given), strict=True))
    differences = [(t, _largest_difference([wanted[t]], [inside[t]])) for t in compared]
    return Proof(
        max_abs_difference=_largest_difference(expected, result[: len(graph.outputs)]),
        max_abs_output=_largest(expected),
        sensitivity=_largest_difference(expected, other),
        carried=tuple(graph.maker(tensor).name for tensor in part.carried),
        differences=tuple((ends[tensor], difference) for tensor, difference in differences),
        first_difference=next(
            (ends[t] for t, d in differences if not _is_small(d, _largest([wanted[t]]))), None
        ),
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


def _largest(values: Sequence[Any]) -> float:
    return max(float(np.abs(array).max(initial=0)) for array in arrays(values))


def _largest_difference(one: Sequence[Any], other: Sequence[Any]) -> float:
    """The largest absolute difference; NaN and infinity are equal to themselves only."""
    largest = 0.0
    for a, b in zip(arrays(one), arrays(other), strict=True):
        a, b = a.astype("float64"), b.astype("float64")
        differs = (a != b) & ~(np.isnan(a) & np.isnan(b))
        difference = np.abs(a[differs] - b[differs])
        difference[~np.isfinite(difference)] = np.inf
        largest = max(largest, float(difference.max(initial=0)))
    return largest
