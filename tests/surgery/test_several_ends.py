"""Slices with several ends, compared with the model's own tensors."""

import keras
import numpy as np
import pytest
from keras import layers

import cutwidgets as cw
import nested_networks
import odd_networks
from cutwidgets.graph.interpreter import compute
from cutwidgets.graph.reader import read
from cutwidgets.inference.inputs import random_input
from cutwidgets.surgery.slicing import section
from networks import application, images, masked_attention, two_towers, unet


def values_of(model, ends, x):
    """What the model's own tensors hold, by Keras: {key: layer} to {key: array}."""
    outputs = {key: model.get_layer(layer).output for key, layer in ends.items()}
    return keras.Function(model.inputs, outputs)(x)


def assert_equal(made, wanted):
    """The same keys, and under each the same array or list of arrays, bit for bit."""
    assert set(made) == set(wanted)
    for key, value in wanted.items():
        assert isinstance(made[key], list) == isinstance(value, list)
        one, other = keras.tree.flatten(made[key]), keras.tree.flatten(value)
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


# Neither in the order of the keys nor in that of computation.
PYRAMID = {"c5": "conv5", "z": "conv3", "inside": "conv4_block2_1_relu", "a": "conv4"}
LAYERS = {
    "c5": "conv5_block3_out",
    "z": "conv3_block4_out",
    "inside": "conv4_block2_1_relu",
    "a": "conv4_block6_out",
}


@pytest.mark.parametrize("weights", ["share", "copy"])
@pytest.mark.parametrize("start", [None, "conv3"])
def test_each_output_is_the_models_own_tensor(start, weights):
    model = application("ResNet50")
    x = images(model)
    part = cw.cut(model, start, PYRAMID, weights=weights)
    taken = x if start is None else values_of(model, {"x": "conv2_block3_out"}, [x])["x"]
    assert isinstance(part, keras.Model)
    assert list(part.output) == list(PYRAMID)
    assert_equal(part(taken), values_of(model, LAYERS, [x]))


def test_a_list_names_its_ends_as_they_are_written():
    model = application("ResNet50")
    last = cw.anatomy(model)[-1]
    third = cw.anatomy(model).stages[2]
    ends = ["conv3", "res4a_branch2a", last, third, model.get_layer("conv2_block1_1_relu"), 0]
    ends += [model.get_layer("conv2_block1_1_conv").output]
    part = cw.cut(model, None, ends)
    names = ["conv3", "res4a_branch2a", last.name, third.name, "conv2_block1_1_relu", "stem"]
    assert list(part.output) == [*names, "conv2_block1_1_conv"]
    own = ["conv3_block4_out", "conv4_block1_1_conv", "conv5_block3_out", "conv4_block6_out"]
    own += ["conv2_block1_1_relu", cw.anatomy(model)[0].end, "conv2_block1_1_conv"]
    x = images(model)
    wanted = values_of(model, dict(zip(part.output, own, strict=True)), [x])
    assert_equal(part(x), wanted)


@pytest.mark.parametrize("ends", [["conv4"], ("conv4",), {"conv4": "conv4"}])
def test_a_single_end_in_a_list_is_a_dictionary_too(ends):
    model = application("ResNet50")
    part = cw.cut(model, "conv3", ends)
    assert list(part.output) == ["conv4"]
    one = cw.cut(model, "conv3", "conv4")
    x = np.ones((1, 16, 16, 256), "float32")
    np.testing.assert_array_equal(part(x)["conv4"], one(x))


def test_two_keys_may_stand_for_one_tensor():
    model = application("ResNet50")
    x = images(model)
    part = cw.cut(model, None, {"stage": "conv3", "block": "conv3_block4", "all": "conv5"})
    keys = {"stage": "conv3_block4_out", "block": "conv3_block4_out", "all": "conv5_block3_out"}
    assert_equal(part(x), values_of(model, keys, [x]))


