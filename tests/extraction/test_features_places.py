"""Whatever is wrong with a file of a folder, or is where features are to be stored."""

import json
import os
import socket

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from PIL import Image
from test_features import begun, contents, numbers, small

from cutwidgets import CutwidgetsError
from cutwidgets.extraction import extractor
from cutwidgets.extraction.extractor import Extractor
from cutwidgets.extraction.features import features
from cutwidgets.extraction.folders import Folder
from cutwidgets.graph.reader import read


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((16, 16, 3), name="photo")
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(inputs))


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "images"
    made.mkdir()
    for i in range(3):
        Image.fromarray(np.full((20, 20, 3), 40 * i, "uint8")).save(made / f"ok{i}.png")
    return made


def socketed(file):
    here = os.getcwd()
    os.chdir(file.parent)  # a path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(file.name)
    finally:
        os.chdir(here)


def bomb(file):
    Image.new("L", (20_000, 10_000)).save(file)


def truncated(file):
    whole = (file.parent / "ok0.png").read_bytes()
    file.write_bytes(whole[:41])


BAD = {
    "x.png": [
        (lambda file: file.symlink_to("x.png"), "Too many levels"),
        (lambda file: file.symlink_to("nowhere.png"), "No such file"),
        (lambda file: file.symlink_to("/dev/zero"), "a device"),
        (socketed, "a socket"),
        (os.mkfifo, "a pipe"),
        (lambda file: file.mkdir(), "a folder"),
        (lambda file: file.write_bytes(b""), "cannot identify"),
        (lambda file: file.write_bytes(b"no image"), "cannot identify"),
        (truncated, ""),
        (bomb, "DecompressionBomb"),
    ],
    b"caf\xe9.png": [(lambda file: truncated(file), "its name is not UTF-8")],
}


@pytest.mark.parametrize(
    ("name", "make", "reason"), [(name, *case) for name, cases in BAD.items() for case in cases]
)
def test_one_bad_file_never_stops_a_folder(name, make, reason, model, folder, tmp_path):
    make(folder / os.fsdecode(name))
    found = features(model, folder, to=tmp_path / "a.parquet", preprocess=lambda v: v)
    written = "caf\\xe9.png" if isinstance(name, bytes) else name
    assert list(found.broken["id"]) == [written]
    assert reason in found.broken["reason"][0]
    ids, values = found.read()
    assert list(ids) == ["ok0.png", "ok1.png", "ok2.png"]
    np.testing.assert_array_equal(values, np.full((3, 3), [[0], [40], [80]]))
    rows = features(model, folder, to=tmp_path / "a.npy", preprocess=lambda v: v).read()[1]
    assert np.isnan(rows).any(axis=1).sum() == 1
    str(found.broken).encode()


def test_folders_that_are_links_are_looked_into_once(model, folder, tmp_path):
    inner, elsewhere = folder / "inner", tmp_path / "elsewhere"
    inner.mkdir()
    elsewhere.mkdir()
    (folder / "ok0.png").rename(inner / "ok0.png")
    (folder / "ok1.png").rename(elsewhere / "ok1.png")
    (elsewhere / "back").symlink_to(folder)
    (folder / "a_link").symlink_to(inner)
    (folder / "circle").symlink_to(folder)
    (folder / "out").symlink_to(elsewhere)
    (folder / "to itself").symlink_to("to itself")
    names = Folder(folder, read(model)).names
    assert names == ["inner/ok0.png", "ok2.png", "out/ok1.png"]


def refusing(monkeypatch, function, error, *names):
    """The system refuses files or folders of these names, as it does to those who are not root."""
    real = getattr(os, function)

    def refuse(path, *more, **named):
        if os.path.basename(os.fspath(path)) in names:
            error.filename = path
            raise error
        return real(path, *more, **named)

    monkeypatch.setattr(os, function, refuse)


def test_what_may_not_be_read_is_broken(model, folder, tmp_path, monkeypatch):
    (folder / "locked").mkdir()
    refusing(monkeypatch, "scandir", PermissionError(13, "Permission denied"), "locked")
    found = features(model, folder, to=tmp_path / "a.parquet")
    assert found.broken.values.tolist() == [["locked/", "PermissionError: Permission denied"]]
    assert found.examples == 4
    refusing(monkeypatch, "scandir", PermissionError(13, "Permission denied"), "images")
    with pytest.raises(CutwidgetsError, match="Cannot read the folder"):
        features(model, folder, to=tmp_path / "b.parquet")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permissions_of_files_and_folders(model, folder, tmp_path):
    (folder / "locked").mkdir()
    (folder / "locked").chmod(0)
    (folder / "ok1.png").chmod(0)
    found = features(model, folder, to=tmp_path / "a.parquet")
    assert list(found.broken["id"]) == ["locked/", "ok1.png"]


def test_files_that_vanish_are_broken_and_a_folder_that_vanishes_stops(model, folder, tmp_path):
    def vanish(values):
        (folder / "ok2.png").unlink(missing_ok=True)
        return values

    found = features(model, folder, to=tmp_path / "a.parquet", batch=1, preprocess=vanish)
    assert list(found.broken["id"]) == ["ok2.png"]

    def all_vanish(values):
        if folder.exists():
            folder.rename(tmp_path / "gone")
        return values

    examples = Folder(folder, read(model))
    maker = Extractor(read(model), examples, all_vanish, 1)
    maker.preprocessing.function(None)
    with pytest.raises(CutwidgetsError, match="Earlier examples are stored"):
        maker.chunk(0, 4)


