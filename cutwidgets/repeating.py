"""Repeat calls of a graph: on values, to compute, or on other symbols, to build models."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from .graph import Call, CallGraph, Shape, between
from .kerasgraph import call as call_layer
from .kerasgraph import layers_inside, record, specify, takes_training, trace


@dataclass(frozen=True, slots=True)
class Edit:
    """What becomes of a tensor's value before anything reads it.

    Attributes:
        change: A function of the value, and of those of other tensors.
        reads: Indices of these others, each of which the value depends on.
    """

    change: Callable[..., Any]
    reads: tuple[int, ...] = ()


def compute(
    graph: CallGraph,
    ends: Sequence[int],
    given: Mapping[int, Any],
    edits: Mapping[int, Edit] | None = None,
    training: bool = False,
    before: Callable[[Call], None] | None = None,
) -> list[Any]:
    """Compute tensors' values with the model's own layers, without a model of the calls between.

    A value is let go after its last use, so that no more memory is taken than by the model itself.

    Args:
        graph: The call graph.
        ends: Indices of the tensors that are asked for.
        given: Values of tensors; they must suffice, with all inputs of the model that it takes.
        edits: By the indices of tensors that are computed, what to make of their values.
        training: Whether layers behave as in training.
        before: What to do before each call.

    Returns:
        The values, as the backend's tensors.

    Example:
        >>> import keras
        >>> from cutwidgets.callgraph import read
        >>> graph = read(keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(3.0)]))
        >>> print(keras.ops.convert_to_numpy(compute(graph, [1], {0: [[1.0, 2.0]]})[0]))
        [[3. 6.]]
    """
    values = {tensor: keras.ops.convert_to_tensor(value) for tensor, value in given.items()}
    calls = between(graph, ends, given)[0]
    unread = Counter(tensor for index in calls for tensor in graph.calls[index].inputs)
    unread.update(ends)
    edits = edits or {}
    unread.update(tensor for edit in edits.values() for tensor in edit.reads)
    for index in calls:
        call = graph.calls[index]
        if before:
            before(call)
        args, kwargs = call.fill(values)
        if takes_training(call.layer):
            # Also where the graph says otherwise, as `model(x, training=False)` does.
            kwargs["training"] = training
        outputs = keras.tree.flatten(call.layer(*args, **kwargs))
        read = list(call.inputs)
        for tensor, value in zip(call.outputs, outputs, strict=True):
            if tensor in edits and tensor not in values:
                edit = edits[tensor]
                value = edit.change(value, *(values[other] for other in edit.reads))
                read += edit.reads
            values.setdefault(tensor, value)
        for tensor in read:
            unread[tensor] -= 1
            if not unread[tensor]:
                del values[tensor]
    return [values[tensor] for tensor in ends]


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
