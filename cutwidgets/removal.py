"""Remove blocks from models. Nothing here changes the model that it is given."""

from collections.abc import Iterable

import keras
import numpy as np

from ._anatomy import Anatomy, anatomy
from .blocks import Block
from .building import Section, build, model_name
from .errors import CutError, alternatives
from .graph import Call, CallGraph, between, rewire
from .places import PlaceLike, first_and_last, resolve
from .regions import WEIGHTED
from .repeating import compute


def remove(model: keras.Model, *blocks: PlaceLike) -> keras.Model:
    """The model without some blocks.

    Of a residual block the shortcut remains, with what follows the addition (but for a ReLU behind
    another one, which changes nothing): the result computes what the model computes with the
    block's residual branch multiplied by zero (a lesion, as in Veit, Wilber, Belongie 2016,
    "Residual networks behave like ensembles of relatively shallow networks"). A block without
    shortcut can go only where its output has the shape of its input.

    Args:
        model: A built functional or Sequential model.
        blocks: Blocks or stages, each itself, by its name or its index.

    Returns:
        A flat `keras.Model` that shares its layers with the model, as slices do.

    Raises:
        UnknownPlaceError: If the model has no such block.
        CutError: If the shapes do not fit without the block.
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(include_top=False, weights=None)
        >>> smaller = cw.remove(resnet, "conv3_block2", "conv4_block6")
        >>> len(resnet.layers) - len(smaller.layers)
        20
    """
    found = anatomy(model)
    graph = without(found, blocks)
    calls, reached = between(graph, graph.outputs, ())
    gone = [block.name for place in blocks for block in _blocks(found, place)]
    gone = gone if len(gone) < 4 else [f"{len(gone)}_blocks"]
    inputs = tuple(tensor for tensor in graph.inputs if tensor in reached)
    name = model_name(found.name, "without" if gone else None, *gone)
    return build(model, Section(graph, name, inputs, graph.outputs, calls))


def removable(anatomy: Anatomy) -> list[Block]:
    """The blocks that `remove` takes.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> vgg = cw.anatomy(keras.applications.VGG16(weights=None))
        >>> removable(vgg)
        []
    """
    return [block for block in anatomy if not isinstance(swap_of(anatomy.graph, block), str)]


def without(anatomy: Anatomy, places: Iterable[PlaceLike]) -> CallGraph:
    """The call graph without some blocks; the arguments and errors are those of `remove`."""
    swaps: dict[int, int] = {}
    for place in places:
        for block in _blocks(anatomy, place):
            swap = swap_of(anatomy.graph, block)
            if isinstance(swap, str):
                raise _refused_removal(anatomy, block, swap)
            swaps[swap[0]] = swap[1]
    return rewire(anatomy.graph, swaps) if swaps else anatomy.graph


def _blocks(anatomy: Anatomy, place: PlaceLike) -> tuple[Block, ...]:
    found = resolve(anatomy, place)
    if found.calls and not isinstance(place, keras.Layer):
        groups = [(block,) for block in anatomy] + [stage.blocks for stage in anatomy.stages]
        for blocks in groups:
            if found.calls == tuple(index for block in blocks for index in block.calls):
                return blocks
    inside = [block.name for block in anatomy if set(found.calls) & set(block.calls)]
    where = f" {found.name!r} lies in {alternatives(inside)}." if inside else ""
    raise CutError(f"Only blocks and stages can be removed. Received: {place!r:.200}.{where}")


def swap_of(graph: CallGraph, block: Block) -> tuple[int, int] | str:
    """What is read in place of which tensor once a block is gone; or why it cannot go."""
    if block.shortcut:
        met = merge_of(graph, block)
        if met is None:
            return "no call of it merges its branch and its shortcut"
        merge, shortcut = met
        out = merge.outputs[0]
        if not _passes(graph, merge, shortcut):
            return f"its merge {merge.name!r} ({merge.kind}) is no plain sum"
        if not _equal(graph, shortcut, out):
            return _shapes(graph, shortcut, out)
        behind = [graph.calls[index] for index in block.calls if index > merge.index]
        if len(behind) == 1 and all(map(_is_relu, (*behind, graph.maker(shortcut)))):
            # A second ReLU changes nothing.
            out = behind[0].outputs[0]
        return out, shortcut
    if len(block.entries) != 1 or len(block.exits) != 1:
        return f"it has {len(block.entries)} inputs and {len(block.exits)} outputs"
    (entry,), (out,) = block.entries, block.exits
    return (out, entry) if _equal(graph, entry, out) else _shapes(graph, entry, out)


def _equal(graph: CallGraph, one: int, other: int) -> bool:
    a, b = graph.tensors[one], graph.tensors[other]
    return a.shape == b.shape and a.dtype == b.dtype


def _shapes(graph: CallGraph, entry: int, out: int) -> str:
    a, b = graph.tensors[entry], graph.tensors[out]
    return f"it turns {a.shape} {a.dtype} into {b.shape} {b.dtype}, and what follows needs that"


def merge_of(graph: CallGraph, block: Block) -> tuple[Call, int] | None:
    """The call at which a residual block's branch and shortcut meet, and the shortcut's tensor."""
    for index in reversed(block.calls):
        merge = graph.calls[index]
        _, reached = between(graph, block.exits, merge.outputs)
        if len(merge.inputs) > 1 and set(reached) <= set(merge.outputs):
            return merge, min(merge.inputs, key=lambda tensor: _length(graph, block, tensor))
    return None


def _length(graph: CallGraph, block: Block, tensor: int) -> tuple[int, int]:
    """How long a way is: the shortcut is that with the fewest weights, and then calls."""
    way = between(graph, [tensor], block.entries)[0]
    return sum(graph.calls[index].role in WEIGHTED for index in way), len(way)


def _is_relu(call: Call) -> bool:
    layer = call.layer
    if isinstance(layer, keras.layers.Activation):
        return layer.activation is keras.activations.relu
    if isinstance(layer, keras.layers.ReLU):
        return (layer.max_value, layer.negative_slope, layer.threshold) == (None, 0, 0)
    return call.kind == "Relu"


def _passes(graph: CallGraph, merge: Call, shortcut: int) -> bool:
    """Whether a merge gives its shortcut where all else is zero: tried, as layers may do anything.

    An average does not, and a layer of a user's own, such as a scaled sum, does.
    """
    if isinstance(merge.layer, keras.layers.Add) or merge.kind == "Add":
        return True
    values = {}
    for tensor in merge.inputs:
        symbol = graph.tensors[tensor].symbol
        shape = tuple(length or 2 for length in symbol.shape)
        random = np.random.default_rng(0).normal(size=shape)
        values[tensor] = (random if tensor == shortcut else np.zeros(shape)).astype("float32")
        values[tensor] = keras.ops.cast(values[tensor], symbol.dtype)
    (given,) = compute(graph, merge.outputs[:1], values)
    wanted = values[shortcut]
    return bool(given.shape == wanted.shape and keras.ops.all(keras.ops.equal(given, wanted)))


def _refused_removal(anatomy: Anatomy, block: Block, reason: str) -> CutError:
    can = [other.name for other in removable(anatomy)]
    hint = (
        f"Of the blocks of this model, {first_and_last(can)} can be removed."
        if can
        else "No block of this model can be removed."
    )
    return CutError(
        f"Cannot remove {block.name!r} from {anatomy.name!r}: {reason}. {hint} "
        f"cutwidgets.replace(model, {block.name!r}, other) puts another block in its place."
    )
