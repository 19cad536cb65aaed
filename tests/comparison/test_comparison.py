"""Models compared with what was done to them on purpose."""

import re
from functools import partial
from xml.etree import ElementTree

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

import cutwidgets as cw
import nested_networks
import odd_networks
from networks import (
    plain_chain,
    pyramid,
    renamed,
    residual_chain,
    super_resolution,
    translator,
    two_towers,
    unet,
    untrained,
)

NETWORKS = {
    "ResNet50": partial(untrained, "ResNet50", 64),
    "DenseNet121": partial(untrained, "DenseNet121", 64),
    "MobileNetV3Small": partial(untrained, "MobileNetV3Small", 64),
    "chain": partial(plain_chain, 5),
    "U-Net": unet,
    "pyramid": pyramid,
    "super-resolution": super_resolution,
    "translator": translator,
    "two towers": two_towers,
    "transfer": nested_networks.transfer,
    "siamese": nested_networks.siamese,
} | {
    name: getattr(odd_networks, name)
    for name in (
        "masked raw_operations transformer shared_layer recurrent_states output_in_the_middle "
        "dictionaries mixed_precision hostile_names scalars several_outputs_of_a_layer"
    ).split()
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    return NETWORKS[request.param]()


@pytest.fixture(scope="module")
def resnet():
    return untrained("ResNet50", 64)


def chain(blocks, width=4, prefix="block", **changes):
    """A residual network of dense layers, with settings that differ in some blocks."""
    x = keras.Input((width,), name="x")
    y = layers.Dense(width, name="stem")(x)
    for i in blocks:
        setting = changes.get(f"b{i}", {"activation": "tanh"})
        branch = layers.Dense(width, name=f"{prefix}{i}_dense", **setting)(y)
        y = layers.Add(name=f"{prefix}{i}_add")([y, branch])
    return keras.Model(x, layers.Dense(2, name="top")(y), name="chain")


def statuses(difference):
    """What happened to which block."""
    return [(row.status, row.block or row.other) for row in difference.blocks
            if row.status != "same"]  # fmt: skip


# --- Nothing ---


def test_a_model_is_the_same_as_itself(network):
    difference = cw.compare(network, network)
    assert difference.same
    assert statuses(difference) == []
    assert [row.block for row in difference.blocks] == [b.name for b in cw.anatomy(network)]


def test_a_copy_is_the_same_and_other_names_are_no_difference(network):
    assert cw.compare(network, cw.cut(network, weights="copy")).same


@pytest.mark.parametrize("name", ["ResNet50", "U-Net", "chain"])
def test_a_renamed_clone_is_the_same(name):
    model = NETWORKS[name]()
    clone = renamed(model)
    clone.set_weights(model.get_weights())
    assert not {layer.name for layer in clone.layers} & {layer.name for layer in model.layers}
    difference = cw.compare(model, clone)
    assert difference.same, difference
    assert len(difference.rows) == len(difference.blocks)


def test_names_that_are_exchanged_are_no_difference_where_weights_are_equal():
    model = chain(range(4))
    order = dict(zip(range(4), (2, 0, 3, 1), strict=True))

    def other(layer):
        config = layer.get_config()
        config["name"] = re.sub(r"\d", lambda d: str(order[int(d[0])]), config["name"])
        return type(layer).from_config(config)

    clone = keras.models.clone_model(model, clone_function=other)
    clone.set_weights(model.get_weights())
    assert cw.compare(model, clone).same


def test_a_flat_network_is_the_same_as_its_nested_twin():
    inner = residual_chain(3)
    x = keras.Input(inner.input_shape[1:])
    assert cw.compare(inner, keras.Model(x, inner(x))).same


# --- Structure ---


def test_a_slice_lacks_what_was_cut_off(resnet):
    difference = cw.compare(resnet, cw.cut(resnet, "conv3", "conv4"))
    kept = {f"conv3_block{i}" for i in range(1, 5)} | {f"conv4_block{i}" for i in range(1, 7)}
    gone = [block.name for block in cw.anatomy(resnet) if block.name not in kept]
    assert statuses(difference) == [("removed", name) for name in gone]
    assert set(difference.table.status) == {"same", "removed"}


def test_a_smaller_model_lacks_what_was_removed(resnet):
    places = ["conv2_block3", "conv3_block2", "conv3_block3", "conv5_block2"]
    for some in (places, places[1:3], places[:1]):
        difference = cw.compare(resnet, cw.remove(resnet, *some))
        assert statuses(difference) == [("removed", name) for name in some]
        back = cw.compare(cw.remove(resnet, *some), resnet)
        assert statuses(back) == [("added", name) for name in some]


def test_what_was_replaced_is_another_block(resnet):
    new = layers.Conv2D(512, 3, padding="same", name="simple")
    difference = cw.compare(resnet, cw.replace(resnet, "conv3_block2", new))
    assert sorted(statuses(difference)) == [("added", "simple"), ("removed", "conv3_block2")]


@pytest.mark.parametrize("order", [(0, 2, 1, 3), (0, 2, 3, 1), (0, 3, 1, 2), (0, 3, 2, 1)])
def test_what_changed_places_was_moved(resnet, order):
    pieces = cw.split(resnet, *(f"conv4_block{i}" for i in (2, 3, 4, 5)))
    inner = [pieces[1 + i] for i in range(3)]
    joined = cw.join(pieces[0], *(inner[i - 1] for i in order[1:]), *pieces[4:])
    moved = statuses(cw.compare(resnet, joined))
    assert {status for status, _ in moved} == {"moved"}
    assert len(moved) == (2 if order == (0, 3, 2, 1) else 1)


def test_resnet101_has_17_blocks_more_in_its_fourth_stage(resnet):
    # He et al. 2015, table 1: 3, 4, 6, 3 blocks, and 3, 4, 23, 3.
    difference = cw.compare(resnet, untrained("ResNet101", 64))
    assert statuses(difference) == [("added", f"conv4_block{i}") for i in range(7, 24)]
    assert "17 blocks more in conv4: 'conv4_block7' … 'conv4_block23'" in difference.finding


def test_every_residual_block_of_resnet50v2_is_another_one(resnet):
    # He et al. 2016, figure 1: normalisation and activation come before the weights.
    difference = cw.compare(resnet, untrained("ResNet50V2", 64))
    pairs = [(row.block, row.other) for row in difference.blocks if row.status == "changed"]
    names = [block.name for block in cw.anatomy(resnet) if block.kind == "residual"]
    assert pairs == [(name, name) for name in ["stem", *names]]
    assert not [row for row in difference.blocks if row.status == "same"]


def test_vgg19_has_a_convolution_more_in_three_blocks():
    # Simonyan and Zisserman 2015, table 1, columns D and E.
    difference = cw.compare(untrained("VGG16", 64), untrained("VGG19", 64))
    assert statuses(difference) == [("changed", f"block{i}") for i in (3, 4, 5)]
    inside = [row for row in difference.rows if row.layer and row.status != "same"]
    assert [(row.status, row.block) for row in inside] == [
        ("added", f"block{i}") for i in (3, 4, 5)
    ]


def test_a_skip_that_reads_another_place_is_a_change():
    def network(source):
        x = keras.Input((16, 16, 4), name="x")
        maps = [x]
        for i in range(3):
            maps.append(layers.Conv2D(4, 3, 2, "same", name=f"down{i}")(maps[-1]))
        y = maps[-1]
        for i in range(3):
            y = layers.Conv2DTranspose(4, 3, 2, "same", name=f"up{i}")(y)
            skip = layers.Resizing(*y.shape[1:3], name=f"size{i}")(maps[source if i == 1 else 2])
            y = layers.Concatenate(name=f"join{i}")([y, skip])
        return keras.Model(x, layers.Conv2D(1, 1, name="last")(y))

    assert not [row for row in cw.compare(network(1), network(1)).rows if row.status != "same"]
    difference = cw.compare(network(1), network(2))
    assert not difference.same
    assert any("reads" in row.details for row in difference.blocks), difference


SETTINGS = [
    {"activation": "relu"},
    {"activation": None},
    {"use_bias": False},
    {"kernel_regularizer": "l2"},
    {"dtype": "float64"},
    {"kernel_constraint": "non_neg"},
]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: next(iter(setting)))
def test_a_setting_of_one_layer_is_found(setting):
    changed = {"activation": "tanh"} | setting
    difference = cw.compare(chain(range(4)), chain(range(4), b2=changed))
    assert statuses(difference) == [("changed", "block2")]
    (row,) = [row for row in difference.rows if row.layer and row.status != "same"]
    assert (row.status, row.layer) == ("changed", "block2_dense")
    assert next(iter(setting)) in row.details


