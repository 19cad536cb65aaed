"""What the panel's page is told of a model and of a slice, as plain dictionaries."""

import traceback
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ..blocks import flow
from ..blocks.blocks import Block
from ..errors import BypassedCutError, CutwidgetsError
from ..graph.callgraph import CallGraph
from ..graph.frontier import head
from ..inference.images import takes_images
from ..structure import reach
from ..structure.anatomy import Anatomy
from ..structure.places import PlaceLike, resolve
from ..surgery.build import Section
from ..surgery.slicing import section
from ..text import shape_text


def network(anatomy: Anatomy) -> dict[str, Any]:
    """A model's diagram and blocks.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> told = network(cw.anatomy(keras.applications.VGG16(weights=None)))
        >>> told["blocks"][1]["name"], told["blocks"][1]["output"], told["sources"][1]
        ('block2', '56×56×128 float32', [0])
    """
    graph, blocks = anatomy.graph, anatomy.blocks
    layers = [id(graph.calls[i].layer) for block in blocks for i in block.calls]
    refused = reach.ends(graph, blocks)
    return {
        "name": anatomy.name,
        "svg": anatomy.svg,
        "blocks": [_card(anatomy, block) for block in blocks],
        "sources": flow.sources(blocks),
        "refused": [_reasons(anatomy, ends) for ends in refused],
        "images": takes_images(graph),
        "shared": len(layers) > len(set(layers)),
    }


def _card(anatomy: Anatomy, block: Block) -> dict[str, Any]:
    kind = f"{block.kind}, {block.shortcut} shortcut" if block.shortcut else block.kind
    return {
        "name": block.name,
        "about": f"{kind}, output {shape_text(block.output_shape, block.scale)}, "
        f"{block.parameters:,} parameters.",
        "layers": list(block.layers),
        "input": ", ".join(tensor_text(anatomy, tensor) for tensor in block.entries),
        "output": ", ".join(tensor_text(anatomy, tensor) for tensor in block.exits),
        "shape": shape_text(block.output_shape, block.scale),
        "parameters": block.parameters,
    }


def _reasons(anatomy: Anatomy, ends: dict[int, tuple[int, ...]]) -> dict[int, Any]:
    """For each end that a start does not have: what bypasses the start, and who makes it."""
    graph = anatomy.graph
    return {
        end: {
            "names": [graph.maker(tensor).name for tensor in bypassing],
            "makers": [_block_of(anatomy, tensor) for tensor in bypassing],
        }
        for end, bypassing in ends.items()
    }


def _block_of(anatomy: Anatomy, tensor: int) -> int:
    """Position of the block that makes a tensor; -1 for the model's input."""
    maker = anatomy.graph.maker(tensor).index
    return next((i for i, block in enumerate(anatomy) if maker in block.calls), -1)


def opened(anatomy: Anatomy, name: str) -> dict[str, Any]:
    """The layers of a block, drawn.

    Raises:
        UnknownPlaceError: If the model has no such block.
    """
    block, graph = anatomy[name], anatomy.graph
    calls = [graph.calls[index] for index in block.calls]
    return {
        "block": name,
        "svg": anatomy.layers_svg(name),
        "calls": [
            {
                "name": call.name,
                "id": f"call-{call.index}",
                "index": call.index,
                "about": f"{call.kind}, output "
                + ", ".join(tensor_text(anatomy, tensor) for tensor in call.outputs),
                "layers": [],
            }
            for call in calls
        ],
    }


def found(anatomy: Anatomy, text: str) -> dict[str, Any]:
    """Where a name is, that of an older Keras too: its block, and its layer if it is one.

    Raises:
        UnknownPlaceError: If the model has no such place.
    """
    place = resolve(anatomy, text)
    calls = set(place.calls)
    block = next(block for block in anatomy if calls & set(block.calls) or not calls)
    is_layer = len(calls) == 1 and len(block.calls) > 1
    return {"text": text, "block": block.name, "layer": place.name if is_layer else None}


def name_of(anatomy: Anatomy, place: PlaceLike | None, is_start: bool) -> str | int:
    """A name for a place, for the page: a block's where the cut lies at its border.

    Args:
        anatomy: The anatomy of the model.
        place: Any place; `None` for the model's own input or output.
        is_start: Whether it is meant as a start, not as an end.

    Returns:
        The name; for what is no place of the model, something that shows what was asked.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> name_of(anatomy, "activation_89", is_start=False)
        'conv4_block6'
    """
    blocks = anatomy.blocks
    if place is None:
        return blocks[0 if is_start else -1].name if blocks else repr(place)
    try:
        found = resolve(anatomy, place)
    except CutwidgetsError:  # It will be raised, and shown, when the selection is cut.
        return place if isinstance(place, str | int) else repr(place)
    for block in blocks:
        if found.entries == block.entries if is_start else found.exits == block.exits:
            return block.name
    if isinstance(place, keras.KerasTensor):
        return _layer_at(anatomy.graph, found.exits[0], is_start) or str(place.name)
    return found.name


def _layer_at(graph: CallGraph, tensor: int, is_start: bool) -> str | None:
    """The layer that takes nothing but a tensor that nobody else takes, or that makes it."""
    users, maker = graph.tensors[tensor].users, graph.maker(tensor)
    if not is_start:
        return maker.name if maker.outputs == (tensor,) else None
    if len(users) == 1 and graph.calls[users[0]].inputs == (tensor,):
        return graph.calls[users[0]].name
    return None


