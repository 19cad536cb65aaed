"""What Keras has no word for, on the backends that we know: compiled functions, and gradients."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from .forward import arrays


def finite(name: str, output: np.ndarray) -> np.ndarray:
    """The output itself.

    Raises:
        CutwidgetsError: If a value of it is not finite.
    """
    if not np.isfinite(output).all():
        raise CutwidgetsError(
            f"The model {name!r} gives values that are not finite (NaN or infinite): there is "
            "nothing to compare. Its weights may have been lost in training."
        )
    return output


def in_batches(function: Any, given: Mapping[int, np.ndarray], at_once: int) -> np.ndarray:
    """Apply a compiled function to all examples, always to as many at once, so that one trace does.

    Args:
        function: From tensors, by the indices of the model's inputs, to one with the batch axis.
        given: Arrays with the batch axis.
        at_once: How many examples are computed at once.

    Raises:
        CutwidgetsError: If a layer cannot take these values.
    """
    return np.concatenate(list(_batches(function, given, at_once)))


def _batches(function: Any, given: Mapping[int, np.ndarray], at_once: int) -> Iterator[np.ndarray]:
    size = len(next(iter(given.values())))
    for first in range(0, size, at_once):
        chosen = np.arange(first, first + at_once)
        # The last ones are repeated until there are enough.
        values = {i: value[np.minimum(chosen, size - 1)] for i, value in given.items()}
        (output,) = applied(lambda tensors: [function(tensors)], values)
        yield output[: size - first]


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


def applied(
    function: Callable[..., Any], given: Mapping[int, np.ndarray], name: str = ""
) -> list[np.ndarray]:
    """What a function gives for a model's inputs; within it no layer changes its variables.

    Args:
        function: From tensors, by the indices of the model's inputs, to tensors.
        given: Arrays with the batch axis.
        name: Name of the model, for the error.

    Raises:
        CutwidgetsError: If a layer cannot take these values.

    Example:
        >>> applied(lambda values: [2 * values[0]], {0: np.ones(2)})
        [array([2., 2.])]
    """
    try:
        with keras.StatelessScope():
            tensors = {i: keras.ops.convert_to_tensor(value) for i, value in given.items()}
            return arrays(function(tensors))
    except Exception as error:  # whatever a user's own layer or the backend raises
        model = f"The model {name!r}" if name else "The model"
        raise CutwidgetsError(f"{model} cannot run on this input: {error}") from error


def gradients(function: Callable[..., Any], at: Sequence[Any]) -> list[Any]:
    """The gradients of a function of a list of tensors with respect to each of them.

    Args:
        function: It takes a list of tensors and gives a scalar.
        at: The tensors.

    Raises:
        CutwidgetsError: If Keras runs on another backend than TensorFlow and JAX.

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
    raise CutwidgetsError(
        f"Keras runs on the backend {keras.backend.backend()!r}, and gradients are measured on "
        "'tensorflow' and 'jax' only. Set the environment variable KERAS_BACKEND before Keras is "
        "imported."
    )
