"""Which regions are opened: those that a skip of the network itself spans, as in a U-Net.

The skips of a U-Net, the long addition of a super-resolution network, the lateral convolutions of a
feature pyramid and the cells of NASNet, which read the last two cells, keep several tensors live
over many calls. Ignoring such edges, the longest first, exposes the cut points beneath them. A
region is opened in this way if that exposes blocks in sequence, or a path down and up again in
resolution; otherwise it is a block.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from ..graph.callgraph import CallGraph
from .regions import BRANCHED, Region
from .skips import divide


@dataclass(slots=True)
class Node:
    """A region, the smaller regions inside it, and whether these replace it.

    Attributes:
        region: The region.
        parts: The smaller regions.
        is_chain: Whether it has cut points that no skip hides.
        is_long: Whether a long skip spans several blocks in it.
        is_network: Whether it is most of the network.
        is_tail: Whether it ends in the merge of the network, or of the region, around it.
    """

    region: Region
    parts: list["Node"] = field(default_factory=list)
    is_chain: bool = False
    is_long: bool = False
    is_network: bool = False
    is_tail: bool = False

    @property
    def is_open(self) -> bool:
        """Whether its parts stand for it."""
        return self.is_chain or self.is_long


def tree(
    graph: CallGraph, whole: Region, ways: dict[int, int], scales: Sequence[float]
) -> tuple[Node, bool]:
    """A region and all regions inside it, and whether any of them is spanned by an opened skip."""
    root = Node(whole)
    nodes = [root]
    half = sum(graph.calls[index].weighted for index in whole.calls) / 2
    for node in nodes:  # It grows as it goes.
        weighted = sum(graph.calls[index].weighted for index in node.region.calls)
        node.is_network = weighted > half or node.is_tail
        weight, parts = divide(graph, node.region, ways)
        node.parts = [
            Node(part, is_tail=node.is_network and part.exit == node.region.exit) for part in parts
        ]
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
    """Whether a region has enough merges for blocks inside it, or raises the resolution."""
    if len(region.calls) < 2 or region.role not in BRANCHED | {"gate", "addition"}:
        return False
    calls = [graph.calls[index] for index in region.calls]
    merges = [call.role for call in calls if len(call.inputs) > 1]
    # A residual block inside adds; two of them inside of a third make three merges.
    enough = len(merges) > 2 or (region.role != "residual" and "addition" in merges[:-1])
    return enough or any(call.stride < 1 for call in calls)


def _is_long(graph: CallGraph, node: Node, scales: Sequence[float]) -> bool:
    """Whether a region is to be opened, as a skip of the network spans it.

    A residual block may have modules of any kind in its branch. What opens it are residual blocks
    on its own stream, as in a residual group of RCAN, or that it is most of the network.
    """
    if node.region.role in BRANCHED and node.parts and _is_hourglass(graph, node, scales):
        return True
    if node.region.role == "residual" and not node.is_network:
        return sum(part.is_long or is_block(graph, part.region) for part in node.parts) > 1
    blocks = [part.region for part in node.parts if part.region.role in BRANCHED]
    if len(blocks) > 1 or any(part.is_long for part in node.parts):
        return True
    # A block that begins where the region does is one of its branches, as in a cell of NASNet;
    # unless what is left over is the last block and the merge of the skips of all (WaveNet).
    inside = (
        block
        for block in blocks
        if node.is_tail
        or node.region.role == "dense"
        or block.entry != node.region.entry
        or _splits(graph, block)
    )
    return any(is_block(graph, block) for block in inside) or _is_stack(graph, node)


def _splits(graph: CallGraph, region: Region) -> bool:
    """Whether a region begins with a call that splits its input, as a CSP stage does."""
    first = graph.calls[region.calls[0]]
    return len(first.outputs) > 1 and not first.weighted


def is_block(graph: CallGraph, region: Region) -> bool:
    """Whether a region is a residual block that leaves the stream of features as it is."""
    weighted = sum(graph.calls[index].weighted for index in region.branch)
    keeps = region.shortcut == "identity" or _splits(graph, region)
    return region.role == "residual" and keeps and weighted > 1


def _is_stack(graph: CallGraph, node: Node) -> bool:
    """Whether several layers with weights in sequence read one tensor, as in a decoder."""
    makers = [graph.maker(part.region.exit) for part in node.parts]
    return sum(call.weighted and len(call.inputs) > 1 for call in makers) > 1


def _is_hourglass(graph: CallGraph, node: Node, scales: Sequence[float]) -> bool:
    """Whether a path goes down and up again in resolution beside a single skip.

    A module that pools at several sizes and merges the results (PSPNet) has more paths.
    """
    if len(graph.maker(node.region.exit).inputs) > 2 or node.region.entry is None:
        return False
    lowest = 0.9 * max(scales[part.region.exit] for part in node.parts)
    return scales[node.region.entry] < lowest > scales[node.region.exit]


def _marked(graph: CallGraph, node: Node) -> Node:
    """Let a block open where the resolution rises: the skip of that level merges in this block."""
    if node.region.role not in BRANCHED and graph.maker(node.region.exit).stride < 1:
        node.region = replace(node.region, opens=True)
    return node


def flat(root: Node) -> Iterator[Region]:
    """The regions of a tree in order, with the parts of opened regions in their place."""
    pending = [root]
    while pending:
        node = pending.pop()
        if node.is_open:
            pending += reversed(node.parts)
        else:
            yield node.region


def ends(graph: CallGraph, root: Node) -> set[int]:
    """The outputs of additions over blocks in sequence; these end the last of the blocks."""
    tensors = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if node.is_open:
            pending += node.parts
            rises = any(graph.maker(part.region.exit).stride < 1 for part in node.parts)
            if node.region.role == "residual" and not node.is_chain and not rises:
                tensors.add(node.region.exit)
    return tensors
