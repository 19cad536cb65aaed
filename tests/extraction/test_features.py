import errno
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from keras import layers
from PIL import Image

import cutwidgets as cw
from cutwidgets import CutwidgetsError
from cutwidgets.extraction import extractor
from cutwidgets.extraction import extractor as extracting
from cutwidgets.extraction.arrays import Arrays
from cutwidgets.extraction.features import features
from cutwidgets.extraction.folders import Folder
from cutwidgets.graph.reader import read
from cutwidgets.inference.images import pixels, preprocessing
from cutwidgets.inference.pictures import photo

HERE = Path(__file__).parent


def small(seed=0, size=8):
    """A network with all that changes in training: statistics and random numbers."""
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((size, size, 3), name="photo")
    x = layers.Conv2D(4, 3, padding="same", name="conv")(x)
    x = layers.Dropout(0.5, name="drop")(layers.BatchNormalization(name="norm")(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(5, name="scores")(x), name="small")


def numbers(size=100, seed=0):
    return np.random.default_rng(seed).normal(size=(size, 8, 8, 3)).astype("float32")


def slowly(values):
    # Set in the processes that are killed, where it is no part of what this function is.
    time.sleep(float(os.environ.get("PAUSE", "0")))
    return values / 255


def pictures(folder, number=10, broken=()):
    """Small images, some of them in a folder of the folder; broken ones have half of their file."""
    generator = np.random.default_rng(1)
    for i in range(number):
        file = folder / ("inner" if i % 3 == 0 else "") / f"{i:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (12, 9, 3)).astype("uint8")).save(file)
        if i in broken:
            file.write_bytes(file.read_bytes()[:100])
    (folder / "readme.txt").write_text("no image")
    return folder


def contents(path):
    """All that a reader of the features sees, byte by byte."""
    files = [path, *path.parent.rglob("*.parquet"), *path.parent.rglob("*.npy")]
    return {f.name: f.read_bytes() for f in files if f.is_file()}


@pytest.fixture(scope="module")
def model():
    return small()


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(extracting, "_BATCHES", 4)


def test_features_of_a_folder_are_those_of_the_model(model, tmp_path):
    folder = pictures(tmp_path / "images", broken=(1, 6))
    found = features(model, folder, to=tmp_path / "out.parquet", batch=2)
    ids, values = found.read()
    table = pd.read_parquet(tmp_path / "out.parquet")
    names = [f"inner/{i:03d}.png" for i in (0, 3, 9)]
    assert list(ids) == [f"{i:03d}.png" for i in (2, 4, 5, 7, 8)] + names == list(table["id"])
    given = np.concatenate([pixels(read(model), photo(folder / name)) for name in ids])
    wanted = model(preprocessing(read(model)).function(given), training=False)
    np.testing.assert_allclose(values, wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.stack(table["features"]), values)
    assert found.examples == 10
    assert found.shapes == {"features": (5,)}
    assert list(found.broken["id"]) == ["001.png", "inner/006.png"]
    assert found.broken["reason"].str.contains("truncated").all()
    assert "2 broken" in repr(found)
    assert "001.png" in found._repr_html_()


def test_an_array_has_a_row_for_each_example(model, tmp_path):
    folder = pictures(tmp_path / "images", broken=(1, 6))
    stem = cw.cut(model, end="conv")
    found = features(stem, folder, to=tmp_path / "maps.npy", batch=2)
    maps = np.load(tmp_path / "maps.npy", mmap_mode="r")
    ids, values = found.read()
    assert maps.shape == values.shape == (10, 8, 8, 4)
    assert len(ids) == 10
    broken = np.isnan(maps).all(axis=(1, 2, 3))
    assert list(ids[broken]) == list(found.broken["id"])
    _, rows = features(stem, folder, to=tmp_path / "maps.parquet", batch=2).read()
    np.testing.assert_array_equal(maps[~broken], rows)


def test_arrays_and_datasets_give_the_same(model, tmp_path):
    import tensorflow as tf

    x = numbers(101)
    np.save(tmp_path / "x.npy", x)
    dataset = tf.data.Dataset.from_tensor_slices(x)
    labelled = tf.data.Dataset.from_tensor_slices((x, np.arange(101)))
    generated = tf.data.Dataset.from_generator(
        lambda: iter(x), output_signature=tf.TensorSpec((None, None, 3))
    )
    given = [x, [x], {"photo": x}, np.load(tmp_path / "x.npy", mmap_mode="r"), dataset]
    given += [dataset.batch(7), labelled, labelled.batch(50), generated]
    rows = [
        features(model, data, to=tmp_path / f"{i}.parquet", batch=8).read()
        for i, data in enumerate(given)
    ]
    np.testing.assert_allclose(rows[0][1], model(x, training=False), rtol=1e-5, atol=1e-6)
    for ids, values in rows:
        np.testing.assert_array_equal(ids, np.arange(101))
        np.testing.assert_array_equal(values, rows[0][1])


def test_several_inputs_and_outputs(tmp_path):
    a, b = keras.Input((2,), name="a"), keras.Input((3, 1), name="b", dtype="int32")
    wide = layers.Dense(4, name="wide", dtype="float16")(a)
    total = keras.ops.sum(b, axis=(1, 2))
    both = keras.Model({"a": a, "b": b}, [wide, total, layers.Flatten(name="id")(b)])
    x = {"b": np.arange(30).reshape(10, 3, 1), "a": np.ones((10, 2))}
    found = features(both, x, to=tmp_path / "out.parquet", batch=4)
    _, values = found.read()
    names = list(values)
    assert names[0] == "wide"
    assert "id" not in names
    assert [values[name].dtype for name in names] == ["float16", "int32", "int32"]
    np.testing.assert_array_equal(values[names[1]], x["b"].sum(axis=(1, 2)))
    np.testing.assert_array_equal(values[names[2]], x["b"][:, :, 0])
    with pytest.raises(CutwidgetsError, match="one array, and the model has 3 outputs"):
        features(both, x, to=tmp_path / "out.npy")
    with pytest.raises(CutwidgetsError, match="has no 'b', which the model"):
        features(both, {"a": x["a"]}, to=tmp_path / "other.parquet")


def test_a_dictionary_of_outputs_is_stored_by_its_keys(tmp_path):
    model, x = small(), numbers(20)
    part = cw.cut(model, None, {"z": "conv", "a": "pool", "id": "scores"})
    found = features(part, x, to=tmp_path / "ends.parquet", batch=4)
    _, values = found.read()
    assert sorted(values) == ["a", "id_1", "z"]
    for key, place in (("z", "conv"), ("a", "pool"), ("id_1", "scores")):
        alone = features(cw.cut(model, None, place), x, to=tmp_path / f"{key}.parquet", batch=4)
        np.testing.assert_array_equal(values[key], alone.read()[1])
    assert list(pd.read_parquet(tmp_path / "ends.parquet")) == ["id", "a", "id_1", "z"]
    # Other keys are other columns: a place of these features refuses them.
    other = cw.cut(model, None, {"y": "conv", "a": "pool", "id": "scores"})
    with pytest.raises(CutwidgetsError, match="names of the outputs"):
        features(other, x, to=tmp_path / "ends.parquet", batch=4)


@pytest.mark.parametrize("end", [["pool"], {"P": "pool"}])
def test_a_single_end_is_stored_by_its_key(tmp_path, end):
    part = cw.cut(small(), None, end)
    found = features(part, numbers(20), to=tmp_path / "pool.parquet", batch=4)
    assert list(found.shapes) == ["P" if "P" in end else "pool"]
    one = features(part, numbers(20), to=tmp_path / "pool.npy", batch=4)
    assert one.read()[1].shape == (20, 4)


def test_an_end_of_several_tensors_is_several_columns():
    x = keras.Input((4, 3))
    gru = layers.GRU(2, return_sequences=True, return_state=True, name="gru")
    model = keras.Model(x, gru(x))
    part = cw.cut(model, None, {"gru_0": gru.output[1], "gru": "gru"})
    names = extractor.output_names(read(part))
    assert len(set(names)) == 3


def test_texts_can_be_data(tmp_path):
    vectors = layers.TextVectorization(output_mode="multi_hot", vocabulary=["cat", "dog"])
    texts = keras.Input((1,), dtype="string", name="texts")
    reads = keras.Model(texts, vectors(texts))
    given = np.array([["a cat"], ["a dog"], ["cat and dog"]])
    _, values = features(reads, given, to=tmp_path / "out.parquet", batch=2).read()
    np.testing.assert_array_equal(values[:, -2:], [[1, 0], [0, 1], [1, 1]])


def test_the_model_is_the_same_afterwards(tmp_path):
    model = small()
    before = [np.array(v) for v in model.variables]
    features(model, numbers(9), to=tmp_path / "out.parquet")
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_head_is_given_what_its_model_expects(tmp_path):
    whole = keras.applications.VGG16(include_top=False, weights=None)
    head = cw.cut(whole, end="block1_conv1")
    folder = pictures(tmp_path / "images", 3)
    maker = extractor.Extractor(read(head), Folder(folder, read(head)), None, 2)
    assert maker.preprocessing.name == "keras.applications.vgg16.preprocess_input"
    assert maker.outputs()["features"].shape == (224, 224, 64)
    middle = cw.cut(whole, "block2", "block3")
    with pytest.raises(CutwidgetsError, match=r"cut the head instead, cw.cut\(model, end=...\)"):
        features(middle, folder, to=tmp_path / "out.parquet")


def test_a_preprocessing_of_ones_own(model, tmp_path):
    x = numbers(5)
    _, values = features(model, x, to=tmp_path / "a.parquet", preprocess=lambda x: x / 2).read()
    _, halves = features(model, x / 2, to=tmp_path / "b.parquet").read()
    np.testing.assert_array_equal(values, halves)
    with pytest.raises(CutwidgetsError, match="cannot take an array of shape"):
        features(model, x, to=tmp_path / "c.parquet", preprocess=lambda x: x @ x[:0])


def test_what_is_complete_is_not_computed_again(model, tmp_path, monkeypatch):
    folder = pictures(tmp_path / "images", broken=(0,))
    found = features(model, folder, to=tmp_path / "out.npy", batch=2)
    monkeypatch.setattr(extractor.Extractor, "_forward", None)
    again = features(model, folder, to=tmp_path / "out.npy", batch=2)
    assert repr(again) == repr(found)
    pd.testing.assert_frame_equal(again.broken, found.broken)
    # Keras names the layers of a model that is built again otherwise.
    features(small(), folder, to=tmp_path / "out.npy", batch=2)


def started(kind, to, folder):
    """A run in a process of its own."""
    arguments = (kind, str(to), str(folder))
    code = f"import test_features as t; t.slow_run(*{arguments})"
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PAUSE": "0.1"}
    return subprocess.Popen([sys.executable, "-c", code], cwd=HERE, env=quiet)


def kill(running):
    """Kill each run once some parts are there, and tell how many."""
    deadline, stored = time.monotonic() + 200, {}
    while len(stored) < len(running) and time.monotonic() < deadline:
        for folder, process in running.items():
            if folder not in stored and len(list(folder.rglob("part-*.parquet"))) >= 3:
                process.send_signal(signal.SIGKILL)
                process.wait()
                stored[folder] = len(list(folder.rglob("part-*.parquet")))
        time.sleep(0.005)
    return stored


def slow_run(kind, to, folder, batch=2):
    import tensorflow as tf

    extractor._BATCHES = 4
    data = {
        "folder": folder,
        "array": numbers(),
        "dataset": tf.data.Dataset.from_tensor_slices(numbers()).batch(3),
    }[kind]
    return features(small(), data, to=to, batch=batch, preprocess=slowly)


ENDS = ("parquet", "npy")
KINDS = [("folder", "out.parquet"), ("array", "out.npy"), ("dataset", "out.parquet")]


@pytest.mark.slow  # new processes import TensorFlow anew
def test_a_killed_run_goes_on(tmp_path):
    folder = pictures(tmp_path / "images", 60, broken=(2, 50, 59))
    # All at once: to import TensorFlow takes them longest.
    places = {kind: tmp_path / "killed" / kind / name for kind, name in KINDS}
    parts = kill({to.parent: started(kind, to, folder) for kind, to in places.items()})
    for kind, name in KINDS:
        killed, whole = places[kind], tmp_path / "whole" / kind / name
        stored = parts[killed.parent]
        size = 60 if kind == "folder" else 100
        assert 3 <= stored < size // 8
        if name == "out.npy":
            assert not killed.exists()  # what is not complete cannot be taken for complete
        computed = []
        forward = extractor.Extractor._forward

        def counted(self, inputs, number, forward=forward, computed=computed):
            computed.append(number)
            return forward(self, inputs, number)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(extractor.Extractor, "_forward", counted)
            found = slow_run(kind, killed, folder)
        assert 0 < sum(computed) <= size - 8 * stored
        undisturbed = slow_run(kind, whole, folder)
        assert contents(killed) == contents(whole)
        assert repr(found).split(", in ")[0] == repr(undisturbed).split(", in ")[0]
        assert not list(killed.parent.rglob(".*"))


def whole_or_not_there(to):
    """No half file beside what is stored, and an array once it is whole."""
    assert not [file for file in to.parent.rglob("*") if file.name.startswith(".")]
    if to.suffix == ".npy" and to.exists():
        assert np.isfinite(np.load(to)).all()


@pytest.mark.parametrize("name", ["out.parquet", "out.npy"])
@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("after", [False, True])
def test_an_interrupt_at_any_file_leaves_no_half_of_it(
    model, tmp_path, monkeypatch, name, function, after
):
    x, real, calls = numbers(12), getattr(os, function), []

    def interrupted(*given):
        calls.append(given)
        if after:
            real(*given)
        if len(calls) == wanted:
            raise KeyboardInterrupt
        if not after:
            real(*given)

    whole = tmp_path / "whole" / name
    features(model, x, to=whole, batch=2)
    for wanted in range(1, 20):
        to = tmp_path / str(wanted) / name
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, function, interrupted)
            try:
                features(model, x, to=to, batch=2)
            except KeyboardInterrupt:
                whole_or_not_there(to)
            else:
                break
        features(model, x, to=to, batch=2)
        assert contents(to) == contents(whole)
    assert 4 <= wanted < 19


