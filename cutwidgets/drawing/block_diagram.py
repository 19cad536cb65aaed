"""The diagram of a network: its blocks and stages as DOT.

From top to bottom, each block is a card and each stage a frame. A residual block also has a joint:
the addition at which its branch and its shortcut meet. Towers stand side by side. In long networks
a card may stand for several blocks.

Every part of the SVG has an id, where i is the position of a block and j that of a stage:
`block-i`, `joint-i` (residual blocks only), `branch-i` (from the card to the joint), `shortcut-i`
(the arc into the joint), `spine-i` (into the card; the last one into the output), `skip-i-k` (a
long skip connection into the card or the output), `stage-j`, `input`, `output`, `legend`. For a
card that stands for several blocks, i is the position of the first. Where many edges would leave or
enter a card, `spine-i` or `skip-i-k` is missing, and the cards name each other.
Classes say what a part is, such as `block residual`, `block folded`, `joint`,
`shortcut projection`; through them `diagram.css` adapts the diagram to the page's theme.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..blocks import flow
from ..blocks.blocks import Block, Stage
from ..text import shape_text
from .arcs import LANES, Edge, Place, arcs, columns
from .dot import (
    FONT,
    GAP,
    GREEN,
    MUTED,
    SHORTCUT,
    STRAIGHT,
    add_edge,
    add_node,
    empty,
    muted,
)
from .folding import Card, cards
from .labels import Labels, name_of, names_text
from .marks import NO_MARKS, Marks

if TYPE_CHECKING:
    import graphviz

_FRAME = {
    "style": "rounded,filled", "color": "#d8dce2", "fillcolor": "#eef1f5",
    "fontname": FONT, "fontsize": "9", "fontcolor": MUTED,
}  # fmt: skip

_JOINT = {"shape": "circle", "fixedsize": "true", "width": "0.16", "margin": "0"}

_STYLES = {
    "identity": {"style": "solid", "penwidth": "1.2"},
    "projection": {"style": "dashed", "penwidth": "1.2"},
    "pooling": {"style": "dotted", "penwidth": "1.7"},
    "padding": {"style": "solid", "penwidth": "2.4"},
}

_SKIP = {"color": GREEN, "penwidth": "1.2", "weight": "0"}

_CELL = 800  # points: the width of a notebook's cell


def source(
    name: str,
    blocks: Sequence[Block],
    stages: Sequence[Stage],
    opened: Card | None = None,
    marks: Marks = NO_MARKS,
) -> str:
    """Write the diagram in DOT, the language of Graphviz.

    Args:
        name: Name of the model.
        blocks: All blocks of the model, in order.
        stages: Its stages, in order.
        opened: A card of several blocks to open, or a block to show, as for `folding.cards`.
        marks: What to mark on it.

    Returns:
        The DOT source of a directed graph.

    Example:
        >>> import keras
        >>> from cutwidgets.blocks import finding as blocks
        >>> from cutwidgets.graph import reader as callgraph
        >>> from cutwidgets.drawing import block_diagram as diagram
        >>> x = keras.Input((8,))
        >>> y = keras.layers.Add(name="sum")([x, keras.layers.Dense(8, name="branch")(x)])
        >>> dot = diagram.source("tiny", *blocks.find(callgraph.read(keras.Model(x, y))))
        >>> '"block-0" -> "joint-0"' in dot, 'input -> "joint-0"' in dot
        (True, True)
    """
    drawn = cards(blocks, opened)
    edges = _edges(blocks, drawn)
    own = _stage_of(blocks, stages, drawn)
    frames = [None if j is None or _is_hidden(stages[j]) else stages[j] for j in own]
    places = _places(edges, Labels(blocks, drawn, [()] * len(drawn), frames))
    wiring = _wiring(drawn, edges, places)
    *notes, last = _notes(blocks, wiring)
    labels = Labels(blocks, drawn, notes, frames, marks)
    marks = _with_readers(marks, wiring)
    graph = empty()
    singles = {blocks[card.first].shortcut for card in wiring.cards if not card.folded}
    shortcuts = [kind for kind in _STYLES if kind in singles]
    has_skips = any(edge.name.startswith("skip") for edge in wiring.arcs)
    legend = labels.legend(name, shortcuts, has_skips)
    add_node(graph, "legend", "legend", legend, **_FRAME)
    add_node(graph, "input", "input", _input_label(blocks))
    graph.edge("legend", "input", style="invis")
    for j in sorted({j for j in own if j is not None}):
        with graph.subgraph(name=f"cluster-{j}") as frame:
            frame.attr(**_frame(j, stages[j], labels))
            for k in (k for k, stage in enumerate(own) if stage == j):
                _add_card(frame, blocks, wiring.cards[k], labels.card(k), places[k], marks)
    for k, stage in enumerate(own):
        if stage is None:
            _add_card(graph, blocks, wiring.cards[k], labels.card(k), places[k], marks)
    label = _output_label(blocks, len(wiring.edges[-1]), last)
    add_node(graph, "output", "output", label)
    _add_edges(graph, blocks, wiring, places, marks)
    text: str = graph.source
    return text


@dataclass(frozen=True, slots=True)
class _Wiring:
    """The cards of a diagram, and the edges between them.

    Attributes:
        cards: The cards, in the order of the blocks.
        edges: For each card, and last for the output, the edges into it; its main input first.
        lines: The edges on a straight line from one card to the next.
        arcs: The other edges that are drawn.
        named: The other edges that are not drawn.
        first_reader: For each card that named edges leave, the first card that one enters.
    """

    cards: Sequence[Card]
    edges: Sequence[Sequence[Edge]]
    lines: Collection[Edge]
    arcs: Collection[Edge]
    named: Collection[Edge]
    first_reader: Mapping[int, int]


def _edges(blocks: Sequence[Block], drawn: Sequence[Card]) -> list[list[Edge]]:
    """For each card, and last for the output, the edges into it; its main input first."""
    sources = flow.sources(blocks)
    owner = [k for k, card in enumerate(drawn) for _ in range(card.first, card.last + 1)]
    owner.append(-1)  # the input, at position -1
    edges: list[list[Edge]] = []
    for k, card in enumerate([*drawn, Card(len(blocks), len(blocks))]):
        into: dict[int, Edge] = {}
        for i in range(card.first, card.last + 1):
            for m, source in enumerate(sources[i]):
                if owner[source] != k:
                    kind = f"skip-{i}-{m}" if into else f"spine-{i}"
                    into.setdefault(owner[source], Edge(owner[source], k, kind))
        edges.append(list(into.values()))
    return edges


def _wiring(
    drawn: Sequence[Card], edges: Sequence[Sequence[Edge]], places: Sequence[Place]
) -> _Wiring:
    lines: dict[int, Edge] = {}  # by the cards that they leave
    for several in edges:
        lines.setdefault(several[0].source, several[0])
    others = {edge for several in edges for edge in several}.difference(lines.values())
    # The way to a tower below another one would lead around that.
    below = {edges[k][0] for k, place in enumerate(places) if place.above is not None}
    shown = arcs(others - below)
    named = others - shown
    first_reader: dict[int, int] = {}
    for edge in sorted(named, key=lambda edge: edge.reader):
        first_reader.setdefault(edge.source, edge.reader)
    return _Wiring(drawn, edges, frozenset(lines.values()), shown, named, first_reader)


def _with_readers(marks: Marks, wiring: _Wiring) -> Marks:
    """The marks, also on the cards that crossing edges enter which are not drawn."""
    hidden = [edge.reader for edge in wiring.named if edge.name in marks.crossing]
    ids = {f"block-{wiring.cards[k].first}" for k in hidden if k < len(wiring.cards)}
    return replace(marks, crossing=marks.crossing | ids)


def _notes(blocks: Sequence[Block], wiring: _Wiring) -> list[list[str]]:
    """For each card, and last for the output, what it reads and is read by without an arc."""
    computed = {tensor for block in blocks for tensor in block.exits}

    def names(edge: Edge) -> list[str]:
        if edge.source >= 0:
            return [name_of(blocks, wiring.cards[edge.source])]
        card = wiring.cards[edge.reader]
        entries = (t for block in blocks[card.first : card.last + 1] for t in block.entries)
        makers = [blocks[0].graph.maker(t).name for t in entries if t not in computed]
        return list(dict.fromkeys(makers))

    readers: dict[int, list[str]] = defaultdict(list)
    for edge in sorted(wiring.named, key=lambda edge: edge.reader):
        inside = edge.reader < len(wiring.cards)
        card = wiring.cards[edge.reader] if inside else None
        readers[edge.source].append(name_of(blocks, card) if card else "the output")
    notes = []
    for k, into in enumerate(wiring.edges):
        unseen = sorted((e for e in into if e in wiring.named), key=lambda edge: edge.source)
        read = [name for edge in unseen for name in names(edge)]
        texts = [f"reads {names_text(read)}"] if read else []
        if readers[k]:
            count = len(readers[k])
            by = names_text(readers[k]) if count < 3 else f"{count} blocks"
            texts.append(f"read by {by}")
        notes.append(texts)
    return notes


def _places(edges: Sequence[Sequence[Edge]], labels: Labels) -> list[Place]:
    """The column of each card; no more columns than a notebook's cell has room for."""
    inside = edges[:-1]
    main = [into[0].source for into in inside]
    reads = [[edge.source for edge in into] for into in inside]
    beside = 12 * min(LANES, sum(len(into) - 1 for into in inside))
    most = max(1, (_CELL - beside) // (sum(labels.widths) + 50))
    return columns(main, reads, most)


def _add_edges(
    graph: "graphviz.Digraph",
    blocks: Sequence[Block],
    wiring: _Wiring,
    places: Sequence[Place],
    marks: Marks,
) -> None:
    """Add the spine from input to output, the shortcuts beside it, and long skip connections."""
    leaves = [_leaf(blocks, card) for card in wiring.cards]
    nodes = [*(f"block-{card.first}" for card in wiring.cards), "output"]
    leaves.append("input")  # at position -1
    last = wiring.edges[-1][0].source
    columns = [*(place.column for place in places), places[last].column if places else 0, 0]
    above = [*(place.above for place in places), None]
    readers = [*wiring.cards, Card(len(blocks), len(blocks))]
    for k, (node, into) in enumerate(zip(nodes, wiring.edges, strict=True)):
        for edge in into:
            kind = edge.name.partition("-")[0]
            start = leaves[edge.source]
            if edge in wiring.lines:
                look = marks.on_edge(readers[k], edge.name, STRAIGHT)
                add_edge(graph, start, node, edge.name, kind, **look)
            elif edge in wiring.arcs:
                look = _ports(columns[edge.source], columns[k])
                look |= _SKIP if kind == "skip" else {}
                look = marks.on_edge(readers[k], edge.name, look)
                add_edge(graph, start, node, edge.name, kind, **look)
            elif edge is into[0] and above[k] is None:
                graph.edge(start, node, style="invis")
        if (tower := above[k]) is not None:
            graph.edge(leaves[tower], node, style="invis", **STRAIGHT)
        for source in _above(wiring, columns, k):
            graph.edge(leaves[source], node, style="invis")
        if k < len(places) and leaves[k] != node:
            _add_shortcut(graph, blocks, wiring.cards[k], leaves[into[0].source], marks)


def _above(wiring: _Wiring, columns: Sequence[int], reader: int) -> list[int]:
    """The ends of other columns that a card names, and is the first to read; it stands below."""
    first: dict[int, int] = {}  # by column
    for edge in wiring.edges[reader]:
        column = columns[edge.source]
        if edge in wiring.named and wiring.first_reader[edge.source] == reader and edge.source >= 0:
            first[column] = max(edge.source, first.get(column, -1))
    return [source for column, source in first.items() if column != columns[reader]]


def _add_shortcut(
    graph: "graphviz.Digraph", blocks: Sequence[Block], card: Card, start: str, marks: Marks
) -> None:
    """Add the branch of a residual block, from its card to its joint, and its shortcut."""
    i, kind = card.first, str(blocks[card.first].shortcut)
    node, joint, branch, shortcut = f"block-{i}", f"joint-{i}", f"branch-{i}", f"shortcut-{i}"
    look = marks.on_edge(card, branch, {"arrowhead": "none", **STRAIGHT})
    add_edge(graph, node, joint, branch, "branch", **look)
    look = marks.on_edge(card, shortcut, SHORTCUT | _STYLES[kind])
    add_edge(graph, start, joint, shortcut, f"shortcut {kind}", **look)


def _ports(start: int, end: int) -> dict[str, str]:
    """The sides of cards that an arc leaves and enters, by their columns.

    From above or below, it would cross the titles of stages.
    """
    return {"tailport": "w" if start > end else "e", "headport": "w" if start < end else "e"}


def _leaf(blocks: Sequence[Block], card: Card) -> str:
    """The node that the output of a card leaves: the joint of a residual block, or the card."""
    residual = not card.folded and blocks[card.first].shortcut
    return f"joint-{card.first}" if residual else f"block-{card.first}"


def _add_card(
    graph: "graphviz.Digraph",
    blocks: Sequence[Block],
    card: Card,
    label: str,
    place: Place,
    marks: Marks,
) -> None:
    """Add a card, and the joint of a residual block."""
    look = {"group": f"spine-{place.column}"} if place.column else {}
    look |= marks.on_card(card)
    kind = "folded" if card.folded else blocks[card.first].kind
    add_node(graph, f"block-{card.first}", f"block {kind}", label, **look)
    leaf = _leaf(blocks, card)
    if leaf.startswith("joint"):
        add_node(graph, leaf, "joint", "<<B>+</B>>", **_JOINT, **look)


def _stage_of(
    blocks: Sequence[Block], stages: Sequence[Stage], drawn: Sequence[Card]
) -> list[int | None]:
    """For each card the position of its stage; `None` for stem, top and what spans several."""
    stage_of = {block.name: j for j, stage in enumerate(stages) for block in stage.blocks}
    own = []
    for card in drawn:
        within = {stage_of.get(block.name) for block in blocks[card.first : card.last + 1]}
        own.append(within.pop() if len(within) == 1 else None)
    return own


def _is_hidden(stage: Stage) -> bool:
    """Whether a stage has no frame: a single block of the same name says all."""
    return stage.name == stage.blocks[0].name


def _frame(j: int, stage: Stage, labels: Labels) -> dict[str, str]:
    """Attributes of the frame around a stage."""
    look = {"id": f"stage-{j}", "class": "stage", "labeljust": "l", "margin": "5", **_FRAME}
    if _is_hidden(stage):
        return look | {"label": "", "style": "", "peripheries": "0", "margin": "0"}
    return look | {"label": labels.frame(stage)}


def _input_label(blocks: Sequence[Block]) -> str:
    if not blocks:
        return "input"
    if flow.inputs(blocks) > 1:
        return f"{flow.inputs(blocks)} inputs"
    return f"<{muted('input')}{GAP}{shape_text(blocks[0].input_shape)}>"


def _output_label(blocks: Sequence[Block], count: int, notes: Sequence[str]) -> str:
    if not blocks or count > 1:
        text = "outputs" if blocks else "output"
        return f"<{(2 * GAP).join([text, *map(muted, notes)])}>"
    return f"<{muted('output')}{GAP}{shape_text(blocks[-1].output_shape, blocks[-1].scale)}>"
