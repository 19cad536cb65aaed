"""Split what long skip connections span (U-Net, FPN, NASNet) into lines of regions.

The skips of a U-Net, the long addition of a super-resolution network, the lateral convolutions of a
feature pyramid and the cells of NASNet, which read the last two cells, keep several tensors live
over many calls. Ignoring such edges, the longest first, exposes the cut points beneath them. A
region is opened in this way if that exposes blocks in sequence, or a path down and up again in
resolution; otherwise it is a block.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from math import inf

from ..graph.callgraph import CallGraph, entering, leaving
from .branches import branches
from .regions import BRANCHED, WEIGHTED, Region, depending, region
from .skips import cost, divide, ways_to


@dataclass(frozen=True, slots=True)
class Line:
    """Regions in sequence: a path through the network, or a part of one.

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
    """Calls that are not divided yet: the network, a tower beside its main line, or a head."""

    calls: tuple[int, ...]
    sources: tuple[int, ...]
    sinks: tuple[int, ...]


@dataclass(slots=True)
class _Node:
    """A region, the smaller regions inside it, and whether these replace it.

    Attributes:
        region: The region.
        parts: The smaller regions.
        is_chain: Whether it has cut points that no skip hides.
        is_long: Whether a long skip spans several blocks in it.
    """

    region: Region
    parts: list["_Node"] = field(default_factory=list)
    is_chain: bool = False
    is_long: bool = False

    @property
    def is_open(self) -> bool:
        return self.is_chain or self.is_long


def lines(graph: CallGraph) -> list[Line]:
    """Divide a network into lines of regions, each call in exactly one region.

    Among several inputs and outputs, the main line connects those that are furthest apart. Calls
    that join it from the side belong to the region in which they merge, or form lines of their own,
    as the second tower of a siamese network does. Calls that lead to other outputs form lines of
    their own.

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
    apart = branches(graph)
    body = sorted(set(calls).difference(*apart))
    whole = (
        _area(graph, body)
        if apart
        else _Area(calls, graph.inputs, tuple(dict.fromkeys(graph.outputs)))
    )
    pending: list[_Area | Line] = [*(_area(graph, branch) for branch in reversed(apart)), whole]
    finished = []
    while pending:
        area = pending.pop()
        if isinstance(area, Line):
            finished.append(area)
        elif area.calls:
            pending += reversed(_divide_area(graph, area, scales))
    return finished


def resolutions(graph: CallGraph) -> list[float]:
    """For each tensor, the factor by which its resolution is smaller than the model's input."""
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
    main = list(_flat(root))
    heads = _components(graph, set(area.calls).difference(ways))
    heads = [head for head in heads if not _join(graph, main, head)]
    ends = {tensor for head in heads for tensor in entering(graph, head)}
    has_towers = opened or len(area.sources) > 1
    if has_towers:
        ends |= _ends(graph, root)
        ends.update(t for r in main for t in entering(graph, r.calls) if t != r.entry)
    main = [replace(r, opens=True) if r.entry in ends else r for r in main]
    parts = _towers(graph, main, scales) if has_towers else [main]
    begins, ends_here = entry in graph.inputs, exit in graph.outputs
    return [
        *(
            Line(tuple(part), begins and not i, ends_here) if isinstance(part, list) else part
            for i, part in enumerate(parts)
        ),
        *(_area(graph, head) for head in heads),
    ]


def _area(graph: CallGraph, calls: Iterable[int]) -> _Area:
    ordered = tuple(sorted(calls))
    return _Area(ordered, entering(graph, ordered), tuple(leaving(graph, ordered)))


def _furthest(graph: CallGraph, area: _Area) -> int:
    """The sink that is furthest from the sources; the first of several."""
    if len(area.sinks) == 1:
        return area.sinks[0]
    reached = dict.fromkeys(area.sources, 0)
    for index in area.calls:
        call = graph.calls[index]
        before = max((reached.get(tensor, 0) for tensor in call.inputs), default=0)
        reached.update(dict.fromkeys(call.outputs, before + cost(graph, index)))
    return max(area.sinks, key=lambda tensor: reached.get(tensor, 0))


