import re
from dataclasses import replace
from time import perf_counter

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops

import cutwidgets as cw
from cutwidgets.analysis.costs import Cost, Costs, costs
from networks import application

PRODUCTS = {
    "BatchMatMulV2", "BatchMatMulV3", "Conv2D", "Conv2DBackpropInput", "Conv3D",
    "DepthwiseConv2dNative", "MatMul",
}  # fmt: skip


def profiled(model):
    """The MACs of a model on one example, by TensorFlow's own profiler."""
    specs = [tf.TensorSpec((1, *x.shape[1:]), x.dtype) for x in model.inputs]
    function = tf.function(lambda *x: model(list(x) if len(x) > 1 else x[0], training=False))
    graph = function.get_concrete_function(*specs).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options = tf.compat.v1.profiler.ProfileOptionBuilder(options).with_empty_output()
    options = options.with_accounted_types(sorted(PRODUCTS)).order_by("name").build()
    found = tf.compat.v1.profiler.profile(graph, options=options)
    return found.total_float_ops // 2 + sum(map(einsum, graph.get_operations()))


def einsum(operation):
    """The MACs of an Einsum of TensorFlow, which its profiler does not know."""
    if operation.type != "Einsum":
        return 0
    letters = {}
    terms = operation.get_attr("equation").decode().partition("->")[0].split(",")
    for term, tensor in zip(terms, operation.inputs, strict=True):
        term = term.replace("...", "ABC"[: len(tensor.shape) - len(term.replace("...", ""))])
        letters |= dict(zip(term, tensor.shape, strict=True))
    return int(np.prod(list(letters.values())))


def chain(shape, *made, dtype="float32"):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *made])


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("ResNet50", 3.86e9),  # He et al. 2015, table 1: 3.8e9
        ("VGG16", 15.5e9),
        ("MobileNetV2", 300e6),  # Sandler et al. 2018, table 4
        ("EfficientNetB0", 0.39e9),  # Tan, Le 2019, table 2
    ],
)
def test_macs_of_papers(name, macs):
    found = costs(getattr(keras.applications, name)(weights=None))
    assert found.total.macs == pytest.approx(macs, rel=0.015)
    assert found.total.uncounted == ()


@pytest.mark.parametrize("name", ["ResNet50", "MobileNetV2", "EfficientNetB0"])
def test_macs_of_applications_are_those_of_tensorflow(name):
    model = application(name)
    assert costs(model).total.macs == profiled(model)
    assert costs(model).total.parameters == model.count_params()


def attention(make, shape=(6, 8), other=(5, 8), **arguments):
    query, value = keras.Input(shape), keras.Input(other)
    return keras.Model([query, value], make(query, value, **arguments))


