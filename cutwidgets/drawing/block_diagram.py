"""The diagram of a network: its blocks and stages as DOT.

From top to bottom, each block is a card and each stage a frame. A residual block also has a joint:
the addition at which its branch and its shortcut meet. Towers stand side by side.

Every part of the SVG has an id, where i is the position of a block and j that of a stage:
`block-i`, `joint-i` (residual blocks only), `branch-i` (from the card to the joint), `shortcut-i`
(the arc into the joint), `spine-i` (into the card; the last one into the output), `skip-i-k` (a
long skip connection into the card or the output), `stage-j`, `input`, `output`, `legend`.
Classes say what a part is, such as `block residual`, `joint`, `shortcut projection`; through them
`diagram.css` adapts the diagram to the page's theme.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..blocks import flow
from ..blocks.blocks import Block, Stage
from ..text import number_text, shape_text
from .dot import (
    COLOURS,
    FONT,
    GAP,
    GREEN,
    GREY,
    MAX_NAME,
    MUTED,
    ORANGE,
    SHORTCUT,
    STRAIGHT,
    TEXT,
    add_edge,
    add_node,
    empty,
    escaped,
    muted,
    table,
)

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
}

_SAMPLES = {"identity": "——", "projection": "– – –", "pooling": "· · · ·"}

_SKIP = {"color": GREEN, "penwidth": "1.2", "weight": "0"}


def source(name: str, blocks: Sequence[Block], stages: Sequence[Stage]) -> str:
    """Write the diagram in DOT, the language of Graphviz.

    Args:
        name: Name of the model.
        blocks: All blocks of the model, in order.
        stages: Its stages, in order.

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
    graph = empty()
    widths = _widths(blocks)
    sources = flow.sources(blocks)
    add_node(graph, "legend", "legend", _legend(name, blocks, sources, widths), **_FRAME)
    add_node(graph, "input", "input", _input_label(blocks))
    graph.edge("legend", "input", style="invis")
    columns, position = flow.columns(blocks), {block.name: i for i, block in enumerate(blocks)}
    for j, stage in enumerate(stages):
        with graph.subgraph(name=f"cluster-{j}") as frame:
            frame.attr(**_frame(j, stage, widths))
            for block in stage.blocks:
                i = position[block.name]
                _add_block(frame, i, block, widths, columns[i])
    for i, block in enumerate(blocks):
        if block.stage is None:
            _add_block(graph, i, block, widths, columns[i])
    _add_edges(graph, blocks, sources)
    text: str = graph.source
    return text


def _add_edges(
    graph: "graphviz.Digraph", blocks: Sequence[Block], sources: Sequence[Sequence[int]]
) -> None:
    """Add the spine from input to output, the shortcuts beside it, and long skip connections."""
    leaves = [f"joint-{i}" if block.shortcut else f"block-{i}" for i, block in enumerate(blocks)]
    leaves.append("input")  # at position -1
    for i, block in enumerate(blocks):
        card, joint = f"block-{i}", f"joint-{i}"
        _add_entries(graph, i, card, [leaves[source] for source in sources[i]])
        if block.shortcut:
            add_edge(graph, card, joint, f"branch-{i}", "branch", arrowhead="none", **STRAIGHT)
            kind = f"shortcut {block.shortcut}"
            look = SHORTCUT | _STYLES[block.shortcut]
            add_edge(graph, leaves[sources[i][0]], joint, f"shortcut-{i}", kind, **look)
    add_node(graph, "output", "output", _output_label(blocks, len(sources[-1])))
    _add_entries(graph, len(blocks), "output", [leaves[source] for source in sources[-1]])


def _add_entries(graph: "graphviz.Digraph", i: int, card: str, sources: Sequence[str]) -> None:
    """Add the edges into a card or the output: the spine, then long skip connections."""
    add_edge(graph, sources[0], card, f"spine-{i}", "spine", **STRAIGHT)
    for k, source in enumerate(sources[1:], 1):
        add_edge(graph, source, card, f"skip-{i}-{k}", "skip", **_SKIP)


def _add_block(
    graph: "graphviz.Digraph", i: int, block: Block, widths: Sequence[int], column: int
) -> None:
    """Add a card, with the name left and numbers right, and the joint of a residual block."""
    colour = COLOURS.get(block.kind, GREY)
    label = table(_row(_texts(block), widths, colour))
    look = {"group": f"spine-{column}"} if column else {}
    add_node(graph, f"block-{i}", f"block {block.kind}", label, **look)
    if block.shortcut:
        add_node(graph, f"joint-{i}", "joint", "<<B>+</B>>", **_JOINT, **look)


