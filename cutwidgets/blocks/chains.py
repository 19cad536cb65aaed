"""Borders of blocks in straight chains, where no branch shows them: pure graph work, no Keras.

The graph is asked first: what repeats (the residual branches of the same network, or a pattern of
the chain itself), where the resolution falls, where the width changes. The names of layers decide
only on what is left.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from ..graph.callgraph import CallGraph, entering
from .layer_names import is_automatic, tokens
from .regions import WEIGHTED, Region, regions

Signature = tuple[str, ...]

Piece = tuple[str, list[Region]]

# What a layer's role does not change about the pattern that the layer stands in.
_PASSING = frozenset({"padding", "dropout", "rescaling"})


def signature(graph: CallGraph, chain: Sequence[Region]) -> Signature:
    """What a chain does, call by call: convolutions by whether they are pointwise."""
    words = []
    for region in chain:
        call = graph.maker(region.exit)
        pointwise = region.role == "convolution" and call.pointwise
        if region.role not in _PASSING:
            words.append("pointwise" if pointwise else region.role)
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
        chain: Single calls and gates, one behind the other.
        patterns: The signatures of the network's residual branches.
        alone: Whether the chain is a whole network, or a whole tower of one.
        first: Whether the chain begins at the network's input.

    Returns:
        Pieces of kind `"plain"`, which repeat or are groups of a network without branches, of kind
        `"classifier"`, and of kind `"rest"`: whether that is a stem, a transition or a top depends
        on where the chain stands.
    """
    body, classifier = _split_classifier(graph, chain, alone)
    units = _units(body)
    stem: list[list[Region]] = []
    if patterns and first:
        # What reads the image itself is no repeat, even if it looks like one (EfficientNetV2).
        stem, units = units[:1], _opened_by_name(graph, units)
    elif alone and not patterns:
        patterns = _repeated(graph, units)
    if patterns:
        found = _by_pattern(graph, units, patterns)
    elif alone and any(unit[0].opens for unit in units[1:]):
        found = [("plain", _flat(level)) for level in _levels(graph, units)]
    elif alone:
        found = [("plain", _flat(group)) for group in _groups(graph, units)]
    else:
        found = [("rest", unit) for unit in units]
    found = _joined([*(("rest", unit) for unit in stem), *found])
    return found + ([("classifier", classifier)] if classifier else [])


def _opened_by_name(graph: CallGraph, units: list[list[Region]]) -> list[list[Region]]:
    """All units but the first; a block begins where all names begin with another word."""
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
        differs &= any(region.role in WEIGHTED for region in units[i])
        opened.append([replace(first, opens=first.opens or differs), *others])
    return opened


def _joined(found: Sequence[Piece]) -> list[Piece]:
    """Pieces with neighbouring rests made one, but where a block has to begin."""
    joined: list[Piece] = []
    for kind, piece in found:
        if kind == "rest" and joined and joined[-1][0] == "rest" and not piece[0].opens:
            joined[-1] = (kind, [*joined[-1][1], *piece])
        else:
            joined.append((kind, piece))
    return joined


def _flat(units: Sequence[list[Region]]) -> list[Region]:
    return [region for unit in units for region in unit]


def _split_classifier(
    graph: CallGraph, chain: Sequence[Region], alone: bool
) -> tuple[list[Region], list[Region]]:
    """What turns features into predictions: from the global pooling or flattening on."""
    joins = [i for i, region in enumerate(chain) if region.role in {"global pooling", "flatten"}]
    weighted = [i for i, region in enumerate(chain) if region.role in WEIGHTED]
    start = joins[0] if joins else len(chain)
    if alone and len(weighted) > 1 and start < weighted[0]:
        # A perceptron that flattens its image first: its hidden layers are blocks of their own.
        start = weighted[-1]
    if alone and not joins and len(weighted) > 1 and any(region.opens for region in chain):
        # A network that enlarges its features again ends with a prediction for each position.
        last = graph.maker(chain[weighted[-1]].exit)
        plain = _roles_behind(chain, weighted[-1]) <= {"activation"}
        start = weighted[-1] if last.pointwise and plain else start
    start = max([start, *(i for i in range(start, len(chain)) if chain[i].opens)])
    behind = {region.role for region in chain[start:]}
    # A 1×1 convolution behind the pooling classifies as well as a dense layer (MobileNetV3).
    if not behind & {"fully connected", "convolution"} or chain[-1].exit not in graph.outputs:
        return list(chain), []
    return list(chain[:start]), list(chain[start:])


def _roles_behind(chain: Sequence[Region], position: int) -> set[str]:
    return {region.role for region in chain[position + 1 :]}


