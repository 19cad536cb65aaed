"""Read a Keras model into frozen dataclasses. The only module that knows Keras's private graph.

The graph is read from `Functional._nodes_by_depth`, the calls that belong to this model, and never
from a layer's `_inbound_nodes`, which also hold the calls that other models made.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import layers

from .errors import UnsupportedModelError
from .roles import role_of

try:  # Keras has no public name for these two.
    from keras.src.models.functional import Functional
    from keras.src.ops.node import Node
except ImportError as error:  # pragma: no cover
    raise ImportError(
        f"cutwidgets reads the graph of Keras 3, and Keras {keras.__version__} keeps it elsewhere. "
        "Please install a Keras that this version of cutwidgets was tested with: 3.10 to 3.15."
    ) from error

Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """An edge of the call graph.

    Attributes:
        index: Its position in `CallGraph.tensors`.
        shape: Its shape with the batch axis; `None` where a length is not fixed.
        dtype: Its dtype, as Keras names it.
        maker: Index of the call that makes it.
        users: Indices of the calls that read it, in call order.
        symbol: The `KerasTensor` itself.
    """

    index: int
    shape: Shape
    dtype: str
    maker: int
    users: tuple[int, ...]
    symbol: keras.KerasTensor = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A vertex of the call graph: one use of a layer or operation.

    Attributes:
        index: Its position in `CallGraph.calls`.
        name: Name of the layer or operation.
        kind: Name of its class, such as `"Conv2D"`.
        role: What it does to a tensor, one of the words of `role_of`.
        pointwise: Whether its kernel covers a single position, as that of a 1×1 convolution.
        stride: By how much it divides the resolution; below 1 where it enlarges.
        inputs: Indices of the tensors that it reads, each once, in argument order.
        outputs: Indices of the tensors that it makes.
        node: Keras's own record of the call.
    """

    index: int
    name: str
    kind: str
    role: str
    pointwise: bool
    stride: float
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    node: Node = field(repr=False, compare=False)

    @property
    def layer(self) -> keras.Operation:
        """The layer or operation that is called; layers are shared with the user's model."""
        return self.node.operation


