"""Cut and split models. Nothing here changes the model that is passed in."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import keras

from ..errors import CutError, CutwidgetsError
from ..graph.callgraph import between
from ..graph.frontier import Frontier, Start, head
from ..inference.inputs import input_shapes
from ..structure.anatomy import Anatomy, anatomy
from ..structure.places import (
    EndLike,
    Place,
    PlaceLike,
    are_several,
    resolve,
    resolve_each,
)
from .build import Section, Weights, build, model_name, require_weights
from .refusals import no_way, refuse_bypassed_end, refuse_bypassed_start


def cut(
    model: keras.Model,
    start: PlaceLike | None = None,
    end: EndLike | None = None,
    *,
    weights: Weights = "share",
    allow_bypass: bool = False,
    input_shape: Any = None,
) -> keras.Model:
    """Cut the slice from start to end, both inclusive, out of a model.

    The slice keeps the layers' names; its input is named after the layer that computes that tensor
    in the model. If the start is a layer, the slice accepts what enters that layer; if the end is a
    layer, the slice returns its output. If the end also needs other inputs of the model, they
    become extra inputs of the slice.

    A slice with several ends returns a dictionary, by their names or by keys of your own, and
    computes nothing twice. An end that gives several tensors, such as a block of a U-Net that
    skips leave, gives a list of them.

    A slice with `weights="share"` has the model's own layers. Train it, and you train the model;
    set its `trainable = False`, and the model's layers are frozen too. A slice with
    `weights="copy"` has layers of its own with equal weights and flags, so neither affects the
    other. Neither kind is compiled.

    Args:
        model: A built functional or Sequential model. Models inside it are opened: a place in them
            is written `"backbone/conv4_block6"`.
        start: A place; `None` for the model's own input.
        end: A place; `None` for the model's own output. For several ends, a list of places, or a
            dictionary of them by the keys of the outputs.
        weights: `"share"` or `"copy"`.
        allow_bypass: Whether tensors that bypass the start become extra inputs, each named after
            the layer that computes it. Otherwise such a start is refused.
        input_shape: The shape that the slice accepts, with or without the batch axis; for a slice
            with several inputs a list of shapes, or a dictionary by the names of its inputs. `None`
            for the shapes of the model's own tensors.

    Returns:
        A plain `keras.Model`: it trains, saves, loads without cutwidgets and can be cut again.

    Raises:
        UnknownPlaceError: If the model has no such place.
        BypassedCutError: If the end also needs a tensor that bypasses the start.
        CutError: If the start comes after an end, or the end does not depend on it; if a layer
            cannot be copied or does not accept the shape; if two layers of the slice have the same
            name; if a list of ends is empty or names one twice, or a key is no text.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(include_top=False, weights=None)
        >>> part = cw.cut(resnet, "conv3", "conv4")
        >>> part.input.name, part.output_shape
        ('conv2_block3_out', (None, None, None, 1024))
        >>> cw.cut(resnet, "conv3", "conv4", input_shape=(56, 56, 256)).output_shape
        (None, 14, 14, 1024)
        >>> branch = cw.cut(resnet, "conv3_block2_2_conv", "conv3", allow_bypass=True)
        >>> [tensor.name for tensor in branch.inputs]
        ['conv3_block2_1_relu', 'conv3_block1_out']
        >>> backbone = cw.cut(resnet, end={"C3": "conv3", "C4": "conv4", "C5": "conv5"})
        >>> {key: tensor.shape[-1] for key, tensor in backbone.output.items()}
        {'C3': 512, 'C4': 1024, 'C5': 2048}
    """
    require_weights(weights)
    part = section(anatomy(model), start, end, allow_bypass=allow_bypass, input_shape=input_shape)
    return build(model, part, weights)


def split(model: keras.Model, *ends: PlaceLike, allow_bypass: bool = False) -> list[keras.Model]:
    """Split a model after each of some places, into pieces that together compute the model.

    Args:
        model: A built functional or Sequential model.
        ends: Places in the order of computation; a piece ends with each.
        allow_bypass: Whether a skip connection may bypass one of the places. Each piece then
            returns all tensors that are live at its end, the place's own first, and the next piece
            accepts them in that order. Otherwise such a place is refused.

    Returns:
        One piece more than places. Each accepts what the one before it returns, and shares its
        layers with the model, as slices do.

    Raises:
        UnknownPlaceError: If the model has no such place.
        BypassedCutError: If a skip connection bypasses one of the places.
        CutError: If the places are not in order, or nothing comes after the last.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(include_top=False, weights=None)
        >>> [piece.output_shape[-1] for piece in cw.split(resnet, "conv2", "conv4_block6")]
        [256, 1024, 2048]
        >>> head, tail = cw.split(resnet, "conv3_block2_2_conv", allow_bypass=True)
        >>> [tensor.name for tensor in tail.inputs]
        ['conv3_block2_2_conv', 'conv3_block1_out']
    """
    model_anatomy = anatomy(model)
    graph = model_anatomy.graph
    places = [resolve(model_anatomy, end) for end in ends]
    frontiers = []
    frontier, before = Frontier(graph), set[int]()
    for end, place in zip(ends, places, strict=True):
        if before.issuperset(graph.tensors[tensor].maker for tensor in place.exits):
            raise _out_of_order(model_anatomy, ends)
        before |= head(graph, place.exits)
        frontier.advance(sorted(before))
        carried = tuple(sorted(frontier.live.difference(place.exits)))
        if carried and not allow_bypass:
            refuse_bypassed_end(model_anatomy, end, place, carried)
        frontiers.append((*place.exits, *carried))
    names = [None, *(place.name for place in places), None]
    sections = []
    for i, (entries, exits) in enumerate(pairwise([graph.inputs, *frontiers, graph.outputs])):
        calls, reached = between(graph, exits, entries)
        if not calls or not set(reached) <= set(entries):
            if i and names[i + 1]:
                raise _out_of_order(model_anatomy, ends)
            reason = no_way(graph, entries, exits, names[i], names[i + 1])
            written = ", ".join(map(repr, ends))
            raise CutError(f"Cannot split {model_anatomy.name!r} at {written}: {reason}")
        name = _name(model_anatomy, names[i], names[i + 1])
        sections.append(Section(graph, name, tuple(entries), exits, calls))
    return [build(model, piece) for piece in sections]


def _out_of_order(anatomy: Anatomy, ends: Sequence[PlaceLike]) -> CutError:
    written = ", ".join(map(repr, ends))
    return CutError(
        f"Cannot split {anatomy.name!r} at {written}: the places are not in the order of "
        "computation."
    )


def section(
    anatomy: Anatomy,
    start: PlaceLike | None = None,
    end: EndLike | None = None,
    *,
    allow_bypass: bool = False,
    input_shape: Any = None,
) -> Section:
    """The section that `cut` builds a model of. Arguments and errors are those of `cut`.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> inside = section(anatomy, "conv3_block1", "conv4_block2_1_relu")
        >>> [anatomy.graph.maker(tensor).name for tensor in inside.carried]
        ['conv4_block1_out']
    """
    graph = anatomy.graph
    first = Place("", graph.inputs, ()) if start is None else resolve(anatomy, start)
    if are_several(end):
        named = resolve_each(anatomy, end)
        ends = {key: _one_or_all(place.exits) for key, place in named.items()}
        places, exits, last = [*named.values()], tuple(keras.tree.flatten(ends)), _listed(named)
    else:
        place = Place("", (), graph.outputs) if end is None else resolve(anatomy, end)
        places, exits, last, ends = [place], place.exits, place.name, None

    origin = Start(graph, first.entries, first.calls)
    for place in places:
        calls, _ = between(graph, place.exits, {*first.entries, *origin.bypassed_by(place.exits)})
        if not calls or not (start is None or origin.leads_to(place.exits)):
            reason = no_way(graph, first.entries, place.exits, first.name, place.name)
            raise CutError(f"Cannot cut {anatomy.name!r} from {start!r} to {end!r}: {reason}")
    bypassing = origin.bypassed_by(exits)
    calls, reached = between(graph, exits, {*first.entries, *bypassing})
    if bypassing and start is not None and not allow_bypass:
        needing = [place for place in places if origin.bypassed_by(place.exits)]
        refuse_bypassed_start(anatomy, start, first, needing, exits, calls, bypassing)
    inputs = tuple(t for t in dict.fromkeys((*first.entries, *reached)) if t in reached)
    name = _name(anatomy, first.name, last)
    return _at_shape(Section(graph, name, inputs, exits, calls, ends=ends), input_shape)


def _one_or_all(tensors: Sequence[int]) -> int | list[int]:
    return tensors[0] if len(tensors) == 1 else list(tensors)


def _listed(keys: Collection[str]) -> str:
    """Up to three keys, or how many there are, for the name of a model."""
    return "_".join(keys) if len(keys) < 4 else f"{len(keys)}_ends"


def _name(anatomy: Anatomy, start: str | None, end: str | None) -> str:
    return model_name(anatomy.name, start and f"from_{start}", end and f"to_{end}")


def _at_shape(part: Section, input_shape: Any) -> Section:
    """The section, for inputs of the shape that the caller wrote."""
    if input_shape is None:
        return part
    try:
        shapes = input_shapes(f"slice {part.name!r}", part.graph, part.inputs, input_shape)
    except CutwidgetsError as error:
        raise CutError(str(error)) from error
    return replace(part, new_shapes=tuple(shapes))
