"""Receptive fields: how much of the model's input an element of a tensor can depend on.

Araujo, Norris, Sim 2019, "Computing receptive fields of convolutional neural networks" (Distill):
a window of k positions, d apart, on a tensor whose positions are j input pixels apart, enlarges the
field by (k - 1)·d·j pixels, and a stride of s multiplies j by s. The largest field of several paths
counts. An enlarging layer, such as a transposed convolution, reduces j by inserting positions
without sources; later windows then add a multiple of the distance between sources, rounded down.
The result is exact for windows centred on each other, and an upper bound where enlarging and
reducing layers alternate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import keras
from keras import layers

from ..graph.callgraph import Call, CallGraph
from .operations import ELEMENTWISE, LOCAL_LAYERS, is_own, keras_class


@dataclass(frozen=True, slots=True)
class Reach:
    """The receptive field of an element along one axis, in pixels of the input.

    Attributes:
        sources: Size of the field of a single source: an element of the last tensor that was not
            enlarged.
        pitch: Distance between neighbouring sources.
        spread: Extent of the windows on the enlarged tensor.
        jump: Distance between neighbouring elements.
    """

    sources: int = 1
    pitch: Fraction = Fraction(1)
    spread: Fraction = Fraction(0)
    jump: Fraction = Fraction(1)

    @property
    def size(self) -> int:
        """The receptive field in pixels."""
        return int(self.sources + self.spread // self.pitch * self.pitch)

    def window(self, size: int, stride: int = 1, dilation: int = 1) -> "Reach":
        """The field after a convolution or pooling."""
        spread = self.spread + (size - 1) * dilation * self.jump
        return Reach(self.sources, self.pitch, spread, self.jump * stride)

    def enlarged(self, size: int, factor: int, dilation: int = 1) -> "Reach":
        """The field after a transposed convolution: zeros between elements, then a window."""
        before = self if self.jump <= self.pitch else Reach(self.size, self.jump, jump=self.jump)
        return Reach(before.sources, before.pitch, before.spread, self.jump / factor).window(
            size, dilation=dilation
        )


# One for each spatial axis; `()` without dependence on an input with spatial axes; `None` where it
# is unbounded or unknown.
Field = tuple[Reach, ...] | None


def fields(graph: CallGraph, symbols: Mapping[int, keras.KerasTensor]) -> dict[int, Field]:
    """The receptive field of each tensor of a graph.

    Args:
        graph: The call graph.
        symbols: Shapes of all tensors.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> model = keras.Sequential([keras.Input((32, 32, 3))])
        >>> model.add(keras.layers.Conv2D(4, 3, strides=2))
        >>> model.add(keras.layers.Conv2D(4, 3))
        >>> graph = read(model)
        >>> shapes = {tensor.index: tensor.symbol for tensor in graph.tensors}
        >>> [reach.size for reach in fields(graph, shapes)[graph.outputs[0]]]
        [7, 7]
    """
    first = graph.channel_axis == 1
    results: dict[int, Field] = {
        tensor: tuple(Reach() for _ in range(_spatial_axes(graph, tensor)))
        for tensor in graph.inputs
    }
    for call in graph.calls:
        field = widest([results[tensor] for tensor in call.inputs])
        if field:
            # Inputs without spatial axes, such as a vector that scales channels, do not count.
            spatial = [tensor for tensor in call.inputs if results[tensor]]
            shapes = [symbols[tensor].shape for tensor in (*spatial, *call.outputs)]
            field = _after(call, field, [_lengths(shape, first) for shape in shapes], first)
        for tensor in call.outputs:
            results.setdefault(tensor, field)
    return results


def sizes(field: Field) -> tuple[int, ...] | None:
    """A receptive field in pixels; `None` where it has no bound or no axes."""
    return tuple(reach.size for reach in field) if field else None


def widest(fields: Sequence[Field]) -> Field:
    """The largest of several receptive fields, on each axis."""
    ranks = {len(field) for field in fields if field}
    if None in fields or len(ranks) > 1:
        return None
    axes = zip(*filter(None, fields), strict=True)
    return tuple(max(axis, key=lambda reach: (reach.size, reach.spread)) for axis in axes)


def _spatial_axes(graph: CallGraph, index: int) -> int:
    """The number of spatial axes of an input: all but the batch, and the channels if it has any."""
    tensor = graph.tensors[index]
    are_tokens = any(graph.calls[user].role == "embedding" for user in tensor.users)
    return max(0, len(tensor.shape) - (1 if are_tokens else 2))


def _lengths(shape: Sequence[Any], channels_first: bool) -> tuple[Any, ...]:
    return tuple(shape[2:] if channels_first else shape[1:-1])


def _after(
    call: Call, field: tuple[Reach, ...], lengths: Sequence[tuple[Any, ...]], channels_first: bool
) -> Field:
    """The field after a call; `lengths` are the spatial lengths of its inputs, then outputs."""
    layer: Any = call.layer
    if isinstance(layer, layers.SpectralNormalization):
        layer = layer.layer
    if not is_own(layer):
        return None
    activation = getattr(getattr(layer, "activation", None), "__name__", "")
    if channels_first and activation in _ALONG_THE_LAST_AXIS:
        return None
    window = _window(call, layer, lengths, len(field))
    if window is not None:
        return tuple(
            reach.enlarged(size, -stride, dilation) if stride < 0
            else reach.window(size, stride, dilation)
            for reach, size, stride, dilation in zip(field, *window, strict=True)
        )  # fmt: skip
    kind = keras_class(layer)
    if kind in _EMBEDDINGS:
        return field
    *others, length = lengths
    if len(length) != len(field):
        return None
    # Constants beside a single tensor, such as the class token of a vision transformer, pad it.
    is_padded = (
        kind == "Concatenate" and len(others) == 1 and len(set(call.reads)) == len(call.reads)
    )
    if kind in _PADDING or is_padded:
        return field
    keeps = all(other == length for other in others)
    return field if keeps and _is_local(layer, len(field), channels_first) else None


Window = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def _window(call: Call, layer: Any, lengths: Sequence[Any], rank: int) -> Window | None:
    """Size, stride and dilation on each axis; a negative stride enlarges. `None` for no window."""
    kind = keras_class(layer)
    if kind in _WINDOWED:
        size = layer.pool_size if hasattr(layer, "pool_size") else layer.kernel_size
    elif kind in ("Conv", "DepthwiseConv", "SeparableConv", "ConvTranspose"):
        args, kwargs = call.arguments.args, call.arguments.kwargs
        kernel = args[1] if len(args) > 1 else next(v for k, v in kwargs.items() if "kernel" in k)
        size = tuple(kernel.shape[:-2])
    elif kind == "SpaceToDepth":
        return _window_of(layer.block_size, layer.block_size, 1, rank)
    elif kind == "DepthToSpace":
        return _window_of(layer.block_size, -layer.block_size, 1, rank)
    else:
        return _resizing(layer, lengths, rank)
    strides = _each(size if getattr(layer, "strides", None) is None else layer.strides, rank)
    if "Transpose" in kind:
        strides = tuple(-stride for stride in strides)
    return _window_of(size, strides, getattr(layer, "dilation_rate", 1), rank)


def _resizing(layer: Any, lengths: Sequence[Any], rank: int) -> Window | None:
    """The window of a layer that enlarges by whole factors."""
    ups = layers.UpSampling1D | layers.UpSampling2D | layers.UpSampling3D
    if not isinstance(layer, ups | layers.Resizing) and type(layer).__name__ != "Resize":
        return None
    if getattr(layer, "crop_to_aspect_ratio", False) or len(lengths[0]) != rank:
        return None
    pairs = list(zip(lengths[0], lengths[-1], strict=True))
    if not all(before and after and after % before == 0 for before, after in pairs):
        return None
    factors = tuple(after // before for before, after in pairs)
    reads = _SOURCES.get(getattr(layer, "interpolation", "nearest"))
    if reads is None:
        return None
    size = tuple(reads * factor if factor > 1 else 1 for factor in factors)
    return _window_of(size, tuple(-factor for factor in factors), 1, rank)


# How many elements one output element reads, on each axis.
_SOURCES = {"nearest": 1, "bilinear": 2, "bicubic": 4, "lanczos3": 6, "lanczos5": 10}


def _window_of(size: Any, stride: Any, dilation: Any, rank: int) -> Window | None:
    window = (_each(size, rank), _each(stride, rank), _each(dilation, rank))
    return window if all(len(part) == rank for part in window) else None


def _each(value: Any, rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _is_local(layer: Any, rank: int, channels_first: bool) -> bool:
    """Whether an element is known to depend on the elements at the same position alone.

    The layer is one that leaves the spatial lengths as they are.
    """
    kind = keras_class(layer)
    if kind in ("Dense", "Masking"):
        return not channels_first
    if kind == "EinsumDense":
        operands, _, result = layer.equation.replace(" ", "").partition("->")
        inputs, _, kernel = operands.partition(",")
        return result.startswith(inputs[:-1]) and not set(inputs[:-1].strip(".")) & set(kernel)
    if kind in _ALONG_AN_AXIS:
        channel = 1 if channels_first else rank + 1
        axes = layer.axis if isinstance(layer.axis, list | tuple) else (layer.axis,)
        return all(axis is not None and axis % (rank + 2) == channel for axis in axes)
    return kind in (LOCAL_LAYERS if isinstance(layer, keras.Layer) else ELEMENTWISE)


_WINDOWED = (
    "AveragePool", "AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "Conv1D",
    "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose",
    "DepthwiseConv1D", "DepthwiseConv2D", "MaxPool", "MaxPooling1D", "MaxPooling2D",
    "MaxPooling3D", "SeparableConv1D", "SeparableConv2D",
)  # fmt: skip

_EMBEDDINGS = ("Embedding", "ReversibleEmbedding")

# They shift positions without reordering them.
_PADDING = (
    "Cropping1D", "Cropping2D", "Cropping3D", "Pad", "ZeroPadding1D", "ZeroPadding2D",
    "ZeroPadding3D",
)  # fmt: skip

_ALONG_AN_AXIS = (
    "LayerNormalization", "LogSoftmax", "RMSNormalization", "Softmax", "Sparsemax",
    "UnitNormalization",
)  # fmt: skip

_ALONG_THE_LAST_AXIS = ("log_softmax", "softmax", "sparsemax")  # activations
