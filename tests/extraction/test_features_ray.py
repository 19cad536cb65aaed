"""Features on a local Ray, against the local engine. Ray is an extra."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from test_features import HERE, begun, contents, numbers, pictures, small

import cutwidgets as cw
from cutwidgets import CutwidgetsError
from cutwidgets.extraction import extractor as extracting
from cutwidgets.extraction.features import features

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"  # or each worker would build an environment
ray = pytest.importorskip("ray")


@pytest.fixture(scope="module", autouse=True)
def local_ray():
    # Workers take the functions of this module by name.
    variables = {"PYTHONPATH": str(HERE), "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        ray.init(
            num_cpus=2,
            object_store_memory=100 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"env_vars": variables},
        )
    except Exception as error:  # it gives itself half a minute, whatever else the machine does
        pytest.skip(f"Ray does not start here: {error}")
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(extracting, "_BATCHES", 4)


class Doubled(keras.layers.Layer):
    """A layer that Keras does not know."""

    def call(self, x):
        return 2 * x


class Unsayable(keras.layers.Layer):
    """A layer that does not say how to build it."""

    def __init__(self, factor, **more):
        super().__init__(**more)
        self.factor = factor

    def call(self, x):
        return self.factor * x

    def get_config(self):
        return super().get_config()


def very_slowly(values):
    time.sleep(0.2)
    return values / 255


def workers():
    """Processes of the actors that hold a model, of this Ray."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::") and b"_Worker" in title:
            found.append(int(folder.name))
    return found


@pytest.mark.parametrize("name", ["out.parquet", "out.npy"])
def test_ray_gives_the_same_bits(name, tmp_path):
    model = small()
    folder = pictures(tmp_path / "images", 60, broken=(2, 59))
    for data, which in ((folder, "folder"), (numbers(), "array")):
        local, far = (tmp_path / f"{which}-{engine}" / name for engine in ("local", "ray"))
        found = features(model, data, to=local, batch=2)
        again = features(model, data, to=far, batch=2, engine="ray")
        assert contents(local) == contents(far)
        assert again.examples == found.examples
        assert list(again.broken["id"]) == list(found.broken["id"])


def test_a_deep_network_gives_the_same_bits(tmp_path):
    """Its sums depend on the number of threads, which Ray would set to one."""
    resnet = keras.applications.ResNet50(weights=None)
    head = cw.cut(resnet, end="conv4")
    x = np.random.default_rng(0).normal(size=(24, 224, 224, 3)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    features(head, x, to=tmp_path / "local" / "out.npy", batch=4)
    features(head, mapped, to=tmp_path / "ray" / "out.npy", batch=4, engine="ray", workers=1)
    assert contents(tmp_path / "local" / "out.npy") == contents(tmp_path / "ray" / "out.npy")


def test_a_killed_worker_costs_no_rows(tmp_path):
    model, x = small(), numbers()
    far = tmp_path / "ray" / "out.parquet"
    features(model, x, to=tmp_path / "local" / "out.parquet", batch=2, preprocess=very_slowly)
    killed = []

    def kill():
        while not (len(list(far.glob("part-*"))) >= 2 and workers()):
            time.sleep(0.01)
        killed.append(workers()[0])
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    arguments = {"batch": 2, "preprocess": very_slowly, "engine": "ray", "workers": 2}
    assert features(model, x, to=far, **arguments).examples == 100
    assert killed
    assert contents(far) == contents(tmp_path / "local" / "out.parquet")


def test_each_engine_goes_on_with_what_the_other_began(tmp_path):
    model, x = small(), numbers()
    features(model, x, to=tmp_path / "whole" / "out.npy", batch=2)
    begun(model, x, tmp_path / "local" / "out.npy")
    features(model, x, to=tmp_path / "local" / "out.npy", batch=2, engine="ray")
    assert contents(tmp_path / "local" / "out.npy") == contents(tmp_path / "whole" / "out.npy")


def test_layers_of_ones_own(tmp_path):
    inputs = keras.Input((8, 8, 3))
    own = keras.Model(inputs, layers.Lambda(lambda x: x + 1)(Doubled()(inputs)))
    _, values = features(own, numbers(9), to=tmp_path / "a.parquet", engine="ray").read()
    np.testing.assert_array_equal(values, 2 * numbers(9) + 1)
    unsayable = keras.Model(inputs, Unsayable(3)(inputs))
    with pytest.raises(CutwidgetsError, match=r"(?s)cannot be rebuilt.*get_config\(\) method"):
        features(unsayable, numbers(9), to=tmp_path / "b.parquet", engine="ray")


def test_errors_of_a_worker_are_ours_and_keep_what_was_done(tmp_path):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(numbers())
    with pytest.raises(CutwidgetsError, match="cannot share out a tf.data.Dataset"):
        features(small(), data, to=tmp_path / "a.parquet", engine="ray")

    def fails(values):
        if values.min() < -100:
            raise RuntimeError("that is not cold, that is wrong")
        return values

    x = numbers()
    x[90] = -1000
    with pytest.raises(CutwidgetsError, match="not cold, that is wrong"):
        features(
            small(),
            x,
            to=tmp_path / "b.parquet",
            batch=2,
            engine="ray",
            workers=1,
            preprocess=fails,
        )
    assert list((tmp_path / "b.parquet").glob("part-*"))


STARTED = """
import test_features as t
from cutwidgets import features
from cutwidgets.extraction import extractor

extractor._BATCHES = 4
features(t.small(), t.numbers(), to={to!r}, batch=2, engine="ray", workers=1)
import ray
assert not ray.is_initialized()
"""


def test_a_ray_of_its_own(tmp_path):
    far, local = tmp_path / "ray" / "out.parquet", tmp_path / "local" / "out.parquet"
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    quiet.pop("RAY_ADDRESS", None)
    command = [sys.executable, "-c", STARTED.format(to=str(far))]
    # On a busy machine Ray may not start within the half minute that it gives itself.
    assert any(subprocess.run(command, cwd=HERE, env=quiet).returncode == 0 for _ in range(3))
    features(small(), numbers(), to=local, batch=2)
    assert contents(far) == contents(local)
