"""Explain why a cut is impossible: what bypasses it, along which path, and where to cut instead."""

from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from ..blocks.blocks import Block
from ..errors import BypassedCutError
from ..graph.callgraph import CallGraph, between
from ..graph.frontier import Start, carried_past, head
from ..structure.anatomy import Anatomy
from ..structure.places import Place


def no_way(
    graph: CallGraph,
    entries: Sequence[int],
    exits: Sequence[int],
    start: str | None,
    end: str | None,
) -> str:
    """Why no call leads from a start to an end, as the rest of a sentence."""
    if not start or not end:
        if start == end:
            return "it has no layers."
        where = "after" if start else "before"
        return f"nothing comes {where} {start or end!r}. Leave that place out."
    if set(exits) <= set(entries) and all(graph.maker(t).name == start for t in entries):
        return f"the end {end!r} is the tensor that the slice accepts. Use a later end."
    if head(graph, entries).issuperset(graph.tensors[tensor].maker for tensor in exits):
        return (
            f"the start {start!r} comes after the end {end!r}. Swap them; both are part of the "
            "slice."
        )
    return f"{end!r} is not computed from {start!r}: they lie on different branches."


def refuse_bypassed_start(
    anatomy: Anatomy,
    written: object,
    start: Place,
    ends: Sequence[Place],
    exits: Sequence[int],
    calls: Sequence[int],
    bypassing: Sequence[int],
) -> NoReturn:
    """Refuse to start at a place that is bypassed by tensors which some ends need.

    Args:
        anatomy: The anatomy of the model.
        written: The start, as the caller wrote it.
        start: The start.
        ends: Those of the ends that cannot be computed from it alone.
        exits: Indices of the tensors of all ends.
        calls: Indices of the calls of the slice.
        bypassing: Indices of the tensors that bypass the start.

    Raises:
        BypassedCutError: Always.
    """
    graph = anatomy.graph

    def works(block: Block) -> bool:
        start = Start(graph, block.entries, block.calls)
        return start.leads_to(exits) and not start.bypassed_by(exits)

    names = " and ".join(repr(end.name) for end in ends if end.name)
    the_end = f"the end{'s' * (len(ends) > 1)} {names}".rstrip()
    message = (
        f"Cannot start at {written!r}: {_skips(graph, start.entries, calls, bypassing)} it, so "
        f"{the_end} cannot be computed from there alone."
    )
    last = _last_end(graph, start.entries, calls, ends[0].exits)
    if last:
        message += f" Starting there, you can end anywhere up to {last!r}."
    position = min(start.calls, default=graph.tensors[start.entries[0]].maker + 1)
    raise BypassedCutError(
        written,
        message + " With allow_bypass=True, tensors that bypass the start become extra inputs.",
        _makers(graph, bypassing),
        _nearest(anatomy, position, lambda block: min(block.calls), works),
    )


def refuse_bypassed_end(
    anatomy: Anatomy, written: object, place: Place, bypassing: Sequence[int]
) -> NoReturn:
    """Refuse to split after a place that is bypassed by tensors which the outputs need.

    Raises:
        BypassedCutError: Always.
    """
    graph = anatomy.graph

    needed = set(between(graph, graph.outputs, ())[0])

    def works(block: Block) -> bool:
        return not needed <= head(graph, block.exits) and not carried_past(graph, block.exits)

    calls = sorted(needed - head(graph, place.exits))
    raise BypassedCutError(
        written,
        f"Cannot split after {written!r}: {_skips(graph, place.exits, calls, bypassing)} it, so "
        "the rest of the model cannot be computed from there alone. With allow_bypass=True, the "
        "pieces pass the bypassing tensors along.",
        _makers(graph, bypassing),
        _nearest(
            anatomy,
            graph.tensors[place.exits[0]].maker,
            lambda block: graph.tensors[block.exits[0]].maker,
            works,
        ),
    )


def _makers(graph: CallGraph, tensors: Iterable[int]) -> list[str]:
    return list(dict.fromkeys(graph.maker(tensor).name for tensor in tensors))


