"""What the cards, frames and legend of the block diagram say, in Graphviz's HTML."""

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import chain

from ..blocks.blocks import Block, Stage
from ..graph.callgraph import parameters
from ..text import number_text, shape_text
from .dot import (
    COLOURS,
    GAP,
    GREEN,
    GREY,
    MAX_NAME,
    ORANGE,
    TEXT,
    clipped,
    escaped,
    muted,
    table,
)
from .folding import Card, title
from .marks import NO_MARKS, Marks, faint, flag_row, scale_line, value_cell

SAMPLES = {
    "identity": "——",
    "projection": "– – –",
    "pooling": "· · · ·",
    "padding": "━━",
}  # fmt: skip

_MAX_TITLE = 22  # letters of a stage's name

_SIGNS = {"addition": "+", "multiplication": "×", "concatenation": "‖"}

_SIGN_NAMES = {"+": "sum", "×": "gate", "‖": "concatenation"}


class Labels:
    """The labels of a diagram, all of whose cards are equally wide.

    Args:
        blocks: All blocks of the model, in order.
        cards: The cards to draw.
        notes: For each card, what it reads and is read by where no arc shows it.
        frames: For each card, the stage whose title stands above it, if any.
        marks: What is marked on them.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        cards: Sequence[Card],
        notes: Sequence[Sequence[str]],
        frames: Sequence[Stage | None],
        marks: Marks = NO_MARKS,
    ) -> None:
        self._blocks, self._cards, self._notes, self._marks = blocks, cards, notes, marks
        self._names = [
            _below(name_of(blocks, card), frame) for card, frame in zip(cards, frames, strict=True)
        ]
        shared = shared_layers(blocks)
        self._abouts = [_about(self._within(card), shared) for card in cards]
        shapes = [6 * len(self._shape(card)) for card in cards]
        self.widths = [0, max(shapes, default=0) + 8, 60]
        # Graphviz widens a column if its own fonts need more. The estimate keeps texts inside their
        # cards if Graphviz has no fonts, or others than the browser.
        names = [
            6.5 * min(len(name), MAX_NAME) + 5.5 * len(about)
            for name, about in zip(self._names, self._abouts, strict=True)
        ]
        lines = [
            *chain.from_iterable(notes),
            *(_range(blocks, card) for card in cards if card.folded),
        ]
        under = [5.5 * len(line) - sum(self.widths) for line in lines]
        titles = [
            # A title stands left of the spine, which goes through the middle of the cards.
            2 * 6 * min(len(stage.name), _MAX_TITLE) - sum(self.widths)
            for stage in frames
            if stage
        ]
        self.widths[0] = round(max([*names, *under, *titles], default=0)) + 10
        self._columns = 5 if marks.values else 4
        self._value_width = 5 * max(map(len, marks.values.texts)) + 8 if marks.values else 0

    def card(self, index: int) -> str:
        """The name left and numbers right, after a bar in the colour of the kind."""
        card = self._cards[index]
        blocks = self._within(card)
        calls = [call for block in blocks for call in block.calls]
        kinds = {block.kind for block in blocks}
        bar = COLOURS.get(kinds.pop(), GREY) if len(kinds) == 1 else GREY
        name = f"<B>{GAP}{escaped(self._names[index])}</B>"
        count = parameters(blocks[0].graph, calls)
        about = self._abouts[index].replace(" ", GAP)
        texts = [
            f"{name}{GAP}{GAP}{muted(about)}",
            muted(self._shape(card)),
            muted(number_text(count)),
        ]
        under = [_range(self._blocks, card)] if card.folded else []
        under += self._notes[index]
        rows = self._row(texts, bar, under, self._value(card))
        if self._marks.is_faint(card):
            rows = faint(rows)
        flags = self._marks.flags(card)
        start, end = (
            flag_row(flag, self._columns) if flag in flags else "" for flag in ("START", "END")
        )
        return table(f"{start}{rows}{end}")

    def frame(self, stage: Stage) -> str:
        """The name of a stage and its shape, left and right of the spine through the middle."""
        name = escaped(clipped(stage.name, _MAX_TITLE))
        shape = shape_text(stage.output_shape, stage.blocks[-1].scale)
        half = (sum(self.widths) + self._value_width) // 2 + 3
        # Below the shapes of the cards where there is room, and clear of the arcs at the right.
        right = max(0, min(self.widths[2], half - self.widths[1]))
        cells = [
            f'<TD ALIGN="LEFT" WIDTH="{half}"><B>{name}</B></TD>',
            f'<TD ALIGN="RIGHT" WIDTH="{half - right}">{shape}</TD>',
            f'<TD WIDTH="{right}"></TD>' if right else "",
        ]
        return table(f"<TR>{''.join(cells)}</TR>")

    def legend(self, name: str, shortcuts: Collection[str], has_skips: bool) -> str:
        """The model's name, the columns of the cards, and what lines and signs mean."""
        values = self._marks.values
        heading = f'<FONT POINT-SIZE="11" COLOR="{TEXT}"><B>{GAP}{escaped(name)}</B></FONT>'
        no_value = value_cell(self._value_width) if values else ""
        rows = self._row([heading, muted("output"), muted("parameters")], value=no_value)
        lines = [(3 * GAP).join(["shortcut", *map(_sample, shortcuts)])] if shortcuts else []
        if has_skips:
            line = f'<FONT COLOR="{GREEN}"><B>{SAMPLES["identity"]}</B></FONT>'
            lines.append(f"{line}{GAP}{GAP}long skip connection")
        letters = set("".join(self._abouts))
        signs = [
            f"<B>{sign}</B>{GAP}{word}" for sign, word in _SIGN_NAMES.items() if sign in letters
        ]
        lines += [(3 * GAP).join(signs)] if signs else []
        lines = [f"{GAP}{line}" for line in lines]
        lines += [scale_line(values)] if values else []
        for line in lines:
            rows += f'<TR><TD></TD><TD COLSPAN="{self._columns - 1}" ALIGN="LEFT">{line}</TD></TR>'
        return table(rows)

    def _within(self, card: Card) -> Sequence[Block]:
        return self._blocks[card.first : card.last + 1]

    def _shape(self, card: Card) -> str:
        block = self._blocks[card.last]
        return shape_text(block.output_shape, block.scale)

    def _value(self, card: Card) -> str:
        """The cell for the value of a card; `""` without values."""
        values = self._marks.values
        if values is None:
            return ""
        if card.folded:
            return value_cell(self._value_width)
        i = card.first
        return value_cell(self._value_width, values.texts[i], values.colours(i))

    def _row(
        self,
        texts: Sequence[str],
        bar: str = "transparent",
        under: Sequence[str] = (),
        value: str = "",
    ) -> str:
        """A row of a card, after a bar in its colour and its value, and lines of text under it."""
        (name, *numbers), (wide, *narrow) = texts, self.widths
        span = f' ROWSPAN="{1 + len(under)}"' if under else ""
        fixed = "" if under else ' FIXEDSIZE="TRUE"'
        return (
            f'<TR><TD{span}{fixed} WIDTH="3" HEIGHT="11" BGCOLOR="{bar}"></TD>'
            f'{value}<TD ALIGN="LEFT" WIDTH="{wide}">{name}</TD>'
            + "".join(
                f'<TD ALIGN="RIGHT" WIDTH="{width}">{number}</TD>'
                for number, width in zip(numbers, narrow, strict=True)
            )
            + "</TR>"
            + "".join(
                f'<TR><TD COLSPAN="{self._columns - 1}" ALIGN="LEFT">{GAP}{muted(line)}</TD></TR>'
                for line in under
            )
        )