SMALL = {
    "conv1d": lambda: chain((12, 6), layers.Conv1D(8, 3, strides=2)),
    "causal": lambda: chain((12, 6), layers.Conv1D(8, 3, padding="causal", dilation_rate=2)),
    "dilated": lambda: chain((12, 12, 3), layers.Conv2D(4, 3, dilation_rate=2)),
    "conv3d": lambda: chain((6, 7, 8, 3), layers.Conv3D(4, 3, strides=2, padding="same")),
    "depthwise": lambda: chain((9, 9, 3), layers.DepthwiseConv2D(3, depth_multiplier=2)),
    "depthwise1d": lambda: chain((9, 3), layers.DepthwiseConv1D(3, depth_multiplier=2)),
    "separable": lambda: chain(
        (9, 9, 3), layers.SeparableConv2D(5, 3, depth_multiplier=2, padding="same")
    ),
    "separable1d": lambda: chain((9, 3), layers.SeparableConv1D(5, 3)),
    "transposed": lambda: chain((5, 6, 3), layers.Conv2DTranspose(7, 3, strides=2, padding="same")),
    "transposed1d": lambda: chain((5, 3), layers.Conv1DTranspose(7, 4, strides=2, padding="same")),
    "dense": lambda: chain((5, 6), layers.Dense(7)),
    "einsum dense": lambda: chain((5, 6), layers.EinsumDense("abc,cde->abde", (5, 2, 3))),
    "einsum dense dots": lambda: chain((5, 6), layers.EinsumDense("...x,xy->...y", 7)),
    "lstm": lambda: chain((5, 6), layers.LSTM(7, unroll=True)),
    "gru": lambda: chain((5, 6), layers.GRU(7, unroll=True, return_sequences=True)),
    "simple rnn": lambda: chain((5, 6), layers.SimpleRNN(7, unroll=True)),
    "both": lambda: chain((5, 6), layers.Bidirectional(layers.LSTM(7, unroll=True))),
    "conv lstm": lambda: chain((3, 8, 8, 2), layers.ConvLSTM2D(4, 3, padding="same", unroll=True)),
    "conv lstms": lambda: chain(
        (3, 8, 8, 2), layers.ConvLSTM2D(4, 3, strides=2, padding="same", unroll=True,
                                        return_sequences=True)
    ),
    "multi-head": lambda: attention(layers.MultiHeadAttention(2, 3, value_dim=4)),
    "multi-head out": lambda: attention(layers.MultiHeadAttention(2, 3, output_shape=5)),
    "grouped": lambda: attention(layers.GroupQueryAttention(4, 6, 2)),
    "axes": lambda: attention(
        layers.MultiHeadAttention(2, 4, attention_axes=(2,)), (3, 6, 8), (3, 5, 8)
    ),
    "attention": lambda: attention(lambda q, v: layers.Attention()([q, v])),
    "steps": lambda: chain((5, 8, 8, 3), layers.TimeDistributed(layers.Conv2D(4, 3))),
    "model steps": lambda: chain(
        (5, 8, 8, 3),
        layers.TimeDistributed(chain((8, 8, 3), layers.Conv2D(4, 3), layers.Flatten(),
                                     layers.Dense(2))),
    ),
    "spectral": lambda: chain((8, 8, 3), layers.SpectralNormalization(layers.Conv2D(4, 3))),
    "matmul": lambda: attention(lambda a, b: ops.matmul(a, b), (5, 6), (6, 7)),
    "operator": lambda: attention(lambda a, b: a @ ops.transpose(b, (0, 2, 1)), (5, 6), (7, 6)),
    "einsum": lambda: attention(lambda a, b: ops.einsum("bij,bjk->bik", a, b), (5, 6), (6, 7)),
    "dot layer": lambda: attention(lambda a, b: layers.Dot((2, 1))([a, b]), (5, 6), (6, 7)),
    "tensordot": lambda: attention(
        lambda a, b: ops.tensordot(a, np.ones((6, 4), "float32"), axes=1), (5, 6), (6, 7)
    ),
    "conv op": lambda: attention(
        lambda a, b: ops.conv(a, np.ones((3, 3, 3, 4), "float32"), 2, "same"), (9, 9, 3), (2,)
    ),
    "shared": lambda: twice(layers.Dense(5)),
    "nested": lambda: chain((8, 8, 3), chain((8, 8, 3), layers.Conv2D(4, 3)), layers.Conv2D(2, 2)),
    "windows": lambda: windows(),
}  # fmt: skip


def twice(layer):
    return attention(lambda a, b: layer(a) + layer(layer(b)), (5,), (5,))


def windows():
    """Windows folded into the batch axis, as in a Swin transformer."""
    x = inputs = keras.Input((16, 8))
    x = ops.reshape(x, (-1, 4, 8))
    x = layers.Dense(5)(x)
    return keras.Model(inputs, ops.reshape(x, (-1, 16, 5)))


@pytest.mark.parametrize("name", SMALL)
def test_macs_of_layers_are_those_of_tensorflow(name):
    model = SMALL[name]()
    found = costs(model)
    assert found.total.uncounted == ()
    assert found.total.macs == profiled(model) > 0
    assert found.total.parameters == model.count_params()