def test_the_slice_has_the_calls_of_all_ends_once():
    model = application("ResNet50")
    anatomy = cw.anatomy(model)
    together = section(anatomy, "conv3", PYRAMID)
    apart = [section(anatomy, "conv3", end).calls for end in PYRAMID.values()]
    assert together.calls == tuple(sorted(set().union(*apart)))
    part = cw.cut(model, "conv3", PYRAMID)
    assert len([call for call in read(part).calls if call.inputs]) == len(together.calls)


def test_more_ends_leave_no_more_nodes():
    model = cw.cut(application("ResNet50"), weights="copy")
    cw.cut(model, "conv3", ["conv5"])
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    cw.cut(model, "conv3", ["conv5", "conv4", "conv3_block2_1_relu"])
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes


@pytest.mark.parametrize("build", odd_networks.BUILDERS)
def test_all_blocks_of_odd_networks(build):
    """Every block at once, under keys in the reverse order."""
    keras.utils.set_random_seed(1)
    model = build()
    anatomy = cw.anatomy(model)
    graph = anatomy.graph
    ends = {f"k{99 - i}": block for i, block in enumerate(anatomy)}
    x = random_input(graph, seed=2)
    inputs = [x[tensor] for tensor in graph.inputs]
    part = cw.cut(model, None, ends)
    own = section(anatomy, None, ends)
    accepted = [x[tensor] for tensor in own.inputs]
    made = part(keras.tree.pack_sequence_as(part.input, accepted))
    if not any(graph.tensors[tensor].nested for tensor in own.outputs):
        symbols = [graph.tensors[tensor].aliases[0] for tensor in own.outputs]
        wanted = keras.Function(model.inputs, symbols)(inputs)
    else:
        wanted = compute(graph, own.outputs, x)
    for a, b in zip(keras.tree.flatten(made), wanted, strict=True):
        np.testing.assert_array_equal(a, b)
    for key, block in ends.items():
        assert len(keras.tree.flatten(made[key])) == len(block.exits)
        shape = tuple(graph.tensors[block.exits[0]].shape)
        assert tuple(keras.tree.flatten(made[key])[0].shape[1:]) == shape[1:]


def test_an_end_with_several_tensors_gives_a_list():
    model = unet(depth=2, how="residual", size=16)
    anatomy = cw.anatomy(model)
    wide = next(block for block in anatomy if len(block.exits) == 2)  # a skip leaves it, too
    part = cw.cut(model, None, {"wide": wide, "up": "up1"})
    x = images(model)
    symbols = {
        "wide": [anatomy.graph.tensors[tensor].symbol for tensor in wide.exits],
        "up": anatomy.graph.tensors[anatomy["up1"].exits[0]].symbol,
    }
    assert_equal(part(x), keras.Function(model.inputs, symbols)([x]))


def test_ends_inside_a_nested_model():
    model = nested_networks.transfer()
    x = nested_networks.pixels()
    part = cw.cut(model, "rescaling", ["scores", "backbone/a_relu", "backbone/b_add", "backbone"])
    backbone = model.get_layer("backbone")
    rescaled = model.get_layer("rescaling")(x)
    inside = {"backbone/a_relu": "a_relu", "backbone/b_add": "b_add", "backbone": "b_add"}
    wanted = values_of(backbone, inside, [rescaled])
    tail = keras.Function(model.get_layer("pool").input, model.output)
    wanted["scores"] = tail(wanted["backbone"])
    assert_equal(part(x), wanted)
    # As a whole, too, where no end lies inside of it.
    whole = cw.cut(model, "rescaling", {"z": "backbone", "a": "pool"})
    assert "backbone" in [layer.name for layer in whole.layers]
    np.testing.assert_array_equal(whole(x)["z"], wanted["backbone"])


