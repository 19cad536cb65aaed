"""Names of blocks, stages, classifiers and heads."""

import re

import keras
import pytest
from keras import layers

import cutwidgets as cw
import networks


def kinds(model):
    return [block.kind for block in cw.anatomy(model)]


def ends(model):
    """Names and kinds of the blocks that compute outputs."""
    return [(b.name, b.kind) for b in cw.anatomy(model) if b.kind in ("classifier", "head")]


def convolution(x, width, name=None, **options):
    return layers.Conv2D(width, 3, padding="same", activation="relu", name=name, **options)(x)


def detector(joined=True):
    """A feature pyramid on ResNet50 with two heads that all levels share (Lin et al. 2017)."""
    backbone = networks.untrained("ResNet50")
    names = ("conv5_block3_out", "conv4_block6_out", "conv3_block4_out")
    top, *features = [backbone.get_layer(name).output for name in names]
    x = layers.Conv2D(8, 1, name="C5_reduced")(top)
    levels = [layers.Conv2D(8, 3, padding="same", name="P5")(x)]
    for level, feature in zip((4, 3), features, strict=True):
        lateral = layers.Conv2D(8, 1, name=f"C{level}_reduced")(feature)
        x = layers.Add(name=f"P{level}_sum")([layers.UpSampling2D()(x), lateral])
        levels.append(layers.Conv2D(8, 3, padding="same", name=f"P{level}")(x))

    def head(name, width):
        x = inputs = keras.Input((None, None, 8))
        for i in range(2):
            x = convolution(x, 8, f"{name}_{i}")
        x = layers.Conv2D(width, 3, padding="same", name=f"{name}_out")(x)
        return keras.Model(inputs, layers.Reshape((-1, width))(x), name=name)

    heads = head("box", 4), head("kind", 5)
    each = [[one(level) for level in levels] for one in heads]
    if joined:
        each = [
            layers.Concatenate(axis=1, name=name)(several)
            for name, several in zip(("boxes", "kinds"), each, strict=True)
        ]
    return keras.Model(backbone.input, each)


@pytest.mark.parametrize("joined", [True, False])
def test_a_detector_keeps_the_names_of_its_backbone(joined):
    anatomy = cw.anatomy(detector(joined))
    alone = cw.anatomy(networks.untrained("ResNet50"))
    assert [s.name for s in anatomy.stages][:4] == ["conv2", "conv3", "conv4", "conv5"]
    assert [b.name for b in anatomy][: len(alone)] == [b.name for b in alone]


def test_each_level_of_a_detector_has_its_heads():
    anatomy = cw.anatomy(detector())
    heads = [block for block in anatomy if block.kind == "head"]
    assert len(heads) == 2 * 3
    for block in heads:
        inside = [layer for layer in block.layers if layer.endswith("_out")]
        assert len(inside) == 1
        assert len(block.name.split("#")) == 2 or re.match("boxes|kinds", block.name)
    assert all(block.stage is None for block in heads)
    levels = [[n for n in block.layers if re.fullmatch(r"P\d", n)] for block in anatomy]
    assert [level for level in levels if level] == [["P5"], ["P4"], ["P3"]]


def test_numbers_do_not_contradict_names():
    """Stages whose layers have no common name count on from those that have one."""
    x = inputs = keras.Input((32, 32, 3))
    x = convolution(x, 8, "stem")
    for stage in range(4):
        for i in range(2):
            strides = 2 if stage and not i else 1
            prefix = f"stages_{stage}_{i}" if stage < 3 else None
            y = convolution(x, 8 << stage, prefix and f"{prefix}_conv", strides=strides)
            if strides > 1 or x.shape[-1] != y.shape[-1]:
                x = layers.Conv2D(8 << stage, 1, strides, name=prefix and f"{prefix}_down")(x)
            x = layers.Add(name=prefix and f"{prefix}_add")([x, y])
    anatomy = cw.anatomy(keras.Model(inputs, x))
    assert [s.name for s in anatomy.stages] == ["stages_0", "stages_1", "stages_2", "stage3"]
    assert [b.name for b in anatomy][-2:] == ["stage3_block1", "stage3_block2"]


def test_stages_of_convnext_have_the_numbers_of_their_layers():
    stages = cw.anatomy(networks.untrained("ConvNeXtTiny")).stages
    assert [s.name for s in stages] == [f"convnext_tiny_stage_{i}" for i in range(4)]


@pytest.mark.parametrize("name", ["ResNet50", "MobileNetV2", "VGG16"])
def test_no_two_places_have_one_name(name):
    anatomy = cw.anatomy(networks.untrained(name))
    names = [block.name for block in anatomy]
    several = [stage.name for stage in anatomy.stages if len(stage.blocks) > 1]
    assert len({*names, *several}) == len(names) + len(several)


