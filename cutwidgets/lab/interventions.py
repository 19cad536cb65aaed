"""Models with blocks switched off or reordered: one compiled graph in place of many models."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ..blocks.blocks import Block
from ..errors import CutwidgetsError
from ..graph.interpreter import Edit, compute
from ..inference.backend import compiled
from ..structure.anatomy import Anatomy
from ..surgery.removal import swap_of
from .subjects import Subject


def gated(case: Subject, blocks: Sequence[Block]) -> Callable[[Sequence[str]], np.ndarray]:
    """Compile a model in which blocks can be switched off, each by a gate after it.

    An open gate passes the block's output, a closed one only the shortcut: the output is then the
    same, bit for bit, as without the block by `cutwidgets.remove`. The model itself does not
    change.

    Args:
        case: The model and the data.
        blocks: The blocks that get a gate.

    Returns:
        A function from the names of the blocks that are switched off to the model's output.

    Raises:
        CutwidgetsError: If a block cannot be removed. The function raises it if a layer does not
            accept the data, or the output is not finite.

    Example:
        >>> from cutwidgets import lab
        >>> from cutwidgets.lab.subjects import subject
        >>> case = subject(lab.residual_network(blocks=(2,)), lab.digits().test[0][:5])
        >>> gated(case, [case.anatomy["stage1_block2"]])(["stage1_block2"]).shape
        (5, 10)
    """
    graph, names = case.anatomy.graph, [block.name for block in blocks]
    ends = [_ends(case.anatomy, block) for block in blocks]

    def function(values: Mapping[int, Any], gates: Any) -> Any:
        edits = {out: _gate(gates[i], shortcut) for i, (out, shortcut) in enumerate(ends)}
        return compute(graph, graph.outputs, values, edits)[0]

    traced = compiled(function)

    def output(closed: Sequence[str]) -> np.ndarray:
        gates = keras.ops.convert_to_tensor(np.array([name not in closed for name in names]))
        return case.computed(lambda values: traced(values, gates))

    return output


def _gate(is_open: Any, shortcut: int) -> Edit:
    return Edit(lambda value, other: keras.ops.where(is_open, value, other), (shortcut,))


def _ends(anatomy: Anatomy, block: Block) -> tuple[int, int]:
    swap = swap_of(anatomy.graph, block)
    if isinstance(swap, str):
        raise CutwidgetsError(f"The block {block.name!r} cannot be removed: {swap}.")
    return swap


def reorderable(
    case: Subject, rows: Sequence[Sequence[int]]
) -> Callable[[Sequence[Sequence[int]]], np.ndarray]:
    """Compile a model in which blocks of equal shape can be put in another order.

    Args:
        case: The model and the data.
        rows: Positions of blocks, in rows within which all can change places: each block reads only
            the output of the one upstream of it, which no other block reads.

    Returns:
        A function from the new order of the positions in each row to the model's output. It raises
        a `CutwidgetsError` if a layer does not accept the data, or the output is not finite.

    Example:
        >>> from cutwidgets import lab
        >>> from cutwidgets.lab.subjects import subject
        >>> case = subject(lab.residual_network(blocks=(3,)), lab.digits().test[0][:5])
        >>> reorderable(case, [[1, 2, 3]])([[3, 1, 2]]).shape
        (5, 10)
    """
    anatomy, graph = case.anatomy, case.anatomy.graph

    def up_to(end: int) -> Callable[[Mapping[int, Any]], Any]:
        return compiled(lambda values: compute(graph, [end], values)[0])

    entries = {i: anatomy[i].entries[0] for row in rows for i in row}
    blocks = {i: up_to(anatomy[i].exits[0]) for row in rows for i in row}
    connections = [up_to(entries[row[0]]) for row in rows]  # the graph upstream of each row
    rest = up_to(graph.outputs[0])

    def output(orders: Sequence[Sequence[int]]) -> np.ndarray:
        def function(values: Mapping[int, Any]) -> Any:
            tensors = dict(values)
            for connection, row, order in zip(connections, rows, orders, strict=True):
                value = connection(tensors)
                for i in order:
                    value = blocks[i]({entries[i]: value})
                tensors[anatomy[row[-1]].exits[0]] = value
            return rest(tensors)

        return case.computed(function)

    return output
