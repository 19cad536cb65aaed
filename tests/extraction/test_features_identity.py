"""What is stored belongs to one run: what tells runs apart, and what does not."""

import functools
import os
import subprocess
import sys
import types
import warnings

import keras
import numpy as np
import pytest
from keras import layers
from test_features import HERE

from cutwidgets import CutwidgetsError
from cutwidgets.extraction.features import features
from cutwidgets.extraction.identity import Identifier

X = np.arange(12, dtype="float32").reshape(4, 3)


def taking(*made, name=None):
    """A model of layers that are built anew, with names that Keras numbers."""
    x = inputs = keras.Input((3,), name=name)
    for layer in made:
        x = layer(x)
    return keras.Model(inputs, x)


def dense(units, name=None):
    return layers.Dense(
        units, name=name, kernel_initializer=keras.initializers.RandomNormal(seed=1)
    )


def of(value):
    return Identifier().value(value, "preprocess")


def defined(source, name="f", **scope):
    """A function from source, as a cell of a notebook defines it."""
    scope = {"np": np, "keras": keras, **scope}
    exec(compile(source, f"/tmp/ipykernel/{abs(hash(source))}.py", "exec"), scope)
    return scope[name]


class Times:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, values):
        return values * self.factor

    def plus(self, values):
        return values + self.factor


class Hidden(layers.Layer):
    """A layer whose configuration does not say its factor."""

    def __init__(self, factor, **more):
        super().__init__(**more)
        self.factor = factor

    def call(self, x):
        return x * self.factor


def scaling(factor):
    return lambda values: values * factor


BIG = np.zeros(5000)
OTHER = np.zeros(5000)
OTHER[2500] = 1
TEXTS = [f"word{i}" for i in range(3000)]

DIFFERENT = {
    "code": ("def f(v): return v / 255", "def f(v): return v * 100"),
    "constant": ("def f(v): return v + (1, 2, 3)", "def f(v): return v + (1, 2, 4)"),
    "name": ("def f(v): return np.sin(v)", "def f(v): return np.cos(v)"),
    "default": ("def f(v, k=1): return v * k", "def f(v, k=2): return v * k"),
    "keyword": ("def f(v, *, k=1): return v * k", "def f(v, *, k=2): return v * k"),
    "global": ("K = 1\ndef f(v): return v * K", "K = 2\ndef f(v): return v * K"),
    "function": (
        "def g(v): return v\ndef f(v): return g(v)",
        "def g(v): return v + 1\ndef f(v): return g(v)",
    ),
    "inner": (
        "def f(v):\n def g(w): return w\n return g(v)",
        "def f(v):\n def g(w): return -w\n return g(v)",
    ),
    "comparison": ("def f(v): return v < 1", "def f(v): return v > 1"),
    "class": (
        "class A:\n def m(self, v): return v\ndef f(v): return A().m(v)",
        "class A:\n def m(self, v): return -v\ndef f(v): return A().m(v)",
    ),
    "base": (
        "class B:\n def m(self, v): return v\nclass A(B): pass\ndef f(v): return A().m(v)",
        "class B:\n def m(self, v): return -v\nclass A(B): pass\ndef f(v): return A().m(v)",
    ),
    "import": ("def f(v): return np.add(v, 1)", "def f(v): return np.subtract(v, 1)"),
}
SAME = {
    "comment": (
        "def f(v): return v / 255",
        "# edited\n\n\ndef f(v):\n    # more\n    return v / 255",
    ),
    "docstring": ("def f(v):\n return v + 1", "def f(v):\n 'It adds.'\n return v + 1"),
    "lines": (
        "def f(v): return np.add(v, 1)",
        "def f(v):\n    return np.add(\n        v,\n        1)",
    ),
    "other global": ("K = 1\ndef f(v): return v", "K = 2\ndef f(v): return v"),
    "class": (
        "class A:\n def m(self, v): return v\ndef f(v): return A().m(v)",
        "\n\nclass A:\n 'text'\n def m(self, v):\n  return v\ndef f(v): return A().m(v)",
    ),
    "recursion": ("def f(v): return f(v) if v else v", "\ndef f(v): return f(v) if v else v"),
}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_code_that_computes_something_else_is_another(kind):
    one, other = (defined(source) for source in DIFFERENT[kind])
    assert of(one) != of(other)
    assert of(one) == of(defined(DIFFERENT[kind][0]))


@pytest.mark.parametrize("kind", SAME)
def test_code_that_computes_the_same_is_the_same(kind):
    one, other = (defined(source) for source in SAME[kind])
    assert of(one) == of(other)


