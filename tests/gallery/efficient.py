"""Networks for small devices, transcribed from the papers with narrow layers."""

from functools import partial

import keras
from keras import layers, ops

from .entry import Entry
from .parts import classify, conv, conv_bn, depthwise_bn, squeeze_excite

# Kernel, expansion, width, gate, strides (Han et al. 2020, table 1), widths divided by four.
GHOST = [
    [(3, 4, 4, 0, 1)],
    [(3, 12, 6, 0, 2), (3, 18, 6, 0, 1)],
    [(5, 18, 10, 1, 2), (5, 30, 10, 1, 1)],
    [(3, 60, 20, 0, 2), (3, 50, 20, 0, 1), (3, 46, 20, 0, 1), (3, 46, 20, 0, 1)],
    [(3, 120, 28, 1, 1), (3, 168, 28, 1, 1)],
    [(5, 168, 40, 1, 2), (5, 240, 40, 0, 1), (5, 240, 40, 1, 1), (5, 240, 40, 0, 1),
     (5, 240, 40, 1, 1)],
]  # fmt: skip


def ghostnet(version=1):
    x = inputs = keras.Input((64, 64, 3))
    x = conv_bn(x, 4, 3, 2, "stem")
    for stage, rows in enumerate(GHOST, 1):
        for i, (kernel, expansion, width, gated, strides) in enumerate(rows):
            name = f"stage{stage}_bottleneck{i}"
            y = _ghost(x, expansion, "relu", f"{name}_ghost1", version, attention=version == 2)
            if strides > 1:
                y = depthwise_bn(y, kernel, strides, name, activation=None)
            y = squeeze_excite(y, 2, f"{name}_se") if gated else y
            y = _ghost(y, width, None, f"{name}_ghost2", version)
            if strides > 1 or x.shape[-1] != width:
                x = depthwise_bn(x, kernel, strides, f"{name}_shortcut", activation=None)
                x = conv_bn(x, width, 1, 1, f"{name}_shortcut", activation=None)
            x = layers.Add(name=f"{name}_add")([y, x])
    x = conv_bn(x, 240, 1, 1, "head")
    x = layers.GlobalAveragePooling2D(keepdims=True, name="avg_pool")(x)
    x = layers.Conv2D(320, 1, activation="relu", name="conv_head")(x)
    outputs = layers.Dense(10, name="classifier")(layers.Flatten(name="flatten")(x))
    return keras.Model(inputs, outputs, name=f"ghostnet_v{version}")


def _ghost(x, width, activation, name, version, attention=False):
    """Half of the features from a convolution, the others from cheap filters of these."""
    half = -(-width // 2)
    if version == 3:  # Liu et al. 2024: several convolutions at once while it trains
        primary = _added(x, lambda z, n: conv(z, half, 1, 1, n), f"{name}_primary", activation)
        cheap = _added(
            primary,
            lambda z, n: layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=n)(z),
            f"{name}_cheap",
            activation,
        )
    else:
        primary = conv_bn(x, half, 1, 1, f"{name}_primary", activation)
        cheap = depthwise_bn(primary, 3, 1, f"{name}_cheap", activation)
    y = layers.Concatenate(name=f"{name}_concat")([primary, cheap])[..., :width]
    if not attention:
        return y
    # Tang et al. 2022, GhostNetV2, figure 4: attention at half the resolution.
    z = layers.AveragePooling2D(2, padding="same", name=f"{name}_dfc_pool")(x)
    z = conv_bn(z, width, 1, 1, f"{name}_dfc", activation=None)
    z = depthwise_bn(z, (1, 5), 1, f"{name}_dfc_h", activation=None)
    z = depthwise_bn(z, (5, 1), 1, f"{name}_dfc_v", activation=None)
    z = layers.Activation("sigmoid", name=f"{name}_dfc_sigmoid")(z)
    z = layers.UpSampling2D(2, name=f"{name}_dfc_up")(z)[:, : y.shape[1], : y.shape[2]]
    return layers.Multiply(name=f"{name}_dfc_mul")([y, z])


def _added(x, make, name, activation):
    ways = [layers.BatchNormalization(name=f"{name}_bn{i}")(make(x, f"{name}_{i}")) for i in (1, 2)]
    if ways[0].shape == x.shape:
        ways.append(layers.BatchNormalization(name=f"{name}_skip_bn")(x))
    y = layers.Add(name=f"{name}_add")(ways)
    return layers.Activation(activation, name=f"{name}_{activation}")(y) if activation else y