TWENTY = [(kind, f"out.{end}") for kind in ("folder", "array", "dataset") for end in ENDS]


@pytest.mark.slow  # new processes import TensorFlow anew
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("kind", "name"), TWENTY)
def test_twenty_kills_at_random_moments(kind, name, tmp_path):
    folder = pictures(tmp_path / "images", 60, broken=(2, 50, 59))
    chance = random.Random(f"{kind} {name}")
    whole = tmp_path / "whole" / name
    slow_run(kind, whole, folder)
    kills = place = 0
    while kills < 20:
        to = tmp_path / f"killed{place}" / name
        process = started(kind, to, folder)
        while process.poll() is None and not to.parent.exists():  # it imports TensorFlow
            time.sleep(0.01)
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, 4))
        if process.poll() is None:
            process.kill()
            process.wait()
            kills += 1
            assert to.suffix != ".npy" or not to.exists() or len(np.load(to))
        else:  # all of it is there
            assert process.returncode == 0
            assert contents(to) == contents(whole)
            place += 1
    slow_run(kind, to, folder)
    assert contents(to) == contents(whole)
    assert not list(to.parent.rglob(".*"))


@pytest.mark.parametrize("name", ["out.parquet", "out.npy"])
def test_a_full_disk_loses_nothing(model, tmp_path, monkeypatch, name):
    x, fsync, calls = numbers(), os.fsync, []

    def full(file):
        calls.append(file)
        if len(calls) % 5 == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(file)

    whole = tmp_path / "whole" / name
    features(model, x, to=whole, batch=2)
    monkeypatch.setattr(os, "fsync", full)
    stopped = 0
    while stopped < 20:
        try:
            features(model, x, to=tmp_path / "full" / name, batch=2)
        except CutwidgetsError as error:
            assert re.search("No space left.*examples are stored", str(error))
            stopped += 1
        else:
            break
    assert 2 < stopped < 20
    assert contents(tmp_path / "full" / name) == contents(whole)


