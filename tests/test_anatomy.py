"""Blocks and stages against the papers, and with names that say nothing."""

from collections import Counter

import keras
import pytest
from keras import layers

import cutwidgets as cw
from networks import application, renamed, residual_chain

# He et al. 2015, "Deep residual learning for image recognition", table 1; and 2016, "Identity
# mappings in deep residual networks".
RESNETS = {
    "ResNet50": (3, 4, 6, 3),
    "ResNet101": (3, 4, 23, 3),
    "ResNet152": (3, 8, 36, 3),
    "ResNet50V2": (3, 4, 6, 3),
}


def residual(blocks):
    return [block for block in blocks if block.kind == "residual"]


@pytest.mark.parametrize("include_top", [False, True])
@pytest.mark.parametrize("name", RESNETS)
def test_residual_blocks_as_in_the_paper(name, include_top):
    if name in ("ResNet101", "ResNet152") and include_top:
        pytest.skip("takes seconds to build, and its classifier is that of ResNet50")
    anatomy = cw.anatomy(application(name, include_top))
    assert tuple(len(residual(stage.blocks)) for stage in anatomy.stages) == RESNETS[name]
    assert anatomy[0].kind == "stem"
    assert (anatomy[-1].kind == "classifier") == include_top


@pytest.mark.parametrize("name", ["ResNet50", "ResNet101", "ResNet152"])
def test_first_block_of_a_stage_has_a_projection(name):
    for stage in cw.anatomy(application(name)).stages:
        shortcuts = [block.shortcut for block in stage.blocks]
        assert shortcuts == ["projection"] + ["identity"] * (len(shortcuts) - 1)


def test_resnet50v2_opens_with_its_preactivation():
    anatomy = cw.anatomy(application("ResNet50V2"))
    shortcuts = Counter(block.shortcut for block in residual(anatomy))
    assert shortcuts == {"identity": 9, "projection": 4, "pooling": 3}
    for stage in anatomy.stages:
        # It lowers the resolution in the last block of all stages but the last.
        assert [b.shortcut for b in stage.blocks].count("pooling") == (
            stage is not anatomy.stages[-1]
        )
    for block in residual(anatomy):
        assert block.start == f"{block.name}_preact_bn"
        assert block.end == f"{block.name}_out"


# Simonyan and Zisserman 2014, table 1, configurations D and E.
@pytest.mark.parametrize(("name", "convolutions"), [("VGG16", "22333"), ("VGG19", "22444")])
def test_vgg(name, convolutions):
    anatomy = cw.anatomy(application(name))
    assert [block.kind for block in anatomy] == ["linear"] * 5
    assert [block.name for block in anatomy] == [f"block{i}" for i in range(1, 6)]
    # Each group: its convolutions and one pooling.
    assert "".join(str(len(block.layers) - 1) for block in anatomy) == convolutions


def test_vgg16_with_its_classifier():
    model = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=10)
    kinds = [block.kind for block in cw.anatomy(model)]
    assert kinds == ["linear"] * 5 + ["classifier"]


# Sandler et al. 2018, table 2: bottlenecks per stage, and the strides and widths that allow or
# forbid a shortcut.
def test_mobilenetv2():
    anatomy = cw.anatomy(application("MobileNetV2"))
    bottlenecks = [block for block in anatomy if block.stage]
    assert [len(stage.blocks) for stage in anatomy.stages] == [1, 2, 3, 4, 3, 3, 1]
    assert len(bottlenecks) == 17
    assert len(residual(anatomy)) == 10
    assert all(block.shortcut == "identity" for block in residual(anatomy))
    assert [block.output_shape[-1] for block in bottlenecks] == (
        [16] + [24] * 2 + [32] * 3 + [64] * 4 + [96] * 3 + [160] * 3 + [320]
    )


@pytest.mark.parametrize("name", ["ResNet50", "ResNet50V2", "MobileNetV2", "VGG16"])
def test_names_do_not_decide(name):
    model = application(name)
    named, nameless = cw.anatomy(model), cw.anatomy(renamed(model))

    def structure(anatomy):
        return [(b.kind, b.shortcut, b.calls, b.entries, b.exits) for b in anatomy], [
            [anatomy.blocks.index(b) for b in stage.blocks] for stage in anatomy.stages
        ]

    assert structure(named) == structure(nameless)
    assert len({block.name for block in nameless}) == len(nameless)


@pytest.mark.parametrize(
    "name", [*RESNETS, "MobileNetV2", "VGG16", "EfficientNetB0", "DenseNet121"]
)
def test_blocks_divide_the_calls(name):
    model = application(name)
    anatomy = cw.anatomy(model)
    layers_in_blocks = [layer for block in anatomy for layer in block.layers]
    assert sorted(layers_in_blocks) == sorted(layer.name for layer in model.layers[1:])
    assert sum(block.params for block in anatomy) == model.count_params()
    for before, block in zip(anatomy.blocks, anatomy.blocks[1:], strict=False):
        assert block.entries == before.exits
        assert block.input_shape == before.output_shape


