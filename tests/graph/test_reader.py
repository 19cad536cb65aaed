import keras
import numpy as np
import pytest
from keras import layers

from cutwidgets.errors import UnsupportedModelError
from cutwidgets.graph.callgraph import between, parameters
from cutwidgets.graph.interpreter import compute
from cutwidgets.graph.reader import find, read
from cutwidgets.graph.rebuild import repeat, units
from cutwidgets.graph.roles import role_of
from networks import application, images, plain_chain, residual_chain


@pytest.mark.parametrize("name", ["ResNet50", "MobileNetV2", "EfficientNetB0"])
def test_graph_agrees_with_keras(name):
    model = application(name)
    graph = read(model)
    assert {call.name for call in graph.calls} == {layer.name for layer in model.layers}
    assert parameters(graph, range(len(graph.calls))) == model.count_params()
    for call in graph.calls:
        layer = model.get_layer(call.name)
        assert call.layer is layer
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        if call.role != "input":
            assert [graph.tensors[i].symbol for i in call.inputs] == inputs
        assert graph.tensors[call.outputs[0]].shape == layer.output.shape


def test_calls_come_in_an_order_of_computation():
    graph = read(application("ResNet50"))
    for call in graph.calls:
        assert all(graph.tensors[tensor].maker < call.index for tensor in call.inputs)
    for tensor in graph.tensors:
        assert tensor.index in graph.calls[tensor.maker].outputs
        assert all(tensor.index in graph.calls[user].inputs for user in tensor.users)


def test_calls_of_other_models_are_not_read():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4)])
    before = read(model)
    other = keras.Input((4,))
    keras.Model(other, model.layers[0](layers.Dense(4)(other)))
    assert read(model) == before


def test_reading_leaves_the_model_alone():
    model = application("ResNet50")
    nodes = {layer.name: len(layer._inbound_nodes) for layer in model.layers}
    config = model.get_config()
    read(model)
    assert nodes == {layer.name: len(layer._inbound_nodes) for layer in model.layers}
    assert config == model.get_config()


def test_shared_layer_and_argument_given_twice():
    x = keras.Input((3,))
    shared = layers.Dense(3, name="shared")
    y = shared(shared(x))
    graph = read(keras.Model(x, layers.Add()([y, y])))
    assert [call.name for call in graph.calls[1:3]] == ["shared#1", "shared#2"]
    assert len(graph.calls[-1].inputs) == 1
    assert parameters(graph, range(len(graph.calls))) == 12


@pytest.mark.slow
@pytest.mark.parametrize("build", [plain_chain, residual_chain])
def test_no_recursion(build):
    # Keras itself needs a raised limit to build a chain of more than 990 layers.
    graph = read(build(900))
    import sys

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(150)
    try:
        assert len(between(graph, graph.outputs, ())[0]) == len(graph.calls) - 1
    finally:
        sys.setrecursionlimit(limit)


def test_compute_equals_the_model():
    model = application("ResNet50")
    graph = read(model)
    x = images(model)
    (value,) = compute(graph, graph.outputs, {graph.inputs[0]: x})
    np.testing.assert_array_equal(value, model(x, training=False))


def test_repeating_equals_the_model():
    x = keras.Input((5, 2))
    sequence, state = layers.GRU(3, return_sequences=True, return_state=True)(x)
    y = layers.Concatenate()([layers.GlobalAveragePooling1D()(sequence), state * 2.0])
    model = keras.Model(x, y)
    graph = read(model)
    new = keras.Input((5, 2))
    calls, _ = between(graph, graph.outputs, ())
    whole = units(graph, calls, graph.inputs, graph.outputs)
    copy = keras.Model(new, repeat(graph, whole, {graph.inputs[0]: new})[graph.outputs[0]])
    values = np.random.default_rng(0).normal(size=(4, 5, 2)).astype("float32")
    np.testing.assert_array_equal(copy(values), model(values))


def test_find_knows_copies_of_a_tensor():
    model = application("ResNet50")
    graph = read(model)
    symbol = model.get_layer("conv3_block1_out").output
    assert graph.maker(*find(graph, symbol)).name == "conv3_block1_out"
    assert find(graph, keras.Input((2,))) == ()


class Doubled(layers.Conv2D):
    """A layer of a user's own that extends one of Keras."""


def test_roles_follow_inheritance():
    assert role_of(Doubled(2, 3)) == "convolution"
    assert role_of(layers.Dropout(0.5)) == "dropout"
    assert role_of(layers.GRU(2)) == "recurrent"


class Subclassed(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Subclassed(name="mine"), ["mine", "subclassed", "keras.Model(inputs, outputs)"]),
        (keras.Sequential([layers.Dense(2)], name="raw"), ["raw", "not built", "build("]),
        ("resnet", ["'resnet'", "keras.Model"]),
        (None, ["None"]),
        (layers.Dense(2), ["Dense", "keras.Model"]),
    ],
)
def test_models_without_a_graph(model, words):
    with pytest.raises(UnsupportedModelError) as caught:
        read(model)
    assert all(word in str(caught.value) for word in words)
