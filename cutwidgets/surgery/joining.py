"""Join models. Nothing here changes the models that are passed in."""

import keras

from ..errors import CutError
from ..graph.keras_internals import functional, undone_on_failure
from .assembling import Assembly, output_specs, require_inputs, require_layer
from .build import model_name
from .copies import has_graph


@undone_on_failure
def join(*models: keras.Layer) -> keras.Model:
    """Join several models into a flat one; each must accept what the previous one returns.

    With `split`, this inserts layers (`join(head, new, tail)`) and reorders blocks of equal shape.

    Args:
        models: Models; all but the first may be layers. The outputs of each are the inputs of the
            next, in order.

    Returns:
        A flat `keras.Model` that shares its layers with all of them. A layer whose name an earlier
        model uses is copied with its weights, and the name of the copy gets the name of its model
        as a prefix.

    Raises:
        CutError: If a model does not accept what the one before it returns.
        UnsupportedModelError: If the first model is subclassed, not built or not a Keras model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(include_top=False, weights=None)
        >>> head, tail = cw.split(resnet, "conv3")
        >>> new = keras.layers.SpatialDropout2D(0.1, name="new")
        >>> [layer.name for layer in cw.join(head, new, tail).layers[80:83]]
        ['conv3_block4_out', 'new', 'conv4_block1_1_conv']
    """
    if not models:
        raise CutError("There is nothing to join. Pass models, such as those that split returns.")
    assembly = Assembly(functional(models[0]))
    symbols, giver = assembly.inputs, models[0].name
    for piece in models:
        require_layer(piece)
        require_inputs(giver, "returns", symbols, piece)
        symbols, giver = output_specs(piece, _arguments(symbols)), piece.name
    symbols = assembly.inputs
    for piece in models:
        symbols = assembly.attach(piece, _arguments(symbols))
    last = models[-1]
    structure = functional(last).output if has_graph(last) else _arguments(symbols)[0][0]
    name = model_name(models[0].name, "joined_to" if models[1:] else None, last.name)
    return assembly.finish(symbols, structure, name)


def _arguments(symbols: list[keras.KerasTensor]) -> tuple[tuple[object, ...], dict[str, object]]:
    return (symbols[0] if len(symbols) == 1 else symbols,), {}
