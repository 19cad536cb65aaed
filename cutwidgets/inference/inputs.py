"""A model's inputs: shapes, dtypes, the user's own data, random data."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph, Shape, Tensor
from .token_ids import integers

USUAL_SIZE = 224  # pixels per side where a model accepts any: what ImageNet networks train on


def random_input(
    graph: CallGraph, seed: int, like: Mapping[int, Any] | None = None
) -> dict[int, np.ndarray]:
    """Draw random values for a model's inputs: normal floats, or integers that the model takes.

    Token ids come from the vocabulary of the embeddings that read them, and masks are all ones, as
    `token_ids.integers` finds them in the graph. Without any such layer, integers are 0 and 1.

    Args:
        graph: The call graph.
        seed: Seed of the random numbers.
        like: Arrays whose shapes to use. Without them the batch size is 2, and lengths that are not
            fixed are 64 in images and 16 elsewhere.

    Raises:
        CutwidgetsError: If the model's input is text.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> graph = read(keras.Sequential([keras.Input((None, 2)), keras.layers.Dense(1)]))
        >>> random_input(graph, seed=0)[0].shape
        (2, 16, 2)
    """
    generator = np.random.default_rng(seed)
    values = {}
    for index in graph.inputs:
        tensor = graph.tensors[index]
        if tensor.dtype == "string":
            raise CutwidgetsError(
                f"The model {graph.name!r} takes texts, and random texts would show nothing. Pass "
                "an input of your own."
            )
        if like is None:
            free = 64 if len(tensor.shape) == 4 else 16
            batch, *lengths = tensor.shape
            shape = (batch or 2, *(length or free for length in lengths))
        else:
            shape = np.shape(like[index])
        taken = integers(graph, index)
        random = (
            generator.normal(size=shape) if taken is None else generator.choice(taken.ids, shape)
        )
        values[index] = random.astype(dtype_of(tensor))
    return values


def random_words(graph: CallGraph) -> dict[str, str]:
    """What `random_input` draws for each input, in words, by the inputs' names.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> graph = read(keras.Sequential([keras.Input((2,), name="x"), keras.layers.ReLU()]))
        >>> random_words(graph)
        {'x': 'Random numbers'}
    """
    return {
        graph.maker(index).name: "Random numbers" if taken is None else taken.words
        for index in graph.inputs
        for taken in [integers(graph, index)]
    }


def as_inputs(graph: CallGraph, x: Any) -> dict[int, np.ndarray]:
    """Convert data to arrays of the dtypes and shapes of a model's inputs.

    Args:
        graph: The call graph.
        x: What `by_input` accepts.

    Returns:
        An array for each input, by its index in the call graph.

    Raises:
        CutwidgetsError: If the data do not fit the model.
    """
    values = by_input(graph, x)
    return {
        index: _as_array(graph, graph.tensors[index], name, value)
        for index, (name, value) in zip(graph.inputs, values.items(), strict=True)
    }


def _as_array(graph: CallGraph, tensor: Tensor, name: str, value: Any) -> np.ndarray:
    if _is_data_set(value):
        raise CutwidgetsError(
            f"The input {name!r} of the model {graph.name!r} takes an array. Received a data set, "
            f"{type(value).__name__}: collect its batches first, for instance "
            "x, y = map(np.concatenate, zip(*data)). `cutwidgets.features` takes data sets."
        )
    try:
        array = np.asarray(value)
        if tensor.dtype != "string":
            array = array.astype(dtype_of(tensor))
    except (TypeError, ValueError) as error:
        raise CutwidgetsError(
            f"The input {name!r} of the model {graph.name!r} takes numbers. "
            f"Received: {value!r:.200}"
        ) from error
    if not fits(array.shape, tensor.shape):
        raise CutwidgetsError(
            f"The input {name!r} of the model {graph.name!r} has the shape {tensor.shape}, with "
            f"the batch axis first. Received an array of shape {array.shape}."
        )
    return array


def _is_data_set(value: Any) -> bool:
    return (
        hasattr(value, "element_spec")  # of tf.data
        or isinstance(value, keras.utils.PyDataset | Iterator)
        or (hasattr(value, "dataset") and hasattr(value, "batch_size"))  # PyTorch's loader
    )


def by_input(graph: CallGraph, values: Any) -> dict[str, Any]:
    """Assign one value to each input of a model.

    Args:
        graph: The call graph.
        values: A dictionary by the inputs' names, a list or tuple in the order of the inputs, or
            for a model with one input the value itself.

    Returns:
        The values by the inputs' names, in the order of the inputs.

    Raises:
        CutwidgetsError: If there is not one value for each input.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> graph = read(keras.Sequential([keras.Input((2,), name="x"), keras.layers.ReLU()]))
        >>> by_input(graph, [3, 4])
        {'x': [3, 4]}
    """
    names = [graph.maker(tensor).name for tensor in graph.inputs]
    rank = len(graph.tensors[graph.inputs[0]].shape)
    assigned = _one_each(values, names, lambda value: not _is_list_of_one(value, rank))
    listed = ", ".join(map(repr, names))
    if assigned is None:
        raise CutwidgetsError(
            f"The model {graph.name!r} takes the inputs {listed}: pass a list with an array for "
            f"each, or a dictionary. Received: {values!r:.200}"
        )
    missing = [name for name, value in zip(names, assigned, strict=True) if value is None]
    if missing:
        raise CutwidgetsError(
            f"The dictionary has no {', '.join(map(repr, missing))}, which the model "
            f"{graph.name!r} takes. Its inputs are {listed}. "
            f"Received: {', '.join(map(repr, values)) or 'nothing'}."
        )
    return dict(zip(names, assigned, strict=True))


def _is_list_of_one(values: Any, rank: int) -> bool:
    """Whether a list has the only input as its only item, and is not a batch of one example."""
    return isinstance(values, list | tuple) and [getattr(v, "ndim", 0) for v in values] == [rank]


def _one_each(
    values: Any,
    names: Sequence[str],
    is_value: Callable[[Any], bool],
    defaults: Iterable[Any] = repeat(None),
) -> list[Any] | None:
    """List one value for each name.

    Args:
        values: A dictionary by names, a list of as many, or for a single name its value.
        names: The names.
        is_value: Whether something is the value of a single name, and not a list of it.
        defaults: For each name the value where a dictionary has none.

    Returns:
        The values, or `None` if there are too few or too many.
    """
    if isinstance(values, Mapping):
        return [values.get(name, default) for name, default in zip(names, defaults, strict=False)]
    if len(names) == 1 and is_value(values):
        return [values]
    if isinstance(values, list | tuple) and len(values) == len(names):
        return list(values)
    return None


def fits(shape: Sequence[int], expected: Shape) -> bool:
    """Whether arrays of a shape are accepted where a length of `None` stands for any.

    Example:
        >>> fits((5, 8, 8, 3), (None, None, None, 3)), fits((8, 8, 3), (None, None, None, 3))
        (True, False)
    """
    return len(shape) == len(expected) and all(
        length in (None, actual) for length, actual in zip(expected, shape, strict=True)
    )


def dtype_of(tensor: Tensor) -> str:
    """The NumPy dtype to pass for a tensor; NumPy has no bfloat16."""
    return "float32" if tensor.dtype == "bfloat16" else tensor.dtype


def input_shapes(
    what: str, graph: CallGraph, tensors: Sequence[int], input_shape: Any
) -> list[Shape]:
    """Read the argument `input_shape`: one shape for each of some tensors.

    Args:
        what: Whose inputs the tensors are, for the error message.
        graph: The call graph.
        tensors: Indices of the tensors.
        input_shape: A shape with or without the batch axis; several in a list, or in a dictionary
            by the names of the layers that return the tensors.

    Returns:
        Shapes with the batch axis; a tensor's own shape where a dictionary has none for it.

    Raises:
        CutwidgetsError: If the shapes do not fit.
    """
    names = [graph.maker(tensor).own_name for tensor in tensors]
    usual = [graph.tensors[tensor].shape for tensor in tensors]
    shapes = _one_each(input_shape, names, lambda value: _is_shape(value, usual[0]), usual)
    is_known = not isinstance(input_shape, Mapping) or set(input_shape) <= set(names)
    if shapes is None or not is_known or not all(map(_is_shape, shapes, usual)):
        takes = ", ".join(f"{name!r} of {shape}" for name, shape in zip(names, usual, strict=True))
        raise CutwidgetsError(
            f"input_shape does not fit the {what}, which takes {takes}, with the batch axis first. "
            f"Received: {input_shape!r:.200}"
        )
    return [
        tuple(shape) if len(shape) == len(old) else (old[0], *shape)
        for shape, old in zip(shapes, usual, strict=True)
    ]


def _is_shape(value: Any, usual: Shape) -> bool:
    """Whether something is a shape of the usual rank, with or without the batch axis."""
    return (
        isinstance(value, list | tuple)
        and len(value) in (len(usual), len(usual) - 1)
        and all(length is None or (isinstance(length, int) and length > 0) for length in value)
    )
