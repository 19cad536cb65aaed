"""Blocks and stages against the papers, and with names that say nothing."""

from collections import Counter
from random import Random

import keras
import pytest
from keras import layers

import cutwidgets as cw
import networks
from cutwidgets.blocks.chains import _repeated, _units
from cutwidgets.blocks.lines import lines, resolutions
from cutwidgets.graph.reader import read
from networks import application, renamed, residual_chain, untrained

# He et al. 2015, "Deep residual learning for image recognition", table 1; and 2016, "Identity
# mappings in deep residual networks". Larger ones are in tests/blocks.
RESNETS = {"ResNet50": (3, 4, 6, 3), "ResNet50V2": (3, 4, 6, 3)}


def residual(blocks):
    return [block for block in blocks if block.kind == "residual"]


@pytest.mark.parametrize("include_top", [False, True])
@pytest.mark.parametrize("name", RESNETS)
def test_residual_blocks_as_in_the_paper(name, include_top):
    anatomy = cw.anatomy(application(name, True) if include_top else untrained(name))
    assert tuple(len(residual(stage.blocks)) for stage in anatomy.stages) == RESNETS[name]
    assert anatomy[0].kind == "stem"
    assert (anatomy[-1].kind == "classifier") == include_top


def test_first_block_of_a_stage_has_a_projection():
    for stage in cw.anatomy(untrained("ResNet50")).stages:
        shortcuts = [block.shortcut for block in stage.blocks]
        assert shortcuts == ["projection"] + ["identity"] * (len(shortcuts) - 1)


def test_resnet50v2_opens_with_its_preactivation():
    anatomy = cw.anatomy(untrained("ResNet50V2"))
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
    anatomy = cw.anatomy(untrained(name))
    assert [block.kind for block in anatomy] == ["plain"] * 5
    assert [block.name for block in anatomy] == [f"block{i}" for i in range(1, 6)]
    # Each group: its convolutions and one pooling.
    assert "".join(str(len(block.layers) - 1) for block in anatomy) == convolutions


def test_vgg16_with_its_classifier():
    model = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=10)
    kinds = [block.kind for block in cw.anatomy(model)]
    assert kinds == ["plain"] * 5 + ["classifier"]


# Sandler et al. 2018, table 2: bottlenecks per stage, and the strides and widths that allow or
# forbid a shortcut.
def test_mobilenetv2():
    anatomy = cw.anatomy(untrained("MobileNetV2"))
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
    model = untrained(name)
    named, nameless = cw.anatomy(model), cw.anatomy(renamed(model))

    def structure(anatomy):
        return [(b.kind, b.shortcut, b.calls, b.entries, b.exits) for b in anatomy], [
            [anatomy.blocks.index(b) for b in stage.blocks] for stage in anatomy.stages
        ]

    assert structure(named) == structure(nameless)
    assert len({block.name for block in nameless}) == len(nameless)


@pytest.mark.parametrize("name", [*RESNETS, "MobileNetV2", "VGG16", "EfficientNetB0"])
def test_blocks_divide_the_calls(name):
    model = untrained(name)
    anatomy = cw.anatomy(model)
    layers_in_blocks = [layer for block in anatomy for layer in block.layers]
    assert sorted(layers_in_blocks) == sorted(layer.name for layer in model.layers[1:])
    assert sum(block.parameters for block in anatomy) == model.count_params()
    for before, block in zip(anatomy.blocks, anatomy.blocks[1:], strict=False):
        assert block.entries == before.exits
        assert block.input_shape == before.output_shape


def test_names_come_from_layers():
    anatomy = cw.anatomy(untrained("ResNet50", 64))
    assert [stage.name for stage in anatomy.stages] == ["conv2", "conv3", "conv4", "conv5"]
    block = anatomy["conv3_block1"]
    assert (block.start, block.end) == ("conv3_block1_1_conv", "conv3_block1_out")
    assert block.input_shape == (None, 16, 16, 256)
    assert block.output_shape == (None, 8, 8, 512)
    # The bottleneck of stage conv3: 1×1, 3×3, 1×1 and the projection, with biases and four
    # normalisations of four numbers a channel.
    weights = 256 * 128 + 9 * 128 * 128 + 128 * 512 + 256 * 512
    assert block.parameters == weights + (128 + 128 + 512 + 512) * 5


def test_lookup():
    anatomy = cw.anatomy(untrained("ResNet50"))
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
    anatomy = cw.anatomy(untrained("EfficientNetB0"))
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
    model = untrained("ResNet50")
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
    assert [block.kind for block in anatomy] == ["plain", "plain", "classifier"]
    plain = keras.Sequential([keras.Input((8, 8)), layers.Flatten(), layers.Dense(10)])
    assert [block.kind for block in cw.anatomy(plain)] == ["classifier"]


def backbone(pooling=None):
    return keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(64, 64, 3), pooling=pooling, name="backbone"
    )


