"""Slices and pieces, compared with the full model."""

import gc
import inspect
import subprocess
import sys
import weakref

import keras
import networkx
import numpy as np
import pytest
from keras import layers

import cutwidgets as cw
from cutwidgets.graph.interpreter import compute
from cutwidgets.graph.reader import read
from cutwidgets.surgery.slicing import section
from networks import application, images, renamed, residual_chain


def features(model, layer, x):
    """What a layer gives inside the full model: Keras's own way to ask, as the oracle."""
    return keras.Function(model.inputs, model.get_layer(layer).output)([x])


def sample(name="ResNet50"):
    model = application(name)
    return model, images(model)


def test_the_way_people_were_told_to_write_it():
    """The old layer names that raise in `Model(inputs=get_layer(...), outputs=get_layer(...))`."""
    model, x = sample()
    taken = features(model, "conv2_block3_out", x)
    wanted = np.asarray(features(model, "conv4_block6_out", x))
    layer = model.get_layer
    ways = [
        ("res3a_branch2a", "activation_89"),
        ("res3a_branch1", "add_29"),
        ("conv3_block1", "conv4_block6"),
        ("conv3", "conv4"),
        (4, 13),
        (layer("conv2_block3_out").output, layer("conv4_block6_out").output),
        (layer("conv3_block1_1_conv"), layer("conv4_block6_out")),
        (cw.anatomy(model)["conv3_block1"], cw.anatomy(model).stages[2]),
    ]
    for start, end in ways:
        part = cw.cut(model, start, end)
        assert part.input.name == "conv2_block3_out"
        if end == "add_29":
            wanted_here = np.asarray(features(model, "conv4_block6_add", x))
        else:
            wanted_here = wanted
        np.testing.assert_array_equal(part(taken), wanted_here)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("activation_1", "conv1_relu"),
        ("activation_49", "conv5_block3_out"),
        ("activation_50", "conv1_relu"),
        ("activation_89", "conv4_block6_out"),
        ("add_1", "conv2_block1_add"),
        ("add_29", "conv4_block6_add"),
        ("bn3a_branch2a", "conv3_block1_1_bn"),
        ("res5c_branch2c", "conv5_block3_3_conv"),
        ("res2a_branch1", "conv2_block1_0_conv"),
        ("bn_conv1", "conv1_bn"),
        ("conv1", "conv1_conv"),
    ],
)
def test_old_resnet50_names(old, new):
    model = application("ResNet50")
    assert cw.cut(model, None, old).output_names == [new]


@pytest.mark.parametrize("name", ["ResNet50V2", "ResNet101", "VGG16"])
def test_old_names_are_resnet50s_only(name):
    with pytest.raises(cw.UnknownPlaceError):
        cw.cut(application(name), "res3a_branch2a", "activation_89")


@pytest.mark.parametrize(
    "name", ["ResNet50", "ResNet50V2", "VGG16", "MobileNetV2", "EfficientNetB0"]
)
def test_every_piece_between_blocks_is_exact(name):
    """Split behind every block at once; every piece gives what the full model has there."""
    model, x = sample(name)
    anatomy = cw.anatomy(model)
    ends = [block.name for block in anatomy][:-1]
    pieces = cw.split(model, *ends)
    assert len(pieces) == len(anatomy)
    wanted = compute(anatomy.graph, [block.exits[0] for block in anatomy], {0: x})
    value = x
    for piece, expected in zip(pieces, wanted, strict=True):
        value = piece(value)
        np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(value, model(x))
    # The check has teeth only where the output depends on the input.
    assert np.abs(np.asarray(model(x)) - np.asarray(model(images(model, seed=5)))).max() > 1e-3


