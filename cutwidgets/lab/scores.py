"""The scores of a model's classes before its last softmax or sigmoid: its logits."""

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..graph.callgraph import Call, CallGraph, rewire
from .answers import answers
from .endings import carries, ending_of, is_curved


@dataclass(frozen=True, slots=True)
class Scores:
    """How to compute the scores of a model's classes.

    Attributes:
        graph: The model's graph without its last softmax or sigmoid: its output are the scores.
        tensor: Index of the tensor where the scores are first computed.
        ending: What makes probabilities of them: `"softmax"`, `"sigmoid"`, `"log_softmax"`,
            `"log_sigmoid"` or `"hard_sigmoid"`; `None` if the model outputs scores or other values.
        number: The number of classes; 1 for the score of yes against no.
        class_axis: The axis of the output that counts the classes, from the front.
        maker: Name and kind of the layer that computes the scores.
        computed: Whether a layer with weights computes them, as it does the scores of classes.
        hidden: Name of a softmax whose probabilities the model changes further; `""` if there is
            none.
    """

    graph: CallGraph
    tensor: int
    ending: str | None
    number: int
    class_axis: int
    maker: tuple[str, str]
    computed: bool
    hidden: str

    @property
    def classes(self) -> int:
        """The number of classes that a target can name."""
        return max(2, self.number)

    @property
    def unclear(self) -> str:
        """Why it is not clear what the model predicts; `""` if it is."""
        name, (maker, kind) = self.graph.name, self.maker
        shape = self.graph.tensors[self.graph.outputs[0]].shape
        if any(length != 1 for length in self._positions(shape)):
            return (
                f"The model {name!r} outputs {shape}: one prediction for each position, or feature "
                "maps. Pass target=, the index of a channel, to explain its sum over all positions."
            )
        if self.hidden:
            return self._no_scores
        if self.ending is not None:
            alone = "softmax" in self.ending and self.number == 1
            return f"The model {name!r} has a softmax over a single class." if alone else ""
        if not self.computed:
            return (
                f"The model {name!r} outputs {shape}, computed by {maker!r} ({kind}): features, "
                "not the scores of classes. Use a model with its classifier, or pass target=, the "
                "index of a feature."
            )
        if self.number == 1:
            return (
                f"The model {name!r} outputs one number without a sigmoid, which need not be a "
                "score. Pass target=1 to explain what raises it, or target=0 for what lowers it."
            )
        return ""

    def _positions(self, shape: Any) -> list[int | None]:
        return [length for i, length in enumerate(shape) if i not in (0, self.class_axis)]

    def summed(self, output: Any) -> Any:
        """The scores (examples, classes) in float32, each summed over all positions."""
        values = keras.ops.cast(output, "float32")
        if len(values.shape) == 1:  # one number for each example
            return values[:, None]
        values = keras.ops.moveaxis(values, self.class_axis, -1)
        axes = tuple(range(1, len(values.shape) - 1))
        return keras.ops.sum(values, axis=axes) if axes else values

    def probabilities(self, scores: np.ndarray) -> np.ndarray | None:
        """The probabilities of scores (examples, classes); `None` if the model outputs none.

        Example:
            >>> import keras
            >>> from cutwidgets.graph.reader import read
            >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])
            >>> scores_of(read(model)).probabilities(np.zeros((1, 1)))
            array([[0.5, 0.5]])
        """
        shape = self.graph.tensors[self.graph.outputs[0]].shape
        if self.ending is None or any(length != 1 for length in self._positions(shape)):
            return None
        z = scores.astype("float64")
        if "softmax" in self.ending:
            powers = np.exp(z - z.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))
        yes = np.clip(z / 6 + 0.5, 0, 1) if "hard" in self.ending else 0.5 + 0.5 * np.tanh(z / 2)
        return np.asarray(yes if self.number > 1 else np.concatenate([1 - yes, yes], axis=1))

    def require_no_hidden_softmax(self, scores: np.ndarray) -> None:
        """Refuse probabilities whose softmax was not found: their gradients are not the scores'.

        Those of a sigmoid are in proportion to those of the score.

        Raises:
            CutwidgetsError: If the scores of each example are probabilities of several classes.
        """
        sums = scores.astype("float64").sum(axis=1)
        are_probabilities = scores.min() >= 0 and np.abs(sums - 1).max() < 1e-2
        if self.hidden or (self.ending is None and self.number > 1 and are_probabilities):
            raise CutwidgetsError(self._no_scores)

    @property
    def _no_scores(self) -> str:
        name, (maker, kind) = self.graph.name, self.maker
        where = (
            f"{maker!r} ({kind}) changes what comes from the softmax of {self.hidden!r}"
            if self.hidden
            else f"it is hidden in or before {maker!r} ({kind})"
        )
        return (
            f"The model {name!r} outputs probabilities, and Grad-CAM needs the scores before their "
            f"softmax, but {where}. Pass a model that outputs the scores."
        )


