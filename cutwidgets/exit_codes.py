"""How a command ends: its exit code, in every case, and what it writes on the way."""

import errno
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Any, NoReturn

import typer

from .errors import CutwidgetsError
from .extras import needs_backend

FAILED_PROOF = 1

_FAILED = 2  # as Click has it for words that it does not understand

_BUG = 70  # EX_SOFTWARE of sysexits.h; Python's own 1 would say that a check failed

_INTERRUPTED = 130  # as shells tell of programs that Ctrl-C ends

_CLOSED = 141  # likewise of a closed pipe

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _OutputError(OSError):
    """Standard output or error cannot be written; no bug, and no other file."""


class _Output(FileIO):
    """A standard stream that remembers the first failure, and is silent from then on.

    It is remembered as what prints may swallow it, and silent as Python writes the rest at its end.
    """

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        if self.failure is not None:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except OSError as error:
            self.failure = error
            raise _OutputError(error.errno, error.strerror) from error


@contextmanager
def exit_codes() -> Iterator[None]:
    """End a command whose work cannot be done, or that has a bug, with the code that says so."""
    try:
        with needs_backend():
            yield
    except CutwidgetsError as error:
        say(f"cutwidgets: {error}", err=True)
        raise typer.Exit(_FAILED) from None
    except (typer.Exit, _OutputError):
        raise
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    except (Exception, SystemExit) as error:
        if reason := _shortage(error):
            say(f"cutwidgets: {reason}: {error}", err=True)
            raise typer.Exit(_FAILED) from None
        say(traceback.format_exc(), err=True)
        raise typer.Exit(_BUG) from None


def _shortage(error: BaseException) -> str:
    """What there is too little of, if that is why a command failed."""
    if getattr(error, "errno", None) in _NO_ROOM or os.strerror(errno.ENOSPC) in str(error):
        return "The disk is full"  # HDF5 and Arrow tell the reason in their text only
    if isinstance(error, MemoryError) or "ResourceExhausted" in type(error).__name__:
        return "There is not enough memory"
    return "There is not enough memory" if "RESOURCE_EXHAUSTED" in str(error) else ""


def run(command: Callable[[], object]) -> NoReturn:
    """Run a command that ends with SystemExit, and end Python with the code that says how it went.

    What cannot be written to standard output or error decides, as whoever reads it lacks it.
    """
    sys.stdout, out = _watched(sys.stdout)
    sys.stderr, err = _watched(sys.stderr)
    code: Any = 0
    try:
        command()
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except _OutputError:
        pass  # the stream remembers it
    except Exception:
        with suppress(_OutputError):
            say(traceback.format_exc(), err=True)
        code = _BUG
    for stream in (sys.stdout, sys.stderr):
        with suppress(_OutputError):
            if stream is not None:
                stream.flush()
    failures = [raw.failure for raw in (out, err) if raw is not None and raw.failure is not None]
    if any(failure.errno == errno.EPIPE for failure in failures):
        code = _CLOSED
    elif out is not None and out.failure is not None:
        with suppress(_OutputError):
            say(f"cutwidgets: Cannot write the output: {out.failure.strerror}.", err=True)
        code = _FAILED
    sys.exit(code)


def _watched(stream: Any) -> tuple[Any, _Output | None]:
    """A standard stream that writes any letter, spelled out if need be, and what it writes to."""
    if not isinstance(stream, TextIOWrapper):  # such as None if it is closed
        return stream, None
    if stream.isatty():
        stream.reconfigure(errors="backslashreplace")
        return stream, None
    stream.flush()
    raw = _Output(stream.fileno(), "wb", closefd=False)
    watched = TextIOWrapper(
        BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
    )
    return watched, raw


def visible(text: str) -> str:
    """A text with its control characters spelled out: names in files are written by strangers."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else repr(letter)[1:-1]
        for letter in text
    )


def say(text: str, err: bool = False) -> None:
    """Print a text to standard output or error."""
    stream = sys.stderr if err else sys.stdout
    if stream is not None:  # as it is when the command was started with it closed
        print(visible(text), file=stream)  # typer.echo would write UTF-8 where ASCII is asked for
