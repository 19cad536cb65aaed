"""Grad-CAM against class activation maps, own gradients through cut models, and deletion."""

import random

import keras
import numpy as np
import pytest
from keras import layers

import cutwidgets as cw
from cutwidgets import lab
from cutwidgets.lab import subjects
from cutwidgets.lab.maps import resized


def photos(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def convolutions(x, name="conv"):
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name=f"{name}1")(x)
    x = layers.MaxPooling2D(name=f"{name}_pool")(x)
    return layers.Conv2D(6, 3, padding="same", activation="relu", name=f"{name}2")(x)


def classifier(ending, classes=5):
    """A network behind which a class activation map is defined, and its last feature maps."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((12, 16, 3))
    maps = convolutions(inputs)
    x = layers.GlobalAveragePooling2D()(maps)
    return keras.Model(inputs, ending(x, classes)), keras.Model(inputs, maps)


def dense(classes, activation=None):
    return layers.Dense(classes, activation, bias_initializer="normal", name="scores")


def own_softmax(x):
    powers = keras.ops.exp(x - keras.ops.max(x, axis=-1, keepdims=True))
    return powers / keras.ops.sum(powers, axis=-1, keepdims=True)


ENDINGS = {
    "scores": lambda x, n: dense(n)(x),
    "fused softmax": lambda x, n: dense(n, "softmax")(x),
    "softmax of another name": lambda x, n: dense(n, own_softmax)(x),
    "softmax as a layer": lambda x, n: layers.Softmax()(dense(n)(x)),
    "softmax as an activation": lambda x, n: layers.Activation("softmax")(dense(n)(x)),
    "softmax as an operation": lambda x, n: keras.ops.softmax(dense(n)(x)),
    "logarithm of softmax": lambda x, n: keras.ops.log_softmax(dense(n)(x)),
    "sigmoid": lambda x, n: dense(n, "sigmoid")(x),
    "softmax, then moved": lambda x, n: layers.Flatten()(
        layers.Reshape((n, 1))(dense(n, "softmax")(x))
    ),
    "by a convolution": lambda x, n: layers.Flatten()(
        layers.Conv2D(n, 1, activation="softmax", name="scores")(layers.Reshape((1, 1, -1))(x))
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_behind_average_pooling_it_is_the_class_activation_map(ending):
    model, features = classifier(ENDINGS[ending])
    x, classes = photos(3, 12, 16, 3), [0, 4, 2]
    found = lab.grad_cam(model, x, target=classes)
    maps = np.asarray(features(x), "float64")
    kernel = np.asarray(model.get_layer("scores").kernel, "float64").reshape(6, 5)
    expected = np.stack([m @ kernel[:, c] for m, c in zip(maps, classes, strict=True)]) / (6 * 8)
    assert np.abs(found.maps - expected).max() < 1e-6 * np.abs(expected).max()
    assert found.table["gradient"].tolist() == pytest.approx(
        np.abs(kernel[:, classes]).max(axis=0) / (6 * 8)
    )
    # The score, by hand, and what the model itself says.
    bias = np.asarray(model.get_layer("scores").bias, "float64")
    scores = maps.mean(axis=(1, 2)) @ kernel + bias
    assert found.table["score"].tolist() == pytest.approx(scores[range(3), classes], rel=1e-5)
    assert found.table["predicted"].tolist() == scores.argmax(axis=1).tolist()
    says = np.asarray(model(x))[range(3), classes]
    says = np.exp(says) if "logarithm" in ending else says
    if ending == "scores":
        assert "probability" not in found.table
    else:
        assert found.table["probability"].tolist() == pytest.approx(says.tolist(), rel=1e-5)


def test_without_a_target_it_explains_what_the_model_predicts():
    model, _ = classifier(ENDINGS["fused softmax"])
    x = photos(6, 12, 16, 3)
    model.get_layer("scores").bias.assign(np.zeros(5))
    scores = np.log(np.asarray(model(x)))
    model.get_layer("scores").bias.assign(-scores.mean(axis=0))  # not always the same class
    found = lab.grad_cam(model, x)
    best = np.asarray(model(x)).argmax(axis=1)
    assert len(set(best)) > 1
    assert found.table["class"].tolist() == best.tolist()
    assert (found.maps == lab.grad_cam(model, x, target=best).maps).all()


def test_with_one_sigmoid_the_other_class_has_the_other_sign():
    model, features = classifier(ENDINGS["sigmoid"], 1)
    model.get_layer("scores").bias.assign([0.0])
    x = photos(8, 12, 16, 3)
    yes, no, own = (lab.grad_cam(model, x, target=target) for target in (1, 0, None))
    kernel = np.asarray(model.get_layer("scores").kernel)[:, 0]
    expected = np.asarray(features(x)) @ kernel / 48
    assert np.abs(yes.maps - expected).max() < 1e-6 * np.abs(expected).max()
    assert (no.maps == -yes.maps).all()
    said = np.asarray(model(x))[:, 0]
    assert own.table["class"].tolist() == (said > 0.5).astype(int).tolist()
    assert yes.table["probability"].tolist() == pytest.approx(said, rel=1e-5)
    assert no.table["probability"].tolist() == pytest.approx(1 - said, rel=1e-5)


def test_a_single_number_may_have_no_axis_of_its_own():
    model, _ = classifier(lambda x, n: layers.Reshape(())(dense(n, "sigmoid")(x)), 1)
    plain = keras.Model(model.input, model.get_layer("scores").output)
    x = photos(3, 12, 16, 3)
    assert model(x).shape == (3,)
    one, other = (lab.grad_cam(m, x) for m in (model, plain))
    assert (one.maps == other.maps).all()
    assert one.table.equals(other.table)


def slopes_of(function, value):
    """The gradient of a function of a tensor, with the backend's own means."""
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(keras.ops.convert_to_tensor(value)))
    import tensorflow as tf

    value = tf.convert_to_tensor(value)
    with tf.GradientTape() as tape:
        tape.watch(value)
        outcome = function(value)
    return tape.gradient(outcome, value).numpy()


