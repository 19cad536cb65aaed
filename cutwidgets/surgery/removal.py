"""Remove blocks and layers from models. Nothing here changes the model that it is given."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import keras
import numpy as np

from ..blocks.blocks import Block
from ..errors import CutError, CutwidgetsError
from ..graph.callgraph import Call, CallGraph, between, rewire
from ..graph.interpreter import compute
from ..structure.anatomy import Anatomy, anatomy
from ..structure.places import Place, PlaceLike, first_and_last, resolve
from .build import Section, build, model_name
from .slicing import section

Part: TypeAlias = Block | Place  # a block, or a single layer


def remove(model: keras.Model, *places: PlaceLike) -> keras.Model:
    """The model without some blocks, stages or single layers.

    Of a residual block the shortcut remains, with what follows the addition (but for a ReLU behind
    another one, which changes nothing): the result computes what the model computes with the
    block's residual branch multiplied by zero (a lesion, as in Veit, Wilber, Belongie 2016,
    "Residual networks behave like ensembles of relatively shallow networks"). A block without
    shortcut, and a single layer, can go only where its output has the shape of its input, which
    takes its place. Nothing of other blocks goes along.

    Args:
        model: A built functional or Sequential model.
        places: Blocks, stages or layers, each itself, by its name or its index.

    Returns:
        A flat `keras.Model` that shares its layers with the model, as slices do.

    Raises:
        UnknownPlaceError: If the model has no such place.
        CutError: If the shapes do not fit without it, if something else reads from within it, or if
            it would take layers of other blocks along.
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(include_top=False, weights=None)
        >>> smaller = cw.remove(resnet, "conv3_block2", "conv4_block6")
        >>> len(resnet.layers) - len(smaller.layers)
        20
        >>> vgg = keras.applications.VGG16(weights=None)
        >>> cw.remove(vgg, "block3_conv2").count_params() < vgg.count_params()
        True
    """
    found = anatomy(model)
    graph = without(found, places)
    calls, reached = between(graph, graph.outputs, ())
    gone = [part.name for part in _parts(found, places)]
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
    """The call graph without some places; the arguments and errors are those of `remove`."""
    graph, parts = anatomy.graph, _parts(anatomy, places)
    swaps: dict[int, int] = {}
    for part in parts:
        swap = _swap(graph, part)
        if isinstance(swap, str):
            raise _refused_removal(anatomy, part.name, part, swap)
        swaps[swap[0]] = swap[1]
    if not swaps:
        return graph
    inside = {index for part in parts for index in part.calls}
    reason = _taken_along(graph, inside, swaps)
    if reason:
        raise _refused_removal(anatomy, "', '".join(part.name for part in parts), parts[0], reason)
    return rewire(graph, swaps)


def _parts(anatomy: Anatomy, places: Iterable[PlaceLike]) -> list[Part]:
    """The blocks, and the single layers, that places stand for."""
    return list(dict.fromkeys(part for place in places for part in _parts_of(anatomy, place)))


def _parts_of(anatomy: Anatomy, place: PlaceLike) -> tuple[Part, ...]:
    found = resolve(anatomy, place)
    if not found.calls:
        raise CutError(
            f"Cannot remove {place!r:.200} from {anatomy.name!r}: it is an input of the model or a "
            "tensor. What can be removed is a block, a stage or a layer."
        )
    groups = [(block,) for block in anatomy] + [stage.blocks for stage in anatomy.stages]
    for blocks in groups:
        if found.calls == tuple(index for block in blocks for index in block.calls):
            return blocks
    return (found,)


def swap_of(graph: CallGraph, part: Part) -> tuple[int, int] | str:
    """What is read in place of which tensor once a block is gone; or why it cannot go."""
    swap = _swap(graph, part)
    if isinstance(swap, str):
        return swap
    return _taken_along(graph, part.calls, {swap[0]: swap[1]}) or swap


def _swap(graph: CallGraph, part: Part) -> tuple[int, int] | str:
    if isinstance(part, Block) and part.merge is not None and part.shortcut_tensor is not None:
        return _swap_of_residual(graph, part, graph.calls[part.merge], part.shortcut_tensor)
    if len(part.exits) != 1:
        return _read_outside(graph, part)
    if len(part.entries) != 1:
        makers = dict.fromkeys(repr(graph.maker(tensor).name) for tensor in part.entries)
        return (
            f"it takes {len(part.entries)} tensors, from {', '.join(makers)}, and what follows "
            "could read only one of them"
        )
    (entry,), (out,) = part.entries, part.exits
    return (out, entry) if _equal(graph, entry, out) else _shapes(graph, entry, out)


def _swap_of_residual(
    graph: CallGraph, block: Block, merge: Call, shortcut: int
) -> tuple[int, int] | str:
    out = merge.outputs[0]
    if not _passes(graph, merge, shortcut):
        return f"its merge {merge.name!r} ({merge.kind}) is no plain sum"
    if not _equal(graph, shortcut, out):
        return _shapes(graph, shortcut, out)
    swap = (_behind_relu(graph, block, merge, shortcut), shortcut)
    gone = _gone(graph, dict([swap]))
    others = [tensor for tensor in merge.inputs if tensor != shortcut]
    branch = set(between(graph, others, block.entries)[0]) & set(block.calls)
    kept = branch - gone - set(between(graph, [shortcut], block.entries)[0])
    if kept:
        return _read_outside(graph, block, kept, branch | {merge.index})
    return swap


def _behind_relu(graph: CallGraph, block: Block, merge: Call, shortcut: int) -> int:
    """The output of the merge; or of the ReLU behind it, where a second ReLU changes nothing."""
    out = merge.outputs[0]
    behind = [graph.calls[index] for index in block.calls if index > merge.index]
    alone = [call.index for call in behind] == list(graph.tensors[out].users)
    relus = len(behind) == 1 and all(map(_is_relu, (*behind, graph.maker(shortcut))))
    return behind[0].outputs[0] if relus and alone and out not in graph.outputs else out


def _gone(graph: CallGraph, swaps: Mapping[int, int]) -> set[int]:
    """The calls that nothing needs any more once some tensors are read in place of others."""
    new = {tensor for tensor in swaps.values() if tensor not in swaps}
    # Only nested models hold calls that the model itself does not need.
    needed = set(between(graph, graph.outputs, ())[0]) if graph.nests else range(len(graph.calls))
    gone: set[int] = set()

    def is_read(tensor: int) -> bool:
        users = graph.tensors[tensor].users
        return tensor not in swaps and (
            tensor in graph.outputs
            or tensor in new
            or any(user in needed and user not in gone for user in users)
        )

    pending = [graph.tensors[tensor].maker for tensor in swaps]
    while pending:
        call = graph.calls[pending.pop()]
        if call.inputs and call.index not in gone and not any(map(is_read, call.outputs)):
            gone.add(call.index)
            pending += [graph.tensors[tensor].maker for tensor in call.inputs]
    return gone


def _taken_along(graph: CallGraph, inside: Iterable[int], swaps: Mapping[int, int]) -> str | None:
    """Why some calls cannot go: nothing but them needs what others, that stay, compute."""
    others = sorted(_gone(graph, swaps) - set(inside))
    if not others:
        return None
    names = first_and_last([graph.calls[index].name for index in others])
    count = f"{len(others)} layers" if len(others) > 1 else "a layer"
    return f"it would take {count} of other blocks along, which nothing else reads: {names}"


def _read_outside(
    graph: CallGraph,
    part: Part,
    among: Iterable[int] | None = None,
    within: Iterable[int] | None = None,
) -> str:
    """Say which outputs of a part are read from where, besides its last one.

    Args:
        graph: The call graph.
        part: A block or layer.
        among: The calls whose outputs are told of; `None` for all that leave the part.
        within: The calls that may read them; `None` for those of the part.
    """
    inside = set(part.calls if within is None else within)
    if among is None:
        tensors = list(part.exits)
    else:
        tensors = [tensor for index in sorted(among) for tensor in graph.calls[index].outputs]
    texts = []
    for tensor in tensors:
        users = [
            graph.calls[user].name for user in graph.tensors[tensor].users if user not in inside
        ]
        readers = [f"read by {', '.join(map(repr, users[:3]))}"] if users else []
        readers += ["an output of the model"] if tensor in graph.outputs else []
        if readers:
            texts.append(f"the output of {graph.maker(tensor).name!r} is {' and '.join(readers)}")
    what = "several of its outputs are" if among is None else "its branch is also"
    return f"{what} used outside of it: {'; '.join(dict.fromkeys(texts))}"


def _equal(graph: CallGraph, one: int, other: int) -> bool:
    a, b = graph.tensors[one], graph.tensors[other]
    return a.shape == b.shape and a.dtype == b.dtype


def _shapes(graph: CallGraph, entry: int, out: int) -> str:
    a, b = graph.tensors[entry], graph.tensors[out]
    turns = f"it turns {a.shape} {a.dtype} into {b.shape} {b.dtype}"
    return f"{turns}, and what follows needs that" if b.users else f"{turns}, the model's output"


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


def _refused_removal(anatomy: Anatomy, names: str, part: Part, reason: str) -> CutError:
    hints = [_cut_instead(anatomy, part)]
    if not hints[0]:
        can = [other.name for other in removable(anatomy)]
        hints.append(
            f"Of the blocks of this model, {first_and_last(can)} can be removed."
            if can
            else "No block of this model can be removed."
        )
    if len(part.entries) == len(part.exits) == 1:
        hints.append(f"cutwidgets.replace(model, {part.name!r}, other) puts another in its place.")
    hint = " ".join(filter(None, hints))
    return CutError(f"Cannot remove '{names}' from {anatomy.name!r}: {reason}. {hint}")


def _cut_instead(anatomy: Anatomy, part: Part) -> str:
    """At an end of the model a cut leaves the part out; "" where it is not at an end."""
    graph = anatomy.graph
    read_on = any(graph.tensors[tensor].users for tensor in part.exits)
    if set(graph.outputs) <= set(part.exits) and not read_on and len(part.entries) == 1:
        end = graph.maker(part.entries[0])
        if end.inputs and set(end.outputs) <= set(part.entries):
            return f"Nothing follows it: cutwidgets.cut(model, end={end.name!r}) leaves it out."
    if set(graph.inputs) == set(part.entries) and len(part.exits) == 1:
        for user in graph.tensors[part.exits[0]].users:
            start = graph.calls[user]
            if start.inputs == part.exits and _begins(anatomy, start.name):
                return (
                    f"Nothing comes before it: cutwidgets.cut(model, {start.name!r}) leaves it out."
                )
    return ""


def _begins(anatomy: Anatomy, start: str) -> bool:
    try:
        section(anatomy, start)
    except CutwidgetsError:
        return False
    return True
