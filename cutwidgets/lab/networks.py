"""Residual networks that train on the digits within a minute."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from ..errors import CutwidgetsError

# Short trainings need statistics of a normalisation that follow soon: Keras's own momentum, 0.99,
# takes some hundred steps.
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
    """A residual network for the digits, as those for CIFAR-10 in He et al. 2015, section 4.2.

    Blocks of two 3×3 convolutions; each stage halves the resolution of the one before and doubles
    its width, where its first block has a 1×1 convolution as shortcut. Weights have the variance of
    He et al. 2015, "Delving deep into rectifiers". An ordinary Keras model, not trained yet.

    Args:
        blocks: Number of blocks in each stage.
        width: Channels of the first stage.
        size: Pixels a side of the input, which has one channel.
        shortcuts: Without them it is the same network, plain.
        preactivation: Whether normalisation and activation stand before the convolutions, and
            nothing behind the addition (He et al. 2016, "Identity mappings").
        normalisation: Whether there is batch normalisation.
        survival: Probability of the last block's residual branch in a training step; that of the
            first is near 1, with equal steps between (Huang et al. 2016, "Deep networks with
            stochastic depth"). Each example draws anew.
        seed: Seed of the weights.

    Raises:
        CutwidgetsError: If there can be no such network.

    Example:
        >>> import cutwidgets as cw
        >>> from cutwidgets import lab
        >>> network = lab.residual_network(blocks=(2, 2))
        >>> [(block.name, block.shortcut) for block in cw.anatomy(network)][2:4]
        [('stage1_block2', 'identity'), ('stage2_block1', 'projection')]
    """
    if not blocks or any(number < 1 for number in blocks):
        raise CutwidgetsError(f"A stage has one block at least. Received: blocks={blocks!r}.")
    if not 0 < survival <= 1 or (survival < 1 and not shortcuts):
        raise CutwidgetsError(
            "A branch survives with a probability above 0, up to 1, and it takes a shortcut to do "
            f"without it. Received: survival={survival!r}, shortcuts={shortcuts!r}."
        )
    maker = _Maker(normalisation, preactivation, seed)
    inputs = keras.Input((size, size, 1), name="digit")
    x = maker.convolution(inputs, width, 3, 1, "stem")
    x = x if preactivation else maker.activated(x, "stem")
    total, count = sum(blocks), 0
    for stage, number in enumerate(blocks):
        for i in range(number):
            count += 1
            kept = 1 - count / total * (1 - survival)
            name = f"stage{stage + 1}_block{i + 1}"
            stride = 2 if stage and not i else 1
            x = maker.block(x, width * 2**stage, stride, name, shortcuts, kept)
    x = maker.activated(x, "top") if preactivation else x
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = maker.classes(x)
    kind = "residual" if shortcuts else "plain"
    return keras.Model(inputs, x, name=f"{kind}_{total}")


class _Maker:
    """Makes the layers of a network."""

    def __init__(self, normalisation: bool, preactivation: bool, seed: int) -> None:
        self._normalisation = normalisation
        self._preactivation = preactivation
        self._seeds = iter(range(seed * 100_000, (seed + 1) * 100_000))

    def convolution(self, x: Any, width: int, size: int, stride: int, name: str) -> Any:
        return layers.Conv2D(
            width,
            size,
            strides=stride,
            padding="same",
            use_bias=not self._normalisation,
            kernel_initializer=keras.initializers.HeNormal(next(self._seeds)),
            name=f"{name}_conv",
        )(x)

    def classes(self, x: Any) -> Any:
        start = keras.initializers.GlorotUniform(next(self._seeds))
        return layers.Dense(10, activation="softmax", kernel_initializer=start, name="classes")(x)

    def normalised(self, x: Any, name: str) -> Any:
        if not self._normalisation:
            return x
        return layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_bn")(x)

    def activated(self, x: Any, name: str) -> Any:
        return layers.ReLU(name=f"{name}_relu")(self.normalised(x, name))

    def block(self, x: Any, width: int, stride: int, name: str, shortcut: bool, kept: float) -> Any:
        before = x
        if self._preactivation:
            x = self.activated(x, f"{name}_1")
            x = self.convolution(x, width, 3, stride, f"{name}_1")
            x = self.activated(x, f"{name}_2")
            x = self.convolution(x, width, 3, 1, f"{name}_2")
        else:
            x = self.activated(self.convolution(x, width, 3, stride, f"{name}_1"), f"{name}_1")
            x = self.normalised(self.convolution(x, width, 3, 1, f"{name}_2"), f"{name}_2")
        if kept < 1:
            # One number for all of an example's branch: dropped as a whole, or scaled to make up.
            x = layers.Dropout(1 - kept, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(x)
        if shortcut:
            if stride > 1 or before.shape[-1] != width:
                before = self.convolution(before, width, 1, stride, f"{name}_0")
                before = before if self._preactivation else self.normalised(before, f"{name}_0")
            x = layers.Add(name=f"{name}_add")([before, x])
        return x if self._preactivation else layers.ReLU(name=f"{name}_out")(x)