@pytest.mark.parametrize("setting", [{"kernel_initializer": "ones"}, {"trainable": False}])
def test_what_changes_no_result_is_no_change(setting):
    changed = {"activation": "tanh"} | setting
    assert statuses(cw.compare(chain(range(3)), chain(range(3), b1=changed))) == []


def test_seeds_count_in_layers_of_the_user_alone():
    @keras.saving.register_keras_serializable("comparison")
    class Noise(layers.Layer):
        def __init__(self, seed, **options):
            super().__init__(**options)
            self.seed = seed

        def call(self, x):
            return x + self.seed

        def get_config(self):
            return super().get_config() | {"seed": self.seed}

    def model(layer):
        return keras.Sequential([keras.Input((3,)), layers.Dense(3, name="a"), layer])

    one, other = (model(layers.Dropout(0.1, seed=seed)) for seed in (1, 2))
    assert statuses(cw.compare(one, other)) == []
    one, other = (model(Noise(seed)) for seed in (1, 2))
    assert [status for status, _ in statuses(cw.compare(one, other))] == ["changed"]


def test_functions_are_compared_by_what_they_do():
    def model(function):
        return keras.Sequential([keras.Input((3,)), layers.Lambda(function, name="f")])

    factor = 2
    same = model(lambda x: 2 * x), model(lambda x: 2 * x)
    assert cw.compare(*same).same
    for function in (lambda x: 3 * x, lambda x: x * 2, lambda x: factor * x):
        assert not cw.compare(same[0], model(function)).same


