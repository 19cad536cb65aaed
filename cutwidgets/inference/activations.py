"""`activations`: what every block returns, in one pass."""

from collections.abc import Iterable
from typing import Any

import keras

from ..structure.anatomy import anatomy
from ..structure.places import PlaceLike, resolve
from .forward import arrays, evaluate
from .inputs import as_inputs


def activations(
    model: keras.Model, x: Any, places: PlaceLike | Iterable[PlaceLike] | None = None
) -> dict[str, Any]:
    """What every block gives, in one forward pass in inference mode.

    Args:
        model: A built functional or Sequential model.
        x: Input of the model: an array with a batch axis, or as many of them, in a list or a
            dictionary, as the model takes.
        places: Places whose outputs are wanted; `None` for all blocks.

    Returns:
        For the name of each place an array with the batch axis, of the dtype of the tensor; a tuple
        of arrays for a place with several outputs.

    Raises:
        UnknownPlaceError: If the model has no such place.
        CutwidgetsError: If `x` does not fit the model.
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> import numpy as np
        >>> vgg = keras.applications.VGG16(include_top=False, weights=None)
        >>> values = cw.activations(vgg, np.ones((1, 32, 32, 3)))
        >>> list(values), values["block5"].shape
        (['block1', 'block2', 'block3', 'block4', 'block5'], (1, 1, 1, 512))
    """
    found = anatomy(model)
    if places is None:
        places = found.blocks
    elif isinstance(places, str) or not isinstance(places, Iterable):
        places = [places]
    resolved = {}
    for place in places:
        where = resolve(found, place)
        resolved[place if isinstance(place, str) else where.name] = where.exits
    ends = list(dict.fromkeys(tensor for exits in resolved.values() for tensor in exits))
    values = dict(
        zip(ends, arrays(evaluate(found.graph, ends, as_inputs(found.graph, x))), strict=True)
    )
    return {
        name: values[exits[0]] if len(exits) == 1 else tuple(values[tensor] for tensor in exits)
        for name, exits in resolved.items()
    }
