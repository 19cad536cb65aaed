"""Say why a cut is impossible: what bypasses it, on which way, and where to cut instead."""

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
    """Why no call leads from a start to an end, for a sentence."""
    if start is None or end is None:
        if start == end:
            return "it has no layers."
        where = "before" if start is None else "behind"
        return f"nothing lies {where} {start or end!r}. Leave that place out."
    if head(graph, entries).issuperset(graph.tensors[tensor].maker for tensor in exits):
        return (
            f"the start {start!r} comes after the end {end!r}. Both are inclusive, and the start "
            "comes first. The other way round it may work."
        )
    return f"{end!r} is not computed from {start!r}: they lie on different branches."


def refuse_bypassed_start(
    anatomy: Anatomy,
    asked: object,
    start: Place,
    exits: Sequence[int],
    calls: Sequence[int],
    bypassing: Sequence[int],
) -> NoReturn:
    """Refuse to start at a place, as the exits also need tensors that bypass it.

    Raises:
        BypassedCutError: Always.
    """
    graph = anatomy.graph

    def works(block: Block) -> bool:
        start = Start(graph, block.entries, block.calls)
        return start.leads_to(exits) and not start.bypassed_by(exits)

    message = (
        f"Cannot start at {asked!r}: {_skips(graph, start.entries, calls, bypassing)} it, so the "
        "end cannot be computed from there alone."
    )
    last = _last_end(graph, start.entries, calls, exits)
    if last:
        message += f" From there, all ends up to {last!r} work."
    position = min(start.calls, default=graph.tensors[start.entries[0]].maker + 1)
    raise BypassedCutError(
        asked,
        message + " With allow_bypass=True, what bypasses the start becomes a further input.",
        _makers(graph, bypassing),
        _nearest(anatomy, position, lambda block: min(block.calls), works),
    )


def refuse_bypassed_end(
    anatomy: Anatomy, asked: object, place: Place, bypassing: Sequence[int]
) -> NoReturn:
    """Refuse to split behind a place, as the outputs also need tensors that bypass it.

    Raises:
        BypassedCutError: Always.
    """
    graph = anatomy.graph

    needed = set(between(graph, graph.outputs, ())[0])

    def works(block: Block) -> bool:
        return not needed <= head(graph, block.exits) and not carried_past(graph, block.exits)

    calls = sorted(needed - head(graph, place.exits))
    raise BypassedCutError(
        asked,
        f"Cannot split behind {asked!r}: {_skips(graph, place.exits, calls, bypassing)} it, so "
        "what comes behind cannot be computed from there alone. With allow_bypass=True, the pieces "
        "hand on what bypasses the place.",
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
    """Say what passes by, for a sentence: skip connections, inputs and outputs of the model."""
    behind = set(entries)
    for index in calls:
        if behind & set(graph.calls[index].inputs):
            behind |= set(graph.calls[index].outputs)
    ways: list[str] = []
    others: list[str] = []
    for tensor in bypassing:
        way, merge = _way(graph, tensor, set(calls), behind)
        name = repr(graph.maker(tensor).name)
        through = f" through {', '.join(map(repr, way))}" if way else ""
        if tensor in graph.inputs:
            others.append(f"the input {name}" + (f"{through} to {merge!r}" if merge else ""))
        elif merge:
            ways.append(f"from {name}{through} to {merge!r}")
        elif tensor in graph.outputs:
            others.append(f"the output {name} of the model")
        else:
            others.append(f"the branch from {name} to an output of the model")
    ways, others = list(dict.fromkeys(ways)), list(dict.fromkeys(others))
    if ways:
        others.insert(0, f"the skip connection{'s' * (len(ways) > 1)} {' and '.join(ways)}")
    verb = "bypasses" if len(ways) + len(others) - bool(ways) == 1 else "bypass"
    return f"{' and '.join(others)} {verb}"


def _way(
    graph: CallGraph, tensor: int, calls: set[int], behind: set[int]
) -> tuple[list[str], str | None]:
    """The shortest way of a tensor to a call that also depends on the place that it passes."""
    import networkx  # takes half a second, and is needed by refusals only

    source = graph.tensors[tensor].maker
    ways = networkx.DiGraph((source, user) for user in graph.tensors[tensor].users if user in calls)
    for index in calls:
        users = {user for made in graph.calls[index].outputs for user in graph.tensors[made].users}
        ways.add_edges_from((index, user) for user in users & calls)
    ways.add_node(source)
    paths = networkx.single_source_shortest_path(ways, source).values()
    merging = [path for path in paths if path[1:] and behind & set(graph.calls[path[-1]].outputs)]
    if not merging:
        return [], None
    *through, merge = (graph.calls[index].name for index in min(merging, key=len)[1:])
    return through, merge


def _last_end(
    graph: CallGraph, entries: Sequence[int], calls: Sequence[int], exits: Sequence[int]
) -> str | None:
    """Of the calls that a start alone allows to compute, the one that is nearest to the exits."""
    known = set(entries)
    alone = []
    for index in calls:
        if known.issuperset(graph.calls[index].inputs):
            known |= set(graph.calls[index].outputs)
            alone.append(index)
    distances = _distances(graph, graph.tensors[exits[0]].maker)
    nearest = min(alone, key=lambda index: distances.get(index, len(graph.calls)), default=None)
    return None if nearest is None else graph.calls[nearest].name


def _distances(graph: CallGraph, source: int) -> dict[int, int]:
    """How many tensors lie between a call and each other one, against or along the arrows."""
    import networkx

    edges = ((tensor.maker, user) for tensor in graph.tensors for user in tensor.users)
    ways = networkx.Graph(edges)
    ways.add_node(source)
    return dict(networkx.single_source_shortest_path_length(ways, source))


def _nearest(
    anatomy: Anatomy, position: int, where: Callable[[Block], int], works: Callable[[Block], bool]
) -> list[str]:
    """The block that works and is nearest in the graph before a position, and that behind it."""
    distances = _distances(anatomy.graph, min(position, len(anatomy.graph.calls) - 1))

    def distance(block: Block) -> int:
        return distances.get(where(block), len(anatomy.graph.calls))

    before = [block for block in reversed(anatomy.blocks) if where(block) < position]
    behind = [block for block in anatomy.blocks if where(block) >= position]
    nearest = (next(filter(works, sorted(s, key=distance)), None) for s in (before, behind))
    return [block.name for block in nearest if block is not None]