def scores_of(graph: CallGraph) -> Scores:
    """Find the scores of a model with one output.

    Args:
        graph: The call graph of the model.

    Raises:
        CutwidgetsError: If the number of classes is not fixed.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
        >>> scores = scores_of(read(model))
        >>> scores.ending, scores.number, scores.unclear
        ('softmax', 3, '')
    """
    axis = answers(graph).axis
    call = _source(graph, graph.outputs[0])
    ending = ending_of(call)
    if ending is not None:
        graph = _without(graph, call)
        call = _source(graph, graph.outputs[0])
    shape = graph.tensors[graph.outputs[0]].shape
    number = shape[axis] if len(shape) > 1 else 1
    if number is None:
        raise CutwidgetsError(
            f"The model {graph.name!r} outputs {shape}, so the number of its classes is not fixed."
        )
    computed = call.weighted and (ending is not None or not is_curved(call))
    source = call.outputs[0] if len(call.outputs) == 1 else graph.outputs[0]
    hidden = "" if ending else _softmax_before(graph, source)
    return Scores(graph, source, ending, number, axis, (call.name, call.kind), computed, hidden)


def _source(graph: CallGraph, tensor: int) -> Call:
    """The call that computes the values of a tensor, before others move them about."""
    call = graph.maker(tensor)
    while carries(call):
        call = graph.maker(call.inputs[0])
    return call


def _softmax_before(graph: CallGraph, tensor: int) -> str:
    """The softmax from whose values a tensor is computed, without weights and number by number."""
    shape, pending, seen = graph.tensors[tensor].shape, [tensor], {tensor}
    while pending:
        call = graph.maker(pending.pop())
        if "softmax" in (ending_of(call) or ""):
            return call.name
        if not call.weighted:
            same = [t for t in call.inputs if graph.tensors[t].shape == shape and t not in seen]
            seen.update(same)
            pending += same
    return ""


def _without(graph: CallGraph, call: Call) -> CallGraph:
    """The graph without the softmax or sigmoid that a call applies."""
    if call.role == "activation" or not isinstance(call.layer, keras.Layer):
        return rewire(graph, {call.outputs[0]: call.inputs[0]})
    bare = replace(call, layer=_without_activation(call.layer))
    calls = (bare if other.index == call.index else other for other in graph.calls)
    return replace(graph, calls=tuple(calls))


def _without_activation(layer: keras.Operation) -> keras.Operation:
    """A layer that shares everything with another one, but applies no activation.

    The other layer is not changed. No layer is built, which would draw weights and take a name.

    Args:
        layer: A built layer with an attribute `activation`, which it applies last.

    Example:
        >>> dense = keras.layers.Dense(2, activation="softmax")
        >>> _ = dense(keras.ops.ones((1, 3)))
        >>> scores = _without_activation(dense)(keras.ops.ones((1, 3)))
        >>> bool(keras.ops.all(keras.ops.softmax(scores) == dense(keras.ops.ones((1, 3)))))
        True
    """
    bare: keras.Operation = object.__new__(type(layer))
    vars(bare).update(vars(layer))
    vars(bare)["activation"] = keras.activations.linear
    return bare
