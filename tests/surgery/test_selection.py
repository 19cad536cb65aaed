"""What `replace`, `insert` and `remove` take as places, and what they refuse."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

import cutwidgets as cw
from cutwidgets.graph.reader import read
from nested_networks import backbone, names, pixels, siamese, transfer


def chain():
    """Four dense layers, one of them called twice."""
    x = inputs = keras.Input((6,), name="x")
    shared = layers.Dense(6, name="shared")
    x = layers.ReLU(name="relu")(shared(layers.Dense(6, name="first")(x)))
    return keras.Model(inputs, layers.Dense(6, name="last")(shared(x)), name="chain")


def is_dense(layer):
    return isinstance(layer, layers.Dense)


def values(width=6):
    return np.random.default_rng(0).normal(size=(2, width)).astype("float32")


def nodes(model):
    return [len(layer._inbound_nodes) for layer in model._flatten_layers()]


def test_a_function_is_called_with_each_layer_once():
    seen = []
    model = transfer()
    with pytest.raises(cw.CutError, match=r"It was called with \d+ layers"):
        cw.replace(model, lambda layer: seen.append(layer), layers.ReLU())
    inner = model.get_layer("backbone").layers[1:] + model.get_layer("augmentation").layers
    outer = [x for x in model.layers[1:] if x.name not in ("backbone", "augmentation")]
    inner = [layer for layer in inner if not isinstance(layer, layers.InputLayer)]
    assert {id(layer) for layer in seen} == {id(layer) for layer in inner + outer}
    assert len(seen) == len(inner + outer)


def test_a_layer_that_is_called_twice_counts_once_and_stays_shared():
    model, x, made = chain(), values(), []

    def half(layer):
        made.append(layer.name)
        layer.set_weights([weight / 2 for weight in layer.get_weights()])
        return layer

    changed = cw.replace(model, is_dense, half)
    assert sorted(made) == ["first", "last", "shared"]
    wanted = x
    for name in ("first", "shared", "relu", "shared", "last"):
        layer = model.get_layer(name)
        wanted = keras.ops.relu(wanted) if name == "relu" else 0.5 * layer(wanted)
    np.testing.assert_allclose(changed(x), wanted, rtol=1e-5, atol=1e-6)
    assert names(changed) == names(model)
    assert not {id(w) for w in changed.weights} & {id(w) for w in model.weights}
    for place in (model.get_layer("shared"), ["shared#1", "shared#2"]):
        new = layers.Dense(6, name="new")
        assert cw.replace(model, place, lambda new=new: new).count_params() == model.count_params()
    only_second = cw.replace(model, "shared#2", layers.Identity())
    assert "shared" in names(only_second)


def test_places_in_lists_stages_and_blocks_count_once():
    inputs = x = keras.Input((8, 8, 3))
    for block in ("s1_a", "s1_b"):
        x = layers.Conv2D(3, 3, padding="same", name=f"{block}_conv")(x)
        x = layers.ReLU(name=f"{block}_relu")(x)
    model = keras.Model(inputs, x, name="two")
    last = cw.anatomy(model)[-1]
    changed = cw.insert(
        model, after=[last, last.name, "s1_b_relu", model.outputs[0]], layer=layers.Identity()
    )
    assert len(names(changed)) == len(names(model)) + 1
    with pytest.raises(cw.CutError, match="overlap.*'s1_b_conv'"):
        cw.replace(model, [last, "s1_b_conv"], layers.Identity())
    again = cw.replace(model, ["s1_b_conv", model.get_layer("s1_b_conv")], layers.Identity())
    assert len(names(again)) == len(names(model))


def test_adjacent_places_and_the_ends_of_the_model():
    model, x = chain(), values()
    doubled = cw.replace(model, ["first", "shared#1", "relu"], layers.Rescaling(2.0))
    shared, last = model.get_layer("shared"), model.get_layer("last")
    np.testing.assert_allclose(doubled(x), last(shared(8 * x)), rtol=1e-5)
    again = cw.insert(model, after=["x", "first", "last"], layer=lambda: layers.Rescaling(2.0))
    first, relu = model.get_layer("first"), keras.ops.relu
    wanted = 2 * last(shared(relu(shared(2 * first(2 * x)))))
    np.testing.assert_allclose(again(x), wanted, rtol=1e-5)
    # All readers, and the output that is the tensor itself.
    tensor = model.get_layer("first").output
    forked = keras.Model(model.input, [tensor, layers.Add()([tensor, layers.ReLU()(tensor)])])
    own, added = cw.insert(forked, after=tensor, layer=layers.Rescaling(2.0))(x)
    np.testing.assert_allclose(own, 2 * first(x), rtol=1e-5)
    np.testing.assert_allclose(added, own + relu(own), rtol=1e-5)


def test_a_nested_model_as_a_place_and_outputs_that_nothing_reads():
    model, x = transfer(), pixels()
    same = cw.replace(model, "backbone", lambda nested: nested)
    np.testing.assert_array_equal(same(x, training=False), model(x, training=False))
    assert same.get_layer("stem").kernel is not model.get_layer("backbone").get_layer("stem").kernel
    inputs = keras.Input((6,))
    ends = [layers.Dense(6, name=name)(inputs) for name in ("read", "unread")]
    outer = keras.Input((6,))
    model = keras.Model(outer, keras.Model(inputs, ends, name="nested")(outer)[0])
    for edit in (cw.insert, cw.replace):
        assert len(edit(model, is_dense, lambda: layers.Identity()).layers) > 1
        with pytest.raises(cw.CutError, match="'nested/unread': no output of the model needs it"):
            edit(model, "nested/unread", layers.Identity())


def test_raw_operations_are_places_by_their_tensor():
    x = inputs = keras.Input((6,))
    total = x + keras.ops.tanh(x)
    model = keras.Model(inputs, layers.Dense(2, name="out")(total))
    changed = cw.insert(model, after=total, layer=lambda tensor: layers.Rescaling(3.0))
    x = values()
    wanted = model.get_layer("out")(3 * (x + np.tanh(x)))
    np.testing.assert_allclose(changed(x), wanted, rtol=1e-5, atol=1e-6)


def test_nested_models_are_opened_only_where_a_place_is():
    model, x = transfer(), pixels()
    changed = cw.insert(model, after=["backbone", "pool"], layer=layers.Identity())
    assert {"backbone", "augmentation"} <= set(names(changed))
    np.testing.assert_array_equal(changed(x, training=False), model(x, training=False))
    opened = cw.insert(model, after="backbone/a_relu", layer=layers.Identity())
    assert "augmentation" in names(opened)
    assert "a_conv" in names(opened)
    np.testing.assert_array_equal(opened(x, training=False), model(x, training=False))


def test_a_nested_model_that_reads_its_own_output_is_opened():
    inputs = keras.Input((6,))
    y = layers.Dense(6, name="first")(inputs)
    nested = keras.Model(inputs, [y, layers.ReLU(name="relu")(y)], name="nested")
    outer = keras.Input((6,))
    one, other = nested(outer)
    model = keras.Model(outer, layers.Add()([one, other]))
    x, first = values(), nested.get_layer("first")
    wanted = -first(x) + keras.ops.relu(-first(x))
    for place in (one, "nested/first", first):
        changed = cw.insert(model, after=place, layer=layers.Rescaling(-1.0))
        np.testing.assert_allclose(changed(x), wanted, rtol=1e-5, atol=1e-6)


def test_places_in_a_nested_model_that_is_called_twice():
    model, x = siamese(), [pixels(seed=1), pixels(seed=2)]
    twin = cw.replace(model.get_layer("twin"), "a_relu", layers.Rescaling(-1.0))
    pool, alike = model.get_layer("pool"), model.get_layer("alike")
    wanted = alike(pool(twin(x[0])) - pool(twin(x[1])))
    relu = model.get_layer("twin").get_layer("a_relu")
    for places in (relu, lambda layer: layer is relu):
        changed = cw.replace(model, places, layers.Rescaling(-1.0))
        np.testing.assert_allclose(changed(x), wanted, rtol=1e-5, atol=1e-6)
    kinds = (layers.Conv2D, layers.BatchNormalization)
    same = cw.insert(model, lambda layer: isinstance(layer, kinds), layers.Identity())
    np.testing.assert_array_equal(same(x), model(x))


def recurrent():
    inputs = keras.Input((5, 4))
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="both")(inputs)
    return keras.Model(inputs, layers.LSTM(3, name="alone")(x), name="recurrent")


def test_layers_inside_of_a_layer_cannot_be_exchanged():
    model = recurrent()
    is_lstm = lambda layer: isinstance(layer, layers.LSTM)  # noqa: E731
    with pytest.warns(UserWarning, match="left alone.*inside 'both'") as caught:
        changed = cw.replace(model, is_lstm, layers.GRU(3))
    assert len(caught) == 1
    assert "test_selection" in caught[0].filename
    assert isinstance(changed.layers[-1], layers.GRU)
    nothing = keras.Sequential([keras.Input((5, 4)), model.get_layer("both")])
    with pytest.raises(cw.CutError, match="only layers .* inside 'both'"):
        cw.replace(nothing, is_lstm, layers.GRU(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # what is replaced as a whole is not left alone
        cw.replace(model, lambda layer: layer.name == "both" or is_lstm(layer), lambda new: new)


@pytest.mark.parametrize(
    ("places", "other", "words"),
    [
        (lambda layer: layer.rate, layers.Dense(6), ["raises AttributeError", "'first' (Dense)"]),
        (lambda layer: False, layers.Dense(6), ["chooses no layer of 'chain'", "4 layers"]),
        ([], layers.Dense(6), ["list of places is empty"]),
        (["first", "nowhere"], layers.Dense(6), ["no block, stage or layer 'nowhere'"]),
        ("first", lambda: 1 / 0, ["'first'", "ZeroDivisionError"]),
        (is_dense, lambda layer: layer.units, ["For 'first' it returns: 6"]),
        ("first", layers.ReLU, ["Expected a Keras layer or model, or a function"]),
        ("x", layers.Dense(6), ["Cannot replace 'x'", "no layer"]),
        (is_dense, lambda: layers.Dense(7), ["'first' returns (None, 6)", "returns (None, 7)"]),
        (is_dense, lambda: layers.Conv1D(6, 1), ["in place of 'first'", "does not accept"]),
    ],
)
def test_what_is_refused_leaves_nothing_behind(places, other, words):
    model = chain()
    before = nodes(model), model.get_config()
    with pytest.raises(cw.CutError) as caught:
        cw.replace(model, places, other)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert before == (nodes(model), model.get_config())
    if isinstance(other, layers.Layer):
        assert not other._inbound_nodes
        assert not other.built


def test_a_misfit_far_behind_builds_nothing_before_it():
    model, new = chain(), layers.Dense(6, name="new")
    made = {"first": new, "shared": layers.Reshape((2, 3)), "last": layers.Dense(6)}
    with pytest.raises(cw.CutError, match=r"'shared#1' returns \(None, 6\).*\(None, 2, 3\)"):
        cw.replace(model, is_dense, lambda layer: made[layer.name])
    assert not new.built
    assert not new._inbound_nodes


class Own(layers.Layer):
    """A layer with weights, whose output shape Keras finds by running it."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.scale


