"""One small network of each odd kind, for the tests."""

import keras
import numpy as np
from keras import layers


def masked():
    x = keras.Input((7,), dtype="int32")
    embedded = layers.Embedding(10, 4, mask_zero=True)(x)
    return keras.Model(x, layers.Dense(2)(layers.LSTM(3)(embedded)))


def raw_operations():
    x = keras.Input((8,))
    return keras.Model(x, (layers.Dense(8)(x) + x)[:, :4] * 2.0 + np.ones((1, 4), "float32"))


def transformer():
    x = inputs = keras.Input((8, 6))
    for _ in range(2):
        normal = layers.LayerNormalization()(x)
        attended = layers.MultiHeadAttention(2, 3)(query=normal, value=normal, key=normal)
        x = layers.Add()([x, attended])
        hidden = layers.Dense(12, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(6)(hidden)])
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))


def u_net():
    x = keras.Input((16, 16, 3))
    wide = layers.Conv2D(4, 3, padding="same")(x)
    deep = layers.Conv2D(8, 3, padding="same")(layers.MaxPooling2D()(wide))
    joined = layers.Concatenate()([wide, layers.UpSampling2D()(deep)])
    return keras.Model(x, layers.Conv2D(1, 1)(joined))


def siamese():
    pooled = [keras.Input((16, 16, 3)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()]
    backbone = keras.Sequential(pooled, name="backbone")
    one, other = keras.Input((16, 16, 3)), keras.Input((16, 16, 3))
    return keras.Model([one, other], layers.Dot(1)([backbone(one), backbone(other)]))


def shared_layer():
    x = keras.Input((8,))
    shared = layers.Dense(8, name="shared")
    return keras.Model(x, layers.Add()([shared(x), shared(shared(x))]))


def recurrent_states():
    x = keras.Input((5, 4))
    sequence, hidden, cell = layers.LSTM(3, return_sequences=True, return_state=True)(x)
    return keras.Model(x, [layers.LSTM(3)(sequence, initial_state=[hidden, cell]), hidden])


def output_in_the_middle():
    x = keras.Input((8,))
    middle = layers.Dense(4)(x)
    return keras.Model(x, [middle, middle, layers.Dense(3)(middle)])


def dictionaries():
    inputs = {name: keras.Input((4,), name=name) for name in ("a", "b")}
    return keras.Model(inputs, {"z": layers.Dense(2)(inputs["a"] * inputs["b"])})


def mixed_precision():
    x = keras.Input((8,))
    hidden = layers.Dense(4, activation="relu", dtype="mixed_float16")(x)
    return keras.Model(x, layers.Dense(2, dtype="mixed_float16")(hidden))


def hostile_names():
    x = inputs = keras.Input((8,))
    for name in (
        "<img src=x onerror=alert(1)>",
        "q'\"uote",
        "😀",
        "x" * 300,
        "a\nb",
        "\\",
        "{r|c}",
    ):
        x = layers.Dense(8, name=name)(x)
    return keras.Model(inputs, x)


def perceptron():
    dense = [layers.Dense(16, "relu"), layers.Dropout(0.1), layers.Dense(3, "softmax")]
    return keras.Sequential([keras.Input((20,)), *dense])


def scalars():
    return keras.Sequential([keras.Input(()), layers.Rescaling(2.0)])


def autoencoder():
    x = inputs = keras.Input((28, 28, 1))
    for layer in (layers.Conv2D, layers.Conv2DTranspose):
        for width in (8, 4):
            x = layer(width, 3, 2, padding="same", activation="relu")(x)
    return keras.Model(inputs, layers.Conv2D(1, 3, padding="same")(x))


class Twice(layers.Layer):
    def call(self, x):
        return x, 2 * x


def several_outputs_of_a_layer():
    x = keras.Input((4,))
    _, doubled = Twice()(x)
    return keras.Model(x, layers.Dense(2)(doubled))


class Derived(keras.Model):
    """A model of a user's own class, with a graph of layers."""


def derived():
    x = keras.Input((4,))
    return Derived(x, layers.Dense(2)(x))


BUILDERS = [
    masked, raw_operations, transformer, u_net, siamese, shared_layer, recurrent_states,
    output_in_the_middle, dictionaries, mixed_precision, hostile_names, perceptron, scalars,
    autoencoder, several_outputs_of_a_layer, derived,
]  # fmt: skip