def test_macs_by_hand():
    """What TensorFlow's profiler does not see: it compiles groups, and unrolls a step too much."""
    grouped = chain((12, 6), layers.Conv1D(8, 3, strides=2, groups=2))
    assert costs(grouped).total.macs == 5 * 8 * 3 * 3
    cells = [layers.LSTMCell(4), layers.GRUCell(3), layers.SimpleRNNCell(2)]
    each_step = 4 * 4 * (6 + 4) + 3 * 3 * (4 + 3) + 2 * (3 + 2)
    assert costs(chain((5, 6), layers.RNN(cells))).total.macs == 5 * each_step
    model = attention(lambda q, v: layers.AdditiveAttention()([q, v]))
    assert costs(model).total.macs == 6 * 5 * (8 + 8)
    embedded = chain((7,), layers.Embedding(10, 4), dtype="int32")
    assert costs(embedded).total.macs == 0


def test_channels_first_by_formula():
    first = chain(
        (3, 20, 24),
        layers.Conv2D(4, 3, data_format="channels_first"),
        layers.DepthwiseConv2D(3, strides=2, data_format="channels_first"),
        layers.SeparableConv2D(6, 3, data_format="channels_first"),
        layers.Conv2DTranspose(5, 2, strides=2, data_format="channels_first"),
    )
    last = chain(
        (20, 24, 3),
        layers.Conv2D(4, 3),
        layers.DepthwiseConv2D(3, strides=2),
        layers.SeparableConv2D(6, 3),
        layers.Conv2DTranspose(5, 2, strides=2),
    )
    one, other = costs(first).total, costs(last).total
    assert (one.macs, one.receptive_field) == (other.macs, other.receptive_field)
    assert one.receptive_field == (9, 9)


@pytest.mark.parametrize(
    "make",
    [
        lambda: application("ResNet50"),
        lambda: application("MobileNetV2"),
        lambda: chain((6, 4), layers.LSTM(3, return_sequences=True), layers.Dense(2)),
        lambda: chain((9, 9, 3), layers.Conv2D(4, 3, dtype="mixed_float16"), layers.Flatten()),
        windows,
    ],
)
def test_bytes_are_those_of_arrays(make):
    model = make()
    graph = cw.anatomy(model).graph
    made = [t.symbol for t in graph.tensors if t.index not in graph.inputs]
    values = keras.Function(model.inputs, made)(
        [np.zeros((1, *x.shape[1:]), "float32") for x in model.inputs]
    )
    expected = sum(ops.convert_to_numpy(value).nbytes for value in values)
    assert costs(model).total.activation_bytes == expected


# Receptive fields. Positive weights let each dependence show as a gradient.


def positive(model):
    for weight in model.weights:
        name = weight.path.rpartition("/")[2]
        weight.assign(np.zeros(weight.shape) if name == "bias" else np.ones(weight.shape))
    return model


