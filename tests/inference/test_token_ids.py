"""Random integers are those that a model takes; the layers that read them are the oracle."""

import inspect

import keras
import numpy as np
import pytest
from keras import layers, ops

import cutwidgets as cw
from cutwidgets.graph.reader import read
from cutwidgets.inference.inputs import random_input, random_words
from cutwidgets.inference.token_ids import integers

NOTHING_KNOWN = "Random token ids 0 and 1: the model does not say its vocabulary"


def model_of(layer, shape=(400,), dtype="int32", **options):
    x = keras.Input(shape, dtype=dtype, name="ids", **options)
    return keras.Model(x, layer(x))


def drawn(model):
    """What is drawn for the first input, and how it is described."""
    graph = read(model)
    return random_input(graph, seed=0)[graph.inputs[0]], next(iter(random_words(graph).values()))


def embedding(size, **options):
    return layers.Embedding(size, 4, **options)


def tokens_and_positions(vocabulary, length):
    class Composite(layers.Layer):
        def __init__(self):
            super().__init__()
            self.tokens = layers.Embedding(vocabulary, 4)
            self.positions = {"one": [layers.Embedding(length, 4)]}

        def call(self, x):
            return self.tokens(x) + self.positions["one"][0](ops.arange(x.shape[-1]))

    return Composite()


class OwnTable(layers.Layer):
    def __init__(self, input_dim):
        super().__init__()
        self.input_dim = input_dim
        self.table = self.add_weight(shape=(input_dim, 4))

    def call(self, x):
        return ops.take(self.table, x, axis=0)


class Offset(layers.Layer):
    """Changes the ids before they are looked up."""

    def call(self, x):
        return x + 5