@pytest.mark.parametrize("block", ["stem", "s1_b", "s2_a", "s2_b"])
def test_at_each_block_it_is_the_gradient_through_the_tail(tiny_resnet, block):
    x = photos(2, 16, 16, 3)
    names = [b.name for b in cw.anatomy(tiny_resnet)]
    head = cw.cut(tiny_resnet, names[0], block)
    tail = cw.cut(tiny_resnet, names[names.index(block) + 1], names[-1])
    maps = np.asarray(head(x))
    slopes = slopes_of(lambda value: keras.ops.sum(tail(value)[:, 1]), maps)
    expected = (slopes.mean(axis=(1, 2), keepdims=True) * maps).sum(axis=-1)
    found = lab.grad_cam(tiny_resnet, x, block, target=1)
    assert np.abs(found.maps - expected).max() < 1e-6 * np.abs(expected).max()
    positive = np.maximum(expected, 0)
    enlarged = np.asarray(
        keras.ops.image.resize(positive[..., np.newaxis], (16, 16), interpolation="bilinear")
    )[..., 0]
    most = enlarged.max(axis=(1, 2), keepdims=True)
    assert found.heat == pytest.approx(enlarged / np.where(most > 0, most, 1), abs=1e-5)
    assert found.heat.dtype == np.float32


def test_a_skip_past_the_place_carries_no_gradient():
    # The score is 2 a + b + a b: the gradient at b is 1 + a, that at a is 2 + b.
    inputs = keras.Input((4, 4, 1))
    a = layers.ReLU(name="a")(inputs)
    b = layers.Rescaling(3.0, name="b")(a)
    both = layers.Add()([layers.Rescaling(2.0)(a), b, layers.Multiply()([a, b])])
    score = layers.Dense(1, "sigmoid", kernel_initializer="ones")(layers.Flatten()(both))
    model = keras.Model(inputs, score)
    x = np.abs(photos(2, 4, 4, 1))
    at_b = lab.grad_cam(model, x, "b", target=1)
    expected = (1 + x).mean(axis=(1, 2, 3)).reshape(2, 1, 1) * 3 * x[..., 0]
    assert at_b.maps == pytest.approx(expected, rel=1e-5)
    # Through b too: the whole is 5 a + 3 a², whose gradient is 5 + 6 a.
    expected = (5 + 6 * x).mean(axis=(1, 2, 3)).reshape(2, 1, 1) * x[..., 0]
    assert lab.grad_cam(model, x, "a", target=1).maps == pytest.approx(expected, rel=1e-5)


