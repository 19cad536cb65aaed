"""Stages: resolution first, then widths, unless these change at nearly every block."""

import keras
import pytest
from keras import layers, ops

import cutwidgets as cw
import networks


def lengths(model):
    return [len(stage.blocks) for stage in cw.anatomy(model).stages]


def residual(x, width, strides=1, name=""):
    """A residual block of one convolution; it is as wide as asked for."""
    options = {"name": f"{name}_conv"} if name else {}
    y = layers.Conv2D(width, 3, strides, padding="same", **options)(x)
    if strides > 1:
        x = layers.AveragePooling2D(2)(x)
    x = ops.pad(x, [[0, 0], [0, 0], [0, 0], [0, width - x.shape[-1]]])
    return layers.Add(**({"name": f"{name}_add"} if name else {}))([x, y])


def pyramidnet(names=""):
    """Each block is wider than the one before (Han et al. 2017)."""
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same")(x)
    for group in range(3):
        for i in range(4):
            name = names.format(group=group, i=i)
            x = residual(x, x.shape[-1] + 2, 2 if group and not i else 1, name)
    return keras.Model(inputs, x)


def test_a_width_that_always_changes_divides_no_stage():
    model = pyramidnet()
    assert lengths(model) == [4, 4, 4]
    assert [s.name for s in cw.anatomy(model).stages] == ["stage1", "stage2", "stage3"]
    named = cw.anatomy(pyramidnet("group{group}_unit{i}"))
    assert [s.name for s in named.stages] == ["group0", "group1", "group2"]


def test_names_divide_where_only_the_width_could():
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same")(x)
    for part in ("left1", "left2"):
        for i in range(3):
            x = residual(x, x.shape[-1] + 2, name=f"{part}_{i}")
    assert [s.name for s in cw.anatomy(keras.Model(inputs, x)).stages] == ["left1", "left2"]


# Sandler et al. 2018, table 2; Tan and Le 2019, table 1: stages of one resolution that differ in
# width only are those of 64 and 96 channels, 160 and 320; 80 and 112, 192 and 320.
@pytest.mark.parametrize(
    ("name", "counts"),
    [("MobileNetV2", [1, 2, 3, 4, 3, 3, 1]), ("EfficientNetB0", [1, 2, 2, 3, 3, 4, 1])],
)
def test_a_width_that_seldom_changes_divides_stages(name, counts):
    assert lengths(networks.untrained(name)) == counts


def test_a_downsampling_layer_opens_the_stage_that_it_leads_to():
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same")(x)
    for stage in range(2):
        for _ in range(2):
            x = layers.Add()([x, layers.Conv2D(8 << stage, 3, padding="same")(x)])
        x = layers.Conv2D(16, 3, 2, padding="same")(x) if not stage else x
    stages = cw.anatomy(keras.Model(inputs, x)).stages
    assert [[block.kind for block in stage.blocks] for stage in stages] == [
        ["residual", "residual"], ["plain", "residual", "residual"],
    ]  # fmt: skip


