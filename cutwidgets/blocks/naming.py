"""Names for blocks and stages, from the names of their layers."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

from ..graph.callgraph import CallGraph
from .blocks import OUTSIDE_STAGES, Block, Stage
from .layer_names import is_automatic
from .own_names import Names, means, name_after_layers, names_of
from .stage_names import free, names_of_several, stage_names
from .stages import Levels

_NONE = Names((), (), 0)


def scopes_of(graph: CallGraph, blocks: Sequence[Block]) -> list[str]:
    """For each block the innermost nested model of several blocks that contains it, or `""`."""
    blocks_in = Counter(
        name
        for block in blocks
        for name in {name for index in block.calls for name in graph.calls[index].scope}
    )

    def scope(block: Block) -> str:
        around = min((graph.calls[index].scope for index in block.calls), key=len)
        return next((name for name in reversed(around) if blocks_in[name] > 1), "")

    return list(map(scope, blocks))


def named(
    graph: CallGraph,
    unnamed: Sequence[Block],
    stages: Sequence[Sequence[int]],
    scopes: Sequence[str],
    unet: Levels | None = None,
) -> tuple[tuple[Block, ...], tuple[Stage, ...]]:
    """Name blocks and stages after their layers if possible, otherwise by numbers.

    Args:
        graph: The call graph.
        unnamed: Its blocks.
        stages: Positions of the blocks of each stage.
        scopes: For each block, the nested model whose stages it counts among.
        unet: The sides of a U-Net, if it is one; its stages are named after them.
    """
    nests = {nest.call.name for nest in graph.nests}
    used = {call.name for call in graph.calls} | nests
    outside = [block.kind in OUTSIDE_STAGES for block in unnamed]
    parts = [names_of(graph, block.calls) for block in unnamed]
    body = [_NONE if out else part for part, out in zip(parts, outside, strict=True)]
    names = _names_of_nests(graph, unnamed)
    several = names_of_several(stages, body, used)
    reserved = nests.union(filter(None, several))
    name_after_layers(graph, unnamed, body, names, reserved, alone=True)
    in_stages = stage_names(unnamed, stages, scopes, names, several, used, unet)
    name_after_layers(graph, unnamed, body, names, nests.union(in_stages), alone=False)
    _name_heads(graph, unnamed, parts, names, used)
    taken = used.union(filter(None, names), in_stages)

    numbered = {i: _in(scopes[i], block.kind) for i, block in enumerate(unnamed) if outside[i]}
    for stage_name, members in zip(in_stages, stages, strict=True):
        if unet and len(members) == 1 and names[members[0]] is None and stage_name not in used:
            # A level of a U-Net that is a single block has the level's name.
            names[members[0]] = stage_name
        numbered |= {i: f"{stage_name}_block{number}" for number, i in enumerate(members, 1)}
    for i, name in numbered.items():
        if names[i] is None:
            names[i] = name = free(name, taken)
            taken.add(name)

    stage_of = {i: name for name, members in zip(in_stages, stages, strict=True) for i in members}
    blocks = tuple(
        replace(block, name=names[i] or "", stage=stage_of.get(i))
        for i, block in enumerate(unnamed)
    )
    return blocks, tuple(
        Stage(name, tuple(blocks[i] for i in members))
        for name, members in zip(in_stages, stages, strict=True)
    )


def _in(scope: str, name: str) -> str:
    return f"{scope}/{name}" if scope else name


def _names_of_nests(graph: CallGraph, blocks: Sequence[Block]) -> list[str | None]:
    """For each block that is exactly one nested model, that model's name, if a person chose it."""
    nests = {
        tuple(nest.inside): nest.call
        for nest in reversed(graph.nests)
        if not is_automatic(nest.call.own_name, nest.call.kind)
    }
    calls = [(block, nests.get(block.calls)) for block in blocks]
    return [
        call.name if call and (call.inputs, call.outputs) == (block.entries, block.exits) else None
        for block, call in calls
    ]


def _name_heads(
    graph: CallGraph,
    blocks: Sequence[Block],
    parts: Sequence[Names],
    names: list[str | None],
    used: Collection[str],
) -> None:
    """Name heads after their layers, or after the output of the model that they compute.

    A single classifier needs no such name. A head whose name stands for a layer that reads
    something else has the word `head` appended.
    """
    ends = [i for i, block in enumerate(blocks) if block.kind in ("classifier", "head")]
    if [blocks[i].kind for i in ends] == ["classifier"]:
        return
    shared = Counter(parts[i].shared[0] for i in ends)
    calls = {call.name: call for call in graph.calls}
    for i in ends:
        name = parts[i].shared[0]
        if name is None or shared[name] > 1:
            results = [graph.maker(tensor) for tensor in blocks[i].exits]
            chosen = [c.name for c in results if not is_automatic(c.own_name, c.kind)]
            name = chosen[-1] if chosen else None
        if names[i] is None and name is not None:
            is_clear = name not in used or (name in calls and means(blocks[i], calls[name]))
            if name in names or not is_clear:
                name = free(f"{name}_head", {*used, *filter(None, names)})
            names[i] = name
