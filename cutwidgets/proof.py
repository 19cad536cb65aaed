"""Prove that a slice computes what its layers compute in the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import keras
import numpy as np

from ._anatomy import anatomy
from .callgraph import CallGraph
from .errors import CutError
from .places import PlaceLike
from .running import arrays, dtype_of, evaluate, forward, random_input
from .slicing import build, section

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
    """

    max_abs_difference: float
    max_abs_output: float
    sensitivity: float
    carried: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the outputs are equal, to the last bit or to 1e-6 of the largest output."""
        relative = TOLERANCE * self.max_abs_output
        return self.max_abs_difference == 0 or self.max_abs_difference <= relative

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
        if self.carried:
            names = ", ".join(self.carried)
            verdict += f" Around the slice, the tail also takes the output of {names}."
        if not self.conclusive:
            return f"{verdict} But this says little: another input hardly changes the output."
        return f"{verdict} (Another input changes the output by up to {self.sensitivity:.3g}.)"

    def _repr_html_(self) -> str:
        mark = ("✓" if self.conclusive else "?") if self.ok else "✗"
        return f"<p><strong>{mark}</strong> {escape(str(self))}</p>"


def check(
    model: keras.Model,
    start: PlaceLike | None = None,
    end: PlaceLike | None = None,
    x: Any = None,
) -> Proof:
    """Run the whole model, and tail on slice on head, and compare what they give.

    Where the end is no cut point, what the tail needs besides is carried round the slice.

    Args:
        model: A built functional or Sequential model.
        start: A place; `None` for the model's own input.
        end: A place; `None` for the model's own output.
        x: Input of the model: an array with a batch axis, or as many of them, in a list or a
            dictionary, as the model takes. `None` for random input.

    Raises:
        CutError: If the slice cannot be cut (see `cut`), or `x` does not fit the model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(
        ...     include_top=False, weights=None, input_shape=(64, 64, 3)
        ... )
        >>> proof = cw.check(resnet, "conv3", "conv4")
        >>> proof.ok, proof.carried
        (True, ())
    """
    part = section(anatomy(model), start, end)
    graph = part.graph
    given = random_input(graph, seed=0) if x is None else _as_inputs(graph, x)

    expected = forward(model, [given[tensor] for tensor in graph.inputs])
    other = forward(model, list(random_input(graph, seed=1, like=given).values()))
    # Between the pieces go the backend's own tensors: a mask may travel with them.
    taken = evaluate(graph, [*part.inputs, *part.carried], given)
    made = forward(build(model, part), taken[: len(part.inputs)])
    known = dict(zip(part.outputs, made, strict=True))
    known |= zip(part.carried, taken[len(part.inputs) :], strict=True)
    result = evaluate(graph, graph.outputs, given | known)
    return Proof(
        max_abs_difference=_largest_difference(expected, result),
        max_abs_output=max(float(np.abs(array).max(initial=0)) for array in arrays(expected)),
        sensitivity=_largest_difference(expected, other),
        carried=tuple(graph.maker(tensor).name for tensor in part.carried),
    )


def _as_inputs(graph: CallGraph, x: Any) -> dict[int, np.ndarray]:
    """Arrays for the model's inputs, from one, a list or a tuple of them, or a dictionary."""
    names = [graph.maker(tensor).name for tensor in graph.inputs]
    if isinstance(x, dict):
        given = [x.get(name) for name in names]
    else:
        given = list(x) if isinstance(x, list | tuple) and len(names) == len(x) else [x]
    if len(given) != len(names) or any(value is None for value in given):
        raise CutError(f"The model {graph.name!r} takes the inputs {names}. Received: {x!r:.200}")
    inputs = {}
    for index, name, value in zip(graph.inputs, names, given, strict=True):
        tensor = graph.tensors[index]
        try:
            array = np.asarray(value)
            inputs[index] = array if tensor.dtype == "string" else array.astype(dtype_of(tensor))
        except (TypeError, ValueError) as error:
            raise CutError(
                f"The input {name!r} of the model {graph.name!r} takes numbers. "
                f"Received: {value!r:.200}"
            ) from error
        fits = [want in (None, got) for want, got in zip(tensor.shape, array.shape, strict=False)]
        if len(array.shape) != len(tensor.shape) or not all(fits):
            raise CutError(
                f"The input {name!r} of the model {graph.name!r} has the shape {tensor.shape}, the "
                f"batch axis first. Received an array of shape {array.shape}."
            )
    return inputs


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
