"""Resolve the places that users name to tensors and calls of the graph."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, TypeAlias, TypeGuard

import keras

from ..blocks.blocks import Block, Stage
from ..errors import CutError, UnknownPlaceError, similar
from ..graph.callgraph import Call
from ..graph.keras_internals import layers_inside
from ..graph.reader import find
from .anatomy import Anatomy
from .legacy_names import modern_name

PlaceLike: TypeAlias = str | int | Block | Stage | keras.Layer | keras.KerasTensor

SeveralPlaces: TypeAlias = Sequence[PlaceLike] | Mapping[str, PlaceLike]  # a list, tuple or dict

EndLike: TypeAlias = PlaceLike | SeveralPlaces  # what a slice may end at


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a call graph, as a start and as an end.

    Attributes:
        name: A readable name.
        entries: Indices of the tensors that a slice from here accepts.
        exits: Indices of the tensors that a slice up to here returns.
        calls: Indices of the calls of the layer, block or stage; none for a tensor.
        call: The call of the layer or nested model; `None` for a tensor, block or stage.
    """

    name: str
    entries: tuple[int, ...]
    exits: tuple[int, ...]
    calls: tuple[int, ...] = ()
    call: Call | None = field(default=None, compare=False)


def resolve(anatomy: Anatomy, place: PlaceLike) -> Place:
    """Find a place in a model.

    Args:
        anatomy: The anatomy of the model.
        place: A block, a stage or a layer, or its name; a block's index; a `KerasTensor` of the
            model; or a layer's name in the ResNet50 of older Keras.

    Raises:
        UnknownPlaceError: If the model has no such place, or calls the layer several times.

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
        if tensors:
            return Place(anatomy.graph.maker(tensors[0]).name, tensors[:1], tensors[:1])
    if isinstance(place, keras.Layer):
        calls = places_of(anatomy, place)
        _require_one(anatomy, place, [call.name for call in calls])
        if calls:
            return calls[0]
        _require_no_part(anatomy, place, lambda layer: layer is place)
    raise UnknownPlaceError(
        place,
        f"The model {anatomy.name!r} has no such place: {place!r:.200}. Use a block, a stage or a "
        "layer, or its name; a block's index; or a KerasTensor of this model.",
    )


def places_of(anatomy: Anatomy, layer: keras.Layer) -> list[Place]:
    """A place for each call of a layer or nested model; none if it is no layer of the model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> twice = keras.layers.Dense(4)
        >>> x = keras.Input((4,))
        >>> len(places_of(cw.anatomy(keras.Model(x, twice(twice(x)))), twice))
        2
    """
    return [_of_call(call, inside) for call, inside in _layers(anatomy) if call.layer is layer]


def are_several(end: Any) -> TypeGuard[SeveralPlaces]:
    """Whether an end is a list, tuple or dictionary of places, even of a single one.

    Example:
        >>> are_several("conv3"), are_several(["conv3"]), are_several({"C3": "conv3"})
        (False, True, True)
    """
    return isinstance(end, list | tuple | Mapping)


def resolve_each(anatomy: Anatomy, places: SeveralPlaces) -> dict[str, Place]:
    """Find several places in a model, by their keys.

    Args:
        anatomy: The anatomy of the model.
        places: A dictionary of places by their keys; or a list of them, whose keys are the names as
            they are written, or else those that the places have.

    Raises:
        UnknownPlaceError: If the model has no such place, or calls the layer several times.
        CutError: If there are no places, two have the same key, or a key is no text.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> list(resolve_each(anatomy, ["conv3", -1])), list(resolve_each(anatomy, {"C3": "conv3"}))
        (['conv3', 'classifier'], ['C3'])
    """
    if not places:
        raise CutError(f"There are no ends in {places!r}. Name one place at least.")
    if isinstance(places, Mapping):
        for key in places:
            if not isinstance(key, str) or not key:
                raise CutError(
                    f"The key of an end must be a text that is not empty. Received: {key!r:.200}"
                )
        return {key: resolve(anatomy, place) for key, place in places.items()}
    found: dict[str, Place] = {}
    for place in places:
        resolved = resolve(anatomy, place)
        key = place if isinstance(place, str) else resolved.name
        if key in found:
            raise CutError(
                f"Two of the ends are named {key!r}. Leave one out, or give them keys of your own: "
                f"a dictionary such as {{'first': {key!r}, …}}."
            )
        found[key] = resolved
    return found


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
    names = [*blocks, *(stage.name for stage in anatomy.stages), *layers]
    _require_one(anatomy, name, [n for n in names if re.fullmatch(rf"{re.escape(name)}#\d+", n)])
    # It may be the name of a layer in a nested model.
    ends = [place for place in names if place.endswith(f"/{name}")]
    if not ends:
        _require_no_part(anatomy, name, lambda layer: layer.name == own_name)
    suggestions = list(dict.fromkeys([*ends, *similar(name, names)]))[:5]
    listed = "" if suggestions else f" Its blocks are {first_and_last(blocks)}."
    raise UnknownPlaceError(
        name,
        f"The model {anatomy.name!r} has no block, stage or layer {name!r}.{listed}",
        suggestions,
    )


def _require_no_part(anatomy: Anatomy, place: object, is_it: Callable[[keras.Layer], bool]) -> None:
    """Refuse a layer inside another one that is called as a whole, such as `Bidirectional`."""
    for call in anatomy.graph.calls:
        inner = (layer for layer in layers_inside(call.layer) if layer is not call.layer)
        if any(map(is_it, inner)):
            raise UnknownPlaceError(
                place,
                f"{place!r:.200} lies inside the layer {call.name!r} ({call.kind}) of the model "
                f"{anatomy.name!r}, which can only be cut as a whole. Use {call.name!r}.",
            )


def _layers(anatomy: Anatomy) -> list[tuple[Call, tuple[int, ...]]]:
    """All calls of layers and nested models, each with the indices of the calls inside it."""
    graph = anatomy.graph
    nests = [(nest.call, tuple(nest.inside)) for nest in graph.nests]
    return [*((call, (call.index,)) for call in graph.calls), *nests]


def _require_one(anatomy: Anatomy, place: object, names: list[str]) -> None:
    """Refuse a layer or tensor that stands for several calls."""
    names = list(dict.fromkeys(names))
    if len(names) > 1:
        raise UnknownPlaceError(
            place,
            f"{place!r:.200} is ambiguous: the model {anatomy.name!r} calls it {len(names)} times.",
            names[:5],
        )


def first_and_last(names: list[str]) -> str:
    """Names for a sentence; of many, only the first and the last.

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
    if not call.inputs:  # an input layer: a slice from here accepts its output
        return Place(call.name, call.outputs, call.outputs, call=call)
    return Place(call.name, call.inputs, call.outputs, inside, call)
