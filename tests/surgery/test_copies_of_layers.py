"""Copies of every layer that Keras has, against the layers themselves."""

import keras
import numpy as np
import pytest
from keras import layers as L

import cutwidgets as cw

RANDOM = np.random.default_rng(0)
TEXT = np.array([["a b"], ["z"], ["b"]])
DIGITS = np.array([[5], [7], [11]])
TENSORFLOW = keras.backend.backend() == "tensorflow"

# What layers are made with, and the shapes that they take, where these are not the usual ones.
MADE = {
    "Activation": {"activation": "tanh"},
    "AdaptiveAveragePooling1D": {"output_size": 2},
    "AdaptiveAveragePooling2D": {"output_size": 2},
    "AdaptiveAveragePooling3D": {"output_size": 2},
    "AdaptiveMaxPooling1D": {"output_size": 2},
    "AdaptiveMaxPooling2D": {"output_size": 2},
    "AdaptiveMaxPooling3D": {"output_size": 2},
    "AlphaDropout": {"rate": 0.5},
    "AugMix": {"value_range": (0, 1)},
    "Bidirectional": lambda: L.Bidirectional(L.LSTM(2), name="it"),
    "CategoryEncoding": {"num_tokens": 4},
    "CenterCrop": {"height": 3, "width": 3},
    "ConvLSTM1D": {"filters": 2, "kernel_size": 2},
    "ConvLSTM2D": {"filters": 2, "kernel_size": 2},
    "ConvLSTM3D": {"filters": 2, "kernel_size": 2},
    "CutMix": {},
    "Dense": {"units": 3},
    "DepthwiseConv1D": {"kernel_size": 2},
    "DepthwiseConv2D": {"kernel_size": 2},
    "Discretization": {"num_bins": 3},
    "Dropout": {"rate": 0.5},
    "EinsumDense": {"equation": "abcd,de->abce", "output_shape": (None, None, 3), "bias_axes": "e"},
    "Embedding": {"input_dim": 12, "output_dim": 3},
    "GaussianDropout": {"rate": 0.5},
    "GaussianNoise": {"stddev": 0.5},
    "GRU": {"units": 2},
    "GroupNormalization": {"groups": 2},
    "GroupQueryAttention": {"head_dim": 2, "num_query_heads": 2, "num_key_value_heads": 1},
    "HashedCrossing": {"num_bins": 5},
    "Hashing": {"num_bins": 5},
    "Identity": {},
    "Lambda": {"function": lambda x: 2 * x + RANDOM.bit_generator.state["state"]["inc"] % 7},
    "LSTM": {"units": 2},
    "MaxNumBoundingBoxes": {"max_number": 2},
    "MultiHeadAttention": {"num_heads": 2, "key_dim": 2},
    "Permute": {"dims": (2, 1, 3)},
    "RNN": lambda: L.RNN(L.StackedRNNCells([L.LSTMCell(2), L.GRUCell(3)]), name="it"),
    "RandomBrightness": {"factor": 0.5, "value_range": (0, 1)},
    "RandomColorDegeneration": {"factor": 0.5},
    "RandomColorJitter": {"value_range": (0, 1), "brightness_factor": 0.5},
    "RandomContrast": {"factor": 0.5, "value_range": (0, 1)},
    "RandomCrop": {"height": 4, "width": 4},
    "RandomElasticTransform": {"value_range": (0, 1)},
    "RandomErasing": {"value_range": (0, 1)},
    "RandomFlip": {},
    "RandomGaussianBlur": {"value_range": (0, 1)},
    "RandomGrayscale": {},
    "RandomHue": {"factor": 0.5, "value_range": (0, 1)},
    "RandomInvert": {"value_range": (0, 1)},
    "RandomPerspective": {},
    "RandomPosterization": {"factor": 4, "value_range": (0, 1)},
    "RandomRotation": {"factor": 0.2},
    "RandomSaturation": {"factor": 0.5, "value_range": (0, 1)},
    "RandomSharpness": {"factor": 0.5, "value_range": (0, 1)},
    "RandomShear": {"x_factor": 0.2, "y_factor": 0.2},
    "RandomTranslation": {"height_factor": 0.2, "width_factor": 0.2},
    "RandomZoom": {"height_factor": 0.2},
    "RandAugment": {"value_range": (0, 1)},
    "RepeatVector": {"n": 2},
    "Rescaling": {"scale": 0.5},
    "Reshape": {"target_shape": (-1,)},
    "Resizing": {"height": 3, "width": 5},
    "SeparableConv1D": {"filters": 4, "kernel_size": 2},
    "SeparableConv2D": {"filters": 4, "kernel_size": 2},
    "SimpleRNN": {"units": 2},
    "Solarization": {"value_range": (0, 1)},
    "SpatialDropout1D": {"rate": 0.5},
    "SpatialDropout2D": {"rate": 0.5},
    "SpatialDropout3D": {"rate": 0.5},
    "SpectralNormalization": lambda: L.SpectralNormalization(L.Dense(3), name="it"),
    "TextVectorization": {"output_sequence_length": 3},
    "TimeDistributed": lambda: L.TimeDistributed(L.Dense(3), name="it"),
    "TorchModuleWrapper": {},
} | {
    f"Conv{n}D{kind}": {"filters": 4, "kernel_size": 2}
    for n in (1, 2, 3)
    for kind in ("", "Transpose")
}
MADE["ReversibleEmbedding"] = MADE["Embedding"]
for n in (1, 2, 3):
    MADE |= {f"{kind}Pool{n}D": {"pool_size": 2} for kind in ("Avg", "Max")}
    MADE |= {f"{kind}Pooling{n}D": {"pool_size": 2} for kind in ("Average", "Max")}