def seen(model, size, axes):
    """On how many positions an element in the middle of the output depends, at most."""
    x = tf.Variable(
        np.random.default_rng(0).uniform(1, 2, (1, *(size,) * axes, 1)), dtype="float32"
    )
    with tf.GradientTape(persistent=True) as tape:
        y = positive(model)(x, training=False)
        middle = [length // 2 for length in y.shape[1:-1]]
        # Neighbours may see more or less, where something is enlarged.
        around = np.ndindex(*(4,) * axes)
        picked = [y[(0, *(m + d for m, d in zip(middle, o, strict=True)), 0)] for o in around]
    found = np.zeros(axes, int)
    for one in picked:
        touched = np.nonzero(tf.convert_to_tensor(tape.gradient(one, x)).numpy()[0, ..., 0])
        extent = [np.ptp(t) + 1 if t.size else 0 for t in touched]
        found = np.maximum(found, extent)
    return tuple(found.tolist())


def two_paths():
    x = inputs = keras.Input((64, 64, 1))
    y = layers.Conv2D(1, 3, padding="same")(x)
    y = layers.Conv2D(1, (5, 3), padding="same", dilation_rate=2)(y)
    x = layers.Add()([layers.Conv2D(1, 1)(x), y])
    x = layers.AveragePooling2D(2)(x)
    return keras.Model(inputs, layers.Conv2D(1, 3)(x))


def unet():
    x = inputs = keras.Input((64, 64, 1))
    x = skip = layers.Conv2D(1, 3, padding="same")(x)
    x = layers.Conv2D(1, 3, padding="same")(layers.AveragePooling2D(2)(x))
    x = layers.Conv2DTranspose(1, 2, strides=2)(x)
    x = layers.Concatenate()([skip, x])
    return keras.Model(inputs, layers.Conv2D(1, 3, padding="same")(x))


SEEING = {
    "plain": lambda: chain((64, 64, 1), layers.Conv2D(1, 3), layers.Conv2D(1, (5, 2))),
    "strided": lambda: chain(
        (64, 64, 1), layers.Conv2D(1, 3, strides=2), layers.AveragePooling2D(3, 2),
        layers.Conv2D(1, (3, 1)),
    ),
    "dilated": lambda: chain((64, 64, 1), layers.Conv2D(1, 3, dilation_rate=3), layers.ReLU()),
    "separable": lambda: chain((64, 64, 1), layers.SeparableConv2D(1, 5, strides=2)),
    "padded": lambda: chain((64, 64, 1), layers.ZeroPadding2D(3), layers.Conv2D(1, 7, strides=2)),
    "residual": two_paths,
    "U-Net": unet,
    "nearest": lambda: chain((64, 64, 1), layers.UpSampling2D(3), layers.Conv2D(1, (2, 5))),
    "bilinear": lambda: chain((64, 64, 1), layers.UpSampling2D(2, interpolation="bilinear")),
    "down and up": lambda: chain(
        (64, 64, 1), layers.Conv2D(1, 7, strides=4, padding="same"), layers.UpSampling2D(2),
        layers.Conv2D(1, 2),
    ),
    "up twice": lambda: chain(
        (64, 64, 1), layers.Conv2D(1, 3, strides=2, padding="same"),
        layers.Conv2DTranspose(1, 3, strides=2, padding="same"), layers.Conv2D(1, 2),
        layers.Conv2DTranspose(1, (2, 4), strides=2, padding="same"), layers.Conv2D(1, 3),
    ),
    "1d": lambda: chain((64, 1), layers.Conv1D(1, 3, strides=2), layers.MaxPooling1D(3, 1),
                        layers.Dense(1)),
    "1d up": lambda: chain((64, 1), layers.UpSampling1D(2), layers.Conv1D(1, 4)),
    "normalized": lambda: chain((64, 64, 1), layers.Conv2D(1, 3), layers.BatchNormalization()),
}  # fmt: skip


@pytest.mark.parametrize("name", SEEING)
def test_receptive_fields_are_where_gradients_are(name):
    model = SEEING[name]()
    axes = len(model.input_shape) - 2
    got = costs(model).total.receptive_field
    if name == "1d":  # the largest of a window has one source, wherever it is
        assert got == (7,)
    else:
        assert got == seen(model, 64, axes)


def test_receptive_field_of_volumes():
    model = chain((12, 12, 12, 1), layers.Conv3D(1, (1, 2, 3)), layers.Conv3D(1, 3, strides=2))
    assert costs(model).total.receptive_field == (3, 4, 5)


@pytest.mark.parametrize(("name", "size"), [("ResNet50", 483), ("VGG16", 212), ("MobileNet", 315)])
def test_receptive_fields_of_the_paper(name, size):
    """Araujo, Norris, Sim 2019, table 1."""
    model = getattr(keras.applications, name)(weights=None, include_top=False)
    assert costs(model).total.receptive_field == (size, size)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("conv pool up transposed".split()), st.integers(1, 4),
                  st.integers(1, 3)),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_no_random_chain_sees_more_than_its_receptive_field(parts):
    made, jump, enlarged = [], 1.0, False
    for kind, size, stride in parts:
        if kind in ("conv", "transposed"):
            # Where a kernel is smaller than the stride, TensorFlow's gradient can end the process.
            size = max(size, stride)
        made.append(
            {
                "conv": lambda k=size, s=stride: layers.Conv1D(1, k, strides=s, padding="same"),
                "pool": lambda k=size, s=stride: layers.AveragePooling1D(k, s, padding="same"),
                "up": lambda s=stride: layers.UpSampling1D(s),
                "transposed": lambda k=size, s=stride: layers.Conv1DTranspose(
                    1, k, strides=s, padding="same"
                ),
            }[kind]()
        )
        jump *= stride if kind in ("conv", "pool") else 1 / stride
        enlarged |= kind in ("up", "transposed") and stride > 1
    if jump > 16:
        return
    model = chain((512, 1), *made)
    (most,) = costs(model).total.receptive_field
    (got,) = seen(model, 512, 1)
    assert got <= most
    if not enlarged:
        # A stride beyond the size leaves holes at the end, but none between what is seen.
        assert got == most


