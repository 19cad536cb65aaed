"""What all diagrams share: colours, and DOT for cards, arrows and tables."""

import re
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import graphviz

# Colours that colour-blind people can tell apart: Okabe and Ito 2008, "Color universal design".
COLOURS = {
    "residual": "#0072b2",
    "inception": "#009e73",
    "dense": "#cc79a7",
    "plain": "#e69f00",
    "branched": "#56b4e9",
}

GREY, ORANGE, GREEN = "#7a828c", "#d55e00", "#009e73"

TEXT, MUTED = "#1f2328", "#57606a"

_DARK = {
    "#ffffff": "#1c2128", "#eef1f5": "#2d333b", "#d8dce2": "#444c56",
    TEXT: "#e6edf3", MUTED: "#9aa4af",
}  # fmt: skip

FONT = "Helvetica,Arial,sans-serif"

_GRAPH = {
    "bgcolor": "transparent",
    "pad": "0.05",
    "nodesep": "0.2",
    "ranksep": "0.1",
    "ordering": "out",
    "remincross": "false",
    "newrank": "true",
}

_NODES = {
    "shape": "box", "style": "rounded,filled", "color": GREY, "fillcolor": "#ffffff",
    "fontname": FONT, "fontsize": "9", "fontcolor": TEXT,
    "height": "0", "margin": "0.08,0.035", "group": "spine",
}  # fmt: skip

_EDGES = {"color": GREY, "arrowsize": "0.45"}

STRAIGHT = {"weight": "50"}

SHORTCUT = {"color": ORANGE, "tailport": "s", "headport": "ne", "penwidth": "1.2"}

GAP = "&#160;"  # Browsers drop plain blanks at the ends of a text.

MAX_NAME = 30  # letters of a name that a card shows


def empty() -> "graphviz.Digraph":
    """An empty graph in the style of the diagrams."""
    import graphviz  # takes half a second, which those who draw nothing should not wait

    # No name: Graphviz cannot parse every name, and nothing shows it.
    return graphviz.Digraph(graph_attr=_GRAPH, node_attr=_NODES, edge_attr=_EDGES)


def add_node(graph: "graphviz.Digraph", name: str, kind: str, label: str, **look: str) -> None:
    """Add a node with its name as `id` and its kind as `class`."""
    graph.node(name, label, id=name, **{"class": kind}, **look)


def add_edge(
    graph: "graphviz.Digraph", start: str, end: str, name: str, kind: str, **look: str
) -> None:
    """Add an edge with an `id`, and its kind as `class`."""
    graph.edge(start, end, id=name, **{"class": kind}, **look)


def in_dark(dot: str) -> str:
    """The same diagram with dark cards and light text.

    Example:
        >>> in_dark('digraph { a [fillcolor="#ffffff" fontcolor="#57606a80"] }')
        'digraph { a [fillcolor="#1c2128" fontcolor="#9aa4af80"] }'
    """
    # Quotes in names are escaped: no name can look like this.
    return re.sub(r'(?<==")#[0-9a-f]{6}', lambda colour: _DARK.get(colour[0], colour[0]), dot)


def muted(text: str) -> str:
    """Label text in the secondary colour."""
    return f'<FONT COLOR="{MUTED}">{text}</FONT>' if text else ""


def table(rows: str) -> str:
    """A label from table rows, in Graphviz's HTML."""
    look = 'BORDER="0" CELLBORDER="0" CELLPADDING="0" CELLSPACING="0"'
    return f"<<TABLE {look}>{rows}</TABLE>>"


def clipped(name: str, letters: int = MAX_NAME) -> str:
    """Shorten a name in its middle: the names of a diagram differ at their ends.

    Example:
        >>> clipped("expanded_conv_5_squeeze_excite_conv_1")
        'expanded_…queeze_excite_conv_1'
    """
    end = letters * 2 // 3
    return name if len(name) <= letters else f"{name[: letters - end - 1]}…{name[-end:]}"


def escaped(name: str) -> str:
    """A name as label text: shortened, printable, with all markup escaped."""
    printable = "".join(letter if letter.isprintable() else "�" for letter in clipped(name))
    # Graphviz replaces \N, \G and others by names of its own, and \\ by one backslash.
    return escape(printable).replace("\\", "\\\\")