# Keras has some layers under two names.
MADE |= {
    name.replace("Conv", "Convolution"): options
    for name, options in MADE.items()
    if name.startswith(("Conv", "Separable", "Depthwise")) and "LSTM" not in name
}
LEFT_OUT = {
    "AbstractLayer": "is no layer",
    "Equalization": "gives back its input itself, which Keras takes for a cycle",
    "FeatureSpace": "takes dictionaries of features, and has no call in a graph of layers",
    "FlaxLayer": "wraps a module of a library that is not installed here",
    "InputLayer": "is an input, and never copied",
    "InputSpec": "is no layer",
    "JaxLayer": "wraps a function of JAX",
    "Layer": "is the base class, and has no call",
    "MaxNumBoundingBoxes": "takes dictionaries of boxes",
    "MelSpectrogram": "takes long sounds",
    "RandomShear": "is refused: Keras itself cannot make it from its get_config()",
    "AugMix": "also draws from the random numbers of Python, which no layer holds",
    "MixUp": "takes dictionaries of images and labels",
    "CutMix": "takes dictionaries of images and labels",
    "Pipeline": "is run on data, before a model",
    "STFTSpectrogram": "takes long sounds",
    "TFSMLayer": "wraps a SavedModel",
    "TorchModuleWrapper": "needs torch",
    "Wrapper": "is a base class, and has no call",
}
CELLS = ("GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells")  # inside of RNN above
CLASSES = sorted(
    name
    for name in dir(L)
    # Some layers have two names.
    if isinstance(value := getattr(L, name), type)
    and issubclass(value, L.Layer)
    and name == value.__name__
)
MERGES = "Add Average Concatenate Dot Maximum Minimum Multiply Subtract".split()
ATTENTIONS = ("AdditiveAttention", "Attention", "GroupQueryAttention", "MultiHeadAttention")
SEQUENCES = (
    "GRU LSTM RNN SimpleRNN Bidirectional TimeDistributed Masking GlobalAveragePooling1D".split()
)