class Broken(layers.Layer):
    """A layer that its configuration does not rebuild."""

    def __init__(self, size, **options):
        super().__init__(**options)
        self.size = size

    def get_config(self):
        return {"name": self.name}

    def call(self, x):
        return x[:, : self.size]


class Late(layers.Layer):
    """A layer that fails only when it is built."""

    def build(self, input_shape):
        raise ValueError("too late")

    def call(self, x):
        return x

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, dtype=x.dtype)


@pytest.mark.parametrize(
    ("make", "last", "others"),
    [(chain, "last", ["first", "relu"]), (transfer, "b_conv", ["a_conv"])],
)
def test_a_failure_while_building_takes_all_calls_back(make, last, others):
    model = make()
    before = nodes(model), model.get_config(), [layer.trainable for layer in model.layers]
    with pytest.raises(cw.CutError, match="too late"):
        cw.insert(
            model,
            lambda layer: layer.name in (last, *others),
            lambda layer: Late() if layer.name == last else layers.Identity(),
        )
    after = nodes(model), model.get_config(), [layer.trainable for layer in model.layers]
    assert before == after


def test_the_first_place_gets_the_layer_itself_and_others_copies():
    model, x = chain(), values()
    for new in (layers.Dense(6, name="new"), Own(name="new")):
        changed = cw.replace(model, ["first", "last"], new)
        assert names(changed)[1:] == ["new", "shared", "relu", "new_2"]
        assert changed.get_layer("new") is new
        one, two = new.weights[0], changed.get_layer("new_2").weights[0]
        assert one is not two
        again = cw.replace(model, ["first", "last"], new)  # it is in a model now
        assert names(again)[1:] == ["new", "shared", "relu", "new_2"]
        assert again.get_layer("new") is not new
        np.testing.assert_array_equal(again.get_layer("new_2").weights[0], one)
    shared = layers.Dense(6, name="same")
    changed = cw.replace(model, ["first", "last"], lambda: shared)
    assert len([layer for layer in changed.layers if layer is shared]) == 1
    assert changed(x).shape == (2, 6)


