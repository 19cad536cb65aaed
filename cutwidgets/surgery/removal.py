"""Remove blocks and layers from models. Nothing here changes the model that is passed in."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import keras
import numpy as np

from ..blocks.blocks import Block
from ..errors import CutError, CutwidgetsError
from ..graph.callgraph import Call, CallGraph, between, rewire
from ..graph.interpreter import compute
from ..structure.anatomy import Anatomy, anatomy
from ..structure.places import Place, first_and_last
from .build import Section, build
from .selection import Places, choose
from .slicing import section

Part: TypeAlias = Block | Place  # a block, or a single layer


def remove(model: keras.Model, *places: Places) -> keras.Model:
    """The model without some blocks, stages or single layers.

    Of a residual block, the shortcut and what follows the addition remain (except for a ReLU after
    another one, which changes nothing). The result computes what the model computes if the block's
    residual branch is multiplied by zero: a lesion, as in Veit, Wilber, Belongie 2016, "Residual
    networks behave like ensembles of relatively shallow networks". A block without shortcut, and a
    single layer, can be removed only if its output has the shape of its input, which takes its
    place. Layers of other blocks are never removed along with it.

    Args:
        model: A built functional or Sequential model.
        places: Blocks, stages or layers: the objects themselves, their names or indices; lists of
            these; or functions of a layer, as for `replace`.

    Returns:
        A flat `keras.Model` of the same name that shares its layers with the model, as slices do.

    Raises:
        UnknownPlaceError: If the model has no such place.
        CutError: If the shapes do not fit afterwards, if something outside reads a tensor from
            inside a block, if layers of other blocks would be removed as well, or if no layer is
            chosen.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

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
        >>> bare = cw.remove(resnet, lambda layer: "Normalization" in type(layer).__name__)
        >>> len(resnet.layers) - len(bare.layers)
        53
    """
    return build(model, rest(anatomy(model), places))


def rest(anatomy: Anatomy, places: Sequence[Places]) -> Section:
    """The section that `remove` builds a model of; the arguments and errors are those of `remove`.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = cw.anatomy(keras.applications.ResNet50(include_top=False, weights=None))
        >>> len(rest(resnet, ["conv3_block2"]).calls)
        164
    """
    graph = without(anatomy, places)
    calls, reached = between(graph, graph.outputs, ())
    inputs = tuple(tensor for tensor in graph.inputs if tensor in reached)
    return Section(graph, anatomy.name, inputs, graph.outputs, calls)


def removable(anatomy: Anatomy) -> list[Block]:
    """The blocks that `remove` can remove.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> vgg = cw.anatomy(keras.applications.VGG16(weights=None))
        >>> removable(vgg)
        []
    """
    return [block for block in anatomy if not isinstance(swap_of(anatomy.graph, block), str)]


def without(anatomy: Anatomy, places: Sequence[Places]) -> CallGraph:
    """The call graph without some places; the arguments and errors are those of `remove`."""
    graph, parts = anatomy.graph, _parts(anatomy, places)
    swaps: dict[int, int] = {}
    for part in parts:
        swap = _swap(graph, part)
        if isinstance(swap, str):
            raise _refused_removal(anatomy, [part], swap)
        swaps[swap[0]] = swap[1]
    if not swaps:
        return graph
    inside = {index for part in parts for index in part.calls}
    reason = _taken_along(graph, inside, swaps)
    if reason:
        raise _refused_removal(anatomy, parts, reason)
    return rewire(graph, swaps)


def _parts(anatomy: Anatomy, places: Sequence[Places]) -> list[Part]:
    """The blocks and single layers that places refer to."""
    groups: list[tuple[Part, ...]] = [(block,) for block in anatomy]
    groups += [stage.blocks for stage in anatomy.stages]
    units = {tuple(index for part in group for index in part.calls): group for group in groups}
    chosen = [each for place in places for each in choose(anatomy, place)]
    found = [where for each in chosen for where in each.places]
    for where in found:
        if not where.calls:
            raise CutError(
                f"Cannot remove {where.name!r} from {anatomy.name!r}: it is an input of the model "
                "or a tensor. Choose a block, a stage or a layer."
            )
    return list(dict.fromkeys(part for w in found for part in units.get(w.calls, (w,))))


def swap_of(graph: CallGraph, part: Part) -> tuple[int, int] | str:
    """A tensor, and the one to read in its place once a part is removed; or why it cannot be."""
    swap = _swap(graph, part)
    if isinstance(swap, str):
        return swap
    return _taken_along(graph, part.calls, {swap[0]: swap[1]}) or swap


def _swap(graph: CallGraph, part: Part) -> tuple[int, int] | str:
    if isinstance(part, Block) and part.merge is not None and part.shortcut_tensor is not None:
        return _swap_of_residual(graph, part, graph.calls[part.merge], part.shortcut_tensor)
    if len(part.exits) != 1:
        return _several_outputs(graph, part)
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
    swap = (_after_relu(graph, block, merge, shortcut), shortcut)
    unneeded = _unneeded(graph, dict([swap]))
    others = [tensor for tensor in merge.inputs if tensor != shortcut]
    branch = set(between(graph, others, block.entries)[0]) & set(block.calls)
    kept = branch - unneeded - set(between(graph, [shortcut], block.entries)[0])
    if kept:
        tensors = [tensor for index in sorted(kept) for tensor in graph.calls[index].outputs]
        readers = _readers(graph, tensors, branch | {merge.index})
        return f"its branch is also used outside of it: {readers}"
    return swap


def _after_relu(graph: CallGraph, block: Block, merge: Call, shortcut: int) -> int:
    """The merge's output; or that of the ReLU after it, where a second ReLU changes nothing."""
    out = merge.outputs[0]
    after = [graph.calls[index] for index in block.calls if index > merge.index]
    alone = [call.index for call in after] == list(graph.tensors[out].users)
    relus = len(after) == 1 and all(map(_is_relu, (*after, graph.maker(shortcut))))
    return after[0].outputs[0] if relus and alone and out not in graph.outputs else out