def test_a_unet_reads_down_bridge_up():
    anatomy = cw.anatomy(networks.unet(3))
    levels = ["down1", "down2", "down3", "bridge", "up3", "up2", "up1"]
    assert [block.name for block in anatomy] == [*levels, "head"]
    assert [stage.name for stage in anatomy.stages] == levels


def test_names_of_a_unet_that_a_person_chose():
    """Each level but the first opens with the pooling that is named after the level before."""
    x = inputs = keras.Input((32, 32, 3))
    skips = []
    for level in range(3):
        x = convolution(convolution(x, 4 << level, f"enc{level}_a"), 4 << level, f"enc{level}_b")
        skips.append(x)
        x = layers.MaxPooling2D(name=f"enc{level}_pool")(x)
    x = convolution(convolution(x, 32, "deep_a"), 32, "deep_b")
    for level in (2, 1, 0):
        x = layers.Conv2DTranspose(4 << level, 2, 2)(x)
        x = convolution(layers.Concatenate()([x, skips[level]]), 4 << level)
    x = layers.Conv2D(2, 1, name="mask")(x)
    model = keras.Model(inputs, x)
    assert [s.name for s in cw.anatomy(model).stages] == [
        "enc0", "enc1", "enc2", "deep", "up2", "up1", "up0",
    ]  # fmt: skip
    assert ends(model) == [("mask", "head")]


def test_heads_have_the_names_of_the_outputs():
    x = inputs = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(convolution(convolution(x, 8), 16, strides=2))
    outputs = [
        layers.Dense(1, name=name)(layers.Dense(8, activation="relu")(x))
        for name in ("age", "height")
    ]
    assert ends(keras.Model(inputs, outputs)) == [("age_head", "head"), ("height_head", "head")]
    outputs = [layers.Dense(1, name=name)(x) for name in ("age", "height")]
    assert ends(keras.Model(inputs, outputs)) == [("age", "head"), ("height", "head")]


def sequence():
    x = inputs = keras.Input((9,))
    x = layers.Embedding(20, 8)(x)
    for _ in range(2):
        x = layers.Add()([x, layers.Dense(8)(layers.Dense(16, activation="relu")(x))])
    return inputs, layers.LayerNormalization()(x)


def test_what_predicts_at_each_position_is_a_head():
    inputs, x = sequence()
    model = keras.Model(inputs, layers.Dense(20, name="logits")(x))
    assert ends(model) == [("logits", "head")]
    assert kinds(model)[-2:] == ["top", "head"]


@pytest.mark.parametrize(
    "choose",
    [
        lambda x: x[:, 0],
        lambda x: x[:, -1],
        layers.GlobalAveragePooling1D(),
        layers.Flatten(),
        layers.LSTM(8),
    ],
)
def test_what_predicts_for_the_whole_input_is_a_classifier(choose):
    inputs, x = sequence()
    x = layers.Dropout(0.1)(choose(x))
    assert ends(keras.Model(inputs, layers.Dense(3)(x))) == [("classifier", "classifier")]


def test_a_convolution_after_pooling_classifies():
    x = inputs = keras.Input((16, 16, 3))
    x = convolution(convolution(x, 8), 16, strides=2)
    x = layers.Conv2D(5, 1)(layers.GlobalAveragePooling2D(keepdims=True)(x))
    assert ends(keras.Model(inputs, x)) == [("classifier", "classifier")]


def test_what_compares_two_towers_is_a_head():
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Flatten()(convolution(convolution(x, 8), 16, strides=2))
    tower = keras.Model(inputs, layers.Dense(8, name="code")(x), name="tower")
    images = [keras.Input((16, 16, 3)) for _ in range(2)]
    x = layers.Subtract()([tower(image) for image in images])
    model = keras.Model(images, layers.Dense(1, name="same")(x))
    assert kinds(model).count("top") == 2
    assert ends(model) == [("same_head", "head")]


def test_an_autoencoder_has_no_classifier():
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Flatten()(convolution(convolution(x, 8, strides=2), 8, strides=2))
    x = layers.Reshape((4, 4, 8))(layers.Dense(128)(layers.Dense(4)(x)))
    for width in (8, 8):
        x = layers.Conv2DTranspose(width, 3, 2, padding="same")(x)
    x = layers.Conv2D(3, 3, padding="same", name="picture")(x)
    assert "classifier" not in kinds(keras.Model(inputs, x))


def test_features_end_in_no_head():
    assert kinds(networks.untrained("MobileNetV2"))[-1] == "top"
    assert kinds(networks.untrained("ResNet50"))[-1] == "residual"
    pooled = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(96, 96, 3), pooling="avg"
    )
    assert not ends(pooled)
