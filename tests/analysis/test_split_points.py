"""Where a model can be parted between two machines, and whether its parts run on them."""

from dataclasses import fields

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from keras import layers
from matplotlib.figure import Figure

import cutwidgets as cw
from cutwidgets import lab
from networks import transfer, two_towers, unet, untrained
from random_graphs import build, programs

SMALL = {
    "resnet": lambda: untrained("ResNet50"),
    "mobilenet": lambda: untrained("MobileNetV3Small"),
    "nasnet": lambda: untrained("NASNetMobile"),
    "unet": unet,
    "nested unet": lambda: unet(depth=2, how="nested"),
    "lab": lambda: lab.residual_network(blocks=(2, 2)),
    "plain": lambda: lab.residual_network(blocks=(2,), shortcuts=False),
    "nested": lambda: transfer(lab.residual_network(blocks=(2, 2))),
    "towers": two_towers,
    "heads": lambda: heads(),
    "watched": lambda: watched(),
    "shared": lambda: shared(),
}


def heads():
    """A chain whose middle is an output of the model too, and whose end are two."""
    x = inputs = keras.Input((8, 8, 3))
    outputs = []
    for width in (4, 8, 16):
        x = layers.Conv2D(width, 3, padding="same")(x)
        x = layers.MaxPooling2D()(layers.ReLU()(x))
        outputs.append(layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    return keras.Model(inputs, [x, *outputs[1:]])


def watched():
    """A chain that gives what a block in its middle makes as well, and what is inside another."""
    x = inputs = keras.Input((16, 16, 3))
    outputs = []
    for width in (4, 8, 16):
        y = layers.Conv2D(width, 3, padding="same")(x)
        x = layers.MaxPooling2D()(layers.ReLU()(y))
        outputs += [y, x]
    return keras.Model(inputs, [x, outputs[1], outputs[2]])


def shared():
    """Blocks that share one convolution."""
    convolution = layers.Conv2D(4, 3, padding="same")
    x = inputs = keras.Input((8, 8, 4))
    for _ in range(3):
        x = layers.Add()([x, layers.ReLU()(convolution(x))])
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))


def legal(model):
    """The blocks that `split` takes, by asking it for each."""
    found = []
    for block in cw.anatomy(model).blocks:
        try:
            cw.split(model, block)
        except cw.CutwidgetsError:
            continue
        found.append(block.name)
    return found


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == "nasnet" else ()) for name in SMALL],
)
def test_rows_are_the_blocks_that_split_takes(name):
    model = SMALL[name]()
    whole, *rows = cw.costs(model).splits
    assert whole.after == "input"
    assert [row.after for row in rows] == legal(model)


def test_how_many_splits_there_are():
    """So that the comparison above is not one of nothing with nothing."""
    resnet = untrained("ResNet50")
    # Not the last block, behind which nothing comes, but the input.
    assert len(cw.costs(resnet).splits) == len(cw.anatomy(resnet))
    # Between the levels of a U-Net there is always a skip connection.
    found = [row.after for row in cw.costs(unet()).splits]
    assert found == ["input", "down1", "up1"]


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(programs())
def test_rows_of_random_models(program):
    model = build(program).model
    assert [row.after for row in cw.costs(model).splits][1:] == legal(model)


