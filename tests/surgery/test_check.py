import keras
import numpy as np
import pytest
from keras import layers

import cutwidgets as cw
from cutwidgets.inference.side_effects import states, variables_of
from cutwidgets.surgery.slicing import section
from networks import application, images


@pytest.mark.parametrize(
    ("start", "end", "carried"),
    [
        ("conv3", "conv4", ()),
        (None, "conv4", ()),
        ("conv3", None, ()),
        (None, None, ()),
        ("conv3", "conv4_block2_1_relu", ("conv4_block1_out",)),
        ("conv3_block2_2_conv", "conv3_block2_3_conv", ("conv3_block1_out",)),
    ],
)
def test_every_kind_of_cut_is_verified(start, end, carried):
    model = application("ResNet50")
    result = cw.check(model, start, end, images(model))
    assert result.ok
    assert result.max_abs_difference == 0
    assert result.sensitivity > 1e-3
    assert "bit for bit" in str(result)
    assert result.carried == carried


def test_a_wrong_slice_is_detected(monkeypatch):
    """A slice with a wrong layer in it must not pass."""
    import cutwidgets.surgery.checking

    model = application("ResNet50")

    def wrong(model, part, weights):
        made = keras.Input(batch_shape=part.graph.tensors[part.inputs[0]].shape)
        return keras.Model(made, layers.ReLU(threshold=0.1)(cw.cut(model, "conv3", "conv4")(made)))

    monkeypatch.setattr(cutwidgets.surgery.checking, "build", wrong)
    result = cw.check(model, "conv3", "conv4")
    assert not result.ok
    assert "NOT" in str(result)
    assert "✗" in result._repr_html_()
    assert list(result.table.itertuples(index=False, name=None)) == list(result.differences)


def test_difference_is_largest_absolute():
    from cutwidgets.surgery.checking import _largest_difference

    a = np.array([0.0, 1.0, np.inf, np.nan])
    assert _largest_difference([a, a], [a, a.copy()]) == 0
    assert _largest_difference([a], [a + np.array([0.25, -0.5, 0, 0])]) == 0.5
    assert _largest_difference([a], [np.nan_to_num(a)]) == np.inf
    assert _largest_difference([np.array([1, 2])], [np.array([1, 5])]) == 3


@pytest.mark.parametrize("x", [np.ones((64, 64, 3)), np.ones((1, 32, 32, 3)), "photo", [], [1, 2]])
def test_input_that_does_not_fit(x):
    with pytest.raises(cw.CutwidgetsError, match="resnet50"):
        cw.check(application("ResNet50"), "conv3", "conv4", x)


def resizable():
    """A chain for images of any size, except for its last layer."""
    x = inputs = keras.Input((8, 8, 3), name="photo")
    for name in ("a", "b", "c"):
        x = layers.Conv2D(4, 3, padding="same", activation="tanh", name=name)(x)
    pooled = layers.GlobalMaxPooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(2, name="scores")(pooled), name="resizable")


@pytest.mark.parametrize("weights", ["share", "copy"])
@pytest.mark.parametrize(
    ("start", "shape"), [(None, (5, 7, 3)), ("a", (1, 9, 2, 3)), ("b", (6, 5, 4)), ("c", [1, 4, 4])]
)
def test_the_random_input_has_the_shape_that_the_slice_accepts(start, shape, weights, monkeypatch):
    import cutwidgets.surgery.checking as checking

    shapes = []

    def built(model, part, weights):
        made = cw.cut(model, start, "c", weights=weights, input_shape=shape)
        shapes.append(made.input_shape)
        return made

    model = resizable()
    monkeypatch.setattr(checking, "build", built)
    ran = []
    monkeypatch.setattr(checking, "forward", lambda part, x: ran.append(x[0].shape) or [part(x[0])])
    result = cw.check(model, start, "c", weights=weights, input_shape=shape)
    assert result.ok
    assert result.conclusive
    assert ran == [(1 if len(shape) == 4 else 2, *shape[-3:])]
    assert len(shapes) == 1
    assert shapes[0][-3:] == tuple(shape[-3:])


