"""Make the layers and models that are put into a model: one for each place."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras

from ..errors import CutError
from ..graph.keras_internals import was_called
from ..structure.anatomy import Anatomy
from .assembling import Arguments
from .copies import copy_of
from .selection import Chosen, is_function

Other: TypeAlias = keras.Layer | Callable[..., keras.Layer]


def pieces(
    anatomy: Anatomy, chosen: Sequence[Chosen], other: Other, copied: bool
) -> list[keras.Layer]:
    """A layer or model for each thing that was chosen.

    Args:
        anatomy: The anatomy of the model.
        chosen: What was chosen.
        other: A layer or model, or a function that makes one.
        copied: Whether the function gets a copy of a layer, which it may change.

    Raises:
        CutError: If the function raises or returns something else, or a layer cannot be copied.
    """
    if is_function(other):
        return [_made(anatomy, each, other, copied) for each in chosen]
    if not isinstance(other, keras.Layer):
        raise CutError(
            "Expected a Keras layer or model, or a function that makes one. "
            f"Received: {other!r:.200}"
        )
    if len(chosen) == 1:
        return [other]
    first = [] if was_called(other) else [other]
    used = {call.own_name: call.layer for call in anatomy.graph.calls}
    used |= {layer.name: layer for layer in first}
    # All copies are made before the first layer is built: other places may have other shapes.
    rest = chosen[len(first) :]
    return [*first, *(copy_of(other, _tensors(anatomy, each, copied), used) for each in rest)]


def _tensors(anatomy: Anatomy, chosen: Chosen, entering: bool) -> Arguments:
    """The arguments of a layer that reads the tensors that enter or leave a place."""
    place = chosen.places[0]
    tensors = place.entries if entering else place.exits
    symbols = [anatomy.graph.tensors[tensor].symbol for tensor in tensors]
    return (symbols[0] if len(symbols) == 1 else symbols,), {}


def _made(anatomy: Anatomy, chosen: Chosen, function: Callable[..., Any], copied: bool) -> Any:
    """What a function makes for one thing that was chosen."""
    given: tuple[Any, ...] = (chosen.thing,) if _wants_one(function) else ()
    if given and copied and isinstance(chosen.thing, keras.Layer):
        given = (_copy(anatomy, chosen, chosen.thing),)
    try:
        made = function(*given)
    except Exception as error:  # whatever the user's function raises
        raise CutError(
            f"The function that makes a layer for {chosen.name!r} raises "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(made, keras.Layer):
        raise CutError(
            f"The function must return a Keras layer or model. For {chosen.name!r} it returns: "
            f"{made!r:.200}"
        )
    return made


def _copy(anatomy: Anatomy, chosen: Chosen, layer: keras.Layer) -> keras.Layer:
    """A copy for a function that may change it: the user's layer stays as it is."""
    call = chosen.places[0].call
    assert call is not None
    symbols = {tensor: anatomy.graph.tensors[tensor].symbol for tensor in call.reads}
    try:
        return copy_of(layer, call.fill(symbols))
    except CutError as error:
        raise CutError(
            f"A function with a parameter gets a copy of the layer that it replaces, and "
            f"{chosen.name!r} has none. Pass a layer, or a function without parameters. {error}"
        ) from error


def _wants_one(function: Callable[..., Any]) -> bool:
    """Whether a function has a positional parameter without default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # not a Python function
        return True
    return any(
        parameter.default is parameter.empty
        and parameter.kind
        in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD, parameter.VAR_POSITIONAL)
        for parameter in parameters
    )