def summary(
    anatomy: Anatomy,
    part: Section,
    model: keras.Model,
    names: Sequence[str | int],
    weights: str = "share",
) -> dict[str, Any]:
    """The facts about a slice and its blocks.

    Args:
        anatomy: The anatomy of the whole model.
        part: What the slice consists of.
        model: The slice.
        names: Its start and its end.
        weights: `"share"` or `"copy"`.
    """
    calls = set(part.calls)
    touched = [i for i, block in enumerate(anatomy) if calls & set(block.calls)]
    blocks = [anatomy[i] for i in touched]
    title = f"{names[0]} to {names[1]}" if names[0] != names[1] else str(names[0])
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    inputs, outputs = (
        ", ".join(tensor_text(anatomy, tensor) for tensor in tensors)
        for tensors in (part.inputs, part.outputs)
    )
    return {
        "range": [touched[0], touched[-1]],
        "calls": sorted(calls),
        "title": title,
        "facts": [
            ("Input", inputs),
            ("Output", outputs),
            ("Layers", f"{len(model.layers):,}"),
            ("Parameters", f"{model.count_params():,} ({trainable:,} trainable)"),
        ],
        "exact": not part.carried,
        "note": _exactness(anatomy, part),
        "rows": [
            (
                block.name if set(block.calls) <= calls else f"{block.name} (in part)",
                shape_text(block.output_shape, block.scale),
                f"{block.parameters:,}",
            )
            for block in blocks
        ],
        "sharing": _sharing(weights, len(model.layers), trainable),
        "told": f"Slice of {len(blocks)} blocks, {title}: input {inputs}, output {outputs}.",
    }


def _sharing(weights: str, layers: int, trainable: int) -> str:
    frozen = "" if trainable else " All of it is frozen."
    if weights == "copy":
        return f"Own weights: training or freezing the slice leaves the model alone.{frozen}"
    return (
        "Shared weights: training the slice trains the model, and slice.trainable = False freezes "
        f"these {layers:,} layers of the model too.{frozen}"
    )


def tensor_text(anatomy: Anatomy, index: int) -> str:
    """Shape and dtype of a tensor as people write them."""
    tensor = anatomy.graph.tensors[index]
    scale = next((block.scale for block in anatomy if index in block.exits), 1)
    return f"{shape_text(tensor.shape, scale)} {tensor.dtype}"


def _exactness(anatomy: Anatomy, part: Section) -> str:
    """Whether head, slice and tail make up the model again, and what it takes if they do not."""
    graph = part.graph
    if not part.carried:
        return "Head, slice and tail together compute the model: both ends are cut points."
    names = ", ".join(dict.fromkeys(graph.maker(tensor).name for tensor in part.carried))
    last = part.outputs[0]
    inside = next(block for block in anatomy if graph.maker(last).index in block.calls)
    where = (
        f"A skip connection passes the end of {inside.name}"
        if last in inside.exits
        else f"The end lies inside {inside.name}"
    )
    return (
        f"{where}: to compute the model, the tail also needs the output of {names}, which bypasses "
        "the end."
    )


def refusal(anatomy: Anatomy, error: Exception, names: Sequence[str | int]) -> dict[str, Any]:
    """The skip connections that make a cut impossible, and the nearest slices that work."""
    if not isinstance(error, BypassedCutError):
        return {}
    graph = anatomy.graph
    makers = [
        _block_of(anatomy, tensor)
        for index in sorted(head(graph, resolve(anatomy, names[0]).entries))
        for tensor in graph.calls[index].outputs
        if graph.calls[index].name in error.bypasses
    ]
    pairs = [(place, names[1]) for place in error.nearest]
    return {
        "crossing": {"makers": makers, "behind": _first_block(anatomy, names[0])},
        "nearest": [pair for pair in pairs if _works(anatomy, pair)],
    }


def _first_block(anatomy: Anatomy, place: str | int) -> int:
    """Position of the block that a place begins in."""
    found = resolve(anatomy, place)
    calls = set(found.calls) or set(anatomy.graph.tensors[found.entries[0]].users)
    return next((i for i, block in enumerate(anatomy) if calls & set(block.calls)), 0)


def _works(anatomy: Anatomy, pair: Sequence[str | int]) -> bool:
    try:
        section(anatomy, *pair)
    except CutwidgetsError:
        return False
    return True


def code(selection: Sequence[str | int], allow_bypass: bool, weights: str) -> str:
    """Three lines of Python that cut a slice and check it.

    Example:
        >>> print(code(("conv3", "conv4"), None, "copy"))
        import cutwidgets as cw
        part = cw.cut(model, 'conv3', 'conv4', weights='copy')
        cw.check(model, 'conv3', 'conv4', weights='copy')
    """
    arguments = f"model, {selection[0]!r}, {selection[1]!r}"
    arguments += f", weights={weights!r}" if weights != "share" else ""
    arguments += ", allow_bypass=True" if allow_bypass else ""
    return f"import cutwidgets as cw\npart = cw.cut({arguments})\ncw.check({arguments})"


def message(problem: Exception) -> str:
    """What to show of an error: in a callback of a widget, nobody sees an exception."""
    if isinstance(problem, CutwidgetsError):
        return str(problem)
    traceback.print_exception(problem)
    return f"This is a fault of cutwidgets, please report it: {problem!r}"
