"""What is marked on a block diagram: a slice, and measurements of the blocks.

A slice is drawn strongly and the rest faintly, and START and END stand on the cards of its start
and its ends. A measurement stands on its card, on a colour between the lowest and the highest one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from .dot import GAP, GREY, TEXT
from .folding import Card

# These can be seen on light and on dark pages.
ACCENT = "#1877c9"
ALERT = "#d93a2b"

# Viridis (van der Walt and Smith 2015): steps of even lightness, for the colour-blind too.
SCALE = (
    "#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725",
)  # fmt: skip

_FAINT = "99"  # the opacity of what is not in the slice, as two hexadecimal digits


@dataclass(frozen=True, slots=True)
class Values:
    """Measurements of the blocks.

    Attributes:
        title: What is measured.
        low: The lowest value, as text.
        high: The highest value, as text.
        numbers: For each block a number; `None` where there is none.
        texts: The same as texts.
    """

    title: str
    low: str
    high: str
    numbers: Sequence[float | None]
    texts: Sequence[str]

    def colours(self, position: int) -> tuple[str, str] | None:
        """The colour of a block's value, and that of its text; `None` without a value.

        Example:
            >>> values = Values("Error", "1 %", "9 %", [0.01, None, 0.09], ["1 %", "", "9 %"])
            >>> [values.colours(i) for i in range(3)]
            [('#440154', 'white'), None, ('#fde725', 'black')]
        """
        number = self.numbers[position]
        if number is None:
            return None
        known = [other for other in self.numbers if other is not None]
        span = max(known) - min(known)
        return colour_of((number - min(known)) / (span or 1))


@dataclass(frozen=True, slots=True)
class Marks:
    """What to mark on a diagram. Positions are those of blocks.

    Attributes:
        lit: Positions of the blocks of the slice; if there are none, nothing is faint.
        start: Position of the block that the flag START stands on.
        ends: Positions of the blocks that a flag END stands on.
        crossing: Ids of the edges that make a cut impossible, and of cards that they enter.
        values: Measurements.
    """

    lit: frozenset[int] = frozenset()
    start: int | None = None
    ends: tuple[int, ...] = ()
    crossing: frozenset[str] = frozenset()
    values: Values | None = None

    def is_lit(self, card: Card) -> bool:
        """Whether a card stands for a block of the slice."""
        return any(card.first <= position <= card.last for position in self.lit)

    def is_faint(self, card: Card) -> bool:
        """Whether there is a slice, and a card stands for none of its blocks."""
        return bool(self.lit) and not self.is_lit(card)

    def flags(self, card: Card) -> list[str]:
        """The flags on a card.

        Example:
            >>> marks = Marks(frozenset({3, 4}), 3, (4,))
            >>> marks.flags(Card(3, 3)), marks.flags(Card(0, 9)), marks.flags(Card(5, 5))
            (['START'], ['START', 'END'], [])
        """
        starts = () if self.start is None else (self.start,)
        return [
            flag
            for flag, positions in (("START", starts), ("END", self.ends))
            if any(card.first <= position <= card.last for position in positions)
        ]

    def on_card(self, card: Card) -> dict[str, str]:
        """How a card and its joint look."""
        if f"block-{card.first}" in self.crossing:
            return {"color": ALERT, "penwidth": "3"}
        if self.is_faint(card):
            return {"color": GREY + _FAINT, "fontcolor": TEXT + _FAINT}
        return {"color": ACCENT, "penwidth": "2"} if self.lit else {}

    def on_edge(self, card: Card, name: str, look: Mapping[str, str]) -> dict[str, str]:
        """How an edge looks that enters a card.

        Args:
            card: The card.
            name: The id of the edge.
            look: How it looks without marks.
        """
        if name in self.crossing:
            return {**look, "color": ALERT, "penwidth": "3"}
        if self.is_faint(card):
            return {**look, "color": look.get("color", GREY) + _FAINT}
        width = float(look.get("penwidth", 1)) + 0.8
        return {**look, "penwidth": f"{width:g}"} if self.lit else dict(look)


NO_MARKS = Marks()


def colour_of(share: float) -> tuple[str, str]:
    """The colour of a share from 0 to 1, and that of a text which can be read on it.

    Example:
        >>> colour_of(0), colour_of(0.5), colour_of(1)
        (('#440154', 'white'), ('#23908b', 'black'), ('#fde725', 'black'))
    """
    place = share * (len(SCALE) - 1)
    step = min(int(place), len(SCALE) - 2)
    ends = [[int(colour[k : k + 2], 16) for k in (1, 3, 5)] for colour in SCALE[step : step + 2]]
    mixed = [int(a + (place - step) * (b - a) + 0.5) for a, b in zip(*ends, strict=True)]
    # Relative luminance, as WCAG 2 defines it.
    linear = [
        ((part / 255 + 0.055) / 1.055) ** 2.4 if part > 10 else part / 255 / 12.92 for part in mixed
    ]
    luminance = sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return f"#{bytes(mixed).hex()}", "black" if luminance > 0.179 else "white"


def faint(label: str) -> str:
    """The same label text in faint colours.

    Example:
        >>> faint('<FONT COLOR="#57606a">12</FONT>')
        '<FONT COLOR="#57606a99">12</FONT>'
    """
    # Quotes in names are escaped: this is no part of a name.
    return re.sub(r'(?<=COLOR=")#[0-9a-f]{6}(?=")', rf"\g<0>{_FAINT}", label)


def flag_row(flag: str, columns: int) -> str:
    """A row of a card that says START or END."""
    text = f'<FONT POINT-SIZE="7" COLOR="white"><B>{flag}</B></FONT>'
    return f'<TR><TD COLSPAN="{columns}" HEIGHT="11" BGCOLOR="{ACCENT}">{text}</TD></TR>'


def value_cell(width: int, text: str = "", colours: tuple[str, str] | None = None) -> str:
    """The cell of a card for its value."""
    if colours is None:
        return f'<TD WIDTH="{width}"></TD>'
    fill, ink = colours
    label = f'<FONT POINT-SIZE="7" COLOR="{ink}"><B>{escape(text)}</B></FONT>'
    # Opaque, on a faint card too.
    return f'<TD WIDTH="{width}" BGCOLOR="{fill}ff">{label}</TD>'


def scale_line(values: Values) -> str:
    """The scale of the colours, for the legend: a table from the lowest value to the highest."""
    steps = "".join(f'<TD WIDTH="10" BGCOLOR="{colour}"></TD>' for colour in SCALE)
    title, low, high = map(escape, (values.title, values.low, values.high))
    look = 'BORDER="0" CELLBORDER="0" CELLPADDING="0" CELLSPACING="0"'
    return (
        f"<TABLE {look}><TR><TD>{GAP}{title}{2 * GAP}{low}{GAP}</TD>{steps}"
        f"<TD>{GAP}{high}</TD></TR></TABLE>"
    )
