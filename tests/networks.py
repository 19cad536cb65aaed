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


def _two_convolutions(x, width: int, how: str):
    """A level of a U-Net: two convolutions, in plain, as small nested models, or residual."""
    if how == "nested":
        for _ in range(2):
            x = keras.Sequential(
                [
                    layers.Conv2D(width, 3, padding="same"),
                    layers.BatchNormalization(),
                    layers.ReLU(),
                ]
            )(x)
        return x
    y = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
    y = layers.Conv2D(width, 3, padding="same", activation="relu")(y)
    if how == "residual":
        y = layers.Add()([y, layers.Conv2D(width, 1)(x)])
    return y


def unet(depth: int = 4, how: str = "plain", up: str = "transposed", size: int = 64):
    """A U-Net (Ronneberger et al. 2015, figure 1) with a number of levels above its lowest."""
    x = inputs = keras.Input((size, size, 3))
    skips = []
    for level in range(depth):
        x = _two_convolutions(x, 4 << level, how)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = _two_convolutions(x, 4 << depth, how)
    for level in reversed(range(depth)):
        if up == "transposed":
            x = layers.Conv2DTranspose(4 << level, 2, strides=2)(x)
        else:
            x = layers.UpSampling2D()(x)
        x = layers.Concatenate()([x, skips[level]])
        x = _two_convolutions(x, 4 << level, how)
    return keras.Model(inputs, layers.Conv2D(2, 1, activation="softmax")(x), name="unet")


def pyramid() -> keras.Model:
    """A feature pyramid over ResNet50 (Lin et al. 2017, figure 3), without names of its own."""
    backbone = application("ResNet50")
    ends = ["conv5_block3_out", "conv4_block6_out", "conv3_block4_out", "conv2_block3_out"]
    top, *features = [backbone.get_layer(name).output for name in ends]
    x = layers.Conv2D(8, 1)(top)
    outputs = [layers.Conv2D(8, 3, padding="same")(x)]
    for feature in features:
        lateral = layers.Conv2D(8, 1)(feature)
        x = layers.Add()([layers.UpSampling2D()(x), lateral])
        outputs.append(layers.Conv2D(8, 3, padding="same")(x))
    return keras.Model(backbone.input, outputs, name="pyramid")


def super_resolution(groups: int = 0, blocks: int = 16, gates: bool = False) -> keras.Model:
    """SRResNet (Ledig et al. 2017, figure 4); with groups and gates, RCAN (Zhang et al. 2018)."""

    def block(x):
        y = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
        y = layers.Conv2D(8, 3, padding="same")(y)
        if gates:
            gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
            y = layers.Multiply()([y, layers.Conv2D(8, 1, activation="sigmoid")(gate)])
        return layers.Add()([x, y])

    def group(x, inner):
        start = x
        for _ in range(blocks if inner is block else groups):
            x = inner(x)
        return layers.Add()([start, layers.Conv2D(8, 3, padding="same")(x)])

    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 9, padding="same", activation="relu")(inputs)
    x = group(x, (lambda y: group(y, block)) if groups else block)
    x = layers.UpSampling2D()(layers.Conv2D(16, 3, padding="same")(x))
    return keras.Model(inputs, layers.Conv2D(3, 9, padding="same")(x), name="super_resolution")


def siamese(backbone: keras.Model) -> keras.Model:
    """Two images through the same network, and what tells whether they show the same."""
    images = [keras.Input(backbone.input_shape[1:], name=name) for name in ("left", "right")]
    left, right = (layers.GlobalAveragePooling2D()(backbone(image)) for image in images)
    distance = layers.Subtract(name="difference")([left, right])
    return keras.Model(images, layers.Dense(1, name="same")(distance), name="siamese")


def two_towers() -> keras.Model:
    """A picture and a text, each through a network of its own."""
    picture, text = keras.Input((32, 32, 3), name="picture"), keras.Input((12,), name="text")
    x = picture
    for width in (8, 16):
        x = layers.Conv2D(width, 3, activation="relu", name=f"picture{width}_conv")(x)
        x = layers.MaxPooling2D(name=f"picture{width}_pool")(x)
    x = layers.Flatten()(x)
    y = layers.Embedding(100, 8, name="words")(text)
    for _ in range(2):
        y = layers.Add()([y, layers.Dense(8)(layers.Dense(16, "relu")(y))])
    y = layers.GlobalAveragePooling1D()(y)
    joined = layers.Dense(16, "relu")(layers.Concatenate()([x, y]))
    outputs = [layers.Dense(n, name=name)(joined) for n, name in ((2, "kind"), (3, "colour"))]
    return keras.Model([picture, text], outputs, name="two_towers")


def translator(depth: int = 2) -> keras.Model:
    """A transformer of encoder and decoder (Vaswani et al. 2017, figure 1)."""

    def attend(x, to):
        y = layers.MultiHeadAttention(2, 4)(x, to)
        return layers.LayerNormalization()(layers.Add()([x, y]))

    def think(x):
        y = layers.Dense(8)(layers.Dense(16, "relu")(x))
        return layers.LayerNormalization()(layers.Add()([x, y]))

    source, target = keras.Input((7,), name="source"), keras.Input((9,), name="target")
    x = layers.Embedding(50, 8)(source)
    for _ in range(depth):
        x = think(attend(x, x))
    y = layers.Embedding(50, 8)(target)
    for _ in range(depth):
        y = think(attend(attend(y, y), x))
    return keras.Model([source, target], layers.Dense(50)(y), name="translator")


def transfer(backbone: keras.Model) -> keras.Model:
    """A pretrained network between augmentation and a classifier of one's own."""
    shape = backbone.input_shape[1:]
    augment = [layers.RandomFlip(), layers.RandomRotation(0.1)]
    x = inputs = keras.Input(shape)
    x = keras.Sequential([keras.Input(shape), *augment], name="augmentation")(x)
    x = backbone(x)
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(3)(layers.Dropout(0.2)(x))
    return keras.Model(inputs, x, name="transfer")


@cache
def untrained(name: str, size: int = 96) -> keras.Model:
    """A network of keras.applications, for tests that look at its graph only."""
    build = getattr(keras.applications, name)
    return build(include_top=False, weights=None, input_shape=(size, size, 3))


def masked_attention():
    """A mask that no layer of the model is given: Keras lets it travel with the tensor."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((7,), dtype="int32", name="tokens")
    x = layers.Embedding(10, 4, mask_zero=True, name="embedded")(x)
    x = layers.Add(name="sum")(
        [x, layers.MultiHeadAttention(2, 3, name="attended")(query=x, value=x)]
    )
    x = layers.LayerNormalization(name="normal")(x)
    return keras.Model(inputs, layers.LSTM(3, name="read")(x), name="attention")
