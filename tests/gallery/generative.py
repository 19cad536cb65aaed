"""Networks whose outputs are as large as their inputs, and autoencoders."""

import keras
from keras import layers, ops

from .entry import Entry


def _twice(x, width, name):
    for i in (1, 2):
        x = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"{name}_conv{i}")(x)
    return x


def unet(depth=4, size=64):
    x = inputs = keras.Input((size, size, 3))
    skips = []
    for level in range(depth):
        x = _twice(x, 4 << level, f"down{level}")
        skips.append(x)
        x = layers.MaxPooling2D(name=f"down{level}_pool")(x)
    x = _twice(x, 4 << depth, "bridge")
    for level in reversed(range(depth)):
        x = layers.Conv2DTranspose(4 << level, 2, strides=2, name=f"up{level}_up")(x)
        x = layers.Concatenate(name=f"up{level}_concat")([skips[level], x])
        x = _twice(x, 4 << level, f"up{level}")
    return keras.Model(inputs, layers.Conv2D(2, 1, name="mask")(x), name="unet")


def unet_plus_plus(depth=4, size=64):
    """Every node concatenates all earlier ones of its row and the enlarged one below."""
    x = inputs = keras.Input((size, size, 3))
    nodes = {}
    for column in range(depth + 1):
        for row in range(depth + 1 - column):
            name = f"x{row}{column}"
            if not column:
                y = layers.MaxPooling2D(name=f"pool{row}")(nodes[row - 1, 0]) if row else x
            else:
                below = nodes[row + 1, column - 1]
                below = layers.Conv2DTranspose(4 << row, 2, strides=2, name=f"{name}_up")(below)
                earlier = [nodes[row, j] for j in range(column)]
                y = layers.Concatenate(name=f"{name}_concat")([*earlier, below])
            nodes[row, column] = _twice(y, 4 << row, name)
    outputs = [
        layers.Conv2D(2, 1, name=f"mask{column}")(nodes[0, column])
        for column in range(1, depth + 1)
    ]
    return keras.Model(inputs, outputs, name="unet_plus_plus")


class Frequencies(layers.Layer):
    """Sines and cosines of a time."""

    def call(self, t):
        angles = t[:, None] * ops.exp(-ops.arange(4.0))[None]
        return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)

    def compute_output_shape(self, shape):
        return (shape[0], 8)


def diffusion_unet(widths=(8, 16, 32), attention=(False, True, False), repeats=2):
    """Residual blocks that read an embedding of the time, attention at one level (DDPM)."""

    def residual(x, width, name):
        y = layers.Activation("silu", name=f"{name}_silu1")(
            layers.GroupNormalization(4, name=f"{name}_norm1")(x)
        )
        y = layers.Conv2D(width, 3, padding="same", name=f"{name}_conv1")(y)
        shift = layers.Dense(width, name=f"{name}_time")(embedding)
        y = layers.Add(name=f"{name}_shift")([y, shift[:, None, None, :]])
        y = layers.Activation("silu", name=f"{name}_silu2")(
            layers.GroupNormalization(4, name=f"{name}_norm2")(y)
        )
        y = layers.Conv2D(width, 3, padding="same", name=f"{name}_conv2")(y)
        if x.shape[-1] != width:
            x = layers.Conv2D(width, 1, name=f"{name}_skip")(x)
        return layers.Add(name=f"{name}_add")([x, y])

    def attend(x, name):
        y = layers.GroupNormalization(4, name=f"{name}_norm")(x)
        y = layers.Reshape((-1, x.shape[-1]), name=f"{name}_flat")(y)
        y = layers.MultiHeadAttention(1, x.shape[-1], name=f"{name}_attn")(y, y)
        y = layers.Reshape(x.shape[1:], name=f"{name}_map")(y)
        return layers.Add(name=f"{name}_add")([x, y])

    image, time = keras.Input((32, 32, 3), name="image"), keras.Input((), name="time")
    embedding = Frequencies(name="time_frequencies")(time)
    embedding = layers.Dense(32, activation="silu", name="time_dense1")(embedding)
    embedding = layers.Dense(32, activation="silu", name="time_dense2")(embedding)
    x = layers.Conv2D(widths[0], 3, padding="same", name="conv_in")(image)
    skips = [x]
    for level, width in enumerate(widths):
        for i in range(repeats):
            x = residual(x, width, f"down{level}_{i}")
            if attention[level]:
                x = attend(x, f"down{level}_{i}_attention")
            skips.append(x)
        if level < len(widths) - 1:
            x = layers.Conv2D(width, 3, 2, padding="same", name=f"down{level}_pool")(x)
            skips.append(x)
    x = residual(x, widths[-1], "mid_0")
    x = residual(attend(x, "mid_attention"), widths[-1], "mid_1")
    for level in reversed(range(len(widths))):
        for i in range(repeats + 1):
            x = layers.Concatenate(name=f"up{level}_{i}_concat")([x, skips.pop()])
            x = residual(x, widths[level], f"up{level}_{i}")
            if attention[level]:
                x = attend(x, f"up{level}_{i}_attention")
        if level:
            x = layers.UpSampling2D(name=f"up{level}_up")(x)
            x = layers.Conv2D(widths[level], 3, padding="same", name=f"up{level}_up_conv")(x)
    x = layers.Activation("silu", name="out_silu")(layers.GroupNormalization(4, name="out_norm")(x))
    x = layers.Conv2D(3, 3, padding="same", name="noise")(x)
    return keras.Model([image, time], x, name="diffusion_unet")


