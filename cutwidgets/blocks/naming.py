"""Names for blocks and stages, from the names of their layers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from os.path import commonprefix

from ..graph.callgraph import CallGraph
from .blocks import OUTSIDE_STAGES, Block, Stage
from .layer_names import ends_a_word, is_automatic


def _scopes(graph: CallGraph, blocks: Sequence[Block]) -> list[str]:
    """For each block the innermost nested model of several blocks that it is inside of, or `""`."""
    held = Counter(
        name
        for block in blocks
        for name in {name for index in block.calls for name in graph.calls[index].scope}
    )

    def scope(block: Block) -> str:
        around = min((graph.calls[index].scope for index in block.calls), key=len)
        return next((name for name in reversed(around) if held[name] > 1), "")

    return list(map(scope, blocks))


def _named(
    graph: CallGraph,
    unnamed: Sequence[Block],
    stages: Sequence[Sequence[int]],
    scopes: Sequence[str],
) -> tuple[tuple[Block, ...], tuple[Stage, ...]]:
    """Give blocks and stages the names that their layers suggest, or else numbered ones."""
    nests = {nest.call.name for nest in graph.nests}
    taken = {call.name for call in graph.calls} | nests
    ends = {call.name: (call.inputs, call.outputs) for call in graph.calls}
    common = [_common_name(graph, block, nests) for block in unnamed]
    suggested = [
        own or name
        for own, name in zip(
            _names_of_nests(graph, unnamed), _unique(common, taken, unnamed, ends), strict=True
        )
    ]
    stage_names = _stage_names(stages, suggested, taken, scopes)

    wanted = {
        i: _in(scopes[i], block.kind)
        for i, block in enumerate(unnamed)
        if block.kind in OUTSIDE_STAGES
    }
    for stage_name, members in zip(stage_names, stages, strict=True):
        wanted |= {i: f"{stage_name}_block{number}" for number, i in enumerate(members, 1)}
    names = list(suggested)
    taken |= set(filter(None, names))
    for i, name in wanted.items():
        if names[i] is None:
            names[i] = name = _free(name, taken)
            taken.add(name)

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
    """For each block that is exactly one nested model, the name that a person gave to that."""
    names = {
        tuple(nest.inside): nest.call.name
        for nest in reversed(graph.nests)
        if not is_automatic(nest.call.own_name, nest.call.kind)
    }
    means = {nest.call.name: (nest.call.inputs, nest.call.outputs) for nest in graph.nests}
    found = [names.get(block.calls) for block in blocks]
    return [
        name if name and means[name] == (block.entries, block.exits) else None
        for name, block in zip(found, blocks, strict=True)
    ]


def _common_name(graph: CallGraph, block: Block, nests: set[str]) -> str | None:
    """What the names that a person gave to a block's layers have in common at their begin."""
    given = [
        call.name
        for call in map(graph.calls.__getitem__, block.calls)
        if not is_automatic(call.own_name, call.kind)
    ]
    if not given or block.kind in OUTSIDE_STAGES:
        return None
    begin = _common_begin(given)
    return begin if begin not in nests else None


def _common_begin(names: Sequence[str]) -> str | None:
    """The longest common begin of names that ends where a word of each ends.

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
    taken: set[str],
    blocks: Sequence[Block],
    ends: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
) -> list[str | None]:
    """Drop suggestions that two blocks share, or that mean a layer of other inputs or outputs."""
    times = Counter(suggested)

    def is_clear(name: str, block: Block) -> bool:
        means_a_layer = name in taken and ends.get(name) != (block.entries, block.exits)
        return times[name] == 1 and not means_a_layer

    return [
        name if name and is_clear(name, block) else None
        for name, block in zip(suggested, blocks, strict=True)
    ]


def _stage_names(
    stages: Sequence[Sequence[int]],
    names: Sequence[str | None],
    taken: set[str],
    scopes: Sequence[str],
) -> list[str]:
    """What the blocks of each stage have in common; numbers for all if that is unclear for one.

    All of a nested model is what that concerns, or all outside of such.
    """
    found = []
    for members in stages:
        given = [names[i] or "" for i in members]
        found.append((given[0] if len(given) == 1 else _common_begin(given)) or "")
    around = [scopes[members[0]] for members in stages]
    clashes = taken | set(filter(None, names))
    for scope in dict.fromkeys(around):
        here = [j for j, name in enumerate(around) if name == scope]
        own = [found[j] for j in here]
        several = {found[j] for j in here if len(stages[j]) > 1}
        if not all(own) or len(set(own)) < len(own) or clashes & several:
            for number, j in enumerate(here, 1):
                found[j] = _free(_in(scope, f"stage{number}"), clashes)
    return found


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number behind it where it is taken."""
    candidates = (name if number == 1 else f"{name}_{number}" for number in count(1))
    return next(candidate for candidate in candidates if candidate not in taken)