def test_layer_by_layer():
    model, x = sample()
    part = cw.cut(model, "conv3", "conv4")
    graph = read(part)
    symbols = [graph.tensors[call.outputs[0]].symbol for call in graph.calls[1:]]
    inside = keras.Function(part.inputs, symbols)([features(model, "conv2_block3_out", x)])
    outputs = [model.get_layer(call.name).output for call in graph.calls[1:]]
    outside = keras.Function(model.inputs, outputs)([x])
    assert len(outputs) == 104
    for got, expected in zip(inside, outside, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("place", ["conv3_block2_1_conv", "conv3_block2_2_conv", "conv3_block2"])
def test_end_anywhere_in_a_block_gives_that_layers_features(place):
    model, x = sample()
    part = cw.cut(model, "conv3", place)
    layer = {"conv3_block2": "conv3_block2_out"}.get(place, place)
    taken = features(model, "conv2_block3_out", x)
    np.testing.assert_array_equal(part(taken), features(model, layer, x))


def test_start_with_an_addition_takes_both_tensors():
    model, x = sample()
    part = cw.cut(model, "conv3_block2_add", "conv3_block2")
    names = [tensor.name for tensor in part.inputs]
    assert names == ["conv3_block1_out", "conv3_block2_3_bn"]
    taken = [features(model, name, x) for name in names]
    np.testing.assert_array_equal(part(taken), features(model, "conv3_block2_out", x))


def brute_force_is_legal(model, start, end):
    """Whether no path from the model's input to the end remains without the start's input."""
    made_by = {id(layer.output): layer.name for layer in model.layers}
    paths = networkx.DiGraph()
    for layer in model.layers[1:]:
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        paths.add_edges_from((made_by[id(tensor)], layer.name) for tensor in inputs)
    paths.remove_node(made_by[id(model.get_layer(start).input)])
    first = model.layers[0].name
    return first not in paths or not networkx.has_path(paths, first, end)


@pytest.mark.parametrize("name", ["ResNet50", "ResNet50V2", "EfficientNetB0"])
def test_every_start_agrees_with_a_brute_force_search(name):
    model = application(name)
    anatomy = cw.anatomy(model)
    end = model.layers[-1].name
    verdicts = set()
    for layer in model.layers[1:]:
        if isinstance(layer.input, list):
            continue
        legal = brute_force_is_legal(model, layer.name, end)
        verdicts.add(legal)
        if legal:
            section(anatomy, layer.name, end)
            continue
        with pytest.raises(cw.BypassedCutError) as caught:
            section(anatomy, layer.name, end)
        error = caught.value
        assert error.place == layer.name
        assert error.bypasses
        assert all(f"{name!r}" in str(error) for name in error.bypasses)
        assert error.nearest
        for nearest in error.nearest:
            section(anatomy, nearest, end)
    assert verdicts == {True, False}


def test_the_error_names_the_skip_and_its_way():
    model = application("ResNet50")
    with pytest.raises(cw.BypassedCutError) as caught:
        cw.cut(model, "conv3_block1_2_conv", "conv4")
    assert caught.value.bypasses == ("conv2_block3_out",)
    assert (
        "from 'conv2_block3_out' through 'conv3_block1_0_conv', 'conv3_block1_0_bn' "
        "to 'conv3_block1_add'"
    ) in str(caught.value)


def test_split_inside_a_block_is_refused():
    model = application("ResNet50")
    with pytest.raises(cw.BypassedCutError) as caught:
        cw.split(model, "conv2", "conv3_block2_2_conv")
    assert caught.value.place == "conv3_block2_2_conv"
    assert caught.value.bypasses == ("conv3_block1_out",)
    assert caught.value.nearest == ("conv3_block1", "conv3_block2")
    for nearest in caught.value.nearest:
        assert len(cw.split(model, "conv2", nearest)) == 3


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("conv4", "conv3", ["'conv4'", "comes after", "'conv3'"]),
        ("conv4_block1_out", "conv3_block1_1_conv", ["comes after"]),
        ("conv3_block1_0_conv", "conv3_block1_2_conv", ["different branches"]),
    ],
)
def test_start_after_the_end(start, end, words):
    with pytest.raises(cw.CutError) as caught:
        cw.cut(application("ResNet50"), start, end)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("ends", [("conv4", "conv3"), ("conv3", "conv3"), ("conv5",)])
def test_split_out_of_order(ends):
    with pytest.raises(cw.CutError, match="Cannot split 'resnet50' at"):
        cw.split(application("ResNet50"), *ends)


@pytest.mark.parametrize(
    "place", ["conv9", "", "conv3_block1/x", 99, -99, 3.5, True, b"conv3", ["conv3"], object()]
)
def test_unknown_places(place):
    with pytest.raises(cw.UnknownPlaceError) as caught:
        cw.cut(application("ResNet50"), place)
    assert caught.value.place is place
    assert len(caught.value.suggestions) <= 5
    assert repr(place) in str(caught.value)


def test_suggestions_are_the_nearest_names():
    with pytest.raises(cw.UnknownPlaceError, match="Did you mean 'conv3_block1'") as caught:
        cw.cut(application("ResNet50"), "conv3_blok1")
    assert caught.value.suggestions[0] == "conv3_block1"


