"""Slices with layers of their own, and slices for other shapes."""

import keras
import numpy as np
import pytest
from keras import layers

import cutwidgets as cw
from nested_networks import names, pixels, siamese, transfer
from networks import application


def taken(part, seed=0):
    """Random values for the inputs of a slice."""
    random = np.random.default_rng(seed)
    shapes = [tuple(length or 2 for length in tensor.shape) for tensor in part.inputs]
    values = [random.normal(size=shape).astype("float32") for shape in shapes]
    return values[0] if len(values) == 1 else values


@pytest.mark.parametrize(
    "name", ["ResNet50", "EfficientNetB0", "ConvNeXtTiny", "MobileNetV3Small", "DenseNet121"]
)
def test_a_copy_equals_the_slice_and_shares_nothing(name):
    model = application(name)
    anatomy = cw.anatomy(model)
    start, end = anatomy[3].name, anatomy[6].name
    shared, copied = cw.cut(model, start, end), cw.cut(model, start, end, weights="copy")
    values = taken(shared)
    np.testing.assert_array_equal(copied(values), shared(values))
    assert names(copied) == names(shared)
    assert not {id(v) for v in copied.variables} & {id(v) for v in model.variables}
    assert not {id(layer) for layer in copied.layers} & {id(layer) for layer in model.layers}


def test_training_a_copy_leaves_the_model_alone():
    model = transfer()
    model.get_layer("backbone").get_layer("a_conv").trainable = False
    before = [np.array(weight) for weight in model.get_weights()]
    nodes = [len(layer._inbound_nodes) for layer in model.get_layer("backbone").layers]
    part = cw.cut(model, "backbone/a_conv", "scores", weights="copy")
    assert not part.get_layer("a_conv").trainable
    assert part.get_layer("b_conv").trainable
    part.trainable = False
    part.trainable = True
    part.compile("adam", "mse")
    part.fit(taken(part), np.zeros((2, 3)), verbose=0)
    assert all(map(np.array_equal, before, model.get_weights()))
    assert not model.get_layer("backbone").get_layer("a_conv").trainable
    assert model.get_layer("backbone").get_layer("b_conv").trainable
    assert nodes == [len(layer._inbound_nodes) for layer in model.get_layer("backbone").layers]


def test_shared_means_shared():
    model = transfer()
    part = cw.cut(model, "backbone/a_conv", "scores")
    part.get_layer("scores").kernel.assign(np.zeros((4, 3)))
    assert not np.array(model.get_layer("scores").kernel).any()
    part.trainable = False
    assert not model.get_layer("scores").trainable


def test_layers_that_are_called_twice_are_copied_once():
    model = siamese()
    part = cw.cut(model, weights="copy")
    values = [pixels(seed=0), pixels(seed=1)]
    np.testing.assert_array_equal(part(values), model(values))
    assert len(part.weights) == len(model.weights)
    assert names(part) == names(model)


class Scale(layers.Layer):
    """A layer whose constructor get_config() does not know."""

    def __init__(self, factor, **options):
        super().__init__(**options)
        self.factor = factor

    def get_config(self):
        return super().get_config()

    def call(self, x):
        return self.factor * x


class Wrong(layers.Layer):
    """A layer that forgets how wide it is."""

    def __init__(self, width=2, **options):
        super().__init__(**options)
        self.width = width

    def get_config(self):
        return super().get_config()

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.width))

    def call(self, x):
        return keras.ops.matmul(x, self.kernel)


@pytest.mark.parametrize("layer", [Scale(2.0, name="odd"), Wrong(3, name="odd")])
def test_layers_that_cannot_be_copied(layer):
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(2)(layer(layers.Dense(4)(x))))
    with pytest.raises(cw.CutError, match="'odd'.*get_config.*weights='share'"):
        cw.cut(model, "odd", weights="copy")
    assert cw.check(model, "odd").ok
    assert model(np.ones((1, 4))).shape == (1, 2)


def test_a_lambda_is_copied():
    x = keras.Input((4,))
    model = keras.Model(x, layers.Lambda(lambda v: 2 * v, name="twice")(layers.Dense(4)(x)))
    part = cw.cut(model, "twice", weights="copy")
    np.testing.assert_array_equal(part(np.ones((1, 4))), 2 * np.ones((1, 4)))


def test_another_resolution():
    model = application("ResNet50")
    usual = cw.cut(model, "conv3", "conv4")
    part = cw.cut(model, "conv3", "conv4", input_shape=(40, 24, 256))
    assert part.input_shape == (None, 40, 24, 256)
    assert part.output_shape == (None, 10, 6, 1024)
    # Far from the margins, a convolutional network sees the same in a larger picture.
    wide = np.random.default_rng(0).normal(size=(1, 40, 24, 256)).astype("float32")
    free = keras.applications.ResNet50(include_top=False, weights=None)
    free.set_weights(model.get_weights())
    np.testing.assert_allclose(
        part(wide), cw.cut(free, "conv3", "conv4")(wide), rtol=1e-5, atol=1e-5
    )
    assert usual.input_shape == cw.cut(model, "conv3", "conv4").input_shape == (None, 16, 16, 256)
    copied = cw.cut(model, "conv3", "conv4", input_shape=(40, 24, 256), weights="copy")
    np.testing.assert_array_equal(copied(wide), part(wide))


def test_another_batch():
    part = cw.cut(application("ResNet50"), "conv3", "conv4", input_shape=(4, 16, 16, 256))
    assert part.input_shape == (4, 16, 16, 256)
    assert part.output_shape == (4, 4, 4, 1024)


def test_a_shape_that_a_layer_does_not_take():
    vgg = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=5)
    nodes = [len(layer._inbound_nodes) for layer in vgg.layers]
    for weights in ("share", "copy"):
        with pytest.raises(cw.CutError, match=r"'fc1'.*\(None, 2048\).*\(None, 512\)"):
            cw.cut(vgg, "block2", input_shape=(32, 32, 64), weights=weights)
    with pytest.raises(cw.CutError, match=r"'block2_conv1'.*\(None, 16, 16, 3\)"):
        cw.cut(vgg, "block2", input_shape=(16, 16, 3))
    assert nodes == [len(layer._inbound_nodes) for layer in vgg.layers]


@pytest.mark.parametrize("shape", [3, (3,), (16, 16), (0, 16, 256), ("a", 16, 256), [(1,), (2,)]])
def test_shapes_that_are_none(shape):
    with pytest.raises(cw.CutError, match="input_shape does not fit.*'conv2_block3_out'"):
        cw.cut(application("ResNet50"), "conv3", input_shape=shape)


def test_shapes_of_several_inputs():
    model = application("ResNet50")
    asked = {"conv3_block1_out": (32, 32, 512), "conv3_block2_1_relu": (32, 32, 128)}
    for shapes in (asked, list(reversed(asked.values()))):
        part = cw.cut(model, "conv3_block2_2_conv", "conv3", allow_bypass=True, input_shape=shapes)
        assert part.output_shape == (None, 32, 32, 512)
    with pytest.raises(cw.CutError, match="input_shape"):
        cw.cut(
            model,
            "conv3_block2_2_conv",
            "conv3",
            allow_bypass=True,
            input_shape={"else": (1, 1, 1)},
        )


@pytest.mark.parametrize(("option", "value"), [("weights", "borrow")])
def test_options_that_are_none(option, value):
    with pytest.raises(cw.CutError, match=f"{option} must be .*{value}"):
        cw.cut(application("ResNet50"), "conv3", **{option: value})
