"""Which blocks a slice can end with, for every block that it can start with."""

from collections.abc import Sequence

from ..blocks.blocks import Block
from ..graph.callgraph import CallGraph
from ..graph.frontier import Frontier, Start


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