def begun(model, data, to, chunks=3):
    """A run that stops."""
    chunk = extractor.Extractor.chunk

    def stop(self, number, size):
        if number == chunks:
            raise KeyboardInterrupt
        return chunk(self, number, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extractor.Extractor, "chunk", stop)
        with pytest.raises(KeyboardInterrupt):
            features(model, data, to=to, batch=2)


def test_what_is_another_run_is_refused(model, tmp_path):
    x, to = numbers(), tmp_path / "out.parquet"
    begun(model, x, to)
    others = [
        ({"model": small(seed=1)}, "the model's weights"),
        ({"model": cw.cut(model, end="pool")}, "the model's layers"),
        ({"data": numbers(seed=1)}, "the data"),
        ({"data": numbers(99)}, "the data"),
        ({"batch": 4}, r"the batch \(was 2, is 4\)"),
        ({"preprocess": slowly}, r"the preprocessing \(was none, [0-9a-f]*.*, is slowly"),
    ]
    before = contents(to)
    for changed, message in others:
        with pytest.raises(CutwidgetsError, match=f"another run. What differs: {message}"):
            features(**{"model": model, "data": x, "to": to, "batch": 2} | changed)
    assert contents(to) == before
    assert features(model, x, to=to, batch=2).examples == 100


def test_a_run_that_stored_nothing_is_in_nobodys_way(model, tmp_path):
    texts = np.full((4, 8, 8, 3), "text", object)
    for to in (tmp_path / "out.parquet", tmp_path / "out.npy"):
        with pytest.raises(CutwidgetsError, match="text"):
            features(model, texts, to=to)
        assert features(model, numbers(), to=to).examples == 100


