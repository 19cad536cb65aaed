"""The diagram of a block's layers: its calls as DOT, in the style of the block diagram.

From top to bottom, each call is a card; entering tensors stand above, leaving tensors below. The
longest path is a straight spine, and each parallel path a straight line beside it.

Every part of the SVG has an id, where i is the index of a call and k counts the tensors that enter
or leave: `call-i`, `entry-k`, `exit-k`. An edge's id joins the ids of its ends, without `call-`:
`edge-3-4`, `edge-entry-0-3`. Classes say what a part is: `call convolution`, `entry`, `exit`,
`spine`, and `shortcut` for an edge that skips calls on another path to its end. `diagram.css`
styles them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from unicodedata import east_asian_width

import keras

from ..blocks.lines import resolutions
from ..graph.callgraph import Call, CallGraph, entering
from ..text import shape_text
from .dot import (
    COLOURS,
    GAP,
    GREY,
    MAX_NAME,
    SHORTCUT,
    STRAIGHT,
    add_edge,
    add_node,
    empty,
    escaped,
    muted,
    table,
)

if TYPE_CHECKING:
    import graphviz

_SIGNS = {"addition": "+", "multiplication": "×"}

# Entries and exits are not cards: they belong to other blocks.
_OUTSIDE = {"shape": "plaintext", "style": ""}


def source(graph: CallGraph, calls: Sequence[int]) -> str:
    """Write the diagram of some calls in DOT, the language of Graphviz.

    Args:
        graph: The call graph.
        calls: Indices of the calls, ascending, such as those of a block.

    Returns:
        The DOT source of a directed graph.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> from cutwidgets.drawing import layer_diagram as layerdiagram
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> block = anatomy["conv3_block2"]
        >>> dot = layerdiagram.source(anatomy.graph, block.calls)
        >>> first, *_, add, last = block.calls
        >>> f'"edge-entry-0-{first}"' in dot, f'"edge-{add}-{last}"' in dot
        (True, True)
    """
    drawn = empty()
    entries, exits = entering(graph, calls), _leaving(graph, calls)
    edges = _edges(graph, calls, entries, exits)
    lines = _lines([*(f"entry-{k}" for k in range(len(entries))), *map(_id, calls)], edges)
    shapes = _shapes(graph)
    for k, tensor in enumerate(entries):
        label = _outside("from", [graph.maker(tensor).name], shapes[tensor])
        add_node(drawn, f"entry-{k}", "entry", label, group=lines[f"entry-{k}"], **_OUTSIDE)
    _add_cards(drawn, [graph.calls[index] for index in calls], shapes, lines)
    for k, tensor in enumerate(exits):
        label = _outside("to", _readers(graph, calls, tensor))
        # Below the call that computes it.
        lines[f"exit-{k}"] = lines[_id(graph.tensors[tensor].maker)]
        add_node(drawn, f"exit-{k}", "exit", label, group=lines[f"exit-{k}"], **_OUTSIDE)
    _add_edges(drawn, edges, lines)
    text: str = drawn.source
    return text


def _shapes(graph: CallGraph) -> list[str]:
    """For each tensor, its shape as text."""
    scales = resolutions(graph)
    return [shape_text(tensor.shape, scales[tensor.index]) for tensor in graph.tensors]


def _add_cards(
    drawn: "graphviz.Digraph",
    calls: Sequence[Call],
    shapes: Sequence[str],
    lines: Mapping[str, str],
) -> None:
    """Add a card for each call, all equally wide."""
    outputs = {
        call.index: ", ".join(shapes[tensor] for tensor in call.outputs[:1]) for call in calls
    }
    widths = [
        max(_width([call.name], 6.5), _width([*_about(call), outputs[call.index], "+ "], 5.5))
        for call in calls
    ]
    for call in calls:
        card = _card(call, round(max(widths)), outputs[call.index])
        node = _id(call.index)
        add_node(drawn, node, f"call {call.role}", card, group=lines[node])


def _id(index: int) -> str:
    return f"call-{index}"


def _leaving(graph: CallGraph, calls: Sequence[int]) -> list[int]:
    """The tensors of some calls that other calls read or the model returns."""
    inside = set(calls)
    tensors = (tensor for index in calls for tensor in graph.calls[index].outputs)
    return [
        tensor
        for tensor in tensors
        if tensor in graph.outputs or not inside.issuperset(graph.tensors[tensor].users)
    ]


def _readers(graph: CallGraph, calls: Sequence[int], tensor: int) -> list[str]:
    """Names of the calls that read a tensor, without some calls."""
    users = [graph.calls[user].name for user in graph.tensors[tensor].users if user not in calls]
    return users + ["the output"] * (tensor in graph.outputs)


def _edges(
    graph: CallGraph, calls: Sequence[int], entries: Sequence[int], exits: Sequence[int]
) -> list[tuple[str, str]]:
    """Pairs of node ids, from a tensor's maker to its reader; each once, in call order."""
    makers = {tensor: f"entry-{k}" for k, tensor in enumerate(entries)}
    edges = []
    for index in calls:
        call = graph.calls[index]
        edges += [(makers[tensor], _id(index)) for tensor in call.inputs]
        makers |= dict.fromkeys(call.outputs, _id(index))
    edges += [(makers[tensor], f"exit-{k}") for k, tensor in enumerate(exits)]
    return list(dict.fromkeys(edges))


