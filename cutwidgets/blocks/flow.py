"""Which blocks read what others make, as the diagram shows it: pure graph work, no Keras."""

from collections.abc import Sequence

from .blocks import Block


def sources(blocks: Sequence[Block]) -> list[list[int]]:
    """For each block, and last for the output, the blocks that make what enters; -1: the input.

    The first of each is where its main way comes from.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> x = keras.Input((8, 8, 4))
        >>> y = keras.layers.UpSampling2D()(keras.layers.Conv2D(4, 3, 2, "same")(x))
        >>> sources(cw.anatomy(keras.Model(x, keras.layers.Concatenate()([x, y]))).blocks)
        [[-1], [0, -1], [1]]
    """
    maker = {tensor: i for i, block in enumerate(blocks) for tensor in block.exits}
    found = [[maker.get(tensor, -1) for tensor in block.entries] for block in blocks]
    read = {tensor for block in blocks for tensor in block.entries}
    last = len(blocks) - 1
    found.append([last, *(i for tensor, i in maker.items() if tensor not in read)])
    return [list(dict.fromkeys(makers)) or [-1] for makers in found]


def inputs(blocks: Sequence[Block]) -> int:
    """How many tensors enter that no block makes: the inputs of the model."""
    made = {tensor for block in blocks for tensor in block.exits}
    return len({tensor for block in blocks for tensor in block.entries} - made)


def columns(blocks: Sequence[Block]) -> list[int]:
    """For each block a number of the straight line that it stands in: a tower has its own."""
    found = [0]
    for i, (first, *_) in enumerate(sources(blocks)[1:-1], 1):
        found.append(found[first] if first >= 0 else i)
    return found
