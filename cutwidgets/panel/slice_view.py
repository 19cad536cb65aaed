"""What the page shows of a model and of a slice, as plain dictionaries."""

import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ..blocks import flow
from ..blocks.blocks import Block
from ..drawing import block_diagram, folding, rendering
from ..drawing.folding import Card
from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph, entering, parameters
from ..inference.images import takes_images
from ..structure import reach
from ..structure.anatomy import Anatomy
from ..structure.places import PlaceLike, resolve
from ..surgery.build import Section
from ..text import shape_text
from . import sums
from .ends import joined, mapped, title
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
    scales = _scales(anatomy)
    everything = range(len(graph.calls))
    shares = sums.shares(anatomy, sums.sizes(graph), everything)
    shared = {share.block: [blocks[i].name for i in share.shared] for share in shares}
    return {
        "name": anatomy.name,
        **diagram(anatomy),
        "blocks": [_card(anatomy, block, scales, shared[i]) for i, block in enumerate(blocks)],
        "stages": [
            {"name": stage.name, "first": first, "last": first + len(stage.blocks) - 1}
            for stage in anatomy.stages
            for first in [blocks.index(stage.blocks[0])]
        ],
        "sources": flow.sources(blocks),
        "refused": [_reasons(anatomy, ends) for ends in reach.ends(graph, blocks)],
        "images": takes_images(graph),
        "shared": any(shared.values()),
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


def _card(
    anatomy: Anatomy, block: Block, scales: Mapping[int, float], shared: list[str]
) -> dict[str, Any]:
    kind = f"{block.kind}, {block.shortcut} shortcut" if block.shortcut else block.kind
    shape = shape_text(block.output_shape, block.scale)
    with_others = f", weights shared with {sums.names_text(shared)}" if shared else ""
    return {
        "name": block.name,
        "shared": shared,
        "about": f"{kind}, output {shape}, {block.parameters:,} parameters{with_others}.",
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
            "makers": [block_with(anatomy, [makers(tensor).index]) for tensor in bypassing],
        }
        for end, bypassing in ends.items()
    }


def block_with(anatomy: Anatomy, calls: Iterable[int]) -> int:
    """Position of the first block with one of these calls; -1 if there is none."""
    calls = set(calls)
    return next((i for i, block in enumerate(anatomy) if not calls.isdisjoint(block.calls)), -1)


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
    block = anatomy[max(0, block_with(anatomy, place.calls))]
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
    places: Sequence[Any],
    weights: str,
    of_calls: sums.Sizes,
) -> dict[str, Any]:
    """The facts about a slice and its blocks.

    Args:
        anatomy: The anatomy of the whole model.
        part: The section of the slice.
        model: The slice.
        places: Its start and its end, or its ends.
        weights: `"share"` or `"copy"`.
        of_calls: What `sums.sizes` returns.
    """
    calls = set(part.calls)
    shares = sums.shares(anatomy, of_calls, calls)
    names = [mapped(_name, place) for place in places]
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    inputs = _tensors_text(anatomy, part.inputs)
    outputs = [
        (f"Output {key}".rstrip(), _tensors_text(anatomy, tensors))
        for key, tensors in _outputs(part).items()
    ]
    told = ", ".join(
        f"{word.lower() if part.ends is None else word} {text}" for word, text in outputs
    )
    counted = f"{len(shares)} block{'s' * (len(shares) != 1)}"
    parameters = model.count_params()
    return {
        "range": [shares[0].block, shares[-1].block],
        "calls": sorted(calls),
        "title": title(names),
        "facts": [
            ("Input", inputs),
            *outputs,
            ("Layers", f"{len(model.layers):,}"),
            ("Parameters", f"{parameters:,} ({trainable:,} trainable)"),
        ],
        "exact": not part.carried,
        "note": _exactness(anatomy, part, places[0]),
        "rows": _rows(anatomy, shares, parameters),
        "sharing": _sharing(weights, len(model.layers), trainable),
        "announcement": f"Slice of {counted}, {title(names)}: input {inputs}, {told}.",
        **({} if part.ends is None else {"ends": _blocks_at(anatomy, part)}),
    }


def _name(place: Any) -> Any:
    return place if isinstance(place, str | int) else place.name


def _outputs(part: Section) -> dict[str, Sequence[int]]:
    """The tensors of each end by its key; by `""` those of a single end."""
    if part.ends is None:
        return {"": part.outputs}
    return {key: keras.tree.flatten(tensors) for key, tensors in part.ends.items()}


def _blocks_at(anatomy: Anatomy, part: Section) -> list[int]:
    """Positions of the blocks that the ends of a slice are in, in their order."""
    makers = [part.graph.tensors[tensors[0]].maker for tensors in _outputs(part).values()]
    return [block_with(anatomy, [maker]) for maker in makers]