def test_a_tensor_of_another_model_is_unknown():
    other = application("ResNet50V2").get_layer("conv3_block1_out").output
    with pytest.raises(cw.UnknownPlaceError, match="KerasTensor"):
        cw.cut(application("ResNet50"), other)


def test_a_shared_layers_name_is_ambiguous():
    x = keras.Input((3,))
    shared = layers.Dense(3, name="shared")
    model = keras.Model(x, shared(shared(x)))
    with pytest.raises(cw.UnknownPlaceError, match="2 times"):
        cw.cut(model, "shared")
    # By its tensor it can be cut, though the layer that makes the tensor is called again.
    first = shared.get_output_at(0) if hasattr(shared, "get_output_at") else shared.output
    part = cw.cut(model, first)
    value = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(part(value), shared(value))
    assert part.input.name == "shared_call_1"


def test_a_start_that_is_an_output_too():
    """Keras's own `Model(tensor, outputs)` refuses these."""
    x = keras.Input((3,))
    middle = layers.Dense(3, name="middle")(x)
    last = layers.Dense(2, name="last")(middle)
    model = keras.Model(x, [middle, last, last])
    part = cw.cut(model, middle)
    value = np.ones((2, 3), "float32")
    given, first, second = part(value)
    np.testing.assert_array_equal(given, value)
    np.testing.assert_array_equal(first, model.get_layer("last")(value))
    np.testing.assert_array_equal(first, second)


def test_further_inputs_of_the_model_become_inputs_of_the_slice():
    image, text = keras.Input((4,), name="image"), keras.Input((5,), name="text")
    seen = layers.Dense(3, name="seen")(layers.Dense(3, name="look")(image))
    said = layers.Dense(3, name="said")(text)
    model = keras.Model([image, text], layers.Dense(2, name="answer")(layers.Add()([seen, said])))
    part = cw.cut(model, "seen", "answer")
    assert [tensor.name for tensor in part.inputs] == ["look", "text"]
    values = [keras.ops.ones((2, 4)), keras.ops.ones((2, 5))]
    looked = model.get_layer("look")(values[0])
    np.testing.assert_array_equal(part([looked, values[1]]), model(values))
    with pytest.raises(cw.BypassedCutError, match="'text'"):
        cw.split(model, "seen")


def message_of(function, *args):
    with pytest.raises(cw.CutError) as caught:
        function(*args)
    return str(caught.value)


def test_inputs_and_outputs_are_no_skip_connections():
    image, label = keras.Input((6,), name="image"), keras.Input((2,), name="label")
    hidden = layers.Dense(4, name="hidden")(image)
    loss = layers.Subtract(name="loss")([layers.Dense(2, name="scores")(hidden), label])
    message = message_of(cw.split, keras.Model([image, label], loss), "hidden")
    assert "the input 'label' to 'loss' bypasses it" in message
    assert "skip connection" not in message

    x = keras.Input((5, 3))
    lstm = layers.LSTM(2, return_state=True, return_sequences=True)
    sequence, *states = layers.Bidirectional(lstm, name="both")(x)
    y = layers.Dense(1, name="scores")(layers.LSTM(2, name="reader")(sequence))
    message = message_of(cw.split, keras.Model(x, [y, states[0], states[2]]), "reader")
    assert message.count("the output 'both' of the model bypasses it") == 1
    assert "skip connection" not in message

    x = keras.Input((6,))
    trunk = layers.Dense(6, name="trunk")(x)
    y = layers.Dense(2, name="main")(layers.Dense(3, name="middle")(trunk))
    side = layers.Dense(2, name="side")(trunk)
    message = message_of(cw.split, keras.Model(x, [y, side]), "middle")
    assert "the branch from 'trunk' to an output of the model bypasses it" in message


def test_a_layer_inside_of_a_wrapper_is_said_to_be_inside():
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="deep")], name="inner")
    lstm = layers.LSTM(2, return_sequences=True, name="lstm")
    x = keras.Input((5, 3))
    y = layers.TimeDistributed(inner, name="each")(x)
    model = keras.Model(x, layers.Bidirectional(lstm, name="both")(y))
    both = model.get_layer("both")
    for place, wrapper in [
        ("deep", "each"),
        ("inner", "each"),
        (inner.layers[0], "each"),
        ("forward_lstm", "both"),
        ("both/backward_lstm", "both"),
        (both.forward_layer, "both"),
        (both.forward_layer.cell, "both"),
    ]:
        assert f"lies inside the layer {wrapper!r}" in message_of(cw.cut, model, place)
        assert cw.cut(model, wrapper).layers