def test_a_wrong_slice_of_another_shape_is_detected(monkeypatch):
    import cutwidgets.surgery.checking as checking

    model = resizable()
    model.get_layer("b").trainable = False  # the wrong slice has another kernel

    def wrong(model, part, weights):
        made = cw.cut(model, "b", "c", weights="copy", input_shape=(6, 5, 4))
        made.get_layer("b").kernel.assign(model.get_layer("b").kernel * 2)
        return made

    monkeypatch.setattr(checking, "build", wrong)
    assert not cw.check(model, "b", "c", weights="copy", input_shape=(6, 5, 4)).ok


def test_a_given_input_has_the_shape_that_the_slice_accepts():
    model = resizable()
    x = np.random.default_rng(0).normal(size=(3, 5, 7, 3))
    result = cw.check(model, None, "b", x, input_shape=(5, 7, 3))
    assert result.ok
    assert result.max_abs_output == pytest.approx(
        np.abs(
            model.get_layer("scores")(cw.cut(model, None, "pool", input_shape=(5, 7, 3))(x))
        ).max()
    )
    with pytest.raises(cw.CutwidgetsError, match=r"\(None, 5, 7, 3\).*\(3, 5, 7, 3\)|shape"):
        cw.check(model, None, "b", x)


@pytest.mark.parametrize("weights", ["share", "copy"])
def test_bypassing_tensors_enter_at_the_shapes_that_are_asked_for(weights):
    model = application("ResNet50")
    shapes = {"conv3_block1_out": (3, 5, 512), "conv3_block2_1_relu": (3, 5, 128)}
    options = {"allow_bypass": True, "weights": weights, "input_shape": shapes}
    assert cw.check(model, "conv3_block2_2_conv", "conv3", **options).ok
    with pytest.raises(cw.CutwidgetsError):
        cw.check(model, "conv3", "conv4", input_shape=(3, 5, 7))
    with pytest.raises(cw.CutError, match="'share' or 'copy'"):
        cw.check(model, "conv3", "conv4", weights="lend")


def test_several_inputs_by_name_or_in_order():
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b", dtype="int32")
    embedded = layers.Flatten()(layers.Embedding(2, 4, name="embedded")(b))
    model = keras.Model([a, b], layers.Concatenate(name="both")([a, embedded]))
    given = {"a": np.ones((2, 2), "float32"), "b": np.zeros((2, 3), "int32")}
    for x in (None, given, list(given.values())):
        assert cw.check(model, "embedded", "both", x).ok
    with pytest.raises(cw.CutwidgetsError, match="'a', 'b'"):
        cw.check(model, "embedded", "both", {"a": given["a"]})


def test_carried_tensors_suffice():
    anatomy = cw.anatomy(application("ResNet50"))
    for start, end in [("conv3_block1", "conv3_block1_2_conv"), ("conv2", "conv4_block1_1_conv")]:
        assert section(anatomy, start, end).carried
        assert cw.check(application("ResNet50"), start, end).ok


TEXTS = [["x y"], ["q"]]


@pytest.mark.parametrize("kind", ["tensor", "str", "object", "bytes", "list"])
def test_texts_of_any_kind_can_be_checked(kind):
    text = keras.Input((1,), dtype="string", name="text")
    words = layers.TextVectorization(20, output_sequence_length=6, vocabulary=["x", "y"])(text)
    pooled = layers.GlobalAveragePooling1D(name="gap")(layers.Embedding(20, 4, name="emb")(words))
    model = keras.Model(text, layers.Dense(1)(pooled))
    given = {
        "tensor": lambda: keras.ops.convert_to_tensor(TEXTS),
        "str": lambda: np.array(TEXTS),
        "object": lambda: np.array(TEXTS, object),
        "bytes": lambda: np.array(TEXTS).astype("S"),
        "list": lambda: [TEXTS[0], TEXTS[1]],
    }[kind]()
    for x in (given, {"text": given}):
        result = cw.check(model, "emb", "gap", x)
        assert result.ok
        assert result.conclusive
    alone = cw.check(model, "emb", "gap", np.array(TEXTS[:1]))
    assert alone.ok
    assert alone.sensitivity is None
    assert "not measured" in str(alone)


