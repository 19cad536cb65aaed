"""Scripts build what `cut` cuts, to the bit, in a process that has no cutwidgets."""

import ast
import json
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from keras import layers, ops

import cutwidgets as cw
from cutwidgets.surgery.script import to_code
from nested_networks import siamese, transfer
from networks import application
from odd_networks import BUILDERS, hostile_names, raw_operations, transformer
from random_graphs import build as random_model
from random_graphs import programs

# Runs in a process of its own, where `import cutwidgets` fails: all scripts, one after the other.
RUNNER = """
import functools, json, os, pathlib, runpy, sys, traceback
sys.modules["cutwidgets"] = None
import keras, numpy
load = functools.cache(keras.models.load_model)
keras.models.load_model = lambda path: load(os.path.realpath(path))
for folder in map(pathlib.Path, sys.stdin.read().splitlines()):
    os.chdir(folder)
    try:
        made = runpy.run_path("script.py")
        part, model = made["part"], made["model"]
        given = numpy.load("given.npz")
        given = [given[name] for name in given.files]
        result = part(keras.tree.pack_sequence_as(part.input, given))
        numpy.savez("got.npz", *map(keras.ops.convert_to_numpy, keras.tree.flatten(result)))
        own = {id(variable) for variable in model.variables}
        report = {
            "structure": str(keras.tree.map_structure(lambda value: 0, result)),
            "layers": [layer.name for layer in part.layers],
            "input_shape": str(part.input_shape),
            "shared": own.issuperset(id(variable) for variable in part.variables),
            "apart": own.isdisjoint(id(variable) for variable in part.variables),
            "name": part.name,
        }
    except Exception:
        report = {"error": traceback.format_exc()}
    pathlib.Path("report.json").write_text(json.dumps(report))
"""


def resnet():
    return application("ResNet50")


def resnet_v2():
    return small("ResNet50V2")


def small(name):
    keras.utils.set_random_seed(5)
    build = getattr(keras.applications, name)
    return build(weights=None, include_top=False, input_shape=(32, 32, 3))


def two_inputs():
    keras.utils.set_random_seed(6)
    inputs = {name: keras.Input((4,), name=name) for name in ("left", "right")}
    both = layers.Dense(3, name="both")(inputs["left"] * inputs["right"])
    outputs = {"z": layers.Dense(2)(both), "a": [both, inputs["left"]]}
    return keras.Model(inputs, outputs, name="dictionary")


def shared_layers():
    x = keras.Input((8,))
    shared = layers.Dense(8, name="shared")
    return keras.Model(x, layers.Add()([shared(x), shared(shared(x))]), name="sharing")


def states():
    keras.utils.set_random_seed(6)
    x = keras.Input((5, 4))
    sequence, hidden, cell = layers.LSTM(3, return_sequences=True, return_state=True)(x)
    again = layers.LSTM(3, name="again")(sequence, initial_state=[hidden, cell])
    return keras.Model(x, [layers.Dropout(0.5)(again), hidden], name="states")


def attention_with_masks():
    keras.utils.set_random_seed(6)
    tokens = keras.Input((7,), dtype="int32", name="tokens")
    x = layers.Embedding(5, 6, mask_zero=True, name="embedding")(tokens)
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x, use_causal_mask=True)
    y = layers.Masking(name="masking")(keras.layers.RepeatVector(7)(layers.LSTM(4, name="last")(x)))
    return keras.Model(tokens, layers.LSTM(2)(y), name="masks")


def masks_from_inside():
    keras.utils.set_random_seed(6)
    encoder = [keras.Input((7,), dtype="int32"), layers.Embedding(5, 6, mask_zero=True, name="e")]
    tokens = keras.Input((7,), dtype="int32", name="tokens")
    x = layers.LSTM(4, name="last")(keras.Sequential(encoder, name="encoder")(tokens))
    return keras.Model(tokens, layers.Dense(2, name="dense")(x), name="masks_inside")


def constants():
    x = keras.Input((2, 3))
    y = ops.add(np.array([0.1, -np.inf, 1e-45], "float32"), x)
    y = ops.where(ops.equal(y, ops.convert_to_tensor([[1], [2]], "int64")), y, x)
    y = ops.maximum(y, np.float32(1 / 3)) * 1e-8 + float("-inf") * 0.0
    y = ops.cast(ops.logical_not(np.zeros((2, 1), "bool")), "float32") * ops.nan_to_num(y)
    y = ops.clip(ops.nan_to_num(y), -2.5, 9)
    return keras.Model(x, ops.concatenate([y, ops.cast(x, "float32")], axis=-1), name="constants")


