"""Write files as a whole or not at all."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from .errors import CutwidgetsError

# The beginning of the name of an unfinished file. A process that is killed leaves such a file.
UNFINISHED = ".cutwidgets-"


def file_name(name: str, suffix: str) -> str:
    """A valid file name for a model or layer of any name.

    Example:
        >>> file_name("my/model <b>", "svg")
        'my_model_b.svg'
    """
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name).strip('._')[:80] or 'model'}.{suffix}"


def write_whole(path: Path, save: Callable[[Path], Any], replace: bool = False) -> None:
    """Write a hidden file in the same folder, and rename it once it is complete.

    Args:
        path: The file.
        save: Writes the file to the path that it receives, which has the same ending as `path`.
        replace: Whether to replace an existing file.

    Raises:
        CutwidgetsError: If the file exists and `replace` is `False`, or it cannot be written.
        Exception: Whatever `save` raises besides OSError.

    Example:
        >>> write_whole(Path("no folder", "a.txt"), lambda unfinished: unfinished.write_text("a"))
        Traceback (most recent call last):
        cutwidgets.errors.CutwidgetsError: Cannot save 'no folder/a.txt': No such file or directory
    """
    # Keras goes by the ending, and one of its own has a dot in it.
    ending = ".weights.h5" if path.name.endswith(".weights.h5") else path.suffix
    unfinished = path.with_name(f"{UNFINISHED}{uuid4().hex}{ending}")
    exists = CutwidgetsError(f"The file {str(path)!r} already exists, and is left unchanged.")
    if not replace and os.path.lexists(path):
        raise exists
    try:
        save(unfinished)
        sync(unfinished)
        (os.replace if replace else _rename)(unfinished, path)
    except FileExistsError:
        raise exists from None
    except OSError as error:
        # Its whole text would name the unfinished file.
        problem = error.strerror or error
        raise CutwidgetsError(f"Cannot save {str(path)!r}: {problem}") from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


def sync(path: Path) -> None:
    """Write a file through to the disk: some systems report only then that the disk is full."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _rename(old: Path, new: Path) -> None:
    """Rename a file, but never to an existing name, even one that has just been created."""
    try:
        os.link(old, new)  # the caller removes the old name
    except FileExistsError:
        raise
    except OSError:  # some file systems have no hard links
        if os.path.lexists(new):
            raise FileExistsError(new) from None
        old.replace(new)
