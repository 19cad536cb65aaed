"""What layers and operations do to a tensor, in one word each."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import keras
from keras import layers

T = TypeVar("T")


def per_class(function: Callable[[Any], T]) -> Callable[[Any], T]:
    """Remember what a function returns for each class, for as long as the class lives.

    A plain cache would keep a user's class, and all that its methods refer to.
    """
    known: WeakKeyDictionary[Any, T] = WeakKeyDictionary()

    @wraps(function)
    def remembering(kind: Any) -> T:
        try:
            return known[kind]
        except KeyError:
            found = known[kind] = function(kind)
            return found

    return remembering


_ROLES: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("input", (layers.InputLayer,)),
    ("model", (keras.Model,)),
    ("depthwise", (layers.DepthwiseConv1D, layers.DepthwiseConv2D)),
    (
        "convolution",
        (
            layers.Conv1D, layers.Conv2D, layers.Conv3D,
            layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose,
            layers.SeparableConv1D, layers.SeparableConv2D,
        ),
    ),
    ("fully connected", (layers.Dense, layers.EinsumDense)),
    ("embedding", (layers.Embedding,)),
    ("recurrent", (layers.RNN, layers.Bidirectional)),
    ("attention", (layers.Attention, layers.MultiHeadAttention, layers.GroupQueryAttention)),
    (
        "normalization",
        (layers.BatchNormalization, layers.LayerNormalization, layers.GroupNormalization,
         layers.UnitNormalization),
    ),
    (
        "activation",
        (layers.Activation, layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU,
         layers.Softmax),
    ),
    (
        "global pooling",
        (
            layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D,
            layers.GlobalAveragePooling3D,
            layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D,
        ),
    ),
    (
        "pooling",
        (
            layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D,
            layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D,
        ),
    ),
    (
        "padding",
        (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D,
         layers.Cropping1D, layers.Cropping2D, layers.Cropping3D),
    ),
    (
        "dropout",
        (layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D,
         layers.SpatialDropout3D, layers.AlphaDropout, layers.GaussianDropout,
         layers.GaussianNoise, layers.ActivityRegularization),
    ),
    ("flatten", (layers.Flatten,)),
    ("rescaling", (layers.Rescaling, layers.Normalization)),
    ("addition", (layers.Add, layers.Average)),
    ("multiplication", (layers.Multiply,)),
    ("concatenation", (layers.Concatenate,)),
)  # fmt: skip

_OPERATION_ROLES = {
    "Add": "addition",
    "Multiply": "multiplication",
    "Concatenate": "concatenation",
    "MaxPool": "pooling",
    "AveragePool": "pooling",
    "Pad": "padding",
    **dict.fromkeys(
        ("Elu", "Gelu", "HardSigmoid", "HardSilu", "LeakyRelu", "Relu", "Relu6", "Selu", "Sigmoid",
         "Silu", "Softmax", "Softplus", "Tanh"),
        "activation",
    ),
}  # fmt: skip

_ENLARGING = (layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D)


def role_of(operation: keras.Operation) -> str:
    """What a layer or operation does to a tensor, in one word; `"other"` for what we do not know.

    Subclasses have the role of the layer that they extend.

    Example:
        >>> import keras
        >>> role_of(keras.layers.Conv2D(4, 3)), role_of(keras.layers.Lambda(lambda x: x))
        ('convolution', 'other')
    """
    if not isinstance(operation, keras.Layer):
        return _OPERATION_ROLES.get(type(operation).__name__, "other")
    kind: Any = type(operation)
    return _role_of_class(kind)


@per_class
def _role_of_class(kind: Any) -> str:
    return next((role for role, kinds in _ROLES if issubclass(kind, kinds)), "other")


def is_pointwise(operation: keras.Operation) -> bool:
    """Whether a kernel covers a single position, as that of a 1×1 convolution."""
    kernel = getattr(operation, "kernel_size", ())
    return all(size == 1 for size in (kernel if isinstance(kernel, tuple) else (kernel,)))


def stride_of(
    operation: keras.Operation, before: Sequence[int | None], after: Sequence[int | None]
) -> float:
    """By how much a layer divides the resolution of a tensor; below 1 where it enlarges.

    What the layer was told, or else the ratio of the resolutions before and after it.
    """
    if isinstance(operation, _ENLARGING):
        return 1 / _first(operation.size)
    strides = getattr(operation, "strides", None)
    # A layer of a user's own may keep anything under this name.
    if isinstance(strides, tuple | list | int) and strides:
        stride = _first(strides)
        return 1 / stride if type(operation).__name__.endswith("Transpose") else stride
    axis = 2 if getattr(operation, "data_format", None) == "channels_first" else 1
    if len(before) < 3 or len(before) != len(after):
        return 1
    taken, given = before[axis], after[axis]
    if not taken or not given:
        return 1
    ratio = taken / given
    # Padding and cropping change a margin, not the resolution.
    return float(round(ratio) if ratio >= 1.5 else 1 / round(1 / ratio) if ratio <= 0.67 else 1)


def _first(value: Any) -> int:
    return int(value[0] if isinstance(value, tuple | list) else value)
