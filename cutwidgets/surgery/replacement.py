"""Replace parts of models, and insert others. The models that are passed in stay as they are."""

import keras

from ..errors import CutError
from ..structure.anatomy import anatomy
from ..structure.places import Place
from .edits import Edit, edited
from .pieces import Other, pieces
from .selection import Places, choose


def replace(model: keras.Model, places: Places, other: Other) -> keras.Model:
    """The model with other layers or models in place of blocks, stages or layers.

    However many places there are, the graph is read and built once. Shapes must stay the same
    except at the model's ends. The last layer, or one followed only by layers without weights, may
    be replaced by a layer with another output shape, for example for another number of classes. The
    first layer, or one preceded only by layers without weights, may be replaced by one with another
    input shape, for example for photographs of one channel: that of a model's `Input`, or the shape
    that a layer was built for. The new model's input then has it.

    A new layer in place of a layer gets its arguments: its tensors, and of masks, `training` and
    the like those that it takes.

    Args:
        model: A built functional or Sequential model.
        places: What to replace: a block, a stage or a layer, each with one output; a list of these;
            or a function of a layer, such as
            `lambda layer: isinstance(layer, keras.layers.BatchNormalization)`. It is called once
            with each layer of the model and its nested models, but not with inputs, operations
            without a layer, and nested models themselves. Of a layer that is called several times,
            all calls are replaced, unless it is named with a number (`"shared#2"`).
        other: A layer or model with the same input and output shapes as the place, except at the
            model's ends; the layers of a model are put in one by one. Or a function that returns
            one for each place. If it has a parameter without default, it is given what is replaced:
            the block, the stage, or a copy of the layer with equal weights, which it may change and
            return; the model's own layer stays as it is. A layer given for several places is
            used in the first place, unless it was called before, and the other places get copies of
            it with numbered names. To share one, return the same layer from a function.

    Returns:
        A flat `keras.Model` of the same name that shares its layers with the model and with
        `other`. A new layer whose name is taken is copied with its weights. The name of the copy
        gets a number, or for a layer of a model the name of the model as a prefix.

    Raises:
        UnknownPlaceError: If the model has no such place.
        CutError: If shapes or dtypes do not fit, places overlap, no layer is chosen, a layer cannot
            be copied, or something outside a place reads a tensor from inside it.
        UnsupportedModelError: If a model is subclassed, not built or not a Keras model.

    Warns:
        UserWarning: If a function also chooses layers inside other layers, such as a
            `Bidirectional`, which stay as they are.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(include_top=False, weights=None)
        >>> convolution = keras.layers.Conv2D(512, 3, padding="same", name="simple")
        >>> changed = cw.replace(resnet, "conv3_block2", convolution)
        >>> [layer.name for layer in changed.layers if "conv3_block2" in layer.name]
        []
        >>> changed.get_layer("simple") is convolution
        True

        Every normalisation, by one that does not depend on the batch:

        >>> changed = cw.replace(
        ...     resnet,
        ...     lambda layer: isinstance(layer, keras.layers.BatchNormalization),
        ...     lambda layer: keras.layers.GroupNormalization(name=layer.name),
        ... )
        >>> type(changed.get_layer("conv3_block2_1_bn")).__name__
        'GroupNormalization'

        For grey photographs, the first kernel is summed over its three colours:

        >>> kernel, bias = resnet.get_layer("conv1_conv").get_weights()
        >>> grey = keras.layers.Conv2D(64, 7, strides=2, name="grey_conv")
        >>> grey.build((None, None, None, 1))
        >>> grey.set_weights([kernel.sum(axis=2, keepdims=True), bias])
        >>> cw.replace(resnet, "conv1_conv", grey).input_shape
        (None, None, None, 1)
    """
    model_anatomy = anatomy(model)
    chosen = choose(model_anatomy, places)
    for each in chosen:
        _require_replaceable(each.places[0])
    made = pieces(model_anatomy, chosen, other, copied=True)
    edits = [
        Edit(where.name, piece, where.entries, where.exits, where.calls, where.call)
        for each, piece in zip(chosen, made, strict=True)
        for where in each.places
    ]
    return edited(model, model_anatomy.graph, edits)


def _require_replaceable(where: Place) -> None:
    ends = len(where.entries), len(where.exits)
    if not where.calls or ends[1] != 1 or (ends[0] != 1 and where.call is None):
        raise CutError(
            f"Cannot replace {where.name!r}: it has {ends[0]} inputs and {ends[1]} outputs"
            f"{'' if where.calls else ', and no layer'}. Choose a block or stage that has one of "
            "each, or a layer that has one output."
        )


def insert(model: keras.Model, after: Places, layer: Other) -> keras.Model:
    """The model with new layers or models behind blocks, stages, layers or tensors.

    All layers that read the output of a place, and the model's own output, read what the new layer
    returns for it. However many places there are, the graph is read and built once. What is
    inserted must return the shape that it reads, unless only layers without weights follow.

    Args:
        model: A built functional or Sequential model.
        after: Where: a block, a stage, a layer, an input, or a `KerasTensor` of the model, each
            with one output; a list of these; or a function of a layer, as for `replace`. A stage is
            one place, its end. Several places with the same output count once.
        layer: A layer or model, or a function that returns one for each place. If it has a
            parameter without default, it is given the block, the stage, the layer itself or the
            tensor. A layer given for several places is used in the first place, unless it was
            called before, and the other places get copies of it with numbered names. To share one,
            return the same layer from a function.

    Returns:
        A flat `keras.Model` of the same name that shares its layers with the model and with
        `layer`. A new layer whose name is taken is copied with its weights. The name of the copy
        gets a number, or for a layer of a model the name of the model as a prefix.

    Raises:
        UnknownPlaceError: If the model has no such place.
        CutError: If shapes or dtypes do not fit, no layer is chosen, a place has several outputs,
            or a layer cannot be copied.
        UnsupportedModelError: If a model is subclassed, not built or not a Keras model.

    Warns:
        UserWarning: If a function also chooses layers inside other layers.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(include_top=False, weights=None)
        >>> residual = [block for block in cw.anatomy(resnet) if block.kind == "residual"]
        >>> dropout = keras.layers.SpatialDropout2D(0.1, name="dropout")
        >>> changed = cw.insert(resnet, after=residual, layer=dropout)
        >>> [layer.name for layer in changed.layers if "dropout" in layer.name][:3]
        ['dropout', 'dropout_2', 'dropout_3']
    """
    model_anatomy = anatomy(model)
    graph = model_anatomy.graph
    chosen = choose(model_anatomy, after)
    for each in chosen:
        _require_one_output(each.places[0])
    # Several places may end with the same tensor, as a stage and its last block do.
    first = {where.exits: each for each in reversed(chosen) for where in each.places}
    chosen = [each for each in chosen if any(first[where.exits] is each for where in each.places)]
    made = pieces(model_anatomy, chosen, layer, copied=False)
    edits = {
        where.exits: Edit(where.name, piece, where.exits, where.exits)
        for each, piece in zip(reversed(chosen), reversed(made), strict=True)
        for where in each.places
    }
    return edited(model, graph, list(edits.values()))


def _require_one_output(where: Place) -> None:
    if len(where.exits) != 1:
        raise CutError(
            f"Cannot insert after {where.name!r}: it has {len(where.exits)} outputs. Choose one "
            "of its tensors, a KerasTensor."
        )