def nested_and_flat():
    """A backbone in a functional model, and the same layers without a nested model."""
    keras.utils.set_random_seed(3)
    inside = keras.Input((12, 16, 3), name="inside")
    backbone = keras.Model(inside, convolutions(inside, "deep"), name="backbone")
    head = keras.Sequential(
        [keras.Input((6, 8, 6)), layers.GlobalAveragePooling2D(), layers.Dense(5, "softmax")],
        name="head",
    )
    inputs = keras.Input((12, 16, 3))
    nested = keras.Model(inputs, head(backbone(layers.Rescaling(0.5, name="scale")(inputs))))
    x = layers.Rescaling(0.5, name="scale")(inputs)
    for layer in (*backbone.layers[1:], *head.layers):
        x = layer(x)
    return nested, keras.Model(inputs, x)


@pytest.mark.parametrize("layer", ["deep1", "deep_pool", "deep2"])
def test_nested_models_give_what_flat_ones_do(layer):
    nested, flat = nested_and_flat()
    x = photos(2, 12, 16, 3)
    inside, plain = lab.grad_cam(nested, x, f"backbone/{layer}"), lab.grad_cam(flat, x, layer)
    assert (inside.heat == plain.heat).all()
    assert (inside.maps == plain.maps).all()
    assert inside.table.drop(columns="block").equals(plain.table.drop(columns="block"))
    # The names of a layer inside, the layer itself and the nested model are places too.
    last = nested.get_layer("backbone")
    assert (lab.grad_cam(nested, x, last).maps == lab.grad_cam(flat, x, "deep2").maps).all()
    assert (lab.grad_cam(nested, x, last.get_layer(layer)).maps == plain.maps).all()


def test_a_shared_backbone_is_explained_call_by_call():
    keras.utils.set_random_seed(4)
    inside = keras.Input((8, 8, 1))
    backbone = keras.Model(inside, convolutions(inside), name="backbone")
    left, right = keras.Input((8, 8, 1), name="left"), keras.Input((8, 8, 1), name="right")
    pooled = [layers.GlobalAveragePooling2D()(backbone(x)) for x in (left, right)]
    model = keras.Model([left, right], dense(2)(layers.Concatenate()(pooled)))
    x = [photos(2, 8, 8, 1), photos(2, 8, 8, 1, seed=1)]
    kernel = np.asarray(model.get_layer("scores").kernel)
    for i, (call, seen) in enumerate(zip(("backbone#1", "backbone#2"), x, strict=True)):
        found = lab.grad_cam(model, x, f"{call}/conv2", target=1)
        expected = np.asarray(backbone(seen)) @ kernel[6 * i : 6 * i + 6, 1] / 16
        assert np.abs(found.maps - expected).max() < 1e-6 * np.abs(expected).max()
        assert (found.inputs == seen).all()


def test_the_default_place_is_the_last_block_with_spatial_axes(tiny_resnet):
    found = lab.grad_cam(tiny_resnet, photos(1, 16, 16, 3), target=0)
    assert found.place == "s2_b"
    named = lab.grad_cam(tiny_resnet, photos(1, 16, 16, 3), "s2_b_out", target=0)
    assert (found.maps == named.maps).all()


def test_channels_may_come_first():
    keras.config.set_image_data_format("channels_first")
    try:
        # TensorFlow has no gradient of such convolutions on a CPU, but of pooling it has.
        inputs = keras.Input((2, 8, 12))
        x = layers.AveragePooling2D((2, 3), name="maps")(inputs)
        model = keras.Model(inputs, dense(3, "softmax")(layers.GlobalAveragePooling2D()(x)))
        photo = photos(2, 2, 8, 12)
        found = lab.grad_cam(model, photo, "maps", target=[0, 2])
    finally:
        keras.config.set_image_data_format("channels_last")
    maps = photo.reshape(2, 2, 4, 2, 4, 3).mean(axis=(3, 5))
    kernel = np.asarray(model.get_layer("scores").kernel)
    expected = (
        np.stack([np.tensordot(kernel[:, c], m, 1) for c, m in zip([0, 2], maps, strict=True)]) / 16
    )
    assert found.maps == pytest.approx(expected, rel=1e-4)
    assert found.heat.shape == (2, 8, 12)
    assert found.inputs.shape == (2, 8, 12, 2)


