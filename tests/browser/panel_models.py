"""Fourteen kinds of models, to look at in the panel and to check its page with."""

from collections.abc import Callable
from functools import partial

import keras
from keras import layers

import networks
from gallery import detection, generative, sequences, transformers


def resnet_1d(length: int = 128) -> keras.Model:
    """A ResNet for time series (Wang et al. 2017, figure 1c): three blocks of three layers."""
    x = inputs = keras.Input((length, 2), name="series")
    for number, width in enumerate((64, 128, 128), 1):
        y = x
        for step, kernel in enumerate((8, 5, 3), 1):
            name = f"block{number}_{step}"
            y = layers.Conv1D(width, kernel, padding="same", name=f"{name}_conv")(y)
            y = layers.BatchNormalization(name=f"{name}_bn")(y)
            y = layers.ReLU(name=f"{name}_relu")(y) if step < 3 else y
        if x.shape[-1] != width:
            x = layers.Conv1D(width, 1, name=f"block{number}_match")(x)
        x = layers.Add(name=f"block{number}_add")([x, y])
        x = layers.ReLU(name=f"block{number}_out")(x)
    x = layers.GlobalAveragePooling1D(name="gap")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="classes")(x))


def resnet50() -> keras.Model:
    """With its classifier, for pictures of the usual size."""
    return keras.applications.ResNet50(weights=None)


def siamese() -> keras.Model:
    """Two towers of one MobileNetV2, with names as long as they get."""
    return networks.siamese(networks.untrained("MobileNetV2"))


MODELS: dict[str, Callable[[], keras.Model]] = {
    "resnet50": resnet50,
    "densenet201": partial(networks.untrained, "DenseNet201"),
    "vgg16": partial(networks.untrained, "VGG16"),
    "mobilenetv2": partial(networks.untrained, "MobileNetV2"),
    "efficientnetb0": partial(networks.untrained, "EfficientNetB0"),
    "chain": sequences.dense_chain,
    "unet": generative.unet,
    "diffusion": generative.diffusion_unet,
    "siamese": siamese,
    "outputs": detection.age_and_gender,
    "text": sequences.lstm_classifier,
    "vit": partial(transformers.vit, 4),
    "resnet1d": resnet_1d,
    "transfer": lambda: networks.transfer(networks.untrained("ResNet50")),
}