def _units(chain: Sequence[Region]) -> list[list[Region]]:
    """Each unit begins with a weighted call, or the padding before it."""
    units: list[list[Region]] = []
    for region, before in zip(chain, [None, *chain], strict=False):
        padded = before is not None and before.role == "padding"
        opens = region.role == "padding" or (region.role in WEIGHTED and not padded)
        opens = opens and bool(units) and any(r.role in WEIGHTED for r in units[-1])
        if not units or opens or region.opens:
            units.append([])
        units[-1].append(region)
    return units


def _by_pattern(
    graph: CallGraph, units: list[list[Region]], patterns: set[Signature]
) -> list[Piece]:
    """Recognise repeats of patterns from left to right; the units in between are rests.

    The end of a pattern counts too, if it has two weighted calls: the first bottleneck of
    MobileNetV2 and of EfficientNet has no expansion.
    """
    wanted = set(patterns)
    for pattern in patterns:
        starts = [i for i, word in enumerate(pattern) if word in WEIGHTED or word == "pointwise"]
        wanted |= {pattern[start:] for start in starts[1:-1]}
    longest_first = sorted(wanted, key=len, reverse=True)
    found: list[Piece] = []
    position = 0
    while position < len(units):
        taken, kind = 1, "rest"
        for pattern in longest_first:
            length = _match(graph, units[position:], pattern)
            if length:
                taken, kind = length, "plain"
                break
        found.append((kind, _flat(units[position : position + taken])))
        position += taken
    return found


def _match(graph: CallGraph, units: list[list[Region]], pattern: Signature) -> int:
    """How many units, from the first on, make up the pattern exactly; 0 if none do."""
    seen: Signature = ()
    for count, unit in enumerate(units, 1):
        seen += signature(graph, unit)
        if seen == pattern:
            return count
        if len(seen) >= len(pattern):
            return 0
    return 0


def _repeated(graph: CallGraph, units: list[list[Region]]) -> set[Signature]:
    """The shortest pattern of two units or more that a chain repeats three times in a row.

    Pooling ends a group by itself, so no pattern holds one.
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
            if len(set(pattern)) > 1 and not pooled and not divided:
                return {tuple(word for unit in pattern for word in unit)}
    return set()


def _groups(graph: CallGraph, units: list[list[Region]]) -> list[list[list[Region]]]:
    """Groups of a chain without a pattern: by resolution, then width, then names."""
    groups: list[list[list[Region]]] = []
    for unit in units:
        before = groups[-1][-1] if groups else None
        if before is None or _falls(graph, before, unit) or _widens(graph, before, unit):
            groups.append([])
        groups[-1].append(unit)
    return [part for group in groups for part in _by_name(graph, group)]


def _levels(graph: CallGraph, units: list[list[Region]]) -> list[list[list[Region]]]:
    """Groups of a chain that long skips pass by: by where these begin and end, then resolution."""
    levels: list[list[list[Region]]] = []
    for unit in units:
        before = _behind_weights(levels[-1][-1]) if levels else []
        if not levels or unit[0].opens or _falls(graph, before, unit):
            levels.append([])
        levels[-1].append(unit)
    return levels


def _behind_weights(unit: list[Region]) -> list[Region]:
    weighted = [i for i, region in enumerate(unit) if region.role in WEIGHTED]
    return unit[weighted[0] :] if weighted else []


def _falls(graph: CallGraph, before: list[Region], unit: list[Region]) -> bool:
    """Pooling ends a group; a strided convolution begins one."""

    def strides(regions: list[Region], weighted: bool) -> bool:
        calls = [graph.maker(region.exit) for region in regions]
        return any(call.stride != 1 and (call.role in WEIGHTED) == weighted for call in calls)

    return strides(before, weighted=False) or strides(unit, weighted=True)


def _widens(graph: CallGraph, before: list[Region], unit: list[Region]) -> bool:
    def width(regions: list[Region]) -> int | None:
        return graph.tensors[regions[-1].exit].shape[graph.channel_axis]

    return width(before) != width(unit)


def _by_name(graph: CallGraph, units: list[list[Region]]) -> list[list[list[Region]]]:
    """Divide where a common beginning of names ends, at the greatest depth that groups units."""
    names = [
        [graph.maker(region.exit).own_name for region in unit if region.role in WEIGHTED] or [""]
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
    """Whether names were given by a person: automatic ones, such as `conv2d_7`, say nothing."""
    calls = [graph.maker(region.exit) for unit in units for region in unit]
    return not any(
        is_automatic(call.own_name, call.kind) for call in calls if call.role in WEIGHTED
    )