def test_signals_and_volumes_have_heat_too():
    for rank, shape in ((1, (20, 3)), (3, (4, 6, 8, 2))):
        keras.utils.set_random_seed(rank)
        convolution = getattr(layers, f"Conv{rank}D")
        pooling = getattr(layers, f"GlobalAveragePooling{rank}D")
        inputs = keras.Input(shape)
        maps = convolution(4, 3, strides=2, padding="same", name="maps")(inputs)
        model = keras.Model(inputs, dense(3)(pooling()(maps)))
        x = photos(2, *shape)
        found = lab.grad_cam(model, x, "maps", target=2)
        kernel = np.asarray(model.get_layer("scores").kernel)
        values = np.asarray(keras.Model(inputs, maps)(x))
        expected = values @ kernel[:, 2] / np.prod(values.shape[1:-1])
        assert np.abs(found.maps - expected).max() < 2e-6 * np.abs(expected).max()
        assert found.heat.shape == x.shape[:-1]
        assert "<img" in found._repr_html_()


def test_words_have_heat_over_their_positions_and_padding_has_none():
    keras.utils.set_random_seed(5)
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(inputs)
    x = layers.LSTM(5, return_sequences=True, name="states")(x)
    model = keras.Model(inputs, dense(2, "softmax")(layers.GlobalAveragePooling1D()(x)))
    x = np.array([[3, 1, 4, 1, 5, 0, 0], [2, 7, 1, 8, 2, 8, 1]])
    found = lab.grad_cam(model, x, "states", target=1)
    assert found.heat.shape == x.shape
    assert (lab.grad_cam(model, x[:1, :5], "states", target=1).maps * 5 / 7)[0] == pytest.approx(
        found.maps[0, :5], rel=1e-5
    )


def test_a_map_of_classes_is_explained_summed_over_its_positions():
    keras.utils.set_random_seed(6)
    inputs = keras.Input((6, 6, 3))
    maps = layers.Conv2D(4, 3, padding="same", activation="relu", name="maps")(inputs)
    model = keras.Model(inputs, layers.Conv2D(2, 1, activation="softmax", name="scores")(maps))
    x = photos(2, 6, 6, 3)
    with pytest.raises(cw.CutwidgetsError, match="one prediction for each position"):
        lab.grad_cam(model, x)
    found = lab.grad_cam(model, x, "maps", target=1)
    kernel = np.asarray(model.get_layer("scores").kernel)[0, 0, :, 1]
    expected = np.asarray(keras.Model(inputs, maps)(x)) @ kernel
    assert found.maps == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert "probability" not in found.table


def test_in_mixed_precision_it_is_nearly_the_same():
    full, _ = classifier(ENDINGS["fused softmax"])
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed, _ = classifier(ENDINGS["fused softmax"])
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(full.get_weights())
    x = photos(2, 12, 16, 3)
    expected, found = (lab.grad_cam(model, x, target=1) for model in (full, mixed))
    assert found.maps.dtype == found.heat.dtype == np.float32
    assert np.abs(found.maps - expected.maps).max() < 5e-3 * np.abs(expected.maps).max()


def test_small_gradients_do_not_vanish_in_half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model, features = classifier(ENDINGS["scores"])
    finally:
        keras.config.set_dtype_policy("float32")
    kernel = model.get_layer("scores").kernel
    kernel.assign(kernel * 1e-5)  # divided by 48 positions, it is below what float16 can hold
    x = photos(1, 12, 16, 3)
    found = lab.grad_cam(model, x, target=1)
    weights = np.asarray(kernel).astype("float16").astype("float64")[:, 1] / 48
    expected = np.asarray(features(x), "float64") @ weights
    assert np.abs(found.maps - expected).max() < 2e-2 * np.abs(expected).max()


