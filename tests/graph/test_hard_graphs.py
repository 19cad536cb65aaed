"""Graphs that tools get wrong: masks, states, mixed precision, long chains, files."""

import sys

import keras
import numpy as np
import pytest
from keras import layers

import cutwidgets as cw
from cutwidgets.graph.reader import read
from nested_networks import names
from networks import masked_attention, plain_chain, residual_chain


def tokens(seed=0):
    values = np.random.default_rng(seed).integers(1, 10, (3, 7)).astype("int32")
    values[:, 4:] = 0  # what is masked
    return values


def test_a_mask_is_a_tensor_like_any_other():
    model = masked_attention()
    x = tokens()
    with pytest.raises(cw.BypassedCutError) as caught:
        cw.cut(model, "attended")
    assert "not_equal" in caught.value.bypasses[0] or caught.value.bypasses == ("tokens",)
    part = cw.cut(model, "attended", allow_bypass=True)
    assert cw.check(model, "attended", None, x, allow_bypass=True).ok
    # Without the mask, it would be another function: the slice is given its values as plain arrays.
    embedded = np.asarray(model.get_layer("embedded")(x))
    values = {"embedded": embedded, "tokens": x}
    given = [values.get(t.name, x != 0) for t in part.inputs]
    given = [keras.ops.convert_to_tensor(np.asarray(value)) for value in given]
    np.testing.assert_allclose(part(given), model(x), rtol=1e-5, atol=1e-6)
    pieces = cw.split(model, "embedded", "attended", allow_bypass=True)
    handed = x
    for piece in pieces:
        handed = piece(handed)
        handed = [np.asarray(value) for value in keras.tree.flatten(handed)]
        handed = [keras.ops.convert_to_tensor(v) for v in handed]
        handed = handed if len(handed) > 1 else handed[0]
    np.testing.assert_allclose(handed, model(x), rtol=1e-5, atol=1e-6)


def test_a_mask_inside_a_nested_model():
    inner = masked_attention()
    y = keras.Input((7,), dtype="int32", name="outer")
    model = keras.Model(y, layers.Dense(2, name="last")(inner(y)), name="whole")
    name = inner.name
    head, tail = cw.split(model, f"{name}/read")
    np.testing.assert_allclose(tail(head(tokens())), model(tokens()), rtol=1e-5)
    assert cw.check(model, f"{name}/attended", None, tokens(), allow_bypass=True).ok


@pytest.mark.filterwarnings("ignore:.*support masking")
def test_a_nested_model_that_is_called_with_a_mask_stays_closed():
    reader = keras.Sequential([keras.Input((7, 4)), layers.LSTM(3)], name="reader")
    x = keras.Input((7,), dtype="int32")
    model = keras.Model(x, layers.Dense(2)(reader(layers.Embedding(10, 4, mask_zero=True)(x))))
    assert "reader" in [call.name for call in read(model).calls]
    for place in ("embedding", "reader"):
        name = next(call.name for call in read(model).calls if place in call.name)
        pieces = cw.split(model, name, allow_bypass=True)
        value = tokens()
        for piece in pieces:
            value = piece(value)
        np.testing.assert_allclose(value, model(tokens()), rtol=1e-5)


def test_mixed_precision():
    policy = keras.DTypePolicy("mixed_float16")
    x = keras.Input((8,), name="x")
    a = keras.Input((16,), dtype="float32", name="a")
    inner = keras.Model(a, layers.Dense(16, "relu", dtype=policy, name="inside")(a), name="inner")
    h = layers.Dense(16, dtype=policy, name="first")(x)
    h = layers.Add(name="sum", dtype=policy)([h, inner(h)])
    model = keras.Model(x, layers.Dense(2, dtype="float32", name="last")(h))
    values = np.random.default_rng(0).normal(size=(4, 8)).astype("float32")
    assert cw.cut(model, "sum", allow_bypass=True).inputs[0].dtype == "float16"
    for place in ("inner/inside", "inner", "sum", "last"):
        assert cw.check(model, place, None, values, allow_bypass=True).max_abs_difference == 0
        assert cw.check(model, None, place, values).max_abs_difference == 0
        copied = cw.check(model, place, None, values, allow_bypass=True, weights="copy")
        assert copied.max_abs_difference == 0


class Pair(layers.Layer):
    """Two outputs, in a dictionary."""

    def call(self, x, scale=1.0):
        return {"sum": x + scale, "product": x * scale}