@pytest.mark.parametrize(
    "made",
    [
        [layers.GlobalAveragePooling2D(), layers.Dense(2)],
        [layers.Flatten(), layers.Dense(2)],
        [layers.Reshape((64, 3)), layers.Conv1D(2, 3)],
        [layers.GroupNormalization(1)],
        [layers.LayerNormalization(axis=(1, 2, 3))],
        [layers.Permute((2, 1, 3))],
        [layers.Lambda(lambda x: x[:, ::-1])],
        [layers.Softmax(axis=1)],
    ],
)
def test_no_bound(made):
    assert costs(chain((8, 8, 3), *made)).total.receptive_field is None


def test_squeeze_and_excite_sees_everything_and_a_vector_nothing():
    x = inputs = keras.Input((16, 16, 3))
    gate = layers.Reshape((1, 1, 3))(layers.GlobalAveragePooling2D()(x))
    assert costs(keras.Model(inputs, layers.Multiply()([x, gate]))).total.receptive_field is None
    vector = keras.Input((5,))
    gate = layers.Reshape((1, 1, 4))(layers.Dense(4)(vector))
    x = layers.Multiply()([layers.Conv2D(4, 3)(x), gate])
    assert costs(keras.Model([inputs, vector], x)).total.receptive_field == (3, 3)
    words = chain((20,), layers.Embedding(9, 4), layers.Conv1D(4, 3), dtype="int32")
    assert costs(words).total.receptive_field == (3,)


# Shapes.


def test_free_lengths_and_input_shapes():
    model = keras.applications.ResNet50(weights=None, include_top=False)
    fixed = application("ResNet50", size=64)
    assert costs(model).input_shapes == ((None, 224, 224, 3),)
    for shape in [(64, 64, 3), [64, 64, 3], (None, 64, 64, 3), (8, 64, 64, 3)]:
        assert costs(model, shape).rows == costs(fixed).rows
    assert costs(fixed, (None, None, 3)).rows == costs(fixed).rows
    assert costs(fixed, (224, 224, 3)).rows == costs(model).rows
    assert costs(chain((None, 4), layers.Dense(2))).total.macs == 16 * 4 * 2


def test_shapes_of_several_inputs():
    a, b = keras.Input((None, 4), name="a"), keras.Input((None, 4), name="b")
    model = keras.Model([a, b], layers.MultiHeadAttention(2, 3)(a, b))
    by_list = costs(model, [(5, 4), (7, 4)])
    assert by_list.rows == costs(model, {"a": (5, 4), "b": (7, 4)}).rows
    assert by_list.total.macs == (2 * 5 + 2 * 7) * 4 * 6 + 2 * 5 * 7 * 6
    assert costs(model, {"b": (7, 4)}).input_shapes == ((None, 16, 4), (None, 7, 4))


def test_a_fixed_batch_counts_one_example():
    fixed = keras.Sequential([keras.Input(batch_shape=(8, 9, 9, 3)), layers.Conv2D(4, 3)])
    free = chain((9, 9, 3), layers.Conv2D(4, 3))
    for shape in (None, (12, 12, 3)):
        one, other = costs(fixed, shape).total, costs(free, shape).total
        assert (one.macs, one.activation_bytes) == (other.macs, other.activation_bytes)


@pytest.mark.parametrize(
    "shape", [(3,), "photo", 64, (64, 64, 0), {"nobody": (64, 64, 3)}, [[1], [2]]]
)
def test_shapes_that_do_not_fit(shape):
    with pytest.raises(
        cw.CutwidgetsError, match=r"takes .*\(None, 64, 64, 3\).*Received"
    ) as caught:
        costs(application("ResNet50"), shape)
    assert repr(shape) in str(caught.value)


