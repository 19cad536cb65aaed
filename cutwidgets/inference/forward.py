"""Run a slice: what a model expects of its pixels, the head, the forward pass."""

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
    """Call a model, on as many values as it has inputs, for as many as it has outputs.

    The model is the same afterwards, even if some of its layers change as they are called.

    Raises:
        CutwidgetsError: If a layer cannot take these values.
    """
    packed = keras.tree.pack_sequence_as(functional(model).input, list(inputs))
    with _as_before(model.name, [model]):
        # Never with training=True: one such call changes the statistics of normalisations.
        return list(keras.tree.flatten(model(packed, training=False)))


def evaluate(
    graph: CallGraph,
    ends: Sequence[int],
    given: Mapping[int, Any],
    before: Callable[[Call], None] | None = None,
) -> list[Any]:
    """Compute tensors of a model from others, as `compute` does; the model is the same afterwards.

    Raises:
        CutwidgetsError: If a layer cannot take these values.
    """
    layers = [graph.calls[index].layer for index in between(graph, ends, given)[0]]
    with _as_before(graph.name, layers):
        return compute(graph, ends, given, before=before)


def arrays(values: Sequence[Any]) -> list[np.ndarray]:
    """The backend's tensors as NumPy arrays."""
    return [np.asarray(keras.ops.convert_to_numpy(value)) for value in values]


@contextmanager
def _as_before(name: str, layers: Iterable[keras.Operation]) -> Iterator[None]:
    """Put back states, statistics and seeds that a forward pass changes; explain its errors."""
    try:
        with put_back_after(layers), warnings.catch_warnings():
            # Between head, slice and tail a mask travels with its tensor, as it does in the model.
            warnings.filterwarnings("ignore", message=".*does not support masking")
            yield
    except Exception as error:  # whatever a user's own layer or the backend raises
        raise CutwidgetsError(f"The model {name!r} cannot run on this input: {error}") from error