def test_two_runs_do_not_store_in_one_place(model, tmp_path):
    x, to, seen = numbers(), tmp_path / "out.parquet", []

    def meanwhile(values):
        if not seen:
            seen.append(1)
            with pytest.raises(CutwidgetsError, match="Another run is storing features in"):
                features(model, x, to=to)
            assert features(model, x, to=tmp_path / "other.parquet").examples == 100
            seen.append(2)
        return values

    features(model, x, to=to, preprocess=meanwhile)
    assert seen == [1, 2]
    seen.clear()  # which is read by the function, and so a part of what it is
    assert features(model, x, to=to, preprocess=meanwhile).examples == 100


def test_a_dataset_that_changes_is_refused(model, tmp_path):
    import tensorflow as tf

    x = numbers()
    shuffled = tf.data.Dataset.from_tensor_slices(x).shuffle(100)
    begun(model, shuffled, tmp_path / "a.parquet")
    with pytest.raises(CutwidgetsError, match="A data set that shuffles"):
        features(model, shuffled, to=tmp_path / "a.parquet", batch=2)

    size = [100]
    changing = tf.data.Dataset.from_generator(
        lambda: iter(x[: size[0]]), output_signature=tf.TensorSpec((8, 8, 3))
    )
    begun(model, changing, tmp_path / "b.parquet")
    size[0] = 20
    with pytest.raises(
        CutwidgetsError, match="cannot be resumed: the examples 22 to 24 of the data have changed"
    ):
        features(model, changing, to=tmp_path / "b.parquet", batch=2)
    size[0] = 50
    assert features(model, changing, to=tmp_path / "b.parquet", batch=2).examples == 50


