"""The roles of layers and operations: what each does to a tensor, in one word."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import keras
from keras import layers

T = TypeVar("T")


def per_class(function: Callable[[Any], T]) -> Callable[[Any], T]:
    """Cache a function of classes, without keeping the classes alive.

    A plain cache would keep a user's class, and all that its methods refer to.
    """
    results: WeakKeyDictionary[Any, T] = WeakKeyDictionary()

    @wraps(function)
    def cached(kind: Any) -> T:
        if kind not in results:
            results[kind] = function(kind)
        return results[kind]

    return cached


def _ranks(*names: str) -> tuple[Any, ...]:
    """Layer classes for one, two and three dimensions, by names such as `"Conv{}D"`."""
    classes = (getattr(layers, name.format(rank), None) for name in names for rank in (1, 2, 3))
    return tuple(filter(None, classes))


_ROLES: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("input", (layers.InputLayer,)),
    ("model", (keras.Model,)),
    ("depthwise", _ranks("DepthwiseConv{}D")),
    ("convolution", _ranks("Conv{}D", "Conv{}DTranspose", "SeparableConv{}D")),
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
    ("global pooling", _ranks("GlobalAveragePooling{}D", "GlobalMaxPooling{}D")),
    ("pooling", _ranks("AveragePooling{}D", "MaxPooling{}D")),
    ("padding", _ranks("ZeroPadding{}D", "Cropping{}D")),
    (
        "dropout",
        (layers.Dropout, *_ranks("SpatialDropout{}D"), layers.AlphaDropout,
         layers.GaussianDropout, layers.GaussianNoise, layers.ActivityRegularization),
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

_ENLARGING = _ranks("UpSampling{}D")


def role_of(operation: keras.Operation) -> str:
    """What a layer or operation does to a tensor, in one word; `"other"` if that is not known.

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
    """Whether a kernel covers a single position, as in a 1×1 convolution."""
    kernel = getattr(operation, "kernel_size", ())
    return all(size == 1 for size in (kernel if isinstance(kernel, tuple) else (kernel,)))


def stride_of(
    operation: keras.Operation, before: Sequence[int | None], after: Sequence[int | None]
) -> float:
    """The factor by which a layer divides the resolution of a tensor; below 1 if it raises it.

    This is the layer's own stride, or else the ratio of the resolutions before and after it.
    """
    if isinstance(operation, _ENLARGING):
        return 1 / _first(operation.size)
    strides = getattr(operation, "strides", None)
    # A custom layer may store anything under this name.
    if isinstance(strides, tuple | list | int) and strides:
        stride = _first(strides)
        return 1 / stride if type(operation).__name__.endswith("Transpose") else stride
    axis = 2 if getattr(operation, "data_format", None) == "channels_first" else 1
    if len(before) < 3 or len(before) != len(after):
        return 1
    length_before, length_after = before[axis], after[axis]
    if not length_before or not length_after:
        return 1
    ratio = length_before / length_after
    # Padding and cropping change a margin, not the resolution.
    return float(round(ratio) if ratio >= 1.5 else 1 / round(1 / ratio) if ratio <= 0.67 else 1)


def _first(value: Any) -> int:
    return int(value[0] if isinstance(value, tuple | list) else value)
