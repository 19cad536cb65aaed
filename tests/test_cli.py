"""The command line: what it prints, writes and refuses."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from typer.testing import CliRunner

import cutwidgets as cw
from cutwidgets import cli, lab


@pytest.fixture(scope="module")
def model():
    return lab.residual_network(blocks=(2, 2), width=4)


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.keras"
    model.save(path)
    return path


@pytest.fixture
def run():
    """Run a command: its exit code, and what it wrote to both streams."""

    def run(*words):
        result = CliRunner().invoke(cli.app, [str(word) for word in words])
        return result.exit_code, result.stdout, result.stderr

    return run


def strict(text):
    """What JSON says, without the infinities that Python alone reads."""
    return json.loads(text, parse_constant=pytest.fail)


def test_show_is_the_anatomy(run, model, file):
    code, out, _ = run("show", file, "--json")
    blocks = strict(out)["blocks"]
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


@pytest.mark.parametrize(
    ("words", "ends"),
    [
        (("stage2", "stage1"), ["stage2", "stage1"]),
        (("z=stage1", "a=stage2_block1"), {"z": "stage1", "a": "stage2_block1"}),
        (("stage1", "last=stage2"), {"stage1": "stage1", "last": "stage2"}),
        (("only=stage1",), {"only": "stage1"}),
    ],
)
def test_several_ends(run, model, file, tmp_path, words, ends):
    to = tmp_path / "part.keras"
    assert run("cut", file, "stage1", *words, "-o", to)[0] == 0
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 4)).astype("float32")
    wanted = cw.cut(model, "stage1", ends).predict(x, verbose=0)
    made = keras.models.load_model(to).predict(x, verbose=0)
    assert set(made) == set(wanted)
    for key, value in wanted.items():
        np.testing.assert_array_equal(made[key], value)
    code, out, _ = run("check", file, "stage1", *words, "--json")
    assert code == 0
    assert strict(out)["ok"]
    assert set(wanted) <= {name for name, _ in strict(out)["differences"]}


def test_a_layer_may_have_an_equals_sign_in_its_name(run, tmp_path):
    x = keras.Input((2,))
    y = layers.Dense(2, name="C3=a")(x)
    z = layers.Dense(3, name="a")(y)
    keras.Model(x, layers.Dense(4, name="b")(z)).save(tmp_path / "model.keras")
    to = tmp_path / "part.keras"
    for words, widths in (("C3=a",), 2), (("C4=a", "b"), {"C4": 3, "b": 4}):
        assert run("cut", tmp_path / "model.keras", "-", *words, "-o", to, "--force")[0] == 0
        output = keras.models.load_model(to).output
        assert keras.tree.map_structure(lambda tensor: tensor.shape[-1], output) == widths


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("stage1", "-"), "the model's own output"),
        (("-", "stage1"), "the model's own output"),
        (("stage1", "stage1"), "named 'stage1'"),
        (("a=stage1", "a=stage2"), "named 'a'"),
        (("=stage1", "stage2"), "Received: ''"),
        (("a=nowhere",), "no block, stage or layer 'nowhere'"),
        (("stage1", "stem"), "comes after the end 'stem'"),
    ],
)
def test_ends_that_make_no_slice(run, file, tmp_path, words, told):
    for command in (("cut", "-o", tmp_path / "part.keras"), ("check",)):
        code, _, err = run(command[0], file, "stage1", *words, *command[1:])
        assert code == 2
        assert told in re.sub(r"\s+", " ", err)
    assert not list(tmp_path.iterdir())


def without_counts(page):
    """The text of a saved page, without the numbers that a panel gives to its answers."""
    return re.sub(r'"count": \d+', "", page.read_text("utf-8"))


@pytest.mark.parametrize(
    ("options", "places", "selection"),
    [
        ((), (), []),
        (
            ("--start", "stage1", "--end", "stage2_block1"),
            ("stage1", "stage2_block1"),
            ["stage1_block1", "stage2_block1"],
        ),
        (("--start", "stage2"), ("stage2", None), ["stage2_block1", "classifier"]),
        (("--start", "-", "--end", "stem"), (None, "stem"), ["stem", "stem"]),
        (
            ("--start", "stage1", "--end", "z=stage1", "--end", "stage2_block1"),
            ("stage1", {"z": "stage1", "stage2_block1": "stage2_block1"}),
            ["stage1_block1", {"z": "stage1_block2", "stage2_block1": "stage2_block1"}],
        ),
        (
            ("--start", "stage1_block1_2_conv", "--end", "stage2", "--allow-bypass"),
            ("stage1_block1_2_conv", "stage2"),
            ["stage1_block1_2_conv", "stage2_block2"],
        ),
    ],
)
def test_page_writes_what_the_panel_saves(run, model, file, tmp_path, options, places, selection):
    to, panel = tmp_path / "page.html", cw.CutPanel(model)
    panel.allow_bypass = "--allow-bypass" in options
    panel.selection = places
    wanted = panel.save(tmp_path / "wanted.html")
    code, out, _ = run("page", file, "--output", to, *options)
    assert (code, out) == (0, f"{to}: {panel!r}\n")
    assert without_counts(to) == without_counts(wanted)
    assert f'"selection": {json.dumps(selection)}' in to.read_text("utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "wanted.html"]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("cut", "MODEL", "stage1", "stage2"), "part.keras"),
        (("page", "MODEL", "--start", "stage1"), "page.html"),
    ],
)
def test_a_file_is_not_replaced_by_accident(run, file, tmp_path, command, name):
    to = tmp_path / name
    to.write_text("mine")
    words = [*(file if word == "MODEL" else word for word in command), "-o", to]
    code, _, errors = run(*words)
    assert (code, to.read_text()) == (2, "mine")
    assert "--force" in errors
    assert run(*words, "--force")[0] == 0
    assert to.stat().st_size > 10_000
    assert list(tmp_path.iterdir()) == [to]


def test_check_proves(run, file):
    code, out, _ = run("check", file, "stage1", "stage2_block1")
    assert (code, "bit for bit" in out) == (0, True)
    result = strict(run("check", file, "stage1", "stage2_block1", "--json")[1])
    assert result["ok"]
    assert result["max_abs_difference"] == 0


def test_cut_and_check_take_the_options_of_their_functions(run, model, file, tmp_path):
    ends = ("stage1_block1_2_conv", "stage2")
    code, _, errors = run("check", file, *ends)
    assert (code, "--allow-bypass" in errors) == (2, True)
    assert "bit for bit" in run("check", file, *ends, "--allow-bypass")[1]
    ends, shape = ("stage1_block1", "stage2_block1"), ("--input-shape", "6,4,4")
    assert run("cut", file, *ends, *shape, "-o", tmp_path / "part.keras")[0] == 0
    part = keras.models.load_model(tmp_path / "part.keras")
    assert part.input_shape == (None, 6, 4, 4)
    assert "bit for bit" in run("check", file, *ends, *shape)[1]
    assert run("check", file, *ends, "--input-shape", "6,4")[0] == 2
    assert "Received: 'wide'" in run("check", file, *ends, "--input-shape", "wide")[2]


def test_a_proof_that_fails_has_a_code_of_its_own(run, file, monkeypatch):
    wrong = cw.Check(1.0, 1.0, 1.0, (), (), None)
    monkeypatch.setattr("cutwidgets.surgery.checking.check", lambda *_, **__: wrong)
    assert run("check", file, "stage1", "stage2")[0] == 1


def test_features_are_those_of_the_model(run, model, file, tmp_path):
    x = lab.digits().test[0][:10]
    np.save(tmp_path / "x.npy", x)
    to = tmp_path / "out.parquet"
    code, out, _ = run("features", file, tmp_path / "x.npy", "--to", to, "--json")
    assert code == 0
    assert strict(out) == {
        "path": str(to), "examples": 10, "broken": [], "shapes": {"features": [10]},
    }  # fmt: skip
    stored = np.stack(pd.read_parquet(to)["features"])
    np.testing.assert_allclose(stored, model.predict(x, verbose=0), rtol=1e-5)


@pytest.mark.parametrize("name", ["a.keras", "a.h5"])
def test_files_of_strangers_run_nothing(run, tmp_path, name):
    ran = tmp_path / "ran"
    inputs = keras.Input((2,))
    code = f"lambda x: (open({str(ran)!r}, 'w').close(), x)[1]"
    keras.Model(inputs, layers.Lambda(eval(code), output_shape=(2,))(inputs)).save(tmp_path / name)
    ran.unlink(missing_ok=True)
    status, _, errors = run("show", tmp_path / name)
    assert (status, ran.exists()) == (2, False)
    assert "--unsafe" in errors
    assert run("show", tmp_path / name, "--unsafe")[0] == 0


def test_commands_take_h5(run, model, file, tmp_path):
    model.save(tmp_path / "old.h5")
    assert run("show", tmp_path / "old.h5", "--json") == run("show", file, "--json")


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
        (("show", __file__), "A .keras or .h5 file is needed"),
        (("check", "MODEL", "stage9", "stage2"), "stage9"),
        (("cut", "MODEL", "stage1_block1_2_conv", "stage2", "-o", "x.keras"), "nearest"),
        (("cut", "MODEL", "stage1", "stage2", "-o", "x.h5"), ".keras"),
        (("page", "MODEL", "-o", "x.htm"), ".html"),
        (("page", "MODEL", "-o", "x.html", "--end", "stage9"), "stage9"),
        (("page", "MODEL", "-o", "x.html", "--start", "stage1_block1_2_conv"), "--allow-bypass"),
        (("page", "MODEL", "-o", "x.html", "--start", "stage2", "--end", "stage1"), "stage2"),
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


def test_only_a_command_that_runs_imports_what_is_slow():
    code = "import sys, cutwidgets.cli; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_file_that_does_not_exist_is_told_before_keras_is_imported(tmp_path):
    code = (
        "import sys\n"
        "from cutwidgets import cli\n"
        "sys.argv = ['cutwidgets', 'page', 'nothing.keras', '-o', 'page.html']\n"
        "try:\n    cli.main()\n"
        "except SystemExit as end:\n"
        "    slow = {'keras', 'tensorflow', 'anywidget'} & {*sys.modules}\n"
        "    sys.exit(f'imported {slow}' if slow else end.code)\n"
    )
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=tmp_path, env=os.environ | path
    )
    assert (ended.returncode, b"no file" in ended.stderr) == (2, True), ended.stderr


def test_models_without_blocks_or_with_operations_that_nobody_can_count(run, tmp_path):
    x = keras.Input((4,))
    keras.Model(x, x).save(tmp_path / "empty.keras")
    assert run("show", tmp_path / "empty.keras", "--costs")[0] == 0
    y = layers.Dense(2)(layers.Lambda(lambda x: 2 * x)(x))
    keras.Model(x, y).save(tmp_path / "odd.keras")
    code, out, _ = run("show", tmp_path / "odd.keras", "--unsafe")
    assert code == 0
    assert "≥ 8" in out


def test_the_command_that_is_installed(file):
    command = Path(sysconfig.get_path("scripts"), "cutwidgets")
    if not command.exists() and os.environ.get("CI") != "true":
        pytest.skip("cutwidgets is not installed as a command")
    shown = subprocess.run([command, "show", file, "--json"], capture_output=True, text=True)
    assert (shown.returncode, len(strict(shown.stdout)["blocks"])) == (0, 6)
    helped = subprocess.run([command, "--help"], capture_output=True, text=True)
    assert helped.returncode == 0
    assert "Exit status: 0 success" in helped.stdout


@pytest.mark.parametrize("error", [ZeroDivisionError, EOFError, OSError, ValueError, SystemExit])
def test_a_bug_is_no_failed_proof(run, file, monkeypatch, error):
    message = "a bug\x07"  # whose text is not in the traceback's lines of source

    def crash(*_, **__):
        raise error(message)

    monkeypatch.setattr("cutwidgets.surgery.checking.check", crash)
    code, out, errors = run("check", file, "stage1", "stage2")
    assert (code, out) == (70, "")
    assert "Traceback" in errors
    assert r"a bug\x07" in errors


def test_costs_are_those_of_the_model(run, model, file):
    costs = cw.costs(model)
    told = strict(run("show", file, "--costs", "--json")[1])
    for row, cost in zip([*told["blocks"], told["total"]], [*costs, costs.total], strict=True):
        assert row["parameters"] == cost.parameters
        assert row["macs"] == cost.macs
        assert row["activation_bytes"] == cost.activation_bytes
        assert row["receptive_field"] == (cost.receptive_field and list(cost.receptive_field))
        assert row["uncounted"] == []
    assert told["inputs"] == [[None, 8, 8, 1]]
    out = run("show", file, "--costs")[1]
    for text in ("25×25", f"{costs.total.macs:,}", f"{costs[0].activation_bytes:,}", "of 8×8×1"):
        assert text in out
    assert "activation_bytes" not in run("show", file)[1]


def test_the_diagram_is_written(run, model, file, tmp_path):
    to = tmp_path / "model.svg"
    assert run("show", file, "--svg", to)[0] == 0
    assert to.read_text("utf-8") == cw.anatomy(model).svg
    assert "already" in run("show", file, "--svg", to)[2]
    assert run("show", file, "--svg", tmp_path / "model.png")[0] == 2
    assert list(tmp_path.iterdir()) == [to]


def test_what_bypasses_the_start_becomes_an_input(run, model, file, tmp_path):
    words = ("cut", file, "stage1_block1_2_conv", "stage2", "-o", tmp_path / "part.keras")
    code, _, errors = run(*words)
    assert (code, "--allow-bypass" in errors) == (2, True)
    assert run(*words, "--allow-bypass")[0] == 0
    part = keras.models.load_model(tmp_path / "part.keras")
    wanted = cw.cut(model, "stage1_block1_2_conv", "stage2", allow_bypass=True)
    x = [np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype("float32") for _ in range(2)]
    np.testing.assert_array_equal(part.predict(x, verbose=0), wanted.predict(x, verbose=0))


def test_engine_and_workers_are_handed_on(run, file, tmp_path, monkeypatch):
    asked = {}

    def extract(*_, **options):
        asked.update(options)
        return cw.Features(tmp_path, 0, {}, pd.DataFrame({"id": [], "reason": []}))

    monkeypatch.setattr("cutwidgets.extraction.features.features", extract)
    words = ("features", file, tmp_path, "--to", "x.npy", "--engine")
    assert run(*words, "ray", "--workers", "3")[0] == 0
    assert (asked["engine"], asked["workers"]) == ("ray", 3)
    assert run(*words[:-1])[0] == 0
    assert (asked["engine"], asked["workers"]) == ("local", None)
    assert run(*words, "spark")[0] == 2
    assert run(*words, "ray", "--workers", "0")[0] == 2


def test_arrays_of_a_npz_file_are_read(run, file, tmp_path):
    x = lab.digits().test[0][:5]
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "one.npz", x)
    np.savez(tmp_path / "named.npz", digit=x, label=np.array(["a"] * 5))
    for name in ("x.npy", "one.npz", "named.npz"):
        assert run("features", file, tmp_path / name, "--to", tmp_path / f"of_{name}.npy")[0] == 0
    made = [np.load(path) for path in tmp_path.glob("of_*.npy")]
    assert len(made) == 3
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0], made[2])


def cut_off(path, length):
    path.write_bytes(path.read_bytes()[:length])


def damaged_data(name, damage):
    """A file of data, and what is wrong with it."""
    x = np.zeros((5, 8, 8, 1), "float32")
    arrays = {"objects": np.array([{}] * 5), "complex": x + 1j, "dates": x.astype("M8[s]")}
    arrays |= {"texts": x.astype(str), "bfloat16": x.astype("V2")}
    path = Path(name)
    if path.suffix == ".npz":
        np.savez(path, x=x)
    else:
        np.save(path, arrays.get(damage, x))
    if damage == "a folder":
        path.unlink()
        path.mkdir()
    elif damage == "flipped":
        data = bytearray(path.read_bytes())
        data[200] ^= 255
        path.write_bytes(data)
    elif damage in ("0", "20", "300"):
        cut_off(path, int(damage))
    elif damage == "a text":
        path.write_text("hello")
    return path


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *(("x.npy", damage) for damage in ("0", "20", "300", "a text", "a folder")),
        *(("x.npy", kind) for kind in ("objects", "complex", "dates", "texts", "bfloat16")),
        *(("x.npz", damage) for damage in ("0", "20", "300", "a text", "a folder", "flipped")),
    ],
)
def test_damaged_data_are_told_in_a_line(run, file, tmp_path, monkeypatch, name, damage):
    monkeypatch.chdir(tmp_path)
    data = damaged_data(name, damage)
    code, out, errors = run("features", file, data, "--to", "out.npy")
    assert (code, out) == (2, "")
    assert errors.startswith("cutwidgets: ")
    assert name in errors
    assert len(errors.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / name]


@pytest.mark.parametrize("damage", ["0", "9000", "a text", "a folder", "no config", "half weights"])
def test_damaged_models_are_told_in_a_line(run, file, tmp_path, damage):
    path = tmp_path / "odd.keras"
    path.write_bytes(file.read_bytes())
    if damage == "a folder":
        path.unlink()
        path.mkdir()
    elif damage == "a text":
        path.write_text("hello")
    elif damage.isdigit():
        cut_off(path, int(damage))
    else:
        with zipfile.ZipFile(file) as whole, zipfile.ZipFile(path, "w") as odd:
            for name in whole.namelist():
                content = whole.read(name)
                if damage == "half weights" or name != "config.json":
                    odd.writestr(name, content[:5000] if "weights" in name else content)
    code, out, errors = run("show", path)
    assert (code, out) == (2, "")
    assert errors.startswith("cutwidgets: ")
    assert "odd.keras" in errors
    assert damage != "a folder" or "is a folder; a .keras file is needed" in errors
    assert len(errors.splitlines()) == 1


def test_names_of_strangers_are_shown_as_they_are(run, tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="one")(inputs)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(4, 3, name="[bold]x[red]\x1b]0;t\x07\n\u202e")(x)
    path = tmp_path / "odd.keras"
    keras.Model(inputs, x, name="[red]m\x1b[2J").save(path)
    code, out, _ = run("show", path)
    assert code == 0
    assert r"[bold]x[red]\x1b]0;t\x07\n\u202e" in out
    assert r"[red]m\x1b[2J: 2 blocks" in out
    assert strict(run("show", path, "--json")[1])["model"] == "[red]m\x1b[2J"
    for words in (("show", path), ("check", path, "-", "one"), ("check", path, "nowhere", "-")):
        _, out, errors = run(*words)
        assert all(letter.isprintable() or letter == "\n" for letter in out + errors)


def test_a_proof_is_strict_json(run, file, monkeypatch):
    inf = float("inf")
    result = cw.Check(inf, float("nan"), 1e-9, ("a",), (("b", inf), ("c", 0.0)), "b")
    monkeypatch.setattr("cutwidgets.surgery.checking.check", lambda *_, **__: result)
    code, out, _ = run("check", file, "stage1", "stage2", "--json")
    assert code == 1
    assert strict(out) == {
        "ok": False, "conclusive": False, "verdict": str(result), "max_abs_difference": None,
        "max_abs_output": None, "sensitivity": 1e-9, "carried": ["a"],
        "differences": [["b", None], ["c", 0.0]], "first_difference": "b",
        "elements": 0, "nan": 0, "infinite": 0, "unsteadiness": 0.0, "wrong_ends": [],
    }  # fmt: skip


def test_nothing_but_json_is_printed(run, tmp_path, monkeypatch):
    (tmp_path / "loud_layers.py").write_text(
        "import keras\nprint('imported')\n"
        "@keras.saving.register_keras_serializable('loud')\n"
        "class Loud(keras.layers.Layer):\n"
        "    def call(self, x):\n        print('called')\n        return x * 2\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import loud_layers

    keras.Sequential([keras.Input((2,)), loud_layers.Loud(name="loud")]).save("loud.keras")
    np.save("x.npy", np.zeros((3, 2)))
    for words in (("show",), ("check", "-", "loud"), ("features", "x.npy", "--to", "to.parquet")):
        sys.modules.pop("loud_layers")
        arguments = (words[0], "loud.keras", *words[1:], "--json", "--import", "loud_layers")
        code, out, errors = run(*arguments)
        assert code == 0
        assert strict(out)
        assert "imported" in errors
        assert "called" in errors


def test_a_module_that_exits_is_no_failed_proof(run, file, tmp_path, monkeypatch):
    (tmp_path / "exiting.py").write_text("raise SystemExit(1)\n")
    monkeypatch.chdir(tmp_path)
    assert run("show", file, "--import", "exiting")[0] == 2


def test_a_file_that_appears_meanwhile_is_left_alone(run, file, tmp_path, monkeypatch):
    to = tmp_path / "part.keras"
    cut = cw.cut

    def slow(*places, **options):
        to.write_text("mine")
        return cut(*places, **options)

    monkeypatch.setattr("cutwidgets.surgery.slicing.cut", slow)
    code, out, errors = run("cut", file, "stage1", "stage2", "-o", to)
    assert (code, out) == (2, "")
    assert to.name in errors
    assert to.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [to]


@pytest.mark.parametrize(("error", "wanted"), [(OSError, 2), (RuntimeError, 70)])
def test_of_a_failed_save_nothing_is_left(run, file, tmp_path, monkeypatch, error, wanted):
    def fail(_, path):
        Path(path).write_text("half")
        raise error("no room")

    monkeypatch.setattr("keras.Model.save", fail)
    code, out, errors = run("cut", file, "stage1", "stage2", "-o", tmp_path / "part.keras")
    assert (code, out) == (wanted, "")
    assert "no room" in errors
    assert not list(tmp_path.iterdir())


def test_force_changes_no_kind_of_file(run, file, tmp_path):
    assert run("cut", file, "stage1", "stage2", "-o", tmp_path / "x.h5", "--force")[0] == 2
    assert not list(tmp_path.iterdir())


def test_a_slice_is_saved_where_there_are_no_hard_links(run, file, tmp_path, monkeypatch):
    def link(*_):
        raise OSError("not supported")

    monkeypatch.setattr("os.link", link)
    assert run("cut", file, "stage1", "stage2", "-o", tmp_path / "part.keras")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["part.keras"]
    assert keras.models.load_model(tmp_path / "part.keras").count_params() > 0