def test_a_dataset_that_fails_keeps_what_was_done(model, tmp_path):
    import tensorflow as tf

    x = numbers()
    fails = [True]

    def generate():
        yield from x[:50]
        if fails[0]:
            raise RuntimeError("broken at 50")
        yield from x[50:]

    data = tf.data.Dataset.from_generator(generate, output_signature=tf.TensorSpec((8, 8, 3)))
    with pytest.raises(CutwidgetsError, match=r"(?s)between the examples 50 and 52.*broken at 50"):
        features(model, data, to=tmp_path / "a.parquet", batch=2)
    assert len(list((tmp_path / "a.parquet").glob("part-*"))) == 6
    fails[0] = False
    _, values = features(model, data, to=tmp_path / "a.parquet", batch=2).read()
    _, wanted = features(model, x, to=tmp_path / "b.parquet", batch=2).read()
    np.testing.assert_array_equal(values, wanted)


def test_damaged_parts_are_told_and_computed_again(model, tmp_path):
    x, to = numbers(), tmp_path / "out.parquet"
    begun(model, x, to)
    part = to / "part-000001.parquet"
    whole, table = part.read_bytes(), pq.read_table(part)
    for damage in (
        lambda: part.write_bytes(whole[:200]),
        lambda: pq.write_table(pa.table({"id": [1]}), part),
        lambda: pq.write_table(table.drop_columns(["features"]), part),
    ):
        damage()
        with pytest.raises(CutwidgetsError, match=r"part-000001.parquet' is damaged"):
            features(model, x, to=to, batch=2)
    part.unlink()
    features(model, x, to=to, batch=2)
    assert part.read_bytes() == whole


