"""Folding of batch normalisations, compared with the network as it was."""

import itertools
import warnings

import keras
import numpy as np
import pytest
from keras import layers

import cutwidgets as cw
from cutwidgets import lab
from nested_networks import names, pixels, siamese, transfer
from networks import application, images, settle


def scramble(model, seed=0):
    """Random weights and statistics; variances far from 1."""
    random = np.random.default_rng(seed)
    for layer in model._flatten_layers():
        for variable in layer._trainable_variables + layer._non_trainable_variables:
            if variable.dtype in ("float32", "float64"):
                value = random.normal(size=variable.shape)
                if "variance" in variable.name:
                    value = np.exp(2 * value)
                variable.assign(value)
    return model


def assert_folded(model, x, removed):
    """The same function without some layers, and the model is as it was."""
    config, weights = model.get_config(), [np.array(weight) for weight in model.get_weights()]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        folded = cw.fold(model)
    wanted, found = (np.asarray(keras.ops.convert_to_numpy(m(x))) for m in (model, folded))
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
    kinds = [type(layer) for layer in folded._flatten_layers()]
    assert layers.BatchNormalization not in kinds
    before = [type(layer) for layer in model._flatten_layers()]
    assert before.count(layers.BatchNormalization) == removed
    assert folded.name == model.name
    assert config == model.get_config()
    assert all(map(np.array_equal, weights, model.get_weights()))
    return folded


def test_resnet50_loses_53_layers():
    model = application("ResNet50")
    folded = assert_folded(scramble_statistics(model), images(model), 53)
    assert len(model.layers) - len(folded.layers) == 53
    assert names(folded) == [name for name in names(model) if not name.endswith("_bn")]