def _entry(graph: CallGraph, area: _Area, ways: dict[int, int]) -> int | None:
    """The source that is furthest from the exit; the first of several."""

    def distance(source: int) -> int:
        return max((ways.get(user, -1) for user in graph.tensors[source].users), default=-1)

    return max(area.sources, key=distance, default=None)


def _tree(
    graph: CallGraph, whole: Region, ways: dict[int, int], scales: Sequence[float]
) -> tuple[_Node, bool]:
    """A region and all regions inside it, and whether any of them is spanned by an opened skip."""
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
    """Whether a region has enough merges for blocks in sequence, or raises the resolution."""
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
    """Whether a path goes down and up again in resolution beside a single skip.

    A module that pools at several sizes and merges the results (PSPNet) has more paths.
    """
    if len(graph.maker(node.region.exit).inputs) > 2 or node.region.entry is None:
        return False
    lowest = 0.9 * max(scales[part.region.exit] for part in node.parts)
    return scales[node.region.entry] < lowest > scales[node.region.exit]


def _marked(graph: CallGraph, node: _Node) -> _Node:
    """Let a block open where the resolution rises: the skip of that level merges in this block."""
    if node.region.role not in BRANCHED and graph.maker(node.region.exit).stride < 1:
        node.region = replace(node.region, opens=True)
    return node


def _flat(root: _Node) -> Iterator[Region]:
    """The regions of a tree in order, with the parts of opened regions in their place."""
    pending = [root]
    while pending:
        node = pending.pop()
        if node.is_open:
            pending += reversed(node.parts)
        else:
            yield node.region


def _ends(graph: CallGraph, root: _Node) -> set[int]:
    """The outputs of additions over blocks in sequence; these end the last of the blocks."""
    ends = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if node.is_open:
            pending += node.parts
            rises = any(graph.maker(part.region.exit).stride < 1 for part in node.parts)
            if node.region.role == "residual" and not node.is_chain and not rises:
                ends.add(node.region.exit)
    return ends


def _towers(
    graph: CallGraph, main: Sequence[Region], scales: Sequence[float]
) -> list[list[Region] | _Area]:
    """Divide a main line wherever another network merges into it, which then comes first."""
    parts: list[list[Region] | _Area] = [[]]
    for here in main:
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
    """Whether calls that join from the side have blocks of their own."""
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
    """Calls in connected groups: one call of a group reads what another computes."""
    left = set(calls)
    groups = []
    for first in sorted(calls):
        if first in left:
            left.discard(first)
            group = [first]
            for index in group:  # It grows as it goes.
                near = set(_neighbours(graph, index)) & left
                left -= near
                group += near
            groups.append(sorted(group))
    return groups


def _neighbours(graph: CallGraph, index: int) -> Iterable[int]:
    call = graph.calls[index]
    yield from (graph.tensors[tensor].maker for tensor in call.inputs)
    yield from chain.from_iterable(graph.tensors[tensor].users for tensor in call.outputs)


def _join(graph: CallGraph, main: list[Region], head: Sequence[int]) -> bool:
    """Add a head to the region whose output it reads, if it is a single convolution.

    Such a convolution finishes the features of one level of a feature pyramid.

    Returns:
        Whether it was added; if not, it remains a head.
    """
    roles = [graph.calls[index].role for index in head]
    sources = entering(graph, head)
    finishing = {"convolution", "normalization", "activation"}
    if roles.count("convolution") != 1 or not finishing.issuperset(roles) or len(sources) != 1:
        return False
    for i, here in enumerate(main):
        if here.exit == sources[0] and here.role not in BRANCHED:
            main[i] = replace(here, calls=tuple(sorted((*here.calls, *head))))
            return True
    return False
