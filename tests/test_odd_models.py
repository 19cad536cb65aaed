"""Models that nobody thought of: for each, an exact slice or a clear refusal, never a traceback."""

import keras
import numpy as np
import pytest
from keras import layers

import cutwidgets as cw


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


@pytest.mark.filterwarnings("ignore:.*destroy the mask")
@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_an_exact_slice_or_a_clear_refusal(build):
    model = build()
    anatomy = cw.anatomy(model)
    assert "<svg" in anatomy.svg
    assert anatomy.blocks
    for start in range(len(anatomy)):
        for end in range(start, len(anatomy)):
            assert cw.check(model, start, end).ok
    for layer in {call.name for call in anatomy.graph.calls}:
        try:
            assert cw.check(model, layer).ok
            assert len(cw.split(model, layer)) == 2
        except cw.CutError as refusal:
            assert repr(layer) in str(refusal)


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_the_panel_runs_it(build):
    panel = cw.CutPanel(build())
    names = [block.name for block in cw.anatomy(panel.model)]
    panel.selection = (names[0], names[-1])
    panel.run()
    assert panel.error == ""
    assert panel.slice is not None


def test_texts_want_an_input_of_ones_own():
    x = keras.Input((1,), dtype="string")
    model = keras.Model(x, layers.Dense(1)(layers.Hashing(5, output_mode="one_hot")(x)))
    with pytest.raises(cw.CutError, match="takes texts"):
        cw.check(model, 0)


def test_pieces_take_their_inputs_in_the_order_of_the_model():
    one, other = keras.Input((4,)), keras.Input((4,))
    encode = layers.Dense(2)
    difference = layers.Subtract(name="difference")([encode(one), encode(other)])
    model = keras.Model([other, one], layers.Dense(1)(difference))
    values = [np.ones((2, 4), "float32"), np.zeros((2, 4), "float32")]
    head, tail = cw.split(model, "difference")
    np.testing.assert_array_equal(tail(head(values)), model(values))


def test_outputs_keep_the_order_of_the_model():
    x = keras.Input((4,))
    second = layers.Dense(2, name="second")(x)
    first = layers.Dense(3, name="first")(layers.Dense(3)(x))
    model = keras.Model(x, [first, second])
    assert cw.cut(model).output_names == ["first", "second"]
    assert cw.split(model, 0, bypass="input")[1].output_names == ["first", "second"]


def test_a_branch_and_a_shortcut_may_share_layers():
    x = keras.Input((4,))
    shared = layers.Dense(4)(x)
    added = layers.Add()([x, shared])
    model = keras.Model(x, layers.Add()([added, layers.Dense(4)(shared)]))
    assert [block.kind for block in cw.anatomy(model)] == ["residual"]
    assert cw.check(model, 0).ok


def test_pooling_operations_have_an_anatomy():
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, layers.Conv2D(2, 3)(keras.ops.max_pool(x, 2)))
    assert cw.anatomy(model)[-1].scale == 2


def test_an_input_layer_is_a_start():
    model = dictionaries()
    assert cw.cut(model, "a", "dense" if "dense" in str(cw.anatomy(model)) else None).inputs
    plain = perceptron()
    name = cw.anatomy(plain).graph.calls[0].name
    x = np.ones((2, 20), "float32")
    np.testing.assert_array_equal(cw.cut(plain, name)(x), plain(x))


def test_the_name_of_an_input_is_free():
    x = keras.Input((4,))
    shared = layers.Dense(4, name="e")
    first = shared(x)
    model = keras.Model(x, layers.Dense(4, name="e_call_1")(shared(first)))
    part = cw.cut(model, first)
    assert part.input.name == "e_call_1_input"


def test_check_leaves_states_and_statistics_alone():
    x = keras.Input((4,))
    normal = layers.BatchNormalization()(x, training=True)
    model = keras.Model(x, layers.Dense(2)(layers.Dropout(0.5)(normal, training=True)))
    before = [np.array(weight) for weight in model.get_weights()]
    values = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    # The seeds are put back too, so that head, slice and tail drop what the model drops.
    assert cw.check(model, 0, 0, values).ok
    for weight, same in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, same)


class Doubled(keras.Model):
    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


def test_a_call_of_ones_own_is_not_read():
    x = keras.Input((4,))
    with pytest.raises(cw.UnsupportedModelError, match="call\\(\\) method of its own"):
        cw.anatomy(Doubled(x, layers.Dense(2)(x)))


def test_a_layers_output_is_a_place_in_a_slice():
    model = perceptron()
    part = cw.cut(model, 0)
    first = part.layers[1]
    assert cw.cut(part, None, first.output).output_names == [first.name]


def test_a_check_that_shows_nothing_says_so():
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(2, kernel_initializer="zeros")(layers.Dense(3)(x)))
    proof = cw.check(model)
    assert proof.ok
    assert not proof.conclusive
    assert "says little" in str(proof)


@pytest.mark.parametrize("strides", [{"rows": 2}, (), "two"])
def test_a_layer_of_ones_own_may_call_anything_strides(strides):
    class Own(keras.layers.Layer):
        def call(self, x):
            return x + 1

    own = Own(name="own")
    own.strides = strides
    model = keras.Sequential([keras.Input((8, 8, 3)), own, keras.layers.Conv2D(4, 3)])
    assert cw.anatomy(model)[0].start == "own"
