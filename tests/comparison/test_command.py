"""`cutwidgets compare` on files."""

import json

import keras
import pytest
from keras import layers
from typer.testing import CliRunner

from cutwidgets.cli import app


def model(width=3, name="a"):
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(width, name=name, kernel_initializer="ones")]
    )


@pytest.fixture
def files(tmp_path):
    for name, each in {"a": model(), "b": model(name="b"), "c": model(5)}.items():
        each.save(tmp_path / f"{name}.keras")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_equal_models_exit_with_0(files):
    result = run(files / "a.keras", files / "b.keras")
    assert result.exit_code == 0
    assert "Their weights are equal." in result.output


def test_models_that_differ_exit_with_1(files):
    result = run(files / "a.keras", files / "c.keras", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert not found["same"]
    assert [row["layer"] for row in found["rows"] if row["status"] == "changed"] == ["", "a"]
    assert "units: 3 → 5" in found["rows"][1]["details"]


def test_a_file_that_is_missing_exits_with_2(files):
    assert run(files / "a.keras", files / "none.keras").exit_code == 2