def test_the_name_of_a_function_does_not_matter():
    assert of(defined("def f(v): return v + 1")) == of(defined("def g(v): return v + 1", "g"))
    assert of(scaling(2)) == of(scaling(2)) != of(scaling(3))


def test_what_can_be_called_and_is_no_function():
    partly = functools.partial
    cases = [
        (Times(2), Times(2), Times(3)),
        (Times(2).plus, Times(2).plus, Times(3).plus),
        (Times(2).plus, Times(2).plus, Times(2)),
        (partly(np.multiply, 2), partly(np.multiply, 2), partly(np.multiply, 3)),
        (functools.cache(scaling(2)), functools.cache(scaling(2)), functools.cache(scaling(3))),
        (scaling(BIG), scaling(BIG.copy()), scaling(OTHER)),
        (scaling(TEXTS), scaling(list(TEXTS)), scaling([*TEXTS[:-1], "other"])),
        (scaling({"a", "b"}), scaling({"b", "a"}), scaling({"a", "c"})),
        (scaling({"a": 1}), scaling({"a": 1}), scaling({"a": 1.0})),
        (np.sin, np.sin, np.cos),
        (layers.Rescaling(2), layers.Rescaling(2), layers.Rescaling(3)),
        (layers.Activation(scaling(2)), layers.Activation(scaling(2)), layers.Activation("relu")),
        (taking(Hidden(2)), taking(Hidden(2)), taking(Hidden(3))),
        tuple(keras.Sequential([layers.Rescaling(k)]) for k in (2, 2, 3)),  # not built
        tuple(layers.Pipeline([layers.Rescaling(k)]) for k in (2, 2, 3)),
        tuple(keras.Sequential([Hidden(k)]) for k in (2, 2, 3)),
    ]
    for one, same, other in cases:
        assert of(one) == of(same) != of(other), one


def test_a_module_of_the_user_counts_by_what_is_read_of_it(monkeypatch):
    def module(source):
        made = types.ModuleType("users_tools")
        exec(source, vars(made))
        monkeypatch.setitem(sys.modules, "users_tools", made)
        return made

    by_name = "def f(v): return tools.scale(v)"
    inside = "def f(v):\n import users_tools\n return users_tools.scale(v)"
    given = "def f(v):\n from users_tools import scale\n return scale(v)"
    for source in (by_name, inside, given):
        found = []
        for change in ("v", "v", "-v"):
            tools = module(f"unread = {len(found)}\ndef scale(v): return {change}")
            found.append(of(defined(source, tools=tools)))
        assert found[0] == found[1] != found[2], source


def vocabulary(kind, words):
    layer = kind()
    layer.adapt(words)
    return layer


@pytest.mark.parametrize("kind", [layers.StringLookup, layers.TextVectorization])
def test_vocabularies_count(kind):
    one, same, other = (vocabulary(kind, [a, "b"]) for a in "aac")
    assert of(one) == of(same) != of(other)


def test_every_layer_counts_by_its_configuration_and_state():
    def model(layer):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((4, 3))
        return Identifier().model(keras.Model(inputs, layer()(inputs)))

    def f(v):
        return v

    g = f

    def f(v):
        return 7 * v

    def loaded(value):
        layer = layers.Normalization()
        layer.adapt(np.full((2, 4, 3), value) * [[[1.0]], [[2.0]]])
        return layer

    rnn, wrapped = layers.Bidirectional, layers.TimeDistributed
    cases = [
        (lambda: layers.Lambda(g), lambda: layers.Lambda(f)),
        (lambda: layers.Dense(2), lambda: layers.Dense(2, activation="relu")),
        (lambda: layers.Dense(2, activation=g), lambda: layers.Dense(2, activation=f)),
        (lambda: layers.Dense(2), lambda: layers.Dense(2, dtype="mixed_float16")),
        (lambda: layers.Dense(3), lambda: layers.EinsumDense("abc,cd->abd", (None, 3))),
        (lambda: rnn(layers.LSTM(2)), lambda: rnn(layers.LSTM(2), merge_mode="sum")),
        (lambda: rnn(layers.LSTM(2)), lambda: rnn(layers.GRU(2))),
        (lambda: wrapped(taking(Hidden(1))), lambda: wrapped(taking(Hidden(2)))),
        (lambda: wrapped(layers.Lambda(g)), lambda: wrapped(layers.Lambda(f))),
        (lambda: lambda x: x + BIG[:3], lambda: lambda x: x + OTHER[2499:2502]),
        (lambda: lambda x: keras.ops.map(g, x), lambda: lambda x: keras.ops.map(f, x)),
        (lambda: loaded(1.0), lambda: loaded(2.0)),
    ]
    for one, other in cases:
        assert model(one) == model(one), one
        assert model(one) != model(other)
    big = [lambda x, c=c: x + keras.ops.convert_to_tensor(np.resize(c, (4, 3))) for c in (1.0, 2.0)]
    assert model(lambda: big[0]) == model(lambda: big[0]) != model(lambda: big[1])


