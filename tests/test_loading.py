"""Files of models: each is loaded with the same values, or the error says what it is."""

import importlib.util
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import types
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import cutwidgets as cw


def network():
    x = inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(3, 3, name="conv")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(layers.BatchNormalization(name="norm")(x))
    return keras.Model(inputs, layers.Dense(2, name="dense")(x))


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(*words, **options):
    with pytest.raises(cw.CutwidgetsError) as caught:
        cw.load(*words, **options)
    return str(caught.value)


def assert_same(one, other):
    x = np.random.default_rng(0).normal(size=(3, *one.input_shape[1:])).astype("float32")
    np.testing.assert_array_equal(one.predict(x, verbose=0), other.predict(x, verbose=0))


def rewrite(source, target, changes):
    """Copy a zip file, with members changed by functions of their text."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name in changes:
                content = changes[name](content.decode()).encode()
            new.writestr(name, content)


def written_by(version):
    return lambda text: json.dumps(json.loads(text) | {"keras_version": version})


@pytest.mark.parametrize("ending", [".keras", ".h5", ".hdf5"])
def test_what_is_loaded_is_the_model(model, here, ending, capsys):
    if ending == ".hdf5":
        model.save("model.h5")
        os.rename("model.h5", "model.hdf5")
    else:
        model.save(f"model{ending}")
    capsys.readouterr()
    for path in (f"model{ending}", here / f"model{ending}"):
        assert_same(cw.load(path), model)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["a.keras", "a.h5"])
def test_safe_mode_runs_no_code_of_the_file(here, name):
    inputs = keras.Input((2,))
    code = f"lambda x: (open({str(here / 'ran')!r}, 'w').close(), x)[1]"
    keras.Model(inputs, layers.Lambda(eval(code), output_shape=(2,))(inputs)).save(name)
    (here / "ran").unlink(missing_ok=True)
    assert "safe_mode=False" in refusal(name)
    assert not (here / "ran").exists()
    assert cw.load(name, safe_mode=False).output_shape == (None, 2)


def conversion_lines(error):
    return "\n".join(line[4:] for line in error.splitlines() if line.startswith("    "))


def file_of_keras_2(model, name):
    """A file as Keras 2 writes it, where that differs."""
    if name.endswith(".keras"):
        model.save("new.keras")
        rewrite("new.keras", name, {
            "metadata.json": written_by("2.15.0"),
            "config.json": lambda text: text.replace(
                "keras.src.models.functional", "keras.src.engine.functional"
            ),
        })  # fmt: skip
        return
    model.save(name)
    with h5py.File(name, "r+") as file:
        file.attrs["keras_version"] = "2.15.0"
        config = file.attrs["model_config"]
        old = config.replace('"depth_multiplier": 1', '"groups": 1, "depth_multiplier": 1')
        assert old != config
        file.attrs["model_config"] = old


@pytest.mark.parametrize("name", ["old.h5", "old.keras"])
def test_the_lines_for_keras_2_convert(model, here, monkeypatch, name):
    file_of_keras_2(model, name)
    error = refusal(name)
    assert "written by Keras 2.15.0" in error
    # What tf_keras would write.
    file_of_keras_2(model, "written.h5")
    loaded = types.SimpleNamespace(save=lambda path: shutil.copy("written.h5", path))
    models = types.SimpleNamespace(load_model=lambda path, compile: loaded)
    monkeypatch.setitem(sys.modules, "tf_keras", types.SimpleNamespace(models=models))
    names = {"cw": cw}
    exec(conversion_lines(error), names)
    assert_same(names["model"], model)


def test_files_of_keras_2_that_keras_3_reads_are_loaded(model, here):
    model.save("old.h5")
    with h5py.File("old.h5", "r+") as file:
        file.attrs["keras_version"] = "2.4.0"
    assert_same(cw.load("old.h5"), model)


def test_operations_of_keras_2_cannot_be_converted(model, here):
    file_of_keras_2(model, "old.h5")
    with h5py.File("old.h5", "r+") as file:
        config = file.attrs["model_config"]
        file.attrs["model_config"] = config.replace("GlobalAveragePooling2D", "TFOpLambda")
    assert "load_weights" in refusal("old.h5")


@pytest.mark.skipif(not importlib.util.find_spec("tf_keras"), reason="tf_keras is not installed")
@pytest.mark.parametrize("name", ["old.keras", "old.h5", "old"])
def test_what_tf_keras_writes_is_converted(here, name):
    import tf_keras

    x = inputs = tf_keras.Input((6, 6, 2))
    x = tf_keras.layers.DepthwiseConv2D(3)(tf_keras.layers.Conv2D(3, 3)(x))
    old = tf_keras.Model(inputs, x)
    old.save(name)
    with pytest.raises(cw.UnsupportedModelError) as caught:
        cw.anatomy(old)
    for error in (refusal(name), str(caught.value)):
        names = {"cw": cw, "old": old}
        exec(conversion_lines(error), names)
        assert_same(names["model"], old)


def test_a_model_of_tf_keras_is_said_to_be_one():
    old = type("Functional", (), {"__module__": "tf_keras.src.engine.functional"})()
    for call in (cw.anatomy, cw.costs, cw.to_code, lambda m: cw.cut(m, "conv"), cw.CutPanel):
        with pytest.raises(cw.UnsupportedModelError, match=r"tf_keras \(Keras 2\)") as caught:
            call(old)
        assert "old.save('converted.h5')" in str(caught.value)


def test_missing_classes_and_functions_are_named(here):
    class Own(layers.Layer):
        def call(self, x):
            return x

    def twice(x):
        return 2 * x

    x = keras.Input((2,))
    keras.Model(x, Own()(x)).save("class.keras")
    keras.Model(x, Own()(x)).save("class.h5")
    keras.Model(x, layers.Dense(1, activation=twice)(x)).save("function.keras")
    keras.Model(x, layers.Dense(1, activation=twice)(x)).save("function.h5")
    for path in here.iterdir():
        name, own = ("Own", Own) if path.stem == "class" else ("twice", twice)
        error = refusal(path)
        assert f"custom_objects={{'{name}': {name}}}" in error
        assert "@keras.saving.register_keras_serializable" in error
        assert cw.load(path, custom_objects={name: own})


def test_files_of_a_newer_keras_say_so(model, here):
    model.save("new.keras")
    changes = {"metadata.json": written_by("99.1.0")}
    rewrite("new.keras", "same.keras", changes)
    assert_same(cw.load("same.keras"), model)
    for old, new in (("BatchNormalization", "NewLayer"), ('"axis"', '"new_axis"')):
        change = {"config.json": lambda text, a=old, b=new: text.replace(a, b)}
        rewrite("new.keras", "newer.keras", changes | change)
        assert "written by Keras 99.1.0" in refusal("newer.keras")


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_files_that_are_cut_short_are_told_in_a_line(model, here, name):
    model.save(name)
    whole = (here / name).read_bytes()
    for part in (0, 1, 7, 8, 100, 511, 512, len(whole) // 3, len(whole) // 2, len(whole) - 50):
        (here / name).write_bytes(whole[:part])
        error = refusal(name)
        assert name in error
        assert len(error.splitlines()) == 1


def other_files(model):
    """What is no file of a model, by name, with what the error has to say."""
    os.makedirs("saved/variables")
    open("saved/saved_model.pb", "wb").close()
    shutil.copytree("saved", "exported")
    open("saved/keras_metadata.pb", "wb").close()
    os.makedirs("folder")
    model.save("folder/inside.keras")
    model.save("model.h5")
    model.save("zipped.keras")
    model.save_weights("only.weights.h5")
    shutil.copy("model.h5", "hdf5.keras")
    shutil.copy("zipped.keras", "zip.h5")
    shutil.copy("zipped.keras", "zip.model")
    with h5py.File("data.h5", "w") as file:
        file["x"] = np.zeros(3)
    np.savez("arrays.npz", x=np.zeros(3))
    with zipfile.ZipFile("torch.pt", "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(3))
    contents = {
        "empty.keras": b"", "empty.h5": b"", "frozen.pb": b"\x0a\x0b", "a.onnx": b"\x08\x07",
        "a.tflite": b"\x1c\0\0\0TFL3", "lite.h5": b"\x1c\0\0\0TFL3", "text.keras": b"hello",
        "lfs.keras": b"version https://git-lfs.github.com/spec/v1\n", "text.txt": b"hello",
        "page.h5": b"<!DOCTYPE html><html>", "a.safetensors": b"\x08\0\0", "a.json": b"{}",
        "saved/saved_model.pb": b"\x08\x01",
    }  # fmt: skip
    for name, content in contents.items():
        with open(name, "wb") as file:
            file.write(content)
    os.symlink("gone.keras", "link.keras")
    socket.socket(socket.AF_UNIX).bind("socket.keras")
    return {
        "saved": "Keras 2 SavedModel", "exported": "exported SavedModel",
        "saved/saved_model.pb": "Pass its folder, 'saved'", "folder": "It contains 'inside.keras'",
        "only.weights.h5": "model.load_weights('only.weights.h5')", "data.h5": "no Keras model",
        "hdf5.keras": "'hdf5.h5'", "zip.h5": "'zip.keras'", "zip.model": "'zip.keras'",
        "arrays.npz": "no 'config.json', but 'x.npy'", "torch.pt": "PyTorch",
        "empty.keras": "empty", "empty.h5": "empty", "frozen.pb": "frozen TensorFlow graph",
        "a.onnx": "ONNX", "a.tflite": "TensorFlow Lite", "lite.h5": "TensorFlow Lite",
        "text.keras": "damaged",
        "lfs.keras": "git lfs pull", "text.txt": "not a Keras model file", "page.h5": "web page",
        "a.safetensors": "only weights", "a.json": "model_from_json", "link.keras": "'gone.keras'",
        "socket.keras": "socket", "zippd.keras": "Did you mean 'zipped.keras'",
        "nowhere/a.keras": "no folder 'nowhere'", "https://x.org/a.keras": "a URL",
        "a\0.keras": "no file", "": "no file",
    }  # fmt: skip


CODE = """
import json, sys
import cutwidgets as cw
from cutwidgets import cli
errors = {}
for name in json.loads(sys.argv[1]):
    try:
        cw.load(name)
    except cw.CutwidgetsError as error:
        errors[name] = str(error)
print(json.dumps(errors))
for words in (["show", "a.onnx"], ["check", "no.keras", "-", "-"], ["cut", "a.json", "-", "-", "-o",
              "x.keras"], ["features", "empty.h5", ".", "--to", "x.npy"],
              ["cut", "zipped.keras", "-", "-", "-o", "x.h5"]):
    try:
        cli.app(words)
    except SystemExit as end:
        assert end.code == 2
assert "keras" not in sys.modules and "tensorflow" not in sys.modules
"""


def test_what_is_no_model_is_told_before_keras_is_imported(model, here):
    wanted = other_files(model)
    words = [sys.executable, "-c", CODE, json.dumps([*wanted])]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout)
    assert {name for name, told in wanted.items() if told not in errors.get(name, "")} == set()
    assert "tf_keras.models.load_model('saved', compile=False)" in errors["saved"]


def test_what_is_no_path_is_refused(model):
    assert "path of a file" in refusal(model)
    assert "path of a file" in refusal(3)