def slicing():
    x = keras.Input((6, 8))
    y = x[:, 1:-1:2, ..., ::-1]
    return keras.Model(x, ops.stack([y[..., 0], x[:, :2, 3]], axis=1), name="slicing")


def bytes_into_floats():
    keras.utils.set_random_seed(7)
    own = keras.Input((4, 1), name="own")
    inner = keras.Model(own, layers.Dense(2, name="d")(layers.Dense(3, name="c")(own)), name="in")
    x = keras.Input((4,), dtype="uint8")
    return keras.Model(x, layers.Flatten()(inner(x)), name="bytes")


def inner_dictionary():
    keras.utils.set_random_seed(8)
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    total = layers.Add(name="total")([a, b])
    outputs = {"sum": total, "m'\"ore": [layers.Dense(3, name="more")(total)], "a": a}
    inner = keras.Model({"a": a, "b": b}, outputs, name="class")
    x, y = keras.Input((4,), name="x"), keras.Input((4,), name="y")
    made = inner({"b": y, "a": layers.Dense(4, name="model")(x)})
    product = layers.Multiply(name="lambda")([made["sum"], made["a"]])
    return keras.Model([x, y], [made["m'\"ore"][0], product], name="dictionaries")


def fixed_batch():
    x = keras.Input((4,), batch_size=3, dtype="float16", name="list")
    return keras.Sequential([x, layers.Dense(2, name="x"), layers.ReLU(name="part")], name="keras")


# What is built, and what is cut out of it.
CASES = {
    "resnet": (resnet, {"start": "conv3", "end": "conv4"}),
    "resnet_v2": (resnet_v2, {"start": "conv2_block2", "end": "conv3"}),
    "without": (
        resnet,
        {"start": "conv2", "end": "conv3", "remove": ["conv2_block3", "conv3_block1"]},
    ),
    "without_ends": (
        resnet_v2,
        {"start": "conv3_block1", "end": "conv3_block3", "remove": [2, "conv3_block3"]},
    ),
    "vgg": (lambda: small("VGG16"), {"end": "block2_conv1"}),
    "mobilenet": (
        lambda: small("MobileNetV3Small"), {"start": "expanded_conv_1", "end": "expanded_conv_4"}
    ),
    "convnext": (lambda: small("ConvNeXtTiny"), {"end": "convnext_tiny_stage_1_block_1"}),
    "into_nested": (lambda: transfer(training=False), {"start": "backbone/a_conv", "end": "pool"}),
    "out_of_nested": (transfer, {"end": "backbone/a_add"}),
    "nested_whole": (transfer, {"start": "rescaling", "end": "scores"}),
    "nested_without": (transfer, {"start": "rescaling", "remove": ["backbone/b"]}),
    "siamese": (siamese, {}),
    "siamese_opened": (siamese, {"start": "twin#2/a_conv"}),
    "dictionary": (two_inputs, {}),
    "dictionary_in_part": (two_inputs, {"start": "both", "end": "both"}),
    "shared": (shared_layers, {}),
    "states": (states, {}),
    "masks": (attention_with_masks, {}),
    "masks_to_last": (attention_with_masks, {"end": "last"}),
    "masks_carried": (attention_with_masks, {"start": "last", "allow_bypass": True}),
    "masks_inside": (masks_from_inside, {}),
    "transformer": (transformer, {"start": 1}),
    "raw": (raw_operations, {}),
    "constants": (constants, {}),
    "slicing": (slicing, {}),
    "bypass": (
        resnet,
        {"start": "conv3_block2_2_conv", "end": "conv3_block2", "allow_bypass": True},
    ),
    "hostile": (hostile_names, {"start": 0, "end": "\\"}),
    "adapters": (bytes_into_floats, {"end": "in/c"}),
    "inner_dictionary": (inner_dictionary, {}),
    "inner_dictionary_opened": (inner_dictionary, {"end": "class/more"}),
    "fixed_batch": (fixed_batch, {}),
    "copied": (resnet, {"start": "conv3", "end": "conv4", "weights": "copy"}),
    "copied_nested": (siamese, {"weights": "copy"}),
    "copied_dictionary": (two_inputs, {"weights": "copy"}),
    "copied_without": (
        resnet, {"end": "conv2", "remove": "conv2_block2", "weights": "copy"}
    ),
    "several": (
        resnet, {"start": "conv3", "end": {"z": "conv3", "'b c": "conv4_block2_1_relu", "a": 13}}
    ),
    "several_copied": (resnet, {"end": ["conv4", "conv3"], "weights": "copy"}),
    "several_without": (
        resnet, {"end": {"z": "conv3", "a": "conv4"}, "remove": ["conv3_block4", "conv4_block2"]}
    ),
    "several_nested": (transfer, {"end": ["scores", "backbone/a_add", "rescaling"]}),
    "single_in_a_list": (lambda: small("VGG16"), {"end": ["block2"]}),
    "resized": (resnet, {"start": "conv3", "end": "conv3", "input_shape": (3, 7, 5, 256)}),
    "resized_bypass": (
        resnet,
        {
            "start": "conv3_block2_2_conv", "end": "conv3_block2", "allow_bypass": True,
            "weights": "copy", "input_shape": [(6, 5, 128), (6, 5, 512)],
        },
    ),
    "resized_without": (
        resnet,
        {
            "start": "conv2_block1", "end": "conv2", "remove": ["conv2_block2"],
            "input_shape": (9, 8, 64),
        },
    ),
}  # fmt: skip