@pytest.mark.parametrize(
    ("blocks", "shortcuts", "gone"),
    [((6, 6, 6), False, 37), pytest.param((18, 18, 18), True, 111, marks=pytest.mark.slow)],
)
def test_trained_networks(blocks, shortcuts, gone):
    plain = {} if shortcuts else {"shortcuts": False}
    model = lab.trained(blocks=blocks, width=8, epochs=24, seed=0, **plain)
    x, y = lab.digits().test
    folded = assert_folded(model, x, gone)
    wanted, found = model.predict(x, verbose=0), folded.predict(x, verbose=0)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert (found.argmax(1) == y).mean() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "gone", "left"),
    [
        ("MobileNetV2", 52, 0),
        ("EfficientNetB0", 49, 0),
        ("InceptionV3", 94, 0),
        ("Xception", 40, 0),
        ("ResNet50V2", 32, 17),  # the others come before their convolutions
        ("DenseNet121", 59, 62),
    ],
)
def test_the_applications(name, gone, left):
    model = keras.applications.__dict__[name](
        include_top=False, weights=None, input_shape=(96, 96, 3)
    )
    random = np.random.default_rng(0)
    for layer in model.layers:  # variances that do not amplify rounding in either network
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_mean.assign(random.normal(size=layer.moving_mean.shape, scale=0.1))
            layer.moving_variance.assign(random.uniform(0.5, 2, size=layer.moving_mean.shape))
    x = random.uniform(size=(1, 96, 96, 3)).astype("float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        folded = cw.fold(model)
    kinds = [type(layer) for layer in folded.layers]
    assert kinds.count(layers.BatchNormalization) == left
    assert len(model.layers) - len(folded.layers) == gone
    wanted, found = (np.asarray(keras.ops.convert_to_numpy(m(x))) for m in (model, folded))
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def scramble_statistics(model):
    """Statistics of a batch, and other scales and offsets."""
    random = np.random.default_rng(0)
    for layer in settle(model).layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.gamma.assign(random.uniform(0.5, 1.5, size=layer.gamma.shape))
            layer.beta.assign(random.normal(size=layer.beta.shape))
    return model


# Each class with the number of axes of an image, and arguments that it needs.
CONVOLUTIONS = [
    (kind, rank, {"filters": 6, "kernel_size": 3})
    for rank, kinds in {
        1: [layers.Conv1D, layers.SeparableConv1D, layers.Conv1DTranspose],
        2: [layers.Conv2D, layers.SeparableConv2D, layers.Conv2DTranspose],
        3: [layers.Conv3D, layers.Conv3DTranspose],
    }.items()
    for kind in kinds
] + [
    (kind, rank, {"kernel_size": 3, "depth_multiplier": 2})
    for rank, kind in {1: layers.DepthwiseConv1D, 2: layers.DepthwiseConv2D}.items()
]
GEOMETRY = [
    {"padding": "same"},
    {"padding": "valid", "strides": 2},
    {"padding": "same", "dilation_rate": 2},
]


@pytest.mark.parametrize(("kind", "rank", "given"), CONVOLUTIONS)
def test_every_convolution(kind, rank, given):
    formats = ["channels_last", "channels_first"]
    whether = itertools.cycle(itertools.product((True, False), repeat=3))
    for form, more in itertools.product(formats, GEOMETRY):
        bias, scale, center = next(whether)
        shape = (4,) + (7,) * rank if form == "channels_first" else (7,) * rank + (4,)
        grouped = {"groups": 2} if kind in (layers.Conv2D, layers.Conv1D) else {}
        inputs = keras.Input(shape)
        y = kind(**given, **more, **grouped, data_format=form, use_bias=bias, name="conv")(inputs)
        axis = 1 if form == "channels_first" else -1
        y = layers.BatchNormalization(axis=axis, scale=scale, center=center, name="norm")(y)
        model = scramble(keras.Model(inputs, layers.ReLU(name="relu")(y)))
        x = np.random.default_rng(1).normal(size=(2, *shape)).astype("float32")
        folded = assert_folded(model, x, 1)
        assert names(folded)[1:] == ["conv", "relu"]
        assert type(folded.get_layer("conv")) is kind


@pytest.mark.parametrize("bias", [True, False])
def test_dense_layers(bias):
    axes = "d" if bias else None
    for layer in (
        layers.Dense(6, use_bias=bias),
        layers.EinsumDense("abc,cd->abd", (None, 6), bias_axes=axes),
        layers.EinsumDense("...c,dc->...d", 6, bias_axes=axes),
    ):
        inputs = keras.Input((3, 4))
        norm = layers.BatchNormalization(epsilon=0.1)
        model = scramble(keras.Model(inputs, norm(layer(inputs))))
        x = np.random.default_rng(1).normal(size=(2, 3, 4)).astype("float32")
        assert_folded(model, x, 1)


def test_in_nested_models():
    model = settle(transfer())
    x = pixels()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        folded = cw.fold(model)
    assert not [layer for layer in folded.layers if "bn" in layer.name]
    assert "augmentation" in names(folded)
    wanted = model(x, training=False)
    np.testing.assert_allclose(folded(x, training=False), wanted, rtol=1e-4, atol=1e-5)


def pair(first=None, norm=None, shape=(8, 8, 3), more=lambda y: y, **called):
    """A network of a layer and a normalisation."""
    inputs = keras.Input(shape)
    y = (first or layers.Conv2D(4, 3, name="conv"))(inputs)
    z = (norm or layers.BatchNormalization(name="norm"))(y, **called)
    return keras.Model(inputs, more(z))


class OwnConv(layers.Conv2D):
    """A class of somebody's own, which may compute anything."""


class OwnNorm(layers.BatchNormalization):
    """Another one."""


def read_twice():
    inputs = keras.Input((4,))
    y = layers.Dense(4, name="first")(inputs)
    return keras.Model(inputs, layers.Add()([layers.BatchNormalization(name="norm")(y), y]))


def an_output():
    inputs = keras.Input((4,))
    y = layers.Dense(4, name="first")(inputs)
    return keras.Model(inputs, [layers.BatchNormalization(name="norm")(y), y])


def called_twice(shared_norm):
    inputs = keras.Input((4,))
    dense, norm = layers.Dense(4, name="first"), layers.BatchNormalization(name="norm")
    y = norm(dense(inputs))
    second = layers.Dense(4) if shared_norm else dense
    return keras.Model(inputs, (norm if shared_norm else layers.ReLU())(second(y)))


def with_lora():
    layer = layers.Dense(4, name="first")
    model = pair(layer, shape=(6,))
    layer.enable_lora(2)
    return model


def quantised():
    layer = layers.Dense(4, name="first")
    model = pair(layer, shape=(6,))
    layer.quantize("int8")
    return model


def not_finite():
    model = pair()
    model.get_layer("norm").moving_mean.assign([1, np.nan, 0, 0])
    return model


ALONE = {
    "before the convolution": (
        lambda: pair(layers.ReLU()),
        "not behind a convolution or dense layer",
    ),
    "activation": (lambda: pair(layers.Conv2D(4, 3, activation="relu")), "behind an activation"),
    "own convolution": (lambda: pair(OwnConv(4, 3)), "class of your own"),
    "own normalisation": (lambda: pair(norm=OwnNorm()), "class of your own"),
    "axis": (lambda: pair(norm=layers.BatchNormalization(axis=1)), "another axis"),
    "dense axis": (
        lambda: pair(layers.Dense(8), layers.BatchNormalization(axis=1)),
        "another axis",
    ),
    "training": (lambda: pair(training=True), "called with training=True"),
    "read twice": (read_twice, "also read elsewhere"),
    "an output": (an_output, "also read elsewhere"),
    "shared normalisation": (lambda: called_twice(True), "called several times"),
    "shared layer": (lambda: called_twice(False), "called several times"),
    "nested twice": (siamese, "called several times"),
    "lora": (with_lora, "LoRA"),
    "quantised": (quantised, "quantised"),
    "half precision": (lambda: pair(layers.Conv2D(4, 3, dtype="float16")), "another dtype"),
    "mixed precision": (
        lambda: pair(norm=layers.BatchNormalization(dtype="mixed_float16")),
        "another dtype",
    ),
    "double precision": (
        lambda: pair(norm=layers.BatchNormalization(dtype="float64")),
        "another dtype",
    ),
    "not finite": (not_finite, "not finite"),
    "inside another layer": (
        lambda: pair(norm=layers.TimeDistributed(layers.BatchNormalization())),
        "inside another layer",
    ),
    "einsum": (
        lambda: pair(layers.EinsumDense("bxyc,cx->bxyc", (8, 8, 3)), shape=(8, 8, 3)),
        "EinsumDense",
    ),
}


@pytest.mark.parametrize("case", ALONE)
def test_what_is_left_alone(case):
    make, reason = ALONE[case]
    model = make()
    with pytest.warns(UserWarning, match=reason) as caught:
        folded = cw.fold(model)
    assert [each.filename for each in caught if each.category is UserWarning] == [__file__]
    before, after = (
        [layer for layer in m._flatten_layers() if isinstance(layer, layers.BatchNormalization)]
        for m in (model, folded)
    )
    assert {id(layer) for layer in before} == {id(layer) for layer in after}


def test_one_warning_names_all_that_is_left():
    inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(name="first")(inputs)
    for number in range(3):
        x = layers.Conv2D(3, 1, activation="relu")(x)
        x = layers.BatchNormalization(name=f"behind{number}")(x)
    x = layers.BatchNormalization(name="folded")(layers.Conv2D(3, 1)(x))
    with pytest.warns(UserWarning, match="left alone") as caught:
        folded = cw.fold(keras.Model(inputs, x, name="mixed"))
    (message,) = (str(each.message) for each in caught if each.category is UserWarning)
    assert "4 of 5 batch normalisations of 'mixed' are left alone." in message
    assert "'behind0', 'behind1', 'behind2': behind an activation" in message
    assert "'first': not behind" in message
    assert "folded" not in names(folded)


def test_flags_stay_and_regularisers_and_constraints_go():
    first = layers.Conv2D(
        4, 3, kernel_regularizer="l2", kernel_constraint="non_neg", activity_regularizer="l2"
    )
    model = pair(first)
    first.trainable = False
    new = cw.fold(model).layers[1]
    assert not new.trainable
    assert new.kernel_regularizer is new.kernel_constraint is new.activity_regularizer is None
    assert new.name == first.name
    assert first.kernel_regularizer is not None


def test_a_folded_model_saves_and_loads(tmp_path):
    model = scramble(pair())
    x = images(model)
    folded = cw.fold(model)
    folded.save(tmp_path / "folded.keras")
    loaded = keras.models.load_model(tmp_path / "folded.keras")
    np.testing.assert_array_equal(loaded(x), folded(x))


def test_a_model_without_normalisations_is_rebuilt_without_a_warning():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)], name="plain")
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(assert_folded(model, x, 0)(x), model(x))
