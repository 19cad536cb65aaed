"""A gate in every block that can be taken out: one compiled graph, in place of many models."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ..blocks.blocks import Block
from ..errors import CutwidgetsError
from ..graph.interpreter import Edit, compute
from ..inference.backend import compiled, finite, in_batches
from ..structure.anatomy import Anatomy
from ..surgery.removal import swap_of


class Gated:
    """A model in which blocks can be switched off, each by a gate.

    Behind a block's residual branch its gate reads what the branch and the shortcut give together,
    or, when it is closed, the shortcut alone: the very number that `cutwidgets.remove` computes.
    The model itself is not changed.

    Args:
        anatomy: The anatomy of the model.
        blocks: The blocks that have a gate.

    Example:
        >>> import cutwidgets as cw
        >>> import numpy as np
        >>> from cutwidgets import lab
        >>> from cutwidgets.inference import forward as running
        >>> anatomy = cw.anatomy(lab.residual_network(blocks=(2,)))
        >>> gated = Gated(anatomy, [anatomy["stage1_block1"], anatomy["stage1_block2"]])
        >>> given = running.random_input(anatomy.graph, seed=0)
        >>> gated(given, closed=["stage1_block2"]).shape
        (2, 10)
    """

    def __init__(self, anatomy: Anatomy, blocks: Sequence[Block]) -> None:
        graph = anatomy.graph
        self._name = anatomy.name
        self._positions = {block.name: i for i, block in enumerate(blocks)}
        ends = [_ends(anatomy, block) for block in blocks]

        def function(values: Mapping[int, Any], gates: Any) -> Any:
            edits = {out: _gate(gates[i], shortcut) for i, (out, shortcut) in enumerate(ends)}
            return compute(graph, graph.outputs, values, edits)[0]

        self._function = compiled(function)

    def __call__(
        self, given: Mapping[int, np.ndarray], closed: Iterable[str] = (), at_once: int = 256
    ) -> np.ndarray:
        """The model's output with some gates closed.

        Args:
            given: Values of the model's inputs, by their indices in the call graph.
            closed: Names of the blocks whose gates are closed.
            at_once: How many examples are computed at once.

        Raises:
            CutwidgetsError: If a layer cannot take these values, or what comes out is no number.
        """
        gates = np.ones(len(self._positions), bool)
        gates[[self._positions[name] for name in closed]] = False
        tensor = keras.ops.convert_to_tensor(gates)
        output = in_batches(lambda values: self._function(values, tensor), given, at_once)
        return finite(self._name, output)


def _gate(is_open: Any, shortcut: int) -> Edit:
    return Edit(lambda value, other: keras.ops.where(is_open, value, other), (shortcut,))


def _ends(anatomy: Anatomy, block: Block) -> tuple[int, int]:
    swap = swap_of(anatomy.graph, block)
    if isinstance(swap, str):
        raise CutwidgetsError(f"The block {block.name!r} cannot be taken out: {swap}.")
    return swap


class Reordered:
    """A model in which blocks of equal shape can stand in another order.

    Args:
        anatomy: The anatomy of the model.
        rows: Positions of blocks, in rows within which all can change places: each takes what the
            one before it gives, and nothing else does.

    Example:
        >>> import cutwidgets as cw
        >>> from cutwidgets import lab
        >>> from cutwidgets.inference import forward as running
        >>> anatomy = cw.anatomy(lab.residual_network(blocks=(3,)))
        >>> reordered = Reordered(anatomy, [[1, 2, 3]])
        >>> reordered(running.random_input(anatomy.graph, seed=0), [[3, 1, 2]]).shape
        (2, 10)
    """

    def __init__(self, anatomy: Anatomy, rows: Sequence[Sequence[int]]) -> None:
        self._name = anatomy.name
        self._rows = [[anatomy[i] for i in row] for row in rows]
        self._entries = {i: anatomy[i].entries[0] for row in rows for i in row}
        self._blocks = {i: self._between(anatomy, anatomy[i].exits) for row in rows for i in row}
        # What leads to each row, and from the last to the output.
        ends = [row[0].entries for row in self._rows] + [anatomy.graph.outputs]
        self._ways = [self._between(anatomy, end) for end in ends]

    @staticmethod
    def _between(anatomy: Anatomy, ends: Sequence[int]) -> Callable[[Mapping[int, Any]], Any]:
        return compiled(lambda values: compute(anatomy.graph, ends[:1], values)[0])

    def __call__(
        self,
        given: Mapping[int, np.ndarray],
        orders: Sequence[Sequence[int]],
        at_once: int = 256,
    ) -> np.ndarray:
        """The model's output with blocks in another order.

        Args:
            given: Values of the model's inputs, by their indices in the call graph.
            orders: For each row the positions of its blocks, in the order wanted.
            at_once: How many examples are computed at once.

        Raises:
            CutwidgetsError: If a layer cannot take these values, or what comes out is no number.
        """

        def function(values: Mapping[int, Any]) -> Any:
            known = dict(values)
            for way, row, order in zip(self._ways, self._rows, orders, strict=False):
                value = way(known)
                for i in order:
                    value = self._blocks[i]({self._entries[i]: value})
                known[row[-1].exits[0]] = value
            return self._ways[-1](known)

        return finite(self._name, in_batches(function, given, at_once))
