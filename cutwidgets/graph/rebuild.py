"""Repeat calls of a graph: on values, to compute, or on other symbols, to build models."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import keras

from .callgraph import Call, CallGraph, Shape
from .keras_internals import call as call_layer
from .keras_internals import layers_inside, record, specify, trace


def repeat(
    graph: CallGraph,
    calls: Sequence[Call],
    given: Mapping[int, keras.KerasTensor],
    layer_of: Callable[[Call], keras.Operation] | None = None,
) -> dict[int, keras.KerasTensor]:
    """Repeat calls of a graph on other symbols, with the same arguments.

    With the same layers, each call adds one node to its layer, for good (see `record`). Where the
    symbols have the shapes of the graph's tensors, shapes are not computed anew, which makes this
    as fast as Keras's own cloning of a graph.

    Args:
        graph: The graph that the calls belong to.
        calls: The calls to repeat, in order, as `units` gives them.
        given: For tensors that need not be computed, what to read in their place.
        layer_of: What to call in place of a call's own layer; `None` for that layer itself.

    Returns:
        The new symbol for each tensor of the graph that was given or computed. Tensors inside of
        nested models that are called as a whole have none.

    Raises:
        RepeatError: If a layer does not take what it is given. Layers of the graph are left alone.
    """
    made = dict(given)
    expected = specs(graph, calls, given)
    for call in calls:
        layer = layer_of(call) if layer_of else call.layer
        if layer is call.layer:
            outputs = record(layer, call.fill(made), [expected[t] for t in call.outputs])
        else:
            try:
                outputs = call_layer(layer, call.fill(made))
            except Exception as error:  # whatever a layer raises
                raise RepeatError(call, [tuple(made[t].shape) for t in call.reads]) from error
        _keep(made, call, outputs)
    return made


def specs(
    graph: CallGraph, calls: Sequence[Call], given: Mapping[int, keras.KerasTensor]
) -> dict[int, keras.KerasTensor]:
    """Symbols of the shapes that calls will give; those of the graph where nothing differs.

    Raises:
        RepeatError: If a layer does not take what it is given.
    """
    found = dict(given)
    for call in calls:
        own = [graph.tensors[tensor].symbol for tensor in call.outputs]
        if not all(_same(found[t], graph.tensors[t].symbol) for t in call.reads):
            try:
                own = specify(call.layer, call.fill(found))
                _require_batch(graph, call, found)
            except Exception as error:  # whatever a layer raises
                raise RepeatError(call, [tuple(found[t].shape) for t in call.reads]) from error
        _keep(found, call, own)
    return found


def _require_batch(graph: CallGraph, call: Call, found: Mapping[int, keras.KerasTensor]) -> None:
    """Refuse a batch that a layer would refuse only when it runs.

    Layers say what shapes they give without looking at states that are kept for one batch.

    Raises:
        Exception: If the layer does not take these batches.
    """
    usual = {t: graph.tensors[t].symbol for t in call.reads}
    others = [t for t in call.reads if found[t].shape[:1] != usual[t].shape[:1]]
    if not others:
        return
    batch = usual[others[0]].shape[0]
    for layer in layers_inside(call.layer):
        if getattr(layer, "stateful", False):
            raise ValueError(
                f"The layer {layer.name!r} is stateful, and its states are those of batches of "
                f"{batch}. Keep that batch, or build the model with stateful=False."
            )
    asked = {t: found[t] for t in call.reads}
    for t in others:
        if found[t].shape[0] is None:  # Any batch is one more than the model's own, too.
            shape = (usual[t].shape[0] + 1, *found[t].shape[1:])
            asked[t] = keras.KerasTensor(shape, dtype=found[t].dtype, sparse=found[t].sparse)
    try:
        trace(call.layer, call.fill(asked))
    except Exception:
        try:
            trace(call.layer, call.fill(usual))
        except Exception:  # It cannot be traced at all, which says nothing.
            return
        raise


def _keep(
    made: dict[int, keras.KerasTensor], call: Call, outputs: Sequence[keras.KerasTensor]
) -> None:
    for tensor, symbol in zip(call.outputs, outputs, strict=True):
        # A tensor that was given stands, though its maker is repeated for another output.
        made.setdefault(tensor, symbol)


def _same(one: keras.KerasTensor, other: keras.KerasTensor) -> bool:
    return tuple(one.shape) == tuple(other.shape) and one.dtype == other.dtype


class RepeatError(Exception):
    """A layer does not take what it is given; the reason is the exception that caused this.

    Attributes:
        call: The call that was to be repeated.
        shapes: Shapes of the tensors that it was given.
    """

    def __init__(self, call: Call, shapes: Sequence[Shape]) -> None:
        self.call = call
        self.shapes = tuple(shapes)
        super().__init__(call.name)


def units(
    graph: CallGraph, calls: Iterable[int], given: Iterable[int], ends: Iterable[int]
) -> list[Call]:
    """The calls as a model holds them: a nested model is one call, unless it is taken in part.

    Args:
        graph: The call graph.
        calls: Indices of calls, ascending.
        given: Indices of tensors that need not be computed.
        ends: Indices of the tensors that are asked for.
    """
    calls, given, ends = list(calls), set(given), set(ends)
    made = given | {tensor for index in calls for tensor in graph.calls[index].outputs}
    whole: dict[int, Call] = {}
    for nest in graph.nests:  # outer ones first
        taken = {t for t in ends - set(nest.call.outputs) if graph.tensors[t].maker in nest.inside}
        begun = {tensor for tensor in given if graph.tensors[tensor].maker in nest.inside}
        if not taken | begun and made.issuperset(nest.call.reads):
            whole = dict.fromkeys(nest.inside, nest.call) | whole
    while opened := _also_opened(graph, calls, whole):
        whole = {index: call for index, call in whole.items() if call not in opened}
    found = (whole.get(index, graph.calls[index]) for index in calls)
    return list({(call.index, call.name): call for call in found}.values())


def _also_opened(graph: CallGraph, calls: Sequence[int], whole: Mapping[int, Call]) -> list[Call]:
    """Nested models that share a layer with what is opened: Keras could not load such a model."""
    layers = {id(graph.calls[index].layer) for index in calls if index not in whole}
    nests = {
        (call.index, call.name): call
        for index, call in whole.items()
        if id(graph.calls[index].layer) in layers
    }
    return list(nests.values())
