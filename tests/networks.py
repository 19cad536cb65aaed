"""Networks that the tests share. Each is built once, and no test may change it."""

from functools import cache

import keras
import numpy as np
from keras import layers


@cache
def application(name: str, include_top: bool = False, size: int = 64) -> keras.Model:
    """A network of keras.applications with seeded weights that let its input show in its output."""
    keras.utils.set_random_seed(7)
    shape = None if include_top else (size, size, 3)
    build = getattr(keras.applications, name)
    return settle(build(include_top=include_top, weights=None, input_shape=shape))


def settle(model: keras.Model) -> keras.Model:
    """Set the statistics of normalisations from a batch: fresh ones let the signal fade away."""
    normalisations = [x for x in model.layers if isinstance(x, layers.BatchNormalization)]
    momenta = [layer.momentum for layer in normalisations]
    for layer in normalisations:
        layer.momentum = 0.0
    model(images(model, seed=3), training=True)
    for layer, momentum in zip(normalisations, momenta, strict=True):
        layer.momentum = momentum
    return model


def images(model: keras.Model, seed: int = 0, batch: int = 2) -> np.ndarray:
    """Random pixels of the model's size, in the range of preprocessed photographs."""
    height, width = (length or 64 for length in model.input_shape[1:3])
    return np.random.default_rng(seed).normal(size=(batch, height, width, 3)).astype("float32")


def renamed(model: keras.Model) -> keras.Model:
    """The same network, every layer of it renamed to nonsense."""
    words = iter(f"w{number:04d}x" for number in np.random.default_rng(1).permutation(9999))

    def rename(layer: keras.Layer) -> keras.Layer:
        return layer.__class__.from_config({**layer.get_config(), "name": next(words)})

    clone = keras.models.clone_model(model, clone_function=rename)
    clone.set_weights(model.get_weights())
    return clone


def residual_chain(blocks: int) -> keras.Model:
    """A long chain of small residual blocks."""
    x = inputs = keras.Input((4,))
    for number in range(blocks):
        y = layers.Dense(4, name=f"block{number}_dense")(x)
        x = layers.Add(name=f"block{number}_add")([x, y])
    return keras.Model(inputs, x)


def plain_chain(length: int) -> keras.Model:
    """A long chain of layers without weights."""
    return keras.Sequential([keras.Input((4,)), *(layers.ReLU() for _ in range(length))])
