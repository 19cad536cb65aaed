"""Group blocks into stages.

Resolution comes first. Width divides blocks of one resolution further, unless it changes at nearly
every block, as in PyramidNet: then the layers' names do, where a person chose them.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise, zip_longest

from ..graph.callgraph import CallGraph
from .blocks import OUTSIDE_STAGES, Block
from .layer_names import is_automatic, tokens

# What a chain computes tells its parts apart: an embedding shares no stage with an LSTM.
_TELLING = frozenset({"convolution", "fully connected", "recurrent", "attention", "embedding"})


@dataclass(frozen=True, slots=True)
class Skip:
    """A tensor that passes at least one block.

    Attributes:
        start: Position of the block that computes it.
        end: Position of a block that reads it.
        scale: The factor by which its resolution is smaller than that of the model's input.
        returns: Whether the resolution is lower on the way between, as between the two sides of a
            U-Net.
    """

    start: int
    end: int
    scale: float
    returns: bool


@dataclass(frozen=True, slots=True)
class Levels:
    """The two sides of a U-Net.

    Attributes:
        last_down: Position of the last block of the way down.
        first_up: Position of the first block of the way up; the bridge lies between.
        scales: The resolutions of the skips from side to side, the finest first.
    """

    last_down: int
    first_up: int
    scales: tuple[float, ...]

    def side(self, block: int) -> str:
        """The side of a block: `"down"`, `"bridge"` or `"up"`."""
        return "down" if block <= self.last_down else "up" if block >= self.first_up else "bridge"

    def number(self, scale: float) -> int:
        """The number of the level of a resolution, 1 for the finest with a skip."""
        return bisect_left(self.scales, 0.99 * scale) + 1


def skips(graph: CallGraph, blocks: Sequence[Block], scales: Sequence[float]) -> list[Skip]:
    """The skips between blocks that have the resolution of the block that reads them."""
    maker = {tensor: i for i, block in enumerate(blocks) for tensor in block.exits}
    lower = _next_lower(blocks)
    found = []
    for i, block in enumerate(blocks):
        for tensor in block.entries:
            start = maker.get(tensor, i)
            alike = len(graph.tensors[tensor].shape) == len(block.output_shape) > 2
            if start < i - 1 and alike and scales[tensor] == block.scale:
                # A block may end in the pooling behind the tensor that skips.
                falls = blocks[start].scale > scales[tensor] or lower[start] < i
                found.append(Skip(start, i, scales[tensor], falls))
    return found


def _next_lower(blocks: Sequence[Block]) -> list[int]:
    """For each block the position of the next of lower resolution; the number of blocks if none."""
    following = [len(blocks)] * len(blocks)
    waiting: list[int] = []
    for i, block in enumerate(blocks):
        while waiting and blocks[waiting[-1]].scale < block.scale:
            following[waiting.pop()] = i
        waiting.append(i)
    return following


def levels(passing: Sequence[Skip]) -> Levels | None:
    """The two sides of a U-Net; `None` for a network that is none, or that has several."""
    between = sorted((s for s in passing if s.returns), key=lambda skip: (skip.end, -skip.start))
    starts = [skip.start for skip in between]
    if not between or starts != sorted(starts, reverse=True):
        return None
    inner = [s for s in passing if starts[-1] <= s.start and s.end <= between[0].end]
    last_down, first_up = starts[-1], between[0].end
    for skip in sorted(inner, key=lambda skip: skip.start - skip.end):
        if last_down <= skip.start and skip.end <= first_up:
            last_down, first_up = skip.start, skip.end
    return Levels(last_down, first_up, tuple(sorted({skip.scale for skip in between})))


def stages_of(
    graph: CallGraph,
    blocks: Sequence[Block],
    scales: Sequence[float],
    scopes: Sequence[str],
    passing: Sequence[Skip],
) -> list[list[int]]:
    """Positions of the blocks of each stage, in order.

    Args:
        graph: The call graph.
        blocks: Its blocks.
        scales: For each tensor, the factor by which its resolution is smaller than the input's.
        scopes: For each block, the nested model whose stages it counts among.
        passing: The skips between blocks.
    """
    unet = levels(passing)
    spanned = _spanned(blocks, passing)
    body = [i for i, block in enumerate(blocks) if block.kind not in OUTSIDE_STAGES]
    neighbours = [(i, j) for i, j in pairwise(body) if j == i + 1]

    def alike(i: int, j: int) -> bool:
        """Whether two neighbours can share a stage if their resolutions agree."""
        before, block = blocks[i], blocks[j]
        return (
            scopes[i] == scopes[j]
            and (before.kind == "dense") == (block.kind == "dense")
            and len(before.output_shape) == len(block.output_shape)
            and not _differ(graph, before, block)
            and (unet is None or unet.side(i) == unet.side(j))
        )

    same = [p for p in neighbours if alike(*p) and blocks[p[0]].scale == blocks[p[1]].scale]
    changing = _restless(graph, blocks, scopes, same)
    stages: list[list[int]] = []
    for i, following in zip_longest(body, body[1:]):
        before, block = blocks[i - 1], blocks[i]
        joins = bool(stages) and stages[-1][-1] == i - 1 and alike(i - 1, i)
        joins = joins and (
            scopes[i] in changing or i in spanned or _share_width(graph, before, block)
        )
        if joins and block.scale != before.scale:
            # A block that lowers the resolution opens a stage, unless the width grows right after
            # it: then it closes one, as in ResNet50V2.
            opens = following is None or _share_width(graph, block, blocks[following])
            opens |= block.kind == "plain" or scopes[i] in changing
            joins = not opens and scales[before.entries[0]] == before.scale
        if joins:
            stages[-1].append(i)
        else:
            stages.append([i])
    return [
        part
        for stage in stages
        for part in (_by_name(graph, blocks, stage) if scopes[stage[0]] in changing else [stage])
    ]


def _widths(graph: CallGraph, block: Block) -> set[int | None]:
    # The width of a dense block grows with each of its layers (Huang et al. 2017).
    if block.kind == "dense":
        return {None}
    shapes = [graph.tensors[tensor].shape for tensor in block.exits]
    return {shape[graph.channel_axis] for shape in shapes if len(shape) > 1}


def _share_width(graph: CallGraph, one: Block, other: Block) -> bool:
    return not _widths(graph, one).isdisjoint(_widths(graph, other))


def _differ(graph: CallGraph, one: Block, other: Block) -> bool:
    """Whether two plain blocks do different things, as an embedding and an LSTM do."""
    if one.kind != "plain" or other.kind != "plain":
        return False
    first, second = (
        {graph.calls[index].role for index in block.calls} & _TELLING for block in (one, other)
    )
    return bool(first and second) and first.isdisjoint(second)


def _restless(
    graph: CallGraph,
    blocks: Sequence[Block],
    scopes: Sequence[str],
    same: Sequence[tuple[int, int]],
) -> set[str]:
    """The scopes in which the width changes at nearly every block.

    Args:
        graph: The call graph.
        blocks: Its blocks.
        scopes: The scope of each block.
        same: Pairs of neighbours of equal resolution.
    """
    restless = set()
    for scope in {scopes[j] for _, j in same}:
        pairs = [(blocks[i], blocks[j]) for i, j in same if scopes[j] == scope]
        changes = sum(not _share_width(graph, *pair) for pair in pairs)
        if len(pairs) > 3 and 2 * changes > len(pairs):
            restless.add(scope)
    return restless


def _spanned(blocks: Sequence[Block], passing: Sequence[Skip]) -> set[int]:
    """The blocks that a skip within one resolution leads over, or to, without crossing another.

    They belong together whatever their widths: the two ways of a CSP stage, the tree of a DLA.
    Cells that read the last two cells (NASNet) have skips that cross.
    """
    run = [0] * len(blocks)
    for i in range(1, len(blocks)):
        run[i] = run[i - 1] + (blocks[i].scale != blocks[i - 1].scale)
    pairs = sorted({(skip.start, -skip.end) for skip in passing})
    crossing: set[tuple[int, int]] = set()
    around: list[tuple[int, int]] = []
    for start, end in pairs:
        while around and -around[-1][1] <= start:
            around.pop()
        while around and -around[-1][1] < -end:
            crossing |= {around.pop(), (start, end)}
        around.append((start, end))
    reach = list(range(len(blocks)))
    for start, end in pairs:
        if (start, end) not in crossing and run[start] == run[-end]:
            reach[start] = max(reach[start], -end)
    spanned, last = set(), -1
    for i in range(len(blocks)):
        if i <= last:
            spanned.add(i)
        last = max(last, reach[i] if reach[i] > i else -1)
    return spanned


def _by_name(graph: CallGraph, blocks: Sequence[Block], stage: list[int]) -> list[list[int]]:
    """Divide a stage where the first word of its layers' names changes, if that forms groups."""
    words = [_first_word(graph, blocks[i]) for i in stage]
    parts = [list(part) for _, part in groupby(range(len(stage)), key=words.__getitem__)]
    forms_groups = None not in words and len(set(words)) == len(parts) <= len(stage) / 2
    return [[stage[j] for j in part] for part in parts] if forms_groups else [stage]


def _first_word(graph: CallGraph, block: Block) -> str | None:
    """The word that begins the names of a block's layers, without those that Keras chose."""
    calls = map(graph.calls.__getitem__, block.calls)
    names = {c.own_name for c in calls if not is_automatic(c.own_name, c.kind)}
    words = {tokens(name)[0] for name in names}
    word = next(iter(words)) if len(words) == 1 else None
    return word if word is None or re.search(r"\d", word) else None