def _shuffle(x, groups, name):
    height, width, channels = x.shape[1:]
    x = layers.Reshape((height, width, groups, channels // groups), name=f"{name}_split")(x)
    x = layers.Permute((1, 2, 4, 3), name=f"{name}_permute")(x)
    return layers.Reshape((height, width, channels), name=f"{name}_shuffle")(x)


def shufflenet_v1(groups=3):
    x = inputs = keras.Input((64, 64, 3))
    x = conv_bn(x, 24, 3, 2, "conv1")
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool1")(x)
    for stage, repeats in ((2, 4), (3, 8), (4, 4)):
        width = 60 << (stage - 2)
        for i in range(repeats):
            name, strided = f"stage{stage}_unit{i}", i == 0
            out = width - x.shape[-1] if strided else width
            parts = 1 if stage == 2 and strided else groups
            y = conv_bn(x, width // 4 // groups * groups, 1, 1, f"{name}_gconv1", groups=parts)
            y = _shuffle(y, groups, name)
            y = depthwise_bn(y, 3, 2 if strided else 1, name, activation=None)
            y = conv_bn(y, out, 1, 1, f"{name}_gconv2", activation=None, groups=groups)
            if strided:
                x = layers.AveragePooling2D(3, 2, padding="same", name=f"{name}_pool")(x)
                x = layers.Concatenate(name=f"{name}_concat")([x, y])
            else:
                x = layers.Add(name=f"{name}_add")([x, y])
            x = layers.ReLU(name=f"{name}_relu")(x)
    return keras.Model(inputs, classify(x), name="shufflenet_v1")


def shufflenet_v2():
    x = inputs = keras.Input((64, 64, 3))
    x = conv_bn(x, 24, 3, 2, "conv1")
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool1")(x)
    for stage, repeats in ((2, 4), (3, 8), (4, 4)):
        half = 16 << (stage - 2)
        for i in range(repeats):
            name, strides = f"stage{stage}_unit{i}", 1 if i else 2
            if strides > 1:
                left = depthwise_bn(x, 3, 2, f"{name}_left", activation=None)
                left, right = conv_bn(left, half, 1, 1, f"{name}_left"), x
            else:
                left, right = ops.split(x, 2, axis=-1)
            right = conv_bn(right, half, 1, 1, f"{name}_right1")
            right = depthwise_bn(right, 3, strides, f"{name}_right", activation=None)
            right = conv_bn(right, half, 1, 1, f"{name}_right2")
            x = _shuffle(layers.Concatenate(name=f"{name}_concat")([left, right]), 2, name)
    x = conv_bn(x, 128, 1, 1, "conv5")
    return keras.Model(inputs, classify(x), name="shufflenet_v2")


_STAGES = (1, 2, 2, 4, 2, 5)
_BLOCKS = {"stem": 1, "residual": 16, "top": 1, "classifier": 1}
_SHORTCUTS = {"identity": 11, "projection": 5}

CATALOGUE = [
    Entry("GhostNet", ghostnet, "Han et al. 2020, GhostNet, table 1, figure 3", _BLOCKS, _STAGES,
          "A bottleneck of two ghost modules is a block; modules concatenate inside of it.",
          shortcuts=_SHORTCUTS),
    Entry("GhostNetV2", partial(ghostnet, 2), "Tang et al. 2022, GhostNetV2, figure 4", _BLOCKS,
          _STAGES, "As GhostNet; attention that pools and enlarges gates the first module.",
          shortcuts=_SHORTCUTS),
    Entry("GhostNetV3", partial(ghostnet, 3), "Liu et al. 2024, GhostNetV3, figure 2", _BLOCKS,
          _STAGES, "As GhostNet; each module's convolutions are sums of several.",
          shortcuts=_SHORTCUTS),
    Entry("ShuffleNet v1", shufflenet_v1, "Zhang et al. 2018, ShuffleNet, figure 2, table 1",
          {"stem": 1, "residual": 13, "inception": 3, "classifier": 1}, (4, 8, 4),
          "A unit is a block with the ReLU that follows its merge; strided ones concatenate.",
          shortcuts={"identity": 13},
          names=("stage2", "stage3", "stage4")),
    Entry("ShuffleNet v2", shufflenet_v2, "Ma et al. 2018, ShuffleNet V2, figure 3c-d, table 5",
          {"stem": 1, "inception": 16, "top": 1, "classifier": 1}, (4, 8, 4),
          "A unit ends in its shuffle: it concatenates, and nothing is added.",
          names=("stage2", "stage3", "stage4")),
]  # fmt: skip
