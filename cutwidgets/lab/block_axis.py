"""A horizontal axis of blocks, in their order in the networks, that several results share."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import networkx
import numpy as np

# The names of the blocks on each axes of matplotlib, from left to right.
_names: WeakKeyDictionary[Any, list[str]] = WeakKeyDictionary()

_READABLE = 27  # names side by side


def in_order(*orders: Iterable[str]) -> list[str]:
    """Merge several orders of names into one that agrees with each of them, where possible.

    Example:
        >>> in_order(["stem", "b1", "c1"], ["stem", "b1", "b2", "c1", "c2"])
        ['stem', 'b1', 'b2', 'c1', 'c2']
    """
    lists = [list(order) for order in orders]
    names = list(dict.fromkeys(name for order in lists for name in order))
    graph = networkx.DiGraph()
    for name in names:
        graph.add_node(name)
    for order in lists:
        graph.add_edges_from(pairwise(order))
    try:
        return list(networkx.lexicographical_topological_sort(graph, names.index))
    except networkx.NetworkXUnfeasible:  # the orders contradict each other
        return names


def add_blocks(axes: Any, orders: Iterable[Iterable[str]]) -> None:
    """Give axes the blocks of further results, and move what is drawn there already.

    Args:
        axes: Axes of matplotlib.
        orders: The names of the blocks of each result, in their order.
    """
    old = _names.get(axes, [])
    new = in_order(old, *orders)
    if not new:
        return
    _names[axes] = new
    place = [new.index(name) for name in old]
    for line in axes.lines:
        if line.get_gid() == "block":
            values = np.full(len(new), np.nan)
            values[place] = line.get_ydata()
            line.set_data(range(len(new)), values)
    for shade in axes.collections:
        if shade.get_gid() == "block":
            for path in shade.get_paths():
                path.vertices[:, 0] = np.array(place)[path.vertices[:, 0].round().astype(int)]
    step = -(-len(new) // _READABLE)
    axes.set_xticks(range(0, len(new), step), new[::step], rotation=90, fontsize=7)
    axes.set_xlim(-0.02 * len(new) - 0.1, len(new) - 0.9 + 0.02 * len(new))


def along_blocks(
    axes: Any, blocks: Iterable[str], columns: Sequence[np.ndarray]
) -> tuple[range, list[np.ndarray]]:
    """Columns of a table over all blocks of some axes, with NaN for those not in the table.

    Args:
        axes: Axes of matplotlib, to which `add_blocks` has given these blocks.
        blocks: The names of the blocks in the table.
        columns: A number for each of them, each (blocks,).

    Returns:
        The positions of all blocks of the axes, and the columns over them.
    """
    names = _names[axes]
    place = [names.index(name) for name in blocks]
    full = [np.full(len(names), np.nan) for _ in columns]
    for values, column in zip(full, columns, strict=True):
        values[place] = column
    return range(len(names)), full
