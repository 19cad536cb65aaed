"""The exit status of a command, in every case, and its output."""

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

FAILED_CHECK = 1

_CANNOT = 2  # as Click uses it for bad arguments

_BUG = 70  # EX_SOFTWARE of sysexits.h; Python's default, 1, would mean a failed check

_INTERRUPTED = 130  # as shells report programs that Ctrl-C ended

_CLOSED = 141  # likewise for a broken pipe

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _OutputError(OSError):
    """Standard output or error cannot be written to."""


class _Output(FileIO):
    """A standard stream that remembers its first failure, and discards everything after it.

    It remembers the failure because callers may swallow the exception, and discards because Python
    flushes what is left when it exits.
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
    """Turn the exceptions of a command into messages and exit codes."""
    try:
        with needs_backend():
            yield
    except CutwidgetsError as error:
        say(f"cutwidgets: {error}", err=True)
        raise typer.Exit(_CANNOT) from None
    except (typer.Exit, _OutputError):
        raise
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    except (Exception, SystemExit) as error:
        if reason := _shortage(error):
            say(f"cutwidgets: {reason}: {error}", err=True)
            raise typer.Exit(_CANNOT) from None
        say(traceback.format_exc(), err=True)
        raise typer.Exit(_BUG) from None


def _shortage(error: BaseException) -> str:
    """The message for a lack of disk space or memory, if that is why a command failed."""
    if getattr(error, "errno", None) in _NO_ROOM or os.strerror(errno.ENOSPC) in str(error):
        return "The disk is full"  # HDF5 and Arrow have the reason only in their text
    if isinstance(error, MemoryError) or "ResourceExhausted" in type(error).__name__:
        return "There is not enough memory"
    return "There is not enough memory" if "RESOURCE_EXHAUSTED" in str(error) else ""


def run(command: Callable[[], object]) -> NoReturn:
    """Run a command that raises SystemExit, and exit with its code.

    If standard output or error could not be written, the code of that failure takes precedence, as
    the reader did not get everything.
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
        code = _CANNOT
    sys.exit(code)


def _watched(stream: Any) -> tuple[Any, _Output | None]:
    """A standard stream that escapes letters outside its encoding, and its raw stream."""
    if not isinstance(stream, TextIOWrapper):  # None, for example, if it is closed
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
    """Escape control characters: names in files may come from strangers."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else repr(letter)[1:-1]
        for letter in text
    )


def say(text: str, err: bool = False) -> None:
    """Print a text to standard output or error."""
    stream = sys.stderr if err else sys.stdout
    if stream is not None:  # it is None if it was closed when the command started
        print(visible(text), file=stream)  # typer.echo would write UTF-8 to an ASCII stream
