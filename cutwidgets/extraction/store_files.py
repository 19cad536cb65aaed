"""Files of features: where they may be, and which parts are there."""

import os
import re
from pathlib import Path
from typing import Any

from ..errors import CutwidgetsError

PART = re.compile(r"part-(\d{6,})\.parquet")


def part_files(folder: Path) -> dict[int, Path]:
    """The files of the parts that are in a folder, by their numbers."""
    matched = ((PART.fullmatch(file.name), file) for file in folder.iterdir())
    return dict(sorted((int(found[1]), file) for found, file in matched if found))


def place(to: Any) -> Path:
    """The path that features are to be stored in."""
    try:
        path = Path(to)
        os.fsencode(path)
        good = path.suffix in (".parquet", ".npy") and "\0" not in str(path)
    except (TypeError, ValueError):  # no path at all
        good = False
    if not good:
        raise CutwidgetsError(
            "Features are stored in a folder that ends in .parquet, a row for each example, or "
            f"in a file that ends in .npy, an array. Received: to={to!r:.200}."
        )
    parent = next((p for p in path.parents if os.path.lexists(p)), path.parent)
    if not parent.is_dir():
        raise CutwidgetsError(f"Cannot store in {str(path)!r}: {str(parent)!r} is no folder.")
    return path
