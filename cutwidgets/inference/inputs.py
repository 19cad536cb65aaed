"""Inputs for a model: shapes, dtypes, a user's own examples, random ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph, Shape, Tensor

USUAL_SIZE = 224  # pixels a side, where a model takes any: what ImageNet networks are trained on


def random_input(
    graph: CallGraph, seed: int, like: Mapping[int, Any] | None = None
) -> dict[int, np.ndarray]:
    """Random values for a model's inputs: normal, or zeros and ones for integers.

    Args:
        graph: The call graph.
        seed: Seed of the random numbers.
        like: Values whose shapes to use; without them, two examples, and for lengths that are not
            fixed 64 for images and 16 for anything else.

    Raises:
        CutwidgetsError: If the model takes strings.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> graph = read(keras.Sequential([keras.Input((None, 2)), keras.layers.Dense(1)]))
        >>> random_input(graph, seed=0)[0].shape
        (2, 16, 2)
    """
    generator = np.random.default_rng(seed)
    made = {}
    for index in graph.inputs:
        tensor = graph.tensors[index]
        if tensor.dtype == "string":
            raise CutwidgetsError(
                f"The model {graph.name!r} takes texts, and random texts would show nothing. Give "
                "an input of your own."
            )
        free = 64 if len(tensor.shape) == 4 else 16
        batch, *lengths = tensor.shape
        shape = (batch or 2, *(length or free for length in lengths))
        shape = shape if like is None else tuple(np.shape(like[index]))
        is_float = "float" in tensor.dtype
        random = generator.normal(size=shape) if is_float else generator.integers(0, 2, shape)
        made[index] = random.astype(dtype_of(tensor))
    return made


def by_input(graph: CallGraph, values: Any) -> dict[str, Any]:
    """One value for each input of the model, by the names of the inputs.

    Args:
        graph: The call graph.
        values: The value of a single input; a list or a tuple of as many values as the model has
            inputs; or a dictionary by their names, which may have others.

    Raises:
        CutwidgetsError: If there is no value for an input, or there are too many values.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> inputs = [keras.Input((2,), name="x"), keras.Input((3,), name="y")]
        >>> by_input(read(keras.Model(inputs, inputs)), [1, 2])
        {'x': 1, 'y': 2}
    """
    names = [graph.maker(tensor).name for tensor in graph.inputs]
    if isinstance(values, Mapping):
        if missing := [name for name in names if name not in values]:
            raise CutwidgetsError(
                f"The dictionary has no {', '.join(map(repr, missing))}, which the model "
                f"{graph.name!r} takes. It has {', '.join(map(repr, values)) or 'nothing'}."
            )
        return {name: values[name] for name in names}
    is_list = isinstance(values, list | tuple)
    if len(names) == 1:
        rank = len(graph.tensors[graph.inputs[0]].shape)
        return {names[0]: values[0] if is_list and _ranks(values) == [rank] else values}
    if not is_list or len(values) != len(names):
        raise CutwidgetsError(
            f"The model {graph.name!r} takes {', '.join(map(repr, names))}: give a list of as many "
            f"arrays, or a dictionary. Received: {values!r:.200}"
        )
    return dict(zip(names, values, strict=True))


def _ranks(values: Any) -> list[int]:
    try:
        return [len(np.shape(value)) for value in values]
    except (TypeError, ValueError):  # nested lists of several lengths, or no known rank
        return []


def as_inputs(graph: CallGraph, x: Any) -> dict[int, np.ndarray]:
    """Arrays for the model's inputs, from any values that `by_input` accepts.

    Raises:
        CutwidgetsError: If they do not fit the model.
    """
    inputs = {}
    for index, (name, value) in zip(graph.inputs, by_input(graph, x).items(), strict=True):
        tensor = graph.tensors[index]
        try:
            array = np.asarray(value)
            inputs[index] = array if tensor.dtype == "string" else array.astype(dtype_of(tensor))
        except (TypeError, ValueError) as error:
            raise CutwidgetsError(
                f"The input {name!r} of the model {graph.name!r} takes numbers. "
                f"Received: {value!r:.200}"
            ) from error
        fits = [want in (None, got) for want, got in zip(tensor.shape, array.shape, strict=False)]
        if len(array.shape) != len(tensor.shape) or not all(fits):
            raise CutwidgetsError(
                f"The input {name!r} of the model {graph.name!r} has the shape {tensor.shape}, the "
                f"batch axis first. Received an array of shape {array.shape}."
            )
    return inputs


def dtype_of(tensor: Tensor) -> str:
    """A dtype of NumPy that a tensor takes; NumPy has no bfloat16."""
    return "float32" if tensor.dtype == "bfloat16" else tensor.dtype


def shapes_asked(what: str, graph: CallGraph, tensors: Sequence[int], asked: Any) -> list[Shape]:
    """The shapes that were asked for, one for each tensor that something takes.

    Args:
        what: What takes them, for the error.
        graph: The call graph.
        tensors: Indices of the tensors.
        asked: A shape with or without the batch axis; several in a list, or in a dictionary by the
            names of the layers that make the tensors.

    Returns:
        Shapes with the batch axis; that of the tensor where none was asked for.

    Raises:
        CutwidgetsError: If that does not fit.
    """
    names = [graph.maker(tensor).own_name for tensor in tensors]
    usual = [graph.tensors[tensor].shape for tensor in tensors]
    if isinstance(asked, Mapping):
        known = dict(zip(names, usual, strict=True))
        given = list((known | dict(asked)).values()) if set(asked) <= set(known) else []
    elif not isinstance(asked, list | tuple):
        given = []
    elif len(names) == 1 and not any(isinstance(length, list | tuple) for length in asked):
        given = [asked]
    else:
        given = list(asked)
    fits = len(given) == len(usual) and all(map(_fits, given, usual))
    if not fits:
        takes = ", ".join(f"{name!r} of {shape}" for name, shape in zip(names, usual, strict=True))
        raise CutwidgetsError(
            f"input_shape does not fit the {what}, which takes {takes}, the batch axis first. "
            f"Received: {asked!r:.200}"
        )
    return [
        tuple(shape) if len(shape) == len(old) else (old[0], *shape)
        for shape, old in zip(given, usual, strict=True)
    ]


def _fits(shape: Any, usual: Shape) -> bool:
    return (
        isinstance(shape, list | tuple)
        and len(shape) in (len(usual), len(usual) - 1)
        and all(length is None or (isinstance(length, int) and length > 0) for length in shape)
    )
