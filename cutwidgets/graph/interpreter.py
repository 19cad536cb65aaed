"""Run a call graph on values."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from .callgraph import Call, CallGraph, between
from .keras_internals import takes_training


@dataclass(frozen=True, slots=True)
class Edit:
    """What becomes of a tensor's value before anything reads it.

    Attributes:
        change: A function of the value, and of those of other tensors.
        reads: Indices of these others, each of which the value depends on.
    """

    change: Callable[..., Any]
    reads: tuple[int, ...] = ()


def compute(
    graph: CallGraph,
    ends: Sequence[int],
    given: Mapping[int, Any],
    edits: Mapping[int, Edit] | None = None,
    training: bool = False,
    before: Callable[[Call], None] | None = None,
) -> list[Any]:
    """Compute tensors' values with the model's own layers, without a model of the calls between.

    A value is let go after its last use, so that no more memory is taken than by the model itself.

    Args:
        graph: The call graph.
        ends: Indices of the tensors that are asked for.
        given: Values of tensors; they must suffice, with all inputs of the model that it takes.
        edits: By the indices of tensors that are computed, what to make of their values.
        training: Whether layers behave as in training.
        before: What to do before each call.

    Returns:
        The values, as the backend's tensors.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> graph = read(keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(3.0)]))
        >>> print(keras.ops.convert_to_numpy(compute(graph, [1], {0: [[1.0, 2.0]]})[0]))
        [[3. 6.]]
    """
    values = {tensor: keras.ops.convert_to_tensor(value) for tensor, value in given.items()}
    calls = between(graph, ends, given)[0]
    unread = Counter(tensor for index in calls for tensor in graph.calls[index].inputs)
    unread.update(ends)
    edits = edits or {}
    unread.update(tensor for edit in edits.values() for tensor in edit.reads)
    for index in calls:
        call = graph.calls[index]
        if before:
            before(call)
        args, kwargs = call.fill(values)
        if takes_training(call.layer):
            # Also where the graph says otherwise, as `model(x, training=False)` does.
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