@pytest.mark.parametrize("name", ["resnet", "mobilenet", "lab", "nested", "shared", "unet"])
def test_both_sides_cost_what_head_and_tail_cost(name):
    model = SMALL[name]()
    splits, total = cw.costs(model).splits, cw.costs(model).total
    whole, *rows = splits
    assert (whole.macs_before, whole.parameters_before) == (0, 0)
    assert (whole.macs_after, whole.parameters_after) == (total.macs, total.parameters)
    for row in rows[:: max(1, len(rows) // 4)]:
        head, tail = cw.split(model, row.after)
        assert row.macs_before == cw.costs(head).total.macs
        assert row.macs_after == cw.costs(tail).total.macs
        assert row.parameters_before == head.count_params()
        assert row.parameters_after == tail.count_params()
        assert row.shapes == (head.output_shape,) == (tail.input_shape,)
        assert row.macs_before + row.macs_after == total.macs


def test_a_layer_on_both_sides_counts_on_both():
    model = shared()
    _, first, *_ = cw.costs(model).splits
    convolution = 3 * 3 * 4 * 4 + 4
    assert first.parameters_before == convolution
    assert first.parameters_after == model.count_params()


@pytest.mark.parametrize("policy", ["float32", "float16", "mixed_float16", "mixed_bfloat16"])
def test_bytes_are_those_that_the_head_gives(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = lab.residual_network(blocks=(1, 1), width=4)
    finally:
        keras.config.set_dtype_policy("float32")
    x = np.zeros((3, *model.input_shape[1:]), model.inputs[0].dtype)
    whole, *rows = cw.costs(model).splits
    assert whole.bytes == x.nbytes // 3
    for row in rows:
        given = keras.ops.convert_to_numpy(cw.split(model, row.after)[0](x))
        assert row.bytes == given.nbytes // 3
        assert row.dtypes == (given.dtype.name,)
        assert row.dtypes[0] == ("float32" if policy == "float32" else policy.split("_")[-1])


def test_bytes_of_a_shape_that_is_asked_for():
    model = keras.applications.ResNet50(include_top=False, weights=None)
    splits = cw.costs(model, (64, 96, 3)).splits
    assert splits["input"].shapes == ((None, 64, 96, 3),)
    assert splits["conv4_block6"].shapes == ((None, 4, 6, 1024),)
    assert splits["conv4_block6"].bytes == 4 * 6 * 1024 * 4
    head, tail = cw.split(model, "conv4_block6")
    assert splits["conv4_block6"].macs_before == cw.costs(head, (64, 96, 3)).total.macs
    assert splits["conv4_block6"].macs_after == cw.costs(tail, (4, 6, 1024)).total.macs


def test_a_fixed_batch_counts_one_example():
    def network(**shape):
        inputs = keras.Input(**shape)
        x = layers.MaxPooling2D()(layers.Conv2D(4, 3, name="a_conv")(inputs))
        return keras.Model(inputs, layers.Dense(2)(layers.Conv2D(8, 3, name="b_conv")(x)), name="n")

    fixed = cw.costs(network(batch_shape=(8, 12, 12, 3))).splits
    free = cw.costs(network(shape=(12, 12, 3))).splits
    assert len(fixed) == len(free) > 1
    for one, other in zip(fixed, free, strict=True):
        assert one.shapes[0][0] == 8
        assert other.shapes[0][0] is None
        for field in fields(one):
            if field.name != "shapes":
                assert getattr(one, field.name) == getattr(other, field.name)


def test_all_inputs_together_are_the_input():
    splits = cw.costs(two_towers()).splits
    assert splits["input"].shapes == ((None, 32, 32, 3), (None, 12))
    assert splits["input"].bytes == 32 * 32 * 3 * 4 + 12 * 4


@pytest.mark.parametrize("name", ["resnet", "mobilenet", "unet", "shared"])
def test_best_are_those_that_no_other_dominates(name):
    splits = cw.costs(SMALL[name]()).splits

    def dominates(one, other):
        a, b = (one.bytes, one.macs_before), (other.bytes, other.macs_before)
        return a != b and a[0] <= b[0] and a[1] <= b[1]

    wanted = [row for row in splits if not any(dominates(other, row) for other in splits)]
    numbers = {(row.bytes, row.macs_before): row for row in reversed(wanted)}
    assert set(splits.best) == set(numbers.values())


def test_tables_and_picture():
    splits = cw.costs(untrained("MobileNetV3Small")).splits
    axes = splits.plot(Figure().subplots())
    assert [text.get_text() for text in axes.texts] == [row.after for row in splits.best]
    assert axes.get_yscale() == "log"
    assert sum(len(line.get_xdata()) for line in axes.lines) == len(splits) + len(splits.best)
    lines = repr(splits).splitlines()
    assert [line.split()[0] for line in lines[1 : len(splits) + 1]] == [r.after for r in splits]
    assert sum(line.endswith("★") for line in lines) == len(splits.best)
    html = splits._repr_html_()
    assert html.count("<tr") == len(splits) + 1
    assert html.count("★") == len(splits.best) + 1
    table = splits.table
    assert table["after"].tolist() == [row.after for row in splits]
    assert table["bytes"].tolist() == [row.bytes for row in splits]
    assert table["after"][table["best"]].tolist() == [row.after for row in splits.best]


def test_names_are_text_and_what_is_not_counted_is_named():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.MaxPooling2D()(layers.Conv2D(4, 3, name="<b>_conv")(x))
    x = layers.Lambda(lambda x: x, name="<i>")(x)
    model = keras.Model(inputs, layers.Conv2D(8, 3, padding="same", name="c_conv")(x))
    splits = cw.costs(model).splits
    assert "without those of <i>" in repr(splits)
    assert not {"<b>", "<i>"} & set(splits._repr_html_().replace(">", "> ").split())
    assert "<b>" not in splits._repr_html_()


def test_texts_have_no_bytes():
    words = layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=4)
    x = inputs = keras.Input((), dtype="string")
    x = layers.Dense(2)(layers.Flatten()(layers.Embedding(5, 3)(words(x))))
    splits = cw.costs(keras.Model(inputs, x)).splits
    assert splits["input"].bytes == 0
    splits.plot(Figure().subplots()).figure.draw_without_rendering()


def test_a_block_that_cannot_be_split_behind():
    splits = cw.costs(untrained("ResNet50")).splits
    with pytest.raises(cw.UnknownPlaceError, match="no split point") as caught:
        splits["conv4_block66"]
    assert "conv4_block6" in caught.value.suggestions


# The pieces in runtimes of their own.


@pytest.fixture(scope="module")
def halves():
    """A model, its halves, pictures, and what the model gives for them."""
    model = lab.residual_network(blocks=(2, 2), width=8)
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype("float32")
    model(x, training=True)  # so that the normalisations have statistics that tell
    head, tail = cw.split(model, "stage1_block2")
    return model, (head, tail), x, keras.ops.convert_to_numpy(model(x))


def check(halves, crossing, got):
    """Compare what crosses with its description, and what arrives with what the model gives."""
    model, _, x, wanted = halves
    row = cw.costs(model).splits["stage1_block2"]
    assert (crossing.shape[1:], crossing.dtype.name) == (row.shapes[0][1:], row.dtypes[0])
    assert crossing.nbytes == len(x) * row.bytes
    assert np.ptp(wanted, axis=0).max() > 1e-2
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_halves_run_as_saved_models(halves, tmp_path):
    value, values = halves[2], []
    for i, piece in enumerate(halves[1]):
        piece.export(tmp_path / f"{i}", verbose=False)
        served = tf.saved_model.load(str(tmp_path / f"{i}"))  # which keeps the weights alive
        value = served.serve(value).numpy()
        values.append(value)
    check(halves, *values)


needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Keras exports this from TensorFlow alone"
)


@needs_tensorflow
@pytest.mark.skipif("litert" not in keras.Model.export.__doc__, reason="an older Keras")
@pytest.mark.skipif(not hasattr(tf.lite, "Interpreter"), reason="TensorFlow without an interpreter")
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
@pytest.mark.slow
def test_halves_run_as_litert(halves, tmp_path):
    value, values = halves[2], []
    for i, piece in enumerate(halves[1]):
        piece.export(tmp_path / f"{i}.tflite", format="litert", verbose=False)
        runtime = tf.lite.Interpreter(str(tmp_path / f"{i}.tflite"))
        (taken,), (made,) = runtime.get_input_details(), runtime.get_output_details()
        runtime.resize_tensor_input(taken["index"], value.shape)
        runtime.allocate_tensors()
        runtime.set_tensor(taken["index"], value)
        runtime.invoke()
        value = runtime.get_tensor(made["index"])
        values.append(value)
    check(halves, *values)


@needs_tensorflow
def test_halves_run_in_onnxruntime(halves, tmp_path):
    for module in ("onnx", "tf2onnx"):
        pytest.importorskip(module, reason="Keras needs it to export ONNX")
    onnxruntime = pytest.importorskip("onnxruntime")
    value, values = halves[2], []
    for i, piece in enumerate(halves[1]):
        piece.export(tmp_path / f"{i}.onnx", format="onnx", verbose=False)
        session = onnxruntime.InferenceSession(tmp_path / f"{i}.onnx")
        (value,) = session.run(None, {session.get_inputs()[0].name: value})
        values.append(value)
    check(halves, *values)
