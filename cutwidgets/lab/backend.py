"""What Keras has no word for, on the backends that we know: compiled functions, and gradients."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from ..errors import CutError


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors that is traced once for their shapes, and then runs without Python.

    Example:
        >>> import keras
        >>> double = compiled(lambda x: 2 * x)
        >>> float(double(keras.ops.convert_to_tensor(3.0)))
        6.0
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        traced = tf.function(function, autograph=False)
        # Called by itself it would warn of several functions that were made at one place.
        return lambda *arguments: traced.get_concrete_function(*arguments)(*arguments)
    if keras.backend.backend() == "jax":
        import jax

        jitted: Callable[..., Any] = jax.jit(function)
        return jitted
    return function


def gradients(function: Callable[..., Any], at: Sequence[Any]) -> list[Any]:
    """The gradients of a function of a list of tensors with respect to each of them.

    Args:
        function: It takes a list of tensors and gives a scalar.
        at: The tensors.

    Raises:
        CutError: If Keras runs on another backend than TensorFlow and JAX.

    Example:
        >>> import keras
        >>> x = keras.ops.convert_to_tensor(3.0)
        >>> float(gradients(lambda values: values[0] ** 2, [x])[0])
        6.0
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(list(at))
            value = function(list(at))
        zeros = tf.UnconnectedGradients.ZERO
        return list(tape.gradient(value, list(at), unconnected_gradients=zeros))
    if keras.backend.backend() == "jax":
        import jax

        return list(jax.grad(function)(list(at)))
    raise CutError(
        f"Keras runs on the backend {keras.backend.backend()!r}, and gradients are measured on "
        "'tensorflow' and 'jax' only. Set the environment variable KERAS_BACKEND before Keras is "
        "imported."
    )
