"""`pip install cutwidgets`, without extras, in an empty environment and outside of the clone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from test_extras import CORE

PROJECT = Path(__file__).parents[1]

ABSENT = """
from importlib.util import find_spec
absent = ("tensorflow", "pandas", "matplotlib", "sklearn", "skimage", "tqdm", "typer", "pyarrow")
assert not any(map(find_spec, absent))
"""

MISSING = """
for ask in (lambda: cw.costs(model).table, lambda: cw.lab.digits()):
    try:
        ask()
    except cw.CutwidgetsError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Runs a command of a new environment that has the core and JAX alone."""
    folder = tmp_path_factory.mktemp("elsewhere")
    scripts = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    settings = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    settings |= {"KERAS_BACKEND": "jax", "CUDA_VISIBLE_DEVICES": ""}

    def run(command, *arguments):
        return subprocess.run(
            [scripts / command, *arguments],
            capture_output=True, text=True, cwd=folder, env=settings,
        )  # fmt: skip

    subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
    ended = run("python", "-m", "pip", "install", "--quiet", PROJECT, "jax")
    assert ended.returncode == 0, ended.stderr
    return run


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_core_is_installed_and_runs_on_jax(installed):
    ended = installed("python", "-c", ABSENT + CORE + MISSING)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert len(lines) == 2
    assert all('Run: pip install "cutwidgets[lab]"' in line for line in lines)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_command_line_says_what_to_install(installed):
    ended = installed("cutwidgets", "--help")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert 'Run: pip install "cutwidgets[cli]"' in ended.stderr


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_keras_without_its_backend_is_reported(installed):
    program = (
        "import os; os.environ['KERAS_BACKEND'] = 'tensorflow'; import cutwidgets as cw; cw.cut"
    )
    ended = installed("python", "-c", program)
    assert "Set KERAS_BACKEND=jax before you start Python" in ended.stderr.splitlines()[-1]