def name_of(blocks: Sequence[Block], card: Card) -> str:
    """The name of a block, or how many blocks a card stands for."""
    return title(blocks, card) if card.folded else blocks[card.first].name


def _below(name: str, frame: Stage | None) -> str:
    """A block's name without the path that the title of its stage shows already."""
    path = frame.name.rpartition("/")[0] if frame else ""
    return name.removeprefix(f"{path}/") if path else name


def names_text(names: Sequence[str]) -> str:
    """A name, and how many there are besides.

    Example:
        >>> names_text(["a"]), names_text(["a", "b"]), names_text(["a", "b", "c"])
        ('a', 'a and b', 'a and 2 more')
    """
    more = names[1] if len(names) == 2 else f"{len(names) - 1} more"
    return escaped(names[0]) + (f" and {escaped(more)}" if names[1:] else "")


def _range(blocks: Sequence[Block], card: Card) -> str:
    return f"{escaped(blocks[card.first].name)} … {escaped(blocks[card.last].name)}"


def _sample(shortcut: str) -> str:
    return f'<FONT COLOR="{ORANGE}"><B>{SAMPLES[shortcut]}</B></FONT>{GAP}{GAP}{shortcut}'


def _about(blocks: Sequence[Block], shared: set[int]) -> str:
    """The kind of a block, unless its joint or its name already says it; merges inside; sharing."""
    words = [_kind(blocks[0])] if len(blocks) == 1 else []
    within = {name for block in blocks for name in merges(block)}
    words += [sign for sign, name in _SIGN_NAMES.items() if name in within]
    text = " ".join(filter(None, words))
    calls = (block.graph.calls[index] for block in blocks for index in block.calls)
    if not any(id(call.layer) in shared for call in calls):
        return text
    return f"{text}, shared" if text else "shared"


def _kind(block: Block) -> str:
    own = block.name.rpartition("/")[2]
    return "" if block.shortcut or own.startswith(block.kind) else block.kind


def merges(block: Block) -> list[str]:
    """The kinds of merges inside a block, other than the sum that its joint shows.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> merges(cw.anatomy(keras.applications.DenseNet121(weights=None))["conv2_block1"])
        ['concatenation']
    """
    calls = [block.graph.calls[index] for index in block.calls if index != block.merge]
    roles = {call.role for call in calls if len(call.inputs) > 1}
    return [_SIGN_NAMES[sign] for role, sign in _SIGNS.items() if role in roles]


def shared_layers(blocks: Sequence[Block]) -> set[int]:
    """The ids of the layers with weights that are called more than once."""
    calls = [block.graph.calls[index] for block in blocks for index in block.calls]
    counts = Counter(id(call.layer) for call in calls)
    return {
        id(call.layer)
        for call in calls
        if counts[id(call.layer)] > 1 and parameters(blocks[0].graph, [call.index])
    }