def _frame(j: int, stage: Stage, widths: Sequence[int]) -> dict[str, str]:
    """Attributes of the frame around a stage; invisible around a single block of the same name."""
    look = {"id": f"stage-{j}", "class": "stage", "labeljust": "l", "margin": "5", **_FRAME}
    if stage.name == stage.blocks[0].name:
        return look | {"label": "", "style": "", "peripheries": "0", "margin": "0"}
    shape = shape_text(stage.output_shape, stage.blocks[-1].scale)
    # Left and right of the spine, which passes through the middle.
    half = f'WIDTH="{sum(widths) // 2 + 3}"'
    name = f'<TD ALIGN="LEFT" {half}><B>{escaped(stage.name)}</B></TD>'
    return look | {"label": table(f'<TR>{name}<TD ALIGN="RIGHT" {half}>{shape}</TD></TR>')}


def _input_label(blocks: Sequence[Block]) -> str:
    if not blocks:
        return "input"
    if flow.inputs(blocks) > 1:
        return f"{flow.inputs(blocks)} inputs"
    return f"<{muted('input')}{GAP}{shape_text(blocks[0].input_shape)}>"


def _output_label(blocks: Sequence[Block], count: int) -> str:
    if not blocks or count > 1:
        return "outputs" if blocks else "output"
    return f"<{muted('output')}{GAP}{shape_text(blocks[-1].output_shape, blocks[-1].scale)}>"


def _legend(
    name: str, blocks: Sequence[Block], sources: Sequence[Sequence[int]], widths: Sequence[int]
) -> str:
    """The model's name, the columns of the cards, and how shortcuts are drawn."""
    title = f'<FONT POINT-SIZE="11" COLOR="{TEXT}"><B>{GAP}{escaped(name)}</B></FONT>'
    rows = _row([title, muted("output"), muted("parameters")], widths)
    kinds = [kind for kind in _STYLES if any(block.shortcut == kind for block in blocks)]
    lines = [(3 * GAP).join(["shortcut", *map(_sample, kinds)])] if kinds else []
    if any(len(others) > 1 for others in sources):
        line = f'<FONT COLOR="{GREEN}"><B>{_SAMPLES["identity"]}</B></FONT>'
        lines.append(f"{line}{GAP}{GAP}long skip connection")
    for line in lines:
        rows += f'<TR><TD></TD><TD COLSPAN="3" ALIGN="LEFT">{GAP}{line}</TD></TR>'
    return table(rows)


def _sample(shortcut: str) -> str:
    return f'<FONT COLOR="{ORANGE}"><B>{_SAMPLES[shortcut]}</B></FONT>{GAP}{GAP}{shortcut}'


def _row(texts: Sequence[str], widths: Sequence[int], bar: str = "transparent") -> str:
    """A row of a card, after a bar in its colour. All cards have the same column widths."""
    (name, *numbers), (wide, *narrow) = texts, widths
    return (
        f'<TR><TD FIXEDSIZE="TRUE" WIDTH="3" HEIGHT="11" BGCOLOR="{bar}"></TD>'
        f'<TD ALIGN="LEFT" WIDTH="{wide}">{name}</TD>'
        + "".join(
            f'<TD ALIGN="RIGHT" WIDTH="{width}">{number}</TD>'
            for number, width in zip(numbers, narrow, strict=True)
        )
        + "</TR>"
    )


def _texts(block: Block) -> tuple[str, str, str]:
    """The texts of a card: name and kind, output shape, number of parameters."""
    return (
        f"<B>{GAP}{escaped(block.name)}</B>{GAP}{GAP}{muted(_kind(block))}",
        muted(shape_text(block.output_shape, block.scale)),
        muted(number_text(block.parameters)),
    )


def _kind(block: Block) -> str:
    """The kind of a block, unless its joint or its name already says it."""
    own = block.name.rpartition("/")[2]
    return "" if block.shortcut or own.startswith(block.kind) else block.kind


def _widths(blocks: Sequence[Block]) -> list[int]:
    """Widths of the three columns in points, estimated from the number of letters.

    Graphviz widens a column if its own fonts need more. The estimate keeps texts inside their cards
    if Graphviz has no fonts, or others than the browser.
    """
    names = [6.5 * min(len(block.name), MAX_NAME) + 5.5 * len(_kind(block)) for block in blocks]
    shapes = [6 * len(shape_text(block.output_shape, block.scale)) for block in blocks]
    return [round(max(names, default=0)) + 10, max(shapes, default=0) + 8, 60]