NETWORKS = {
    "U-Net": networks.unet,
    "U-Net of one level": lambda: networks.unet(1),
    "U-Net of six levels": lambda: networks.unet(6, up="upsampling"),
    "U-Net of nested models": lambda: networks.unet(3, "nested"),
    "residual U-Net": lambda: networks.unet(3, "residual"),
    "pyramid": networks.pyramid,
    "SRResNet": networks.super_resolution,
    "RCAN": lambda: networks.super_resolution(3, 4, gates=True),
    "siamese": lambda: networks.siamese(backbone()),
    "two towers": networks.two_towers,
    "translator": networks.translator,
    "transfer": lambda: networks.transfer(backbone()),
    "transfer, pooled": lambda: networks.transfer(backbone("avg")),
    "NASNetMobile": lambda: untrained("NASNetMobile"),
}


@pytest.fixture(params=NETWORKS)
def odd(request):
    return cw.anatomy(NETWORKS[request.param]())


def test_blocks_divide_every_graph(odd):
    graph = odd.graph
    inputs = {graph.tensors[tensor].maker for tensor in graph.inputs}
    assert sorted(i for block in odd for i in block.calls) == sorted(
        set(range(len(graph.calls))) - inputs
    )
    assert len({block.name for block in odd}) == len(odd)
    there = set(graph.inputs)
    for block in odd:
        made = {tensor for i in block.calls for tensor in graph.calls[i].outputs}
        read = {tensor for i in block.calls for tensor in graph.calls[i].inputs}
        assert set(block.entries) == read - made
        # What enters was made by the blocks before it.
        assert set(block.entries) <= there
        outside = {
            tensor
            for call in graph.calls
            if call.index not in block.calls
            for tensor in call.inputs
        }
        assert set(block.exits) == made & (outside | set(graph.outputs))
        there |= set(block.exits)


def test_blocks_hold_nested_models_wholly_or_are_inside(odd):
    for nest in odd.graph.nests:
        inside = set(nest.inside)
        for block in odd:
            calls = set(block.calls)
            assert calls <= inside or inside <= calls or not calls & inside


@pytest.mark.parametrize("how", ["plain", "nested"])
@pytest.mark.parametrize("up", ["transposed", "upsampling"])
@pytest.mark.parametrize("depth", [1, 4])
def test_levels_of_a_unet(depth, how, up):
    anatomy = cw.anatomy(networks.unet(depth, how, up))
    assert [block.kind for block in anatomy] == ["plain"] * (2 * depth + 1) + ["head"]
    # Ronneberger et al. 2015, figure 1: resolution and width of each level, down and up.
    levels = [(64 >> i, 64 >> i, 4 << i) for i in range(depth + 1)]
    assert [block.output_shape[1:] for block in anatomy][:-1] == levels + levels[-2::-1]
    for i in range(depth):
        # Two ways enter a level on the way up: from below, and across.
        assert anatomy[2 * depth - i].entries == (
            *anatomy[2 * depth - i - 1].exits,
            *anatomy[i].exits,
        )


def test_residual_blocks_in_a_unet():
    anatomy = cw.anatomy(networks.unet(3, "residual"))
    assert len(residual(anatomy)) == 7
    assert all(block.shortcut == "projection" for block in residual(anatomy))


def test_a_pyramid_keeps_the_blocks_of_its_backbone():
    alone, anatomy = cw.anatomy(untrained("ResNet50")), cw.anatomy(networks.pyramid())
    assert [(b.name, b.kind, b.layers) for b in anatomy][: len(alone)] == [
        (b.name, b.kind, b.layers) for b in alone
    ]
    # Lin et al. 2017, figure 3: at each level what comes from above, a lateral convolution, their
    # sum, and a convolution that finishes it.
    top, *levels = anatomy.blocks[len(alone) :]
    assert len(top.layers) == 2
    assert [len(level.layers) for level in levels] == [4, 4, 4]
    assert [level.output_shape[1:3] for level in levels] == [(4, 4), (8, 8), (16, 16)]


def test_a_long_addition_hides_no_blocks():
    anatomy = cw.anatomy(networks.super_resolution())
    kinds = [block.kind for block in anatomy]
    assert kinds == ["stem"] + ["residual"] * 16 + ["plain", "top", "head"]
    anatomy = cw.anatomy(networks.super_resolution(3, 4, gates=True))
    group = ["residual"] * 4 + ["plain"]
    assert [block.kind for block in anatomy] == ["stem", *group * 3, "plain", "top", "head"]


def test_towers_have_blocks_of_their_own():
    alone = cw.anatomy(backbone())
    names = [block.name for block in cw.anatomy(networks.siamese(backbone()))]
    for number in (1, 2):
        inside = [name for name in names if name.startswith(f"backbone#{number}/")]
        assert inside == [f"backbone#{number}/{block.name}" for block in alone]
    anatomy = cw.anatomy(networks.two_towers())
    names = [block.name for block in anatomy]
    assert len(residual(anatomy)) == 2
    assert {"picture8", "picture16", "kind", "colour"} < set(names)


