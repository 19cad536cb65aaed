"""Find the blocks and stages of a model."""

from dataclasses import replace

from ..graph.callgraph import CallGraph, entering, leaving
from .assembly import assemble
from .blocks import Block, Stage
from .lines import lines, resolutions
from .naming import named, scopes_of
from .regions import Region
from .stages import levels, skips, stages_of


def find(graph: CallGraph) -> tuple[tuple[Block, ...], tuple[Stage, ...]]:
    """Find the blocks and stages of a model.

    Every call except the model's inputs belongs to exactly one block. Stem, top, classifier and
    heads belong to no stage.

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
    searched = graph if any(call.weighted for call in graph.calls) else _weighted(graph)
    unnamed = [
        _block(graph, kind, parts, scales)
        for kind, parts in assemble(searched, lines(searched, scales), scales)
    ]
    scopes = scopes_of(graph, unnamed)
    passing = skips(graph, unnamed, scales)
    stages = stages_of(graph, unnamed, scales, scopes, passing)
    return named(graph, unnamed, stages, scopes, levels(passing))


def _weighted(graph: CallGraph) -> CallGraph:
    """The graph with all calls but merges marked as weighted, so that they can form blocks."""
    calls = tuple(replace(call, weighted=len(call.inputs) == 1) for call in graph.calls)
    return replace(graph, calls=calls)


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
