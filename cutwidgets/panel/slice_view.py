"""What the page shows of a model and of a slice, as plain dictionaries."""

import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ..blocks import flow
from ..blocks.blocks import Block
from ..drawing import block_diagram, folding, rendering
from ..drawing.folding import Card
from ..errors import BypassedCutError, CutwidgetsError
from ..graph.callgraph import CallGraph, between, entering, parameters
from ..inference.images import takes_images
from ..structure import reach
from ..structure.anatomy import Anatomy
from ..structure.places import PlaceLike, resolve
from ..surgery.build import Section
from ..text import shape_text
from .questions import shown


def network(anatomy: Anatomy) -> dict[str, Any]:
    """A model's diagram and blocks.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> shown = network(cw.anatomy(keras.applications.VGG16(weights=None)))
        >>> shown["blocks"][1]["name"], shown["blocks"][1]["output"], shown["sources"][1]
        ('block2', '56×56×128 float32', [0])
    """
    graph, blocks = anatomy.graph, anatomy.blocks
    layers = [id(graph.calls[i].layer) for block in blocks for i in block.calls]
    scales = _scales(anatomy)
    return {
        "name": anatomy.name,
        **diagram(anatomy),
        "blocks": [_card(anatomy, block, scales) for block in blocks],
        "stages": [
            {"name": stage.name, "first": first, "last": first + len(stage.blocks) - 1}
            for stage in anatomy.stages
            for first in [blocks.index(stage.blocks[0])]
        ],
        "sources": flow.sources(blocks),
        "refused": [_reasons(anatomy, ends) for ends in reach.ends(graph, blocks)],
        "images": takes_images(graph),
        "shared": len(layers) > len(set(layers)),
    }


def diagram(anatomy: Anatomy, opened: tuple[int, int] | None = None) -> dict[str, Any]:
    """The diagram of the blocks, and which of them its cards stand for.

    Args:
        anatomy: The anatomy of a model.
        opened: First and last block of a card to open; twice the same to show a block.

    Raises:
        CutwidgetsError: If there are no such blocks.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> diagram(cw.anatomy(keras.applications.VGG16(weights=None)))["cards"][1]
        {'first': 1, 'last': 1}
    """
    card, svg = None, anatomy.svg
    if opened is not None:
        if not 0 <= opened[0] <= opened[1] < len(anatomy):
            raise CutwidgetsError(
                f"{anatomy.name!r} has no blocks {shown(opened[0])} to {shown(opened[1])}; they "
                f"are numbered 0 to {len(anatomy) - 1}."
            )
        card = Card(*opened)
        dot = block_diagram.source(anatomy.name, anatomy.blocks, anatomy.stages, card)
        svg = rendering.render(dot)
    cards = folding.cards(anatomy.blocks, card)
    return {"svg": svg, "cards": [_folded(anatomy, card) for card in cards]}


def _folded(anatomy: Anatomy, card: Card) -> dict[str, Any]:
    """The positions of a card's blocks, and what to say of several."""
    place: dict[str, Any] = {"first": card.first, "last": card.last}
    if not card.folded:
        return place
    blocks = anatomy.blocks[card.first : card.last + 1]
    calls = [call for block in blocks for call in block.calls]
    shape = shape_text(blocks[-1].output_shape, blocks[-1].scale)
    count = parameters(anatomy.graph, calls)
    return place | {
        "name": f"{folding.title(anatomy.blocks, card)}, {blocks[0].name} … {blocks[-1].name}",
        "about": f"output {shape}, {count:,} parameters. Opens to show its blocks.",
    }


def _card(anatomy: Anatomy, block: Block, scales: Mapping[int, float]) -> dict[str, Any]:
    kind = f"{block.kind}, {block.shortcut} shortcut" if block.shortcut else block.kind
    shape = shape_text(block.output_shape, block.scale)
    return {
        "name": block.name,
        "about": f"{kind}, output {shape}, {block.parameters:,} parameters.",
        "layers": list(block.layers),
        "input": _tensors_text(anatomy, block.entries, scales),
        "output": _tensors_text(anatomy, block.exits, scales),
        "shape": shape,
        "parameters": block.parameters,
    }


