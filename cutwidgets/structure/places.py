"""From what a person writes to a place in the graph."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import TypeAlias

import keras

from ..blocks.blocks import Block, Stage
from ..errors import UnknownPlaceError, similar
from ..graph.callgraph import Call
from ..graph.reader import find
from .anatomy import Anatomy

PlaceLike: TypeAlias = str | int | Block | Stage | keras.Layer | keras.KerasTensor


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a call graph, as a start and as an end.

    Attributes:
        name: A readable name.
        entries: Indices of the tensors that a slice from here takes.
        exits: Indices of the tensors that a slice up to here gives.
        calls: Indices of the calls of the layer, block or stage; none for a tensor.
    """

    name: str
    entries: tuple[int, ...]
    exits: tuple[int, ...]
    calls: tuple[int, ...] = ()


def resolve(anatomy: Anatomy, place: PlaceLike) -> Place:
    """Find a place.

    Args:
        anatomy: The anatomy of the model.
        place: A block, a stage or a layer, each itself or by its name; a block's index; a
            `KerasTensor` of the model; or a layer's name in the ResNet50 of older Keras.

    Raises:
        UnknownPlaceError: If the model has no such place, or the name stands for several calls.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> resolve(anatomy, "conv3").name, resolve(anatomy, -1).name
        ('conv3', 'classifier')
        >>> resolve(anatomy, "res3a_branch2a").name
        'conv3_block1_1_conv'
    """
    if isinstance(place, str):
        return _by_name(anatomy, place)
    if isinstance(place, Integral) and not isinstance(place, bool):
        block = anatomy[int(place)]
        return _of_blocks(block.name, [block])
    if isinstance(place, Block) and place in anatomy.blocks:
        return _of_blocks(place.name, [place])
    if isinstance(place, Stage) and place in anatomy.stages:
        return _of_blocks(place.name, place.blocks)
    if isinstance(place, keras.KerasTensor):
        tensors = find(anatomy.graph, place)
        _require_one(anatomy, place, [anatomy.graph.maker(tensor).name for tensor in tensors])
        for tensor in tensors:
            return Place(anatomy.graph.maker(tensor).name, (tensor,), (tensor,))
    if isinstance(place, keras.Layer):
        found = [known for known in _layers(anatomy) if known[0].layer is place]
        _require_one(anatomy, place, [call.name for call, _ in found])
        for call, inside in found:
            return _of_call(call, inside)
        _require_no_part(anatomy, place, lambda layer: layer is place)
    raise UnknownPlaceError(
        place,
        f"The model {anatomy.name!r} has no such place: {place!r:.200}. A place is a block, a "
        "stage or a layer, by its name or itself, a block's index, or a KerasTensor of this model.",
    )


def _by_name(anatomy: Anatomy, name: str) -> Place:
    for block in anatomy.blocks:
        if block.name == name:
            return _of_blocks(name, [block])
    for nest in anatomy.graph.nests:
        if nest.call.name == name:
            return _of_call(nest.call, tuple(nest.inside))
    for stage in anatomy.stages:
        if stage.name == name:
            return _of_blocks(name, stage.blocks)
    layers = {call.name: (call, inside) for call, inside in _layers(anatomy)}
    scope, _, own_name = name.rpartition("/")
    inside = {layer.removeprefix(f"{scope}/") for layer in layers} if scope else layers
    modern = modern_name(own_name, inside)
    for candidate in (name, modern and (f"{scope}/{modern}" if scope else modern)):
        if candidate in layers:
            return _of_call(*layers[candidate])
    blocks = [block.name for block in anatomy.blocks]
    known = [*blocks, *(stage.name for stage in anatomy.stages), *layers]
    _require_one(anatomy, name, [k for k in known if re.fullmatch(rf"{re.escape(name)}#\d+", k)])
    # Inside of a nested model it may have this name.
    ends = [place for place in known if place.endswith(f"/{name}")]
    if not ends:
        _require_no_part(anatomy, name, lambda layer: layer.name == own_name)
    suggestions = list(dict.fromkeys([*ends, *similar(name, known)]))[:5]
    listed = "" if suggestions else f" Its blocks are {first_and_last(blocks)}."
    raise UnknownPlaceError(
        name,
        f"The model {anatomy.name!r} has no block, stage or layer {name!r}.{listed}",
        suggestions,
    )