def test_custom_layers_with_several_outputs_and_arguments():
    x = keras.Input((4,), name="x")
    pair = Pair(name="pair")(x, scale=3.0)
    model = keras.Model(x, layers.Concatenate(name="both")([pair["product"], pair["sum"]]))
    head, tail = cw.split(model, "pair")
    values = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(tail(head(values)), model(values))


def test_states_of_recurrent_layers():
    keras.utils.set_random_seed(0)
    x = keras.Input((5, 4), name="x")
    sequence, *state = layers.LSTM(3, return_sequences=True, return_state=True, name="encode")(x)
    decoded = layers.LSTM(3, name="decode")(sequence, initial_state=state)
    model = keras.Model(x, layers.Dense(2, name="last")(decoded))
    values = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    head, tail = cw.split(model, "encode")
    assert len(tail.inputs) == 3
    np.testing.assert_array_equal(tail(head(values)), model(values))


def test_an_input_that_goes_straight_to_an_output():
    x, y = keras.Input((4,), name="x"), keras.Input((4,), name="y")
    hidden = layers.Dense(4, name="hidden")(x)
    model = keras.Model([x, y], {"same": y, "last": layers.Dense(2, name="last")(hidden)})
    values = [np.ones((2, 4), "float32"), np.full((2, 4), 2, "float32")]
    assert cw.anatomy(model).svg
    with pytest.raises(cw.BypassedCutError):
        cw.split(model, "hidden")
    head, tail = cw.split(model, "hidden", allow_bypass=True)
    result = tail(head(values))
    np.testing.assert_array_equal(result["same"], values[1])
    np.testing.assert_array_equal(result["last"], model(values)["last"])
    identity = keras.Model(x, x)
    assert len(cw.anatomy(identity)) == 0
    assert cw.anatomy(identity).svg
    with pytest.raises(cw.CutError, match="no layers"):
        cw.cut(identity)


@pytest.mark.slow
@pytest.mark.parametrize("build", [plain_chain, residual_chain])
def test_chains_of_three_thousand_layers(build):
    """Keras itself needs a raised limit to build these; ours need none."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(30_000)
    try:
        model = build(3000 if build is plain_chain else 1500)
    finally:
        sys.setrecursionlimit(limit)
    anatomy = cw.anatomy(model)
    graph = anatomy.graph
    assert len(graph.calls) >= 3000
    middle = graph.calls[1502].name
    part = cw.cut(model, None, graph.calls[21].name)
    assert len(part.layers) == 22
    with pytest.raises(cw.CutError, match="setrecursionlimit"):
        cw.cut(model, graph.calls[11].name, graph.calls[2991].name)
    x = np.ones((1, 4), "float32")
    assert cw.activations(model, x, [middle])[middle].shape == (1, 4)


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.filterwarnings("ignore:.*HDF5")
def test_models_from_files(tmp_path, ending):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    base = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(4, 3, padding="same"), layers.ReLU()], name="base"
    )
    h = base(inputs)
    h = layers.Add()([h, layers.Conv2D(4, 3, padding="same", name="conv")(h)])
    saved = keras.Model(inputs, layers.Dense(2, name="last")(layers.Flatten(name="flat")(h)))
    saved.save(tmp_path / f"model.{ending}")
    model = keras.models.load_model(tmp_path / f"model.{ending}", safe_mode=True)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    for place in ("flat", "base"):
        head, tail = cw.split(model, place)
        np.testing.assert_array_equal(tail(head(x)), model(x))
    np.testing.assert_allclose(model(x), saved(x), rtol=1e-6)
    assert names(cw.cut(model, "base/" + names(base)[0], "flat", weights="copy"))[-1] == "flat"


def test_a_feature_pyramid():
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((32, 32, 3), name="photo")
    levels = []
    for number, width in enumerate((4, 8, 16)):
        x = layers.Conv2D(width, 3, 2, padding="same", name=f"down{number}")(x)
        levels.append(layers.Conv2D(4, 1, name=f"lateral{number}")(x))
    top = levels[-1]
    outputs = [top]
    for number in (1, 0):
        top = layers.Add(name=f"merge{number}")([layers.UpSampling2D()(top), levels[number]])
        outputs.append(layers.Conv2D(4, 3, padding="same", name=f"level{number}")(top))
    model = keras.Model(inputs, outputs)
    values = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")
    for place in ("down0", "down1", "down2", "merge1", "level1"):
        handed = values
        for piece in cw.split(model, place, allow_bypass=True):
            handed = piece(handed)
        for got, wanted in zip(handed, model(values), strict=True):
            np.testing.assert_array_equal(got, wanted)
    for block in cw.anatomy(model):
        assert cw.check(model, None, block, values).ok