def test_a_sequential_model():
    model = odd_networks.perceptron()
    x = np.ones((2, 20), "float32")
    one, last = model.layers[0], model.layers[-1]
    part = cw.cut(model, None, {"b": one, "a": last})
    assert_equal(part(x), {"b": one(x), "a": model(x)})


def test_masks_reach_their_readers():
    model = masked_attention()
    x = np.array([[1, 2, 3, 0, 0, 0, 0], [4, 5, 0, 0, 0, 0, 0]], "int32")
    part = cw.cut(model, None, ["read", "sum", "embedded"])
    assert_equal(part(x), values_of(model, {n: n for n in part.output}, [x]))


def test_a_model_with_several_inputs_and_outputs():
    model = two_towers()
    inputs = [np.ones((2, 32, 32, 3), "float32"), np.ones((2, 12), "float32")]
    ends = ["kind", "words", "picture8_pool", "colour"]
    part = cw.cut(model, None, ends)
    assert_equal(part(inputs), values_of(model, {n: n for n in ends}, inputs))
    # Ends of one tower need the input of that tower alone.
    tower = cw.cut(model, None, ["picture16_pool", "picture8_conv"])
    assert [tensor.name for tensor in tower.inputs] == ["picture"]


def test_the_models_own_outputs_are_named_as_well():
    model = odd_networks.output_in_the_middle()
    x = np.ones((2, 8), "float32")
    middle, _, last = model.outputs
    part = cw.cut(model, None, {"z": middle, "y": middle, "x": last})
    first, second, third = model(x)
    assert_equal(part(x), {"z": first, "y": second, "x": third})


def test_another_shape():
    model = application("ResNet50")
    part = cw.cut(model, "conv3", ["conv4", "conv3"], input_shape=(40, 24, 256))
    shapes = {key: tensor.shape for key, tensor in part.output.items()}
    assert shapes == {"conv4": (None, 10, 6, 1024), "conv3": (None, 20, 12, 512)}


def test_saved_and_loaded(tmp_path):
    model = application("ResNet50")
    x = images(model)
    part = cw.cut(model, None, PYRAMID)
    part.save(tmp_path / "part.keras")
    assert_equal(keras.models.load_model(tmp_path / "part.keras")(x), part(x))


def test_the_slice_can_be_cut_again():
    model = application("ResNet50")
    part = cw.cut(model, "conv3", {"z": "conv3", "a": "conv4"})
    again = cw.cut(part, "conv3_block2", {"b": "conv4", "a": "conv3_block3"})
    x = np.ones((1, 8, 8, 512), "float32")
    wanted = cw.cut(model, "conv3_block2", {"b": "conv4", "a": "conv3_block3"})(x)
    assert_equal(again(x), wanted)


# --- Refusals -------------------------------------------------------------------------------------


def message_of(kind, *args, **kwargs):
    with pytest.raises(cw.CutError) as caught:
        cw.cut(application("ResNet50"), *args, **kwargs)
    assert type(caught.value) is kind
    return str(caught.value)


@pytest.mark.parametrize(
    ("start", "ends", "words"),
    [
        ("conv4", ["conv5", "conv3"], "the start 'conv4' comes after the end 'conv3'"),
        ("conv4", {"a": "conv5", "b": "conv2"}, "the start 'conv4' comes after the end 'conv2'"),
        (
            "conv3_block1_0_conv",
            ["conv3_block1_0_bn", "conv3_block1_2_conv"],
            "'conv3_block1_2_conv' is not computed from 'conv3_block1_0_conv'",
        ),
        (None, ["conv3", "input"], "nothing comes before 'input'"),
        (None, [], "There are no ends in []"),
        (None, {}, "There are no ends in {}"),
        (None, ["conv3", "conv3"], "Two of the ends are named 'conv3'"),
        (None, [5, 5], "Two of the ends are named"),
        (None, {"": "conv3"}, "Received: ''"),
        (None, {3: "conv3"}, "Received: 3"),
        (None, {None: "conv3"}, "Received: None"),
    ],
)
def test_the_refusal_names_the_end(start, ends, words):
    model = application("ResNet50")
    ends = [model.layers[0] if end == "input" else end for end in ends] if "input" in ends else ends
    words = words.replace("'input'", repr(model.layers[0].name))
    assert words in message_of(cw.CutError, start, ends)


