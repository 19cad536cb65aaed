"""Forward passes of models and of parts of their graphs, which leave the model unchanged."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..graph.callgraph import Call, CallGraph, between
from ..graph.interpreter import compute
from ..graph.keras_internals import functional
from .side_effects import put_back_after


def forward(model: keras.Model, inputs: Sequence[Any]) -> list[Any]:
    """Call a model in inference mode.

    The model is unchanged afterwards, even if calls change the state of some layers.

    Args:
        model: The model.
        inputs: A value for each of its inputs, flat.

    Returns:
        A tensor for each of its outputs, flat.

    Raises:
        CutwidgetsError: If a layer fails on these values.
    """
    packed = keras.tree.pack_sequence_as(functional(model).input, list(inputs))
    with _as_before(model.name, [model]):
        # Never with training=True: one such call changes the statistics of normalisations.
        return list(keras.tree.flatten(model(packed, training=False)))


def evaluate(
    graph: CallGraph,
    ends: Sequence[int],
    values: Mapping[int, Any],
    before: Callable[[Call], None] | None = None,
) -> list[Any]:
    """Compute tensors of a model from others, as `compute` does; the model is unchanged afterwards.

    Raises:
        CutwidgetsError: If a layer fails on these values.
    """
    layers = [graph.calls[index].layer for index in between(graph, ends, values)[0]]
    with _as_before(graph.name, layers):
        return compute(graph, ends, values, before=before)


def arrays(values: Sequence[Any]) -> list[np.ndarray]:
    """Convert the backend's tensors to NumPy arrays."""
    return [np.asarray(keras.ops.convert_to_numpy(value)) for value in values]


@contextmanager
def _as_before(name: str, layers: Iterable[keras.Operation]) -> Iterator[None]:
    """Restore what a forward pass changes (states, statistics, seeds); explain its errors."""
    try:
        with put_back_after(layers), warnings.catch_warnings():
            # Between head, slice and tail a mask travels with its tensor, as it does in the model.
            warnings.filterwarnings("ignore", message=".*does not support masking")
            yield
    except Exception as error:  # whatever a user's own layer or the backend raises
        raise CutwidgetsError(f"The model {name!r} cannot run on this input: {error}") from error