def test_the_other_input_holds_only_values_of_the_users():
    number = keras.Input((1,), dtype="int64", name="number")
    found = layers.IntegerLookup(vocabulary=[70, 80], num_oov_indices=0, name="lookup")(number)
    model = keras.Model(number, layers.Embedding(3, 2, name="embedded")(found))
    assert cw.check(model, "embedded", None, np.array([[70], [80]])).conclusive


class Drawing(layers.Layer):
    """It draws at every call: from a seed generator of its own, another's, or Keras's."""

    def __init__(self, seeds=None, **options):
        super().__init__(**options)
        self.seeds = seeds

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.seeds)


class Counting(layers.Layer):
    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.calls.assign(self.calls + 1)
        return x * self.calls


def changing():
    """For each kind of state two layers; the second may share the state of the first."""
    again = {"stateful": True, "return_sequences": True}
    yield "gru", [layers.GRU(3, **again) for _ in "ab"]
    yield "lstm", [layers.LSTM(3, **again) for _ in "ab"]
    yield "simple", [layers.SimpleRNN(3, **again) for _ in "ab"]
    yield "both", [layers.Bidirectional(layers.GRU(3, **again)) for _ in "ab"]
    cells = [[layers.GRUCell(3), layers.LSTMCell(2)] for _ in "ab"]
    yield "cells", [layers.RNN(two, **again) for two in cells]
    yield "keras's seeds", [Drawing(), Drawing()]
    seeds = keras.random.SeedGenerator(1)
    yield "shared seeds", [Drawing(seeds), Drawing(seeds)]
    yield "closure", [layers.Lambda(lambda x: x + keras.random.normal((2, 5, 3), seed=seeds))] * 2
    yield "counting", [Counting(), Counting()]
    yield "dropout", [layers.Dropout(0.5), layers.GaussianNoise(1.0)]
    yield "statistics", [layers.BatchNormalization(), layers.BatchNormalization()]
    shared = layers.GRU(3, **again)
    yield "one layer twice", [shared, shared]


@pytest.mark.parametrize(("kind", "pair"), [pytest.param(*p, id=p[0]) for p in changing()])
def test_every_run_begins_from_the_same_states_and_they_are_put_back(kind, pair):
    training = {"training": True} if kind in ("dropout", "statistics") else {}
    given = keras.Input(batch_shape=(2, 5, 3))
    first = layers.Activation("tanh", name="first")(pair[0](given, **training))
    last = layers.Activation("tanh", name="last")(pair[1](first, **training))
    model = keras.Model(given, layers.Dense(1)(last))
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    model(x)
    keras.random.normal((1,))  # so that Keras has its seeds
    before = states(variables_of(model.layers))
    for start, end in ((None, "first"), ("first", "last"), ("last", None)):
        result = cw.check(model, start, end, x)
        assert result.ok, str(result)
    cw.activations(model, x, "last")
    after = states([variable for variable, _ in before.variables])
    for (_, old), (_, new) in zip(before.variables, after.variables, strict=False):
        assert np.array_equal(old, new)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_states_are_put_back_after_an_error(error):
    class Failing(layers.Layer):
        broken = False

        def call(self, x):
            if self.broken:
                raise error
            return x

    given = keras.Input(batch_shape=(2, 5, 3))
    memory, failing = layers.GRU(4, stateful=True, name="gru"), Failing()
    model = keras.Model(given, failing(memory(given)))
    x = np.ones((2, 5, 3), "float32")
    model(x)
    before = np.array(memory.states[0])
    failing.broken = True
    with pytest.raises((cw.CutwidgetsError, KeyboardInterrupt)):
        cw.check(model, None, "gru", x)
    assert np.array_equal(before, np.array(memory.states[0]))


