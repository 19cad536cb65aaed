"""The command line: what it prints, writes and refuses."""

import json
import sys

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

import cutwidgets as cw
from cutwidgets import lab
from cutwidgets.command_line import main


@pytest.fixture(scope="module")
def model():
    return lab.residual_network(blocks=(2, 2), width=4)


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.keras"
    model.save(path)
    return path


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command: its exit code, and what it wrote to both streams."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["cutwidgets", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, *capsys.readouterr()

    return run


def test_show_is_the_anatomy(run, model, file):
    code, out, _ = run("show", file, "--json")
    blocks = json.loads(out)["blocks"]
    anatomy, costs = cw.anatomy(model), cw.costs(model)
    assert code == 0
    assert [row["block"] for row in blocks] == [block.name for block in anatomy]
    assert [row["shortcut"] for row in blocks] == [block.shortcut for block in anatomy]
    assert [row["macs"] for row in blocks] == [cost.macs for cost in costs]
    assert blocks[1]["output"] == [[None, 8, 8, 4]]
    code, out, _ = run("show", file)
    assert code == 0
    assert all(text in out for text in ("stage1_block1", "identity", "projection", "8×8×4"))


def test_cut_writes_the_slice(run, model, file, tmp_path):
    to = tmp_path / "part.keras"
    assert run("cut", file, "stage1_block1", "stage2_block1", "-o", to)[0] == 0
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 4)).astype("float32")
    wanted = cw.cut(model, "stage1_block1", "stage2_block1").predict(x, verbose=0)
    np.testing.assert_array_equal(keras.models.load_model(to).predict(x, verbose=0), wanted)
    assert list(tmp_path.iterdir()) == [to]
    assert run("cut", file, "-", "stem", "-o", tmp_path / "head.keras")[0] == 0
    assert keras.models.load_model(tmp_path / "head.keras").input_shape == (None, 8, 8, 1)


def test_a_file_is_not_replaced_by_accident(run, file, tmp_path):
    to = tmp_path / "part.keras"
    to.write_text("mine")
    code, _, errors = run("cut", file, "stage1", "stage2", "-o", to)
    assert (code, to.read_text()) == (2, "mine")
    assert "--force" in errors
    assert run("cut", file, "stage1", "stage2", "-o", to, "--force")[0] == 0
    assert keras.models.load_model(to)


def test_check_proves(run, file):
    code, out, _ = run("check", file, "stage1", "stage2_block1")
    assert (code, "bit for bit" in out) == (0, True)
    proof = json.loads(run("check", file, "stage1", "stage2_block1", "--json")[1])
    assert proof["ok"]
    assert proof["max_abs_difference"] == 0


def test_a_proof_that_fails_has_a_code_of_its_own(run, file, monkeypatch):
    wrong = cw.Proof(1.0, 1.0, 1.0, (), (), None)
    monkeypatch.setattr("cutwidgets.command_line.prove", lambda *_: wrong)
    assert run("check", file, "stage1", "stage2")[0] == 1


def test_features_are_those_of_the_model(run, model, file, tmp_path):
    x = lab.digits().test[0][:10]
    np.save(tmp_path / "x.npy", x)
    to = tmp_path / "out.parquet"
    code, out, _ = run("features", file, tmp_path / "x.npy", "--to", to, "--json")
    assert code == 0
    assert json.loads(out) == {
        "path": str(to), "examples": 10, "broken": [], "shapes": {"features": [10]},
    }  # fmt: skip
    stored = np.stack(pd.read_parquet(to)["features"])
    np.testing.assert_allclose(stored, model.predict(x, verbose=0), rtol=1e-5)


def test_files_of_strangers_run_nothing(run, tmp_path):
    ran = tmp_path / "ran"
    inputs = keras.Input((2,))
    code = f"lambda x: (open({str(ran)!r}, 'w').close(), x)[1]"
    keras.Model(inputs, layers.Lambda(eval(code), output_shape=(2,))(inputs)).save(
        tmp_path / "a.keras"
    )
    ran.unlink(missing_ok=True)
    status, _, errors = run("show", tmp_path / "a.keras")
    assert (status, ran.exists()) == (2, False)
    assert "--unsafe" in errors
    assert run("show", tmp_path / "a.keras", "--unsafe")[0] == 0


def test_modules_beside_a_file_are_not_imported(run, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beside.py").write_text("raise SystemExit('it ran')\n")
    model.save("a.keras")
    assert run("show", "a.keras")[0] == 0
    assert str(tmp_path) not in sys.path
    assert "beside" not in sys.modules


def test_layers_of_ones_own_are_imported(run, tmp_path, monkeypatch):
    source = "import keras\n@keras.saving.register_keras_serializable('own')\n"
    (tmp_path / "own_layers.py").write_text(f"{source}class Own(keras.layers.ReLU):\n    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import own_layers

    keras.Sequential([keras.Input((2,)), own_layers.Own()]).save("own.keras")
    keras.saving.get_custom_objects().pop("own>Own")
    sys.modules.pop("own_layers")
    code, _, errors = run("show", "own.keras")
    assert (code, "--import" in errors) == (2, True)
    assert run("show", "own.keras", "--import", "own_layers")[0] == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show", "nothing.keras"), "no file"),
        (("show", __file__), "read from a .keras file"),
        (("check", "MODEL", "stage9", "stage2"), "stage9"),
        (("cut", "MODEL", "stage1_block1_2_conv", "stage2", "-o", "x.keras"), "nearest"),
        (("cut", "MODEL", "stage1", "stage2", "-o", "x.h5"), ".keras"),
        (("features", "MODEL", "nothing.npy", "--to", "x.parquet"), "nothing.npy"),
    ],
)
def test_bad_input_is_told_without_a_traceback(run, file, words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, errors = run(*(file if word == "MODEL" else word for word in words))
    assert (code, out) == (2, "")
    assert told in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())
