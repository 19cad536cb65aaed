"""Time series, sound and text: transcriptions of the papers with narrow layers."""

import keras
from keras import layers

from .entry import Entry


def wavenet(stacks=3, depth=10, length=64):
    """Gated dilated convolutions; each adds to the next layer's input and to a sum of skips."""
    x = inputs = keras.Input((length, 1))
    x = layers.Conv1D(8, 2, padding="causal", name="causal")(x)
    skips = []
    for i in range(stacks * depth):
        name, dilation = f"layer{i}", 2 ** (i % depth)
        options = {"padding": "causal", "dilation_rate": dilation}
        value = layers.Conv1D(8, 2, activation="tanh", name=f"{name}_filter", **options)(x)
        gate = layers.Conv1D(8, 2, activation="sigmoid", name=f"{name}_gate", **options)(x)
        y = layers.Multiply(name=f"{name}_gated")([value, gate])
        skips.append(layers.Conv1D(8, 1, name=f"{name}_skip")(y))
        if i < stacks * depth - 1:
            y = layers.Conv1D(8, 1, name=f"{name}_res")(y)
            x = layers.Add(name=f"{name}_add")([x, y])
    x = layers.ReLU(name="post_relu1")(layers.Add(name="skip_sum")(skips))
    x = layers.Conv1D(8, 1, activation="relu", name="post1")(x)
    x = layers.Conv1D(16, 1, name="logits")(x)
    return keras.Model(inputs, x, name="wavenet")


def n_beats(blocks=10, lookback=20, horizon=5):
    """Each block subtracts its backcast from what comes in and adds its forecast to a sum."""
    x = inputs = keras.Input((lookback,))
    forecasts = []
    for i in range(blocks):
        y = x
        for j in range(1, 5):
            y = layers.Dense(32, activation="relu", name=f"block{i}_fc{j}")(y)
        forecasts.append(layers.Dense(horizon, name=f"block{i}_forecast")(y))
        if i < blocks - 1:
            backcast = layers.Dense(lookback, name=f"block{i}_backcast")(y)
            x = layers.Subtract(name=f"block{i}_residual")([x, backcast])
    return keras.Model(inputs, layers.Add(name="forecast")(forecasts), name="n_beats")


def inception_time(depth=6, length=64):
    """Six inception modules; a shortcut joins every third."""
    x = inputs = keras.Input((length, 3))
    shortcut = x
    for i in range(depth):
        name = f"inception{i}"
        narrow = layers.Conv1D(4, 1, use_bias=False, name=f"{name}_bottleneck")(x)
        ways = [
            layers.Conv1D(4, size, padding="same", use_bias=False, name=f"{name}_conv{size}")(
                narrow
            )
            for size in (40, 20, 10)
        ]
        pooled = layers.MaxPooling1D(3, 1, padding="same", name=f"{name}_pool")(x)
        ways.append(layers.Conv1D(4, 1, use_bias=False, name=f"{name}_pool_conv")(pooled))
        x = layers.Concatenate(name=f"{name}_concat")(ways)
        x = layers.BatchNormalization(name=f"{name}_bn")(x)
        x = layers.ReLU(name=f"{name}_relu")(x)
        if i % 3 == 2:
            name = f"shortcut{i // 3}"
            y = layers.Conv1D(16, 1, use_bias=False, name=f"{name}_conv")(shortcut)
            y = layers.BatchNormalization(name=f"{name}_bn")(y)
            x = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))
            shortcut = x
    x = layers.GlobalAveragePooling1D(name="gap")(x)
    return keras.Model(inputs, layers.Dense(5, name="predictions")(x), name="inception_time")


def tcn(depth=8, length=64):
    """Residual blocks of two dilated causal convolutions (figure 1b)."""
    x = inputs = keras.Input((length, 4))
    for i in range(depth):
        name, y = f"block{i}", x
        for j in (1, 2):
            y = layers.Conv1D(
                8,
                3,
                padding="causal",
                dilation_rate=2**i,
                activation="relu",
                name=f"{name}_conv{j}",
            )(y)
            y = layers.SpatialDropout1D(0.1, name=f"{name}_drop{j}")(y)
        if x.shape[-1] != 8:
            x = layers.Conv1D(8, 1, name=f"{name}_match")(x)
        x = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))
    x = layers.Dense(5, name="predictions")(x[:, -1])
    return keras.Model(inputs, x, name="tcn")


def lstm_classifier():
    return keras.Sequential(
        [
            keras.Input((20,), dtype="int32"),
            layers.Embedding(100, 16, mask_zero=True),
            layers.LSTM(16, return_sequences=True),
            layers.LSTM(16),
            layers.Dense(2),
        ],
        name="sentiment",
    )


def dense_chain(length=300):
    # Nothing would be left of the input behind hundreds of random matrices.
    options = {"activation": "relu", "kernel_initializer": "identity"}
    hidden = [layers.Dense(8, **options) for _ in range(length)]
    return keras.Sequential([keras.Input((8,)), *hidden], name="dense_chain")


CATALOGUE = [
    Entry("WaveNet", wavenet, "van den Oord et al. 2016, figure 4, section 2.4",
          {"stem": 1, "residual": 29, "plain": 1, "head": 1}, (30,),
          "A layer is a block, with its gate and its convolution for the skip; the last has no "
          "shortcut. The sum of skips is the network's.", long_sums=1),
    Entry("N-BEATS", n_beats, "Oreshkin et al. 2020, figure 1",
          {"residual": 9, "plain": 1, "head": 1}, (10,),
          "A block subtracts its backcast from its input; the last only forecasts. The sum of "
          "forecasts is the network's.", long_sums=1,
          differs="The last block, which has no backcast, is part of the head, the sum of "
          "forecasts."),
    Entry("InceptionTime", inception_time, "Fawaz et al. 2020, figures 1 and 2",
          {"residual": 2, "classifier": 1}, (2,),
          "Three inception modules with a shortcut make a block.", shortcuts={"projection": 2}),
    Entry("TCN", tcn, "Bai et al. 2018, figure 1", {"residual": 8, "classifier": 1}, (8,),
          shortcuts={"identity": 7, "projection": 1}),
    Entry("LSTM classifier", lstm_classifier, "the usual tutorial on text classification",
          {"plain": 3, "classifier": 1}, (1, 1, 1),
          "Embedding, LSTM, LSTM; the mask reads the input and feeds both."),
    Entry("300 Dense", dense_chain, "none: what can still be read", {"plain": range(10, 41)}, (),
          "A chain of equal layers with automatic names."),
]  # fmt: skip