def _scales(anatomy: Anatomy) -> dict[int, float]:
    """How many times lower the resolution of the tensors between blocks is than at the input."""
    return {tensor: block.scale for block in reversed(anatomy.blocks) for tensor in block.exits}


def _tensors_text(
    anatomy: Anatomy, tensors: Iterable[int], scales: Mapping[int, float] | None = None
) -> str:
    """Shapes and dtypes of tensors as people write them."""
    scales = _scales(anatomy) if scales is None else scales
    shapes = ((anatomy.graph.tensors[index], scales.get(index, 1)) for index in tensors)
    return ", ".join(
        f"{shape_text(tensor.shape, scale)} {tensor.dtype}" for tensor, scale in shapes
    )


def _reasons(anatomy: Anatomy, ends: dict[int, tuple[int, ...]]) -> dict[int, Any]:
    """For each end that a start cannot reach: the layers and blocks that bypass the start."""
    makers = anatomy.graph.maker
    return {
        end: {
            "names": [makers(tensor).name for tensor in bypassing],
            "makers": [_block_with(anatomy, [makers(tensor).index]) for tensor in bypassing],
        }
        for end, bypassing in ends.items()
    }


def _block_with(anatomy: Anatomy, calls: Iterable[int]) -> int:
    """Position of the first block with one of these calls; -1 if there is none."""
    calls = set(calls)
    return next((i for i, block in enumerate(anatomy) if not calls.isdisjoint(block.calls)), -1)


def ends(anatomy: Anatomy, start: PlaceLike, block: str | None = None) -> dict[str, Any]:
    """The ends that slices from one start cannot have, and why.

    Args:
        anatomy: The anatomy of the model.
        start: Any place.
        block: The name of a block whose layers are meant too, if any.

    Returns:
        The reasons: for `"blocks"` by their positions, for `"layers"` of the block by their names;
        nothing for a start that the model does not have.

    Raises:
        UnknownPlaceError: If the model has no such block.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> found = ends(anatomy, "conv5_block3_2_conv", "conv5_block3")
        >>> found["blocks"][17]["names"], found["layers"]["conv5_block3_1_conv"]["kind"]
        (['conv5_block2_out'], 'before')
    """
    layers = [] if block is None else [anatomy.graph.calls[i].name for i in anatomy[block].calls]
    try:
        first = resolve(anatomy, start)
    except CutwidgetsError:
        return {}
    found = reach.Reach(anatomy.graph, first.entries, first.calls)
    wires = _Wires(anatomy)

    def reasons(places: Mapping[Any, Sequence[int]]) -> dict[Any, dict[str, Any]]:
        refusals = {place: found.refusal(exits) for place, exits in places.items()}
        return {place: wires.reason(why) for place, why in refusals.items() if why}

    return {
        "blocks": reasons({i: other.exits for i, other in enumerate(anatomy)}),
        "layers": reasons({name: resolve(anatomy, name).exits for name in layers}),
    }