KINDS = {
    "embedding": (embedding(20), range(20)),
    "padded": (embedding(20, mask_zero=True), range(1, 20)),
    "only padding": (embedding(1, mask_zero=True), range(1)),
    "reversible": (layers.ReversibleEmbedding(20, 4), range(20)),
    "reversible, padded": (layers.ReversibleEmbedding(20, 4, mask_zero=True), range(1, 20)),
    "categories": (layers.CategoryEncoding(num_tokens=20, output_mode="count"), range(20)),
    "hashing": (layers.Hashing(num_bins=20), range(20)),
    "look-up": (layers.IntegerLookup(vocabulary=[3, 17, 5000]), (3, 17, 5000)),
    "inverse": (layers.IntegerLookup(vocabulary=[3, 17, 90], invert=True), range(4)),
    "masked look-up": (
        layers.IntegerLookup(vocabulary=[3, 17, 90], mask_token=0),
        (3, 17, 90),
    ),
    "own composite": (tokens_and_positions(900, 400), range(400)),
    "own table": (OwnTable(20), range(20)),
    "wrapped": (
        lambda x: layers.TimeDistributed(embedding(20))(layers.Reshape((20, 20))(x)),
        range(20),
    ),
    "nested": (keras.Sequential([keras.Input((400,), dtype="int32"), embedding(20)]), range(20)),
    "two deep": (
        keras.Sequential(
            [
                keras.Input((400,), dtype="int32"),
                keras.Sequential([keras.Input((400,), dtype="int32"), embedding(20)]),
            ]
        ),
        range(20),
    ),
    "reshaped": (lambda x: embedding(20)(layers.Reshape((20, 20))(x)), range(20)),
    "sliced and cast": (lambda x: embedding(20)(ops.cast(x[:, ::-1], "int64")), range(20)),
    "transposed": (lambda x: embedding(20)(ops.expand_dims(ops.transpose(x), 0)), range(20)),
    "offset": (lambda x: embedding(20)(Offset()(x)), range(2)),
    "sum": (lambda x: embedding(20)(x + 5), range(2)),
    "smallest": (lambda x: [embedding(30)(x), embedding(20)(layers.Flatten()(x))], range(20)),
    "padded elsewhere": (lambda x: [embedding(30, mask_zero=True)(x), embedding(20)(x)],
                         range(1, 20)),
    "shared": (lambda x: (lambda shared: [shared(x), shared(x[:, 1:])])(embedding(20)), range(20)),
    "look-up and embedding": (
        lambda x: [layers.IntegerLookup(vocabulary=[3, 17, 5000])(x), embedding(20)(x)],
        (3, 17),
    ),
    "nothing in common": (
        lambda x: [layers.IntegerLookup(vocabulary=[50, 60])(x), embedding(20)(x)],
        range(1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_id_that_the_layers_accept_is_drawn_and_no_other(kind):
    layer, accepted = KINDS[kind]
    model = model_of(layer)
    values, words = drawn(model)
    assert values.shape == (2, 400)
    assert values.dtype == np.int32
    if len(accepted) < 100:
        assert set(np.unique(values)) == set(accepted)
    else:
        assert set(np.unique(values)) <= set(accepted)
        assert values.max() > 1
    assert ("does not say" in words) == (kind in ("offset", "sum"))
    assert np.array_equal(values, drawn(model)[0])


def test_all_layers_of_keras_that_count_ids_are_known():
    """A layer with a count of ids among its arguments is one of the tests above, or takes none."""
    counts = {"input_dim", "num_tokens", "num_bins", "vocabulary_size", "max_tokens", "mask_zero"}
    found = {
        name
        for name, kind in vars(layers).items()
        if inspect.isclass(kind) and counts & set(inspect.signature(kind.__init__).parameters)
    }
    tested = {"Embedding", "ReversibleEmbedding", "CategoryEncoding", "Hashing", "IntegerLookup"}
    takes_texts_or_numbers = {"StringLookup", "TextVectorization", "Discretization"}
    assert found == tested | takes_texts_or_numbers | {"HashedCrossing"}


def test_crossed_features_are_both_drawn():
    x, y = (keras.Input((1,), dtype="int32", name=name) for name in "xy")
    model = keras.Model([x, y], layers.HashedCrossing(num_bins=30)((x, y)))
    graph = read(model)
    for index in graph.inputs:
        assert np.array_equal(integers(graph, index).ids, range(30))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (embedding(1000, mask_zero=True),
         "Random token ids from the vocabulary of 1,000 (0 is padding)"),
        (embedding(1000), "Random token ids from the vocabulary of 1,000"),
        (layers.CategoryEncoding(num_tokens=7), "Random integers from the 7 categories"),
        (layers.IntegerLookup(vocabulary=[3, 9]), "Random integers from the vocabulary of 2"),
        (layers.Identity(), NOTHING_KNOWN),
        (lambda x: embedding(9)(x // 2), NOTHING_KNOWN),
    ],
)  # fmt: skip
def test_the_words_say_what_is_drawn(layer, words):
    assert drawn(model_of(layer))[1] == words


def test_a_dtype_that_cannot_hold_the_vocabulary_limits_it():
    values, words = drawn(model_of(embedding(1000), shape=(4000,), dtype="uint8"))
    assert values.dtype == np.uint8
    assert set(np.unique(values)) == set(range(256))
    assert "1,000" in words
    assert "256" in words


def test_an_embedding_that_reads_floats_gets_token_ids_too():
    """The dtype of `keras.Input` is float32, if one does not say another."""
    values, words = drawn(model_of(embedding(20), dtype="float32"))
    assert values.dtype == np.float32
    assert set(np.unique(values)) == set(range(20))
    assert "vocabulary of 20" in words


def test_a_layer_that_embeds_positions_gets_numbers():
    class Positions(layers.Layer):
        def __init__(self):
            super().__init__()
            self.positions = layers.Embedding(5, 4)

        def call(self, x):
            return x + self.positions(ops.arange(5))

    values, words = drawn(model_of(Positions(), (5, 4), "float32"))
    assert words == "Random numbers"
    assert np.ptp(values) > 1
    assert values.min() < 0


@pytest.mark.parametrize("dtype", ["int32", "bool", "uint8"])
@pytest.mark.parametrize("by", ["keyword", "position", "name", "reshaped"])
def test_masks_are_ones(dtype, by):
    x = keras.Input((6, 4), name="x")
    mask = keras.Input((6,), dtype=dtype, name="padding_mask" if by == "name" else "which")
    recurrent = layers.LSTM(3)
    y = {
        "keyword": lambda: recurrent(x, mask=mask),
        "position": lambda: recurrent(x, None, mask),
        "name": lambda: [recurrent(x), 1 - ops.cast(mask, "float32")],
        "reshaped": lambda: recurrent(x, mask=layers.Reshape((6,))(ops.cast(mask, "bool"))),
    }[by]()
    graph = read(keras.Model([x, mask], y))
    values = random_input(graph, seed=0)
    assert values[graph.inputs[1]].dtype == dtype
    assert (values[graph.inputs[1]] == 1).all()
    assert list(random_words(graph).values()) == ["Random numbers", "Ones: nothing is masked"]


def test_positions_of_masked_tokens_are_no_mask():
    x = keras.Input((6, 4), name="x")
    positions = keras.Input((2,), dtype="int32", name="mask_positions")

    class Gather(layers.Layer):
        def __init__(self):
            super().__init__()
            self.tokens = layers.Embedding(50, 4)  # as for the output of a language model

        def call(self, x, mask_positions):
            return ops.take_along_axis(x, mask_positions[..., None], axis=1)

    graph = read(keras.Model([x, positions], Gather()(x, mask_positions=positions)))
    assert list(random_words(graph).values()) == ["Random numbers", NOTHING_KNOWN]


def test_other_integers():
    assert "integers 0 and 1" in drawn(model_of(layers.Identity(), (8, 8, 2)))[1]
    assert drawn(model_of(layers.Identity(), dtype="bool"))[1] == "Random truth values"


def test_a_model_accepts_what_is_drawn_and_check_runs():
    x = keras.Input((12,), dtype="int32", name="words")
    y = layers.LSTM(6, name="lstm")(embedding(1000, mask_zero=True, name="embedding")(x))
    model = keras.Model(x, layers.Dense(2, name="scores")(y))
    result = cw.check(model, "lstm", "lstm")
    assert result.ok
    assert result.conclusive


@pytest.mark.parametrize(
    "name", ["BertBackbone", "RobertaBackbone", "GPT2Backbone", "BartBackbone"]
)
def test_backbones_of_keras_hub(name):
    models = pytest.importorskip("keras_hub", reason="an optional group: hub").models
    model = getattr(models, name)(
        vocabulary_size=50, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=8,
        max_sequence_length=20,
    )  # fmt: skip
    graph = read(model)
    values = random_input(graph, seed=0)
    words = random_words(graph)
    for tensor, own_name in zip(graph.inputs, words, strict=True):
        if own_name.endswith("token_ids"):
            assert values[tensor].max() > 40
            assert "vocabulary of 50" in words[own_name]
        elif own_name.endswith("mask"):
            assert (values[tensor] == 1).all()
    outputs = model({n: values[t] for n, t in zip(words, graph.inputs, strict=True)})
    assert all(np.isfinite(ops.convert_to_numpy(y)).all() for y in keras.tree.flatten(outputs))