def made(name):
    """A layer, the values that it takes, and whether several."""
    options = MADE.get(name, {})
    if callable(options):
        layer = options()
    else:
        extra = {"axes": -1} if name == "Dot" else {}
        layer = getattr(L, name)(name="it", **options, **extra)
    shape = (2, 6, 6, 4)
    if name == "RepeatVector":
        shape = (2, 4)
    elif ("1D" in name and "LSTM" not in name) or name in (*SEQUENCES, *ATTENTIONS):
        shape = (2, 6, 4)
    elif "3D" in name:
        shape = (2, 6, 6, 6, 4)
    elif name.startswith(("Random", "Aug", "RandA", "Solar", "Equal", "Auto", "Center", "Resiz")):
        shape = (2, 6, 6, 3)
    if name.startswith("ConvLSTM"):
        shape = (2, 3, *[4] * int(name[-2]), 2)
    values = RANDOM.uniform(size=shape).astype("float32")
    if name in ("Embedding", "ReversibleEmbedding"):
        values = DIGITS
    elif name == "CategoryEncoding":
        values = np.array([[0], [2], [3]])
    elif name in ("Hashing", "IntegerLookup", "HashedCrossing"):
        values = DIGITS
    elif name in ("StringLookup", "TextVectorization"):
        import tensorflow as tf

        values = tf.constant(TEXT)
    elif name == "Discretization":
        values = RANDOM.uniform(size=(3, 1)).astype("float32")
    if hasattr(layer, "adapt"):
        layer.adapt(DIGITS if name == "IntegerLookup" else values)
    several = name in (*MERGES, *ATTENTIONS, "HashedCrossing")
    return layer, [values, values[::-1]] if several else values


def model_of(layer, values):
    """A model of one layer, with random values of all variables."""
    flat = values if isinstance(values, list) else [values]
    inputs = [
        keras.Input(
            v.shape[1:], batch_size=v.shape[0], dtype=keras.backend.standardize_dtype(v.dtype)
        )
        for v in flat
    ]
    group = type(layer).__name__ in ("MultiHeadAttention", "GroupedQueryAttention")
    out = layer(*inputs) if group else layer(inputs if isinstance(values, list) else inputs[0])
    model = keras.Model(inputs, out)
    if not isinstance(layer, L.Normalization):  # adapted, and it keeps what it has computed of that
        scramble(model)
    return model


def scramble(model):
    for variable in model.variables:
        if "seed" not in variable.path and "int" not in variable.dtype:
            variable.assign(RANDOM.uniform(0.1, 1, variable.shape))


def state(model):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in model.variables]


def run(model, values, training=False):
    before = state(model)
    found = keras.tree.map_structure(np.array, model(values, training=training))
    for variable, value in zip(model.variables, before, strict=True):
        variable.assign(value)
    return found


def require_copied(layer, values):
    """The copy computes what the original does, and neither touches the other."""
    model = layer if isinstance(layer, keras.Model) else model_of(layer, values)
    flags = [v.trainable for v in model.variables]
    copy = cw.cut(model, weights="copy")
    for training in (False, True):
        wanted, got = run(model, values, training), run(copy, values, training)
        keras.tree.map_structure(np.testing.assert_array_equal, got, wanted)
    assert [v.trainable for v in copy.variables] == flags
    ids = {id(variable) for variable in model.variables}
    assert not ids & {id(variable) for variable in copy.variables}
    for one, other in ((copy, model), (model, copy)):
        start = state(other)
        for variable in one.variables:
            if "seed" not in variable.path:
                variable.assign(keras.ops.zeros_like(variable))
        for value, old in zip(state(other), start, strict=True):
            np.testing.assert_array_equal(value, old)
    return copy


def test_what_is_left_out_is_a_layer_of_keras():
    assert not [n for n in LEFT_OUT if n in MADE and n not in CLASSES]
    assert set(CLASSES) >= {"Layer", "Wrapper", "Dense", "Normalization"}


@pytest.mark.parametrize("name", [n for n in CLASSES if n not in LEFT_OUT and n not in CELLS])
def test_a_copy_of_each_layer_of_keras(name):
    require_copied(*made(name))


class Counter(L.Layer):
    """Keeps data of its own that no configuration has: a count, and a text made of its name."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.calls, self.tag = 0, f"{self.name}!"

    def call(self, x):
        self.calls += 1
        return 2 * x


class OwnStore(L.Layer):
    """Saves its variable under a name of its own."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],))

    def call(self, x):
        return x * self.scale

    def save_own_variables(self, store):
        store["mine"] = np.asarray(self.scale)

    def load_own_variables(self, store):
        self.scale.assign(store["mine"])


