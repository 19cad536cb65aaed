"""The integers that a model accepts: the vocabulary of its embeddings, read from the graph."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import keras
import numpy as np
from keras import layers

from ..graph.callgraph import Call, CallGraph
from ..graph.keras_internals import parameters_of

# What only moves values, repeats them or leaves some out: an id stays the same id.
_MOVES = (
    layers.Reshape, layers.Flatten, layers.Permute, layers.RepeatVector, layers.Identity,
    layers.Dropout, layers.Concatenate, layers.Cropping1D, layers.Cropping2D,
)  # fmt: skip
_MOVING_OPERATIONS = frozenset(
    {"BroadcastTo", "Cast", "Concatenate", "Copy", "ExpandDims", "Flip", "GetItem", "Moveaxis",
     "Ravel", "Repeat", "Reshape", "Roll", "Split", "Squeeze", "Stack", "StopGradient", "Swapaxes",
     "Tile", "Transpose"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Integers:
    """The integers that an input of a model takes.

    Attributes:
        ids: The integers themselves, ascending; without 0 if that stands for padding.
        words: What is drawn from them, for people.
        padding: Whether 0 stands for padding.
    """

    ids: np.ndarray
    words: str
    padding: bool = False


def integers(graph: CallGraph, tensor: int) -> Integers | None:
    """The integers that an input of a model takes; `None` for an input that takes any number.

    The layers that read the input say it: embeddings, category encodings, look-ups and hashes, also
    inside a layer of one's own. The smallest of several counts, as all of them must accept an id.
    An input that is only a mask is all ones: nothing is masked.

    Args:
        graph: The call graph.
        tensor: Index of the input. Its dtype may be a float: an embedding rounds what it reads.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> embedding = keras.layers.Embedding(1000, 8, mask_zero=True)
        >>> graph = read(keras.Sequential([keras.Input((None,), dtype="int32"), embedding]))
        >>> found = integers(graph, 0)
        >>> found.ids[:3].tolist(), found.words
        ([1, 2, 3], 'Random token ids from the vocabulary of 1,000 (0 is padding)')
    """
    dtype, is_mask = graph.tensors[tensor].dtype, False
    ranges: list[Integers] = []
    for call, read in _readers(graph, tensor):
        ranges += _accepted(graph, call, read)
        is_mask |= _is_mask_of(call, read)
    if ranges:
        return _common(ranges, dtype)
    if "float" in dtype or "complex" in dtype:
        return None
    named = graph.maker(tensor).own_name.lower()
    if is_mask or _is_mask_name(named):
        return Integers(np.array([1]), "Ones: nothing is masked")
    both = np.array([0, 1])
    if dtype == "bool":
        return Integers(both, "Random truth values")
    if len(graph.tensors[tensor].shape) == 2:
        return Integers(both, "Random token ids 0 and 1: the model does not say its vocabulary")
    return Integers(both, "Random integers 0 and 1: the model does not say which it takes")


def _readers(graph: CallGraph, tensor: int) -> Iterator[tuple[Call, int]]:
    """The calls that read an input's values unchanged, each with the tensor that it reads."""
    pending, seen = [tensor], {tensor}
    while pending:
        read = pending.pop()
        for index in graph.tensors[read].users:
            call = graph.calls[index]
            yield call, read
            if _only_moves(call):
                pending += [output for output in call.outputs if output not in seen]
                seen.update(call.outputs)


def _only_moves(call: Call) -> bool:
    if isinstance(call.layer, keras.Layer):
        return isinstance(call.layer, _MOVES)
    return call.kind in _MOVING_OPERATIONS


def _arguments(call: Call) -> dict[str, Any]:
    """The arguments of a call by their names, the first one first."""
    kind: Any = type(call.layer)
    named = zip(parameters_of(kind), call.arguments.args, strict=False)
    return dict(named) | dict(call.arguments.kwargs)


def _holds(call: Call, value: Any, tensor: int) -> bool:
    """Whether an argument of a call is a tensor, or holds it."""
    symbols = zip(call.arguments.keras_tensors, call.reads, strict=True)
    same = {id(symbol) for symbol, index in symbols if index == tensor}
    return any(id(item) in same for item in keras.tree.flatten(value))


def _is_mask_of(call: Call, tensor: int) -> bool:
    return any(
        _is_mask_name(name) and _holds(call, value, tensor)
        for name, value in _arguments(call).items()
    )


