"""Attention and mixing: transcriptions of the papers with narrow layers."""

from functools import partial

import keras
from keras import layers, ops

from .entry import Entry
from .parts import classify, conv, conv_bn, depthwise_bn, squeeze_excite


def _mlp(x, hidden, name):
    y = layers.Dense(hidden, activation="gelu", name=f"{name}_fc1")(x)
    return layers.Dense(x.shape[-1], name=f"{name}_fc2")(y)


def _prenorm(x, name, heads=2, **options):
    """An encoder layer that normalises before attention and before its perceptron."""
    width = x.shape[-1]
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_ln1")(x)
    y = layers.MultiHeadAttention(heads, width // heads, name=f"{name}_attn")(y, y, **options)
    x = layers.Add(name=f"{name}_add1")([x, y])
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_ln2")(x)
    return layers.Add(name=f"{name}_add2")([x, _mlp(y, 4 * width, f"{name}_mlp")])


class ClassToken(layers.Layer):
    """Puts a learned token before the others, and adds learned positions."""

    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, shape[-1]), name="token")
        self.positions = self.add_weight(shape=(1, shape[1] + 1, shape[-1]), name="positions")

    def call(self, x):
        token = ops.broadcast_to(self.token, (ops.shape(x)[0], 1, x.shape[-1]))
        return ops.concatenate([token, x], axis=1) + self.positions

    def compute_output_shape(self, shape):
        return (shape[0], shape[1] + 1, shape[2])


def vit(depth=12, size=32):
    x = inputs = keras.Input((size, size, 3))
    x = layers.Conv2D(16, 8, strides=8, name="patch_embed")(x)
    x = layers.Reshape((-1, 16), name="patches")(x)
    x = ClassToken(name="class_token")(x)
    for i in range(depth):
        x = _prenorm(x, f"encoder_{i}")
    x = layers.LayerNormalization(name="encoder_norm")(x)
    return keras.Model(inputs, layers.Dense(10, name="head")(x[:, 0]), name="vit")


def mlp_mixer(depth=8):
    x = inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 8, strides=8, name="stem")(x)
    x = layers.Reshape((-1, 16), name="patches")(x)
    for i in range(depth):
        name = f"mixer{i}"
        y = layers.LayerNormalization(name=f"{name}_ln1")(x)
        y = layers.Permute((2, 1), name=f"{name}_transpose1")(y)
        y = _mlp(y, 8, f"{name}_tokens")
        y = layers.Permute((2, 1), name=f"{name}_transpose2")(y)
        x = layers.Add(name=f"{name}_add1")([x, y])
        y = layers.LayerNormalization(name=f"{name}_ln2")(x)
        x = layers.Add(name=f"{name}_add2")([x, _mlp(y, 64, f"{name}_channels")])
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(10, name="head")(x), name="mlp_mixer")


