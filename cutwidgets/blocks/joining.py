"""Join parts that a person would not call blocks of their own."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise, zip_longest

from ..graph.callgraph import CallGraph, entering
from .chains import Signature
from .regions import Region

Part = tuple[str, list[Region]]

# A last part that consists of these alone belongs to the block before it.
_CLOSING = frozenset({"activation", "dropout", "reordering", "padding", "pooling"})

_FEED_FORWARD = frozenset(
    {"fully connected", "pointwise", "normalization", "activation", "gate", "multiplication",
     "other"}
)  # fmt: skip


def join_weightless(graph: CallGraph, parts: Sequence[Part]) -> list[Part]:
    """Join parts without weights to a neighbour: activations, shuffles, pooling, normalisation.

    They belong to the part before them; merges of several tensors belong to the part after them.
    """
    joined: list[Part] = []
    waiting: list[Region] = []
    for (kind, regions), following in zip_longest(parts, parts[1:]):
        regions, waiting = [*waiting, *regions], []
        before = joined[-1][1] if joined and _follow(joined[-1][1], regions) else None
        leads = following is not None and _follow(regions, following[1])
        merges = len(entering(graph, [i for region in regions for i in region.calls])) > 1
        if not _is_weightless(graph, kind, regions) or not (before or leads):
            joined.append((kind, regions))
        elif before and not (merges and leads):
            joined[-1] = (joined[-1][0], [*before, *regions])
        else:
            waiting = regions
    return joined


def _follow(before: Sequence[Region], regions: Sequence[Region]) -> bool:
    return before[-1].exit == regions[0].entry


def _is_weightless(graph: CallGraph, kind: str, regions: Sequence[Region]) -> bool:
    roles = {graph.calls[index].role for region in regions for index in region.calls}
    closes = kind == "top" and roles <= _CLOSING
    weighted = any(graph.calls[index].weighted for region in regions for index in region.calls)
    return closes or (kind == "plain" and not weighted)


def join_sublayers(
    graph: CallGraph, parts: Sequence[Part], signatures: Mapping[Region, Signature]
) -> list[Part]:
    """Join the residual sublayers of a transformer's layer: attention and feed-forward network.

    A layer ends in its feed-forward sublayer (Vaswani et al. 2017; so do the blocks of MLP-Mixer
    and of a decoder, which has two kinds of attention). If two such sublayers follow each other,
    layers begin with one as well (Conformer, Gulati et al. 2020).

    Args:
        graph: The call graph.
        parts: Parts of one line, in order.
        signatures: The signatures of the residual branches.
    """
    joined: list[Part] = []
    for run in _runs(graph, parts):
        ends = [_is_feed_forward(part, signatures) for part in run]
        groups = _layers(ends) if len(run) > 1 else [range(len(run))]
        joined += (
            (run[group[0]][0], [region for i in group for region in run[i][1]]) for group in groups
        )
    return joined


def join_last_normalization(parts: Sequence[Part]) -> list[Part]:
    """Join a normalisation at the end to the last block if every block before it ends in one."""
    ends = [regions[-1].role for kind, regions in parts if kind == "residual"]
    if len(ends) < 2 or set(ends[:-1]) != {"normalization"} or ends[-1] == "normalization":
        return list(parts)
    joined: list[Part] = []
    for kind, regions in parts:
        is_last = kind == "top" and [region.role for region in regions] == ["normalization"]
        if is_last and joined[-1][0] == "residual":
            joined[-1] = ("residual", [*joined[-1][1], *regions])
        else:
            joined.append((kind, regions))
    return joined


def _runs(graph: CallGraph, parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Neighbouring residual parts on one stream of features; other parts alone."""
    run: list[Part] = []
    for part in parts:
        if run and not (
            part[0] == run[-1][0] == "residual"
            and _follow(run[-1][1], part[1])
            and _shortcut(part) == "identity"
            and graph.tensors[run[0][1][-1].exit].shape == graph.tensors[part[1][-1].exit].shape
        ):
            yield run
            run = []
        run.append(part)
    if run:
        yield run


def _shortcut(part: Part) -> str | None:
    return next((region.shortcut for region in part[1] if region.shortcut), None)


def _is_feed_forward(part: Part, signatures: Mapping[Region, Signature]) -> bool:
    """Whether a residual branch treats each position alone, as dense layers and activations do."""
    words = {word for region in part[1] for word in signatures.get(region, ())}
    return words <= _FEED_FORWARD and bool(words & {"fully connected", "pointwise"})


def _layers(feed_forward: Sequence[bool]) -> list[range]:
    """The sublayers of each layer, by which sublayers are feed-forward networks."""
    count = len(feed_forward)
    if all(feed_forward) or not any(feed_forward):
        return [range(i, i + 1) for i in range(count)]
    both_ends = feed_forward[0] and feed_forward[-1]
    if both_ends:
        ends = [i for i, both in enumerate(pairwise(feed_forward)) if all(both)]
        return _between([*ends, count - 1])
    ends = [i for i, is_last in enumerate(feed_forward) if is_last]
    shortest = min(end - before for before, end in pairwise([-1, *ends]))
    layers: list[range] = []
    for before, end in pairwise([-1, *ends]):
        # Residual blocks before the usual number of sublayers, such as convolutions, stand alone.
        first = end + 1 - shortest if shortest > 1 else before + 1
        layers += [range(i, i + 1) for i in range(before + 1, first)]
        layers.append(range(first, end + 1))
    return layers + [range(i, i + 1) for i in range(ends[-1] + 1, count)]


def _between(ends: Collection[int]) -> list[range]:
    return [range(before + 1, end + 1) for before, end in pairwise([-1, *ends])]