def test_a_folder_of_nothing_but_broken_images_can_be_read(model, folder, tmp_path):
    for file in folder.iterdir():
        file.write_bytes(b"")
    ids, values = features(model, folder, to=tmp_path / "a.parquet").read()
    assert (ids.shape, values.shape, values.dtype) == ((0,), (0, 3), "float32")
    ids, values = features(model, folder, to=tmp_path / "a.npy").read()
    assert (ids.shape, values.shape) == ((3,), (3, 3))


# Where features are stored


@pytest.fixture(scope="module")
def network():
    return small()


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(extractor, "_BATCHES", 4)


def test_what_is_the_users_own_is_never_ours(network, tmp_path):
    mine = tmp_path / "sales.parquet"
    pd.DataFrame({"a": [1, 2]}).to_parquet(mine)
    own = tmp_path / "own.parquet"
    own.mkdir()
    (own / "_features.json").write_text(json.dumps({"examples": 3, "outputs": {}}))
    other = tmp_path / "other.parquet"
    other.mkdir()
    (other / "part-000001.parquet").write_bytes(mine.read_bytes())
    listed = tmp_path / "listed.ids.parquet"
    listed.mkdir()
    (listed / "_features.json").write_text("[1")
    array = tmp_path / "array.npy"
    np.save(array, np.ones(3))
    (tmp_path / "loop.npy").symlink_to("loop.npy")
    taken = [mine, mine / "x.parquet", own, other, tmp_path / "listed.npy", array]
    before = contents(tmp_path / "any")
    for to in [*taken, tmp_path / "loop.npy"]:
        with pytest.raises(CutwidgetsError) as caught:
            features(network, numbers(4), to=to)
        assert "delete" not in str(caught.value)
    assert contents(tmp_path / "any") == before


@pytest.mark.parametrize(
    "to", [None, 3, 2.5, b"a.parquet", "", "a", "a.csv", ".", "/", "a\0.parquet", ["a.npy"]]
)
def test_a_wrong_place_is_one_of_our_errors(network, to):
    with pytest.raises(CutwidgetsError, match="Received: to="):
        features(network, numbers(4), to=to)


def test_each_form_knows_its_own(network, tmp_path):
    x = numbers(4)
    features(network, x, to=tmp_path / "a.npy")
    features(network, x, to=tmp_path / "b.ids.parquet")
    begun(network, numbers(), tmp_path / "c.npy")
    for to in ("a.ids.parquet", "b.npy", "c.ids.parquet"):
        with pytest.raises(
            CutwidgetsError, match="belongs to features that are stored as"
        ) as caught:
            features(network, x, to=tmp_path / to)
        assert "delete" not in str(caught.value)
    assert not (tmp_path / "b.npy").exists()


def test_deletion_is_not_advised_where_something_of_the_user_would_go(network, tmp_path):
    features(network, numbers(4), to=tmp_path / "a.parquet")
    with pytest.raises(CutwidgetsError, match="delete the folder"):
        features(network, numbers(5), to=tmp_path / "a.parquet")
    table = pd.DataFrame({"id": [7], "features": [[0.0] * 5]})
    table.to_parquet(tmp_path / "a.parquet" / "part-mine.parquet")
    with pytest.raises(CutwidgetsError, match="another run") as caught:
        features(network, numbers(5), to=tmp_path / "a.parquet")
    assert "delete" not in str(caught.value)
    assert len(features(network, numbers(4), to=tmp_path / "a.parquet").read()[0]) == 4


def test_a_file_that_came_meanwhile_is_left_alone(network, tmp_path):
    begun(network, numbers(), tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.ones(3))
    with pytest.raises(CutwidgetsError, match="exists, and holds no features"):
        features(network, numbers(), to=tmp_path / "a.npy", batch=2)
    (tmp_path / "a.npy").unlink()

    def meanwhile(values):
        np.save(tmp_path / "b.npy", np.ones(3))
        return values

    with pytest.raises(CutwidgetsError, match="Another file is now at"):
        features(network, numbers(), to=tmp_path / "b.npy", preprocess=meanwhile)
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), np.ones(3))
    (tmp_path / "b.npy").unlink()
    found = features(network, numbers(), to=tmp_path / "b.npy", preprocess=meanwhile)
    assert found.read()[1].shape == (100, 5)


@pytest.mark.parametrize("end", ["parquet", "npy"])
def test_empty_data_sets_are_refused(network, tmp_path, end):
    import tensorflow as tf

    none = tf.data.Dataset.from_tensor_slices(numbers(0))
    filtered = tf.data.Dataset.from_tensor_slices(numbers(5)).filter(lambda x: False)
    for data in (none, none.batch(2), filtered, filtered.batch(2)):
        with pytest.raises(CutwidgetsError, match="is empty"):
            features(network, data, to=tmp_path / f"a.{end}")
    assert not list(tmp_path.iterdir())


def test_messages_say_how_many_are_stored(model, folder, tmp_path, monkeypatch):
    import errno

    for i in range(20):
        (folder / f"broken{i:02d}.png").write_bytes(b"")
    fsync, calls = os.fsync, []

    def full(file):
        calls.append(file)
        if len(calls) == 5:  # the manifest, and three parts
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(file)

    monkeypatch.setattr(os, "fsync", full)
    to = tmp_path / "a.parquet"
    with pytest.raises(CutwidgetsError, match=r"No space.* 0 examples are stored, and kept"):
        features(model, folder, to=to, batch=1)
    assert len(pd.read_parquet(to)) == 0
    monkeypatch.setattr(os, "fsync", fsync)
    found = features(model, folder, to=to, batch=1)
    assert (found.examples, len(found.broken), len(pd.read_parquet(to))) == (23, 20, 3)
