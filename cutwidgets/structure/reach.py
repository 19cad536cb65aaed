"""Which blocks a slice can end with, for every block that it can start with: pure graph work.

The same answers as asking `slicing.section` for every pair, in one pass over the calls for each
start instead of one search for each pair: a page asks for all of them before anybody clicks. Sets
of calls and of tensors are the bits of integers, as a union is then one machine operation or few.
"""

from collections.abc import Sequence

from ..blocks.blocks import Block
from ..graph.callgraph import CallGraph


def ends(graph: CallGraph, blocks: Sequence[Block]) -> list[dict[int, tuple[int, ...]]]:
    """For each block as a start, the blocks from there on that are no end for it, and why not.

    Args:
        graph: The call graph.
        blocks: All its blocks, in order.

    Returns:
        For each position of a start the positions of the ends that do not work. For each of them
        the indices of the tensors that bypass the start, ascending; none where nothing that leaves
        the end is computed from the start, as in another tower. What is not in the dictionary
        works. Ends before the start are left out: none of them works, and they are half of all.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> x = keras.Input((8, 8, 4), name="x")
        >>> a = keras.layers.Conv2D(4, 3, 2, "same")(x)
        >>> b = keras.layers.UpSampling2D()(keras.layers.Conv2D(4, 3, 2, "same")(a))
        >>> a = keras.layers.UpSampling2D()(keras.layers.Concatenate()([a, b]))
        >>> found = cw.anatomy(keras.Model(x, keras.layers.Concatenate()([x, a])))
        >>> ends(found.graph, found.blocks)
        [{}, {3: (0,)}, {3: (0,)}, {}]
        >>> found.graph.maker(0).name
        'x'
    """
    heads = _heads(graph)
    return [_refused(graph, blocks, i, heads) for i in range(len(blocks))]


def _heads(graph: CallGraph) -> list[int]:
    """For each call, as bits, the calls that it takes to compute what it makes, itself included."""
    heads: list[int] = []
    for call in graph.calls:
        head = 1 << call.index
        for tensor in call.inputs:
            head |= heads[graph.tensors[tensor].maker]
        heads.append(head)
    return heads


def _refused(
    graph: CallGraph, blocks: Sequence[Block], i: int, heads: Sequence[int]
) -> dict[int, tuple[int, ...]]:
    """The ends that do not work for one start."""
    needs = _needs(graph, blocks[i], heads)
    refused: dict[int, tuple[int, ...]] = {}
    for j in range(i, len(blocks)):
        need = 0
        for tensor in blocks[j].exits:
            need |= needs[tensor]
        if not need & 1:
            refused[j] = ()
        elif need > 1:
            refused[j] = _bits(need >> 1)
    return refused


def _needs(graph: CallGraph, start: Block, heads: Sequence[int]) -> list[int]:
    """For each tensor, as bits, what it takes to compute it from a start.

    Bit 0 stands for the calls of the start, bit 1 + t for tensor t, which bypasses the start.
    """
    head = 0
    for tensor in start.entries:
        head |= heads[graph.tensors[tensor].maker]
    entries, own = frozenset(start.entries), frozenset(start.calls)
    needs = [0] * len(graph.tensors)
    for call in graph.calls:
        index = call.index
        if head >> index & 1:
            # The head makes it. A slice has none of the head, so it would have to be given.
            for tensor in call.outputs:
                if tensor not in entries:
                    needs[tensor] = 2 << tensor
        else:
            # Inputs of the model come here too: a slice takes those, so they need nothing.
            need = int(index in own)
            for tensor in call.inputs:
                need |= needs[tensor]
            for tensor in call.outputs:
                needs[tensor] = need
    return needs


def _bits(number: int) -> tuple[int, ...]:
    """The positions of the bits that are set, ascending.

    Example:
        >>> _bits(0b1011)
        (0, 1, 3)
    """
    return tuple(i for i in range(number.bit_length()) if number >> i & 1)
