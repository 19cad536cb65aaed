"""Small networks with models inside of them, for the tests."""

import keras
import numpy as np
from keras import layers

from networks import settle


def backbone(name="backbone", size=32):
    """A small residual network: stem, two blocks, a normalisation."""
    x = inputs = keras.Input((size, size, 3), name="pixels")
    x = layers.Conv2D(4, 3, padding="same", name="stem")(x)
    for block in ("a", "b"):
        y = layers.Conv2D(4, 3, padding="same", name=f"{block}_conv")(x)
        y = layers.BatchNormalization(name=f"{block}_bn")(y)
        x = layers.Add(name=f"{block}_add")([x, layers.ReLU(name=f"{block}_relu")(y)])
    return keras.Model(inputs, x, name=name)


def transfer(**options):
    """The usual transfer model: augmentation, backbone, pooling, classifier."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((32, 32, 3), name="photo")
    augmentation = keras.Sequential(
        [layers.RandomFlip(seed=1), layers.RandomRotation(0.1, seed=1)], name="augmentation"
    )
    x = layers.Rescaling(0.5, name="rescaling")(augmentation(inputs))
    x = backbone()(x, **options)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D(name="pool")(x))
    return keras.Model(inputs, layers.Dense(3, name="scores")(x), name="transfer")


def pixels(size=32, seed=0):
    return np.random.default_rng(seed).normal(size=(2, size, size, 3)).astype("float32")


def names(model):
    return [layer.name for layer in model.layers]


def siamese():
    keras.utils.set_random_seed(2)
    twin = settle(backbone("twin"))
    one, other = keras.Input((32, 32, 3), name="one"), keras.Input((32, 32, 3), name="other")
    pool = layers.GlobalAveragePooling2D(name="pool")
    distance = layers.Subtract(name="distance")([pool(twin(one)), pool(twin(other))])
    return keras.Model([one, other], layers.Dense(1, name="alike")(distance))