def _rows(
    anatomy: Anatomy, shares: Sequence[sums.Share], parameters: int
) -> list[tuple[str, str, str]]:
    """Name, output shape and parameters of each block; the parameters add up to the slice's."""
    rows = []
    for share in shares:
        block = anatomy[share.block]
        marks = ["partly"] if share.partly else []
        if share.shared:
            names = sums.names_text([anatomy[i].name for i in share.shared])
            marks.append(f"shares weights with {names}")
        name = f"{block.name} ({'; '.join(marks)})" if marks else block.name
        shape = shape_text(block.output_shape, block.scale)
        rows.append((name, shape, f"{share.parameters:,}"))
    # As of a nested model's own weights, which belong to none of its layers.
    rest = parameters - sum(share.parameters for share in shares)
    return [*rows, ("outside of the blocks", "", f"{rest:,}")] if rest else rows


def _sharing(weights: str, layers: int, trainable: int) -> str:
    frozen = "" if trainable else " All of its layers are frozen."
    if weights == "copy":
        return f"Own weights: training or freezing the slice does not affect the model.{frozen}"
    return (
        "Shared weights: training the slice trains the model, and slice.trainable = False also "
        f"freezes these {layers:,} layers in the model.{frozen}"
    )


def _exactness(anatomy: Anatomy, part: Section, start: PlaceLike) -> str:
    """Whether head, slice and tail rebuild the model, and what crosses at each end."""
    graph = part.graph
    inputs, outputs = dict.fromkeys(part.inputs), dict.fromkeys(part.outputs)
    if not part.carried:
        exact = "Head, slice and tail rebuild the model exactly"
        if len(inputs) == len(outputs) == 1:
            return f"{exact}: one tensor crosses at each end."
        sentences = [f"{exact}."]
    else:
        verb = "bypasses" if len(_makers(graph, part.carried)) == 1 else "bypass"
        sentences = [
            f"{_what_lacks(anatomy, part)}: to compute the model's output, the tail also needs "
            f"{_makers_text(graph, part.carried)}, which {verb} the end{'s' * bool(part.ends)}."
        ]
    if len(inputs) > 1:
        sentences.append(
            f"{len(inputs)} tensors enter at the start: {_makers_text(graph, inputs)}."
        )
        sentences += _extra_inputs(graph, inputs, resolve(anatomy, start).entries)
    if len(outputs) > 1:
        sentences.append(
            f"{len(outputs)} tensors leave at the end{'s' * bool(part.ends)}: "
            f"{_makers_text(graph, outputs)}."
        )
    elif len(inputs) > 1 and not part.carried:
        sentences.append("One tensor leaves at the end.")
    return " ".join(sentences)


def _what_lacks(anatomy: Anatomy, part: Section) -> str:
    """Why what a slice returns is not all that the tail needs."""
    if part.ends is not None:
        return "The outputs of the ends are not enough"
    block = anatomy[block_with(anatomy, [part.graph.maker(part.outputs[0]).index])]
    if part.outputs[0] not in block.exits:
        return f"The end lies inside {block.name}"
    return f"The output of {block.name} is not enough"


def _extra_inputs(
    graph: CallGraph, inputs: Iterable[int], entries: Collection[int]
) -> Iterator[str]:
    """Say which inputs of a slice do not enter its start."""
    extra = [tensor for tensor in inputs if tensor not in entries]
    skips = [tensor for tensor in extra if tensor not in graph.inputs]
    for tensors, words in ((skips, "skip connection"), ([*{*extra} - {*skips}], "model input")):
        if len(tensors) == 1:
            yield f"The {words} from {graph.maker(tensors[0]).name} is an extra input."
        elif tensors:
            names = joined(_makers(graph, sorted(tensors)))
            yield f"The {words}s from {names} are extra inputs."


def _makers(graph: CallGraph, tensors: Iterable[int]) -> list[str]:
    return list(dict.fromkeys(graph.maker(tensor).name for tensor in tensors))


def _makers_text(graph: CallGraph, tensors: Iterable[int]) -> str:
    """Tensors by the layers that compute them: `the outputs of a and b`."""
    tensors = list(tensors)
    return f"the output{'s' * (len(tensors) > 1)} of {joined(_makers(graph, tensors))}"


def code(selection: Sequence[Any], allow_bypass: bool, weights: str) -> str:
    """Three lines of Python that cut a slice and check it.

    Example:
        >>> print(code(("conv3", "conv4"), False, "copy"))
        import cutwidgets as cw
        part = cw.cut(model, 'conv3', 'conv4', weights='copy')
        cw.check(model, 'conv3', 'conv4', weights='copy')
    """
    start, end = selection
    arguments = f"model, {start!r}, {list(end) if isinstance(end, tuple) else end!r}"
    arguments += f", weights={weights!r}" if weights != "share" else ""
    arguments += ", allow_bypass=True" if allow_bypass else ""
    return f"import cutwidgets as cw\npart = cw.cut({arguments})\ncw.check({arguments})"


def message(problem: Exception) -> str:
    """The text to show for an error: exceptions in a widget's callbacks reach nobody."""
    if isinstance(problem, CutwidgetsError):
        return str(problem)
    traceback.print_exception(problem)
    return f"Internal error in cutwidgets; please report it: {problem!r}"