@pytest.mark.parametrize("at_once", [1, 2, 5, 100])
def test_batches_make_no_difference(monkeypatch, at_once):
    model, _ = classifier(ENDINGS["fused softmax"])
    x, targets = photos(5, 12, 16, 3), [0, 1, 2, 3, 4]
    whole = lab.grad_cam(model, x, target=targets)
    monkeypatch.setattr(subjects, "_ELEMENTS_AT_ONCE", at_once * 12 * 16 * 3)
    found = lab.grad_cam(model, x, target=targets)
    assert found.maps == pytest.approx(whole.maps, rel=1e-4, abs=1e-7)
    assert found.table["score"].tolist() == pytest.approx(whole.table["score"].tolist())


def test_progress_is_told_and_the_work_can_be_stopped():
    model, _ = classifier(ENDINGS["scores"])
    heard = []

    class Stop(BaseException):
        pass

    def listen(done, total, label):
        heard.append(label)
        if len(heard) > 3:
            raise Stop

    with pytest.raises(Stop), cw.progress.reporting_to(listen):
        lab.grad_cam(model, photos(2, 12, 16, 3))
    assert set(heard) == {"explaining examples"}


class Stateful(layers.Layer):
    """Counts its calls, and draws from all global generators."""

    def build(self, shape):
        self.count = self.add_weight(shape=(), trainable=False, name="count")
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, x):
        self.count.assign_add(1.0)
        random.random()
        np.random.random()
        return x + 0 * keras.random.normal((1,), seed=self.seeds)


def test_nothing_of_the_model_or_of_generators_changes():
    inputs = keras.Input((12, 16, 3))
    maps = layers.BatchNormalization(name="norm")(Stateful(name="stateful")(inputs))
    model = keras.Model(inputs, dense(3, "softmax")(layers.GlobalAveragePooling2D()(maps)))
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.get_layer("norm").trainable = False
    random.seed(1)
    keras.utils.set_random_seed(1)
    before = [np.array(v) for v in model.variables]
    optimizer, states = model.optimizer, (random.getstate(), np.random.get_state()[1].tolist())
    scores, activation = model.layers[-1], model.layers[-1].activation
    names = [layer.name for layer in model.layers]
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    drawn = keras.random.normal((3,))
    keras.utils.set_random_seed(1)
    lab.grad_cam(model, photos(2, 12, 16, 3))
    assert np.array(keras.random.normal((3,))).tolist() == np.array(drawn).tolist()
    keras.utils.set_random_seed(1)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states
    for old, variable in zip(before, model.variables, strict=True):
        assert (old == np.array(variable)).all()
    assert model.optimizer is optimizer
    assert scores.activation is activation
    assert not model.get_layer("norm").trainable
    assert [layer.name for layer in model.layers] == names
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    assert keras.layers.Dense(1).name.startswith("dense")


def test_zero_gradients_and_evidence_against_are_told():
    inputs = keras.Input((4, 4, 1))
    maps = layers.ReLU(name="maps")(inputs)
    pooled = layers.GlobalAveragePooling2D()(maps)
    dead = layers.ReLU()(layers.Rescaling(1.0, offset=-100.0)(pooled))
    model = keras.Model(inputs, layers.Dense(2, name="scores")(dead))
    x = np.abs(photos(2, 4, 4, 1))
    found = lab.grad_cam(model, x, "maps", target=0)
    assert not found.heat.any()
    assert found.table["area"].isna().all()
    assert "the gradient is exactly zero for 2 of 2 examples" in found.finding
    model = keras.Model(inputs, dense(2)(pooled))
    model.get_layer("scores").kernel.assign([[1.0, -1.0]])
    found = lab.grad_cam(model, x[:1], "maps", target=1)
    assert not found.heat.any()
    assert (found.maps <= 0).all()
    assert "no position speaks for its class for this example" in found.finding
    assert lab.grad_cam(model, x[:1], "maps", target=0).heat.max() == 1


def feature_model(ending=None):
    inputs = keras.Input((12, 16, 3))
    x = layers.GlobalAveragePooling2D(name="pool")(convolutions(inputs))
    return keras.Model(inputs, ending(x) if ending else x)


