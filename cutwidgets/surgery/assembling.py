"""Put layers and models together to a new flat model."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from ..errors import CutError
from ..graph.callgraph import Call, CallGraph, between
from ..graph.keras_internals import call as call_layer
from ..graph.keras_internals import functional, maker_name, specify
from ..graph.reader import read
from ..graph.rebuild import RepeatError, repeat, specs, units
from .build import model_name, model_of
from .copies import Copier, anew, copy_of, fresh, has_graph

Symbols = dict[int, keras.KerasTensor]  # by the indices of tensors
Arguments = tuple[tuple[Any, ...], dict[str, Any]]  # positional and keyword arguments of a call


class Assembly:
    """A model under construction, from layers and from calls of several graphs.

    Args:
        like: A model whose inputs and their names it has.
        inputs: What its inputs look like, if they differ from those of that model.

    Attributes:
        inputs: The inputs, flat.
    """

    def __init__(
        self, like: keras.Model, inputs: Sequence[keras.KerasTensor] | None = None
    ) -> None:
        self.inputs = [
            keras.Input(batch_shape=s.shape, dtype=s.dtype, sparse=s.sparse, name=maker_name(own))
            for own, s in zip(like.inputs, inputs or like.inputs, strict=True)
        ]
        self._structure = like.input
        self._names: dict[str, object] = {symbol.name: symbol for symbol in self.inputs}
        self._renamed: dict[int, keras.Layer] = {}

    def reserve(self, calls: Iterable[Call]) -> None:
        """Let layers keep their names, unless others have them already."""
        for call in calls:
            self._names.setdefault(call.own_name, call.layer)

    def copier(self, prefix: str = "") -> Copier:
        """A copier for layers whose names others have; see `layer_of`."""
        return Copier(self._names, prefix)

    def layer_of(self, call: Call, copier: Copier) -> keras.Operation:
        """The layer of a call itself, or a copy if its name is taken."""
        return call.layer if self._names[call.own_name] is call.layer else copier(call)

    def attach(self, piece: keras.Layer, arguments: Arguments) -> list[keras.KerasTensor]:
        """Call a layer, or all layers of a model, on symbols; returns the outputs."""
        if isinstance(piece, keras.Sequential) and not has_graph(piece):
            called(piece, fresh(arguments))  # this builds it
        if not has_graph(piece):
            return called(self._layer(piece, arguments), arguments)
        graph = read(piece)
        symbols = dict(zip(graph.inputs, keras.tree.flatten(arguments), strict=True))
        calls = calls_to(graph, graph.outputs, symbols)
        self.reserve(calls)
        copier = self.copier(model_name(piece.name))
        with refusing(graph):
            symbols = repeat(graph, calls, symbols, lambda call: self.layer_of(call, copier))
        copier.finish()
        return [symbols[tensor] for tensor in graph.outputs]

    def _layer(self, layer: keras.Layer, arguments: Arguments) -> keras.Layer:
        """A layer itself, or a copy if its name is taken."""
        if self._names.setdefault(layer.name, layer) is layer:
            return layer
        if id(layer) not in self._renamed:
            self._renamed[id(layer)] = copy_of(layer, arguments, self._names)
        return self._renamed[id(layer)]

    def finish(
        self, outputs: Sequence[keras.KerasTensor], structure: Any, name: str
    ) -> keras.Model:
        """Build the model."""
        inputs = keras.tree.pack_sequence_as(self._structure, self.inputs)
        return model_of(inputs, keras.tree.pack_sequence_as(structure, list(outputs)), name)


def calls_to(graph: CallGraph, ends: Sequence[int], starts: Iterable[int]) -> list[Call]:
    """The calls that compute some tensors from others; a nested model is one call if it can be."""
    return units(graph, between(graph, ends, starts)[0], starts, ends)


@contextmanager
def refusing(graph: CallGraph) -> Iterator[None]:
    """Explain which layer of a graph does not accept its new input.

    Raises:
        CutError: If there is one.
    """
    try:
        yield
    except RepeatError as error:
        shapes = ", ".join(map(str, error.shapes))
        raise CutError(
            f"The layer {error.call.name!r} of {graph.name!r} does not accept {shapes}, which it "
            f"would get: {error.__cause__}"
        ) from error


def called(layer: keras.Layer, arguments: Arguments) -> list[keras.KerasTensor]:
    """What a layer returns for some symbols.

    Raises:
        CutError: If the layer does not accept them.
    """
    try:
        return call_layer(layer, arguments)
    except Exception as error:  # whatever a layer raises
        raise _not_accepted(layer, arguments, error) from error


def output_specs(piece: keras.Layer, arguments: Arguments) -> list[keras.KerasTensor]:
    """The shapes and dtypes that a layer or model would return; its layers do not change.

    Raises:
        CutError: If a layer does not accept them.
    """
    if not has_graph(piece):
        try:
            return _specify(piece, arguments)
        except Exception as error:  # whatever a layer raises
            raise _not_accepted(piece, arguments, error) from error
    graph = read(piece)
    inputs = dict(zip(graph.inputs, keras.tree.flatten(arguments), strict=True))
    with refusing(graph):
        outputs = specs(graph, calls_to(graph, graph.outputs, inputs), inputs)
    return [outputs[tensor] for tensor in graph.outputs]


def _specify(layer: keras.Layer, arguments: Arguments) -> list[keras.KerasTensor]:
    kind, plain = type(layer), keras.Layer
    by_running = (
        kind.compute_output_shape is plain.compute_output_shape
        and kind.compute_output_spec is plain.compute_output_spec
    )
    if layer.built or not by_running:
        return specify(layer, arguments)
    return call_layer(anew(layer), fresh(arguments))  # it has no weights to run with yet


def _not_accepted(layer: keras.Layer, arguments: Arguments, error: Exception) -> CutError:
    symbols = [s for s in keras.tree.flatten(arguments) if isinstance(s, keras.KerasTensor)]
    shapes = ", ".join(str(tuple(symbol.shape)) for symbol in symbols)
    return CutError(f"The layer {layer.name!r} does not accept {shapes}: {error}")


def require_layer(piece: object) -> None:
    """Refuse what is no layer.

    Raises:
        CutError: If it is none.
    """
    if not isinstance(piece, keras.Layer):
        raise CutError(f"Expected a Keras layer or model. Received: {piece!r:.200}")


def require_inputs(
    name: str, verb: str, symbols: Sequence[keras.KerasTensor], piece: keras.Layer
) -> None:
    """Refuse to let a model read tensors that differ from its inputs.

    Raises:
        CutError: If they differ in number, shape or dtype.
    """
    if has_graph(piece):
        require_fit(name, verb, symbols, piece.name, "accepts", functional(piece).inputs)


def require_fit(
    one: str,
    its_verb: str,
    its: Sequence[keras.KerasTensor],
    other: str,
    other_verb: str,
    others: Sequence[keras.KerasTensor],
    advice: str = "",
) -> None:
    """Refuse to put models together whose tensors differ in number, shape or dtype.

    Raises:
        CutError: If they differ.
    """
    if len(its) != len(others) or not all(map(fits, its, others)):
        ours, theirs = (
            " and ".join(f"{tuple(symbol.shape)} {symbol.dtype}" for symbol in symbols)
            for symbols in (its, others)
        )
        text = f"{one!r} {its_verb} {ours}, but {other!r} {other_verb} {theirs}."
        raise CutError(f"{text} {advice}".rstrip())


def fits(one: keras.KerasTensor, other: keras.KerasTensor) -> bool:
    """Whether two tensors have the same dtype and shape; `None` fits any length."""
    lengths = zip(one.shape, other.shape, strict=False)
    equal = all(None in (a, b) or a == b for a, b in lengths)
    return one.dtype == other.dtype and len(one.shape) == len(other.shape) and equal
