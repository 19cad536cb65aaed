"""How the output of a model is to be read: as probabilities or as scores, and along which axis."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Any

import keras
import numpy as np

from ..graph.callgraph import Call, CallGraph, Shape
from .endings import carries, ending_of

_UNKNOWN = "unknown"

# What an output of each ending is read as: the logarithm of a softmax as scores.
_READ_AS = {
    "softmax": "softmax",
    "sigmoid": "sigmoid",
    "hard_sigmoid": "sigmoid",
    "log_softmax": None,
    "log_sigmoid": "log_sigmoid",
}


@dataclass(frozen=True, slots=True)
class Answers:
    """How the output of a model is to be read.

    Attributes:
        activation: `"softmax"` or `"sigmoid"` if the output is probabilities, `"log_sigmoid"` if it
            is their logarithm, `None` if it is scores before such an activation, or numbers;
            `"unknown"` if the graph does not tell.
        axis: The axis of the classes, counted from the front.
        rank: The number of axes of the output, with that of the batch.
    """

    activation: str | None
    axis: int
    rank: int

    @property
    def threshold(self) -> float:
        """Above it, a single number means yes."""
        return {None: 0.0, "log_sigmoid": -log(2)}.get(self.activation, 0.5)

    def classes(self, output: np.ndarray) -> np.ndarray:
        """The class with the largest score; yes or no, 1 or 0, where there is a single number."""
        if output.shape[self.axis] > 1:
            return np.asarray(output.argmax(self.axis))
        return np.asarray(output.take(0, self.axis) > self.threshold, int)

    def decisions(self, output: np.ndarray) -> np.ndarray:
        """Yes or no, 1 or 0, for each number by itself."""
        return np.asarray(output > self.threshold, int)

    def seen(self, output: Callable[[], np.ndarray]) -> "Answers":
        """The same, with an unknown activation told from the values of an output.

        Numbers that lie between 0 and 1 and add up to 1 for each example are probabilities.
        """
        if self.activation != _UNKNOWN:
            return self
        values = output().astype("float64")
        activation = None
        if ((values >= 0) & (values <= 1)).all():
            whole = np.allclose(values.sum(self.axis), 1, atol=1e-2)
            activation = "softmax" if whole and values.shape[self.axis] > 1 else "sigmoid"
        return replace(self, activation=activation)


def answers(graph: CallGraph) -> Answers:
    """How the first output of a model is to be read, as far as its graph tells.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> layers = [keras.layers.Dense(3, "softmax"), keras.layers.Reshape((3, 1, 1))]
        >>> model = keras.Sequential([keras.Input((4,)), *layers])
        >>> answers(read(model))
        Answers(activation='softmax', axis=1, rank=4)
    """
    activation, axis = _read(graph, graph.outputs[0])
    return Answers(activation, axis, len(graph.tensors[graph.outputs[0]].shape))


def _read(graph: CallGraph, tensor: int) -> tuple[str | None, int]:
    """The activation of a tensor and the axis of its classes."""
    call, shape = graph.maker(tensor), graph.tensors[tensor].shape
    if carries(call):
        activation, axis = _read(graph, call.inputs[0])
        return activation, _moved(call, axis, graph.tensors[call.inputs[0]].shape, shape)
    activation, own_axis = _activation(call)
    if activation is None and call.kind == "Average":
        both = {_read(graph, source) for source in call.inputs}
        return both.pop() if len(both) == 1 else (None, _channel_axis(graph, shape))
    axis = _channel_axis(graph, shape) if own_axis is None else own_axis
    return activation, axis % max(len(shape), 1)


def _activation(call: Call) -> tuple[str | None, int | None]:
    """The activation of a call, and its axis if it has one."""
    ending = ending_of(call)
    if ending is not None:
        axis = getattr(call.layer, "axis", -1)
        whole = "softmax" in ending and isinstance(axis, int)
        return _READ_AS[ending], (axis if whole else None)
    if not isinstance(call.layer, keras.Layer):
        return None, None
    activation = getattr(call.layer, "activation", None)
    module = getattr(activation, "__module__", None) or ""
    own_function = activation is not None and module.partition(".")[0] != "keras"
    silent = call.role in ("other", "model") and activation is None
    return (_UNKNOWN if own_function or silent else None), None


def _channel_axis(graph: CallGraph, shape: Shape) -> int:
    return graph.channel_axis % len(shape) if len(shape) > 2 else max(len(shape) - 1, 0)


def _moved(call: Call, axis: int, before: Shape, after: Shape) -> int:
    """Where the axis of the classes is after a call that changes the shape at most."""
    order = _order(call, len(before))
    if order is not None:
        return order.index(axis)
    if before == after:
        return axis
    # From the side from which the axis was counted, the first one of its length.
    positions = range(1, len(after))
    from_the_end = axis == len(before) - 1
    same = [i for i in positions if after[i] == before[axis]]
    if not same:
        return max(len(after) - 1, 0)
    return same[-1] if from_the_end else same[0]


def _order(call: Call, rank: int) -> Sequence[int] | None:
    """The new order of the axes, for a permutation."""
    layer: Any = call.layer
    if call.kind == "Permute":
        return [0, *layer.dims]
    if call.kind == "Transpose":
        return [i % rank for i in layer.axes] if layer.axes else list(range(rank))[::-1]
    return None
