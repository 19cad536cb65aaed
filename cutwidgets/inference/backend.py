"""Compiling and gradients, for which Keras has no function that works on every backend."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..progress import track
from .forward import arrays


def finite(name: str, output: np.ndarray) -> np.ndarray:
    """Return an output if it is finite.

    Raises:
        CutwidgetsError: If it has NaN or infinite values.
    """
    if not np.isfinite(output).all():
        raise CutwidgetsError(
            f"The output of the model {name!r} has values that are not finite (NaN or infinite), "
            "so there is nothing to compare. Its weights may have diverged in training."
        )
    return output


def in_batches(function: Any, inputs: Mapping[int, np.ndarray], at_once: int) -> np.ndarray:
    """Apply a compiled function to all examples, in batches of one size, so that it is traced once.

    Args:
        function: From tensors, by the indices of the model's inputs, to one with the batch axis.
        inputs: Arrays with the batch axis.
        at_once: The size of a batch.

    Raises:
        CutwidgetsError: If a layer fails on these values.
    """
    size = len(next(iter(inputs.values())))
    rows: list[np.ndarray] = []
    for _, batch in batches(inputs, at_once):
        rows += applied(lambda tensors: [function(tensors)], batch)
    return np.concatenate(rows)[:size]


def batches(
    inputs: Mapping[int, np.ndarray], at_once: int, label: str = "running the model"
) -> Iterator[tuple[np.ndarray, dict[int, np.ndarray]]]:
    """Divide examples into batches of one size; the last example fills up the last batch.

    Args:
        inputs: Arrays with the batch axis.
        at_once: The size of a batch.
        label: What is done with them, for the progress bar.

    Returns:
        The positions of the examples in each batch, and the batch.

    Example:
        >>> [positions.tolist() for positions, _ in batches({0: np.zeros(3)}, 2)]
        [[0, 1], [2, 2]]
    """
    size = len(next(iter(inputs.values())))
    for first in track(range(0, size, at_once), label):
        chosen = np.minimum(np.arange(first, first + at_once), size - 1)
        yield chosen, {index: array[chosen] for index, array in inputs.items()}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of tensors, for TensorFlow and JAX; it is traced once for their shapes.

    Example:
        >>> import keras
        >>> double = compiled(lambda x: 2 * x)
        >>> float(double(keras.ops.convert_to_tensor(3.0)))
        6.0
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        traced = tf.function(function, autograph=False)
        # A direct call would warn of several functions that were made in one place.
        return lambda *arguments: traced.get_concrete_function(*arguments)(*arguments)
    if keras.backend.backend() == "jax":
        import jax

        jitted: Callable[..., Any] = jax.jit(function)
        return jitted
    return function


def applied(
    function: Callable[..., Any], inputs: Mapping[int, np.ndarray], name: str = ""
) -> list[np.ndarray]:
    """Apply a function to a model's inputs, without changing the variables of any layer.

    Args:
        function: From tensors, by the indices of the model's inputs, to a list of tensors.
        inputs: Arrays with the batch axis.
        name: Name of the model, for the error message.

    Raises:
        CutwidgetsError: If a layer fails on these values.

    Example:
        >>> applied(lambda values: [2 * values[0]], {0: np.ones(2)})
        [array([2., 2.])]
    """
    try:
        with keras.StatelessScope():
            tensors = {i: keras.ops.convert_to_tensor(array) for i, array in inputs.items()}
            return arrays(function(tensors))
    except Exception as error:  # whatever a user's own layer or the backend raises
        model = f"The model {name!r}" if name else "The model"
        raise CutwidgetsError(f"{model} cannot run on this input: {error}") from error


def gradients(function: Callable[..., Any], at: Sequence[Any]) -> list[Any]:
    """The gradients of a function of a list of tensors with respect to each of them.

    Args:
        function: From a list of tensors to a scalar.
        at: The tensors.

    Raises:
        CutwidgetsError: If Keras runs on a backend other than TensorFlow and JAX.

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
        f"Keras runs on the backend {keras.backend.backend()!r}, but gradients need 'tensorflow' "
        "or 'jax'. Set KERAS_BACKEND before you start Python."
    )
