"""By which factor a layer or operation changes the resolution."""

from collections.abc import Mapping
from typing import Any

import keras

from .keras_internals import SymbolicArguments
from .roles import ranks

# A usual size of images: the usual strides and windows of 7 pixels divide it.
_USUAL_LENGTH = 672

_STRIDED = frozenset({"convolution", "depthwise", "pooling"})
_UNKNOWN = frozenset({"other", "model", "reordering"})
_ENLARGING = ranks("UpSampling{}D")
_PERMUTING = frozenset({"Permute", "Transpose", "Moveaxis", "Swapaxes"})


def stride_of(
    operation: keras.Operation,
    role: str,
    arguments: SymbolicArguments,
    read: Mapping[int, keras.KerasTensor],
    output: keras.KerasTensor,
) -> float:
    """The factor by which an operation divides the resolution of a tensor; below 1 if it raises it.

    Convolutions, pooling and upsampling have a stride of their own. What else is known, such as
    padding, cropping, sums and concatenations, changes no resolution. Layers of the user and
    operations such as slicing are asked for the shape that they would compute from an input of a
    usual size: at small sizes, what they cut off at the margins may look like a stride, and
    lengths may be left open.

    Args:
        operation: The layer or operation.
        role: Its role.
        arguments: The arguments of its call.
        read: The tensors among them in their present shapes, by the `id` of the argument.
        output: The tensor that it computes.
    """
    if isinstance(operation, _ENLARGING):
        return 1 / _largest(operation.size)
    # An operation without strides pools windows side by side.
    strides = getattr(operation, "strides", None) or getattr(operation, "pool_size", None)
    if role in _STRIDED and strides:
        stride = _largest(strides)
        return 1 / stride if type(operation).__name__.endswith("Transpose") else stride
    if role not in _UNKNOWN or type(operation).__name__ in _PERMUTING:
        return 1
    source = next((s for s in read.values() if len(s.shape) == len(output.shape)), None)
    if source is None or len(source.shape) < 3:
        return 1
    axis = _length_axis(operation)
    before, after = source.shape[axis], output.shape[axis]
    if before == after and before not in (None, 1):
        return 1
    probed = _length_after(operation, arguments, read, len(source.shape), axis)
    if probed is not None and (after is None or probed != after):
        before, after = _USUAL_LENGTH, probed
    # An output of a fixed length 1 has no resolution left.
    return _rounded(before / after) if before and after and after > 1 else 1


def _length_axis(operation: keras.Operation) -> int:
    data_format = getattr(operation, "data_format", None) or keras.config.image_data_format()
    return 2 if data_format == "channels_first" else 1


def _length_after(
    operation: keras.Operation,
    arguments: SymbolicArguments,
    read: Mapping[int, keras.KerasTensor],
    rank: int,
    axis: int,
) -> int | None:
    """The length of the output for an input of a usual size; `None` if it accepts no such input."""

    def usual(symbol: keras.KerasTensor) -> keras.KerasTensor:
        if len(symbol.shape) != rank:
            return symbol
        shape = [_USUAL_LENGTH] * rank
        shape[0] = symbol.shape[0]
        channels = 1 if axis == 2 else rank - 1
        shape[channels] = symbol.shape[channels]
        return keras.KerasTensor(shape, dtype=symbol.dtype)

    args, kwargs = arguments.fill_in({key: usual(symbol) for key, symbol in read.items()})
    try:
        computed = keras.tree.flatten(operation.compute_output_spec(*args, **kwargs))[0]
        length = computed.shape[axis] if len(computed.shape) == rank else None
    except Exception:  # whatever a layer raises that does not accept this shape
        return None
    return None if length is None else int(length)


def _rounded(ratio: float) -> float:
    """The stride that a ratio of two lengths stands for: lengths that are odd are rounded."""
    if ratio >= 1:
        return float(round(ratio)) if ratio >= 1.5 else 1.0
    return 1 / round(1 / ratio) if ratio <= 0.67 else 1.0


def _largest(value: Any) -> int:
    """The factor along the axis where it is largest, as for strides `(1, 2)`."""
    return max(map(int, value)) if isinstance(value, tuple | list) else int(value)
