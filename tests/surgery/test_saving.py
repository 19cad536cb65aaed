"""Every kind of slice is saved, and loaded by a process that has no cutwidgets."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import cutwidgets as cw
from nested_networks import siamese, transfer
from networks import application, masked_attention

SCRIPT = """
import pathlib, sys
sys.modules["cutwidgets"] = None
import keras, numpy as np
for path in sorted(pathlib.Path(".").glob("*.keras")):
    part = keras.models.load_model(path, safe_mode=True)
    given = dict(np.load(path.with_suffix(".given.npz")))
    given = [keras.ops.convert_to_tensor(given[f"arr_{i}"]) for i in range(len(given))]
    made = part(given if len(given) > 1 else given[0])
    np.savez(path.with_suffix(".made.npz"), *map(np.asarray, keras.tree.flatten(made)))
"""


def parts():
    resnet, nested = application("ResNet50"), transfer()
    yield "shared", cw.cut(resnet, "conv3", "conv4")
    yield "copied", cw.cut(resnet, "conv3_block2", "conv3_block3", weights="copy")
    yield "bypassed", cw.cut(resnet, "conv3_block2_2_conv", "conv3", allow_bypass=True)
    yield "resized", cw.cut(resnet, "conv3", "conv3", input_shape=(3, 20, 12, 256))
    yield "removed", cw.remove(resnet, "conv4_block2", "conv5_block1")
    yield "replaced", cw.replace(resnet, "conv4", layers.Conv2D(1024, 1, 2, name="short"))
    first, second, third = cw.split(resnet, "conv2", "conv3_block2_1_conv", allow_bypass=True)
    yield "piece", second
    yield "joined", cw.join(first, second, third)
    yield "opened", cw.cut(nested, "backbone/a_conv", "scores")
    yield "whole", cw.cut(nested, "rescaling", "pool")
    yield "lost", cw.remove(nested, "backbone/b")
    yield "twins", cw.cut(siamese(), "twin#1/a_conv", "alike", allow_bypass=True)
    yield "masked", cw.cut(masked_attention(), "attended", allow_bypass=True)
    yield "operations", cw.cut(application("MobileNetV3Small"), 3, 5)


@pytest.mark.slow
def test_every_kind_of_slice_loads_elsewhere(tmp_path):
    random = np.random.default_rng(0)
    wanted = {}
    for name, part in parts():
        shapes = [tuple(length or 2 for length in t.shape) for t in part.inputs]
        given = [
            (random.normal(size=shape) + (tensor.dtype == "int32") * 5).astype(tensor.dtype)
            for shape, tensor in zip(shapes, part.inputs, strict=True)
        ]
        tensors = [keras.ops.convert_to_tensor(value) for value in given]
        made = part(tensors if len(tensors) > 1 else tensors[0])
        wanted[name] = [np.asarray(value) for value in keras.tree.flatten(made)]
        part.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.given.npz", *given)
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, check=True, timeout=200)
    for name, values in wanted.items():
        loaded = np.load(tmp_path / f"{name}.made.npz")
        for number, value in enumerate(values):
            np.testing.assert_array_equal(loaded[f"arr_{number}"], value, err_msg=name)


def new():
    return layers.Conv2D(7, 3, name="new")


# A way to provoke each error of the public functions.
REFUSALS = {
    "unknown place": lambda m: cw.cut(m, "conv9"),
    "unknown index": lambda m: cw.cut(m, 99),
    "tensor of another model": lambda m: cw.cut(m, keras.Input((8, 8, 3))),
    "bypassed start": lambda m: cw.cut(m, "conv3_block2_2_conv"),
    "start after end": lambda m: cw.cut(m, "conv4", "conv3"),
    "different branches": lambda m: cw.cut(m, "conv3_block1_0_conv", "conv3_block1_1_conv"),
    "other weights": lambda m: cw.cut(m, "conv3", weights="lend"),
    "shape of the input": lambda m: cw.cut(m, "conv3", input_shape=(16, 16, 3)),
    "bypassed split": lambda m: cw.split(m, "conv3_block2_2_conv"),
    "split out of order": lambda m: cw.split(m, "conv4", "conv3"),
    "split at the end": lambda m: cw.split(m, "conv5"),
    "removed layer": lambda m: cw.remove(m, "conv3_block2_1_conv"),
    "removed stem": lambda m: cw.remove(m, "stem"),
    "replaced by another shape": lambda m: cw.replace(m, "conv3_block2", new()),
    "replaced by nothing": lambda m: cw.replace(m, "conv3_block2", None),
    "replaced addition": lambda m: cw.replace(m, "conv3_block2_add", new()),
    "joined to another shape": lambda m: cw.join(m, m),
    "joined to no layer": lambda m: cw.join(m, 3),
    "checked on another shape": lambda m: cw.check(m, "conv3", None, np.ones((1, 8, 8, 3))),
    "activations of another shape": lambda m: cw.activations(m, np.ones((1, 8, 8, 3))),
    "activations of no place": lambda m: cw.activations(m, np.ones((1, 64, 64, 3)), ["x"]),
    "code of no place": lambda m: cw.to_code(m, "conv9"),
    "code without a layer": lambda m: cw.to_code(m, remove=["conv3_block2_1_conv"]),
    "no model": lambda m: cw.anatomy(m.layers[3]),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_after_each_error_the_model_is_what_it_was(name):
    model = application("ResNet50")
    before = (
        model.get_config(),
        [(layer.name, layer.trainable, len(layer._inbound_nodes)) for layer in model.layers],
        [np.array(weight) for weight in model.get_weights()],
    )
    # An input that does not fit is not a cut that is impossible.
    of_input = name.endswith(" on another shape") or name == "activations of another shape"
    with pytest.raises(cw.CutwidgetsError) as caught:
        REFUSALS[name](model)
    assert isinstance(caught.value, cw.CutError) is not of_input
    assert len(str(caught.value)) > 40
    assert before[0] == model.get_config()
    assert before[1] == [(x.name, x.trainable, len(x._inbound_nodes)) for x in model.layers]
    assert all(map(np.array_equal, before[2], model.get_weights()))
