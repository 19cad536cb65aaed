"""`activations`: the outputs of all blocks, from one forward pass."""

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
    """Compute the outputs of blocks, or of other places, in one forward pass in inference mode.

    Args:
        model: A built functional or Sequential model.
        x: The model's input with the batch axis: an array, or for several inputs a list of arrays
            or a dictionary by input name.
        places: Places whose outputs to return; `None` for all blocks.

    Returns:
        A dictionary from the name of each place, as `anatomy` writes it, to its output: an array
        with the batch axis and the tensor's dtype. A place with several outputs has a tuple of
        arrays, in the order in which Keras returns them.

    Raises:
        UnknownPlaceError: If the model has no such place.
        CutwidgetsError: If `x` does not fit the model.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> import numpy as np
        >>> vgg = keras.applications.VGG16(include_top=False, weights=None)
        >>> values = cw.activations(vgg, np.ones((1, 32, 32, 3)))
        >>> list(values), values["block5"].shape
        (['block1', 'block2', 'block3', 'block4', 'block5'], (1, 1, 1, 512))
    """
    model_anatomy = anatomy(model)
    graph = model_anatomy.graph
    if places is None:
        places = model_anatomy.blocks
    elif isinstance(places, str) or not isinstance(places, Iterable):
        places = [places]
    exits = {place.name: place.exits for place in (resolve(model_anatomy, p) for p in places)}
    tensors = list(dict.fromkeys(tensor for outputs in exits.values() for tensor in outputs))
    outputs = arrays(evaluate(graph, tensors, as_inputs(graph, x)))
    values = dict(zip(tensors, outputs, strict=True))
    return {
        name: values[first] if not others else (values[first], *(values[t] for t in others))
        for name, (first, *others) in exits.items()
    }