def test_layers_without_a_configuration_are_compared_by_their_attributes():
    class Scaled(layers.Layer):
        def __init__(self, factor):
            super().__init__(name="scaled")
            self.factor = factor

        def call(self, x):
            return self.factor * x

    def model(factor):
        return keras.Sequential([keras.Input((3,)), Scaled(factor)])

    assert cw.compare(model(2), model(2)).same
    assert not cw.compare(model(2), model(3)).same


def test_a_layer_that_is_called_twice_is_not_two_layers_of_equal_weights():
    def model(*shared):
        x = keras.Input((4,), name="x")
        y = shared[0](x)
        return keras.Model(x, shared[-1](layers.ReLU(name="between")(y)))

    once, twice = model(layers.Dense(4, name="a")), model(*(layers.Dense(4) for _ in range(2)))
    for layer in twice.layers:
        if layer.weights:
            layer.set_weights(once.get_layer("a").get_weights())
    assert cw.compare(once, once).same
    for pair in ((once, twice), (twice, once)):
        difference = cw.compare(*pair)
        assert not difference.same
        assert "shares its weights" in repr(difference)


def test_the_same_layers_in_another_wiring_are_a_change():
    def model(swapped):
        x = keras.Input((4,), name="x")
        y = layers.Dense(4, name="a", kernel_initializer="ones")(x)
        return keras.Model(x, layers.Subtract(name="difference")([y, x] if swapped else [x, y]))

    assert cw.compare(model(True), model(True)).same
    difference = cw.compare(model(False), model(True))
    assert not difference.same
    assert "connected in another way" in repr(difference)


def test_constants_of_operations_count():
    def model(value):
        x = keras.Input((3,))
        return keras.Model(x, keras.ops.maximum(x, value) + 1)

    assert cw.compare(model(0.0), model(0.0)).same
    assert not cw.compare(model(0.0), model(1.0)).same


def test_another_input_shape_is_said():
    def model(size):
        x = keras.Input((size, size, 3), name="photo")
        return keras.Model(x, layers.Conv2D(2, 3, name="conv", kernel_initializer="ones")(x))

    difference = cw.compare(model(8), model(16))
    assert not difference.same
    assert statuses(difference) == []
    assert "The input 'photo' differs: 8×8×3 float32 → 16×16×3 float32." in difference.finding


def test_outputs_that_were_added_count(resnet):
    inner = resnet.get_layer("conv4_block6_out").output
    difference = cw.compare(resnet, keras.Model(resnet.inputs, [resnet.output, inner]))
    assert not difference.same
    assert "outputs differ: conv5_block3_out → conv5_block3_out, conv4_b" in difference.finding
    orders = ([resnet.output, inner], [inner, resnet.output])
    assert not cw.compare(*(keras.Model(resnet.inputs, order) for order in orders)).same


# --- Weights and outputs ---


def relative(before, after):
    before, after = (np.concatenate([np.ravel(w) for w in ws]) for ws in (before, after))
    return np.linalg.norm(after - before) / np.linalg.norm(before)