def test_both_ways_of_a_split_stage_are_one_stage():
    """CSPNet (Wang et al. 2020): one half of the channels goes round the blocks."""
    x = inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    for stage in range(2):
        width = 16 << stage
        x = layers.Conv2D(width, 3, 2, padding="same", activation="relu")(x)
        side, x = (layers.Conv2D(width // 2, 1, activation="relu")(x) for _ in range(2))
        for _ in range(3):
            x = layers.Add()([x, layers.Conv2D(width // 2, 3, padding="same")(x)])
        x = layers.Conv2D(width, 1)(layers.Concatenate()([x, side]))
    scales = [stage.blocks[-1].scale for stage in cw.anatomy(keras.Model(inputs, x)).stages]
    assert scales == [2, 4]


def test_the_sides_of_a_unet_share_no_stage():
    """Down, bridge and up again at one resolution."""
    x = inputs = keras.Input((16, 16, 3))
    x = skip = layers.Conv2D(8, 3, padding="same", name="enter")(x)
    x = layers.Conv2D(8, 3, 2, padding="same", name="down_conv")(x)
    lowest = []
    for name in ("low", "mid"):
        for i in range(2):
            conv = layers.Conv2D(8, 3, padding="same", name=f"{name}_{i}_conv")
            x = layers.Add(name=f"{name}_{i}_add")([x, conv(x)])
        lowest.append(x)
    x = layers.Concatenate(name="high_cat")([x, lowest[0]])
    x = layers.Conv2D(8, 3, padding="same", name="high_conv")(x)
    x = layers.Conv2DTranspose(8, 2, 2, name="up_up")(x)
    x = layers.Conv2D(8, 3, padding="same", name="up_conv")(layers.Concatenate()([x, skip]))
    anatomy = cw.anatomy(keras.Model(inputs, x))
    stage_of = {layer: block.stage for block in anatomy for layer in block.layers}
    three = [stage_of[f"{name}_conv"] for name in ("low_1", "mid_1", "high")]
    assert len(set(three)) == 3


def test_convolutions_and_recurrent_layers_share_no_stage():
    """Blocks of equal resolution and width that do different things."""
    x = inputs = keras.Input((9,))
    x = layers.Embedding(9, 8, name="words")(x)
    for i in range(2):
        x = layers.Conv1D(8, 3, padding="same", name=f"near{i}_conv")(x)
    for i in range(2):
        x = layers.LSTM(8, return_sequences=True, name=f"far{i}_lstm")(x)
    model = keras.Model(inputs, x)
    for stage in cw.anatomy(model).stages:
        several = {layer[:3] for block in stage.blocks for layer in block.layers}
        assert len(stage.blocks) == 1 or not {"nea", "far"} <= several


# He et al. 2015, table 1; Ronneberger et al. 2015, figure 1; Howard et al. 2019, table 1.
@pytest.mark.parametrize(
    ("model", "strides", "channels"),
    [
        (lambda: networks.untrained("ResNet50"), [4, 8, 16, 32], [256, 512, 1024, 2048]),
        (lambda: networks.untrained("VGG16"), [2, 4, 8, 16, 32], [64, 128, 256, 512, 512]),
        (lambda: networks.unet(depth=2), [1, 2, 4, 2, 1], [4, 8, 16, 8, 4]),
        (lambda: networks.unet(depth=2, up="sampling"), [1, 2, 4, 2, 1], [4, 8, 16, 8, 4]),
    ],
)
def test_strides_and_channels(model, strides, channels):
    """Strides are whole numbers, also on the way up again."""
    stages = cw.anatomy(model()).stages
    assert [stage.stride for stage in stages] == strides
    assert all(isinstance(stage.stride, int) for stage in stages)
    assert [stage.channels for stage in stages] == channels


def test_the_stride_of_a_stage_is_measured_on_its_output():
    """The ratio of the lengths, for an input that all strides divide."""
    for name in ("ResNet50V2", "MobileNetV2", "DenseNet121"):
        for stage in cw.anatomy(networks.untrained(name, 128)).stages:
            *_, height, _, channels = stage.output_shape
            assert (stage.stride, stage.channels) == (128 // height, channels)


def test_channels_first():
    x = inputs = keras.Input((3, 16, 20))
    for width, strides in ((4, 1), (6, 2)):
        for step in range(2):
            first = {"strides": 1 if step else strides, "data_format": "channels_first"}
            y = layers.Conv2D(width, 3, padding="same", **first)(x)
            x = layers.Conv2D(width, 1, **first)(x)
            x = layers.Add()([x, y])
    stages = cw.anatomy(keras.Model(inputs, x)).stages
    assert [(stage.stride, stage.channels) for stage in stages] == [(1, 4), (2, 6)]


def test_the_tokens_of_a_vision_transformer_have_the_stride_of_the_patches():
    """Dosovitskiy et al. 2021: 16×16 patches."""
    x = inputs = keras.Input((64, 64, 3))
    x = layers.Reshape((-1, 12))(layers.Conv2D(12, 16, 16)(x))
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(2, 6)(y, y)])
        x = layers.Add()([x, layers.Dense(12)(layers.Dense(24, "gelu")(x))])
    model = keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling1D()(x)))
    (stage,) = cw.anatomy(model).stages
    assert (stage.stride, stage.channels) == (16, 12)


def test_a_resolution_above_the_inputs():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same")(x)
    x = layers.UpSampling2D(2)(x)
    for _ in range(2):
        x = layers.Add()([x, layers.Conv2D(4, 3, padding="same")(x)])
    assert cw.anatomy(keras.Model(inputs, x)).stages[-1].stride == 0.5