def test_a_lost_array_is_told(model, tmp_path):
    begun(model, numbers(), tmp_path / "out.npy")
    assert not (tmp_path / "out.npy").exists()
    next(tmp_path.glob("*/*.npy")).unlink()
    with pytest.raises(
        CutwidgetsError, match=r"is missing, damaged.* delete the folder '.*ids.parquet'"
    ):
        features(model, numbers(), to=tmp_path / "out.npy", batch=2)
    features(model, numbers(), to=tmp_path / "whole.npy", batch=2)
    np.save(tmp_path / "whole.npy", np.ones((200, 5), "float32"))  # now the user's own
    with pytest.raises(CutwidgetsError, match=r"whole.npy' is missing, damaged or another one"):
        features(model, numbers(), to=tmp_path / "whole.npy", batch=2)


@pytest.mark.parametrize("library", ["pandas", "pyarrow", "filelock", "tqdm"])
def test_without_a_library_it_says_how_to_get_it(model, tmp_path, monkeypatch, library):
    for name in [name for name in sys.modules if name.startswith("cutwidgets.extraction.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(CutwidgetsError, match=r'pip install "cutwidgets\[features\]"'):
        features(model, numbers(), to=tmp_path / "a.parquet")


def test_without_ray_it_says_how_to_get_it(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "cutwidgets.extraction.ray_engine", raising=False)
    with pytest.raises(CutwidgetsError, match=r'pip install "cutwidgets\[ray\]"'):
        features(model, numbers(), to=tmp_path / "a.parquet", engine="ray")


def test_bad_input_gets_a_clear_error(model, tmp_path):
    import tensorflow as tf

    x, out = numbers(4), tmp_path / "out.parquet"
    (tmp_path / "empty").mkdir()
    (tmp_path / "there.npy").write_bytes(b"mine")
    (tmp_path / "there.parquet").mkdir()
    (tmp_path / "there.parquet" / "mine.parquet").write_bytes(b"mine")
    endless = tf.data.Dataset.from_tensor_slices(x).repeat()
    unknown = tf.data.Dataset.from_generator(lambda: iter(x), output_signature=tf.TensorSpec(None))
    cases = [
        ({"to": "out.csv"}, "Received: to='out.csv'"),
        ({"to": tmp_path / "there.npy"}, "exists, and holds no features of an earlier run"),
        ({"to": tmp_path / "there.parquet"}, "exists, and holds no features of an earlier run"),
        ({"data": tmp_path / "empty"}, "There are no images in the folder"),
        ({"data": tmp_path / "nowhere"}, "There is no folder"),
        ({"data": x[:, :4]}, r"\(None, 8, 8, 3\).*Received an array of shape \(32, 4, 8, 3\)"),
        ({"data": x[:0]}, "Arrays need one row per example"),
        ({"data": iter(x)}, "Data must be a folder of images, an array"),
        ({"data": {"picture": x}}, "has no 'photo', which the model 'small' takes"),
        ({"data": endless}, "has no end"),
        ({"data": endless.take(4).batch(2).batch(2)}, "give one of examples of that shape"),
        ({"data": unknown}, "The shapes of the data set are not known"),
        ({"engine": "spark"}, "engine must be 'local' or 'ray'"),
        ({"batch": 0}, "batch must be an integer from 1"),
        ({"preprocess": 255}, "preprocess must be a function"),
    ]
    for changed, message in cases:
        with pytest.raises(CutwidgetsError, match=message):
            features(**{"model": model, "data": x, "to": out} | changed)
    assert not out.exists()
    assert (tmp_path / "there.npy").read_bytes() == b"mine"


def test_a_fixed_batch_and_an_output_without_one(tmp_path):
    fixed = keras.Sequential([keras.Input(batch_shape=(3, 2)), layers.Dense(2)])
    with pytest.raises(CutwidgetsError, match="takes exactly 3 examples at once"):
        features(fixed, np.ones((7, 2)), to=tmp_path / "a.parquet")
    assert features(fixed, np.ones((7, 2)), to=tmp_path / "a.parquet", batch=3).examples == 7
    inputs = keras.Input((2,))
    summed = keras.Model(inputs, keras.ops.sum(inputs, axis=0))
    with pytest.raises(CutwidgetsError, match="it needs one row per example"):
        features(summed, np.ones((7, 2)), to=tmp_path / "b.parquet")


def test_arrays_on_disk_are_sent_as_places(tmp_path):
    import pickle

    np.save(tmp_path / "x.npy", numbers(1000))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for array in (mapped, mapped[10:500]):
        sent = pickle.dumps(Arrays({"photo": array}))
        assert len(sent) < 2000
        again = pickle.loads(sent).batch(None, 3, 5).inputs[0]
        np.testing.assert_array_equal(again, array[3:5])
    every_other = pickle.loads(pickle.dumps(Arrays({"photo": mapped[::2]})))
    np.testing.assert_array_equal(every_other.batch(None, 3, 5).inputs[0], mapped[6:10:2])


LIMITED = """
import resource, sys
import keras
import numpy as np
from cutwidgets import features

path, to = sys.argv[1:]
data = np.load(path, mmap_mode="r")
pooling = keras.Sequential([keras.Input((128, 128, 3)), keras.layers.AveragePooling2D(2)])
features(pooling, data[:64], to=to + "/first.npy")  # what TensorFlow and Arrow need themselves
status = open("/proc/self/status").read().splitlines()
used = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))
limit = used + 200 * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
try:
    np.array(data)
except MemoryError:
    print("the data do not fit")
print(features(pooling, data, to=to + "/all.npy"))
"""


@pytest.mark.slow  # new processes import TensorFlow anew
@pytest.mark.skipif(sys.platform != "linux", reason="Linux limits the data of a process")
def test_data_and_features_larger_than_memory(tmp_path):
    """196,608 bytes an example, and of its features a quarter: 1.2 GB and 0.3 GB, in 0.2 GB."""
    size = 6_000
    shape = (size, 128, 128, 3)
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "float32", shape)  # zeros, not on disk
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path / "x.npy", tmp_path],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "the data do not fit" in done.stdout
    assert "Features of 6,000 examples" in done.stdout
    assert (tmp_path / "all.npy").stat().st_size > 200 * 2**20
    (tmp_path / "all.npy").unlink()
