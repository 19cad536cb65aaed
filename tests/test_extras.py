import os
import pickle
import subprocess
import sys

import pytest

from cutwidgets.errors import CutwidgetsError
from cutwidgets.extras import needs

# Keras itself brings rich and h5py.
EXTRAS = (
    "filelock", "matplotlib", "pandas", "platformdirs", "pyarrow", "ray", "scipy", "skimage",
    "sklearn", "tqdm", "typer",
)  # fmt: skip


def without(libraries, program):
    """Run a program in a new process where some libraries cannot be imported."""
    block = f"import sys\nsys.modules |= dict.fromkeys({list(libraries)})\n"
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, "-c", block + program],
        capture_output=True,
        text=True,
        timeout=280,
        env=environment,
    )


def missing():
    with pytest.raises(CutwidgetsError) as error, needs("lab", "A plot"):
        import no_such_library.deep  # noqa: F401
    return error.value


def test_a_missing_library_is_reported_in_one_line():
    error = missing()
    assert isinstance(error, ImportError)
    assert str(error) == (
        'A plot needs no_such_library, which is not installed. Run: pip install "cutwidgets[lab]"'
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_libraries_that_are_there_are_imported_as_ever():
    with needs("lab", "A plot"):
        import json
    assert json.dumps(1) == "1"


CORE = """
import cutwidgets as cw
import keras
from keras import layers

x = keras.Input((32, 32, 3))
y = layers.Conv2D(4, 3, padding="same", name="stem")(x)
z = layers.Add(name="sum")([y, layers.Conv2D(4, 3, padding="same", name="branch")(y)])
z = layers.GlobalAveragePooling2D(name="pool")(z)
model = keras.Model(x, layers.Dense(3, activation="softmax", name="classify")(z))

anatomy = cw.anatomy(model)
first, block, last = (block.name for block in anatomy)
assert "<svg" in anatomy.svg
assert cw.cut(model, block).input_shape == (None, 32, 32, 4)
assert len(cw.split(model, first)) == 2
assert cw.check(model, block, block).ok
for result in (anatomy, cw.costs(model), cw.check(model, block, block)):
    assert repr(result)
    assert getattr(result, "_repr_html_", lambda: "<")()

panel = cw.CutPanel(model)
panel.selection = (block, last)
panel.run()
assert panel.error == "", panel.error
assert panel._run["photo"][1:4] == b"PNG"
assert panel._maps["input"]["picture"][1:4] == b"PNG"
"""


def test_the_core_runs_without_the_extras():
    ended = without(EXTRAS, CORE)
    assert ended.returncode == 0, ended.stderr


def test_the_command_line_says_what_to_install():
    ended = without(["typer"], "from cutwidgets.__main__ import main\nmain()")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == (
        "cutwidgets: The command line needs typer, which is not installed. "
        'Run: pip install "cutwidgets[cli]"\n'
    )


BACKEND = """
import cutwidgets as cw
for _ in range(2):
    try:
        cw.anatomy
    except cw.CutwidgetsError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("backends", "advice"),
    [
        (("tensorflow", "torch"), "Set KERAS_BACKEND=jax before you start Python, or install it:"),
        (("tensorflow", "torch", "jax"), "No other backend is installed either. Install it:"),
    ],
)
def test_a_missing_backend_is_reported_in_one_line(backends, advice, monkeypatch, tmp_path):
    (tmp_path / "jax.py").touch()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*sys.path[:2], str(tmp_path)]))
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    ended = without(backends, BACKEND)
    expected = (
        "Keras is configured for the backend 'tensorflow', which is not installed. "
        f'{advice} pip install "cutwidgets[tensorflow]"\n'
    )
    assert ended.stdout == 2 * expected, ended.stderr


def test_a_command_reports_a_missing_backend(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    program = (
        "from cutwidgets import __main__\n"
        f"sys.argv = ['cutwidgets', 'show', {str(tmp_path / 'model.keras')!r}]\n"
        "__main__.main()"
    )
    import keras

    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "model.keras")
    ended = without(["tensorflow"], program)
    assert ended.returncode == 2
    assert ended.stderr.startswith("cutwidgets: Keras is configured for the backend 'tensorflow'")
    assert ended.stderr.count("\n") == 1