IN_A_PROCESS = """
import test_features_identity as t
texts = t.scaling({"a", "b", "c"})
print(t.of(texts), t.of(t.Times(t.BIG).plus), t.of(t.defined(t.SAME["class"][1])))
print(t.Identifier().model(t.taking(t.dense(2), t.Hidden(2))))
"""


@pytest.mark.slow  # a new process imports TensorFlow anew
def test_hashes_are_the_same_in_every_process():
    def said(seed):
        variables = {**os.environ, "PYTHONHASHSEED": seed, "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-c", IN_A_PROCESS]
        return subprocess.run(
            command, cwd=HERE, env=variables, capture_output=True, text=True, check=True
        ).stdout

    here = [of(scaling({"a", "b", "c"})), of(Times(BIG).plus), of(defined(SAME["class"][1]))]
    model = Identifier().model(taking(dense(2), Hidden(2)))
    assert said("7") == f"{' '.join(here)}\n{model}\n"


def test_another_run_is_never_answered_with_what_is_stored(tmp_path):
    x = np.random.default_rng(0).normal(size=(5000, 3)).astype("float32")
    one_row = x.copy()
    one_row[1234] = 0
    model = taking(dense(2))
    named = taking(dense(2, name="a"), name="own")
    features(model, x, to=tmp_path / "a.parquet", preprocess=scaling(2))
    for changed in ({"preprocess": scaling(3)}, {"data": one_row}, {"version": "2"}):
        given = {"model": model, "data": x, "preprocess": scaling(2), **changed}
        with pytest.raises(CutwidgetsError, match="another run"):
            features(to=tmp_path / "a.parquet", **given)
    for same in (taking(dense(2)), named):
        assert features(same, x, to=tmp_path / "a.parquet", preprocess=scaling(2)).examples == 5000


def test_names_of_outputs_that_matter_are_kept(tmp_path):
    def model(first, second):
        x = keras.Input((3,))
        return keras.Model(x, [dense(2, first)(x), dense(2, second)(x)])

    found = features(model("a", None), X, to=tmp_path / "a.parquet")
    again = features(model("a", None), X, to=tmp_path / "a.parquet")
    assert list(found.shapes) == list(again.read()[1]) == ["a", "output_1"]
    with pytest.raises(CutwidgetsError, match="the names of the outputs"):
        features(model("b", "a"), X, to=tmp_path / "a.parquet")


def test_mapped_arrays_count_by_their_files(tmp_path):
    model, x = taking(dense(2)), np.random.default_rng(0).normal(size=(100, 3))
    file = tmp_path / "x.npy"
    np.save(file, x)

    def run(array):
        return features(model, array, to=tmp_path / "a.parquet").examples

    assert run(np.load(file, mmap_mode="r")) == run(np.load(file, mmap_mode="r")) == 100
    changed = np.load(file, mmap_mode="c")
    changed[50] = 0
    with pytest.raises(CutwidgetsError, match="the data"):
        run(changed)
    os.utime(file, ns=(1, 1))
    with pytest.raises(CutwidgetsError, match="the data"):
        run(np.load(file, mmap_mode="r"))


def test_what_cannot_be_identified_is_named_once_unless_a_version_is_given(tmp_path):
    import tensorflow as tf

    model = taking(dense(2))
    endless = (i for i in range(1000))

    def counted(values):
        return values + next(endless)

    data = tf.data.Dataset.from_tensor_slices(X)
    with pytest.warns(UserWarning, match="cannot be told") as caught:
        features(model, data, to=tmp_path / "a.parquet", preprocess=counted)
    (warning,) = [w for w in caught if "cannot be told" in str(w.message)]
    assert "'endless' (of type generator)" in str(warning.message)
    assert "tf.data.Dataset" in str(warning.message)
    assert warning.filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        to = tmp_path / "b.parquet"
        features(model, data, to=to, preprocess=counted, version="1")
        features(model, data, to=to, preprocess=counted, version="1")
        features(model, X, to=tmp_path / "c.parquet", preprocess=scaling(2))
    with pytest.raises(CutwidgetsError, match=r"the version \(was 1, is 2\)"):
        features(model, data, to=to, preprocess=counted, version="2")
    with pytest.raises(CutwidgetsError, match="version must be a text"):
        features(model, X, to=to, version=2)
    other = tf.data.Dataset.from_tensor_slices(X + 1)
    with pytest.raises(CutwidgetsError, match="A data set that shuffles"):
        features(model, other, to=to, preprocess=counted, version="1")