def expected(case, model, remove=(), **options):
    """The slice that the script is to build."""
    if case == "without":  # the smaller model may have blocks and stages of other names
        start = model.get_layer("pool1_pool").output
        return cw.cut(cw.remove(model, *remove), start, "conv3_block4_out")
    if case == "resized_without":
        start = model.get_layer("pool1_pool").output
        smaller = cw.remove(model, *remove)
        return cw.cut(smaller, start, "conv2_block3_out", input_shape=(9, 8, 64))
    if case == "copied_without":
        return cw.cut(cw.remove(model, remove), end="conv2_block3_out")
    if case == "several_without":
        smaller = cw.remove(model, *remove)
        return cw.cut(smaller, end={"z": "conv3_block3_out", "a": "conv4_block6_out"})
    if case == "without_ends":  # where the last block is gone, the one before it is the last
        return cw.cut(model, "conv3_block1", "conv3_block2")
    return cw.cut(cw.remove(model, *remove) if remove else model, **options)


def random_values(part):
    random = np.random.default_rng(0)

    def values(tensor):
        shape = [length or 2 for length in tensor.shape]
        if tensor.dtype.startswith("float"):
            return random.normal(size=shape).astype(tensor.dtype)
        return random.integers(0, 2 if tensor.dtype == "bool" else 5, shape).astype(tensor.dtype)

    return [values(tensor) for tensor in part.inputs]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """For each case its folder, the slice, and what it gives."""
    root = tmp_path_factory.mktemp("scripts")
    # It imports Keras while the models are built here.
    runner = subprocess.Popen([sys.executable, "-c", RUNNER], stdin=subprocess.PIPE, text=True)
    results, models = {}, {}
    for case, (build, options) in CASES.items():
        if build not in models:
            models[build] = build(), root / f"{len(models)}.keras"
            models[build][0].save(models[build][1])
        model, path = models[build]
        text = to_code(model, **options)
        folder = root / case
        folder.mkdir()
        (folder / "script.py").write_text(text, encoding="utf-8")
        (folder / re.search(r"load_model\('(.+)'\)", text)[1]).symlink_to(path)
        part = expected(case, model, **options)
        values = random_values(part)
        np.savez(folder / "given.npz", *values)
        wanted = part(keras.tree.pack_sequence_as(part.input, values))
        results[case] = folder, part, wanted
    runner.communicate("\n".join(str(folder) for folder, *_ in results.values()))
    assert runner.returncode == 0
    return results


@pytest.mark.parametrize("case", CASES)
def test_a_script_builds_the_slice_without_cutwidgets(case, results):
    folder, part, wanted = results[case]
    report = json.loads((folder / "report.json").read_text())
    assert "error" not in report, report["error"]
    assert report["structure"] == str(keras.tree.map_structure(lambda value: 0, wanted))
    got = np.load(folder / "got.npz")
    for name, value in zip(got.files, keras.tree.flatten(wanted), strict=True):
        np.testing.assert_array_equal(got[name], value)
        assert got[name].dtype == value.dtype
    assert report["input_shape"] == str(part.input_shape)
    copied = CASES[case][1].get("weights") == "copy"
    assert report["apart" if copied else "shared"]
    assert sorted(report["layers"]) == sorted(layer.name for layer in part.layers)


