"""Every command ends with the code that is documented, whatever happens to what it prints."""

import errno
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

import cutwidgets as cw
from cutwidgets import cli, exit_codes, lab
from cutwidgets import cli as command_line

COMMAND = [sys.executable, "-m", "cutwidgets"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.keras"
    lab.residual_network(blocks=(1, 1), width=4).save(path)
    return path


def closed_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.fixture
def end(monkeypatch, tmp_path):
    """Run a command on other standard streams: its exit code, and what they got."""

    def end(*words, out=None, err=None, encoding="utf-8"):
        opened, given = {}, {"stdout": out, "stderr": err}
        for name, fd in given.items():
            fd = os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) if fd is None else fd
            # As Python makes them.
            raw = io.BufferedWriter(io.FileIO(fd, "w", closefd=True))
            opened[name] = io.TextIOWrapper(
                raw, encoding, "strict" if name == "stdout" else "backslashreplace",
                line_buffering=name == "stderr",
            )  # fmt: skip
            monkeypatch.setattr(sys, name, opened[name])
        monkeypatch.setattr(sys, "argv", ["cutwidgets", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        for name, stream in opened.items():
            getattr(sys, name).close()  # as Python does in the end; it must raise nothing
            stream.close()
        monkeypatch.undo()
        texts = [Path(tmp_path, name) for name in given]
        return ended.value.code, *(x.read_bytes() if x.exists() else b"" for x in texts)

    return end


def checked(monkeypatch, result):
    def check(*_, **__):
        if isinstance(result, BaseException):
            raise result
        return result

    monkeypatch.setattr("cutwidgets.surgery.checking.check", check)


WORDS = {
    "help": ["--help"],
    "no command": [],
    "usage": ["show"],
    "unknown command": ["shwo"],
    "unknown option": ["show", "m.keras", "--csot"],
    "no file": ["show", "nothing.keras"],
    "show": ["show", "MODEL"],
    "json": ["show", "MODEL", "--json"],
    "unknown place": ["check", "MODEL", "nowhere", "-"],
    "check": ["check", "MODEL", "stem", "-"],
}
# Those that print to standard output; Typer 0.15 and older print the help of no command there.
PRINTED = ("help", "show", "json", "check")


@pytest.mark.parametrize("name", WORDS)
def test_nobody_reads(end, file, name):
    words = [file if word == "MODEL" else word for word in WORDS[name]]
    code, _, errors = end(*words, out=closed_pipe(), err=closed_pipe())
    assert code == 141
    if name in PRINTED:
        code, _, errors = end(*words, out=closed_pipe())
        assert (code, errors) == (141, b"")
        assert end(*words, err=closed_pipe())[0] == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("name", WORDS)
def test_full_disk(end, file, name):
    words = [file if word == "MODEL" else word for word in WORDS[name]]
    code, _, errors = end(*words, out=os.open("/dev/full", os.O_WRONLY))
    assert code == 2
    assert b"Traceback" not in errors
    if name in PRINTED:
        assert errors == b"cutwidgets: Cannot write the output: No space left on device.\n"
        assert end(*words, err=os.open("/dev/full", os.O_WRONLY))[0] == 0


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (cw.Check(1.0, 1.0, 1.0, (), (), None), 1),
        (cw.CutwidgetsError("no"), 2),
        (MemoryError("no"), 2),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 2),
        (RuntimeError("write failed: errno = 28, error message = 'No space left on device'"), 2),
        (type("ResourceExhaustedError", (Exception,), {})("OOM"), 2),
        (RuntimeError("RESOURCE_EXHAUSTED: out of memory"), 2),
        (ZeroDivisionError("a bug"), 70),
        (BrokenPipeError(errno.EPIPE, "of a socket"), 70),
        (SystemExit(1), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_codes_whatever_the_streams(end, file, monkeypatch, result, code):
    def run(*options, **streams):
        with monkeypatch.context() as patched:
            checked(patched, result)
            # Loading is not what is tested.
            patched.setattr(command_line, "_load", lambda *_: None)
            return end("check", file, "-", "stem", *options, **streams)

    found, _, errors = run()
    assert (found, b"Traceback" in errors) == (code, code == 70)
    assert run("--json")[0] == code
    written = code not in (1, 130)  # to standard error
    assert run(err=closed_pipe())[0] == (141 if written else code)
    assert run(out=closed_pipe())[0] == (141 if code == 1 else code)


def test_a_closed_pipe_that_is_swallowed_is_told_all_the_same(end, file, monkeypatch):
    def check(*_, **__):
        try:
            print("of a layer", flush=True)
        except OSError:
            return cw.Check(0.0, 0.0, 0.0, (), (), None)

    monkeypatch.setattr("cutwidgets.surgery.checking.check", check)
    assert end("check", file, "-", "stem", err=closed_pipe())[0] == 141


def test_a_bug_outside_of_the_commands_is_a_bug(end, monkeypatch):
    def app():
        raise ZeroDivisionError

    monkeypatch.setattr(command_line, "app", app)
    code, _, errors = end("show")
    assert (code, b"Traceback" in errors) == (70, True)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-8"])
def test_letters_that_cannot_be_written_are_spelled_out(end, file, encoding):
    code, out, _ = end("show", file, "--costs", encoding=encoding)
    shown = out.decode(encoding)
    times = "8×8×4".encode(encoding, "backslashreplace").decode(encoding)
    assert (code, times in shown) == (0, True)
    code, _, errors = end("show", "größe→\udcff.keras", encoding=encoding)
    name = "größe→".encode(encoding, "backslashreplace").decode(encoding)
    assert (code, name in errors.decode(encoding)) == (2, True)
    code, _, errors = end("show", file, "→\udcff", encoding=encoding)
    assert (code, b"Traceback" in errors) == (2, False)


def test_a_real_process_ends_with_the_code(tmp_path):
    def code(*words, **options):
        return subprocess.run([*COMMAND, *words], **options).returncode

    assert code("show", "nothing.keras", stderr=subprocess.DEVNULL) == 2
    assert code("show", "nothing.keras", stderr=closed_pipe()) == 141
    assert code("--help", stdout=closed_pipe()) == 141
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    shown = subprocess.run([*COMMAND, "show", "→.keras"], env=ascii_only, capture_output=True)
    assert (shown.returncode, rb"\u2192.keras" in shown.stderr) == (2, True)
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full:
            assert code("--help", stdout=full, stderr=subprocess.DEVNULL) == 2


@pytest.mark.slow
def test_ctrl_c(file):
    """At moments from the start of Python to the end of the work."""
    for wait in (0.6, 1.0, 2.0, 4.0, 6.0):
        command = subprocess.Popen([*COMMAND, "check", file, "-", "stem"], stderr=subprocess.PIPE)
        time.sleep(wait)
        command.send_signal(signal.SIGINT)
        _, errors = command.communicate(timeout=120)
        # Python ends with the signal itself if the command line was not there yet.
        assert command.returncode in (0, 130, -signal.SIGINT), errors


def test_the_codes_are_documented(end):
    code, out, _ = end("--help")
    listed = out.decode().partition("Exit status")[2].partition("broken pipe")[0]
    told = set(map(int, re.findall(r"\b\d+\b", listed)))
    assert (code, told) == (0, {0, 1, 2, 70, 130, 141})
    readme = Path(__file__).parents[1].joinpath("README.md").read_text("utf-8")
    line = next(line for line in readme.splitlines() if line.startswith("Exit status"))
    assert set(map(int, re.findall(r"\b\d+\b", line))) == told


def test_the_test_runner_and_other_streams_are_left_alone():
    for stream in (None, io.StringIO()):
        assert exit_codes._watched(stream) == (stream, None)
    with pytest.raises(typer.Exit), exit_codes.exit_codes():
        raise typer.Exit(0)
