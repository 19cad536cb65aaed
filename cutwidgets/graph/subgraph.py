"""A call graph of some calls of another one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .callgraph import Call, CallGraph, Nest, Tensor, between


def subgraph(graph: CallGraph, order: Sequence[int]) -> CallGraph:
    """The graph of some calls alone, renumbered: to find its blocks, not to build a model of it.

    Args:
        graph: A call graph, which may be rewired.
        order: Indices of the calls to keep, each after those whose outputs it reads.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> graph = read(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
        >>> subgraph(graph, [0, 1]) == graph
        True
    """
    calls = {old: new for new, old in enumerate(order)}
    made = [tensor for index in order for tensor in graph.calls[index].outputs]
    tensors = {old: new for new, old in enumerate(made)}
    return replace(
        graph,
        calls=tuple(_call(graph.calls[old], new, tensors) for old, new in calls.items()),
        tensors=tuple(_tensor(graph.tensors[old], calls, tensors) for old in made),
        inputs=tuple(tensors[tensor] for tensor in graph.inputs if tensor in tensors),
        outputs=tuple(tensors[tensor] for tensor in graph.outputs),
        nests=tuple(_nests(graph, calls, tensors)),
        swaps=frozenset(),
    )


def needed(graph: CallGraph) -> list[int]:
    """Indices of the calls that a graph's outputs need, its inputs among them, ascending."""
    calls, reached = between(graph, graph.outputs, ())
    return sorted({*calls, *(graph.tensors[tensor].maker for tensor in reached)})


def _call(call: Call, index: int, tensors: Mapping[int, int]) -> Call:
    inputs, outputs, reads = (
        tuple(tensors[tensor] for tensor in several)
        for several in (call.inputs, call.outputs, call.reads)
    )
    return replace(call, index=index, inputs=inputs, outputs=outputs, reads=reads)


def _tensor(tensor: Tensor, calls: Mapping[int, int], tensors: Mapping[int, int]) -> Tensor:
    users = tuple(sorted(calls[user] for user in tensor.users if user in calls))
    return replace(tensor, index=tensors[tensor.index], maker=calls[tensor.maker], users=users)


def _nests(
    graph: CallGraph, calls: Mapping[int, int], tensors: Mapping[int, int]
) -> Iterable[Nest]:
    """The nested models of which all calls are left, one after another."""
    for nest in graph.nests:
        first = calls.get(nest.inside.start, 0)
        inside = range(first, first + len(nest.inside))
        whole = [calls.get(index) for index in nest.inside] == list(inside)
        if whole and tensors.keys() >= {*nest.call.reads, *nest.call.outputs}:
            yield Nest(_call(nest.call, first, tensors), inside)
