"""Which blocks read the outputs of which, as the diagram shows it."""

from collections.abc import Sequence

from .blocks import Block


def sources(blocks: Sequence[Block]) -> list[list[int]]:
    """For each block, and last for the model's output, the blocks that it reads; -1 is the input.

    The first of each is the source of the block's main input.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> x = keras.Input((8, 8, 4))
        >>> y = keras.layers.UpSampling2D()(keras.layers.Conv2D(4, 3, 2, "same")(x))
        >>> y = keras.layers.Conv2D(4, 3)(keras.layers.Concatenate()([x, y]))
        >>> sources(cw.anatomy(keras.Model(x, y)).blocks)
        [[-1], [0, -1], [1]]
    """
    maker = {tensor: i for i, block in enumerate(blocks) for tensor in block.exits}
    makers = [[maker.get(tensor, -1) for tensor in block.entries] for block in blocks]
    read = {tensor for block in blocks for tensor in block.entries}
    last = len(blocks) - 1
    makers.append([last, *(i for tensor, i in maker.items() if tensor not in read)])
    return [list(dict.fromkeys(several)) or [-1] for several in makers]


def inputs(blocks: Sequence[Block]) -> int:
    """The number of tensors that blocks read and no block computes: the inputs of the model."""
    computed = {tensor for block in blocks for tensor in block.exits}
    return len({tensor for block in blocks for tensor in block.entries} - computed)
