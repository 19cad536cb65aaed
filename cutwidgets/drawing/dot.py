"""DOT source that all diagrams share: colours, cards, arrows, tables."""

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import graphviz

# Colours that the colour-blind can tell apart: Okabe and Ito 2008, "Color universal design".
COLOURS = {
    "residual": "#0072b2",
    "inception": "#009e73",
    "dense": "#cc79a7",
    "plain": "#e69f00",
    "branched": "#56b4e9",
}

GREY, _ORANGE, _GREEN = "#7a828c", "#d55e00", "#009e73"

_TEXT, _MUTED = "#1f2328", "#57606a"

_FONT = "Helvetica,Arial,sans-serif"

_GRAPH = {"bgcolor": "transparent", "pad": "0.05", "nodesep": "0.2", "ranksep": "0.1"}

_NODES = {
    "shape": "box", "style": "rounded,filled", "color": GREY, "fillcolor": "#ffffff",
    "fontname": _FONT, "fontsize": "9", "fontcolor": _TEXT,
    "height": "0", "margin": "0.08,0.035", "group": "spine",
}  # fmt: skip

_EDGES = {"color": GREY, "arrowsize": "0.45"}

STRAIGHT = {"weight": "50"}

SHORTCUT = {"color": _ORANGE, "tailport": "s", "headport": "ne", "penwidth": "1.2"}

GAP = "&#160;"  # Browsers drop plain blanks at the ends of a text.

MAX_NAME = 30  # letters of a name that a card shows


def empty() -> "graphviz.Digraph":
    """A graph in the style of the diagram, with nothing in it."""
    import graphviz  # takes half a second, and not everybody draws

    # It has no name: Graphviz cannot read every name, and nothing shows it.
    return graphviz.Digraph(graph_attr=_GRAPH, node_attr=_NODES, edge_attr=_EDGES)


def add_node(graph: "graphviz.Digraph", name: str, kind: str, label: str, **look: str) -> None:
    """Add a node that has its own name as id, and what it is as class."""
    graph.node(name, label, id=name, **{"class": kind}, **look)


def add_edge(
    graph: "graphviz.Digraph", start: str, end: str, name: str, kind: str, **look: str
) -> None:
    """Add an edge with an id, and what it is as class."""
    graph.edge(start, end, id=name, **{"class": kind}, **look)


def muted(text: str) -> str:
    """Text of a label in the second colour."""
    return f'<FONT COLOR="{_MUTED}">{text}</FONT>' if text else ""


def table(rows: str) -> str:
    """A label of rows, each of them of the HTML that Graphviz knows."""
    look = 'BORDER="0" CELLBORDER="0" CELLPADDING="0" CELLSPACING="0"'
    return f"<<TABLE {look}>{rows}</TABLE>>"


def escaped(name: str) -> str:
    """A name as text of a label: shortened, printable, nothing in it is markup."""
    shown = name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"
    printable = "".join(letter if letter.isprintable() else "�" for letter in shown)
    # Graphviz replaces \N, \G and others by names of its own, and \\ by a single backslash.
    return escape(printable).replace("\\", "\\\\")