def assert_readable(text):
    """Lines are short wherever brackets let them, and each broken line is indented."""
    compile(text, "script", "exec")
    for line in text.splitlines():
        long = len(line) > 88 and not line.lstrip().startswith("#")
        assert not long or not re.search(r", (?![^'\"]*['\"])", line.strip().rstrip(",")), line
    for statement in ast.parse(text).body:
        lines = ast.get_source_segment(text, statement).splitlines()
        if isinstance(statement, ast.Assign) and len(lines) > 1:
            assert len(ast.unparse(statement)) > 88
            assert all(line.startswith("    ") for line in lines[1:-1])
            assert lines[-1] in ")]}"


@pytest.mark.parametrize("case", CASES)
def test_a_script_is_readable(case, results):
    text = (results[case][0] / "script.py").read_text("utf-8")
    assert "cutwidgets" not in text
    assert_readable(text)


def rebuilt(model, text):
    """What a script makes of a model that is not loaded from a file."""
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.models, "load_model", lambda path: model)
        exec(compile(text, "script", "exec"), names)
    return names["part"]


def assert_equal(one, other):
    values = random_values(one)
    got, wanted = (
        keras.tree.flatten(part(keras.tree.pack_sequence_as(part.input, values)))
        for part in (one, other)
    )
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # shrinking a failure takes minutes
    suppress_health_check=list(HealthCheck),
)
@given(program=programs(), ends=st.tuples(st.integers(0, 30), st.integers(0, 30)))
def test_scripts_of_random_models(program, ends):
    model = random_model(program).model
    calls = [call.name for call in cw.anatomy(model).graph.calls if call.inputs]
    for start, end in ((None, None), (calls[e % len(calls)] for e in ends)):
        try:
            part = cw.cut(model, start, end, allow_bypass=True)
        except cw.CutError:
            continue
        text = to_code(model, start, end, allow_bypass=True)
        assert_equal(rebuilt(model, text), part)
        assert_readable(text)
    several = {"z": calls[ends[0] % len(calls)], "a": calls[ends[1] % len(calls)]}
    text = to_code(model, None, several)
    assert_equal(rebuilt(model, text), cw.cut(model, None, several))


@pytest.mark.filterwarnings("ignore:.*destroy the mask")
@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_scripts_of_odd_models(build):
    model = build()
    for start in range(len(cw.anatomy(model))):
        part = cw.cut(model, start, allow_bypass=True)
        assert_equal(rebuilt(model, to_code(model, start, allow_bypass=True)), part)


def test_a_script_says_which_block_is_which(results):
    text = (results["without"][0] / "script.py").read_text()
    assert text.startswith(
        "\"\"\"The slice from 'conv2' to 'conv3' of the Keras model 'resnet50', without\n"
        "'conv2_block3', 'conv3_block1'.\n\nIt shares its layers with the model:"
    )
    assert "\n\n# conv2_block1: residual block, projection shortcut\nx = layer[" in text
    assert "conv3_block1: residual block, projection shortcut, without its residual branch" in text
    text = (results["bypass"][0] / "script.py").read_text()
    assert "# conv3_block2: residual block, identity shortcut, in part\n" in text
    text = (results["several"][0] / "script.py").read_text()
    assert text.startswith(
        "\"\"\"The slice from 'conv3' to 'conv3', 'conv4_block2_1_relu', 'conv4_block6' of the "
        "Keras\n"
    )
    text = (results["nested_whole"][0] / "script.py").read_text()
    assert "# backbone: a model inside the model\nx = layer['backbone'](x)\n" in text


EVIL = [
    'quote"""s', "it's", "line\n\nimport os", "back\\", "'", '"', "# fmt: off", "\u202eright\u2066",
    "tab\t\r\f\x00", "{f}%s", "é😀", "\N{LINE SEPARATOR}print(1)", "y" * 300,
    "𝐱", "ﬁ fi",
]  # fmt: skip


@pytest.mark.parametrize("name", EVIL, ids=range(len(EVIL)))
def test_names_are_text_that_nobody_can_trust(name):
    x = inputs = keras.Input((4,), name=name)
    for number in (1, 2):
        inner = keras.Input((4,))
        inside = layers.Dense(4, name=f"{name}{number}_dense")(inner)
        inside = keras.Model(inner, layers.ReLU(name=name)(inside), name=f"{name}_{number}")
        x = layers.Add(name=f"{name} {number}")([x, inside(x)])
    model = keras.Model(inputs, layers.Dense(2, name=f"{name}_")(x), name=name)
    for start, end in ((None, None), (f"{name}_2", f"{name} 2"), (f"{name}_1/{name}", None)):
        text = to_code(model, start, end, allow_bypass=True)
        text.encode()
        assert text.isprintable() or set(filter(lambda c: not c.isprintable(), text)) == {"\n"}
        assert_equal(rebuilt(model, text), cw.cut(model, start, end, allow_bypass=True))
        # A script holds what was written for it, and nothing that a name smuggled in.
        statements = ast.parse(text).body
        assert {type(s) for s in statements} == {ast.Expr, ast.Import, ast.Assign}
        assert_readable(text)
        assert to_code(model, start, end, allow_bypass=True) == text