def test_nothing_is_told_twice():
    model = residual_chain(2)
    message = message_of(cw.cut, model, "block")
    assert message.count("'block0'") == message.count("'block1'") == 1
    assert "Its blocks are 'block0', 'block1'" in message_of(cw.cut, model, "zzz")
    x = keras.Input((3,))
    shared = layers.Dense(3, name="shared")
    message = message_of(cw.cut, keras.Model(x, shared(shared(x))), "shared")
    assert message.count("'shared#1'") == message.count("'shared#2'") == 1


def test_an_input_in_place_of_a_call_of_a_shared_layer_says_which_call():
    x = keras.Input((3,))
    shared = layers.Dense(3, name="shared")
    first = shared(x)
    second = shared(layers.ReLU(name="relu")(first))
    y = layers.Dense(3, name="last")(layers.ReLU(name="between")(second))
    model = keras.Model(x, layers.Add(name="sum")([first, y, second]))
    part = cw.cut(model, "last", allow_bypass=True)
    assert [symbol.name for symbol in part.inputs] == ["between", "shared_call_1", "shared_call_2"]


def test_structure_of_inputs_and_outputs_is_kept():
    inputs = {"a": keras.Input((2,), name="a"), "b": keras.Input((2,), name="b")}
    total = layers.Add(name="total")([inputs["a"], inputs["b"]])
    model = keras.Model(inputs, {"out": layers.Dense(1)(total)})
    values = {"a": np.ones((1, 2)), "b": np.ones((1, 2))}
    head, tail = cw.split(model, "total")
    assert list(tail(head(values))) == ["out"]
    np.testing.assert_array_equal(tail(head(values))["out"], model(values)["out"])


def test_sequential_model():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="a"), layers.Dense(2, name="b")]
    )
    x = np.ones((2, 4), "float32")
    head, tail = cw.split(model, "a")
    np.testing.assert_array_equal(tail(head(x)), model(x))


def test_slice_is_named_readably():
    part = cw.cut(application("ResNet50"), "conv3", "conv4")
    assert part.name == "resnet50_from_conv3_to_conv4"
    assert [layer.name for layer in part.layers][:2] == ["conv2_block3_out", "conv3_block1_1_conv"]


def test_slice_can_be_cut_again():
    model, x = sample()
    part = cw.cut(cw.cut(model, "conv3", "conv4"), "conv3_block2", "conv4_block2")
    taken = features(model, "conv3_block1_out", x)
    np.testing.assert_array_equal(part(taken), features(model, "conv4_block2_out", x))