def changed(change):
    """A dense layer in a model, changed after it was built."""
    layer = L.Dense(8, name="it")
    model = keras.Sequential([keras.Input((8,)), layer, L.Dense(2, name="end")])
    for variable in model.variables:
        variable.assign(RANDOM.normal(size=variable.shape))
    change(layer)
    return model


def with_layer(layer):
    model = keras.Sequential([keras.Input((8,)), layer, L.Dense(2, name="end")])
    scramble(model)
    return model


CHANGED = {
    "lora": lambda: changed(lambda layer: layer.enable_lora(2)),
    "int8": lambda: changed(lambda layer: layer.quantize("int8")),
    "int8 with lora": lambda: changed(
        lambda layer: (layer.quantize("int8"), layer.enable_lora(2)),
    ),
    "int4": lambda: changed(lambda layer: layer.quantize("int4")),
    "float8": lambda: changed(lambda layer: layer.quantize("float8")),
    "activation": lambda: changed(
        lambda layer: setattr(layer, "activation", keras.activations.relu)
    ),
    "frozen kernel": lambda: changed(lambda layer: setattr(layer.kernel, "trainable", False)),
    "frozen but for a kernel": lambda: changed(
        lambda layer: (
            setattr(layer, "trainable", False),
            setattr(layer.kernel, "trainable", True),
        )
    ),
    "counter": lambda: with_layer(Counter(name="it")),
    "own store": lambda: with_layer(OwnStore(name="it")),
    "mixed precision": lambda: with_layer(L.Dense(4, dtype="mixed_bfloat16", name="it")),
}


@pytest.mark.skipif(not TENSORFLOW, reason="some quantised layers compute on TensorFlow alone")
@pytest.mark.parametrize("change", CHANGED)
def test_a_copy_of_a_layer_that_was_changed(change):
    model = CHANGED[change]()
    values = RANDOM.normal(size=(3, 8)).astype("float32")
    shared = cw.cut(model, "it", "it")
    want = np.asarray(shared(values))
    copied = cw.cut(model, "it", "it", weights="copy")
    np.testing.assert_array_equal(copied(values), want)
    flags = [[v.trainable for v in part.variables] for part in (shared, copied)]
    assert flags[0] == flags[1]
    assert not {id(v) for v in copied.variables} & {id(v) for v in model.variables}


@pytest.mark.parametrize("wrap", [lambda cell: cell, L.Bidirectional])
def test_a_copy_begins_with_the_states_of_a_stateful_layer(wrap):
    x = keras.Input(batch_shape=(2, 5, 3))
    layer = wrap(L.GRU(4, stateful=True, name="inner"))
    model = keras.Model(x, L.Dense(1, name="end")(layer(x)))
    values = RANDOM.normal(size=(2, 5, 3)).astype("float32")
    model(values)
    copied = cw.cut(model, layer.name, layer.name, weights="copy")
    np.testing.assert_array_equal(copied(values), layer(values))  # each of them one call further
    np.testing.assert_array_equal(copied(values), layer(values))


def test_variables_that_two_layers_hold_are_not_untied():
    class Tied(L.Layer):
        def __init__(self, other, **arguments):
            super().__init__(**arguments)
            self.other = other

        def call(self, x):
            return x @ keras.ops.transpose(self.other.kernel)

        def get_config(self):
            other = keras.saving.serialize_keras_object(self.other)
            return {**super().get_config(), "other": other}

        @classmethod
        def from_config(cls, config):
            other = keras.saving.deserialize_keras_object(config.pop("other"))
            return cls(other, **config)

    x = keras.Input((8,))
    first = L.Dense(8, use_bias=False, name="first")
    model = keras.Model(x, L.Dense(1)(Tied(first, name="second")(first(x))))
    with pytest.raises(cw.CutError, match="'first' and 'second' hold the same variable"):
        cw.cut(model, weights="copy")