def _lines(nodes: Sequence[str], edges: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Assign each node to a straight line: the longest path first, then the longest of the rest."""
    before = defaultdict(list)
    for start, end in edges:
        before[end].append(start)
    lines: dict[str, str] = {}
    while len(lines) < len(nodes):
        name = f"line-{len(set(lines.values()))}"
        paths: dict[str, list[str]] = {}
        for node in nodes:
            if node not in lines:
                ends = [paths[start] for start in before[node] if start in paths]
                paths[node] = [*(max(ends, key=len) if ends else ()), node]
        longest = max(paths.values(), key=len)
        lines |= dict.fromkeys(longest, name)
    return lines


def _past(edges: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """The edges whose end can also be reached from their start through other nodes."""
    ahead: dict[str, set[str]] = defaultdict(set)
    following = defaultdict(list)
    for start, end in edges:
        following[start].append(end)
    # Edges are ordered by their ends; backwards, all that follows an end is known.
    for start, end in reversed(edges):
        ahead[start] |= {end} | ahead[end]
    return {
        (start, end)
        for start, end in edges
        if any(end in ahead[other] for other in following[start])
    }


def _add_edges(
    drawn: "graphviz.Digraph", edges: Sequence[tuple[str, str]], lines: Mapping[str, str]
) -> None:
    """Add the edges: grey from one call to the next, orange where they skip calls."""
    past = _past(edges)
    for start, end in edges:
        name = f"edge-{start}-{end}".replace("call-", "")
        if (start, end) in past:
            add_edge(drawn, start, end, name, "shortcut", **SHORTCUT, weight="0")
        else:
            look = STRAIGHT if lines[start] == lines[end] else {}
            add_edge(drawn, start, end, name, "spine", **look)


def _card(call: Call, width: int, shape: str) -> str:
    """The label of a call: its name, what it does, and its output shape."""
    colour = COLOURS["residual"] if call.weighted else GREY
    sign = f"<B>{_SIGNS[call.role]}</B>{GAP}" if call.role in _SIGNS else ""
    kind, *more = map(escaped, _about(call))
    name = escaped(call.name)
    about = muted(f"{kind} {', '.join(more)}".rstrip())
    return table(
        f'<TR><TD ROWSPAN="2" WIDTH="3" BGCOLOR="{colour}"></TD>'
        f'<TD COLSPAN="2" ALIGN="LEFT" WIDTH="{width}"><B>{GAP}{name}</B></TD></TR>'
        f'<TR><TD ALIGN="LEFT">{GAP}{sign}{about}{GAP}{GAP}</TD>'
        f'<TD ALIGN="RIGHT">{GAP}{muted(shape)}</TD></TR>'
    )


def _about(call: Call) -> list[str]:
    """What a call does: the class of its layer, and its size, units, strides or activation.

    In a user's own layer, these attributes may hold anything.
    """
    layer = call.layer
    words = [call.kind]
    for name in ("kernel_size", "pool_size"):
        words += ["×".join(map(str, size)) for size in [_lengths(layer, name)] if size]
    for name, unit in (("filters", ""), ("units", ""), ("num_heads", " heads")):
        words += [f"{count}{unit}" for count in _lengths(layer, name)[:1]]
    times = "×" if call.stride < 1 else "/"
    words += [f"{times}{stride}" for stride in _lengths(layer, "strides")[:1] if stride != 1]
    function = getattr(getattr(layer, "activation", None), "__name__", "linear")
    return words if function == "linear" else [*words, str(function)]


def _lengths(layer: keras.Operation, name: str) -> tuple[int, ...]:
    """An attribute that is an integer or a sequence of integers; otherwise nothing."""
    value = getattr(layer, name, None)
    numbers = tuple(value) if isinstance(value, tuple | list) else (value,)
    return numbers if all(type(number) is int for number in numbers) else ()


def _outside(preposition: str, names: Sequence[str], shape: str = "") -> str:
    """Where a tensor comes from or goes to, outside the block."""
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    text = f"{preposition}{GAP}{escaped(names[0])}{others}"
    return f"<{muted(text + 2 * GAP + shape if shape else text)}>"


def _width(texts: Iterable[str], each: float) -> float:
    """The width of texts side by side in points, estimated from their letters."""
    letters = "".join(text[:MAX_NAME] + " " for text in texts)
    return each * sum(2 if east_asian_width(letter) in "WF" else 1 for letter in letters)