@dataclass(frozen=True, slots=True)
class CallGraph:
    """The calls and tensors of a model, each in an order in which they can be computed.

    Attributes:
        name: Name of the model.
        calls: All calls, inputs first.
        tensors: All tensors, in the order of the calls that make them.
        inputs: Indices of the model's input tensors, flat.
        outputs: Indices of the model's output tensors, flat; one may stand twice.
        channel_axis: Where a tensor has its channels: -1, or 1 for `"channels_first"`.
    """

    name: str
    calls: tuple[Call, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    channel_axis: int

    def maker(self, tensor: int) -> Call:
        """The call that makes a tensor."""
        return self.calls[self.tensors[tensor].maker]

    def find(self, symbol: keras.KerasTensor) -> int | None:
        """The index of a `KerasTensor` in this graph, `None` where it is not part of it."""
        for tensor in self.tensors:
            if tensor.symbol is symbol:
                return tensor.index
        history = getattr(symbol, "_keras_history", None)
        if history is None:
            return None
        # A copy of the tensor, with the same history, stands for the same value.
        for tensor in self.tensors:
            if tensor.symbol._keras_history == history:
                return tensor.index
        # A layer's `output` is that of its first call; in a slice, the model's and not the slice's.
        calls = [call for call in self.calls if call.layer is history.operation]
        return calls[0].outputs[history.tensor_index] if len(calls) == 1 else None


def functional(model: keras.Model) -> Functional:
    """The object that holds a model's graph: the model itself, or what a Sequential wraps.

    Args:
        model: A built functional or Sequential model.

    Raises:
        UnsupportedModelError: If the model has no graph to read.

    Example:
        >>> import keras
        >>> functional(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])).inputs[0].shape
        (None, 2)
    """
    if isinstance(model, Functional | keras.Sequential) and type(model).call not in (
        Functional.call,
        keras.Sequential.call,
    ):
        raise UnsupportedModelError(
            f"The model {model.name!r} is a {type(model).__name__} with a call() method of its "
            "own: what that adds to the graph of layers cannot be read. Put it into a layer."
        )
    if isinstance(model, Functional):
        return model
    if isinstance(model, keras.Sequential):
        if model._functional is not None:
            return model._functional
        raise UnsupportedModelError(
            f"The Sequential model {model.name!r} is not built, so it has no graph to read yet. "
            "Call model.build(input_shape), or begin it with keras.Input(shape)."
        )
    if isinstance(model, keras.Model):
        raise UnsupportedModelError(
            f"The model {model.name!r} is a subclassed {type(model).__name__}: what it does is "
            "written in its call() method, so there is no graph of layers to read. Build the same "
            "network with the functional API, keras.Model(inputs, outputs); often "
            "keras.Model(x, model.call(x)) with x = keras.Input(shape) does."
        )
    raise UnsupportedModelError(
        f"Expected a keras.Model, functional or Sequential. Received: {model!r:.200} "
        f"(of type {type(model).__name__})."
    )


def read(model: keras.Model) -> CallGraph:
    """Read the graph of a model, in time linear in its calls and tensors. The model is not touched.

    Args:
        model: A built functional or Sequential model.

    Returns:
        The graph. It holds the model's layers and tensors, not the model.

    Raises:
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> import keras
        >>> graph = read(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="out")]))
        >>> [call.name for call in graph.calls][1:], graph.tensors[-1].shape
        (['out'], (None, 1))
    """
    source = functional(model)
    nodes = [
        node
        for depth in sorted(source._nodes_by_depth, reverse=True)
        for node in source._nodes_by_depth[depth]
    ]
    nodes.sort(key=lambda node: not node.is_input)
    symbols: list[keras.KerasTensor] = []
    index: dict[int, int] = {}
    makers: list[int] = []
    users: list[list[int]] = []
    calls: list[Call] = []
    for position, node in enumerate(nodes):
        inputs = [] if node.is_input else [index[id(symbol)] for symbol in node.input_tensors]
        unique_inputs = tuple(dict.fromkeys(inputs))
        for tensor in unique_inputs:
            users[tensor].append(position)
        outputs = range(len(symbols), len(symbols) + len(node.outputs))
        for symbol in node.outputs:
            index[id(symbol)] = len(symbols)
            symbols.append(symbol)
            makers.append(position)
            users.append([])
        calls.append(
            Call(
                index=position,
                name=node.operation.name,
                kind=type(node.operation).__name__,
                role=role_of(node.operation),
                pointwise=_is_pointwise(node.operation),
                stride=_stride_of(node),
                inputs=unique_inputs,
                outputs=tuple(outputs),
                node=node,
            )
        )
    return CallGraph(
        name=model.name,
        calls=tuple(calls),
        tensors=tuple(
            Tensor(i, tuple(s.shape), s.dtype, makers[i], tuple(users[i]), s)
            for i, s in enumerate(symbols)
        ),
        inputs=tuple(index[id(symbol)] for symbol in source.inputs),
        outputs=tuple(index[id(symbol)] for symbol in source.outputs),
        channel_axis=_channel_axis(nodes),
    )


def _channel_axis(nodes: Iterable[Node]) -> int:
    formats = {getattr(node.operation, "data_format", None) for node in nodes}
    return 1 if "channels_first" in formats else -1


def entering(graph: CallGraph, calls: Sequence[int]) -> tuple[int, ...]:
    """The tensors that calls read and do not make themselves, each once, in call order."""
    inside = set(calls)
    read_by_them = (tensor for index in calls for tensor in graph.calls[index].inputs)
    outside = (tensor for tensor in read_by_them if graph.tensors[tensor].maker not in inside)
    return tuple(dict.fromkeys(outside))


def between(
    graph: CallGraph, ends: Iterable[int], starts: Iterable[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What it takes to compute some tensors from others.

    Args:
        graph: The call graph.
        ends: Indices of the tensors that are asked for.
        starts: Indices of tensors that need not be computed.

    Returns:
        The indices of the calls that it takes, ascending, and those of the starts and of the
        model's inputs that they read, ascending too.

    Example:
        >>> import keras
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


def compute(graph: CallGraph, ends: Sequence[int], given: Mapping[int, Any]) -> list[Any]:
    """Compute tensors' values with the model's own layers, without a model of the calls between.

    Args:
        graph: The call graph.
        ends: Indices of the tensors that are asked for.
        given: Values of tensors; they must suffice, with all inputs of the model that it takes.

    Returns:
        The values, as the backend's tensors.

    Example:
        >>> import keras
        >>> graph = read(keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(3.0)]))
        >>> print(keras.ops.convert_to_numpy(compute(graph, [1], {0: [[1.0, 2.0]]})[0]))
        [[3. 6.]]
    """
    values = {tensor: keras.ops.convert_to_tensor(value) for tensor, value in given.items()}
    by_symbol = {id(graph.tensors[tensor].symbol): value for tensor, value in values.items()}
    for index in between(graph, ends, given)[0]:
        call = graph.calls[index]
        args, kwargs = call.node.arguments.fill_in(by_symbol)
        outputs = keras.tree.flatten(call.layer(*args, **kwargs))
        for tensor, value in zip(call.outputs, outputs, strict=True):
            values.setdefault(tensor, value)
            by_symbol.setdefault(id(graph.tensors[tensor].symbol), value)
    return [values[tensor] for tensor in ends]


def rebuild(
    graph: CallGraph, calls: Iterable[int], given: dict[int, keras.KerasTensor]
) -> dict[int, keras.KerasTensor]:
    """Repeat calls of a graph on other tensors, with the same layers and arguments.

    Each call adds one node to its layer, for good: Keras finds a tensor's node by its position in
    the layer's list, so a node that was added cannot be taken away again. Shapes are not computed
    anew, which makes this as fast as Keras's own cloning of a graph.

    Args:
        graph: The graph that the calls belong to.
        calls: Indices of the calls to repeat, ascending.
        given: For tensors that need not be computed, what to read in their place.

    Returns:
        The new tensor for each tensor of the graph that was given or computed.
    """
    made = dict(given)
    by_symbol = {id(graph.tensors[tensor].symbol): symbol for tensor, symbol in given.items()}
    for index in calls:
        call = graph.calls[index]
        args, kwargs = call.node.arguments.convert(lambda x: by_symbol.get(id(x), x))
        outputs = [
            keras.KerasTensor(old.shape, dtype=old.dtype, sparse=old.sparse, name=old.name)
            for old in call.node.outputs
        ]
        Node(operation=call.layer, call_args=args, call_kwargs=kwargs, outputs=outputs)
        for tensor, old, new in zip(call.outputs, call.node.outputs, outputs, strict=True):
            # A tensor that was given stands, though its maker is repeated for another output.
            made.setdefault(tensor, new)
            by_symbol.setdefault(id(old), new)
    return made


def _is_pointwise(operation: keras.Operation) -> bool:
    kernel = getattr(operation, "kernel_size", ())
    return all(size == 1 for size in (kernel if isinstance(kernel, tuple) else (kernel,)))


def _stride_of(node: Node) -> float:
    """What the layer was told, or else the ratio of the resolutions before and after it."""
    operation = node.operation
    if isinstance(operation, layers.UpSampling1D | layers.UpSampling2D | layers.UpSampling3D):
        return 1 / _first(operation.size)
    if getattr(operation, "strides", None) is not None:
        stride = _first(operation.strides)
        return 1 / stride if type(operation).__name__.endswith("Transpose") else stride
    if node.is_input:
        return 1
    before, after = node.input_tensors[0].shape, node.outputs[0].shape
    axis = 2 if getattr(operation, "data_format", None) == "channels_first" else 1
    if len(before) < 3 or len(before) != len(after) or not before[axis] or not after[axis]:
        return 1
    ratio = before[axis] / after[axis]
    # Padding and cropping change a margin, not the resolution.
    return float(round(ratio) if ratio >= 1.5 else 1 / round(1 / ratio) if ratio <= 0.67 else 1)


def _first(value: int | tuple[int, ...]) -> int:
    return value[0] if isinstance(value, tuple | list) else value


def parameters(graph: CallGraph, calls: Iterable[int]) -> int:
    """The number of parameters of the layers that are called; a shared layer counts once."""
    called = {id(graph.calls[i].layer): graph.calls[i].layer for i in calls}
    return sum(layer.count_params() for layer in called.values() if isinstance(layer, keras.Layer))
