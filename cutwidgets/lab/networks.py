"""Residual networks that train on the digits within minutes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from ..errors import CutwidgetsError

# In a short training the moving averages must follow quickly: Keras's default momentum, 0.99, needs
# some hundred steps.
_MOMENTUM = 0.9


def residual_network(
    blocks: Sequence[int] = (6, 6, 6),
    *,
    width: int = 16,
    size: int = 8,
    shortcuts: bool = True,
    preactivation: bool = False,
    normalisation: bool = True,
    survival: float = 1.0,
    seed: int = 0,
) -> keras.Model:
    """Build an untrained residual network for the digits, as in He et al. 2015, section 4.2.

    Blocks have two 3×3 convolutions. Each stage halves the resolution of the previous one and
    doubles its width, with a 1×1 convolution as the shortcut of its first block. Weights have the
    variance of He et al. 2015, "Delving deep into rectifiers".

    Args:
        blocks: Number of blocks in each stage.
        width: Channels of the first stage.
        size: Pixels a side of the input, which has one channel.
        shortcuts: Whether blocks have shortcuts; without, the network is plain.
        preactivation: Whether normalisation and activation precede the convolutions, and nothing
            follows the addition (He et al. 2016, "Identity mappings").
        normalisation: Whether there is batch normalisation.
        survival: Probability that a training step keeps the last block's residual branch; it falls
            linearly to this from near 1 in the first block (Huang et al. 2016, "Deep networks with
            stochastic depth"). Each example draws anew.
        seed: Seed of the weights.

    Raises:
        CutwidgetsError: If an argument is out of range.

    Example:
        >>> import cutwidgets as cw
        >>> from cutwidgets import lab
        >>> network = lab.residual_network(blocks=(2, 2))
        >>> [(block.name, block.shortcut) for block in cw.anatomy(network)][2:4]
        [('stage1_block2', 'identity'), ('stage2_block1', 'projection')]
    """
    if not blocks or any(number < 1 for number in blocks):
        raise CutwidgetsError(f"A stage needs at least one block. Received: blocks={blocks!r}.")
    if not 0 < survival <= 1 or (survival < 1 and not shortcuts):
        raise CutwidgetsError(
            "survival must be a probability above 0, up to 1; below 1 it needs shortcuts. "
            f"Received: survival={survival!r}, shortcuts={shortcuts!r}."
        )
    seeds = iter(range(seed * 100_000, (seed + 1) * 100_000))
    maker = _Maker(normalisation, preactivation, shortcuts, seeds)
    inputs = keras.Input((size, size, 1), name="digit")
    x = maker.convolution(inputs, width, 3, 1, "stem")
    x = x if preactivation else maker.activated(x, "stem")
    total, count = sum(blocks), 0
    for stage, number in enumerate(blocks):
        for i in range(number):
            count += 1
            kept = 1 - count / total * (1 - survival)
            stride = 2 if stage and not i else 1
            x = maker.block(x, width * 2**stage, stride, kept, f"stage{stage + 1}_block{i + 1}")
    x = maker.activated(x, "top") if preactivation else x
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    initializer = keras.initializers.GlorotUniform(next(seeds))
    x = layers.Dense(10, "softmax", kernel_initializer=initializer, name="classes")(x)
    return keras.Model(inputs, x, name=f"{'residual' if shortcuts else 'plain'}_{total}")


@dataclass(frozen=True)
class _Maker:
    """Adds layers to a network."""

    normalisation: bool
    preactivation: bool
    shortcuts: bool
    seeds: Iterator[int]

    def convolution(self, x: Any, width: int, size: int, stride: int, name: str) -> Any:
        return layers.Conv2D(
            width,
            size,
            strides=stride,
            padding="same",
            use_bias=not self.normalisation,
            kernel_initializer=keras.initializers.HeNormal(next(self.seeds)),
            name=f"{name}_conv",
        )(x)

    def normalised(self, x: Any, name: str) -> Any:
        if not self.normalisation:
            return x
        return layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_bn")(x)

    def activated(self, x: Any, name: str) -> Any:
        return layers.ReLU(name=f"{name}_relu")(self.normalised(x, name))

    def block(self, x: Any, width: int, stride: int, kept: float, name: str) -> Any:
        shortcut = x
        if self.preactivation:
            x = self.activated(x, f"{name}_1")
            x = self.convolution(x, width, 3, stride, f"{name}_1")
            x = self.activated(x, f"{name}_2")
            x = self.convolution(x, width, 3, 1, f"{name}_2")
        else:
            x = self.activated(self.convolution(x, width, 3, stride, f"{name}_1"), f"{name}_1")
            x = self.normalised(self.convolution(x, width, 3, 1, f"{name}_2"), f"{name}_2")
        if kept < 1:
            # One draw for the whole branch of an example: dropped, or scaled to compensate.
            drop = layers.Dropout(
                1 - kept, noise_shape=(None, 1, 1, 1), seed=next(self.seeds), name=f"{name}_drop"
            )
            x = drop(x)
        if self.shortcuts:
            if stride > 1 or shortcut.shape[-1] != width:
                shortcut = self.convolution(shortcut, width, 1, stride, f"{name}_0")
                if not self.preactivation:
                    shortcut = self.normalised(shortcut, f"{name}_0")
            x = layers.Add(name=f"{name}_add")([shortcut, x])
        return x if self.preactivation else layers.ReLU(name=f"{name}_out")(x)