def _require_no_part(anatomy: Anatomy, asked: object, is_it: Callable[[keras.Layer], bool]) -> None:
    """Refuse a layer inside of one that is called as a whole, such as `Bidirectional`."""
    for call in anatomy.graph.calls:
        if isinstance(call.layer, keras.Layer) and any(map(is_it, _inside(call.layer))):
            raise UnknownPlaceError(
                asked,
                f"{asked!r:.200} lies inside of the layer {call.name!r} ({call.kind}) of the model "
                f"{anatomy.name!r}, which is a place only as a whole: cut at {call.name!r}.",
            )


def _inside(layer: keras.Layer) -> list[keras.Layer]:
    """All layers that a layer consists of, without itself."""
    return [inner for inner in layer._flatten_layers(include_self=False) if inner is not layer]


def _layers(anatomy: Anatomy) -> list[tuple[Call, tuple[int, ...]]]:
    """All calls of layers and nested models, with the calls that each consists of."""
    graph = anatomy.graph
    nests = [(nest.call, tuple(nest.inside)) for nest in graph.nests]
    return [*((call, (call.index,)) for call in graph.calls), *nests]


def _require_one(anatomy: Anatomy, asked: object, names: list[str]) -> None:
    """Refuse a layer or tensor that stands for several calls."""
    names = list(dict.fromkeys(names))
    if len(names) > 1:
        raise UnknownPlaceError(
            asked,
            f"{asked!r:.200} is shared: the model {anatomy.name!r} calls it {len(names)} times, so "
            "it does not say which call is meant.",
            names[:5],
        )


def first_and_last(names: list[str]) -> str:
    """Names for a sentence, without those in the middle.

    Example:
        >>> first_and_last(["a", "b"]), first_and_last(list("abcdef"))
        ("'a', 'b'", "'a' … 'f'")
    """
    return ", ".join(map(repr, names)) if len(names) < 5 else f"{names[0]!r} … {names[-1]!r}"


def _of_blocks(name: str, blocks: Iterable[Block]) -> Place:
    blocks = list(blocks)
    calls = tuple(index for block in blocks for index in block.calls)
    return Place(name, blocks[0].entries, blocks[-1].exits, calls)


def _of_call(call: Call, inside: tuple[int, ...]) -> Place:
    if not call.inputs:  # an input layer: its output is the tensor that a slice from here takes
        return Place(call.name, call.outputs, call.outputs)
    return Place(call.name, call.inputs, call.outputs, inside)


# In older Keras (2.2 and before) ResNet50's layers had other names, and its activations and
# additions none at all: Keras counted them on over all models of a session.
_BLOCKS_OF_RESNET50 = tuple(
    f"conv{stage}_block{number}"
    for stage, blocks in zip((2, 3, 4, 5), (3, 4, 6, 3), strict=True)
    for number in range(1, blocks + 1)
)

_ACTIVATIONS = (
    "conv1_relu",
    *(f"{block}_{name}" for block in _BLOCKS_OF_RESNET50 for name in ("1_relu", "2_relu", "out")),
)

_ADDITIONS = tuple(f"{block}_add" for block in _BLOCKS_OF_RESNET50)

_BRANCHES = {"1": "0", "2a": "1", "2b": "2", "2c": "3"}

_OTHERS = {"conv1": "conv1_conv", "bn_conv1": "conv1_bn", "fc1000": "predictions"}


def modern_name(old: str, layers: Iterable[str]) -> str | None:
    """Today's name of a layer of the old ResNet50.

    Args:
        old: Such as `"res3a_branch2a"`, `"bn3a_branch2a"` or `"activation_89"`, counted from 1 with
            49 activations and 16 additions a model.
        layers: Names of the model's layers.

    Returns:
        The name, if the model is a ResNet50 and has that layer; else `None`.

    Example:
        >>> import keras
        >>> layers = [layer.name for layer in keras.applications.ResNet50(weights=None).layers]
        >>> modern_name("activation_89", layers)
        'conv4_block6_out'
    """
    layers = set(layers)
    # Others have these names too, but no additions of their own (ResNet50V2) or more (ResNet101).
    if "conv4_block7_out" in layers or not layers & set(_ADDITIONS):
        return None
    name = _OTHERS.get(old)
    if match := re.fullmatch(r"(res|bn)([2-5])([a-f])_branch(1|2[abc])", old):
        kind, stage, letter, branch = match.groups()
        suffix = "conv" if kind == "res" else "bn"
        name = f"conv{stage}_block{ord(letter) - ord('a') + 1}_{_BRANCHES[branch]}_{suffix}"
    elif match := re.fullmatch(r"(activation|add)_([1-9]\d*)", old):
        names = _ACTIVATIONS if match[1] == "activation" else _ADDITIONS
        name = names[(int(match[2]) - 1) % len(names)]
    return name if name in layers else None
