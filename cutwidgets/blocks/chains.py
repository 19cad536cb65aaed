"""Borders of blocks in straight chains, where there are no branches.

First the graph decides: repeated patterns (of the network's residual branches, or of the chain
itself), falling resolution, changing width. Layer names decide only the rest.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import dropwhile, groupby

import numpy as np

from ..graph.callgraph import Call, CallGraph, entering
from .ends import split_end
from .layer_names import is_automatic, tokens
from .regions import Region, regions

Signature = tuple[str, ...]

Piece = tuple[str, list[Region]]

# Roles that do not count in a pattern.
_PASSING = frozenset({"padding", "dropout", "rescaling", "gate"})

# The word for a layer of the user's that has weights.
_OWN = "own layer"

# The layers that are blocks by themselves.
_ALONE = frozenset({"embedding", "recurrent", "attention", "model"})

# The number of weighted layers from which on a group is divided.
_LONG = 16

_WEIGHTED = frozenset(
    {"convolution", "pointwise", "depthwise", "fully connected", "recurrent", "attention",
     "embedding", "model", _OWN}
)  # fmt: skip


def signature(graph: CallGraph, chain: Sequence[Region]) -> Signature:
    """The roles of a chain's calls; pointwise convolutions have a word of their own."""
    words = []
    for region in chain:
        call = graph.maker(region.exit)
        pointwise = region.role == "convolution" and call.pointwise
        if region.role not in _PASSING:
            own_layer = region.role == "other" and region.weighted
            words.append("pointwise" if pointwise else _OWN if own_layer else region.role)
    return tuple(words)


def branch_signature(graph: CallGraph, region: Region) -> Signature:
    """The signature of a residual branch; its gates count as one word."""
    exits = [
        tensor
        for index in region.branch
        for tensor in graph.calls[index].outputs
        if not set(graph.tensors[tensor].users) & set(region.branch)
    ]
    sources = entering(graph, region.branch)
    return signature(graph, regions(graph, region.branch, sources, exits))


def pieces(
    graph: CallGraph,
    chain: Sequence[Region],
    patterns: set[Signature],
    *,
    alone: bool,
    first: bool = False,
) -> list[Piece]:
    """Divide a chain into pieces, each a pair of kind and regions.

    Args:
        graph: The call graph.
        chain: Single calls and gates in sequence.
        patterns: The signatures of the network's residual branches.
        alone: Whether the chain is an entire network, or an entire tower of one.
        first: Whether the chain begins at the network's input.

    Returns:
        Pieces of kind `"plain"` (repeats, or groups of a network without branches), those of
        `split_end`, and `"rest"`: a stem, a transition or a top, depending on where the chain is.
    """
    body, kind, end = split_end(graph, chain, alone)
    units = _units(body)
    stem: list[list[Region]] = []
    if patterns and first:
        # The unit that reads the image is no repeat, even if it looks like one (EfficientNetV2).
        stem, units = units[:1], _opened_by_name(graph, units)
    elif alone and not patterns:
        patterns = _repeated(graph, units)
    if patterns:
        divided = _by_pattern(graph, units, patterns)
    elif alone:
        has_skips = any(unit[0].opens for unit in units[1:])
        groups = _levels(graph, units) if has_skips else _groups(graph, units)
        divided = [("plain", _flat(group)) for group in groups]
    else:
        divided = [("rest", unit) for unit in units]
    divided = _joined([*(("rest", unit) for unit in stem), *divided])
    return divided + ([(kind, end)] if end else [])


def _opened_by_name(graph: CallGraph, units: list[list[Region]]) -> list[list[Region]]:
    """All units but the first; a block opens where the first word of all names changes."""
    words = [
        {
            tokens(call.own_name)[0].rstrip("0123456789")
            for call in (graph.maker(region.exit) for region in unit)
            if not is_automatic(call.own_name, call.kind)
        }
        for unit in units
    ]
    opened = []
    for i, (first, *others) in enumerate(units[1:], 1):
        differs = len(words[i]) == len(words[i - 1]) == 1 and words[i] != words[i - 1]
        differs &= any(region.weighted and region.role != "other" for region in units[i])
        opened.append([replace(first, opens=first.opens or differs), *others])
    return opened


