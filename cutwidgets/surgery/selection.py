"""What a user chooses in a model: one place, several, or all layers for which a function holds."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

import keras

from ..blocks.blocks import Block, Stage
from ..errors import CutError
from ..graph.callgraph import between
from ..graph.keras_internals import layers_inside
from ..structure.anatomy import Anatomy
from ..structure.places import Place, PlaceLike, first_and_last, places_of, resolve

Thing: TypeAlias = keras.Layer | Block | Stage | keras.KerasTensor
Condition: TypeAlias = Callable[[keras.Layer], object]
Places: TypeAlias = PlaceLike | Condition | Sequence[PlaceLike | Condition]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Something that was chosen in a model.

    Attributes:
        thing: The layer, block, stage or tensor itself.
        places: Where it is: one place, or one for each call of a layer.
    """

    thing: Thing
    places: tuple[Place, ...]

    @property
    def name(self) -> str:
        """A readable name."""
        return self.places[0].name


def is_function(value: object) -> TypeGuard[Callable[..., Any]]:
    """Whether something is a function, or called like one, and no layer or class.

    Example:
        >>> import keras
        >>> is_function(len), is_function(keras.layers.ReLU()), is_function(keras.layers.ReLU)
        (True, False, False)
    """
    things = keras.Layer | keras.KerasTensor | Block | Stage | type
    return callable(value) and not isinstance(value, things)


def choose(anatomy: Anatomy, places: Places) -> list[Chosen]:
    """Find what was chosen; what is chosen twice is there once.

    Args:
        anatomy: The anatomy of the model.
        places: A place; a list or tuple of places; or a function, which is called with each layer
            of the graph once, also with those in nested models, but not with inputs, operations
            without a layer, and nested models themselves.

    Raises:
        UnknownPlaceError: If the model has no such place.
        CutError: If nothing is chosen, or a function raises.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> [chosen.name for chosen in choose(anatomy, ["conv3", "conv1_conv"])]
        ['conv3', 'conv1_conv']
        >>> len(choose(anatomy, lambda layer: isinstance(layer, keras.layers.BatchNormalization)))
        53
    """
    each = places if isinstance(places, list | tuple) else [places]
    found: dict[object, Chosen] = {}
    for place in each:
        for chosen in _where(anatomy, place) if is_function(place) else [_one(anatomy, place)]:
            key = tuple((where.calls, where.exits) for where in chosen.places)
            found.setdefault(key, chosen)
    if not found:
        raise CutError(f"No place of {anatomy.name!r} is chosen: the list of places is empty.")
    return list(found.values())


def _one(anatomy: Anatomy, place: PlaceLike) -> Chosen:
    if isinstance(place, keras.Layer):
        calls = places_of(anatomy, place)
        if calls:
            return Chosen(place, tuple(calls))
    resolved = resolve(anatomy, place)
    if isinstance(place, keras.KerasTensor):
        return Chosen(place, (resolved,))
    thing = resolved.call.layer if resolved.call else _unit(anatomy, resolved)
    if not isinstance(thing, Thing):  # a raw operation
        (thing,) = (anatomy.graph.tensors[tensor].symbol for tensor in resolved.exits[:1])
    return Chosen(thing, (resolved,))


def _unit(anatomy: Anatomy, place: Place) -> Block | Stage:
    """The block or stage that a place stands for."""
    for block in anatomy.blocks:
        if block.name == place.name and block.calls == place.calls:
            return block
    return next(stage for stage in anatomy.stages if stage.name == place.name)


def _where(anatomy: Anatomy, condition: Condition) -> list[Chosen]:
    """The layers for which a function holds, each with all of its calls."""
    graph = anatomy.graph
    # Only nested models contain calls that the model itself does not need.
    needed = between(graph, graph.outputs, ())[0] if graph.nests else range(len(graph.calls))
    calls: dict[int, list[Place]] = {}
    layers: dict[int, keras.Layer] = {}
    for call in (graph.calls[index] for index in needed):
        if call.inputs and isinstance(call.layer, keras.Layer):
            layers[id(call.layer)] = call.layer
            place = Place(call.name, call.inputs, call.outputs, (call.index,), call)
            calls.setdefault(id(call.layer), []).append(place)
    chosen = [
        Chosen(layer, tuple(calls[key]))
        for key, layer in layers.items()
        if _holds(condition, layer)
    ]
    rest = layers.keys() - {id(one.thing) for one in chosen}
    inner = [(part, layers[key]) for key in layers if key in rest for part in _parts(layers[key])]
    inside = [(part, layer) for part, layer in inner if _holds(condition, part)]
    asked = len(layers) + len(inner)
    _report(anatomy, asked, len(chosen), inside)
    return chosen


def _parts(layer: keras.Layer) -> list[keras.Layer]:
    return [part for part in layers_inside(layer) if part is not layer]


def _holds(condition: Condition, layer: keras.Layer) -> bool:
    try:
        return bool(condition(layer))
    except Exception as error:  # whatever the user's function raises
        raise CutError(
            f"The function that chooses layers raises {type(error).__name__} for the layer "
            f"{layer.name!r} ({type(layer).__name__}): {error}"
        ) from error


def _report(
    anatomy: Anatomy, asked: int, chosen: int, inside: Sequence[tuple[keras.Layer, keras.Layer]]
) -> None:
    """Refuse if nothing can be changed; warn of layers inside others, which stay as they are."""
    if not inside:
        if not chosen:
            raise CutError(
                f"The function chooses no layer of {anatomy.name!r}. It was called with "
                f"{asked} layers."
            )
        return
    parts = first_and_last(_names(part for part, _ in inside))
    whole = first_and_last(_names(layer for _, layer in inside))
    text = f"inside {whole}, which can only be changed as a whole: {parts}"
    if not chosen:
        raise CutError(
            f"The function chooses only layers of {anatomy.name!r} that are {text}. Choose "
            f"{whole} instead."
        )
    warnings.warn(
        f"These layers of {anatomy.name!r} are left alone, because they are {text}.", stacklevel=5
    )


def _names(layers: Iterable[keras.Layer]) -> list[str]:
    return list(dict.fromkeys(layer.name for layer in layers))
