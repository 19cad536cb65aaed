"""Look into long skips, so that what they span falls into regions too: pure graph work, no Keras.

A skip of a U-Net, the long addition of a super-resolution network, a feature pyramid's lateral
convolution and what a cell of NASNet reads of the cell before last keep several tensors live all
the way. Forget such edges, the longest first, and the cut points beneath come to light. A region
is opened in this way if that shows blocks in sequence, or a way down and up again in resolution;
else it is a block.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from math import inf

from ..graph.callgraph import CallGraph, entering
from .regions import BRANCHED, WEIGHTED, Region, depending, region
from .skips import cost, divide, ways_to


@dataclass(frozen=True, slots=True)
class Line:
    """Regions one behind the other: a way through the network, or a part of one.

    Attributes:
        regions: Its regions, in order.
        begins: Whether it begins at the model's inputs.
        ends: Whether it ends at an output of the model.
    """

    regions: tuple[Region, ...]
    begins: bool
    ends: bool


@dataclass(frozen=True, slots=True)
class _Area:
    """Calls that are still to divide: the network, a tower beside its main line, or a head."""

    calls: tuple[int, ...]
    sources: tuple[int, ...]
    sinks: tuple[int, ...]


@dataclass(slots=True)
class _Node:
    """A region, what it is found to hold, and whether that stands in its place."""

    region: Region
    parts: list["_Node"] = field(default_factory=list)
    is_chain: bool = False  # It has cut points that no skip hides.
    is_long: bool = False

    @property
    def is_open(self) -> bool:
        return self.is_chain or self.is_long


def lines(graph: CallGraph) -> list[Line]:
    """Divide a network into lines of regions, each call in exactly one region.

    Of several inputs and outputs, those that are furthest apart are the ends of the main line. What
    joins it from the side belongs to the region in which it merges, or makes lines of its own, as
    the second tower of a siamese network does. What leads to other outputs makes lines of its own.

    Returns:
        The lines, in an order in which they can be computed.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> x = inputs = keras.Input((8,))
        >>> for _ in range(2):
        ...     x = keras.layers.Add()([x, keras.layers.Dense(8)(x)])
        >>> x = keras.layers.Add(name="over_both")([x, inputs])
        >>> (line,) = lines(read(keras.Model(inputs, x)))
        >>> [region.role for region in line.regions]
        ['residual', 'residual', 'addition']
    """
    inputs = {graph.tensors[tensor].maker for tensor in graph.inputs}
    calls = tuple(call.index for call in graph.calls if call.index not in inputs)
    scales = resolutions(graph)
    pending: list[_Area | Line] = [_Area(calls, graph.inputs, tuple(dict.fromkeys(graph.outputs)))]
    found = []
    while pending:
        area = pending.pop()
        if isinstance(area, Line):
            found.append(area)
        elif area.calls:
            pending += reversed(_divide_area(graph, area, scales))
    return found


def resolutions(graph: CallGraph) -> list[float]:
    """By how much each tensor's resolution is smaller than that of the model's input."""
    scales = [1.0] * len(graph.tensors)
    for call in graph.calls:
        for tensor in call.outputs:
            scales[tensor] = (scales[call.inputs[0]] if call.inputs else 1.0) * call.stride
    return scales


def _divide_area(graph: CallGraph, area: _Area, scales: Sequence[float]) -> list[_Area | Line]:
    """The main line of an area, and the smaller areas beside it."""
    exit = _furthest(graph, area)
    ways = ways_to(graph, area.calls, exit)
    entry = _entry(graph, area, ways)
    root, opened = _tree(graph, region(graph, tuple(ways), entry, exit), ways, scales)
    found = list(_flat(root))
    heads = _components(graph, set(area.calls).difference(ways))
    heads = [head for head in heads if not _join(graph, found, head)]
    ends = {tensor for head in heads for tensor in entering(graph, head)}
    if opened or len(area.sources) > 1:
        ends |= _ends(graph, root)
        ends.update(t for r in found for t in entering(graph, r.calls) if t != r.entry)
        found = [replace(r, opens=True) if r.entry in ends else r for r in found]
        parts = _towers(graph, found, scales)
    else:
        parts = [[replace(r, opens=True) if r.entry in ends else r for r in found]]
    begins, ends_here = entry in graph.inputs, exit in graph.outputs
    return [
        *(
            Line(tuple(part), begins and not i, ends_here) if isinstance(part, list) else part
            for i, part in enumerate(parts)
        ),
        *(_area(graph, head) for head in heads),
    ]


def _area(graph: CallGraph, calls: Collection[int]) -> _Area:
    inside = set(calls)
    ordered = tuple(sorted(inside))
    made = [tensor for index in ordered for tensor in graph.calls[index].outputs]
    sinks = [
        tensor
        for tensor in made
        if tensor in graph.outputs or not inside.issuperset(graph.tensors[tensor].users)
    ]
    # What nobody reads: outputs of a nested model that the model leaves unused.
    sinks = sinks or [tensor for tensor in made if not graph.tensors[tensor].users]
    return _Area(ordered, entering(graph, ordered), tuple(sinks))


def _furthest(graph: CallGraph, area: _Area) -> int:
    """The sink that is the furthest from the sources, the first of several."""
    if len(area.sinks) == 1:
        return area.sinks[0]
    reached = dict.fromkeys(area.sources, 0)
    for index in area.calls:
        call = graph.calls[index]
        before = max((reached.get(tensor, 0) for tensor in call.inputs), default=0)
        reached.update(dict.fromkeys(call.outputs, before + cost(graph, index)))
    return max(area.sinks, key=lambda tensor: reached.get(tensor, 0))


def _entry(graph: CallGraph, area: _Area, ways: dict[int, int]) -> int | None:
    """The source that is the furthest from the exit, the first of several."""

    def way(source: int) -> int:
        return max((ways.get(user, -1) for user in graph.tensors[source].users), default=-1)

    return max(area.sources, key=way, default=None)


def _tree(
    graph: CallGraph, whole: Region, ways: dict[int, int], scales: Sequence[float]
) -> tuple[_Node, bool]:
    """What regions hold, from the whole to the smallest; and whether any skip was looked into."""
    root = _Node(whole)
    nodes = [root]
    for node in nodes:  # It grows as it goes.
        weight, parts = divide(graph, node.region, ways)
        node.parts = [_Node(part) for part in parts]
        node.is_chain = weight == inf
        nodes += (part for part in node.parts if _may_be_long(graph, part.region))
    opened = False
    for node in reversed(nodes):
        node.is_long = _is_long(graph, node, scales)
        if node.is_long and not node.is_chain:
            opened = True
            node.parts = [_marked(graph, part) for part in node.parts]
    return root, opened


def _may_be_long(graph: CallGraph, region: Region) -> bool:
    """Whether a region holds what blocks in sequence, or a way up in resolution, need at least."""
    if len(region.calls) < 2 or region.role not in BRANCHED | {"gate"}:
        return False
    calls = [graph.calls[index] for index in region.calls]
    return sum(len(call.inputs) > 1 for call in calls) > 2 or any(call.stride < 1 for call in calls)


def _is_long(graph: CallGraph, node: _Node, scales: Sequence[float]) -> bool:
    blocks = [part for part in node.parts if part.region.role in BRANCHED]
    if len(blocks) > 1 or any(part.is_long for part in node.parts):
        return True
    return node.region.role in BRANCHED and bool(node.parts) and _is_hourglass(graph, node, scales)


def _is_hourglass(graph: CallGraph, node: _Node, scales: Sequence[float]) -> bool:
    """Whether a way goes down and up again in resolution, beside a single skip.

    A module that pools at several sizes and merges them (PSPNet) does so with more ways.
    """
    if len(graph.maker(node.region.exit).inputs) > 2 or node.region.entry is None:
        return False
    lowest = 0.9 * max(scales[part.region.exit] for part in node.parts)
    return scales[node.region.entry] < lowest > scales[node.region.exit]


def _marked(graph: CallGraph, node: _Node) -> _Node:
    """Enlarging begins the block in which the skip of that level merges."""
    if node.region.role not in BRANCHED and graph.maker(node.region.exit).stride < 1:
        node.region = replace(node.region, opens=True)
    return node


def _flat(root: _Node) -> Iterator[Region]:
    """The regions of a tree in order, opened ones in place of what they hold."""
    pending = [root]
    while pending:
        node = pending.pop()
        if node.is_open:
            pending += reversed(node.parts)
        else:
            yield node.region


def _ends(graph: CallGraph, root: _Node) -> set[int]:
    """The tensors behind additions over blocks in sequence, which end the last block."""
    found = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if node.is_open:
            pending += node.parts
            rises = any(graph.maker(part.region.exit).stride < 1 for part in node.parts)
            if node.region.role == "residual" and not node.is_chain and not rises:
                found.add(node.region.exit)
    return found


def _towers(
    graph: CallGraph, found: Sequence[Region], scales: Sequence[float]
) -> list[list[Region] | _Area]:
    """Divide a main line where a network of its own merges into it, and put that before."""
    parts: list[list[Region] | _Area] = [[]]
    for here in found:
        beside = set(here.calls).difference(depending(graph, here.calls, here.entry or 0))
        towers = [calls for calls in _components(graph, beside) if _is_tower(graph, calls, scales)]
        if towers:
            own = set(here.calls).difference(*towers)
            here = replace(here, calls=tuple(sorted(own)), opens=True)
            parts += [*(_area(graph, calls) for calls in towers), []]
        assert isinstance(parts[-1], list)
        parts[-1].append(here)
    return [part for part in parts if part]


def _is_tower(graph: CallGraph, calls: Collection[int], scales: Sequence[float]) -> bool:
    """Whether what comes in from the side has blocks of its own."""
    area = _area(graph, calls)
    if set(area.sources) <= set(graph.inputs):
        return sum(graph.calls[index].role in WEIGHTED for index in calls) > 1
    if len(area.sinks) > 1:
        return False
    exit = _furthest(graph, area)
    ways = ways_to(graph, area.calls, exit)
    whole = region(graph, tuple(ways), _entry(graph, area, ways), exit)
    root, _ = _tree(graph, whole, ways, scales)
    return sum(block.role in BRANCHED for block in _flat(root)) > 1


def _components(graph: CallGraph, calls: Collection[int]) -> list[list[int]]:
    """Calls in groups that hang together, by tensors that one of them makes and another reads."""
    left = set(calls)
    found = []
    for first in sorted(calls):
        if first not in left:
            continue
        left.discard(first)
        group = [first]
        for index in group:  # It grows as it goes.
            near = set(_neighbours(graph, index)) & left
            left -= near
            group += near
        found.append(sorted(group))
    return found


def _neighbours(graph: CallGraph, index: int) -> Iterable[int]:
    call = graph.calls[index]
    yield from (graph.tensors[tensor].maker for tensor in call.inputs)
    yield from chain.from_iterable(graph.tensors[tensor].users for tensor in call.outputs)


def _join(graph: CallGraph, found: list[Region], head: Sequence[int]) -> bool:
    """Add a single convolution to the region whose tensor it reads, and tell whether it was one.

    It finishes the features of that level, as in a feature pyramid; all else is a head.
    """
    roles = [graph.calls[index].role for index in head]
    sources = entering(graph, head)
    finishing = {"convolution", "normalization", "activation"}
    if roles.count("convolution") != 1 or not finishing.issuperset(roles) or len(sources) != 1:
        return False
    for i, here in enumerate(found):
        if here.exit == sources[0] and here.role not in BRANCHED:
            found[i] = replace(here, calls=tuple(sorted((*here.calls, *head))))
            return True
    return False
