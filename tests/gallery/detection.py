"""Networks of several inputs and outputs around a backbone."""

import keras
from keras import layers

from .applications import build as application
from .entry import Entry
from .parts import conv_bn


def retinanet(shared=True):
    """A feature pyramid on ResNet50, and two heads that all levels share."""
    backbone = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 64, 3))
    ends = ("conv3_block4_out", "conv4_block6_out", "conv5_block3_out")
    c3, c4, c5 = (backbone.get_layer(name).output for name in ends)

    def lateral(x, level):
        return layers.Conv2D(16, 1, name=f"C{level}_reduced")(x)

    def smooth(x, level, **options):
        return layers.Conv2D(16, 3, padding="same", name=f"P{level}", **options)(x)

    p5 = lateral(c5, 5)
    p4 = layers.Add(name="P4_merged")([layers.UpSampling2D(name="P5_up")(p5), lateral(c4, 4)])
    p3 = layers.Add(name="P3_merged")([layers.UpSampling2D(name="P4_up")(p4), lateral(c3, 3)])
    p6 = smooth(c5, 6, strides=2)
    p7 = smooth(layers.ReLU(name="C6_relu")(p6), 7, strides=2)
    levels = [smooth(p3, 3), smooth(p4, 4), smooth(p5, 5), p6, p7]

    def head(name, width):
        x = inputs = keras.Input((None, None, 16))
        for i in range(4):
            x = layers.Conv2D(16, 3, padding="same", activation="relu", name=f"{name}_{i}")(x)
        x = layers.Conv2D(9 * width, 3, padding="same", name=f"{name}_out")(x)
        return keras.Model(inputs, layers.Reshape((-1, width), name=f"{name}_flat")(x), name=name)

    boxes, classes = head("box_head", 4), head("class_head", 5)
    outputs = [
        layers.Concatenate(axis=1, name="boxes")([boxes(x) for x in levels]),
        layers.Concatenate(axis=1, name="classes")([classes(x) for x in levels]),
    ]
    return keras.Model(backbone.input, outputs, name="retinanet")


def siamese():
    """Two images through one network of three blocks; their distance decides."""
    x = inputs = keras.Input((32, 32, 3))
    for i, width in enumerate((8, 16, 32), 1):
        x = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"block{i}_conv")(x)
        x = layers.MaxPooling2D(name=f"block{i}_pool")(x)
    x = layers.GlobalAveragePooling2D(name="gap")(x)
    tower = keras.Model(inputs, layers.Dense(16, name="embedding")(x), name="tower")
    images = [keras.Input((32, 32, 3), name=name) for name in ("left", "right")]
    distance = layers.Subtract(name="difference")([tower(image) for image in images])
    x = layers.Dense(1, activation="sigmoid", name="same")(distance)
    return keras.Model(images, x, name="siamese")


def siamese_resnet():
    """Two images through one ResNet50."""
    tower = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(64, 64, 3), pooling="avg"
    )
    images = [keras.Input((64, 64, 3), name=name) for name in ("left", "right")]
    joined = layers.Concatenate(name="join")([tower(image) for image in images])
    return keras.Model(images, layers.Dense(1, name="same")(joined), name="siamese_resnet")


def age_and_gender():
    """One backbone, two outputs that are no classes of the same thing."""
    x = inputs = keras.Input((32, 32, 3))
    for i, width in enumerate((8, 16, 32), 1):
        x = conv_bn(x, width, 3, 1, f"block{i}_1")
        x = conv_bn(x, width, 3, 1, f"block{i}_2")
        x = layers.MaxPooling2D(name=f"block{i}_pool")(x)
    x = layers.GlobalAveragePooling2D(name="gap")(x)
    outputs = [
        layers.Dense(1, name=name)(layers.Dense(8, activation="relu", name=f"{name}_hidden")(x))
        for name in ("age", "gender")
    ]
    return keras.Model(inputs, outputs, name="age_and_gender")


def transfer(name="MobileNetV2"):
    """A network of keras.applications inside of another model, as in every tutorial."""
    backbone = application(name)
    backbone = keras.Model(backbone.input, backbone.layers[-3].output, name="backbone")
    x = inputs = keras.Input((64, 64, 3))
    x = backbone(layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(3, name="scores")(layers.Dropout(0.2, name="dropout")(x))
    return keras.Model(inputs, x, name="transfer")


CATALOGUE = [
    Entry("RetinaNet", retinanet, "Lin et al. 2017, Focal loss, figure 3",
          {"stem": 1, "residual": 16, "plain": 5, "head": 10}, (3, 4, 6, 3, 1, 1, 1, 1, 1),
          "ResNet50's blocks and stages keep their names; levels P3 to P7 of the pyramid; each of "
          "two shared heads is called five times.",
          names=("conv2", "conv3", "conv4", "conv5"), long_sums=2),
    Entry("Siamese", siamese, "Koch et al. 2015, figure 3; a tower of three groups",
          {"plain": 6, "top": 2, "head": 1}, (1,) * 6,
          "Three groups in each tower, its embedding, and what compares the two."),
    Entry("Siamese ResNet50", siamese_resnet, "as above, with He et al. 2015",
          {"stem": 2, "residual": 32, "top": 2, "head": 1}, (3, 4, 6, 3) * 2,
          "ResNet50's blocks in each tower; each tower ends in its pooling; the head joins them."),
    Entry("Age and gender", age_and_gender, "a usual multi-task network",
          {"plain": 3, "head": 2}, (1, 1, 1),
          "Three groups; each output with its hidden layer is a head of its own."),
    Entry("Transfer of MobileNetV2", transfer, "keras.io, Transfer learning; Sandler et al. 2018",
          {"stem": 1, "residual": 10, "plain": 7, "top": 1, "classifier": 1}, (1, 2, 3, 4, 3, 3, 1),
          "As MobileNetV2.",
          differs="The rescaling stands before the backbone, a nested model, and cannot be part "
          "of a block inside it."),
]  # fmt: skip
