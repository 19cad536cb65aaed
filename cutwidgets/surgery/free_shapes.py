"""Where a replacement may have another shape than what it replaces: at the model's ends."""

from collections.abc import Iterable, Sequence

import keras

from ..graph.callgraph import Call, CallGraph
from ..graph.keras_internals import functional
from ..graph.rebuild import RepeatError, specs, units
from .assembling import fits
from .copies import has_graph


def new_inputs(
    graph: CallGraph,
    inputs: Sequence[keras.KerasTensor],
    entry: int,
    readers: Iterable[int],
    other: keras.Layer,
) -> list[keras.KerasTensor]:
    """The inputs of a model in which another layer takes the place of some calls.

    These are the old ones, unless the new layer was built for another shape and only layers without
    weights come between the model's input and the place.

    Args:
        graph: The call graph of the model.
        inputs: The inputs, as they are without this replacement.
        entry: Index of the tensor that enters the place.
        readers: Indices of the calls that are replaced.
        other: The new layer or model.
    """
    own = graph.tensors[entry].symbol
    expected = _expected(other, own)
    if expected is None or fits(expected, own):
        return list(inputs)
    way = _way_in(graph, entry, readers)
    if way is None:
        return list(inputs)
    source = graph.calls[way[0]].inputs[0] if way else entry
    position = graph.inputs.index(source)
    old = inputs[position]
    shape = list(old.shape)
    for axis, (length, usual) in enumerate(zip(expected.shape, own.shape, strict=True)):
        if length != usual:
            shape[axis] = length
    dtype = old.dtype if way else expected.dtype
    new = keras.KerasTensor(tuple(shape), dtype=dtype, sparse=old.sparse)
    try:
        reached = specs(graph, units(graph, way, [source], [entry]), {source: new})[entry]
    except RepeatError:
        return list(inputs)
    if not fits(reached, expected):
        return list(inputs)
    return [*inputs[:position], new, *inputs[position + 1 :]]


def _expected(other: keras.Layer, usual: keras.KerasTensor) -> keras.KerasTensor | None:
    """What a model or a built layer accepts, free lengths as usual; `None` for another rank."""
    shape, dtype = list(usual.shape), usual.dtype
    if isinstance(other, keras.Model):
        inputs = functional(other).inputs if has_graph(other) else []
        if len(inputs) != 1 or len(inputs[0].shape) != len(shape):
            return None
        lengths = zip(inputs[0].shape, shape, strict=True)
        shape, dtype = [b if a is None else a for a, b in lengths], inputs[0].dtype
    else:
        spec = getattr(other, "input_spec", None)
        axes = (spec.axes or {}) if isinstance(spec, keras.InputSpec) else {}
        if not all(-len(shape) <= axis < len(shape) for axis in axes):
            return None
        for axis, length in axes.items():
            shape[axis] = length
    return keras.KerasTensor(tuple(shape), dtype=dtype)


def _way_in(graph: CallGraph, entry: int, readers: Iterable[int]) -> list[int] | None:
    """The calls from an input of the model to a place, if all their outputs go there alone.

    `None` if anything else reads one, or if one of the layers has weights or several inputs.
    """
    readers, way = set(readers), list[int]()
    while readers.issuperset(graph.tensors[entry].users) and entry not in graph.outputs:
        if entry in graph.inputs:
            return way
        call = graph.maker(entry)
        if not _accepts_any_shape(call) or len(call.outputs) > 1:
            return None
        way.insert(0, call.index)
        readers, (entry,) = {call.index}, call.inputs
    return None


def is_free_after(graph: CallGraph, out: int) -> bool:
    """Whether only layers without weights come between a tensor and the model's outputs."""
    pending = [out]
    while pending:
        for user in graph.tensors[pending.pop()].users:
            if not _accepts_any_shape(graph.calls[user]):
                return False
            pending += graph.calls[user].outputs
    return True


def _accepts_any_shape(call: Call) -> bool:
    """Whether a call reads one tensor, and has no weights of a shape that depends on it."""
    return len(call.inputs) == 1 and not getattr(call.layer, "weights", ())