def test_a_translator_has_a_block_for_each_layer():
    anatomy = cw.anatomy(networks.translator(depth=3))
    # Vaswani et al. 2017, section 3.1: two sublayers in an encoder's layer, three in a decoder's.
    sums = [sum("add" in name for name in block.layers) for block in anatomy]
    assert [count for count in sums if count > 1] == [2] * 3 + [3] * 3
    assert len(anatomy) == 2 + 3 + 3 + 1


@pytest.mark.parametrize("pooling", [None, "avg"])
def test_a_transfer_model_shows_its_parts(pooling):
    alone = cw.anatomy(backbone(pooling))
    anatomy = cw.anatomy(networks.transfer(backbone(pooling)))
    inside = [f"backbone/{block.name}" for block in alone]
    assert [block.name for block in anatomy] == ["augmentation", *inside, "classifier"]
    assert [s.name for s in anatomy.stages] == [f"backbone/conv{i}" for i in range(2, 6)]


def test_numbers_count_within_a_nested_model():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same")(x)
    for _ in range(2):
        x = layers.Add()([x, layers.Conv2D(4, 3, padding="same")(x)])
    inner = keras.Model(inputs, x, name="inner")
    outer = keras.Sequential([keras.Input((8, 8, 3)), inner, layers.Flatten(), layers.Dense(2)])
    assert [block.name for block in cw.anatomy(outer)] == [
        "inner/stem", "inner/stage1_block1", "inner/stage1_block2", "classifier",
    ]  # fmt: skip


def test_masks_divide_no_chain():
    x = inputs = keras.Input((6,))
    x = layers.Embedding(9, 4, mask_zero=True)(x)
    x = layers.LSTM(4)(layers.LSTM(4, return_sequences=True)(x))
    kinds = [block.kind for block in cw.anatomy(keras.Model(inputs, layers.Dense(2)(x)))]
    assert kinds[-1] == "classifier"
    assert set(kinds[:-1]) == {"plain"}


def test_pooling_at_several_sizes_is_one_block():
    # Zhao et al. 2017, "Pyramid scene parsing network", figure 3: no U-Net, though each way goes
    # down and up in resolution.
    x = inputs = keras.Input((16, 16, 4))
    x = layers.Conv2D(4, 3, padding="same")(x)
    ways = [
        layers.UpSampling2D(size)(layers.Conv2D(2, 1)(layers.AveragePooling2D(size)(x)))
        for size in (2, 4, 8)
    ]
    x = layers.Conv2D(4, 3, padding="same")(layers.Concatenate()([x, *ways]))
    kinds = [block.kind for block in cw.anatomy(keras.Model(inputs, x))]
    assert kinds == ["stem", "dense", "top"]


def _repeats(kinds):
    """The shortest pattern, by trying every one at every place."""
    for period in range(2, len(kinds) // 3 + 1):
        for first in range(len(kinds) - 3 * period + 1):
            pattern = kinds[first : first + period]
            if kinds[first : first + 3 * period] == pattern * 3 and len(set(pattern)) > 1:
                return {"".join(pattern)}
    return set()


def test_the_pattern_of_a_chain_agrees_with_a_brute_force_search():
    choices = {"c": lambda: layers.Conv1D(2, 3, padding="same"), "d": lambda: layers.Dense(2)}
    random = Random(0)
    found = 0
    for _ in range(25):
        begin, pattern, end = (random.choices("cd", k=random.randint(1, 5)) for _ in range(3))
        kinds = [*begin, *pattern * random.randint(2, 4), *end]
        x = inputs = keras.Input((8, 2))
        for kind in kinds:
            x = choices[kind]()(x)
        chain = read(keras.Model(inputs, x))
        (line,) = lines(chain, resolutions(chain))
        signatures = _repeated(chain, _units(line.regions))
        words = {"".join(kind[0].replace("f", "d") for kind in one) for one in signatures}
        assert words == _repeats(kinds), kinds
        found += bool(words)
    assert 5 < found < 25


def test_what_is_known_of_a_model_is_forgotten_as_it_changes():
    x = inputs = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="one")], name="inner")
    dense = layers.Dense(4)
    model = keras.Model(inputs, dense(inner(x)))
    assert cw.anatomy(model).graph is cw.anatomy(model).graph
    dense.name = "renamed"
    inner.add(layers.Dense(4, name="two"))
    names = [name for block in cw.anatomy(model) for name in block.layers]
    assert names == ["inner/one", "inner/two", "renamed"]
    before = sum(block.parameters for block in cw.anatomy(model))
    dense.enable_lora(2)
    assert sum(block.parameters for block in cw.anatomy(model)) == before + 2 * (4 + 4)


def test_the_table_is_a_data_frame_with_a_row_for_each_block():
    anatomy = cw.anatomy(residual_chain(3))
    table = anatomy.table
    assert table.columns.tolist() == [
        "block", "kind", "shortcut", "stage", "output_shape", "parameters",
    ]  # fmt: skip
    assert table["block"].tolist() == [block.name for block in anatomy]
    assert table["parameters"].tolist() == [block.parameters for block in anatomy]