def test_the_layers_of_a_model_get_readable_names():
    def adapter():
        made = [keras.Input((6,)), layers.Dense(2, name="down"), layers.Dense(6, name="up")]
        return keras.Sequential(made, name="adapter")

    model = chain()
    for other, second in ((adapter, "adapter_down"), (adapter(), "adapter_2_down")):
        changed = cw.insert(model, after=["first", "relu"], layer=other)
        assert "down" in names(changed)
        assert second in names(changed)
        assert changed.get_layer("down").kernel is not changed.get_layer(second).kernel
    unbuilt = keras.Sequential([layers.Dense(2, name="down"), layers.Dense(6)], name="adapter")
    changed = cw.insert(model, after=["first", "relu"], layer=unbuilt)
    assert "adapter_2_down" in names(changed)


def test_copies_for_functions_and_layers_that_have_none():
    inputs = keras.Input((6,))
    model = keras.Model(inputs, Broken(6, name="broken")(layers.Dense(6, name="first")(inputs)))
    with pytest.raises(cw.CutError, match="'broken' has none. Pass a layer, or a function without"):
        cw.replace(model, "broken", lambda layer: layers.Identity())
    for other in (lambda: layers.Identity(), lambda rate=0.1: layers.Dropout(rate)):
        assert len(cw.replace(model, "broken", other).layers) == 3
    given = []
    cw.insert(model, "broken", lambda layer: given.append(layer) or layers.Identity())
    assert given == [model.get_layer("broken")]
    given.clear()
    cw.replace(model, "first", lambda layer: given.append(layer) or layer)
    assert given[0] is not model.get_layer("first")
    assert given[0].name == "first"
    np.testing.assert_array_equal(given[0].kernel, model.get_layer("first").kernel)
    given.clear()
    block = cw.anatomy(model)[0]
    cw.replace(model, block, lambda one: given.append(one) or layers.Identity())
    assert given == [block]