def test_randomness_outside_keras_is_reported():
    class Unseeded(layers.Layer):
        generator = np.random.default_rng()

        def call(self, x):
            return x + float(self.generator.normal())

    given = keras.Input((3,))
    model = keras.Model(given, layers.Dense(2, name="out")(Unseeded(name="noise")(given)))
    result = cw.check(model, None, "noise", np.ones((2, 3)))
    assert not result.ok
    assert "cannot be told" in str(result)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_reported(bad):
    model = keras.Sequential(
        [keras.Input((3,)), layers.Rescaling(1.0, name="a"), layers.Rescaling(2.0, name="b")]
    )
    result = cw.check(model, None, "a", np.array([[1, bad, 2], [3, 4, 5]]))
    assert result.ok
    assert result.conclusive
    name = "NaN" if np.isnan(bad) else "infinite"
    assert f"1 of the 6 values of the output are {name} in both" in str(result)
    nothing = cw.check(model, None, "a", np.full((2, 3), np.nan))
    assert "6 of the 6 values of the output are NaN" in str(nothing)
    assert not nothing.conclusive


def test_large_integers_complex_numbers_and_texts_are_compared():
    from cutwidgets.surgery.checking import _largest_difference

    assert _largest_difference([np.array([2**60])], [np.array([2**60 + 1])]) >= 1
    assert _largest_difference([np.array([1 + 1j])], [np.array([1 + 3j])]) == 2
    assert _largest_difference([np.array(["a", "b"])], [np.array(["a", "c"])]) == np.inf
    assert _largest_difference([np.array(["a"])], [np.array(["a"])]) == 0


# Sorted, the keys are in another order than the ends.
ENDS = {"z": "conv3", "inside": "conv4_block2_1_relu", "conv4_block3": "conv4_block3", "a": "conv4"}


@pytest.mark.parametrize("weights", ["share", "copy"])
def test_each_of_several_ends_is_compared(weights):
    model = application("ResNet50")
    result = cw.check(model, "conv3", ENDS, images(model), weights=weights)
    assert result.ok
    assert "bit for bit" in str(result)
    assert {key: result.differences.count((key, 0.0)) for key in ENDS} == dict.fromkeys(ENDS, 1)
    names = [name for name, _ in result.differences]
    places = [names.index(key) for key in ENDS]
    assert places == sorted(places)  # in call order


@pytest.mark.parametrize("key", ["z", "inside", "conv4_block3"])
@pytest.mark.parametrize("weights", ["share", "copy"])
def test_a_wrong_end_shows(key, weights, monkeypatch):
    """Though the tail reads the last end alone, and computes the model's output."""
    import cutwidgets.surgery.checking as checking

    build = checking.build

    def wrong(model, part, weights):
        built = build(model, part, weights)
        outputs = {**built.output, key: layers.Rescaling(1.01)(built.output[key])}
        return keras.Model(built.input, outputs)

    monkeypatch.setattr(checking, "build", wrong)
    model = application("ResNet50")
    result = cw.check(model, "conv3", ENDS, images(model), weights=weights)
    assert result.max_abs_difference == 0
    assert not result.ok
    assert result.wrong_ends == (key,)
    assert result.first_difference == key
    assert f"NOT return what the model has at {key!r}" in str(result)
    assert "✗" in result._repr_html_()


def test_exchanged_ends_show(monkeypatch):
    import cutwidgets.surgery.checking as checking

    build = checking.build

    def exchanged(model, part, weights):
        built = build(model, part, weights)
        one, other = built.output["a"], built.output["b"]
        return keras.Model(built.input, {"a": other, "b": one})

    monkeypatch.setattr(checking, "build", exchanged)
    model = resizable()
    assert cw.check(model, "a", {"b": "a", "a": "b"}).wrong_ends == ("b", "a")


def test_two_keys_of_one_tensor_are_compared_both(monkeypatch):
    import cutwidgets.surgery.checking as checking

    build = checking.build

    def wrong(model, part, weights):
        built = build(model, part, weights)
        outputs = {**built.output, "a": layers.Rescaling(2.0)(built.output["a"])}
        return keras.Model(built.input, outputs)

    monkeypatch.setattr(checking, "build", wrong)
    result = cw.check(resizable(), "a", {"a": "b", "b": "b", "c": "c"})
    assert result.wrong_ends == ("a",)


def test_several_ends_of_another_shape():
    result = cw.check(resizable(), "a", {"z": "a", "c": "c"}, input_shape=(6, 5, 3))
    assert result.ok
    assert {("z", 0.0), ("c", 0.0)} <= set(result.differences)