def _skips(
    graph: CallGraph, entries: Sequence[int], calls: Sequence[int], bypassing: Sequence[int]
) -> str:
    """Name the skip connections, inputs and outputs of the model that bypass some entries."""
    downstream = set(entries)
    for index in calls:
        if downstream & set(graph.calls[index].inputs):
            downstream |= set(graph.calls[index].outputs)
    skips: list[str] = []
    others: list[str] = []
    for tensor in bypassing:
        path, merge = _path(graph, tensor, set(calls), downstream)
        name = repr(graph.maker(tensor).name)
        through = f" through {', '.join(map(repr, path))}" if path else ""
        if tensor in graph.inputs:
            others.append(f"the input {name}" + (f"{through} to {merge!r}" if merge else ""))
        elif merge:
            skips.append(f"from {name}{through} to {merge!r}")
        elif tensor in graph.outputs:
            others.append(f"the output {name} of the model")
        else:
            others.append(f"the branch from {name} to an output of the model")
    skips, others = list(dict.fromkeys(skips)), list(dict.fromkeys(others))
    verb = "bypasses" if len(skips) + len(others) == 1 else "bypass"
    if skips:
        others.insert(0, f"the skip connection{'s' * (len(skips) > 1)} {' and '.join(skips)}")
    return f"{' and '.join(others)} {verb}"


def _path(
    graph: CallGraph, tensor: int, calls: set[int], downstream: set[int]
) -> tuple[list[str], str | None]:
    """The shortest path of a tensor to a call that also depends on the place that it bypasses."""
    import networkx  # slow to import, and only refusals need it

    source = graph.tensors[tensor].maker
    arrows = networkx.DiGraph((source, u) for u in graph.tensors[tensor].users if u in calls)
    for index in calls:
        users = {user for out in graph.calls[index].outputs for user in graph.tensors[out].users}
        arrows.add_edges_from((index, user) for user in users & calls)
    arrows.add_node(source)
    paths = networkx.single_source_shortest_path(arrows, source).values()
    merging = [p for p in paths if p[1:] and downstream & set(graph.calls[p[-1]].outputs)]
    if not merging:
        return [], None
    *through, merge = (graph.calls[index].name for index in min(merging, key=len)[1:])
    return through, merge


def _last_end(
    graph: CallGraph, entries: Sequence[int], calls: Sequence[int], exits: Sequence[int]
) -> str | None:
    """Of the calls that can be computed from a start alone, the one nearest to the exits."""
    computed = set(entries)
    alone = []
    for index in calls:
        if computed.issuperset(graph.calls[index].inputs):
            computed |= set(graph.calls[index].outputs)
            alone.append(index)
    distances = _distances(graph, graph.tensors[exits[0]].maker)
    nearest = min(alone, key=lambda index: distances.get(index, len(graph.calls)), default=None)
    return None if nearest is None else graph.calls[nearest].name


def _distances(graph: CallGraph, source: int) -> dict[int, int]:
    """The number of tensors between a call and each other one, in either direction."""
    import networkx

    edges = ((tensor.maker, user) for tensor in graph.tensors for user in tensor.users)
    undirected = networkx.Graph(edges)
    undirected.add_node(source)
    return dict(networkx.single_source_shortest_path_length(undirected, source))


def _nearest(
    anatomy: Anatomy, position: int, where: Callable[[Block], int], works: Callable[[Block], bool]
) -> list[str]:
    """The nearest blocks in the graph that work, one before a position and one after it."""
    distances = _distances(anatomy.graph, min(position, len(anatomy.graph.calls) - 1))

    def distance(block: Block) -> int:
        return distances.get(where(block), len(anatomy.graph.calls))

    before = [block for block in reversed(anatomy.blocks) if where(block) < position]
    after = [block for block in anatomy.blocks if where(block) >= position]
    nearest = (next(filter(works, sorted(s, key=distance)), None) for s in (before, after))
    return [block.name for block in nearest if block is not None]