REFUSED = {
    "features": (feature_model, {}, "features, not the scores of classes"),
    "a number": (lambda: feature_model(layers.Dense(1)), {}, "one number without a sigmoid"),
    "a hidden softmax": (
        lambda: feature_model(lambda x: layers.Lambda(own_softmax)(layers.Dense(3)(x))),
        {"target": 1},
        "hidden in or before 'lambda.*' (Lambda)",
    ),
    "an average of models": (
        lambda: feature_model(
            lambda x: layers.Average()([layers.Dense(3, "softmax")(x) for _ in range(2)])
        ),
        {"target": 1},
        "'average.*' (Average) changes what comes from the softmax of 'dense.*'",
    ),
    "percent": (
        lambda: feature_model(lambda x: layers.Rescaling(100.0)(layers.Dense(3, "softmax")(x))),
        {"target": 1},
        "changes what comes from the softmax",
    ),
    "no spatial axes": (
        lambda: feature_model(layers.Dense(3)),
        {"place": "pool"},
        "no spatial axes: .* The nearest place that has feature maps is",
    ),
    "behind the scores": (
        lambda: feature_model(
            lambda x: layers.Reshape((1, 3, 1), name="late")(layers.Dense(3, "softmax")(x))
        ),
        {"place": "late", "target": 0},
        "does not lead to the scores",
    ),
    "no such class": (lambda: feature_model(layers.Dense(3)), {"target": 3}, "classes 0 to 2"),
    "a class below 0": (lambda: feature_model(layers.Dense(3)), {"target": -1}, "classes 0 to 2"),
    "classes of too many": (
        lambda: feature_model(layers.Dense(3)),
        {"target": [0, 1, 2]},
        "one for each of the 2 examples",
    ),
    "a class in words": (lambda: feature_model(layers.Dense(3)), {"target": "cat"}, "'cat'"),
    "an unknown place": (lambda: feature_model(layers.Dense(3)), {"place": "nowhere"}, "no block"),
    "two outputs": (
        lambda: feature_model(lambda x: [layers.Dense(3)(x), layers.Dense(2)(x)]),
        {},
        "2 outputs",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_explained_is_refused_with_the_reason(case):
    make, options, reason = REFUSED[case]
    with pytest.raises(cw.CutwidgetsError, match=reason.replace("(", r"\(").replace(")", r"\)")):
        lab.grad_cam(make(), photos(2, 12, 16, 3), **options)


def test_values_that_are_not_finite_are_refused():
    model, x = feature_model(layers.Dense(3)), photos(2, 12, 16, 3)
    model.get_layer("conv2").bias.assign([np.nan] * 6)
    with pytest.raises(cw.CutwidgetsError, match="not finite"):
        lab.grad_cam(model, x)
    x[0, 0] = np.nan
    with pytest.raises(cw.CutwidgetsError, match="not finite"):
        lab.grad_cam(model, x)


def test_tokens_of_a_photograph_are_no_maps():
    inputs = keras.Input((8, 8, 3))
    tokens = layers.Reshape((64, 4), name="tokens")(layers.Conv2D(4, 3, padding="same")(inputs))
    mixed = layers.Dense(4, name="mixed")(tokens)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(mixed)))
    with pytest.raises(cw.CutwidgetsError, match="whose positions are not those of the model's"):
        lab.grad_cam(model, photos(1, 8, 8, 3), "mixed")


def test_with_a_target_features_and_numbers_can_be_explained():
    x = photos(2, 12, 16, 3)
    model = feature_model()
    maps = np.asarray(keras.Model(model.input, model.get_layer("conv2").output)(x))
    found = lab.grad_cam(model, x, "conv2", target=4)
    assert found.maps == pytest.approx(maps[..., 4] / 48, rel=1e-5)
    assert "predicted" not in found.table
    model = feature_model(layers.Dense(1))
    more, less = (lab.grad_cam(model, x, target=target).maps for target in (1, 0))
    assert (more == -less).all()