def test_slice_loads_where_cutwidgets_is_not_installed(tmp_path):
    model, x = sample()
    part = cw.cut(model, "conv3", "conv3_block2")
    taken = np.asarray(features(model, "conv2_block3_out", x))
    part.save(tmp_path / "part.keras")
    np.save(tmp_path / "taken.npy", taken)
    script = """
import sys
sys.modules["cutwidgets"] = None
import keras, numpy as np
part = keras.models.load_model("part.keras")
np.save("given.npy", part(np.load("taken.npy")))
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "given.npy"), part(taken))


def test_slice_trains():
    model = renamed(application("VGG16", size=32))
    part = cw.cut(model, 0, 1)
    trained = keras.Sequential([part, layers.GlobalAveragePooling2D(), layers.Dense(2)])
    trained.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = [np.array(w) for w in part.get_weights()]
    trained.fit(np.random.default_rng(0).random((4, 32, 32, 3)), np.array([0, 1, 0, 1]), verbose=0)
    assert any((a != b).any() for a, b in zip(before, part.get_weights(), strict=True))


def state(model):
    return (
        model.get_config(),
        [np.array(weight) for weight in model.get_weights()],
        [(layer.name, layer.trainable) for layer in model.layers],
    )


def assert_same(before, after):
    assert before[0] == after[0]
    assert before[2] == after[2]
    for a, b in zip(before[1], after[1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_model_is_the_same_after_a_hundred_cuts_and_every_error():
    model = application("ResNet50")
    model.get_layer("conv3_block1_1_conv").trainable = False
    try:
        before = state(model)
        for _ in range(100):
            cw.cut(model, "conv3", "conv4")
        cw.split(model, "conv2", "conv3")
        cw.check(model, "conv3", "conv4_block2_1_relu")
        for start, end in [("conv9", None), ("conv4", "conv3"), ("conv3_block2_2_conv", "conv4")]:
            with pytest.raises(cw.CutError):
                cw.cut(model, start, end)
        assert_same(before, state(model))
    finally:
        model.get_layer("conv3_block1_1_conv").trainable = True


def test_a_thousand_cuts_leave_one_node_a_layer_and_start():
    model = renamed(application("MobileNetV2"))
    nodes = {layer: len(layer._inbound_nodes) for layer in model.layers}
    for number in range(1000):
        cw.cut(model, 3 + number % 2, 6 + number % 3)
    assert all(len(layer._inbound_nodes) <= nodes[layer] + 2 for layer in model.layers)


def test_errors_leave_no_nodes():
    model = renamed(application("ResNet50"))
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    inside = cw.anatomy(model)[4].layers[4]
    for _ in range(3):
        with pytest.raises(cw.BypassedCutError):
            cw.cut(model, inside)
    assert nodes == [len(layer._inbound_nodes) for layer in model.layers]


def test_the_model_is_freed_with_its_last_slice():
    model = residual_chain(5)
    part = cw.cut(model, "block2", "block3")
    alive = weakref.ref(model), weakref.ref(model.layers[1])
    del model
    part(np.ones((1, 4)))
    del part
    keras.backend.clear_session()
    gc.collect()
    assert [ref() for ref in alive] == [None, None]


@pytest.mark.slow
def test_models_that_are_called_on_their_own_tensors_are_not_remembered_for_good():
    alive = []
    for _ in range(20):
        model = residual_chain(2)
        cw.anatomy(model)
        model(model.inputs)
        alive.append(weakref.ref(model))
    del model
    keras.backend.clear_session()
    for _ in range(4):
        gc.collect()
    assert sum(ref() is not None for ref in alive) <= 8


def test_chains_too_long_for_keras_get_a_clear_error():
    model = residual_chain(300)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 250)
    try:
        with pytest.raises(cw.CutError, match="setrecursionlimit"):
            cw.cut(model, "block2", "block290")
    finally:
        sys.setrecursionlimit(limit)
    assert cw.cut(model, "block2", "block290")(np.ones((1, 4))).shape == (1, 4)


class Remembering(layers.Layer):
    """It declares its shape, and so says nothing of the batch that it keeps states for."""

    def build(self, shape):
        self.last = self.add_weight(shape=shape, trainable=False)

    def call(self, x):
        made = x + self.last
        self.last.assign(x)
        return made

    def compute_output_shape(self, shape):
        return shape


def for_one_batch():
    yield layers.GRU(4, stateful=True)
    yield layers.Bidirectional(layers.LSTM(4, stateful=True))
    yield layers.RNN([layers.GRUCell(4), layers.LSTMCell(2)], stateful=True)
    yield Remembering()
    yield layers.Lambda(lambda x: keras.ops.reshape(x, (2, 15)), output_shape=(15,))
    yield layers.Lambda(lambda x: x + keras.ops.ones((2, 1, 1)), output_shape=(5, 3))


@pytest.mark.parametrize("layer", list(for_one_batch()), ids=lambda layer: layer.name)
@pytest.mark.parametrize("batch", [4, None])
def test_another_batch_is_refused_by_what_keeps_one(layer, batch):
    given = keras.Input(batch_shape=(2, 5, 3))
    model = keras.Model(given, layers.Dense(1)(layer(given)))
    with pytest.raises(cw.CutError, match=layer.name):
        cw.cut(model, None, layer.name, input_shape=(batch, 5, 3))
    same = cw.cut(model, None, layer.name, input_shape=(2, 5, 3))
    assert len(same(np.ones((2, 5, 3), "float32"))) == 2


def test_another_batch_is_taken_by_what_takes_any():
    given = keras.Input(batch_shape=(2, 5, 3))
    model = keras.Model(given, layers.Dense(1)(layers.GRU(4, name="gru")(given)))
    for batch in (4, None):
        part = cw.cut(model, None, "gru", input_shape=(batch, 5, 3))
        assert part(np.ones((4, 5, 3), "float32")).shape == (4, 4)