def _unneeded(graph: CallGraph, swaps: Mapping[int, int]) -> set[int]:
    """The calls that nothing needs any more once some tensors are read in place of others."""
    new = {tensor for tensor in swaps.values() if tensor not in swaps}
    # Only nested models contain calls that the model itself does not need.
    needed = set(between(graph, graph.outputs, ())[0]) if graph.nests else range(len(graph.calls))
    unneeded: set[int] = set()

    def is_read(tensor: int) -> bool:
        users = graph.tensors[tensor].users
        return tensor not in swaps and (
            tensor in graph.outputs
            or tensor in new
            or any(user in needed and user not in unneeded for user in users)
        )

    pending = [graph.tensors[tensor].maker for tensor in swaps]
    while pending:
        call = graph.calls[pending.pop()]
        if call.inputs and call.index not in unneeded and not any(map(is_read, call.outputs)):
            unneeded.add(call.index)
            pending += [graph.tensors[tensor].maker for tensor in call.inputs]
    return unneeded


def _taken_along(graph: CallGraph, inside: Iterable[int], swaps: Mapping[int, int]) -> str | None:
    """Why some calls cannot be removed: only they need what calls outside compute."""
    others = sorted(_unneeded(graph, swaps) - set(inside))
    if not others:
        return None
    names = first_and_last([graph.calls[index].name for index in others])
    count = f"{len(others)} layers" if len(others) > 1 else "a layer"
    return f"it would take {count} of other blocks along, which nothing else reads: {names}"


def _several_outputs(graph: CallGraph, part: Part) -> str:
    readers = _readers(graph, part.exits, set(part.calls))
    return f"several of its outputs are used outside of it: {readers}"


def _readers(graph: CallGraph, tensors: Iterable[int], inside: set[int]) -> str:
    """Say which tensors are read from where, except for calls inside."""
    texts = []
    for tensor in tensors:
        users = [u for u in graph.tensors[tensor].users if u not in inside]
        names = ", ".join(repr(graph.calls[user].name) for user in users[:3])
        readers = [f"read by {names}"] if users else []
        readers += ["an output of the model"] if tensor in graph.outputs else []
        if readers:
            texts.append(f"the output of {graph.maker(tensor).name!r} is {' and '.join(readers)}")
    return "; ".join(dict.fromkeys(texts))


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
    """Whether a merge returns its shortcut if its other inputs are zero, found by trying it.

    An average does not; a user's own layer, such as a scaled sum, may.
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
    (output,) = compute(graph, merge.outputs[:1], values)
    expected = values[shortcut]
    same_shape = output.shape == expected.shape
    return bool(same_shape and keras.ops.all(keras.ops.equal(output, expected)))


def _refused_removal(anatomy: Anatomy, parts: Sequence[Part], reason: str) -> CutError:
    part, names = parts[0], first_and_last([part.name for part in parts])
    hints = [_cut_instead(anatomy, part)]
    if not hints[0]:
        can = [other.name for other in removable(anatomy)]
        hints.append(
            f"Of the blocks of this model, {first_and_last(can)} can be removed."
            if can
            else "No block of this model can be removed."
        )
    if len(part.entries) == len(part.exits) == 1:
        hints.append(f"cutwidgets.replace(model, {part.name!r}, other) replaces it.")
    hint = " ".join(filter(None, hints))
    return CutError(f"Cannot remove {names} from {anatomy.name!r}: {reason}. {hint}")


def _cut_instead(anatomy: Anatomy, part: Part) -> str:
    """Suggest a cut that leaves out a part at an end of the model; "" for other parts."""
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
