"""Refuse edits that would lose a mask without a word.

Keras attaches masks to tensors, and hands them to the layers that take one. In a graph that is
rebuilt, masks are arguments like any others, so a new layer gets only those that are there.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import keras

from ..errors import CutError
from ..graph.callgraph import CallGraph
from ..graph.keras_internals import mask_of, takes_mask
from ..graph.reader import read
from .copies import has_graph


def require_masks(
    graph: CallGraph, name: str, tensors: Iterable[int], piece: keras.Layer, named: dict[str, Any]
) -> None:
    """Refuse a new layer that Keras would give a mask, and this package cannot.

    Args:
        graph: The call graph.
        name: Name of the place.
        tensors: Indices of the tensors that the layer reads.
        piece: The layer or model.
        named: The keyword arguments that it gets.

    Raises:
        CutError: If a tensor has a mask, and the layer takes one that it does not get.
    """
    if any(argument.endswith("mask") for argument in named) or not any(
        map(takes_mask, _all(piece))
    ):
        return
    if any(_has_mask(graph, tensor) for tensor in tensors):
        raise CutError(
            f"Cannot put {piece.name!r} at {name!r}: the tensor there has a mask, as after "
            "Embedding(mask_zero=True), and only a layer in place of one that takes a mask too can "
            "get it. Choose a layer that takes no mask."
        )


def require_no_new_mask(
    graph: CallGraph,
    name: str,
    tensors: Sequence[int],
    outputs: Sequence[keras.KerasTensor],
    readers: Iterable[keras.Operation],
) -> None:
    """Refuse a new layer whose mask later layers would not get.

    Args:
        graph: The call graph.
        name: Name of the place.
        tensors: Indices of the tensors in whose place others read the outputs.
        outputs: What the new layer returns.
        readers: The layers behind it.

    Raises:
        CutError: If there is a mask that was not there before, and a layer that takes one.
    """
    new = [
        mask_of(output) is not None and not _has_mask(graph, tensor)
        for tensor, output in zip(tensors, outputs, strict=True)
    ]
    takers = [reader.name for reader in readers if takes_mask(reader)] if any(new) else []
    if takers:
        raise CutError(
            f"The new layer at {name!r} makes a mask, which {takers[0]!r} behind it would not get. "
            "Build the model with this layer and its mask instead."
        )


def _has_mask(graph: CallGraph, tensor: int) -> bool:
    return any(mask_of(alias) is not None for alias in graph.tensors[tensor].aliases)


def _all(piece: keras.Layer) -> list[keras.Operation]:
    return [call.layer for call in read(piece).calls] if has_graph(piece) else [piece]
