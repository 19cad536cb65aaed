"""Models with blocks switched off or reordered: one compiled graph in place of many models."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ..blocks.blocks import Block
from ..errors import CutwidgetsError
from ..graph.interpreter import Edit, compute
from ..inference.backend import compiled, finite, in_batches
from ..structure.anatomy import Anatomy
from ..surgery.removal import swap_of
from .labels import Subject


class Gated:
    """A model in which blocks can be switched off, each by a gate.

    A gate sits after a block. Open, it passes the block's output; closed, only the shortcut: the
    output is then the same, bit for bit, as without the block by `cutwidgets.remove`. The model
    itself does not change.

    Args:
        case: The model and the data.
        blocks: The blocks that get a gate.

    Example:
        >>> from cutwidgets import lab
        >>> from cutwidgets.lab.labels import subject
        >>> case = subject(lab.residual_network(blocks=(2,)), lab.digits().test[0][:5])
        >>> gated = Gated(case, [case.anatomy["stage1_block1"], case.anatomy["stage1_block2"]])
        >>> gated(closed=["stage1_block2"]).shape
        (5, 10)
    """

    def __init__(self, case: Subject, blocks: Sequence[Block]) -> None:
        graph = case.anatomy.graph
        self._case = case
        self._names = [block.name for block in blocks]
        ends = [_ends(case.anatomy, block) for block in blocks]

        def function(values: Mapping[int, Any], gates: Any) -> Any:
            edits = {out: _gate(gates[i], shortcut) for i, (out, shortcut) in enumerate(ends)}
            return compute(graph, graph.outputs, values, edits)[0]

        self._function = compiled(function)

    def __call__(self, closed: Iterable[str] = ()) -> np.ndarray:
        """Compute the model's output with some gates closed.

        Args:
            closed: Names of the blocks whose gates are closed.

        Raises:
            CutwidgetsError: If a layer does not accept these values, or the result is not finite.
        """
        gates = keras.ops.convert_to_tensor(~np.isin(self._names, list(closed)))
        case = self._case
        output = in_batches(lambda values: self._function(values, gates), case.inputs, case.at_once)
        return finite(case.anatomy.name, output)


def _gate(is_open: Any, shortcut: int) -> Edit:
    return Edit(lambda value, other: keras.ops.where(is_open, value, other), (shortcut,))


def _ends(anatomy: Anatomy, block: Block) -> tuple[int, int]:
    swap = swap_of(anatomy.graph, block)
    if isinstance(swap, str):
        raise CutwidgetsError(f"The block {block.name!r} cannot be taken out: {swap}.")
    return swap


class Reordered:
    """A model in which blocks of equal shape can be put in another order.

    Args:
        case: The model and the data.
        rows: Positions of blocks, in rows within which all can change places: each block reads only
            the output of the one upstream of it, which no other block reads.

    Example:
        >>> from cutwidgets import lab
        >>> from cutwidgets.lab.labels import subject
        >>> case = subject(lab.residual_network(blocks=(3,)), lab.digits().test[0][:5])
        >>> Reordered(case, [[1, 2, 3]])([[3, 1, 2]]).shape
        (5, 10)
    """

    def __init__(self, case: Subject, rows: Sequence[Sequence[int]]) -> None:
        anatomy = case.anatomy
        self._case = case
        self._rows = [[anatomy[i] for i in row] for row in rows]
        self._entries = {i: anatomy[i].entries[0] for row in rows for i in row}
        self._blocks = {i: self._to(anatomy[i].exits[0]) for row in rows for i in row}
        # The graph up to each row, and from the last row to the output.
        ends = [row[0].entries[0] for row in self._rows] + [anatomy.graph.outputs[0]]
        self._connections = [self._to(end) for end in ends]

    def _to(self, end: int) -> Any:
        graph = self._case.anatomy.graph
        return compiled(lambda values: compute(graph, [end], values)[0])

    def __call__(self, orders: Sequence[Sequence[int]]) -> np.ndarray:
        """Compute the model's output with blocks in another order.

        Args:
            orders: For each row the positions of its blocks, in their new order.

        Raises:
            CutwidgetsError: If a layer does not accept these values, or the result is not finite.
        """

        def function(values: Mapping[int, Any]) -> Any:
            tensors = dict(values)
            for connection, row, order in zip(self._connections, self._rows, orders, strict=False):
                value = connection(tensors)
                for i in order:
                    value = self._blocks[i]({self._entries[i]: value})
                tensors[row[-1].exits[0]] = value
            return self._connections[-1](tensors)

        case = self._case
        return finite(case.anatomy.name, in_batches(function, case.inputs, case.at_once))
