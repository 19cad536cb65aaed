"""The call graph: calls of layers and the tensors between them, as frozen dataclasses."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """An edge of the call graph.

    Attributes:
        index: Its position in `CallGraph.tensors`.
        shape: Its shape with the batch axis; `None` for lengths that are not fixed.
        dtype: Its dtype, as Keras names it.
        maker: Index of the call that computes it.
        users: Indices of the calls that read it, in call order.
        symbol: A `KerasTensor` of its shape and dtype; `None` in a stored graph.
        aliases: All `KerasTensor`s that stand for it, that of the outermost model first.
        nested: Whether it is inside a nested model, where the outermost model has no name for it.
    """

    index: int
    shape: Shape
    dtype: str
    maker: int
    users: tuple[int, ...]
    symbol: "keras.KerasTensor" = field(repr=False, compare=False)
    aliases: "tuple[keras.KerasTensor, ...]" = field(repr=False, compare=False)
    nested: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A vertex of the call graph: one use of a layer or operation.

    Attributes:
        index: Its position in `CallGraph.calls`.
        name: Its name in the model: the layer's name, prefixed by that of the nested model around
            it (`"backbone/conv1"`), and numbered if the layer is called more than once
            (`"shared#2"`).
        layer: The layer or operation, shared with the user's model.
        kind: Name of the layer's class, such as `"Conv2D"`.
        role: What it does to a tensor, one of the words of `role_of`.
        weighted: Whether it mixes what it reads by weights, as normalisations do not.
        pointwise: Whether its kernel covers a single position, as in a 1×1 convolution.
        stride: The factor by which it divides the resolution; below 1 if it raises it.
        inputs: Indices of the tensors that it reads, each once, in argument order.
        outputs: Indices of the tensors that it computes.
        scope: Names of the calls of nested models around it, the outermost first.
        arguments: Its arguments, as Keras stores them; `None` in a stored graph.
        reads: Indices of the tensors among the arguments, in their order.
    """

    index: int
    name: str
    layer: "keras.Operation" = field(repr=False)
    kind: str
    role: str
    weighted: bool
    pointwise: bool
    stride: float
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    scope: tuple[str, ...]
    arguments: Any = field(repr=False, compare=False)
    reads: tuple[int, ...] = field(repr=False)

    @property
    def own_name(self) -> str:
        """The layer's own name, without prefix and number."""
        return str(self.layer.name)

    def reading(self, swaps: Mapping[int, int]) -> "Call":
        """The call, with some tensors read in place of others."""
        reads = tuple(swaps.get(tensor, tensor) for tensor in self.reads)
        return replace(self, reads=reads, inputs=tuple(dict.fromkeys(reads)))

    def fill(self, values: Mapping[int, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments of the call, with values in place of the tensors."""
        symbols = zip(self.arguments.keras_tensors, self.reads, strict=True)
        args, kwargs = self.arguments.fill_in({id(s): values[tensor] for s, tensor in symbols})
        return tuple(args), dict(kwargs)


@dataclass(frozen=True, slots=True)
class Nest:
    """A call of a nested model that was opened.

    Attributes:
        call: The call as if it had not been opened. It is no vertex of the graph; its index is that
            of the first call inside.
        inside: Indices of the calls inside, ascending.
    """

    call: Call
    inside: range


@dataclass(frozen=True, slots=True)
class CallGraph:
    """The calls and tensors of a model, each in an order of computation.

    Attributes:
        name: Name of the model.
        calls: All calls, inputs first.
        tensors: All tensors, in the order of the calls that compute them.
        inputs: Indices of the model's input tensors, flat.
        outputs: Indices of the model's output tensors, flat, possibly with repetitions.
        output_keys: Their keys, if the model returns a dictionary; numbered (`"C3_0"`) if it has
            several tensors under one key. Otherwise none.
        nests: The calls of nested models that were opened, outer ones before those inside them.
        channel_axis: The axis of the channels: -1, or 1 for `"channels_first"`.
        swaps: For a rewired graph, pairs of a tensor and the tensor that is read in its place.
    """

    name: str
    calls: tuple[Call, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    nests: tuple[Nest, ...]
    channel_axis: int
    swaps: frozenset[tuple[int, int]] = frozenset()
    output_keys: tuple[str, ...] = ()

    def maker(self, tensor: int) -> Call:
        """The call that computes a tensor."""
        return self.calls[self.tensors[tensor].maker]


def has_automatic_name(call: Call) -> bool:
    """Whether Keras made up the name of a layer, with a number that differs between processes.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> layers = keras.layers.Dense(1), keras.layers.Dense(1, name="scores")
        >>> graph = read(keras.Sequential([keras.Input((2,)), *layers]))
        >>> [has_automatic_name(call) for call in graph.calls[1:]]
        [True, False]
    """
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", call.kind).lower()
    plain = re.sub(r"_\d+$", "", call.own_name)
    in_unnamed = any(re.fullmatch(r"(functional|sequential)(_\d+)?(#\d+)?", n) for n in call.scope)
    return in_unnamed or plain.replace("_", "") == snake.replace("_", "")


def entering(graph: CallGraph, calls: Sequence[int]) -> tuple[int, ...]:
    """The tensors that calls read but do not compute, each once, in call order."""
    inside = set(calls)
    read = (tensor for index in calls for tensor in graph.calls[index].inputs)
    return tuple(dict.fromkeys(t for t in read if graph.tensors[t].maker not in inside))


def leaving(graph: CallGraph, calls: Sequence[int]) -> list[int]:
    """The tensors that calls compute and others read, or that the model returns, in call order.

    If there are none, as for unused outputs of a nested model, those that nothing reads.
    """
    inside = set(calls)
    computed = [graph.tensors[tensor] for index in calls for tensor in graph.calls[index].outputs]
    return [
        tensor.index
        for tensor in computed
        if tensor.index in graph.outputs or not inside.issuperset(tensor.users)
    ] or [tensor.index for tensor in computed if not tensor.users]


def connected(graph: CallGraph, calls: Iterable[int]) -> list[list[int]]:
    """Divide calls into groups in which each call reads what another one computes.

    Returns:
        The groups, in the order of their first calls; the calls of each are ascending.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> x = keras.Input((8,))
        >>> a, b = keras.layers.Dense(8)(x), keras.layers.Dense(8)(x)
        >>> graph = read(keras.Model(x, keras.layers.Add()([keras.layers.ReLU()(a), b])))
        >>> connected(graph, [1, 2, 3])
        [[1, 3], [2]]
    """
    left = set(calls)
    groups = []
    for first in sorted(left):
        if first in left:
            left.discard(first)
            group = [first]
            for index in group:  # It grows as it goes.
                call = graph.calls[index]
                near = {graph.tensors[tensor].maker for tensor in call.inputs}
                near.update(user for tensor in call.outputs for user in graph.tensors[tensor].users)
                near &= left
                left -= near
                group += near
            groups.append(sorted(group))
    return groups


def between(
    graph: CallGraph, ends: Iterable[int], starts: Iterable[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The calls that compute some tensors from others.

    Args:
        graph: The call graph.
        ends: Indices of the tensors to compute.
        starts: Indices of the tensors that need not be computed.

    Returns:
        The indices of the calls, ascending, and those of the starts and the model's inputs that
        they read, ascending too.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> graph = read(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
        >>> between(graph, graph.outputs, graph.inputs)
        ((1,), (0,))
    """
    stops = {*starts, *graph.inputs}
    calls: set[int] = set()
    reached: set[int] = set()
    pending = list(ends)
    while pending:
        tensor = pending.pop()
        call = graph.maker(tensor)
        if tensor in stops:
            reached.add(tensor)
        elif call.index not in calls:
            calls.add(call.index)
            pending += call.inputs
    return tuple(sorted(calls)), tuple(sorted(reached))


def weights(graph: CallGraph, calls: Iterable[int]) -> dict[int, int]:
    """The sizes of the weights of the layers that are called, by a key for each weight.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> graph = read(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]))
        >>> list(weights(graph, [1]).values())
        [6, 3]
    """
    layers = {id(graph.calls[i].layer): graph.calls[i].layer for i in calls}
    found: dict[int, int] = {}
    for key, layer in layers.items():
        if not hasattr(layer, "count_params"):
            continue  # an operation may call anything its weights
        own = getattr(layer, "weights", None)  # none in a stored graph
        found |= {key: layer.count_params()} if own is None else {id(w): prod(w.shape) for w in own}
    return found


def parameters(graph: CallGraph, calls: Iterable[int]) -> int:
    """The number of parameters of the layers that are called; a shared weight counts once."""
    return sum(weights(graph, calls).values())


def rewire(graph: CallGraph, swaps: Mapping[int, int]) -> CallGraph:
    """The graph with some tensors read in place of others.

    Args:
        graph: The call graph.
        swaps: Maps the index of a tensor to that of the tensor to read in its place.

    Returns:
        A graph of the same calls and tensors, including calls that nothing reads any more.
    """
    last = {tensor: swaps[tensor] for tensor in swaps}
    for tensor in last:
        while last[tensor] in swaps:  # A block and the one before it may both be removed.
            last[tensor] = swaps[last[tensor]]
    calls = [call.reading(last) for call in graph.calls]
    outputs = tuple(last.get(tensor, tensor) for tensor in graph.outputs)
    rewired = connect(graph, calls, outputs)
    nests = (nest for nest in rewired.nests if not swaps.keys() & set(nest.call.outputs))
    return replace(
        rewired,
        nests=tuple(Nest(nest.call.reading(last), nest.inside) for nest in nests),
        swaps=frozenset(swaps.items()),
    )


def connect(graph: CallGraph, calls: Sequence[Call], outputs: tuple[int, ...]) -> CallGraph:
    """The graph with the same calls reading other tensors, and other outputs.

    Nested models in which a call reads another tensor are no nests any more.
    """
    users: list[list[int]] = [[] for _ in graph.tensors]
    for call in calls:
        for tensor in call.inputs:
            users[tensor].append(call.index)
    return replace(
        graph,
        calls=tuple(calls),
        tensors=tuple(
            replace(tensor, users=tuple(read))
            for tensor, read in zip(graph.tensors, users, strict=True)
        ),
        outputs=outputs,
        nests=tuple(
            nest
            for nest in graph.nests
            if all(calls[i].reads == graph.calls[i].reads for i in nest.inside)
        ),
    )