def test_arguments_that_a_new_layer_takes_are_kept():
    x = inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(x)
    x = layers.LSTM(4, return_sequences=True, name="lstm")(x)
    x = layers.BatchNormalization(name="norm")(x, training=False)
    model = keras.Model(inputs, x)
    gru = layers.GRU(4, return_sequences=True)
    tokens = np.array([[1, 2, 0, 0, 3], [4, 0, 5, 0, 0]])
    changed = cw.replace(model, "lstm", gru)
    embedding = model.layers[1]
    wanted = gru(embedding(tokens), mask=embedding.compute_mask(tokens))
    norm = model.get_layer("norm")
    np.testing.assert_allclose(changed(tokens), norm(wanted), rtol=1e-4, atol=1e-6)
    frozen = cw.replace(model, "norm", layers.BatchNormalization(name="own"))
    assert [c.arguments.kwargs["training"] for c in read(frozen).calls if c.name == "own"] == [
        False
    ]
    assert cw.replace(model, "norm", layers.GroupNormalization(2))(tokens).shape == (2, 5, 4)


def test_calls_by_name_lists_of_one_and_dictionaries():
    a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    named = layers.Dense(6, name="named")(inputs=a)
    frozen = layers.BatchNormalization(name="norm")(named, training=False)
    total = layers.Add(name="sum")([layers.Add(name="twice")([frozen, frozen]), b])
    model = keras.Model({"a": a, "b": b}, {"total": total})
    x = {"a": values(), "b": 2 * values()}
    unbuilt = keras.Sequential([layers.Dense(6, name="within")], name="unbuilt")
    changed = cw.replace(
        model,
        ["named", "twice", "norm"],
        lambda layer: unbuilt if layer.name == "norm" else layers.Identity(),
    )
    wanted = unbuilt.layers[0](x["a"]) + x["b"]
    np.testing.assert_allclose(changed(x)["total"], wanted, rtol=1e-5, atol=1e-6)
    same = cw.insert(model, ["a", "b", "norm", "sum"], layers.Identity())
    np.testing.assert_array_equal(same(x)["total"], model(x)["total"])


