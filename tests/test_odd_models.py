"""Models that nobody thought of: for each, an exact slice or a clear refusal, never a traceback."""

import keras
import numpy as np
import pytest
from keras import layers

import cutwidgets as cw
from odd_networks import (
    BUILDERS,
    dictionaries,
    perceptron,
)


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
    with pytest.raises(cw.CutwidgetsError, match="takes texts"):
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
    assert cw.split(model, 0, allow_bypass=True)[1].output_names == ["first", "second"]


def test_a_branch_and_a_shortcut_may_share_layers():
    x = keras.Input((4,))
    shared = layers.Dense(4)(x)
    added = layers.Add()([x, shared])
    model = keras.Model(x, layers.Add()([added, layers.Dense(4)(shared)]))
    assert [block.kind for block in cw.anatomy(model)] == ["residual"]
    assert cw.check(model, 0).ok


def test_an_operation_with_an_attribute_called_weights_has_an_anatomy():
    x = keras.Input((8,), dtype="int32")
    model = keras.Model(x, keras.ops.bincount(x, minlength=4))
    (call,) = (call for call in cw.anatomy(model).graph.calls if call.kind == "Bincount")
    assert not call.weighted


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
    with pytest.raises(cw.UnsupportedModelError, match="its own call\\(\\) method"):
        cw.anatomy(Doubled(x, layers.Dense(2)(x)))


def test_a_layers_output_is_a_place_in_a_slice():
    model = perceptron()
    part = cw.cut(model, 0)
    first = part.layers[1]
    assert cw.cut(part, None, first.output).output_names == [first.name]


def test_a_check_that_shows_nothing_says_so():
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(2, kernel_initializer="zeros")(layers.Dense(3)(x)))
    result = cw.check(model)
    assert result.ok
    assert not result.conclusive
    assert "says little" in str(result)


@pytest.mark.parametrize("strides", [{"rows": 2}, (), "two"])
def test_a_layer_of_ones_own_may_call_anything_strides(strides):
    class Own(keras.layers.Layer):
        def call(self, x):
            return x + 1

    own = Own(name="own")
    own.strides = strides
    model = keras.Sequential([keras.Input((8, 8, 3)), own, keras.layers.Conv2D(4, 3)])
    assert cw.anatomy(model)[0].start == "own"
