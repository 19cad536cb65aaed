"""Multiply-accumulate operations of a call, from the shapes of its inputs and outputs.

A convolution or a matrix product takes one multiplication and one addition for each weight that
is applied to a value: one MAC, or two FLOPs. Papers count "multiply-adds" in the same way (He et
al. 2015, "Deep residual learning for image recognition", table 1: 3.8·10⁹ for ResNet-50; Howard et
al. 2017, "MobileNets", equations 2 to 5). Biases, normalisations, activations, pooling and
elementwise operations are not counted. At borders the whole kernel counts, including the part on
the padding.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import keras
from keras import layers

from ..errors import CutwidgetsError
from ..graph.callgraph import Call, CallGraph
from ..graph.keras_internals import parameters_of, specify
from ..graph.reader import read
from ..graph.rebuild import RepeatError, specs
from .operations import is_free, keras_class

Lengths = tuple[int, ...]

# From a layer, its arguments by name and its output shapes; `None` for "not known".
Rule = Callable[[Any, Mapping[str, Any], Sequence[Lengths]], int | None]


def macs_of(call: Call, symbols: Mapping[int, keras.KerasTensor]) -> int | None:
    """The multiply-accumulate operations of a call, for all of a batch.

    Args:
        call: A call.
        symbols: Its input and output tensors, for their shapes. A length of `None` counts as 1.

    Returns:
        Their number; `None` if it is not known.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> graph = read(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)]))
        >>> macs_of(graph.calls[1], {tensor.index: tensor.symbol for tensor in graph.tensors})
        3888
    """
    rule = _rule_of(call.layer)
    if rule is None:
        return 0 if is_free(call.layer) else None
    outputs = [symbols[tensor] for tensor in call.outputs]
    return _apply(rule, call.layer, call.fill(symbols), outputs)


def _apply(
    rule: Rule, layer: Any, arguments: Any, outputs: Sequence[keras.KerasTensor]
) -> int | None:
    args, kwargs = arguments
    arguments = dict(zip(parameters_of(type(layer)), args, strict=False)) | kwargs
    if keras_class(layer) == "Einsum":  # takes *operands
        arguments = {"operands": args}
    return rule(layer, arguments, [_lengths(output) for output in outputs])


def _inner(layer: Any, *inputs: keras.KerasTensor) -> int | None:
    """The MACs of a layer inside another one, for one input."""
    rule = _rule_of(layer)
    if rule is None:
        return 0 if is_free(layer) else None
    arguments: tuple[Any, dict[str, Any]] = (inputs, {})
    return _apply(rule, layer, arguments, specify(layer, arguments))


def _lengths(value: Any) -> Lengths:
    return tuple(1 if length is None else int(length) for length in value.shape)


def _tensors(arguments: Mapping[str, Any]) -> list[Lengths]:
    """Shapes of all tensors among the arguments, arrays and variables included."""
    return [_lengths(v) for v in keras.tree.flatten(dict(arguments)) if hasattr(v, "shape")]


def _input(arguments: Mapping[str, Any]) -> Lengths:
    return _lengths(keras.tree.flatten(next(iter(arguments.values())))[0])


def _channels(layer: Any, shape: Lengths) -> int:
    return shape[1] if getattr(layer, "data_format", None) == "channels_first" else shape[-1]


def _volume(layer: Any) -> int:
    return prod(map(int, layer.kernel_size))


def _convolution(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int:
    width = _channels(layer, _input(arguments)) // int(layer.groups)
    return prod(outputs[0]) * _volume(layer) * width


def _depthwise(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int:
    return prod(outputs[0]) * _volume(layer)


def _separable(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int:
    positions = prod(outputs[0]) // layer.filters
    width = _channels(layer, _input(arguments)) * int(layer.depth_multiplier)
    return int(positions * width * (_volume(layer) + int(layer.filters)))


def _transposed(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int:
    return prod(_input(arguments)) * _volume(layer) * int(layer.filters)


def _dense(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int:
    return prod(outputs[0]) * _input(arguments)[-1]


def _einsum_dense(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int:
    operands, _, result = layer.equation.replace(" ", "").partition("->")
    # Every letter of the kernel is in the input, the output, or both.
    return _labels([operands.partition(",")[0], result], [_input(arguments), outputs[0]])


def _embedding(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int:
    # `ReversibleEmbedding` also multiplies with its table.
    return prod(outputs[0]) * _input(arguments)[-1] if arguments.get("reverse") else 0


def _multi_head(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int:
    query, value = _lengths(arguments["query"]), _lengths(arguments["value"])
    key = value if arguments.get("key") is None else _lengths(arguments["key"])
    rank, heads = len(query), int(layer.num_heads)
    axes = [axis % rank for axis in layer.attention_axes or range(1, rank - 1)]
    projections = (prod(query) + prod(key)) * heads * int(layer.key_dim)
    projections += (prod(value) + prod(outputs[0])) * heads * int(layer.value_dim)
    if getattr(layer, "use_gate", False):
        projections += prod(query) * heads * int(layer.value_dim)
    pairs = prod(query[:-1]) * prod(value[axis] for axis in axes)
    return projections + pairs * heads * int(layer.key_dim + layer.value_dim)


def _grouped_query(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int:
    query, value = _lengths(arguments["query"]), _lengths(arguments["value"])
    key = value if arguments.get("key") is None else _lengths(arguments["key"])
    gates = prod(query) if getattr(layer, "use_gate", False) else 0
    for_queries = prod(query) + prod(outputs[0]) + gates
    pairs = prod(query[:-1]) * value[1]
    return int(layer.head_dim) * (
        int(layer.num_query_heads) * (for_queries + 2 * pairs)
        + int(layer.num_key_value_heads) * (prod(key) + prod(value))
    )


def _attention(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int:
    query, value = (_lengths(tensor) for tensor in arguments["inputs"][:2])
    return prod(query[:-1]) * value[1] * (query[-1] + value[-1])


def _recurrent(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int | None:
    batch, steps, *features = _input(arguments)
    cells = layer.cell.cells if isinstance(layer.cell, layers.StackedRNNCells) else [layer.cell]
    total, width = 0, prod(features)
    for cell in cells:
        gates = next((n for kind, n in _GATES if type(cell).call is kind.call), None)
        if gates is None:
            return None
        total += gates * cell.units * (width + cell.units)
        width = cell.units
    return batch * steps * total


def _convolutional_lstm(
    layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]
) -> int:
    shape = _input(arguments)
    filters = int(layer.filters)
    positions = prod(outputs[0]) // filters
    steps = 1 if layer.return_sequences else shape[1]
    width = shape[2] if layer.data_format == "channels_first" else shape[-1]
    return steps * positions * _volume(layer) * 4 * filters * (width + filters)


def _both_directions(
    layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]
) -> int | None:
    sequence = next(iter(arguments.values()))
    counts = [_inner(one, sequence) for one in (layer.forward_layer, layer.backward_layer)]
    return _sum(counts)


def _each_step(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int | None:
    sequence = next(iter(arguments.values()))
    batch, steps, *shape = sequence.shape
    step = keras.KerasTensor((batch, *shape), dtype=sequence.dtype)
    count = _inner(layer.layer, step)
    return None if count is None else count * (steps or 1)


def _wrapped(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int | None:
    return _inner(layer.layer, next(iter(arguments.values())))


def _model(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int | None:
    """A model that the call graph does not open, such as one called with a mask."""
    try:
        graph = read(layer)
        inputs = keras.tree.flatten(next(iter(arguments.values())))
        symbols = specs(graph, without_inputs(graph), dict(zip(graph.inputs, inputs, strict=True)))
    except (CutwidgetsError, RepeatError, ValueError):
        return None
    return _sum([macs_of(call, symbols) for call in without_inputs(graph)])


def without_inputs(graph: CallGraph) -> list[Call]:
    """The calls of a graph that compute something."""
    return [call for call in graph.calls if call.role != "input"]


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _product(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int:
    """A product over the last axis of the first tensor; a scalar only scales."""
    shapes = _tensors(arguments)[:2]
    return prod(outputs[0]) * shapes[0][-1] if len(shapes) == 2 and all(shapes) else 0


def _dot_layer(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int:
    axis = layer.axes if isinstance(layer.axes, int) else layer.axes[0]
    return prod(outputs[0]) * _input(arguments)[axis]


def _tensor_dot(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int:
    first = _tensors(arguments)[0]
    if isinstance(layer.axes, int):
        return prod(outputs[0]) * prod(first[len(first) - layer.axes :])
    axes = layer.axes[0]
    return prod(outputs[0]) * prod(
        first[axis] for axis in ([axes] if isinstance(axes, int) else axes)
    )


def _vector_dot(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int:
    return prod(_tensors(arguments)[0])


def _einsum(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int | None:
    terms = layer.subscripts.replace(" ", "").partition("->")[0].split(",")
    if len(terms) > 2:
        return None  # that depends on the order of the products
    return _labels(terms, _tensors(arguments)) if len(terms) == 2 else 0


def _labels(terms: Sequence[str], shapes: Sequence[Lengths]) -> int:
    """The product of the lengths of all letters of an equation, each counted once."""
    lengths: dict[Any, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        before, _, after = term.partition("...")
        free = range(len(shape) - len(before) - len(after), 0, -1)
        for label, length in zip([*before, *free, *after], shape, strict=True):
            lengths[label] = max(lengths.get(label, 1), length)  # 1 is broadcast
    return prod(lengths.values())


def _kernel_operation(layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]) -> int:
    """A convolution as an operation, of a kernel (*size, inputs, outputs)."""
    inputs, kernel, *pointwise = _tensors(arguments)
    kind = keras_class(layer)
    if kind == "ConvTranspose":  # (*size, outputs, inputs)
        return prod(inputs) * prod(kernel[:-1])
    if kind == "DepthwiseConv":
        return prod(outputs[0]) * prod(kernel[:-2])
    if pointwise:
        return prod(outputs[0]) // pointwise[0][-1] * (prod(kernel) + prod(pointwise[0]))
    return prod(outputs[0]) * prod(kernel[:-1])


def _attention_operation(
    layer: Any, arguments: Mapping[str, Any], outputs: Sequence[Lengths]
) -> int:
    query, key = _lengths(arguments["query"]), _lengths(arguments["key"])
    return 2 * prod(query) * key[1]


_GATES: tuple[tuple[Any, int], ...] = (
    (layers.LSTMCell, 4), (layers.GRUCell, 3), (layers.SimpleRNNCell, 1),
)  # fmt: skip

_LAYER_RULES: dict[str, Rule] = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D"), _convolution),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _depthwise),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _separable),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _transposed),
    "Dense": _dense,
    "EinsumDense": _einsum_dense,
    **dict.fromkeys(("Embedding", "ReversibleEmbedding"), _embedding),
    "MultiHeadAttention": _multi_head,
    "GroupedQueryAttention": _grouped_query,
    **dict.fromkeys(("Attention", "AdditiveAttention"), _attention),
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN", "RNN"), _recurrent),
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), _convolutional_lstm),
    "Bidirectional": _both_directions,
    "TimeDistributed": _each_step,
    "SpectralNormalization": _wrapped,
    "Dot": _dot_layer,
}

_OPERATION_RULES: dict[str, Rule] = {
    "Matmul": _product,
    "Dot": _product,
    "Inner": _product,
    "Tensordot": _tensor_dot,
    "Vdot": _vector_dot,
    "Einsum": _einsum,
    "DotProductAttention": _attention_operation,
    **dict.fromkeys(("Conv", "DepthwiseConv", "SeparableConv", "ConvTranspose"), _kernel_operation),
}


def _rule_of(operation: Any) -> Rule | None:
    """The rule for an operation; none for a class that computes something of its own."""
    if isinstance(operation, keras.Model):
        return _model
    rules = _LAYER_RULES if isinstance(operation, keras.Layer) else _OPERATION_RULES
    return rules.get(keras_class(operation) or "")