def test_frozen_stages_have_equal_weights_and_only_they_have():
    keras.utils.set_random_seed(0)
    model = chain(range(5), width=8)
    tuned = cw.cut(model, weights="copy")
    names = {layer.name for layer in model.layers}
    for layer in tuned.layers:
        layer.trainable = layer.name not in {"stem", "block0_dense", "block1_dense", "block2_dense"}
    x = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
    tuned.compile("adam", "mse")
    tuned.fit(x, x[:, :2], epochs=3, verbose=0)
    difference = cw.compare(model, tuned, x)
    assert statuses(difference) == []
    assert not difference.same
    frozen = {row.block for row in difference.blocks if row.weight_change == 0}
    assert frozen == {"stem_2", "block0", "block1", "block2"}  # the first layer has the name "stem"
    blocks, after = cw.activations(model, x), cw.activations(tuned, x)
    for row in difference.blocks:
        places = (f"{row.block}_dense", row.block.removesuffix("_2"))
        layer = next(name for name in places if name in names)
        weights = [m.get_layer(layer).get_weights() for m in (model, tuned)]
        np.testing.assert_allclose(row.weight_change, relative(*weights), rtol=1e-5)
        apart = relative([blocks[row.block]], [after[row.block]])
        np.testing.assert_allclose(row.output_difference, apart, rtol=1e-4)
        assert (row.output_difference == 0) == (row.block in frozen)
    assert "those of 'stem_2', 'block0', 'block1', 'block2' are equal" in difference.finding


def test_statistics_of_normalisations_count():
    def model():
        return keras.Sequential([keras.Input((3,)), layers.BatchNormalization(name="norm")])

    one, other = model(), model()
    assert cw.compare(one, other).same
    other.layers[0].moving_mean.assign([1.0, 0.0, 0.0])
    assert not cw.compare(one, other).same


def test_states_that_are_no_weights_count():
    one, other = (layers.Normalization(name="norm") for _ in range(2))
    one.adapt(np.array([[1.0], [2.0]]))
    other.adapt(np.array([[1.0], [3.0]]))
    models = [keras.Sequential([keras.Input((1,)), layer]) for layer in (one, other)]
    assert cw.compare(models[0], models[0]).same
    assert not cw.compare(*models).same


def test_nan_in_the_weights_is_no_equality():
    one, other = chain([0]), chain([0])
    other.set_weights(one.get_weights())
    assert cw.compare(one, other).same
    kernel, bias = other.get_layer("top").get_weights()
    kernel[0, 0] = np.nan
    other.get_layer("top").set_weights([kernel, bias])
    assert not cw.compare(one, other).same
    assert cw.compare(other, cw.cut(other, weights="copy")).same


def test_an_input_that_one_model_refuses_is_named():
    with pytest.raises(cw.CutwidgetsError, match="Both models must accept the input"):
        cw.compare(chain([0], width=4), chain([0], width=5), np.zeros((2, 5), "float32"))


# --- Random edits ---


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_the_list_of_differences_is_never_longer_than_that_of_the_edits(data):
    order, edits = list(range(7)), 0
    changes = {}
    for _ in range(data.draw(st.integers(0, 4))):
        what = data.draw(st.sampled_from(["remove", "add", "move", "change"]))
        position = data.draw(st.integers(0, max(len(order) - 1, 0)))
        edits += 1
        if what == "add":
            order.insert(position, 10 + edits)
            changes[f"b{10 + edits}"] = {"activation": data.draw(st.sampled_from(["elu", "tanh"]))}
        elif order and what == "remove":
            order.pop(position)
        elif order and what == "move":
            order.insert(data.draw(st.integers(0, len(order) - 1)), order.pop(position))
        elif order:
            changes[f"b{order[position]}"] = {"activation": "gelu"}
    model, other = chain(range(7)), chain(order, **changes)
    difference = cw.compare(model, other)
    assert len(statuses(difference)) <= edits, difference


# --- What is shown ---


def test_the_picture_shows_both_and_escapes_names():
    hostile = odd_networks.hostile_names()
    difference = cw.compare(hostile, chain(range(2)))
    ElementTree.fromstring(difference.svg)
    assert "<script" not in difference._repr_html_()


def test_many_equal_blocks_are_one_card(resnet):
    svg = cw.compare(resnet, cw.remove(resnet, "conv3_block2")).svg
    texts = [
        text.text for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert "5 blocks, the same" in texts
    assert "conv3_block2" in texts
    assert len(texts) < 30


def test_the_plot_has_a_bar_for_each_block(resnet):
    difference = cw.compare(resnet, cw.remove(resnet, "conv3_block2"))
    axes = difference.plot()
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        row.block or row.other for row in difference.blocks
    ]


def test_the_table_has_a_row_for_each_block(resnet):
    difference = cw.compare(resnet, cw.remove(resnet, "conv3_block2"))
    table = difference.table
    assert list(table.columns) == [
        *("status", "block", "layer", "other", "weight_change", "output_difference", "details")
    ]
    assert table.layer.isna().all()
    assert "conv3_block2" in repr(difference)
    assert "conv3_block3" not in repr(difference)
