"""Lines of regions: the paths of a network, each in sequence.

The main line of a network connects its main input and output. Towers beside it, and heads that lead
to other outputs, are lines of their own.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..graph.callgraph import Call, CallGraph, between, connected, entering, leaving
from .branches import branches
from .nesting import ends, flat, is_block, tree
from .regions import BRANCHED, Region, depending, region
from .skips import cost, ways_to


@dataclass(frozen=True, slots=True)
class Line:
    """Regions in sequence: a path through the network, or a part of one.

    Attributes:
        regions: Its regions, in order.
        begins: Whether it begins at the model's inputs.
        ends: Whether nothing of the network or tower that it is a part of follows it.
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


def lines(graph: CallGraph, scales: Sequence[float]) -> list[Line]:
    """Divide a network into lines of regions, each call in exactly one region.

    Among several inputs and outputs, the main line connects those that are furthest apart. Calls
    that join it from the side belong to the region in which they merge, or form lines of their own,
    as the second tower of a siamese network does. Calls that lead to other outputs form lines of
    their own.

    Args:
        graph: The call graph.
        scales: Its `resolutions`.

    Returns:
        The lines, in an order in which they can be computed.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> x = inputs = keras.Input((8,))
        >>> for _ in range(2):
        ...     x = keras.layers.Add()([x, keras.layers.Dense(8)(x)])
        >>> x = keras.layers.Add(name="over_both")([x, inputs])
        >>> graph = read(keras.Model(inputs, x))
        >>> (line,) = lines(graph, resolutions(graph))
        >>> [region.role for region in line.regions]
        ['residual', 'residual', 'addition']
    """
    inputs = {graph.tensors[tensor].maker for tensor in graph.inputs}
    calls = tuple(call.index for call in graph.calls if call.index not in inputs)
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
            if call.inputs:
                scales[tensor] = scales[_source(graph, call, tensor)] * call.stride
    return scales


def _source(graph: CallGraph, call: Call, output: int) -> int:
    """The input that an output takes its resolution from: the first one with as many axes."""
    axes = len(graph.tensors[output].shape)
    alike = (tensor for tensor in call.inputs if len(graph.tensors[tensor].shape) == axes)
    return next(alike, call.inputs[0])


def _divide_area(graph: CallGraph, area: _Area, scales: Sequence[float]) -> list[_Area | Line]:
    """The main line of an area, and the smaller areas beside it."""
    exit = _furthest(graph, area)
    ways = ways_to(graph, area.calls, exit)
    entry = _entry(graph, area, ways)
    root, opened = tree(graph, region(graph, tuple(ways), entry, exit), ways, scales)
    main = list(flat(root))
    heads = connected(graph, set(area.calls).difference(ways))
    heads = [head for head in heads if not _join(graph, main, head)]
    borders = {tensor for head in heads for tensor in entering(graph, head)}
    has_towers = opened or len(area.sources) > 1
    if has_towers:
        borders |= ends(graph, root)
        borders.update(t for r in main for t in entering(graph, r.calls) if t != r.entry)
    main = [replace(r, opens=True) if r.entry in borders else r for r in main]
    parts = _towers(graph, main, scales) if has_towers else [main]
    own = [part for part in parts if isinstance(part, list)]
    return [
        *(
            Line(tuple(part), entry in graph.inputs and part is own[0], part is own[-1])
            if isinstance(part, list)
            else part
            for part in parts
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
    """The source that is furthest from the exit; the first of several.

    Sources that only ever join the main line from the side do not count if there are others: a
    time embedding that is added to features, the output of an encoder that a decoder attends to.
    """
    if len(area.sources) < 2:
        return next(iter(area.sources), None)
    main = _mainstream(graph, ways)

    def distance(source: int) -> tuple[bool, int]:
        users = graph.tensors[source].users
        return source in main, max((ways.get(user, -1) for user in users), default=-1)

    return max(area.sources, key=distance)


def _mainstream(graph: CallGraph, ways: Mapping[int, int]) -> set[int]:
    """The tensors from which the last call can be reached along main inputs alone."""
    last = max(ways)
    tensors = set(graph.calls[last].outputs)
    for index in sorted(ways, reverse=True):
        call = graph.calls[index]
        if not tensors.isdisjoint(call.outputs):
            tensors.update(_main_inputs(graph, call))
    return tensors


def _main_inputs(graph: CallGraph, call: Call) -> tuple[int, ...]:
    """The inputs of a call except those that it only broadcasts or attends to."""
    if call.weighted:
        return call.inputs[:1]
    if call.role in {"addition", "multiplication"}:
        shape = graph.tensors[call.outputs[0]].shape
        return tuple(t for t in call.inputs if graph.tensors[t].shape == shape) or call.inputs
    return call.inputs


def _towers(
    graph: CallGraph, main: Sequence[Region], scales: Sequence[float]
) -> list[list[Region] | _Area]:
    """Divide a main line wherever another network merges into it, which then comes first.

    A network that merges inside of a residual branch divides no line: it comes before all of it.
    """
    parts: list[list[Region] | _Area] = [[]]
    before: list[_Area] = []
    for here in main:
        beside = set(here.calls).difference(depending(graph, here.calls, here.entry or 0))
        sides = (_shared(graph, here, calls) for calls in connected(graph, beside))
        towers = [calls for calls in sides if _is_tower(graph, calls, scales)]
        if towers:
            own = set(here.calls).difference(*towers)
            here = replace(here, calls=tuple(sorted(own)))
            areas = [_area(graph, calls) for calls in towers]
            if here.role == "residual" and all(_is_independent(graph, area) for area in areas):
                before += areas
            else:
                here = replace(here, opens=True)
                parts += [*areas, []]
        assert isinstance(parts[-1], list)
        parts[-1].append(here)
    return [*before, *(part for part in parts if part)]


def _shared(graph: CallGraph, here: Region, calls: list[int]) -> list[int]:
    """Of calls that join a region from the side, those that later regions need too, if any.

    The rest, such as what a block makes of a time embedding, belongs to the region.
    """
    own = {*here.calls, *calls}
    exits = [t for t in leaving(graph, calls) if not own.issuperset(graph.tensors[t].users)]
    inside = set(calls)
    shared = inside.intersection(between(graph, exits, entering(graph, calls))[0])
    return sorted(shared) if exits and shared else calls


def _is_independent(graph: CallGraph, area: _Area) -> bool:
    return set(area.sources) <= set(graph.inputs)


def _is_tower(graph: CallGraph, calls: Collection[int], scales: Sequence[float]) -> bool:
    """Whether calls that join from the side have blocks of their own."""
    area = _area(graph, calls)
    if _is_independent(graph, area):
        return sum(graph.calls[index].weighted for index in calls) > 1
    if len(area.sinks) > 1:
        return False
    exit = _furthest(graph, area)
    ways = ways_to(graph, area.calls, exit)
    whole = region(graph, tuple(ways), _entry(graph, area, ways), exit)
    root, _ = tree(graph, whole, ways, scales)
    blocks = [block for block in flat(root) if block.role in BRANCHED]
    return len(blocks) > 1 or any(is_block(graph, block) for block in blocks)


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
