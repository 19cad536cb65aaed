"""How the output of a model is to be read: as probabilities or as scores, and along which axis."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..graph.callgraph import Call, CallGraph, Shape

# What changes the shape or nothing at all, so that probabilities remain probabilities.
_KEEPING_ROLES = frozenset({"dropout", "flatten", "reordering"})
_KEEPING = frozenset(
    {"Identity", "Squeeze", "ExpandDims", "Cast", "StopGradient", "Ravel", "RepeatVector"}
)

_UNKNOWN = "unknown"

_ACTIVATIONS = {"softmax": "softmax", "sigmoid": "sigmoid", "hard_sigmoid": "sigmoid"}
_OPERATIONS = {"Softmax": "softmax", "Sigmoid": "sigmoid", "HardSigmoid": "sigmoid"}


@dataclass(frozen=True, slots=True)
class Answers:
    """How the output of a model is to be read.

    Attributes:
        activation: `"softmax"` or `"sigmoid"` if the output is probabilities, `None` if it is
            scores before such an activation, or numbers; `"unknown"` if the graph does not tell.
        axis: The axis of the classes, counted from the front.
        rank: The number of axes of the output, with that of the batch.
    """

    activation: str | None
    axis: int
    rank: int

    @property
    def threshold(self) -> float:
        """Above it, a single number means yes."""
        return 0.0 if self.activation is None else 0.5

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
    if _keeps(call) and len(call.inputs) == 1:
        activation, axis = _read(graph, call.inputs[0])
        return activation, _moved(call, axis, graph.tensors[call.inputs[0]].shape, shape)
    activation, own_axis = _activation(call)
    if activation is None and call.kind == "Average":
        both = {_read(graph, source) for source in call.inputs}
        return both.pop() if len(both) == 1 else (None, _channel_axis(graph, shape))
    axis = _channel_axis(graph, shape) if own_axis is None else own_axis
    return activation, axis % max(len(shape), 1)


def _keeps(call: Call) -> bool:
    if call.kind == "Activation":
        return bool(_activation_name(call) == "linear")
    return call.role in _KEEPING_ROLES or call.kind in _KEEPING


def _activation_name(call: Call) -> str:
    return str(getattr(getattr(call.layer, "activation", None), "__name__", ""))


def _activation(call: Call) -> tuple[str | None, int | None]:
    """The activation of a call, and its axis if it has one."""
    if call.kind in _OPERATIONS:  # layers and operations of these names
        axis = getattr(call.layer, "axis", -1)
        activation = _OPERATIONS[call.kind]
        return activation, (axis if isinstance(axis, int) and activation == "softmax" else None)
    name = _activation_name(call)
    if name in _ACTIVATIONS:
        return _ACTIVATIONS[name], (-1 if name == "softmax" else None)
    silent = call.role in ("other", "model") and not name
    return (_UNKNOWN if silent and not _is_arithmetic(call) else None), None


def _is_arithmetic(call: Call) -> bool:
    """Whether this is an operation of Keras, whose result is scores or numbers."""
    import keras

    return not isinstance(call.layer, keras.Layer)


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
