"""What people build on slices with several ends: pyramids, Grad-CAM, losses on features."""

import keras
import numpy as np
from keras import layers, ops

import cutwidgets as cw
import nested_networks
from cutwidgets import lab
from networks import application, images, settle


def gradient(function, x):
    """The gradient of a number with respect to a tensor, as each backend computes it."""
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(ops.convert_to_tensor(x)))
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return tape.gradient(value, x).numpy()


def test_a_feature_pyramid_is_trained():
    """Lin et al. 2017, figure 3: 1×1 convolutions, and each level upsampled onto the next finer."""
    keras.utils.set_random_seed(1)
    model = application("ResNet50")
    x = images(model)
    stages = [s for s in cw.anatomy(model).stages if s.stride >= 8]
    levels = {f"C{stage.stride.bit_length() - 1}": stage for stage in stages}
    assert list(levels) == ["C3", "C4", "C5"]
    backbone = cw.cut(model, end=levels, weights="copy")

    pyramid, above = {}, None
    for key, stage in reversed(levels.items()):
        level = layers.Conv2D(8, 1, name=f"{key}_lateral")(backbone.output[key])
        if above is not None:
            level = layers.Add()([level, layers.UpSampling2D()(above)])
        assert level.shape[1] == 64 // stage.stride
        above, pyramid[key.replace("C", "P")] = level, level
    fpn = keras.Model(backbone.input, pyramid)
    assert {key: tensor.shape[1] for key, tensor in pyramid.items()} == {"P3": 8, "P4": 4, "P5": 2}

    targets = {key: np.ones((2, *t.shape[1:]), "float32") for key, t in pyramid.items()}
    fpn.compile(keras.optimizers.Adam(1e-4), dict.fromkeys(pyramid, "mse"), run_eagerly=True)
    first = fpn.get_layer("conv1_conv").kernel
    before = np.array(first)
    loss = [fpn.train_on_batch(x, targets, return_dict=True)["loss"] for _ in range(3)]
    assert loss[-1] < loss[0]
    assert np.abs(np.array(first) - before).max() > 0  # the gradient reached the first layer
    np.testing.assert_array_equal(model.get_layer("conv1_conv").kernel, before)


def classifier():
    """A small network whose scores are a tensor of their own."""
    keras.utils.set_random_seed(2)
    x = inputs = keras.Input((16, 16, 3), name="photo")
    for name, width in (("edges", 4), ("parts", 6), ("things", 8)):
        x = layers.Conv2D(width, 3, padding="same", name=f"{name}_conv")(x)
        x = layers.BatchNormalization(name=f"{name}_bn")(x)
        x = layers.ReLU(name=f"{name}_relu")(x)
        if name != "things":
            x = layers.MaxPooling2D(name=f"{name}_pool")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Softmax(name="answer")(layers.Dense(5, name="scores")(x))
    return settle(keras.Model(inputs, x, name="classifier"))


def test_grad_cam_in_two_halves():
    """The head gives the maps of several places; the gradient of the scores is that of a tail."""
    model = classifier()
    x = images(model)
    places = {"late": "things_relu", "early": "edges_relu", "middle": "parts_conv"}
    maps = cw.cut(model, end=places)(x)
    for key, place in places.items():
        tail = cw.cut(
            model, model.get_layer(place).output, {"scores": "scores", "answer": "answer"}
        )
        slopes = gradient(lambda at, tail=tail: ops.sum(tail(at)["scores"][:, 3]), maps[key])
        weights = slopes.mean(axis=(1, 2), keepdims=True)
        found = lab.grad_cam(model, x, place, target=3)
        wanted = (weights * np.asarray(maps[key])).sum(axis=-1)
        assert np.abs(wanted).max() > 0
        np.testing.assert_allclose(found.maps, wanted, rtol=1e-4, atol=1e-7)


def test_a_perceptual_loss():
    """Johnson et al. 2016: the distance of two images, as VGG16 sees them at several layers."""
    vgg = application("VGG16", size=32)
    ends = ["block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3"]
    features = cw.cut(vgg, end=ends)
    one, other = images(vgg, seed=1), images(vgg, seed=2)
    wanted = features(one)

    def loss(image):
        found = features(image)
        return sum(ops.mean(ops.square(found[end] - wanted[end])) for end in ends)

    assert loss(one) == 0
    slope = gradient(loss, other)
    assert np.isfinite(slope).all()
    step = 0.05 * slope / np.abs(slope).max()
    assert loss(other - step) < loss(other) < loss(other + step)
    # All layers take part in it.
    parts = [ops.mean(ops.square(features(other)[end] - wanted[end])) for end in ends]
    assert min(map(float, parts)) > 0


def test_deep_supervision():
    """Lee et al. 2015: classifiers on layers in between, each with a loss by its key."""
    model = classifier()
    part = cw.cut(model, end={"late": "answer", "early": "edges_pool"})
    pooled = layers.GlobalAveragePooling2D()(part.output["early"])
    early = layers.Dense(5, activation="softmax")(pooled)
    supervised = keras.Model(part.input, {"late": part.output["late"], "early": early})
    loss = "sparse_categorical_crossentropy"
    x, y = images(model, batch=8), np.arange(8) % 5
    for weights in ({"early": 1.0, "late": 0.5}, {"early": 1.0, "late": 0.0}):
        optimizer = keras.optimizers.SGD(0.1)
        supervised.compile(optimizer, {"late": loss, "early": loss}, loss_weights=weights)
        history = supervised.fit(x, {"early": y, "late": y}, epochs=5, verbose=0).history
        assert {"early_loss", "late_loss"} <= set(history)
        assert history["loss"][-1] < history["loss"][0]
    assert history["early_loss"][-1] < history["early_loss"][0]


def test_a_slice_is_trained_on_its_ends():
    """The keys of the ends are those of losses and targets, paths into a nested model too."""
    model = nested_networks.transfer()
    part = cw.cut(model, "rescaling", ["scores", "backbone/a_add"], weights="copy")
    x = nested_networks.pixels()
    targets = {key: np.zeros(value.shape, "float32") for key, value in part(x).items()}
    part.compile("sgd", {"backbone/a_add": "mse", "scores": "mse"})
    before = part.evaluate(x, targets, verbose=0, return_dict=True)
    part.fit(x, targets, epochs=5, verbose=0)
    after = part.evaluate(x, targets, verbose=0, return_dict=True)
    assert set(after) == {"loss", "backbone/a_add_loss", "scores_loss"}
    assert all(after[key] < before[key] for key in after)