def test_names_come_from_layers():
    anatomy = cw.anatomy(application("ResNet50"))
    assert [stage.name for stage in anatomy.stages] == ["conv2", "conv3", "conv4", "conv5"]
    block = anatomy["conv3_block1"]
    assert (block.start, block.end) == ("conv3_block1_1_conv", "conv3_block1_out")
    assert block.input_shape == (None, 16, 16, 256)
    assert block.output_shape == (None, 8, 8, 512)
    # The bottleneck of stage conv3: 1×1, 3×3, 1×1 and the projection, with biases and four
    # normalisations of four numbers a channel.
    weights = 256 * 128 + 9 * 128 * 128 + 128 * 512 + 256 * 512
    assert block.params == weights + (128 + 128 + 512 + 512) * 5


def test_lookup():
    anatomy = cw.anatomy(application("ResNet50"))
    assert anatomy[4] is anatomy["conv3_block1"]
    assert anatomy[-1] is anatomy["conv5_block3"]
    assert list(anatomy) == list(anatomy.blocks)
    assert len(anatomy) == 17
    with pytest.raises(cw.UnknownPlaceError, match="'conv3_blok1'.*'conv3_block1'"):
        anatomy["conv3_blok1"]
    with pytest.raises(cw.UnknownPlaceError, match="0 to 16.*99"):
        anatomy[99]


def test_unknown_resolution_is_shown_by_its_ratio():
    model = keras.applications.ResNet50(include_top=False, weights=None)
    anatomy = cw.anatomy(model)
    assert [len(stage.blocks) for stage in anatomy.stages] == [3, 4, 6, 3]
    assert [stage.blocks[-1].scale for stage in anatomy.stages] == [4, 8, 16, 32]
    assert "H/8×W/8×512" in str(anatomy)


def test_squeeze_and_excite_gate_is_no_shortcut():
    anatomy = cw.anatomy(application("EfficientNetB0"))
    # Tan and Le 2019, table 1: 16 MBConv blocks in 7 stages; those that keep resolution and width
    # have a shortcut.
    assert [len(stage.blocks) for stage in anatomy.stages] == [1, 2, 2, 3, 3, 4, 1]
    assert len(residual(anatomy)) == 9


def test_cifar_resnet_keeps_the_normalisation_of_its_stem():
    # He et al. 2015, section 4.2: the first convolution is followed by normalisation and ReLU, and
    # the first block has an identity shortcut: only the graph behind it tells pre-activation apart.
    def convolve(x):
        return layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same")(x))

    x = inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(convolve(x))
    for _ in range(3):
        x = layers.ReLU()(layers.Add()([x, convolve(layers.ReLU()(convolve(x)))]))
    x = layers.Dense(10)(layers.GlobalAveragePooling2D()(x))
    anatomy = cw.anatomy(keras.Model(inputs, x))
    assert [b.kind for b in anatomy] == ["stem", "residual", "residual", "residual", "classifier"]
    assert [len(b.layers) for b in anatomy] == [3, 7, 7, 7, 2]
    assert [block.name for block in anatomy][1:-1] == [f"stage1_block{i}" for i in (1, 2, 3)]


def test_names_decide_where_the_graph_is_silent():
    x = inputs = keras.Input((16, 16, 8))
    for block in ("left", "right"):
        for number in (1, 2):
            x = layers.Conv2D(8, 3, padding="same", name=f"{block}_conv{number}")(x)
    model = keras.Model(inputs, x)
    assert [block.name for block in cw.anatomy(model)] == ["left", "right"]
    assert len(cw.anatomy(renamed(model))) == 1


def test_a_slice_has_the_same_blocks():
    model = application("ResNet50")
    whole, part = cw.anatomy(model), cw.anatomy(cw.cut(model, "conv3", "conv4"))
    assert [(b.name, b.shortcut, b.layers) for b in part] == [
        (b.name, b.shortcut, b.layers) for b in whole if b.stage in ("conv3", "conv4")
    ]


def test_odd_graphs_have_an_anatomy_too():
    image, text = keras.Input((8, 8, 3), name="image"), keras.Input((5,), name="text")
    features = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
    joined = layers.Concatenate()([features, layers.Dense(4)(text)])
    outputs = [layers.Dense(2, name="left")(joined), layers.Dense(3, name="right")(joined)]
    anatomy = cw.anatomy(keras.Model([image, text], outputs))
    assert sorted(layer for block in anatomy for layer in block.layers) == sorted(
        call.name for call in anatomy.graph.calls if call.role != "input"
    )
    x = keras.Input((3,))
    assert len(cw.anatomy(keras.Model(x, layers.Dense(2)(x)))) == 1


def test_hundreds_of_blocks():
    anatomy = cw.anatomy(residual_chain(400))
    assert len(anatomy) == 400
    assert {block.shortcut for block in anatomy} == {"identity"}


def test_a_perceptron_has_hidden_layers():
    hidden = [layers.Flatten(), layers.Dense(32, "relu"), layers.Dropout(0.2), layers.Dense(16)]
    anatomy = cw.anatomy(keras.Sequential([keras.Input((8, 8)), *hidden, layers.Dense(10)]))
    assert [block.kind for block in anatomy] == ["linear", "linear", "classifier"]
    plain = keras.Sequential([keras.Input((8, 8)), layers.Flatten(), layers.Dense(10)])
    assert [block.kind for block in cw.anatomy(plain)] == ["classifier"]
