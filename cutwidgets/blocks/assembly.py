"""Group regions into blocks."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from ..graph.callgraph import CallGraph, entering
from .branches import branch_kind
from .chains import Signature, branch_signature, by_resolution, pieces
from .joining import Part, join_last_normalization, join_sublayers, join_weightless
from .lines import Line
from .regions import BRANCHED, Region


def assemble(graph: CallGraph, lines: Sequence[Line], scales: Sequence[float]) -> list[Part]:
    """Group regions into blocks: each branched region with parts of the chains around it.

    Args:
        graph: The call graph.
        lines: The lines that it is divided into.
        scales: For each tensor, the factor by which its resolution is smaller than the input's.

    Returns:
        Pairs of a block's kind and its regions, in an order of computation.
    """
    lines = [_without_positions(graph, line) for line in lines]
    patterns = {
        region: branch_signature(graph, region)
        for line in lines
        for region in line.regions
        if region.role == "residual"
    }
    between = [_roles(chain) for line in lines for chain in _chains(line)[1:-1]]
    # Post-normalisation: Vaswani et al. 2017.
    postnormalized = bool(between) and all(roles == ["normalization"] for roles in between)
    parts: list[Part] = []
    for line in lines:
        own = join_weightless(graph, [*_line_parts(graph, line, patterns, scales, postnormalized)])
        parts += join_last_normalization(join_sublayers(graph, own, patterns))
    # Again, as the end of one line may lead to the beginning of the next.
    parts = join_weightless(graph, parts)
    return _split_at_nests(graph, parts) if graph.nests else parts


def _without_positions(graph: CallGraph, line: Line) -> Line:
    """A line in which the sum of tokens and positions is part of the stem, no residual block."""
    i = next((i for i, region in enumerate(line.regions) if region.role in BRANCHED), 0)
    region, before = line.regions[i], line.regions[:i]
    weighted = [graph.calls[index] for index in region.branch if graph.calls[index].weighted]
    embeds = any(earlier.role == "embedding" for earlier in before)
    if not line.begins or not embeds or len(weighted) != 1:
        return line
    if region.role != "residual" or weighted[0].role not in {"embedding", "other"}:
        return line
    total = Region("addition", region.calls, region.entry, region.exit)
    return replace(line, regions=(*before, total, *line.regions[i + 1 :]))


def _chains(line: Line) -> list[list[Region]]:
    """The chains before, between and after the branched regions of a line."""
    chains: list[list[Region]] = [[]]
    for region in line.regions:
        if region.role in BRANCHED:
            chains.append([])
        else:
            chains[-1].append(region)
    return chains


def _line_parts(
    graph: CallGraph,
    line: Line,
    patterns: dict[Region, Signature],
    scales: Sequence[float],
    postnormalized: bool,
) -> Iterator[Part]:
    chains = _chains(line)
    branched = [region for region in line.regions if region.role in BRANCHED]
    signatures = set(patterns.values())
    opening = _opening_lengths(graph, chains, branched, patterns, scales)
    closing = _closing_lengths(chains, branched, postnormalized)

    # Branches of no known kind, such as the mean and noise of an autoencoder, are no pattern: the
    # rest is divided like a network without branches.
    is_chain = line.begins and all(region.role == "branched" for region in branched)

    for i, chain in enumerate(chains):
        if i:
            before = chains[i - 1][len(chains[i - 1]) - opening[i - 1] :]
            yield branched[i - 1].role, [*before, branched[i - 1], *chain[: closing[i]]]
        middle = chain[closing[i] : len(chain) - opening[i]]
        yield from _chain_parts(graph, middle, signatures, line, i, len(branched), is_chain)


def _opening_lengths(
    graph: CallGraph,
    chains: list[list[Region]],
    branched: list[Region],
    patterns: dict[Region, Signature],
    scales: Sequence[float],
) -> list[int]:
    """How many regions at the end of each chain are the pre-activation of the next block.

    In networks with pre-activation, normalisation and activation precede the branch, and also the
    shortcut if that is a projection (He et al. 2016, "Identity mappings in deep residual networks",
    figure 1b). A cell that also reads the cell before last owns everything between the tensors that
    it reads (Zoph et al. 2018, NASNet).
    """
    first_words = [signature[:1] for signature in patterns.values()]
    preactivated = first_words.count(("normalization",)) * 2 > len(first_words)
    lengths = [0] * len(chains)
    for i, (chain, region) in enumerate(zip(chains, branched, strict=False)):
        if region.role == "residual" and _roles(chain[-2:]) == ["normalization", "activation"]:
            # After a convolution, they belong to it, unless most branches are pre-activated.
            follows_weights = len(chain) > 2 and chain[-3].weighted
            lengths[i] = 0 if follows_weights and not preactivated else 2
        elif region.role != "residual" and _is_cell(graph, region, scales):
            follows = i > 0 and _is_cell(graph, branched[i - 1], scales)
            begins = [0] * follows + [j for j, before in enumerate(chain) if before.opens]
            lengths[i] = len(chain) - begins[-1] if begins else 0
    return lengths


def _is_cell(graph: CallGraph, region: Region, scales: Sequence[float]) -> bool:
    """Whether branches also merge tensors from the side, without raising the resolution."""
    entry = region.entry
    carried = entering(graph, region.calls) != (entry,)
    return carried and entry is not None and scales[entry] <= scales[region.exit]


def _closing_lengths(
    chains: list[list[Region]], branched: list[Region], postnormalized: bool
) -> list[int]:
    """How many regions at the beginning of each chain belong to the previous block.

    That is the activation after the addition (ResNet), or a normalisation if every addition is
    followed by one alone.
    """
    lengths = [0] * len(chains)
    for i, (chain, region) in enumerate(zip(chains[1:], branched, strict=True), 1):
        if region.role == "residual" and chain:
            closes = chain[0].role == "activation"
            closes |= postnormalized and chain[0].role == "normalization"
            lengths[i] = int(closes)
    return lengths


def _roles(chain: Sequence[Region]) -> list[str]:
    return [region.role for region in chain]


def _chain_parts(
    graph: CallGraph,
    chain: list[Region],
    patterns: set[Signature],
    line: Line,
    position: int,
    last: int,
    is_chain: bool,
) -> Iterator[Part]:
    """The pieces of a chain; its position in the network decides the kinds of the rests."""
    if not line.begins and not last and (kind := branch_kind(graph, chain)):
        yield kind, chain
        return
    first = line.begins and position == 0
    alone = is_chain or (first and last == 0)
    divided = pieces(graph, chain, set() if alone else patterns, alone=alone, first=first)
    for i, (kind, parts) in enumerate(divided):
        if kind == "top" and position != last:
            kind = "plain"
        if kind == "rest":
            later = {kind for kind, _ in divided[i + 1 :]}
            pools = any(region.role in {"global pooling", "flatten"} for region in parts)
            is_top = (line.ends or pools) and position == last and later <= {"classifier", "head"}
            # A separate head is no top, and neither is the last level of a decoder.
            is_top &= line.begins or last > 0
            is_top &= len(entering(graph, [c for region in parts for c in region.calls])) == 1
            kind = "stem" if first and i == 0 else "top" if is_top else "plain"
            if kind == "plain":
                yield from (("plain", part) for part in by_resolution(graph, parts))
                continue
        yield kind, parts


def _split_at_nests(graph: CallGraph, parts: Sequence[Part]) -> list[Part]:
    """Split blocks at the ends of nested models that extend over several of them.

    Each block then contains a nested model entirely, lies inside it, or is disjoint from it.
    """
    part_of = {
        index: i
        for i, (_, regions) in enumerate(parts)
        for region in regions
        for index in region.calls
    }
    spread = {
        nest.call.name
        for nest in graph.nests
        if len({part_of[index] for index in nest.inside if index in part_of}) > 1
    }

    def outside(region: Region) -> list[str]:
        scopes = [graph.calls[index].scope for index in region.calls]
        return [name for name in min(scopes, key=len) if name in spread]

    split: list[Part] = []
    for kind, regions in parts:
        groups = [list(group) for _, group in groupby(regions, outside)]
        split += ((_kind(kind, group) if len(groups) > 1 else kind, group) for group in groups)
    return split


def _kind(kind: str, group: Sequence[Region]) -> str:
    """The kind of a part of a block that was split."""
    roles = {region.role for region in group}
    if kind in BRANCHED:
        return kind if kind in roles else "plain"
    if kind in ("classifier", "head"):
        return kind if any(region.weighted for region in group) else "top"
    return kind