def test_an_end_that_is_the_starts_own_tensor():
    model = application("ResNet50")
    tensor = model.get_layer("conv3_block1_out").output
    for end in (tensor, "conv3_block1"):
        message = message_of(cw.CutError, tensor, ["conv4", end])
        assert "is the tensor that the slice accepts" in message


def test_a_bypassed_start_says_which_ends_need_more():
    message = message_of(
        cw.BypassedCutError, "conv3_block2_2_conv", ["conv3_block2_3_conv", "conv4"]
    )
    assert "so the end 'conv4' cannot" in message
    message = message_of(
        cw.BypassedCutError, "conv3_block2_2_conv", ["conv3", "conv3_block2_2_relu", "conv4"]
    )
    assert "so the ends 'conv3' and 'conv4' cannot" in message
    # However far: the end that can be reached is not where to stop.
    ends = {"a": "conv3_block2_2_bn", "z": "conv4"}
    message = message_of(cw.BypassedCutError, "conv3_block2_2_conv", ends)
    assert "anywhere up to 'conv3_block2_3_bn'" in message


def test_the_nearest_places_work_for_all_ends():
    model = application("ResNet50")
    ends = ["conv3_block2_3_bn", "conv4"]
    with pytest.raises(cw.BypassedCutError) as caught:
        cw.cut(model, "conv3_block2_2_conv", ends)
    assert caught.value.nearest
    for nearest in caught.value.nearest:
        cw.cut(model, nearest, ends)


def test_what_bypasses_becomes_an_input_once():
    model = application("ResNet50")
    x = images(model)
    ends = ["conv4", "conv3_block2", "conv3_block2_3_bn"]
    part = cw.cut(model, "conv3_block2_2_conv", ends, allow_bypass=True)
    names = [tensor.name for tensor in part.inputs]
    assert names == ["conv3_block2_1_relu", "conv3_block1_out"]
    taken = values_of(model, {name: name for name in names}, [x])
    own = ["conv4_block6_out", "conv3_block2_out", "conv3_block2_3_bn"]
    wanted = values_of(model, dict(zip(ends, own, strict=True)), [x])
    assert_equal(part([taken[name] for name in names]), wanted)


def test_two_outputs_of_a_layer_need_keys():
    x = keras.Input((4, 3))
    sequence, state = layers.GRU(2, return_sequences=True, return_state=True, name="gru")(x)
    model = keras.Model(x, [sequence, state])
    with pytest.raises(cw.CutError, match="Two of the ends are named 'gru'"):
        cw.cut(model, None, [sequence, state])
    value = np.ones((2, 4, 3), "float32")
    part = cw.cut(model, None, {"z": sequence, "a": state, "both": "gru"})
    first, second = model(value)
    assert_equal(part(value), {"z": first, "a": second, "both": [first, second]})


def test_a_failure_leaves_the_model_as_it_was():
    model = application("ResNet50")
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    for ends in (["conv4", "conv2"], ["conv4", "conv4"], ["conv4", "conv9"], {"": "conv4"}):
        with pytest.raises(cw.CutError):
            cw.cut(model, "conv3", ends)
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes


def test_names_of_slices():
    model = application("ResNet50")
    assert cw.cut(model, "conv3", ["conv3", "conv5"]).name == "resnet50_from_conv3_to_conv3_conv5"
    assert cw.cut(model, None, {"C 3": "conv3"}).name == "resnet50_to_C_3"
    assert cw.cut(model, None, [0, 1, 2, 3]).name == "resnet50_to_4_ends"