class Sampling(layers.Layer):
    """A point of the latent space, drawn around the mean."""

    def call(self, statistics):
        mean, log_variance = statistics
        # The same draw in every run, so that runs can be compared.
        draw = keras.random.normal(ops.shape(mean), seed=1)
        return mean + ops.exp(0.5 * log_variance) * draw

    def compute_output_shape(self, shapes):
        return shapes[0]


def vae():
    x = inputs = keras.Input((28, 28, 1))
    x = layers.Conv2D(8, 3, 2, "same", activation="relu", name="enc_conv1")(x)
    x = layers.Conv2D(16, 3, 2, "same", activation="relu", name="enc_conv2")(x)
    x = layers.Flatten(name="enc_flatten")(x)
    x = layers.Dense(16, activation="relu", name="enc_dense")(x)
    mean = layers.Dense(2, name="z_mean")(x)
    log_variance = layers.Dense(2, name="z_log_var")(x)
    x = Sampling(name="z")([mean, log_variance])
    x = layers.Dense(7 * 7 * 16, activation="relu", name="dec_dense")(x)
    x = layers.Reshape((7, 7, 16), name="dec_map")(x)
    x = layers.Conv2DTranspose(16, 3, 2, "same", activation="relu", name="dec_conv1")(x)
    x = layers.Conv2DTranspose(8, 3, 2, "same", activation="relu", name="dec_conv2")(x)
    x = layers.Conv2DTranspose(1, 3, padding="same", activation="sigmoid", name="picture")(x)
    return keras.Model(inputs, [x, mean, log_variance], name="vae")


def vae_nested():
    """The same of two nested models, as the tutorial has it."""

    def encoder():
        x = inputs = keras.Input((28, 28, 1))
        x = layers.Conv2D(8, 3, 2, "same", activation="relu")(x)
        x = layers.Conv2D(16, 3, 2, "same", activation="relu")(x)
        x = layers.Dense(16, activation="relu")(layers.Flatten()(x))
        mean, log_variance = layers.Dense(2, name="z_mean")(x), layers.Dense(2, name="z_log_var")(x)
        outputs = [mean, log_variance, Sampling()([mean, log_variance])]
        return keras.Model(inputs, outputs, name="encoder")

    def decoder():
        x = inputs = keras.Input((2,))
        x = layers.Reshape((7, 7, 16))(layers.Dense(7 * 7 * 16, activation="relu")(x))
        x = layers.Conv2DTranspose(16, 3, 2, "same", activation="relu")(x)
        x = layers.Conv2DTranspose(8, 3, 2, "same", activation="relu")(x)
        x = layers.Conv2DTranspose(1, 3, padding="same", activation="sigmoid")(x)
        return keras.Model(inputs, x, name="decoder")

    inputs = keras.Input((28, 28, 1))
    mean, log_variance, z = encoder()(inputs)
    return keras.Model(inputs, [decoder()(z), mean, log_variance], name="vae")


def gan_generator():
    """DCGAN's generator: transposed convolutions only."""
    x = inputs = keras.Input((16,), name="noise")
    x = layers.Dense(4 * 4 * 32, use_bias=False, name="project")(x)
    x = layers.Reshape((4, 4, 32), name="project_map")(x)
    x = layers.ReLU(name="project_relu")(layers.BatchNormalization(name="project_bn")(x))
    for i, width in enumerate((16, 8, 4), 1):
        x = layers.Conv2DTranspose(width, 4, 2, "same", use_bias=False, name=f"up{i}_conv")(x)
        x = layers.ReLU(name=f"up{i}_relu")(layers.BatchNormalization(name=f"up{i}_bn")(x))
    x = layers.Conv2DTranspose(3, 4, 2, "same", activation="tanh", name="picture")(x)
    return keras.Model(inputs, x, name="generator")


_VAE = {"plain": 6, "branched": 1, "head": 1}

CATALOGUE = [
    Entry("U-Net", unet, "Ronneberger et al. 2015, figure 1", {"plain": 9, "head": 1}, (1,) * 9,
          "Four levels down, a bridge, four levels up; the 1×1 convolution is the output.",
          names=("down0", "bridge", "up0")),
    Entry("U-Net++", unet_plus_plus, "Zhou et al. 2018, figure 1a",
          {"plain": 15, "head": 4}, (1,) * 15,
          "A node of two convolutions is a block, with its enlarging and concatenation; four "
          "outputs of the first row.",
          differs="More than one skip passes each node, so the nodes between the first column and "
          "the heads are one block."),
    Entry("Diffusion U-Net", diffusion_unet, "Ho et al. 2020, appendix B; its code",
          {"stem": 1, "residual": 17 + 6, "plain": 5, "head": 1}, (),
          "Residual blocks 6, 2, 9 and 6 of attention; 2 convolutions down, 2 up; the embedding of "
          "the time is a tower that all residual blocks read."),
    Entry("VAE", vae, "Kingma & Welling 2014; keras.io's example", _VAE, (1,) * 7,
          "Two convolutions and a dense layer, the latent space of mean, variance and sampling, "
          "a dense layer and two transposed convolutions, the picture."),
    Entry("VAE, nested", vae_nested, "as above", _VAE, (1,) * 7, "Encoder and decoder as models."),
    Entry("DCGAN generator", gan_generator, "Radford et al. 2016, figure 1",
          {"plain": 5}, (1,) * 5,
          "A projection, then transposed convolutions that each open a stage."),
]  # fmt: skip
