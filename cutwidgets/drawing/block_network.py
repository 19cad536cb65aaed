"""The blocks of a model as a graph of networkx, with what the diagram shows."""

from collections.abc import Sequence
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from ..blocks import flow
from ..blocks.blocks import Block, Stage
from ..text import shape_text
from .labels import merges, shared_layers

if TYPE_CHECKING:
    import networkx


def network(
    name: str, blocks: Sequence[Block], stages: Sequence[Stage]
) -> "networkx.MultiDiGraph[str]":
    """A directed graph of blocks, as described in `Anatomy.to_networkx`."""
    import networkx  # slow to import

    names = [block.name for block in blocks]
    first, last = (_unused(end, names) for end in ("input", "output"))
    graph = networkx.MultiDiGraph(name=name)
    graph.add_node(first, kind="input", **_input(blocks))
    shared = shared_layers(blocks)
    stage_of = {block.name: stage.name for stage in stages for block in stage.blocks}
    for block in blocks:
        graph.add_node(block.name, **_attributes(block, stage_of.get(block.name), shared))
    graph.add_node(last, kind="output")
    nodes = [*names, last, first]  # the model's input is at position -1
    for i, sources in enumerate(flow.sources(blocks)):
        for source in sources:
            kind = "spine" if source == sources[0] else "skip"
            graph.add_edge(nodes[source], nodes[i], key=kind, kind=kind)
        if i < len(blocks) and blocks[i].shortcut:
            look = {"kind": "shortcut", "shortcut": blocks[i].shortcut}
            graph.add_edge(nodes[sources[0]], nodes[i], key="shortcut", **look)
    return graph


def _unused(name: str, names: Sequence[str]) -> str:
    """The name, with a number if a block has it."""
    return next(n for n in chain([name], (f"{name}_{i}" for i in count(2))) if n not in names)


def _input(blocks: Sequence[Block]) -> dict[str, Any]:
    return {"output": shape_text(blocks[0].input_shape)} if flow.inputs(blocks) == 1 else {}


def _attributes(block: Block, stage: str | None, shared: set[int]) -> dict[str, Any]:
    """What the card of a block shows, without `None`: files of graphs cannot store it."""
    calls = [block.graph.calls[index] for index in block.calls]
    values = {
        "kind": block.kind,
        "shortcut": block.shortcut,
        "stage": stage,
        "output": shape_text(block.output_shape, block.scale),
        "parameters": block.parameters,
        "merges": ", ".join(merges(block)) or None,
        "shared": any(id(call.layer) in shared for call in calls),
    }
    return {key: value for key, value in values.items() if value is not None}
