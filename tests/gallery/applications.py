"""One network of each family of keras.applications, untrained."""

from functools import partial

import keras

from .entry import Entry


def build(name, size=64):
    # A softmax would hide differences between runs.
    options = {"weights": None, "classes": 10, "classifier_activation": None}
    return getattr(keras.applications, name)(input_shape=(size, size, 3), **options)


def _entry(name, source, blocks, stages, note="", size=64, **options):
    return Entry(name, partial(build, name, size), source, blocks, stages, note, **options)


CATALOGUE = [
    _entry(
        "ResNet50",
        "He et al. 2015, Deep residual learning, table 1",
        {"stem": 1, "residual": 16, "classifier": 1},
        (3, 4, 6, 3),
        "A bottleneck is a block.",
        shortcuts={"identity": 12, "projection": 4},
        names=("conv2", "conv3", "conv4", "conv5"),
    ),
    _entry(
        "ResNet50V2",
        "He et al. 2016, Identity mappings, figure 1b and table 1 of the first paper",
        {"stem": 1, "residual": 16, "top": 1, "classifier": 1},
        (3, 4, 6, 3),
        "Normalisation and activation open a block; those after the last block stand alone. "
        "Keras strides in the last block of a stage.",
        shortcuts={"identity": 9, "projection": 4, "pooling": 3},
        names=("conv2", "conv3", "conv4", "conv5"),
    ),
    _entry(
        "VGG16",
        "Simonyan & Zisserman 2014, table 1, column D",
        {"plain": 5, "classifier": 1},
        (1, 1, 1, 1, 1),
        "A group of convolutions up to its pooling is a block.",
        names=("block1", "block2", "block3", "block4", "block5"),
    ),
    _entry(
        "InceptionV3",
        "Szegedy et al. 2016, Rethinking the Inception architecture, table 1",
        {"stem": 1, "inception": 11, "classifier": 1},
        (1, 2, 5, 1, 2),
        "Modules mixed0 to mixed10; the widths 256, 288, 768, 1280, 2048 make the stages.",
        size=75,
    ),
    _entry(
        "InceptionResNetV2",
        "Szegedy et al. 2016, Inception-v4, figure 15",
        {"stem": 1, "inception": 3, "residual": 40, "top": 1, "classifier": 1},
        (11, 21, 11),
        "The reductions are modules that concatenate; a layer of its own scales and adds.",
        size=75,
    ),
    _entry(
        "Xception",
        "Chollet 2017, Xception, figure 5",
        {"stem": 1, "residual": 12, "top": 1, "classifier": 1},
        (1, 1, 9, 1),
        "Modules 2 to 13 are residual; module 14 has no shortcut.",
        size=71,
    ),
    _entry(
        "MobileNet",
        "Howard et al. 2017, MobileNets, table 1",
        {"stem": 1, "plain": 13, "classifier": 1},
        (1, 2, 2, 6, 2),
        "A depthwise and a pointwise convolution make a block, which begins with its stride.",
    ),
    _entry(
        "MobileNetV2",
        "Sandler et al. 2018, MobileNetV2, table 2",
        {"stem": 1, "residual": 10, "plain": 7, "top": 1, "classifier": 1},
        (1, 2, 3, 4, 3, 3, 1),
        "Inverted bottlenecks; the first of each row has no shortcut.",
        shortcuts={"identity": 10},
    ),
    _entry(
        "MobileNetV3Small",
        "Howard et al. 2019, Searching for MobileNetV3, table 2",
        {"stem": 1, "residual": 6, "plain": 5, "top": 1, "classifier": 1},
        (1, 2, 3, 2, 3),
        "As MobileNetV2, with gates.",
    ),
    _entry(
        "DenseNet121",
        "Huang et al. 2017, Densely connected networks, table 1",
        {"stem": 1, "dense": 58, "plain": 3, "top": 1, "classifier": 1},
        (6, 1, 12, 1, 24, 1, 16),
        "A layer of a dense block is a block; a transition stands between two dense blocks, as in "
        "the table.",
    ),
    _entry(
        "NASNetMobile",
        "Zoph et al. 2018, Learning transferable architectures, figure 2 and table 2",
        {"stem": 1, "inception": 16, "classifier": 1},
        (1, 1, 4, 1, 4, 1, 4),
        "A cell is a block: two reductions as a stem, three times four normal, two reductions. It "
        "reads the two cells before it: 2 of the 5 sums of a normal cell, and all of a reduction "
        "but the first, add what depends on both.",
        long_sums=12 * 2 + 3 * 5,
    ),
    _entry(
        "EfficientNetB0",
        "Tan & Le 2019, EfficientNet, table 1",
        {"stem": 1, "residual": 9, "plain": 7, "top": 1, "classifier": 1},
        (1, 2, 2, 3, 3, 4, 1),
        "MBConv; the first of each stage has no shortcut.",
    ),
    _entry(
        "EfficientNetV2B0",
        "Tan & Le 2021, EfficientNetV2, table 4; depths of keras.applications",
        {"stem": 1, "residual": 15, "plain": 6, "top": 1, "classifier": 1},
        (1, 2, 2, 3, 5, 8),
        "Fused-MBConv, then MBConv.",
    ),
    _entry(
        "ConvNeXtTiny",
        "Liu et al. 2022, A ConvNet for the 2020s, section 3.1",
        {"stem": 1, "residual": 18, "plain": 3, "classifier": 1},
        (3, 4, 10, 4),
        "Each stage but the first opens with its downsampling layer.",
    ),
]
