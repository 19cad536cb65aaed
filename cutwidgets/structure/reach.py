"""Where a slice can end, for every start that it can have."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..blocks.blocks import Block
from ..graph.callgraph import CallGraph, between
from ..graph.frontier import Frontier, Start, head

Reading: TypeAlias = tuple[int, int]  # a tensor, and a call that reads it


def ends(graph: CallGraph, blocks: Sequence[Block]) -> list[dict[int, tuple[int, ...]]]:
    """For each block as a start, the later blocks that cannot be its end, and why.

    `slicing.section` applies the same rule to one pair; the panel needs all pairs at once.

    Args:
        graph: The call graph.
        blocks: All its blocks, in order.

    Returns:
        For each start a dictionary from the positions of the ends that do not work to the tensors
        that bypass the start on the way there, ascending; no tensors where the end does not depend
        on the start, as in another tower. Ends before the start are left out: none of them works.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> x = keras.Input((8, 8, 4), name="x")
        >>> a = keras.layers.Conv2D(4, 3, 2, "same")(x)
        >>> b = keras.layers.UpSampling2D()(keras.layers.Conv2D(4, 3, 2, "same")(a))
        >>> a = keras.layers.Conv2D(4, 3, 1, "same")(keras.layers.Concatenate()([a, b]))
        >>> a = keras.layers.Concatenate()([x, keras.layers.UpSampling2D()(a)])
        >>> anatomy = cw.anatomy(keras.Model(x, keras.layers.Conv2D(4, 3)(a)))
        >>> ends(anatomy.graph, anatomy.blocks)
        [{}, {3: (0,)}, {3: (0,)}, {}]
        >>> anatomy.graph.maker(0).name
        'x'
    """
    refused: list[dict[int, tuple[int, ...]]] = []
    frontier = Frontier(graph)
    for i, block in enumerate(blocks):
        refused.append({})
        enters_alone = frontier.live == set(block.entries)
        frontier.advance(block.calls)
        if enters_alone and frontier.live == set(block.exits):
            continue  # all that follows is computed from this block alone
        start = Start(graph, block.entries, block.calls)
        for j, end in enumerate(blocks[i:], i):
            if not start.leads_to(end.exits):
                refused[i][j] = ()
            elif bypassing := start.bypassed_by(end.exits):
                refused[i][j] = bypassing
    return refused


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a slice cannot end at a place.

    Attributes:
        kind: `"before"` if the end is computed before the start, `"apart"` if it does not depend on
            the start otherwise, `"bypassed"` if it also needs tensors that bypass the start.
        tensors: Indices of the tensors that bypass the start, ascending.
        readings: What reads them on the way to the end.
    """

    kind: Literal["before", "apart", "bypassed"]
    tensors: tuple[int, ...] = ()
    readings: tuple[Reading, ...] = ()


class Reach:
    """The ends that a slice can have from one start, which need not be a block.

    Args:
        graph: The call graph.
        entries: Indices of the tensors that a slice from here accepts.
        calls: Indices of the calls of the start; none if it is a tensor.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> from cutwidgets.structure.places import resolve
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> start = resolve(anatomy, "conv3_block2_2_conv")
        >>> reach = Reach(anatomy.graph, start.entries, start.calls)
        >>> reach.refusal(resolve(anatomy, "conv3_block2_3_conv").exits) is None
        True
        >>> refusal = reach.refusal(resolve(anatomy, "conv3_block2").exits)
        >>> calls = anatomy.graph.calls
        >>> refusal.kind, [calls[reader].name for _, reader in refusal.readings]
        ('bypassed', ['conv3_block2_add'])
    """

    def __init__(self, graph: CallGraph, entries: Sequence[int], calls: Collection[int]) -> None:
        self._graph = graph
        self._entries = frozenset(entries)
        self._before = head(graph, entries)
        self._start = Start(graph, entries, calls)

    def refusal(self, exits: Sequence[int]) -> Refusal | None:
        """Why a slice cannot return these tensors; `None` if it can. `cut` applies the same rule.

        Where `cut` may make inputs of what bypasses the start, only the kind `"bypassed"` goes.
        """
        tensors = self._start.bypassed_by(exits)
        calls, _ = between(self._graph, exits, self._entries.union(tensors))
        if not calls or not self._start.leads_to(exits):
            makers = {self._graph.tensors[tensor].maker for tensor in exits}
            return Refusal("before" if makers <= self._before else "apart")
        if not tensors:
            return None
        return Refusal("bypassed", tensors, readings(self._graph, calls, tensors))


def readings(
    graph: CallGraph, calls: Sequence[int], tensors: Collection[int]
) -> tuple[Reading, ...]:
    """Which of some calls read which of some tensors."""
    return tuple(
        (tensor, index)
        for index in calls
        for tensor in dict.fromkeys(graph.calls[index].inputs)
        if tensor in tensors
    )