def _is_mask_name(name: str) -> bool:
    return name == "mask" or name.endswith("_mask")


def _accepted(graph: CallGraph, call: Call, tensor: int) -> list[Integers]:
    """What a layer accepts, if the tensor is what it looks up, and no position or mask."""
    layer = call.layer
    data = next(iter(_arguments(call).values()), None)
    if not isinstance(layer, keras.Layer) or not _holds(call, data, tensor):
        return []
    if isinstance(layer, layers.IntegerLookup):
        return [_known_to(layer)]
    if isinstance(layer, layers.CategoryEncoding):
        size = layer.num_tokens
        return [_up_to(size, f"Random integers from the {size:,} categories")]
    if isinstance(layer, layers.Hashing | layers.HashedCrossing):
        size = layer.num_bins
        return [_up_to(size, f"Random integers, which are hashed to {size:,} bins")]
    read, made = (graph.tensors[index] for index in (tensor, call.outputs[0]))
    if "float" in read.dtype and len(made.shape) <= len(read.shape):
        return []  # Such a layer holds an embedding of something else, such as of positions.
    return _vocabularies(layer)


def _vocabularies(layer: Any) -> list[Integers]:
    """The vocabulary that a layer declares, or else those of the embeddings inside it."""
    embeddings = list(_embeddings(layer))
    size = getattr(layer, "vocabulary_size", getattr(layer, "input_dim", None))
    if isinstance(size, int) and (embeddings or _is_table(layer, size)):
        same = (one for one in embeddings if one.input_dim == size)
        return [_vocabulary(size, any(getattr(one, "mask_zero", False) for one in (layer, *same)))]
    return [_vocabulary(one.input_dim, one.mask_zero) for one in embeddings]


def _is_table(layer: keras.Layer, size: int) -> bool:
    """Whether a layer has a weight with a row for each id."""
    return any(len(weight.shape) == 2 and weight.shape[0] == size for weight in layer.weights)


def _embeddings(layer: keras.Layer) -> Iterator[layers.Embedding]:
    """The embeddings that a layer is or holds."""
    pending: list[Any] = [layer]
    seen: dict[int, Any] = {}
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, layers.Embedding):
            yield value
        elif isinstance(value, keras.Layer):
            pending += vars(value).values()
        elif isinstance(value, Mapping):
            pending += value.values()
        elif isinstance(value, list | tuple):
            pending += value


def _vocabulary(size: int, padding: bool) -> Integers:
    padded = " (0 is padding)" if padding else ""
    return _up_to(size, f"Random token ids from the vocabulary of {size:,}{padded}", padding)


def _up_to(size: int, words: str, padding: bool = False) -> Integers:
    return Integers(np.arange(size), words, padding)


def _known_to(layer: Any) -> Integers:
    """What a look-up has in its vocabulary."""
    if layer.invert:
        size = layer.vocabulary_size()
        return _up_to(size, f"Random indices into the vocabulary of {size:,}")
    known = sorted(map(int, layer.get_vocabulary(include_special_tokens=False)))
    words = f"Random integers from the vocabulary of {len(known):,}"
    return Integers(np.array(known, "int64"), words)


def _common(ranges: Iterable[Integers], dtype: str) -> Integers:
    """What all layers accept, as far as the dtype can hold it."""
    ranges = [one for one in ranges if one.ids.size] or [_up_to(2, "Random integers 0 and 1")]
    ids = _held_by(dtype, reduce(np.intersect1d, (one.ids for one in ranges)))
    narrowest = min(ranges, key=lambda one: one.ids.size)
    if not ids.size:  # layers that agree on nothing
        return Integers(np.array([0]), "Zeros: the layers that read it have no other id in common")
    padding = any(one.padding for one in ranges)
    words = narrowest.words
    if padding and not narrowest.padding:
        words += " (0 is padding)"
    if ids.size < narrowest.ids.size:
        words += f", of which {dtype} and the other layers allow {ids.size:,}"
    kept = ids[ids != 0] if padding else ids
    return Integers(kept if kept.size else ids, words, padding)


def _held_by(dtype: str, ids: np.ndarray) -> np.ndarray:
    """Those of some integers that a dtype can hold exactly."""
    if dtype == "bool":
        low, high = 0, 1
    elif "int" in dtype:
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    else:
        high = 2 ** {"float16": 11, "bfloat16": 8, "float32": 24}.get(dtype, 53)
        low = -high
    return np.asarray(ids[(ids >= low) & (ids <= high)])