def _joined(divided: Sequence[Piece]) -> list[Piece]:
    """The pieces with neighbouring rests joined, except where a block has to begin."""
    joined: list[Piece] = []
    for kind, piece in divided:
        if kind == "rest" and joined and joined[-1][0] == "rest" and not piece[0].opens:
            joined[-1] = (kind, [*joined[-1][1], *piece])
        else:
            joined.append((kind, piece))
    return joined


def _flat(units: Sequence[list[Region]]) -> list[Region]:
    return [region for unit in units for region in unit]


def _units(chain: Sequence[Region]) -> list[list[Region]]:
    """Divide a chain into units that begin with a weighted call, or with the padding before it."""
    units: list[list[Region]] = []
    for region, before in zip(chain, [None, *chain], strict=False):
        padded = before is not None and before.role == "padding"
        opens = region.role == "padding" or (region.weighted and not padded)
        opens = opens and bool(units) and any(r.weighted for r in units[-1])
        if not units or opens or region.opens:
            units.append([])
        units[-1].append(region)
    return units


def _by_pattern(
    graph: CallGraph, units: list[list[Region]], patterns: set[Signature]
) -> list[Piece]:
    """Recognise repeats of patterns from left to right; the units in between are rests.

    The end of a pattern counts too if it has two weighted calls: the first bottleneck of
    MobileNetV2 and of EfficientNet has no expansion.
    """
    candidates = set(patterns)
    for pattern in patterns:
        starts = [i for i, word in enumerate(pattern) if word in _WEIGHTED]
        candidates |= {pattern[start:] for start in starts[1:-1]}
    longest_first = sorted(candidates, key=len, reverse=True)
    divided: list[Piece] = []
    position = 0
    while position < len(units):
        matches = (_match(graph, units[position:], pattern) for pattern in longest_first)
        length = next(filter(None, matches), 0)
        end = position + (length or 1)
        divided.append(("plain" if length else "rest", _flat(units[position:end])))
        position = end
    return divided


def _match(graph: CallGraph, units: list[list[Region]], pattern: Signature) -> int:
    """How many units, from the first on, match the pattern exactly; 0 if they do not."""
    words: Signature = ()
    mixed = False
    for count, unit in enumerate(units, 1):
        own = signature(graph, unit)
        words += own
        # Only a depthwise convolution strides in the middle, after an expansion (MobileNetV2).
        mixed |= own[:1] == ("convolution",)
        if count > 1 and mixed and _falls(graph, units[count - 2], unit):
            return 0
        mixed |= any(word in _WEIGHTED - {"pointwise"} for word in own)
        if words == pattern:
            return count
        if len(words) >= len(pattern):
            return 0
    return 0


