"""Which cards a diagram shows: one a block, and in long networks one for a run of blocks.

Graphviz takes time that grows with the cube of a network's length, and nobody reads a thousand
cards. Beyond `LIMIT` blocks, each run of like blocks is therefore one card; if that leaves too many
cards, each stretch of neighbours is one. A card of several blocks can be opened: it gives way to
the cards inside it, which may stand for several blocks again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..blocks import flow
from ..blocks.blocks import Block

LIMIT = 200  # cards of a diagram, and of what a card opens to

_MAX_PERIOD = 8  # blocks of the longest pattern that is a run if it repeats
_MIN_REPEATS = 3  # of a pattern, to be a run


@dataclass(frozen=True, slots=True, order=True)
class Card:
    """What one card of the diagram stands for: the blocks from one position to another.

    Attributes:
        first: Position of its first block.
        last: Position of its last block; the same for a single block.
    """

    first: int
    last: int

    @property
    def folded(self) -> bool:
        """Whether it stands for several blocks."""
        return self.last > self.first

    def holds(self, other: "Card") -> bool:
        """Whether it stands for all the blocks of another card."""
        return self.first <= other.first and other.last <= self.last


def cards(blocks: Sequence[Block], opened: Card | None = None) -> list[Card]:
    """The cards of a diagram, in the order of the blocks.

    Args:
        blocks: All blocks of the model, in order.
        opened: A card to open, with all that it stands inside of; a single block to show it.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> x = keras.Input((8,))
        >>> y = x
        >>> for _ in range(300):
        ...     y = keras.layers.Add()([y, keras.layers.Dense(8)(y)])
        >>> cards(cw.anatomy(keras.Model(x, y)).blocks)
        [Card(first=0, last=299)]
    """
    if len(blocks) <= LIMIT:
        return [Card(i, i) for i in range(len(blocks))]
    looks = _looks(blocks)
    return list(_visible(looks, _joined(_runs(looks, Card(0, len(blocks) - 1))), opened))


def title(blocks: Sequence[Block], card: Card) -> str:
    """How many blocks a folded card stands for, and of which kind.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> blocks = cw.anatomy(keras.applications.ResNet50(weights=None)).blocks
        >>> title(blocks, Card(1, 3)), title(blocks, Card(0, 3))
        ('3 × residual', '4 blocks')
    """
    kinds = {block.kind for block in blocks[card.first : card.last + 1]}
    count = card.last - card.first + 1
    return f"{count:,} × {kinds.pop()}" if len(kinds) == 1 else f"{count:,} blocks"


def _looks(blocks: Sequence[Block]) -> list[int]:
    """For each block a number; blocks of the same number look alike."""
    numbers: dict[object, int] = {}
    looks = []
    for i, (block, (first, *others)) in enumerate(zip(blocks, flow.sources(blocks), strict=False)):
        kinds = tuple(block.graph.calls[index].kind for index in block.calls)
        shapes = block.input_shape, block.output_shape
        # Neighbours in a line read each other; heads of a network all read the same block.
        source = "previous" if first == i - 1 else first
        look = block.kind, block.shortcut, block.stage, shapes, kinds, source, len(others)
        looks.append(numbers.setdefault(look, len(numbers)))
    return looks


def _visible(looks: Sequence[int], inside: Sequence[Card], opened: Card | None) -> Iterator[Card]:
    """The cards that a card opens to, and those inside of the one that is opened."""
    for card in inside:
        if card.folded and opened is not None and card.holds(opened):
            yield from _visible(looks, _inside(looks, card), opened)
        else:
            yield card


def _inside(looks: Sequence[int], card: Card) -> list[Card]:
    """The cards that a folded card opens to."""
    runs = _runs(looks, card)
    if runs != [card]:
        return _joined(runs)
    singles = [Card(i, i) for i in range(card.first, card.last + 1)]
    return _joined(singles, _run(looks, card.first, card.last)[1])


def _joined(cards: list[Card], period: int = 1) -> list[Card]:
    """The same cards, or stretches of neighbours if they are more than `LIMIT`.

    Args:
        cards: Neighbouring cards.
        period: A number of cards that should not be divided.
    """
    if len(cards) <= LIMIT:
        return cards
    size = -(-len(cards) // (LIMIT // 2 * period)) * period
    pieces = (cards[i : i + size] for i in range(0, len(cards), size))
    return [Card(piece[0].first, piece[-1].last) for piece in pieces]


def _runs(looks: Sequence[int], card: Card) -> list[Card]:
    """Divide a card into runs of like blocks, and the single blocks between them."""
    runs = []
    first = card.first
    while first <= card.last:
        last, _ = _run(looks, first, card.last)
        runs.append(Card(first, last))
        first = last + 1
    return runs


def _run(looks: Sequence[int], first: int, last: int) -> tuple[int, int]:
    """The last block of the longest run that begins at a block, and the length of its pattern."""
    best = first, 1
    for period in range(1, _MAX_PERIOD + 1):
        end = first + period
        while end <= last and looks[end] == looks[end - period]:
            end += 1
        repeats = (end - first) // period
        if repeats >= _MIN_REPEATS and first + repeats * period - 1 > best[0]:
            best = first + repeats * period - 1, period
    return best