class _Wires:
    """What reads a tensor, as the diagrams of the blocks and of their layers draw it."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._anatomy = anatomy
        self._block_of = {call: i for i, block in enumerate(anatomy) for call in block.calls}

    def reason(self, refusal: reach.Refusal) -> dict[str, Any]:
        return {"kind": refusal.kind} | self.described(refusal.tensors, refusal.readings)

    def described(
        self, tensors: Iterable[int], readings: Iterable[reach.Reading]
    ) -> dict[str, Any]:
        """The layers that compute some tensors, and the wires to what reads them."""
        makers = (self._anatomy.graph.maker(tensor).name for tensor in tensors)
        wires = [self._wire(tensor, reader) for tensor, reader in readings]
        return {"names": list(dict.fromkeys(makers)), "wires": wires}

    def _wire(self, tensor: int, reader: int) -> dict[str, Any]:
        maker = self._anatomy.graph.tensors[tensor].maker
        into = self._block_of.get(reader, -1)
        return {
            "tensor": tensor,
            "maker": maker,
            "reader": reader,
            "source": self._block_of.get(maker, -1),
            "block": into,
            "shortcut": into >= 0 and self._is_shortcut(self._anatomy[into], tensor, reader),
        }

    def _is_shortcut(self, block: Block, tensor: int, reader: int) -> bool:
        """Whether the shortcut of a block, and not its branch, reads a tensor there."""
        if block.shortcut_tensor is None:
            return False
        graph = self._anatomy.graph
        if block.shortcut_tensor == tensor:
            return graph.calls[reader].role == "addition"
        return reader in between(graph, [block.shortcut_tensor], block.entries)[0]


def layers(anatomy: Anatomy, name: str) -> dict[str, Any]:
    """The layers of a block, and their diagram.

    An arrow from a tensor that enters the block is named by the tensor's place in `"entries"`.

    Raises:
        UnknownPlaceError: If the model has no such block.
    """
    return {
        "block": name,
        "svg": anatomy.layers_svg(name),
        "entries": list(entering(anatomy.graph, anatomy[name].calls)),
        "calls": [
            {
                "name": call.name,
                "id": f"call-{call.index}",
                "index": call.index,
                "about": f"{call.kind}, output {_tensors_text(anatomy, call.outputs)}",
                "layers": [],
            }
            for call in (anatomy.graph.calls[index] for index in anatomy[name].calls)
        ],
    }


def location(anatomy: Anatomy, text: str) -> dict[str, Any]:
    """The block of a place, and its layer if it is one; also by the names of older Keras versions.

    Raises:
        UnknownPlaceError: If the model has no such place.
    """
    place = resolve(anatomy, text)
    block = anatomy[max(0, _block_with(anatomy, place.calls))]
    is_layer = len(place.calls) == 1 < len(block.calls)
    return {"block": block.name, "layer": place.name if is_layer else None}


def name_of(anatomy: Anatomy, place: PlaceLike | None, is_start: bool) -> str | int:
    """A name for a place: a block's, if the cut lies at its border.

    Args:
        anatomy: The anatomy of the model.
        place: Any place; `None` for the model's own input or output.
        is_start: Whether it is meant as a start, not as an end.

    Returns:
        The name; for what is no place of the model, a text that shows what it is.

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
        resolved = resolve(anatomy, place)
    except CutwidgetsError:  # raised again, and shown, when the selection is cut
        return place if isinstance(place, str | int) else repr(place)
    for block in blocks:
        if resolved.entries == block.entries if is_start else resolved.exits == block.exits:
            return block.name
    if isinstance(place, keras.KerasTensor):
        return _layer_at(anatomy.graph, resolved.exits[0], is_start) or str(place.name)
    return resolved.name