@pytest.mark.parametrize(("old", "new"), [((3, 5), (12, 16)), ((7, 7), (7, 7)), ((4, 6), (3, 2))])
def test_maps_are_resized_as_keras_does_it(old, new):
    maps = photos(2, *old)
    expected = keras.ops.image.resize(maps[..., np.newaxis], new, interpolation="bilinear")
    assert resized(maps, new) == pytest.approx(np.asarray(expected)[..., 0], abs=1e-5)


def test_pictures_and_tables(tiny_resnet):
    from matplotlib import pyplot

    found = lab.grad_cam(tiny_resnet, photos(7, 16, 16, 3), target=0)
    other = lab.grad_cam(tiny_resnet, photos(7, 16, 16, 3), "stem", target=0)
    assert len(found.plot().images) == 10
    assert len(found.plot(other).images) == 20
    assert len(found.show(6).images) == 2
    with pytest.raises(cw.CutwidgetsError, match="0 to 6"):
        found.show(7)
    pyplot.close("all")
    with_control = lab.grad_cam(tiny_resnet, photos(2, 16, 16, 3), target=0, control=True)
    axes = with_control.plot()
    assert len(axes.images) == 8
    assert "tiny_resnet_untrained" in [text.get_text() for text in axes.texts]
    pyplot.close("all")
    assert "<img" in found._repr_html_()
    assert found.finding in repr(found)
    assert found.table["block"].tolist() == ["s2_b"] * 7


def share_of_changes(model, x, order, count):
    """The share of answers that change when so many pixels, the first in order, turn black."""
    black = x.reshape(len(x), -1).copy()
    np.put_along_axis(black, order[:, :count], 0, axis=1)
    answers = [np.asarray(model(data)).argmax(axis=1) for data in (x, black.reshape(x.shape))]
    return (answers[0] != answers[1]).mean()


def deletion(model, x):
    """Changes without the 20 % of the pixels that are hottest, coldest, and in 10 random draws."""
    heat = lab.grad_cam(model, x).heat.reshape(len(x), -1)
    count, draws = heat.shape[1] // 5, np.random.default_rng(0)
    at_random = [np.argsort(draws.random(heat.shape), axis=1) for _ in range(10)]
    orders = [np.argsort(-heat, axis=1), np.argsort(heat, axis=1), *at_random]
    hottest, coldest, *rest = (share_of_changes(model, x, order, count) for order in orders)
    return hottest, coldest, rest


@pytest.mark.slow
def test_without_the_hottest_pixels_more_answers_change_than_without_random_ones():
    data = lab.digits()
    network = lab.residual_network(blocks=(2, 2))
    lab.train(network, data, epochs=3)
    x, _ = data.test
    hottest, coldest, at_random = deletion(network, x)
    assert hottest > 1.5 * max(at_random)
    assert coldest < 0.7 * min(at_random)
    # The control, with all classes equally likely.
    untrained = lab.untrained(network, data.train[0])
    scores = untrained.layers[-1]
    scores.bias.assign(-np.log(np.asarray(untrained(x))).mean(axis=0))
    hottest, _, at_random = deletion(untrained, x)
    assert hottest < 1.25 * np.mean(at_random)


def test_the_control_is_explained_for_the_same_classes_and_compared(tiny_resnet):
    x = photos(4, 16, 16, 3)
    same = lab.grad_cam(tiny_resnet, x, "s1_b", control=tiny_resnet)
    assert same.likeness == pytest.approx(1)
    other = lab.untrained(tiny_resnet, x, seed=3)
    found = lab.grad_cam(tiny_resnet, x, "s1_b", control=other)
    assert found.control.table["class"].tolist() == found.table["class"].tolist()
    plain = lab.grad_cam(other, x, "s1_b", found.table["class"].to_numpy())
    assert (found.control.maps == plain.maps).all()
    maps = [one.maps.reshape(4, -1) for one in (found, plain)]
    ranks = [np.argsort(np.argsort(one, axis=1), axis=1) for one in maps]
    likeness = np.median([np.corrcoef(*pair)[0, 1] for pair in zip(*ranks, strict=True)])
    assert found.likeness == pytest.approx(likeness, abs=0.02)
    assert f"{found.likeness:.2f}" in found.finding
    assert lab.grad_cam(tiny_resnet, x, "s1_b").likeness is None
