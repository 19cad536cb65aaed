"""Write files whole, or not at all."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4


def file_name(name: str, suffix: str) -> str:
    """A name for a file, whatever a model or a layer is called.

    Example:
        >>> file_name("my/model <b>", "svg")
        'my_model_b.svg'
    """
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name).strip('._')[:80] or 'model'}.{suffix}"


def write(path: Path, save: Callable[[Path], Any], replace: bool = False) -> None:
    """Write a file beside its place, and give it its name once it is complete.

    A process that is killed meanwhile leaves at most a hidden file beside it.

    Args:
        path: The file.
        save: Writes a file at the path that it is given, which has the same ending.
        replace: Whether to replace a file that is there.

    Raises:
        FileExistsError: If there is such a file, and `replace` is `False`.
        OSError: If it cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(Path(folder, "a.txt"), lambda unfinished: unfinished.write_text("whole"))
        ...     [file.name for file in Path(folder).iterdir()]
        ['a.txt']
    """
    # Keras goes by the ending, and one of its own has a dot in it.
    ending = ".weights.h5" if path.name.endswith(".weights.h5") else path.suffix
    unfinished = path.with_name(f".{uuid4().hex}{ending}")
    try:
        save(unfinished)
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())  # some systems notice only here that the disk is full
        (os.replace if replace else _rename)(unfinished, path)
    finally:
        with suppress(OSError):
            unfinished.unlink()


def _rename(old: Path, new: Path) -> None:
    """Rename a file, but not to a name that is taken, even if it was a moment ago."""
    try:
        os.link(old, new)  # the old name goes later
    except FileExistsError:
        raise
    except OSError:  # some file systems have no hard links
        if os.path.lexists(new):
            raise FileExistsError(f"There is a file {str(new)!r} already.") from None
        old.replace(new)
