"""Compute the values of tensors in a call graph."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from .. import progress
from .callgraph import Call, CallGraph, between
from .keras_internals import takes_training


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of a tensor's value before anything reads it.

    Attributes:
        change: A function of the value, and of the values of other tensors.
        reads: Indices of these other tensors; the value must depend on each of them.
    """

    change: Callable[..., Any]
    reads: tuple[int, ...] = ()


def compute(
    graph: CallGraph,
    ends: Sequence[int],
    inputs: Mapping[int, Any],
    edits: Mapping[int, Edit] | None = None,
    training: bool = False,
    before: Callable[[Call], None] | None = None,
) -> list[Any]:
    """Compute the values of tensors with the model's own layers, without building a model.

    Each value is released after its last use, so this needs no more memory than the model itself.
    Each call is a step of `progress.steps`.

    Args:
        graph: The call graph.
        ends: Indices of the tensors to compute.
        inputs: Values of tensors by their indices; the ends must be computable from them.
        edits: Changes of computed values, by the indices of the tensors.
        training: Whether layers behave as in training.
        before: A function to call with each call before it runs.

    Returns:
        The values, as the backend's tensors.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> graph = read(keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(3.0)]))
        >>> print(keras.ops.convert_to_numpy(compute(graph, [1], {0: [[1.0, 2.0]]})[0]))
        [[3. 6.]]
    """
    values = {tensor: keras.ops.convert_to_tensor(value) for tensor, value in inputs.items()}
    calls = between(graph, ends, inputs)[0]
    unread = Counter(tensor for index in calls for tensor in graph.calls[index].inputs)
    unread.update(ends)
    edits = edits or {}
    unread.update(tensor for edit in edits.values() for tensor in edit.reads)
    for index in progress.steps(calls):
        call = graph.calls[index]
        if before:
            before(call)
        args, kwargs = call.fill(values)
        if takes_training(call.layer):
            # This overrides the graph's own argument, as from `model(x, training=False)`.
            kwargs["training"] = training
        outputs = keras.tree.flatten(call.layer(*args, **kwargs))
        read = list(call.inputs)
        for tensor, value in zip(call.outputs, outputs, strict=True):
            if tensor in edits and tensor not in values:
                edit = edits[tensor]
                value = edit.change(value, *(values[other] for other in edit.reads))
                read += edit.reads
            values.setdefault(tensor, value)
        for tensor in read:
            unread[tensor] -= 1
            if not unread[tensor]:
                del values[tensor]
    return [values[tensor] for tensor in ends]
