"""Names for blocks and stages, from the names of their layers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from os.path import commonprefix

from ..graph.callgraph import CallGraph
from .blocks import OUTSIDE_STAGES, Block, Stage
from .layer_names import ends_a_word, is_automatic


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
) -> tuple[tuple[Block, ...], tuple[Stage, ...]]:
    """Name blocks and stages after their layers if possible, otherwise by numbers."""
    nests = {nest.call.name for nest in graph.nests}
    used = {call.name for call in graph.calls} | nests
    ends = {call.name: (call.inputs, call.outputs) for call in graph.calls}
    common = [_common_name(graph, block, nests) for block in unnamed]
    unique = _unique(common, used, unnamed, ends)
    names = [own or name for own, name in zip(_names_of_nests(graph, unnamed), unique, strict=True)]
    stage_names = _stage_names(stages, names, used, scopes)

    numbered = {
        i: _in(scopes[i], block.kind)
        for i, block in enumerate(unnamed)
        if block.kind in OUTSIDE_STAGES
    }
    for stage_name, members in zip(stage_names, stages, strict=True):
        numbered |= {i: f"{stage_name}_block{number}" for number, i in enumerate(members, 1)}
    used |= set(filter(None, names))
    for i, name in numbered.items():
        if names[i] is None:
            names[i] = name = _free(name, used)
            used.add(name)

    stage_of = {i: name for name, members in zip(stage_names, stages, strict=True) for i in members}
    blocks = tuple(
        replace(block, name=names[i] or "", stage=stage_of.get(i))
        for i, block in enumerate(unnamed)
    )
    return blocks, tuple(
        Stage(name, tuple(blocks[i] for i in members))
        for name, members in zip(stage_names, stages, strict=True)
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


def _common_name(graph: CallGraph, block: Block, nests: set[str]) -> str | None:
    """The common beginning of a block's layer names, without those that Keras chose."""
    names = [
        call.name
        for call in map(graph.calls.__getitem__, block.calls)
        if not is_automatic(call.own_name, call.kind)
    ]
    if not names or block.kind in OUTSIDE_STAGES:
        return None
    begin = _common_begin(names)
    return begin if begin not in nests else None


def _common_begin(names: Sequence[str]) -> str | None:
    """The longest common beginning of names that ends at the end of a word in each.

    Example:
        >>> _common_begin(["conv3_block1_1_conv", "conv3_block1_out"]), _common_begin(["a1", "b1"])
        ('conv3_block1', None)
    """
    begin = commonprefix(names)  # noqa: RUF071 (characters are meant)
    while begin and not all(ends_a_word(name, len(begin)) for name in names):
        begin = begin[:-1]
    return begin or None


def _unique(
    suggested: Sequence[str | None],
    used: set[str],
    blocks: Sequence[Block],
    ends: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
) -> list[str | None]:
    """Drop names that two blocks share, or that a layer with other inputs or outputs has."""
    times = Counter(suggested)

    def is_clear(name: str, block: Block) -> bool:
        means_a_layer = name in used and ends.get(name) != (block.entries, block.exits)
        return times[name] == 1 and not means_a_layer

    return [
        name if name and is_clear(name, block) else None
        for name, block in zip(suggested, blocks, strict=True)
    ]


def _stage_names(
    stages: Sequence[Sequence[int]],
    names: Sequence[str | None],
    used: set[str],
    scopes: Sequence[str],
) -> list[str]:
    """The common beginning of the block names of each stage.

    If one stage of a nested model (or of the outermost model) has none, or an ambiguous one, all
    of its stages are numbered.
    """
    result = []
    for members in stages:
        own = [names[i] or "" for i in members]
        result.append((own[0] if len(own) == 1 else _common_begin(own)) or "")
    around = [scopes[members[0]] for members in stages]
    clashes = used | set(filter(None, names))
    for scope in dict.fromkeys(around):
        here = [j for j, name in enumerate(around) if name == scope]
        own = [result[j] for j in here]
        several = {result[j] for j in here if len(stages[j]) > 1}
        if not all(own) or len(set(own)) < len(own) or clashes & several:
            for number, j in enumerate(here, 1):
                result[j] = _free(_in(scope, f"stage{number}"), clashes)
    return result


def _free(name: str, used: set[str]) -> str:
    """The name, with a number appended if it is in use."""
    candidates = (name if number == 1 else f"{name}_{number}" for number in count(1))
    return next(candidate for candidate in candidates if candidate not in used)