def _layer_at(graph: CallGraph, tensor: int, is_start: bool) -> str | None:
    """The layer that makes a tensor and nothing else, or that alone uses it and nothing else."""
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
        part: The section of the slice.
        model: The slice.
        names: Its start and its end.
        weights: `"share"` or `"copy"`.
    """
    calls = set(part.calls)
    touched = [i for i, block in enumerate(anatomy) if calls & set(block.calls)]
    blocks = [anatomy[i] for i in touched]
    title = f"{names[0]} to {names[1]}" if names[0] != names[1] else str(names[0])
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    inputs, outputs = _tensors_text(anatomy, part.inputs), _tensors_text(anatomy, part.outputs)
    counted = f"{len(blocks)} block{'s' * (len(blocks) != 1)}"
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
                block.name if set(block.calls) <= calls else f"{block.name} (partly)",
                shape_text(block.output_shape, block.scale),
                f"{block.parameters:,}",
            )
            for block in blocks
        ],
        "sharing": _sharing(weights, len(model.layers), trainable),
        "announcement": f"Slice of {counted}, {title}: input {inputs}, output {outputs}.",
    }


def _sharing(weights: str, layers: int, trainable: int) -> str:
    frozen = "" if trainable else " All of its layers are frozen."
    if weights == "copy":
        return f"Own weights: training or freezing the slice does not affect the model.{frozen}"
    return (
        "Shared weights: training the slice trains the model, and slice.trainable = False also "
        f"freezes these {layers:,} layers in the model.{frozen}"
    )


def _exactness(anatomy: Anatomy, part: Section) -> str:
    """Whether head, slice and tail rebuild the model, or what else the tail needs."""
    graph = part.graph
    if not part.carried:
        inputs, outputs = len(part.inputs), len(part.outputs)
        exact = "Head, slice and tail rebuild the model exactly"
        if inputs == outputs == 1:
            return f"{exact}: one tensor crosses at each end."
        return f"{exact} (inputs of the slice: {inputs}, outputs: {outputs})."
    names = list(dict.fromkeys(graph.maker(tensor).name for tensor in part.carried))
    last = part.outputs[0]
    block = anatomy[_block_with(anatomy, [graph.maker(last).index])]
    where = (
        f"A skip connection passes the end of {block.name}"
        if last in block.exits
        else f"The end lies inside {block.name}"
    )
    needs = (
        f"output of {names[0]}, which bypasses"
        if len(names) == 1
        else f"outputs of {', '.join(names[:-1])} and {names[-1]}, which bypass"
    )
    return f"{where}: to compute the model's output, the tail also needs the {needs} the end."


def refusal(anatomy: Anatomy, error: Exception, places: Sequence[PlaceLike]) -> dict[str, Any]:
    """Why a cut is impossible, what bypasses its start, and the nearest slices that work.

    Args:
        anatomy: The anatomy of the model.
        error: What the cut raised.
        places: The start and the end, as `cut` received them.
    """
    found: dict[str, Any] = {}
    try:
        start, end = (resolve(anatomy, place) for place in places)
    except CutwidgetsError:
        return found
    why = reach.Reach(anatomy.graph, start.entries, start.calls).refusal(end.exits)
    if isinstance(error, BypassedCutError):
        name = name_of(anatomy, places[1], is_start=False)
        found["nearest"] = [(nearest, name) for nearest in error.nearest]
    return found if why is None else found | {"reason": _Wires(anatomy).reason(why)}


def extra(anatomy: Anatomy, part: Section, start: PlaceLike) -> dict[str, Any]:
    """The inputs that a slice has beside those of its start, and what reads them.

    Args:
        anatomy: The anatomy of the model.
        part: The section of the slice.
        start: Its start, as `cut` received it.
    """
    own = resolve(anatomy, start).entries
    others = [tensor for tensor in part.inputs if tensor not in own]
    return _Wires(anatomy).described(others, reach.readings(part.graph, part.calls, others))


def code(selection: Sequence[str | int], allow_bypass: bool, weights: str) -> str:
    """Three lines of Python that cut a slice and check it.

    Example:
        >>> print(code(("conv3", "conv4"), False, "copy"))
        import cutwidgets as cw
        part = cw.cut(model, 'conv3', 'conv4', weights='copy')
        cw.check(model, 'conv3', 'conv4', weights='copy')
    """
    arguments = f"model, {selection[0]!r}, {selection[1]!r}"
    arguments += f", weights={weights!r}" if weights != "share" else ""
    arguments += ", allow_bypass=True" if allow_bypass else ""
    return f"import cutwidgets as cw\npart = cw.cut({arguments})\ncw.check({arguments})"


def message(problem: Exception) -> str:
    """The text to show for an error: exceptions in a widget's callbacks reach nobody."""
    if isinstance(problem, CutwidgetsError):
        return str(problem)
    traceback.print_exception(problem)
    return f"Internal error in cutwidgets; please report it: {problem!r}"
