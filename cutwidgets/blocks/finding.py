"""Find the blocks and stages of a model."""

from collections.abc import Sequence
from itertools import zip_longest

from ..graph.callgraph import CallGraph, entering, leaving
from .assembly import assemble
from .blocks import OUTSIDE_STAGES, Block, Stage
from .lines import lines, resolutions
from .naming import named, scopes_of
from .regions import Region


def find(graph: CallGraph) -> tuple[tuple[Block, ...], tuple[Stage, ...]]:
    """Find the blocks and stages of a model.

    Every call except the model's inputs belongs to exactly one block. Stem, top and classifier
    belong to no stage.

    Returns:
        The blocks in order, and the stages in order.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> blocks, stages = find(read(keras.applications.MobileNetV2(weights=None)))
        >>> [block.name for block in blocks][:3], len(stages)
        (['stem', 'expanded_conv', 'block_1'], 7)
    """
    scales = resolutions(graph)
    unnamed = [
        _block(graph, kind, parts, scales) for kind, parts in assemble(graph, lines(graph), scales)
    ]
    scopes = scopes_of(graph, unnamed)
    stages = _stages(graph, unnamed, scales, scopes)
    return named(graph, unnamed, stages, scopes)


def _block(graph: CallGraph, kind: str, parts: list[Region], scales: list[float]) -> Block:
    """A block that has no name and no stage yet."""
    calls = tuple(sorted(index for region in parts for index in region.calls))
    main = parts[0].entry
    entries = tuple(sorted(entering(graph, calls), key=lambda tensor: tensor != main))
    exits = leaving(graph, calls)
    if set(exits) <= set(graph.outputs):
        exits.sort(key=graph.outputs.index)
    else:
        exits.sort(key=lambda tensor: tensor == parts[-1].exit)
    residual = [region for region in parts if region.shortcut]
    return Block(
        name="",
        kind=kind,
        shortcut=residual[0].shortcut if residual else None,
        merge=graph.tensors[residual[-1].exit].maker if residual else None,
        shortcut_tensor=residual[0].shortcut_tensor if residual else None,
        stage=None,
        layers=tuple(graph.calls[index].name for index in calls),
        input_shape=graph.tensors[entries[0]].shape,
        output_shape=graph.tensors[exits[-1]].shape,
        scale=scales[exits[-1]],
        entries=entries,
        exits=tuple(exits),
        calls=calls,
        graph=graph,
    )


def _stages(
    graph: CallGraph, blocks: Sequence[Block], scales: list[float], scopes: Sequence[str]
) -> list[list[int]]:
    """Positions of the blocks of each stage: neighbours of equal resolution and width."""

    def width(block: Block) -> int | None:
        # The width of a dense block grows with each of its layers (Huang et al. 2017).
        return None if block.kind == "dense" else block.output_shape[graph.channel_axis]

    stages: list[list[int]] = []
    body = [i for i, block in enumerate(blocks) if block.kind not in OUTSIDE_STAGES]
    for i, following in zip_longest(body, body[1:]):
        joins = bool(stages) and stages[-1][-1] == i - 1
        if joins:
            block, before = blocks[i], blocks[i - 1]
            joins = (before.kind == "dense") == (block.kind == "dense")
            joins &= width(before) == width(block) and scopes[i] == scopes[i - 1]
            if block.scale != before.scale:
                # A block that lowers the resolution opens a stage, unless the width grows right
                # after it: then it closes one, as in ResNet50V2.
                opens = following is None or width(blocks[following]) == width(block)
                joins &= not opens and scales[before.entries[0]] == before.scale
        if joins:
            stages[-1].append(i)
        else:
            stages.append([i])
    return stages