def _repeated(graph: CallGraph, units: list[list[Region]]) -> set[Signature]:
    """The shortest pattern of at least two units that a chain repeats three times in a row.

    Pooling ends a group by itself, so no pattern contains any.
    """
    words = [signature(graph, unit) for unit in units]
    numbers = {word: number for number, word in enumerate(words)}
    numbered = np.array([numbers[word] for word in words])
    for period in range(2, len(words) // 3 + 1 if len(numbers) > 1 else 0):
        differs = np.flatnonzero(numbered[period:] != numbered[:-period])
        starts = np.concatenate([[0], differs + 1])
        lengths = np.diff(starts, append=len(words) - period + 1) - 1
        for first in starts[lengths >= 2 * period]:
            pattern = words[first : first + period]
            pooled = any("pooling" in unit for unit in pattern)
            divided = any(unit[0].opens for unit in units[first + 1 : first + period])
            alone = any(_stands_alone(graph, unit) for unit in units[first : first + period])
            if len(set(pattern)) > 1 and not (pooled or divided or alone):
                return {tuple(word for unit in pattern for word in unit)}
    return set()


def _groups(graph: CallGraph, units: list[list[Region]]) -> list[list[list[Region]]]:
    """Groups of a chain without a pattern: by resolution, then width, then names."""
    groups: list[list[list[Region]]] = []
    for unit in units:
        before = groups[-1][-1] if groups else None
        if before is None or _parts_from(graph, before, unit) or _widens(graph, before, unit):
            groups.append([])
        groups[-1].append(unit)
    named = [part for group in groups for part in _by_name(graph, group)]
    return [part for group in named for part in _readable(group)]


def _readable(group: list[list[Region]]) -> list[list[list[Region]]]:
    """Equal parts of a group that is too long to be read as one block."""
    if len(group) <= _LONG:
        return [group]
    count = -(-len(group) // _LONG)
    size = -(-len(group) // count)
    return [group[start : start + size] for start in range(0, len(group), size)]


def by_resolution(graph: CallGraph, chain: Sequence[Region]) -> list[list[Region]]:
    """Divide a chain between blocks where the resolution changes, and around composite layers."""
    parts: list[list[Region]] = []
    before: list[Region] | None = None
    for unit in _units(chain):
        if before is None or _parts_from(graph, before, unit):
            parts.append([])
        parts[-1] += unit
        before = unit
    return parts


def _parts_from(graph: CallGraph, before: list[Region], unit: list[Region]) -> bool:
    """Whether a unit begins a block of its own."""
    return _stands_alone(graph, before) or _stands_alone(graph, unit) or _falls(graph, before, unit)


def _stands_alone(graph: CallGraph, unit: list[Region]) -> bool:
    """Whether a unit is a block by itself, such as a recurrent layer or an encoder layer.

    So is a user's own layer that reads sequences. Own layers that read images are grouped like
    convolutions.
    """
    calls = [graph.maker(region.exit) for region in unit if region.weighted]
    return any(
        call.role in _ALONE or (call.role == "other" and _reads_sequence(graph, call))
        for call in calls
    )


def _reads_sequence(graph: CallGraph, call: Call) -> bool:
    return any(len(graph.tensors[tensor].shape) == 3 for tensor in call.inputs)


def _levels(graph: CallGraph, units: list[list[Region]]) -> list[list[list[Region]]]:
    """Groups of a chain that long skips bypass: by their ends, then by resolution."""
    levels: list[list[list[Region]]] = []
    for unit in units:
        before = _from_weights(levels[-1][-1]) if levels else []
        if not levels or unit[0].opens or _falls(graph, before, unit):
            levels.append([])
        levels[-1].append(unit)
    return levels


def _from_weights(unit: list[Region]) -> list[Region]:
    """The first weighted call of a unit, and all calls after it."""
    return list(dropwhile(lambda region: not region.weighted, unit))


def _falls(graph: CallGraph, before: list[Region], unit: list[Region]) -> bool:
    """Pooling ends a group; a strided convolution begins one."""

    def strides(regions: list[Region], weighted: bool) -> bool:
        calls = [graph.maker(region.exit) for region in regions]
        return any(call.stride != 1 and call.weighted == weighted for call in calls)

    return strides(before, weighted=False) or strides(unit, weighted=True)


def _widens(graph: CallGraph, before: list[Region], unit: list[Region]) -> bool:
    def width(regions: list[Region]) -> int | None:
        return graph.tensors[regions[-1].exit].shape[graph.channel_axis]

    return width(before) != width(unit)


def _by_name(graph: CallGraph, units: list[list[Region]]) -> list[list[list[Region]]]:
    """Divide where a common beginning of names ends, at the greatest depth that forms groups."""
    names = [
        [graph.maker(region.exit).own_name for region in unit if region.weighted] or [""]
        for unit in units
    ]
    words = [tokens(unit_names[0]) for unit_names in names]
    for depth in range(max(map(len, words)) - 1, 0, -1):
        labels = ["".join(w[:depth]) if len(w) > depth else "".join(w) for w in words]
        runs = [list(group) for _, group in groupby(range(len(units)), key=lambda i: labels[i])]
        if len(runs) > 1 and any(len(run) > 1 for run in runs) and _speak(graph, units):
            return [[units[i] for i in run] for run in runs]
    return [units]


def _speak(graph: CallGraph, units: list[list[Region]]) -> bool:
    """Whether a person chose the names: automatic ones, such as `conv2d_7`, say nothing."""
    calls = [graph.maker(region.exit) for unit in units for region in unit]
    return not any(is_automatic(call.own_name, call.kind) for call in calls if call.weighted)
