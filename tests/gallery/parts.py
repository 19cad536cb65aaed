"""What the networks of the gallery are written with."""

from keras import layers


def conv(x, width, kernel=3, strides=1, name=None, **options):
    """A convolution that keeps the resolution but for its stride."""
    options = {"padding": "same", "use_bias": False, **options}
    return layers.Conv2D(width, kernel, strides=strides, name=name, **options)(x)


def conv_bn(x, width, kernel=3, strides=1, name="", activation="relu", **options):
    """A convolution with normalisation and, unless it is `None`, an activation."""
    x = conv(x, width, kernel, strides, f"{name}_conv", **options)
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.Activation(activation, name=f"{name}_{activation}")(x) if activation else x


def depthwise_bn(x, kernel=3, strides=1, name="", activation="relu"):
    """A depthwise convolution with normalisation and, unless it is `None`, an activation."""
    x = layers.DepthwiseConv2D(
        kernel, strides=strides, padding="same", use_bias=False, name=f"{name}_dw"
    )(x)
    x = layers.BatchNormalization(name=f"{name}_dw_bn")(x)
    return layers.Activation(activation, name=f"{name}_dw_{activation}")(x) if activation else x


def squeeze_excite(x, ratio=4, name="se"):
    """A gate for each channel (Hu et al. 2018, "Squeeze-and-excitation networks")."""
    width = x.shape[-1]
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    y = layers.Conv2D(width // ratio, 1, activation="relu", name=f"{name}_reduce")(y)
    y = layers.Conv2D(width, 1, activation="sigmoid", name=f"{name}_expand")(y)
    return layers.Multiply(name=f"{name}_excite")([x, y])


def classify(x, classes=10):
    """What turns features into scores for each class."""
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return layers.Dense(classes, name="predictions")(x)
