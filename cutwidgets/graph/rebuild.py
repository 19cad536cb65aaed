"""Repeat calls of a graph on other symbols, to build models."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import keras

from .callgraph import Call, CallGraph, Shape
from .keras_internals import call as call_layer
from .keras_internals import layers_inside, record, specify, trace


def repeat(
    graph: CallGraph,
    calls: Sequence[Call],
    inputs: Mapping[int, keras.KerasTensor],
    layer_of: Callable[[Call], keras.Operation] | None = None,
) -> dict[int, keras.KerasTensor]:
    """Repeat calls of a graph on other symbols, with the same arguments.

    With the same layers, each call permanently adds one node to its layer (see `record`). If the
    symbols have the shapes of the graph's tensors, no shape is computed again; this is then as fast
    as Keras's own cloning of a graph.

    Args:
        graph: The graph that the calls belong to.
        calls: The calls to repeat, in order, as returned by `units`.
        inputs: The symbols to read in place of tensors that need not be computed.
        layer_of: Returns the layer to call in place of a call's own; `None` for the own layers.

    Returns:
        The new symbol of each tensor that was replaced or computed. Tensors inside nested models
        that are called as a whole have none.

    Raises:
        RepeatError: If a layer does not accept its inputs. The graph's layers are not changed then.
    """
    symbols = dict(inputs)
    expected = specs(graph, calls, inputs)
    for call in calls:
        layer = layer_of(call) if layer_of else call.layer
        repeat_call(call, symbols, [expected[t] for t in call.outputs], layer)
    return symbols


def repeat_call(
    call: Call,
    symbols: dict[int, keras.KerasTensor],
    expected: Sequence[keras.KerasTensor],
    layer: keras.Operation,
) -> None:
    """Repeat one call, with its own layer or a copy, and add its outputs to the symbols.

    Args:
        call: The call.
        symbols: The symbols that it may read, by the indices of tensors.
        expected: Tensors of the shapes and dtypes that the call returns.
        layer: The layer to call.

    Raises:
        RepeatError: If a copy does not accept its inputs.
    """
    if layer is call.layer:
        outputs = record(layer, call.fill(symbols), expected)
    else:
        try:
            outputs = call_layer(layer, call.fill(symbols))
        except Exception as error:  # whatever a layer raises
            raise RepeatError(call, [tuple(symbols[t].shape) for t in call.reads]) from error
    _keep(symbols, call, outputs)


def specs(
    graph: CallGraph, calls: Iterable[Call], inputs: Mapping[int, keras.KerasTensor]
) -> dict[int, keras.KerasTensor]:
    """Symbols of the shapes that calls will return; the graph's own symbols if nothing differs.

    Raises:
        RepeatError: If a layer does not accept its inputs.
    """
    symbols = dict(inputs)
    for call in calls:
        specify_call(graph, call, symbols)
    return symbols


def specify_call(
    graph: CallGraph, call: Call, symbols: dict[int, keras.KerasTensor]
) -> list[keras.KerasTensor]:
    """Symbols of the shapes that one call will return, which are added to the others.

    Raises:
        RepeatError: If the layer does not accept its inputs.
    """
    outputs = [graph.tensors[tensor].symbol for tensor in call.outputs]
    if not all(_same(symbols[t], graph.tensors[t].symbol) for t in call.reads):
        try:
            outputs = specify(call.layer, call.fill(symbols))
            _require_batch(graph, call, symbols)
        except Exception as error:  # whatever a layer raises
            raise RepeatError(call, [tuple(symbols[t].shape) for t in call.reads]) from error
    _keep(symbols, call, outputs)
    return outputs


def _require_batch(graph: CallGraph, call: Call, symbols: Mapping[int, keras.KerasTensor]) -> None:
    """Refuse a batch size that a layer would refuse only when it runs.

    Layers compute output shapes without regard to states that have a fixed batch size.

    Raises:
        Exception: If the layer does not accept these batches.
    """
    usual = {t: graph.tensors[t].symbol for t in call.reads}
    others = [t for t in call.reads if symbols[t].shape[:1] != usual[t].shape[:1]]
    if not others:
        return
    batch = usual[others[0]].shape[0]
    for layer in layers_inside(call.layer):
        if getattr(layer, "stateful", False):
            raise ValueError(
                f"The layer {layer.name!r} is stateful, and its states are for batches of "
                f"{batch}. Keep that batch size, or build the model with stateful=False."
            )
    inputs = {t: symbols[t] for t in call.reads}
    for t in others:
        if symbols[t].shape[0] is None:  # "Any batch size" includes one more than the model's own.
            shape = (usual[t].shape[0] + 1, *symbols[t].shape[1:])
            inputs[t] = keras.KerasTensor(shape, dtype=symbols[t].dtype, sparse=symbols[t].sparse)
    try:
        trace(call.layer, call.fill(inputs))
    except Exception:
        try:
            trace(call.layer, call.fill(usual))
        except Exception:  # It cannot be traced at all, so the first failure says nothing.
            return
        raise


def _keep(
    symbols: dict[int, keras.KerasTensor], call: Call, outputs: Sequence[keras.KerasTensor]
) -> None:
    for tensor, symbol in zip(call.outputs, outputs, strict=True):
        # The symbol of an input stays, even if its call is repeated for another output.
        symbols.setdefault(tensor, symbol)


def _same(one: keras.KerasTensor, other: keras.KerasTensor) -> bool:
    return tuple(one.shape) == tuple(other.shape) and one.dtype == other.dtype


class RepeatError(Exception):
    """A layer does not accept its inputs; `__cause__` is the exception that it raised.

    Attributes:
        call: The call that was to be repeated.
        shapes: Shapes of its inputs.
    """

    def __init__(self, call: Call, shapes: Sequence[Shape]) -> None:
        self.call = call
        self.shapes = tuple(shapes)
        super().__init__(call.name)


def units(
    graph: CallGraph, calls: Iterable[int], starts: Iterable[int], ends: Iterable[int]
) -> list[Call]:
    """Calls as a model contains them: a nested model is one call, unless only a part is needed.

    Args:
        graph: The call graph.
        calls: Indices of calls, ascending.
        starts: Indices of the tensors that need not be computed.
        ends: Indices of the tensors to compute.
    """
    calls, starts, ends = list(calls), set(starts), set(ends)
    available = starts | {tensor for index in calls for tensor in graph.calls[index].outputs}
    whole: dict[int, Call] = {}
    for nest in graph.nests:  # outer ones first
        crossing = starts | (ends - set(nest.call.outputs))
        is_whole = not any(graph.tensors[tensor].maker in nest.inside for tensor in crossing)
        if is_whole and available.issuperset(nest.call.reads):
            whole = dict.fromkeys(nest.inside, nest.call) | whole
    while opened := _also_opened(graph, calls, whole):
        whole = {index: call for index, call in whole.items() if call not in opened}
    repeated = (whole.get(index, graph.calls[index]) for index in calls)
    return list({(call.index, call.name): call for call in repeated}.values())


def _also_opened(graph: CallGraph, calls: Sequence[int], whole: Mapping[int, Call]) -> list[Call]:
    """Nested models that share a layer with opened calls: Keras could not load such a model."""
    layers = {id(graph.calls[index].layer) for index in calls if index not in whole}
    nests = {
        (call.index, call.name): call
        for index, call in whole.items()
        if id(graph.calls[index].layer) in layers
    }
    return list(nests.values())
