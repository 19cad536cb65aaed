"""Where the cards of a diagram stand, and which edges between them are drawn as arcs.

An arc takes its own place beside the cards. A tensor that many blocks read, such as a time
embedding or the output of an encoder, would need one arc for each, and a diagram as wide as its
number of readers. Its readers name it instead, and so do blocks that read many tensors.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count

MOST = 3  # arcs that leave or enter a card

LANES = 8  # arcs side by side


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge between two cards that are no neighbours on a straight line.

    Attributes:
        source: Position of the card that it leaves; -1 for the model's input.
        reader: Position of the card that it enters; the number of cards for the model's output.
        name: Its id in the diagram.
    """

    source: int
    reader: int
    name: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a card stands.

    Attributes:
        column: The number of its column, from left to right.
        above: Position of the last card of the tower that stands above its own; else `None`.
    """

    column: int
    above: int | None = None


def arcs(edges: Collection[Edge]) -> set[Edge]:
    """The edges to draw; the cards at the ends of the others name each other.

    Example:
        >>> edges = [Edge(0, reader, f"skip-{reader}-1") for reader in (3, 5, 7, 9)]
        >>> len(arcs(edges)), len(arcs(edges[:3]))
        (0, 3)
    """
    leaving = Counter(edge.source for edge in edges)
    few = [edge for edge in edges if leaving[edge.source] <= MOST]
    entering = Counter(edge.reader for edge in few)
    return _beside([edge for edge in few if entering[edge.reader] <= MOST])


def _beside(edges: Collection[Edge]) -> set[Edge]:
    """The edges without the longest of those that would not fit beside each other."""
    drawn: set[Edge] = set()
    open_arcs: list[tuple[int, int, Edge]] = []  # the one that ends last is first
    for number, edge in enumerate(sorted(edges, key=lambda edge: edge.source)):
        passed = [item for item in open_arcs if -item[0] <= edge.source]
        drawn.update(item[2] for item in passed)
        open_arcs = [item for item in open_arcs if -item[0] > edge.source]
        heapify(open_arcs)
        heappush(open_arcs, (-edge.reader, number, edge))
        if len(open_arcs) > LANES:
            heappop(open_arcs)
    return drawn.union(item[2] for item in open_arcs)


def columns(main: Sequence[int], reads: Sequence[Collection[int]], most: int) -> list[Place]:
    """Where each card stands: towers side by side, or below each other if they are many.

    A card stands below the card that it reads first, unless another one does already.

    Args:
        main: For each card, the position of the card that it reads first; -1 for the input.
        reads: For each card, the positions of all cards that it reads.
        most: The number of columns.

    Example:
        >>> reads = [[-1], [0], [-1], [2], [1, 3]]
        >>> [place.column for place in columns([-1, 0, -1, 2, 1], reads, 2)]
        [0, 0, 1, 1, 0]
        >>> columns([-1, 0, 0, 0], [[-1], [0], [0], [0]], 2)[3]
        Place(column=0, above=1)
    """
    lines = _lines(main)
    last = {line: card for card, line in enumerate(lines)}
    bottoms: list[int] = []  # the last card of each column
    places: list[Place] = []
    depths: list[int] = []
    for card, line in enumerate(lines):
        depth = 1 + max((depths[source] for source in reads[card] if source >= 0), default=0)
        above = None
        if main[card] >= 0 and lines[main[card]] == line:
            column = places[main[card]].column
        else:
            done = [i for i, bottom in enumerate(bottoms) if last[lines[bottom]] < card]
            fit = [i for i in done if depths[bottoms[i]] < depth]
            if not fit and (len(bottoms) < most or not done):
                column = len(bottoms)
                bottoms.append(card)
            else:
                column = min(fit or done, key=lambda i: depths[bottoms[i]])
                above = bottoms[column]
                depth = max(depth, depths[above] + 1)
        bottoms[column] = card
        depths.append(depth)
        places.append(Place(column, above))
    return places


def _lines(main: Sequence[int]) -> list[int]:
    """For each card the number of its straight line."""
    lines: list[int] = []
    numbers = count()
    continued: set[int] = set()
    for source in main:
        begins = source < 0 or source in continued
        lines.append(next(numbers) if begins else lines[source])
        continued.add(source)
    return lines
