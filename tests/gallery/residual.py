"""Residual networks and their relatives, transcribed from the papers with narrow layers."""

from functools import partial

import keras
from keras import layers, ops

from .entry import Entry
from .parts import classify, conv, conv_bn, squeeze_excite

DEPTHS = (3, 4, 6, 3)


def resnet_d(size=64):
    """Three convolutions as a stem; the shortcut of a strided block pools before it projects."""
    x = inputs = keras.Input((size, size, 3))
    for i, (width, strides) in enumerate([(4, 2), (4, 1), (8, 1)], 1):
        x = conv_bn(x, width, 3, strides, f"stem{i}")
    x = layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
    for stage, depth in enumerate(DEPTHS, 1):
        width = 4 << stage
        for i in range(depth):
            name = f"layer{stage}.{i}"
            strides = 2 if stage > 1 and not i else 1
            y = conv_bn(x, width // 2, 1, 1, f"{name}.1")
            y = conv_bn(y, width // 2, 3, strides, f"{name}.2")
            y = conv_bn(y, width, 1, 1, f"{name}.3", activation=None)
            if not i:
                if strides > 1:
                    x = layers.AveragePooling2D(2, name=f"{name}.downsample_pool")(x)
                x = conv_bn(x, width, 1, 1, f"{name}.downsample", activation=None)
            x = layers.ReLU(name=f"{name}.relu")(layers.Add(name=f"{name}.add")([y, x]))
    return keras.Model(inputs, classify(x), name="resnet_d")


def split_attention(x, width, name, radix=2):
    """Two splits, weighted by a softmax over them (ResNeSt, figure 2)."""
    x = conv(x, width * radix, 3, name=f"{name}_conv", groups=radix)
    x = layers.ReLU(name=f"{name}_relu0")(layers.BatchNormalization(name=f"{name}_bn0")(x))
    splits = ops.split(x, radix, axis=-1)
    y = layers.Add(name=f"{name}_sum")(splits)
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_gap")(y)
    y = layers.Conv2D(max(width // 2, 4), 1, activation="relu", name=f"{name}_fc1")(y)
    y = layers.Conv2D(width * radix, 1, name=f"{name}_fc2")(y)
    y = layers.Reshape((1, radix, width), name=f"{name}_reshape")(y)
    y = layers.Softmax(axis=2, name=f"{name}_rsoftmax")(y)
    weighted = [
        layers.Multiply(name=f"{name}_mul{i}")([split, y[:, :, i : i + 1, :]])
        for i, split in enumerate(splits)
    ]
    return layers.Add(name=f"{name}_out")(weighted)


def resnest():
    x = inputs = keras.Input((64, 64, 3))
    for i, (width, strides) in enumerate([(4, 2), (4, 1), (8, 1)], 1):
        x = conv_bn(x, width, 3, strides, f"stem{i}")
    x = layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
    for stage, depth in enumerate(DEPTHS, 1):
        width = 4 << stage
        for i in range(depth):
            name = f"stack{stage}_block{i + 1}"
            strided = stage > 1 and not i
            y = conv_bn(x, width // 2, 1, 1, f"{name}_1")
            y = split_attention(y, width // 2, f"{name}_splat")
            if strided:
                y = layers.AveragePooling2D(3, 2, padding="same", name=f"{name}_avd")(y)
            y = conv_bn(y, width, 1, 1, f"{name}_2", activation=None)
            if not i:
                if strided:
                    x = layers.AveragePooling2D(2, name=f"{name}_down_pool")(x)
                x = conv_bn(x, width, 1, 1, f"{name}_down", activation=None)
            x = layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([y, x]))
    return keras.Model(inputs, classify(x), name="resnest")


def se_resnext(size=64):
    x = inputs = keras.Input((size, size, 3))
    x = conv_bn(x, 16, 7, 2, "conv1")
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool1")(x)
    for stage, depth in enumerate(DEPTHS, 2):
        width = 8 << (stage - 1)
        for i in range(depth):
            name = f"conv{stage}_block{i + 1}"
            strides = 2 if stage > 2 and not i else 1
            y = conv_bn(x, width // 2, 1, 1, f"{name}_1")
            y = conv_bn(y, width // 2, 3, strides, f"{name}_2", groups=4)
            y = conv_bn(y, width, 1, 1, f"{name}_3", activation=None)
            y = squeeze_excite(y, 4, f"{name}_se")
            if not i:
                x = conv_bn(x, width, 1, strides, f"{name}_0", activation=None)
            x = layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([y, x]))
    return keras.Model(inputs, classify(x), name="se_resnext")


def res2net(automatic=False):
    """Four groups of channels in a chain of sums, then concatenated (figure 2b)."""
    x = inputs = keras.Input((64, 64, 3))
    x = conv_bn(x, 16, 7, 2, "conv1")
    x = layers.MaxPooling2D(3, 2, padding="same", name="maxpool")(x)
    for stage, depth in enumerate(DEPTHS, 1):
        width = 8 << stage
        for i in range(depth):
            name = f"layer{stage}_{i}"
            strides = 2 if stage > 1 and not i else 1
            y = conv_bn(x, width // 2, 1, 1, f"{name}_conv1")
            groups, done = ops.split(y, 4, axis=-1), []
            for j, group in enumerate(groups[:3]):
                if j and strides == 1:
                    group = layers.Add(name=f"{name}_sum{j}")([group, done[-1]])
                done.append(conv_bn(group, width // 8, 3, strides, f"{name}_conv2_{j}"))
            last = groups[3]
            if strides > 1:
                last = layers.AveragePooling2D(3, 2, padding="same", name=f"{name}_pool")(last)
            y = layers.Concatenate(name=f"{name}_cat")([*done, last])
            y = conv_bn(y, width, 1, 1, f"{name}_conv3", activation=None)
            if not i:
                x = conv_bn(x, width, 1, strides, f"{name}_down", activation=None)
            x = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([y, x]))
    model = keras.Model(inputs, classify(x), name="res2net")
    return nameless(model) if automatic else model


def nameless(model):
    """The same network with the names that Keras gives to layers by itself."""

    def fresh(layer):
        config = layer.get_config()
        config.pop("name", None)
        return layer.__class__.from_config(config)

    return keras.models.clone_model(model, clone_function=fresh)


def cifar_resnet(depth=20, size=32):
    """Shortcuts that pick every second pixel and append zeros (option A)."""
    x = inputs = keras.Input((size, size, 3))
    x = conv_bn(x, 16, 3, 1, "conv0")
    for stage, width in enumerate((16, 32, 64), 1):
        for i in range((depth - 2) // 6):
            name = f"stage{stage}_unit{i + 1}"
            strides = 2 if stage > 1 and not i else 1
            y = conv_bn(x, width, 3, strides, f"{name}_a")
            y = conv_bn(y, width, 3, 1, f"{name}_b", activation=None)
            if strides > 1:
                x = ops.pad(x[:, ::2, ::2], [[0, 0], [0, 0], [0, 0], [width // 4, width // 4]])
            x = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([y, x]))
    return keras.Model(inputs, classify(x), name=f"resnet{depth}")


def pyramidnet():
    """Each block is wider than the one before: zeros are appended to every shortcut."""
    x = inputs = keras.Input((32, 32, 3))
    x = layers.BatchNormalization(name="bn0")(conv(x, 16, 3, 1, "conv0"))
    width = 16
    for stage in range(1, 4):
        for i in range(6):
            name = f"group{stage}_block{i + 1}"
            strides = 2 if stage > 1 and not i else 1
            width += 2
            y = layers.BatchNormalization(name=f"{name}_bn1")(x)
            y = conv_bn(y, width, 3, strides, f"{name}_1")
            y = conv_bn(y, width, 3, 1, f"{name}_2", activation=None)
            if strides > 1:
                x = layers.AveragePooling2D(2, name=f"{name}_pool")(x)
            x = ops.pad(x, [[0, 0], [0, 0], [0, 0], [0, width - x.shape[-1]]])
            x = layers.Add(name=f"{name}_add")([y, x])
    x = layers.ReLU(name="final_relu")(layers.BatchNormalization(name="final_bn")(x))
    return keras.Model(inputs, classify(x), name="pyramidnet")


def repvgg(depths=(2, 4, 14, 1), size=64):
    """Training form: 3×3, 1×1 and, where shapes stay, a normalised identity are added."""
    x = inputs = keras.Input((size, size, 3))
    for stage, depth in enumerate((1, *depths)):
        width = 4 << max(stage - 1, 0)
        for i in range(depth):
            strides, name = 1 if i else 2, f"stage{stage}_{i}"
            ways = [
                conv_bn(x, width, 3, strides, f"{name}_dense", activation=None),
                conv_bn(x, width, 1, strides, f"{name}_1x1", activation=None),
            ]
            if strides == 1:
                ways.append(layers.BatchNormalization(name=f"{name}_identity")(x))
            x = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")(ways))
    return keras.Model(inputs, classify(x), name="repvgg")


class RepLayer(layers.Layer):
    """A RepVGG block as a layer of one's own, as most people write it."""

    def __init__(self, width, strides=1, **options):
        super().__init__(**options)
        self.width, self.strides_of_it = width, strides
        self.dense = layers.Conv2D(width, 3, strides, padding="same")
        self.pointwise = layers.Conv2D(width, 1, strides, padding="same")

    def build(self, shape):
        self.dense.build(shape)
        self.pointwise.build(shape)

    def call(self, x):
        return ops.relu(self.dense(x) + self.pointwise(x))

    def get_config(self):
        return {**super().get_config(), "width": self.width, "strides": self.strides_of_it}


def repvgg_layers(depths=(2, 4, 14, 1)):
    x = inputs = keras.Input((64, 64, 3))
    for stage, depth in enumerate((1, *depths)):
        for i in range(depth):
            width = 4 << max(stage - 1, 0)
            x = RepLayer(width, 1 if i else 2, name=f"stage{stage}_{i}")(x)
    return keras.Model(inputs, classify(x), name="repvgg_layers")


def preactivated_resnet18(size=64):
    """ZeroPadding2D before every 3×3, as in a widely used package of ResNets."""
    x = inputs = keras.Input((size, size, 3))

    def padded(x, width, strides, name):
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        return conv(x, width, 3, strides, name, padding="valid")

    x = conv(x, 8, 7, 4, "conv0")
    for stage in range(1, 5):
        for unit in range(1, 3):
            width, name = 4 << stage, f"stage{stage}_unit{unit}"
            strides = 2 if stage > 1 and unit == 1 else 1
            y = layers.ReLU(name=f"{name}_relu1")(layers.BatchNormalization(name=f"{name}_bn1")(x))
            x = x if unit > 1 else conv(y, width, 1, strides, f"{name}_sc")
            y = padded(y, width, strides, f"{name}_conv1")
            y = layers.ReLU(name=f"{name}_relu2")(layers.BatchNormalization(name=f"{name}_bn2")(y))
            y = padded(y, width, 1, f"{name}_conv2")
            x = layers.Add(name=f"{name}_add")([y, x])
    x = layers.ReLU(name="relu1")(layers.BatchNormalization(name="bn1")(x))
    return keras.Model(inputs, classify(x), name="resnet18")


RESNET = {"stem": 1, "residual": 16, "classifier": 1}

CATALOGUE = [
    Entry("ResNet-D", resnet_d, "He et al. 2019, Bag of tricks, figure 2c", RESNET, DEPTHS,
          "As ResNet50; the stem is of three convolutions.",
        shortcuts={"identity": 12, "projection": 4},
          names=("layer1", "layer2", "layer3", "layer4")),
    Entry("ResNeSt", resnest, "Zhang et al. 2020, ResNeSt, figure 2, table 1 (depth 50)", RESNET,
          DEPTHS, "Gates and a sum inside of the branch.",
          names=("stack1", "stack2", "stack3", "stack4")),
    Entry("SE-ResNeXt", se_resnext, "Hu et al. 2018, Squeeze-and-excitation, table 1", RESNET,
          DEPTHS, "", names=("conv2", "conv3", "conv4", "conv5")),
    Entry("Res2Net", res2net, "Gao et al. 2019, Res2Net, figure 2b, depth 50", RESNET, DEPTHS,
          "Sums and a concatenation inside of the branch.",
          names=("layer1", "layer2", "layer3", "layer4")),
    Entry("Res2Net, nameless", partial(res2net, True), "as above", RESNET, DEPTHS,
          "Automatic names only."),
    Entry("CIFAR ResNet-20", cifar_resnet, "He et al. 2015, section 4.2, option A",
          {"stem": 1, "residual": 9, "classifier": 1}, (3, 3, 3), "Two shortcuts are padded.",
          shortcuts={"identity": 7, "padding": 2}),
    Entry("PyramidNet", pyramidnet, "Han et al. 2017, Deep pyramidal networks, figures 2d, 6d",
          {"stem": 1, "residual": 18, "top": 1, "classifier": 1}, (6, 6, 6),
          "The width grows with each block, all in three groups by resolution; the shortcuts are "
          "padded, two of them behind a pooling.", shortcuts={"padding": 18}),
    Entry("ResNet-18, padded", preactivated_resnet18,
          "He et al. 2016, Identity mappings, figure 1b",
          {"stem": 1, "residual": 8, "top": 1, "classifier": 1}, (2, 2, 2, 2),
          "ZeroPadding2D(1) before every 3×3: at 4×4 it is no upsampling.",
          shortcuts={"identity": 4, "projection": 4}),
    Entry("RepVGG", repvgg, "Ding et al. 2021, RepVGG, figure 2, table 2 (A0)",
          {"residual": 22, "classifier": 1}, (1, 2, 4, 14, 1),
          "Three ways are added: 3×3, 1×1, identity. The first of each stage has no identity."),
    Entry("RepVGG, own layers", repvgg_layers, "as above", {"plain": 5, "classifier": 1},
          (1, 1, 1, 1, 1), "A chain of a class of one's own, divided by resolution and width."),
]  # fmt: skip