def test_a_layer_that_refuses():
    model = chain((8, 8, 3), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2, name="top"))
    with pytest.raises(cw.CutwidgetsError, match=r"'top'.*does not accept.*\(None, 8, 8, 3\)"):
        costs(model, (16, 16, 3))
    with pytest.raises(cw.UnsupportedModelError):
        costs(keras.Sequential([layers.Dense(1)]))


# The rest.


class Strange(layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 4))

    def call(self, x):
        return ops.matmul(x, self.kernel)


class Same(layers.Dense):
    pass


class Doubled(layers.Dense):
    def call(self, x):
        return super().call(super().call(x))


def test_what_nobody_knows_is_named():
    model = chain(
        (4,), Strange(name="strange"), Same(4), Doubled(4, name="doubled"), layers.PReLU(),
        layers.Lambda(lambda x: x, name="lambda"), layers.BatchNormalization(),
    )  # fmt: skip
    found = costs(model)
    assert found.total.uncounted == ("strange", "doubled", "lambda")
    assert found.total.macs == 16
    assert "≥ 16" in repr(found)
    assert "strange, doubled, lambda" in repr(found)


def test_shared_layers_have_their_parameters_once():
    shared = layers.Conv2D(4, 3, padding="same")
    x = inputs = keras.Input((8, 8, 4))
    for _ in range(3):
        x = layers.Add()([x, layers.ReLU()(shared(x))])
    found = costs(keras.Model(inputs, x))
    assert len(found) > 1
    assert found.total.parameters == shared.count_params() < sum(row.parameters for row in found)
    assert found.total.macs == 3 * 8 * 8 * 4 * 9 * 4
    assert found.sum(0, 0) == found[0]


def test_rows_and_sums():
    model = application("ResNet50")
    found = costs(model)
    assert isinstance(found, Costs)
    assert [row.name for row in found] == [block.name for block in cw.anatomy(model)]
    assert [row.parameters for row in found] == [block.parameters for block in cw.anatomy(model)]
    assert found["conv3_block1"] is found[4]
    assert found[-1] is found[len(found) - 1]
    assert found.total == replace(found.sum(0, len(found) - 1), name=model.name)
    head, tail = found.sum(0, 4), found.sum(5, len(found) - 1)
    assert head.macs + tail.macs == found.total.macs
    assert head.receptive_field == found[4].receptive_field
    assert found.sum(0, -1) == Cost("", 0, 0, 0, (1, 1))
    for place in ("conv3_blok1", 99, None, 1.5):
        with pytest.raises(cw.UnknownPlaceError):
            found[place]
    for ends in ((0, 99), (-1, 2), ("a", "b")):
        with pytest.raises((cw.UnknownPlaceError, TypeError)):
            found.sum(*ends)


def test_the_data_frame_has_the_numbers_of_the_rows():
    found = costs(application("ResNet50"))
    table = found.table
    assert table["block"].tolist() == [row.name for row in found]
    for name in ("parameters", "macs", "activation_bytes", "receptive_field", "uncounted"):
        assert table[name].tolist() == [getattr(row, name) for row in found]


def test_the_table_escapes_names_and_shows_bars():
    evil = "<script>alert(1)&lt;"
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="a & b")(x)
    model = keras.Model(inputs, layers.Lambda(lambda x: x, name=evil)(x), name=evil)
    html = costs(model)._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&amp;lt;" in html
    assert "8×8×3" in html
    html = costs(application("ResNet50"))._repr_html_()
    widths = [int(width) for width in re.findall(r"width:(\d+)%", html)]
    assert max(widths) == 100
    assert len(widths) == 3 * 17
    assert "3.01 M" not in html.replace("MB", "")
    assert html.count("<tr") == html.count("</tr>") == 17 + 2


def test_the_user_s_model_is_not_touched():
    model = keras.applications.MobileNetV2(weights=None, include_top=False)
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    costs(model, (96, 96, 3))
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes


def test_it_is_quick():
    model = keras.applications.ResNet50(weights=None)
    costs(model)
    times = []
    for _ in range(5):
        started = perf_counter()
        costs(model)
        times.append(perf_counter() - started)
    assert min(times) < 0.1  # about 0.015 on two cores that do nothing else