def test_masks_are_never_lost_without_a_word():
    x = inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True, name="embedding")(x)
    x = layers.Dense(4, name="dense")(x)
    model = keras.Model(inputs, layers.LSTM(4, name="lstm")(x))
    tokens = np.array([[1, 2, 0, 0, 3], [4, 0, 5, 0, 0]])
    for layer in (layers.Dropout(0.5), layers.LayerNormalization(), layers.Dense(4)):
        changed = cw.insert(model, after="dense", layer=layer)
        wanted = layer(model.get_layer("dense")(model.get_layer("embedding")(tokens)))
        wanted = model.get_layer("lstm")(wanted, mask=tokens != 0)
        np.testing.assert_allclose(changed(tokens), wanted, rtol=1e-5, atol=1e-6)
    recurrent = layers.LSTM(4, return_sequences=True)
    piece = keras.Sequential([keras.Input((5, 4)), recurrent])
    for new in (recurrent, piece):
        for edit in (cw.insert, cw.replace):
            with pytest.raises(cw.CutError, match="has a mask"):
                edit(model, "dense", new)
    plain = keras.Sequential([keras.Input((5, 4)), layers.Dense(4, name="first"), recurrent])
    with pytest.raises(cw.CutError, match="makes a mask, which 'lstm"):
        cw.insert(plain, "first", layers.Masking())
    assert cw.insert(plain, recurrent, layers.Masking()).count_params() == plain.count_params()


def test_attention_and_merges_get_all_of_their_tensors():
    inputs = keras.Input((5, 4))
    x = layers.MultiHeadAttention(2, 2, name="attention")(inputs, inputs)
    model = keras.Model(inputs, layers.Add(name="sum")([x, inputs]))
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    same = cw.replace(model, "attention", lambda layer: layer)
    np.testing.assert_array_equal(same(x), model(x))
    one = cw.replace(model, "attention", layers.Dense(4, name="one"))
    np.testing.assert_allclose(one(x), one.get_layer("one")(x) + x, rtol=1e-5, atol=1e-6)
    mean = cw.replace(model, "sum", layers.Average())
    np.testing.assert_allclose(mean(x), model(x) / 2, rtol=1e-5, atol=1e-6)


def test_remove_takes_the_same_places():
    model, x = chain(), values()
    for places in ([is_dense], ["first", ["last", model.get_layer("shared")]]):
        smaller = cw.remove(model, *places)
        assert names(smaller)[1:] == ["relu"]
        assert smaller.name == "chain"
        np.testing.assert_array_equal(smaller(x), np.maximum(x, 0))
    with pytest.raises(cw.CutError, match="chooses no layer"):
        cw.remove(model, lambda layer: False)
    norms = lambda layer: isinstance(layer, layers.BatchNormalization)  # noqa: E731
    bare = cw.remove(backbone(), norms)
    assert not any(map(norms, bare.layers))


def test_the_name_of_the_model_stays():
    model = chain()
    assert cw.replace(model, "first", layers.Identity()).name == "chain"
    assert cw.insert(model, "first", layers.Identity()).name == "chain"
    assert cw.remove(model, "first").name == "chain"


def test_new_layers_cast_what_they_read():
    model = chain()
    half = layers.Identity(dtype="float16", name="half")
    with pytest.raises(
        cw.CutError, match="'first' returns .* float32, but 'half' returns .* float16"
    ):
        cw.insert(model, after="first", layer=half)
    assert cw.insert(model, after="last", layer=half).output.dtype == "float16"
