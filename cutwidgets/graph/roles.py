"""The roles of layers and operations: what each does to a tensor, in one word."""

from collections.abc import Callable
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


def ranks(*names: str) -> tuple[Any, ...]:
    """Layer classes for one, two and three dimensions, by names such as `"Conv{}D"`."""
    classes = (getattr(layers, name.format(rank), None) for name in names for rank in (1, 2, 3))
    return tuple(filter(None, classes))


_ROLES: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("input", (layers.InputLayer,)),
    ("model", (keras.Model,)),
    ("depthwise", ranks("DepthwiseConv{}D")),
    ("convolution", ranks("Conv{}D", "Conv{}DTranspose", "SeparableConv{}D")),
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
    ("global pooling", ranks("GlobalAveragePooling{}D", "GlobalMaxPooling{}D")),
    ("pooling", ranks("AveragePooling{}D", "MaxPooling{}D")),
    ("padding", ranks("ZeroPadding{}D", "Cropping{}D")),
    (
        "dropout",
        (layers.Dropout, *ranks("SpatialDropout{}D"), layers.AlphaDropout,
         layers.GaussianDropout, layers.GaussianNoise, layers.ActivityRegularization),
    ),
    ("flatten", (layers.Flatten,)),
    ("rescaling", (layers.Rescaling, layers.Normalization)),
    ("reordering", (layers.Permute, layers.Reshape)),
    ("addition", (layers.Add, layers.Average, layers.Subtract)),
    ("selection", (layers.Maximum, layers.Minimum)),
    ("multiplication", (layers.Multiply,)),
    ("concatenation", (layers.Concatenate,)),
)  # fmt: skip

_WEIGHTED = frozenset(
    {"convolution", "depthwise", "fully connected", "recurrent", "attention", "embedding"}
)

_OPERATION_ROLES = {
    **dict.fromkeys(("Add", "Subtract"), "addition"),
    **dict.fromkeys(("Multiply", "Divide"), "multiplication"),
    **dict.fromkeys(("Maximum", "Minimum", "Where"), "selection"),
    "Concatenate": "concatenation",
    **dict.fromkeys(("Transpose", "Moveaxis", "Swapaxes", "Reshape"), "reordering"),
    "MaxPool": "pooling",
    "AveragePool": "pooling",
    "Pad": "padding",
    **dict.fromkeys(
        ("Elu", "Gelu", "HardSigmoid", "HardSilu", "LeakyRelu", "Relu", "Relu6", "Selu", "Sigmoid",
         "Silu", "Softmax", "Softplus", "Tanh"),
        "activation",
    ),
}  # fmt: skip


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


def is_weighted(operation: keras.Operation, role: str) -> bool:
    """Whether an operation mixes what it reads by weights, and does not only scale or shift it.

    A layer of no known role does if one of its weights has two axes longer than 1: the weights of
    a normalisation or of a layer scale have one.

    Example:
        >>> import keras
        >>> dense, norm = keras.layers.Dense(2), keras.layers.LayerNormalization()
        >>> is_weighted(dense, role_of(dense)), is_weighted(norm, role_of(norm))
        (True, False)
    """
    if role in {"other", "model"}:
        # An operation may keep anything under the name of `weights`.
        weights = operation.weights if isinstance(operation, keras.Layer) else ()
        return any(sum(length > 1 for length in weight.shape) > 1 for weight in weights)
    return role in _WEIGHTED
