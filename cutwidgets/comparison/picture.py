"""Two models side by side, as DOT: counterparts are joined by lines.

The first model is at the left. A sign and a colour say what happened to a block. Where nothing
differs, one card stands for all blocks in a row; and so where only one model has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from ..blocks.blocks import Block
from ..drawing.dot import (
    COLOURS,
    GAP,
    GREY,
    ORANGE,
    add_edge,
    add_node,
    empty,
    escaped,
    muted,
    table,
)
from ..structure.anatomy import Anatomy
from ..text import percent_text, shape_text
from .alignment import Status, Step
from .rows import Difference

if TYPE_CHECKING:
    import graphviz

SIGNS: dict[Status, str] = {"same": "", "changed": "~", "added": "+", "removed": "−", "moved": "⇄"}

_COLOURS: dict[Status, str] = {
    "same": GREY,
    "changed": COLOURS["plain"],
    "added": COLOURS["inception"],
    "removed": ORANGE,
    "moved": COLOURS["dense"],
}

_FEW = 3  # blocks in a row that get a card each, though they could share one

_HEAD = {"color": "#d8dce2", "fillcolor": "#eef1f5"}


@dataclass(frozen=True, slots=True)
class _Card:
    """A block, or several in a row that are the same in both models, or that only one of them has.

    Attributes:
        rows: Their rows.
        ones: Their positions in the first model; none if they were added.
        others: Their positions in the second model; none if they were removed.
    """

    rows: Sequence[Difference]
    ones: Sequence[int]
    others: Sequence[int]

    @property
    def status(self) -> Status:
        """What happened to the blocks."""
        return self.rows[0].status


def source(
    one: Anatomy, other: Anatomy, steps: Sequence[Step], blocks: Sequence[Difference]
) -> str:
    """Write the picture in DOT.

    Args:
        one: The anatomy of the first model.
        other: That of the second.
        steps: What `pair_blocks` returns.
        blocks: The row of each step.

    Returns:
        The DOT source of a directed graph.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> layers = [keras.layers.Dense(units, name="top") for units in (2, 3)]
        >>> one, other = (keras.Sequential([keras.Input((4,)), layer]) for layer in layers)
        >>> svg = cw.compare(one, other).svg
        >>> "~" in svg, "top" in svg
        (True, True)
    """
    cards = _cards(steps, blocks)
    graph = empty()
    graph.attr(nodesep="0.5", ranksep="0.12")
    _add_column(graph, "a", one, [card for card in _in_order(cards) if card.ones])
    _add_column(graph, "b", other, [card for card in cards if card.others])
    _add_row(graph, "a-head", "b-head")
    for card in cards:
        if card.ones and card.others:
            left, right = _ids(card)
            if card.status != "moved":
                _add_row(graph, left, right)
            look = {"style": "solid" if card.status in ("same", "moved") else "dashed"}
            look |= {"color": _COLOURS[card.status], "arrowhead": "none", "constraint": "false"}
            add_edge(graph, left, right, f"match-{left}", "match", **look)
    text: str = graph.source
    return text


def _in_order(cards: Sequence[_Card]) -> list[_Card]:
    """The cards in the order of the first model."""
    return sorted(cards, key=lambda card: card.ones[0] if card.ones else -1)


def _cards(steps: Sequence[Step], blocks: Sequence[Difference]) -> list[_Card]:
    """The cards in the order of the steps; one for several blocks that stand in a row in both."""
    runs: list[list[tuple[Step, Difference]]] = []
    for pair in zip(steps, blocks, strict=True):
        if runs and _continues(runs[-1][-1], pair):
            runs[-1].append(pair)
        else:
            runs.append([pair])
    parts = [[run] if len(run) > _FEW else [[pair] for pair in run] for run in runs]
    return [_card(part) for several in parts for part in several]


def _continues(before: tuple[Step, Difference], after: tuple[Step, Difference]) -> bool:
    """Whether a block may stand in one card with the block before it."""
    (step, row), (next_step, next_row) = before, after
    alike = row.is_equal and next_row.is_equal
    alone = row.status in ("added", "removed") and row.status == next_row.status
    in_a_row = all(
        later is None or (earlier is not None and later == earlier + 1)
        for earlier, later in ((step.one, next_step.one), (step.other, next_step.other))
    )
    return (alike or alone) and in_a_row and not next_row.output_difference


def _card(pairs: Sequence[tuple[Step, Difference]]) -> _Card:
    return _Card(
        [row for _, row in pairs],
        [step.one for step, _ in pairs if step.one is not None],
        [step.other for step, _ in pairs if step.other is not None],
    )


def _ids(card: _Card) -> tuple[str, str]:
    left = f"a-{card.ones[0]}" if card.ones else ""
    return left, f"b-{card.others[0]}" if card.others else ""


def _add_column(
    graph: "graphviz.Digraph", column: str, model: Anatomy, cards: Sequence[_Card]
) -> None:
    """Add the cards of a model from top to bottom."""
    head, group = f"{column}-head", f"column-{column}"
    name = f'<FONT POINT-SIZE="11"><B>{escaped(model.name)}</B></FONT>'
    add_node(graph, head, "legend", f"<{name}>", group=group, **_HEAD)
    nodes = [head]
    for card in cards:
        positions = card.ones if column == "a" else card.others
        nodes.append(f"{column}-{positions[0]}")
        label = _label(card, [model[position] for position in positions])
        add_node(graph, nodes[-1], f"block {card.status}", label, group=group)
    for start, end in pairwise(nodes):
        look = {"style": "invis"} if start == head else {"weight": "50"}
        add_edge(graph, start, end, f"{start}-{end}", "spine", **look)


def _add_row(graph: "graphviz.Digraph", left: str, right: str) -> None:
    with graph.subgraph() as row:
        row.attr(rank="same")
        row.edge(left, right, style="invis")


def _label(card: _Card, blocks: Sequence[Block]) -> str:
    """The sign, the name, and what is known of a block; or how many blocks are the same."""
    row, first, last = card.rows[0], blocks[0], blocks[-1]
    sign = f"<B>{SIGNS[card.status]}</B>" if SIGNS[card.status] else GAP
    name = f"<B>{escaped(first.name)}</B>"
    if len(blocks) > 1:
        what = "the same" if card.status == "same" else card.status
        name = f"<B>{len(blocks)} blocks, {what}</B>"
    texts = [f"{name}{2 * GAP}{muted(shape_text(last.output_shape, last.scale))}"]
    if len(blocks) > 1:
        texts.append(muted(f"{escaped(first.name)} … {escaped(last.name)}"))
    if card.status != "same" and len(blocks) == 1:
        texts.append(muted(card.status))
    if row.weight_change:
        texts.append(muted(f"weights moved {percent_text(row.weight_change)}"))
    if row.output_difference:
        texts.append(muted(f"output differs {percent_text(row.output_difference)}"))
    bar = f'<TD ROWSPAN="{len(texts)}" WIDTH="3" BGCOLOR="{_COLOURS[card.status]}"></TD>'
    bar += f'<TD ROWSPAN="{len(texts)}" WIDTH="16"><FONT POINT-SIZE="12">{sign}</FONT></TD>'
    rows = [f'<TR>{bar}<TD ALIGN="LEFT">{texts[0]}</TD></TR>']
    rows += [f'<TR><TD ALIGN="LEFT">{text}</TD></TR>' for text in texts[1:]]
    return table("".join(rows))