class With(layers.Layer):
    """A layer that is called with anything."""

    def call(self, x, value=None, scale=1.0, flag=True):
        return x * scale if flag else x


def calling(**arguments):
    x = keras.Input((4,))
    return keras.Model(x, layers.Dense(2)(With(name="with")(x, **arguments)))


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ({"scale": 2.0, "flag": False}, "(x, scale=2.0, flag=False)"),
        ({"value": None, "flag": True}, "(x)"),
        ({"scale": 0.1 + 0.2}, "(x, scale=0.30000000000000004)"),
        ({"value": np.dtype("int8")}, "(x, value='int8')"),
        ({"value": keras.ops.ones(1).dtype}, "(x, value='float32')"),
        ({"value": (1,)}, "(x, value=(1,))"),
        ({"value": {"k": [(), {}, ..., -1]}}, "(x, value={'k': [(), {}, ..., -1]})"),
        ({"value": slice(1, None, 2)}, "(x, value=slice(1, None, 2))"),
        ({"value": float("inf")}, "(x, value=float('inf'))"),
        ({"value": np.float64(0.1)}, "(x, value=numpy.array(0.1, 'float64'))"),
        ({"value": np.zeros((0, 2), "int8")}, "(x, value=numpy.zeros((0, 2), 'int8'))"),
        ({"value": np.array([2**63], "uint64")}, "numpy.array([9223372036854775808], 'uint64')"),
    ],
)  # fmt: skip
def test_arguments_are_written_as_they_are(arguments, written):
    model = calling(**arguments)
    text = to_code(model)
    assert f"layer['with']{written}\n" in text or written in text.replace("\n    ", "")
    assert ("import numpy" in text) == ("numpy." in written)
    assert_equal(rebuilt(model, text), model)


def test_half_precision_is_exact():
    values = np.random.default_rng(0).normal(size=(3, 100))
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        constant = np.asarray(ops.cast(values, dtype))
        text = to_code(calling(value=constant))
        calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
        literal = next(node for node in calls if ast.unparse(node.func) == "numpy.array")
        again = eval(ast.unparse(literal), {"numpy": np})
        assert again.tobytes() == constant.tobytes()
        assert again.dtype == constant.dtype


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (
            np.zeros((50, 50)),
            r"'with' \(With\) .*\(50, 50\) and dtype float64.* 1,000 .*weight of a layer",
        ),
        (np.array(["text"]), "script can hold numbers"),
        (print, "cannot be written as code"),
        (keras.Variable(1.0), "cannot be written as code"),
        (1j, "cannot be written as code"),
    ],
    ids=["large", "text", "function", "variable", "complex"],
)
def test_what_cannot_be_written_is_refused(value, reason):
    with pytest.raises(cw.CutError, match=reason):
        to_code(calling(value=value))


def test_errors_are_those_of_cut():
    model = resnet()
    with pytest.raises(cw.UnknownPlaceError):
        to_code(model, "conv9")
    with pytest.raises(cw.BypassedCutError):
        to_code(model, "conv3_block2_2_conv", "conv3")
    with pytest.raises(cw.CutError, match="'share' or 'copy'.*'lend'"):
        to_code(model, "conv3", weights="lend")
    with pytest.raises(cw.CutError, match="input_shape does not fit.*'conv2_block3_out'"):
        to_code(model, "conv3", input_shape=(16, 16))
    with pytest.raises(cw.CutError, match="'conv3_block1_1_conv'.*does not accept another shape"):
        to_code(model, "conv3", input_shape=(16, 16, 3))
    with pytest.raises(cw.CutError, match="Cannot remove 'stem'"):
        to_code(model, remove="stem")
    for start, end in [("conv3_block1", "conv3_block2_add"), ("conv3_block2", "conv3_block2")]:
        with pytest.raises(cw.CutError, match="its start or its end lies in what is removed"):
            to_code(model, start, end, remove="conv3_block2")
    with pytest.raises(cw.UnsupportedModelError):
        to_code(keras.Sequential([layers.Dense(1)]))
