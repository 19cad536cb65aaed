"""Cut points that appear if long skips are ignored."""

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from heapq import heappop, heappush
from itertools import accumulate
from math import inf

from ..graph.callgraph import CallGraph
from .regions import Region, depending, region


def cost(graph: CallGraph, index: int) -> int:
    """The length of a call in a path; calls with weights count most, as masks need many calls."""
    return 10 if graph.calls[index].weighted else 1


def ways_to(graph: CallGraph, calls: Sequence[int], exit: int) -> dict[int, int]:
    """The calls that lead to a tensor, ascending, and the length of the longest path from each."""
    distances = {exit: 0}
    ways = {}
    for index in reversed(calls):
        call = graph.calls[index]
        after = [distances[tensor] for tensor in call.outputs if tensor in distances]
        if after:
            ways[index] = way = max(after) + cost(graph, index)
            for tensor in call.inputs:
                distances[tensor] = max(way, distances.get(tensor, 0))
    return dict(reversed(ways.items()))


def divide(graph: CallGraph, whole: Region, ways: Mapping[int, int]) -> tuple[float, list[Region]]:
    """Divide a region at the cut points that appear first as edges are ignored, heaviest first.

    An edge's weight is how much shorter its longest path to the exit is than that of its siblings:
    0 on the longest path itself. Calls that only ignored edges lead to are aside; their weight is
    that of the lightest of these edges. Masks, and the calls that compute them, are always aside.

    Args:
        graph: The call graph.
        whole: The region.
        ways: The length of the longest path to the exit from each call.

    Returns:
        The smallest weight of the ignored edges, infinite if none had to be ignored, and the
        regions; no regions if there is no cut point.
    """
    if whole.entry is None:
        return 0, []
    strengths, aside = _weigh(graph, whole, whole.entry, ways)
    weight = max(
        (s for tensor, s in strengths.items() if s > _own(graph, aside, tensor)), default=0
    )
    if not weight:
        return 0, []
    main = {index for index, own in aside.items() if own < weight}
    borders = [
        tensor for tensor, s in strengths.items() if s >= weight > _own(graph, aside, tensor)
    ]
    if weight < inf:
        borders = _narrow(graph, whole, borders, main)
    if not borders:
        return 0, []
    return weight, _between_borders(graph, whole, [*borders, whole.exit], main)


def _own(graph: CallGraph, aside: Mapping[int, float], tensor: int) -> float:
    return aside[graph.tensors[tensor].maker]


def _weigh(
    graph: CallGraph, whole: Region, entry: int, ways: Mapping[int, int]
) -> tuple[dict[int, float], dict[int, float]]:
    """The weight of the lightest edge that passes each tensor, and the weights of the calls."""
    inside = set(depending(graph, whole.calls, entry))
    aside: dict[int, float] = {}
    waiting: list[tuple[float, int]] = []
    strengths: dict[int, float] = {}

    def wait(users: list[int], is_mask: bool, least: float, tie: float) -> None:
        longest = max(users, key=ways.__getitem__) if len(users) > 1 else users[0]
        for user in users:
            weight = least
            if user != longest:
                weight = max(least, ways[longest] - ways[user], tie)
            if is_mask or _masks(graph, graph.calls[user].outputs[0]):
                weight = inf
            heappush(waiting, (weight, user))
            aside[user] = min(weight, aside.get(user, inf))

    # Among branches of equal length, one has to be the main line.
    wait([user for user in graph.tensors[entry].users if user in inside], False, 0, 0.5)
    for index in sorted(inside):
        while waiting and waiting[0][1] <= index:
            heappop(waiting)
        used = []
        for tensor in graph.calls[index].outputs:
            users = [user for user in graph.tensors[tensor].users if user in inside]
            if users:
                used.append((tensor, users))
        if len(used) == 1:
            strengths[used[0][0]] = waiting[0][0] if waiting else inf
        # The outputs of one call, as of a split, are branches like the readers of one tensor.
        for are_masks in (False, True):
            readers = [u for t, users in used if _masks(graph, t) == are_masks for u in users]
            if readers:
                wait(list(dict.fromkeys(readers)), are_masks, aside[index], 0)
    strengths.pop(whole.exit, None)
    return strengths, aside


def _masks(graph: CallGraph, tensor: int) -> bool:
    return graph.tensors[tensor].dtype == "bool"


def _positions(
    graph: CallGraph, whole: Region, borders: Sequence[int], main: Collection[int]
) -> dict[int, int]:
    """How many borders precede each call.

    A call aside belongs where its first merge is, like a lateral convolution of a feature pyramid.
    The exception are the skips of WaveNet: a call that reads only from inside one block, and leads
    only to the last merge, belongs to that block.
    """
    makers = [graph.tensors[tensor].maker for tensor in borders]
    positions: dict[int, int] = {}
    leading: set[int] = set()
    for index in reversed(whole.calls):
        users = [u for t in graph.calls[index].outputs for u in graph.tensors[t].users]
        if index in main:
            positions[index] = bisect_left(makers, index)
        else:
            later = (positions[user] for user in users if user in positions)
            positions[index] = min(later, default=bisect_left(makers, index))
            if users and leading.issuperset(users):
                leading.add(index)
        if index == graph.tensors[whole.exit].maker:
            leading.add(index)
    ends, settled = set(borders), set(main)
    for index in whole.calls:
        inputs = graph.calls[index].inputs
        before = {graph.tensors[tensor].maker for tensor in inputs}
        is_inside = ends.isdisjoint(inputs) and settled.issuperset(before)
        if index in leading and index not in main and is_inside:
            places = {positions[maker] for maker in before}
            if len(places) == 1:
                positions[index] = places.pop()
                settled.add(index)
    return positions


def _narrow(
    graph: CallGraph, whole: Region, borders: Sequence[int], main: Collection[int]
) -> list[int]:
    """The borders that at most one other tensor bypasses, not counting masks."""
    positions = _positions(graph, whole, borders, main)
    own = {tensor: i for i, tensor in enumerate(borders)}
    # How many more tensors bypass each border than the one before it.
    steps = [0] * (len(borders) + 1)
    tensors = [(whole.entry, -1)] + [
        (tensor, i) for index, i in positions.items() for tensor in graph.calls[index].outputs
    ]
    for tensor, first in tensors:
        assert tensor is not None
        users = [positions[u] for u in graph.tensors[tensor].users if u in positions]
        first = own.get(tensor, first - 1) + 1 if tensor != whole.entry else 0
        last = max(users, default=first)
        if first < last and not _masks(graph, tensor):
            steps[first] += 1
            steps[last] -= 1
    widths = accumulate(steps[:-1])
    return [tensor for tensor, width in zip(borders, widths, strict=True) if width <= 1]


def _between_borders(
    graph: CallGraph, whole: Region, borders: Sequence[int], main: Collection[int]
) -> list[Region]:
    """The regions between borders."""
    members: list[list[int]] = [[] for _ in borders]
    for index, i in _positions(graph, whole, borders, main).items():
        # A call that leads out of the region may come after the one that computes its exit.
        members[min(i, len(borders) - 1)].append(index)
    return [
        region(graph, calls[::-1], entry, exit)
        for calls, entry, exit in zip(members, [whole.entry, *borders], borders, strict=False)
    ]