def swin(depths=(2, 2, 6, 2), window=2):
    """Attention within windows, shifted in every second block."""
    x = inputs = keras.Input((64, 64, 3))
    x = layers.Conv2D(8, 4, strides=4, name="patch_embed")(x)
    x = layers.LayerNormalization(name="patch_norm")(x)
    for stage, depth in enumerate(depths):
        if stage:
            name = f"stage{stage}_merge"
            corners = [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
            x = layers.Concatenate(name=f"{name}_cat")(corners)
            x = layers.LayerNormalization(name=f"{name}_norm")(x)
            x = layers.Dense(8 << stage, use_bias=False, name=f"{name}_reduction")(x)
        for i in range(depth):
            x = _swin_block(x, window, i % 2 * (window // 2), f"stage{stage}_block{i}")
    return keras.Model(inputs, classify(layers.LayerNormalization(name="norm")(x)), name="swin")


def _swin_block(x, window, shift, name):
    height, width, channels = x.shape[1:]
    rows, columns = height // window, width // window
    y = layers.LayerNormalization(name=f"{name}_norm1")(x)
    if shift:
        y = ops.roll(y, (-shift, -shift), axis=(1, 2))
    y = ops.reshape(y, (-1, rows, window, columns, window, channels))
    y = ops.reshape(ops.transpose(y, (0, 1, 3, 2, 4, 5)), (-1, window * window, channels))
    y = layers.MultiHeadAttention(2, channels // 2, name=f"{name}_attn")(y, y)
    y = ops.reshape(y, (-1, rows, columns, window, window, channels))
    y = ops.reshape(ops.transpose(y, (0, 1, 3, 2, 4, 5)), (-1, height, width, channels))
    if shift:
        y = ops.roll(y, (shift, shift), axis=(1, 2))
    x = layers.Add(name=f"{name}_add1")([x, y])
    y = layers.LayerNormalization(name=f"{name}_norm2")(x)
    return layers.Add(name=f"{name}_add2")([x, _mlp(y, 4 * channels, f"{name}_mlp")])


def coatnet(depths=(2, 3, 5, 2)):
    """Convolutions in the first two stages, attention in the last two."""
    x = inputs = keras.Input((64, 64, 3))
    x = conv_bn(x, 8, 3, 2, "s0_1", "gelu")
    x = conv(x, 8, 3, 1, "s0_2")
    for stage, depth in enumerate(depths, 1):
        width = 8 << stage
        for i in range(depth):
            name, strides = f"s{stage}_{i}", 1 if i else 2
            make = _mbconv if stage < 3 else _attention
            x = make(x, width, strides, name)
    return keras.Model(inputs, classify(layers.LayerNormalization(name="norm")(x)), name="coatnet")


def _down(x, width, name):
    x = layers.MaxPooling2D(2, padding="same", name=f"{name}_pool")(x)
    return conv(x, width, 1, 1, f"{name}_proj")


def _mbconv(x, width, strides, name):
    y = layers.BatchNormalization(name=f"{name}_prenorm")(x)
    y = conv_bn(y, 4 * width, 1, strides, f"{name}_expand", "gelu")
    y = depthwise_bn(y, 3, 1, name, "gelu")
    y = squeeze_excite(y, 4, f"{name}_se")
    y = conv(y, width, 1, 1, f"{name}_project")
    x = _down(x, width, f"{name}_shortcut") if strides > 1 else x
    return layers.Add(name=f"{name}_add")([x, y])


def _attention(x, width, strides, name):
    y = layers.LayerNormalization(name=f"{name}_ln1")(x)
    if strides > 1:
        y = layers.MaxPooling2D(2, padding="same", name=f"{name}_attn_pool")(y)
        x = _down(x, width, f"{name}_shortcut")
    height, columns = y.shape[1:3]
    y = layers.Reshape((height * columns, y.shape[-1]), name=f"{name}_flat")(y)
    y = layers.MultiHeadAttention(2, width // 2, output_shape=width, name=f"{name}_attn")(y, y)
    y = layers.Reshape((height, columns, width), name=f"{name}_map")(y)
    x = layers.Add(name=f"{name}_add1")([x, y])
    y = layers.LayerNormalization(name=f"{name}_ln2")(x)
    return layers.Add(name=f"{name}_add2")([x, _mlp(y, 4 * width, f"{name}_mlp")])


class Positions(layers.Layer):
    """Adds learned positions."""

    def build(self, shape):
        self.positions = self.add_weight(shape=(1, *shape[1:]), name="positions")

    def call(self, x):
        return x + self.positions


def bert(depth=12, length=12):
    """Encoder layers that normalise behind each sum, from ids and segments to a class."""
    ids = keras.Input((length,), dtype="int32", name="token_ids")
    segments = keras.Input((length,), dtype="int32", name="segment_ids")
    x = layers.Embedding(50, 16, name="token_embedding")(ids)
    x = layers.Add(name="embeddings_add")(
        [x, layers.Embedding(2, 16, name="segment_embedding")(segments)]
    )
    x = Positions(name="position_embedding")(x)
    x = layers.Dropout(0.1, name="embeddings_dropout")(
        layers.LayerNormalization(name="embeddings_norm")(x)
    )
    for i in range(depth):
        name = f"layer_{i}"
        y = layers.MultiHeadAttention(2, 8, name=f"{name}_attention")(x, x)
        y = layers.Dropout(0.1, name=f"{name}_attention_dropout")(y)
        x = layers.Add(name=f"{name}_attention_add")([x, y])
        x = layers.LayerNormalization(name=f"{name}_attention_norm")(x)
        y = layers.Dropout(0.1, name=f"{name}_dropout")(_mlp(x, 64, name))
        x = layers.LayerNormalization(name=f"{name}_norm")(layers.Add(name=f"{name}_add")([x, y]))
    x = layers.Dense(16, activation="tanh", name="pooler")(x[:, 0])
    x = layers.Dense(2, name="classifier")(layers.Dropout(0.1, name="classifier_dropout")(x))
    return keras.Model([ids, segments], x, name="bert")


def gpt(depth=12, length=12):
    ids = keras.Input((length,), dtype="int32", name="tokens")
    x = layers.Embedding(50, 16, name="wte")(ids)
    x = Positions(name="wpe")(x)
    for i in range(depth):
        x = _prenorm(x, f"h{i}", use_causal_mask=True)
    x = layers.LayerNormalization(name="ln_f")(x)
    return keras.Model(ids, layers.Dense(50, use_bias=False, name="lm_head")(x), name="gpt")


def transformer(depth=6, length=12):
    """Encoder and decoder of the first Transformer, with masks for padding."""
    source = keras.Input((length,), dtype="int32", name="source")
    target = keras.Input((length,), dtype="int32", name="target")

    def embed(ids, name):
        x = layers.Embedding(50, 16, mask_zero=True, name=f"{name}_embedding")(ids)
        return Positions(name=f"{name}_positions")(x)

    def added(x, y, name):
        x = layers.Add(name=f"{name}_add")([x, y])
        return layers.LayerNormalization(name=f"{name}_norm")(x)

    x = embed(source, "encoder")
    for i in range(depth):
        name = f"encoder_{i}"
        y = layers.MultiHeadAttention(2, 8, name=f"{name}_self")(x, x)
        x = added(x, y, f"{name}_self")
        x = added(x, _mlp(x, 64, name), f"{name}_mlp")
    memory, x = x, embed(target, "decoder")
    for i in range(depth):
        name = f"decoder_{i}"
        y = layers.MultiHeadAttention(2, 8, name=f"{name}_self")(x, x, use_causal_mask=True)
        x = added(x, y, f"{name}_self")
        y = layers.MultiHeadAttention(2, 8, name=f"{name}_cross")(x, memory)
        x = added(x, y, f"{name}_cross")
        x = added(x, _mlp(x, 64, name), f"{name}_mlp")
    return keras.Model([source, target], layers.Dense(50, name="logits")(x), name="transformer")


def conformer(depth=16, length=64):
    """Half a perceptron, attention, convolution, half a perceptron: four sums a block."""
    x = inputs = keras.Input((length, 20, 1), name="spectrogram")
    for i in (1, 2):
        x = layers.Conv2D(8, 3, 2, padding="same", activation="relu", name=f"subsample{i}")(x)
    x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]), name="frames")(x)
    x = layers.Dense(16, name="input_linear")(x)
    for i in range(depth):
        name = f"block{i}"
        for part in ("ffn1", "mhsa", "conv", "ffn2"):
            y = layers.LayerNormalization(name=f"{name}_{part}_ln")(x)
            if part == "mhsa":
                y = layers.MultiHeadAttention(2, 8, name=f"{name}_mhsa")(y, y)
            elif part == "conv":
                y = layers.Conv1D(32, 1, name=f"{name}_conv_pw1")(y)
                a, b = ops.split(y, 2, axis=-1)
                gate = layers.Activation("sigmoid", name=f"{name}_conv_sigmoid")(b)
                y = layers.Multiply(name=f"{name}_conv_glu")([a, gate])
                y = layers.DepthwiseConv1D(7, padding="same", name=f"{name}_conv_dw")(y)
                y = layers.BatchNormalization(name=f"{name}_conv_bn")(y)
                y = layers.Activation("silu", name=f"{name}_conv_silu")(y)
                y = layers.Conv1D(16, 1, name=f"{name}_conv_pw2")(y)
            else:
                y = layers.Dense(64, activation="silu", name=f"{name}_{part}_1")(y)
                y = layers.Dense(16, name=f"{name}_{part}_2")(y) * 0.5
            x = layers.Add(name=f"{name}_{part}_add")([x, y])
        x = layers.LayerNormalization(name=f"{name}_ln")(x)
    return keras.Model(inputs, layers.Dense(30, name="logits")(x), name="conformer")


CATALOGUE = [
    Entry("ViT", vit, "Dosovitskiy et al. 2021, figure 1, table 1 (Base)",
          {"stem": 1, "residual": 12, "top": 1, "classifier": 1}, (12,),
          "An encoder layer is a block with two sums; patches, token, positions are the stem."),
    Entry("ViT, 3 layers", partial(vit, 3), "as above",
          {"stem": 1, "residual": 3, "top": 1, "classifier": 1}, (3,)),
    Entry("MLP-Mixer", mlp_mixer, "Tolstikhin et al. 2021, figure 1, table 1 (B: 12, S: 8)",
          {"stem": 1, "residual": 8, "top": 1, "classifier": 1}, (8,),
          "A mixer layer is a block with two sums: over tokens, over channels."),
    Entry("Swin", swin, "Liu et al. 2021, Swin, figure 3 (tiny)",
          {"stem": 1, "residual": 12, "plain": 3, "top": 1, "classifier": 1}, (2, 3, 7, 3),
          "A block has two sums; each stage but the first opens with a patch merging, which has "
          "weights and concatenates slices: plain, or inception."),
    Entry("CoAtNet", coatnet, "Dai et al. 2021, CoAtNet, table 3 (0)",
          {"stem": 1, "residual": 12, "top": 1, "classifier": 1}, (2, 3, 5, 2),
          "MBConv with one sum in S1 and S2, transformer blocks with two sums in S3 and S4.",
          names=("s1", "s2", "s3", "s4"), shortcuts={"identity": 8, "projection": 4}),
    Entry("BERT", bert, "Devlin et al. 2019, section 3 (Base)",
          {"stem": 1, "residual": 12, "classifier": 1}, (12,),
          "An encoder layer is a block with two sums, each followed by its normalisation; the "
          "embeddings are the stem."),
    Entry("GPT", gpt, "Radford et al. 2019, GPT-2, section 2.3 (small)",
          {"stem": 1, "residual": 12, "top": 1, "head": 1}, (12,),
          "A decoder layer is a block with two sums; lm_head is the output."),
    Entry("Transformer", transformer, "Vaswani et al. 2017, figure 1 (base)",
          {"stem": 2, "residual": 12, "head": 1}, (6, 6),
          "Encoder layers with two sums, decoder layers with three; the encoder's output crosses "
          "all of the decoder. An embedding opens both."),
    Entry("Conformer", conformer, "Gulati et al. 2020, figure 1, table 1 (S: 16 layers)",
          {"stem": 1, "residual": 16, "head": 1}, (16,),
          "A block has four sums and ends in a normalisation."),
]  # fmt: skip
