"""Where stored features are, and their columns: paths, Parquet files, arrays as columns."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import CutwidgetsError

PART = re.compile(r"part-(\d{6,})\.parquet")


def valid_path(to: Any) -> Path:
    """The path of features to store, if it can be one.

    Raises:
        CutwidgetsError: If it has another ending, or does not lie in a folder.
    """
    try:
        path = Path(to)
        os.fsencode(path)
        is_valid = path.suffix in (".parquet", ".npy") and "\0" not in str(path)
    except (TypeError, ValueError):  # not a path
        is_valid = False
    if not is_valid:
        raise CutwidgetsError(
            "Features are stored in a folder that ends in .parquet, one row per example, or in a "
            f"file that ends in .npy, an array. Received: to={to!r:.200}."
        )
    parent = next((p for p in path.parents if os.path.lexists(p)), path.parent)
    if not parent.is_dir():
        raise CutwidgetsError(f"Cannot store in {str(path)!r}: {str(parent)!r} is not a folder.")
    return path


def folder_of(path: Path) -> Path:
    """The folder of Parquet files."""
    return path.with_suffix(".ids.parquet") if path.suffix == ".npy" else path


def part_files(folder: Path) -> dict[int, Path]:
    """The files of the stored chunks, by their numbers."""
    matches = ((PART.fullmatch(file.name), file) for file in folder.iterdir())
    return dict(sorted((int(match[1]), file) for match, file in matches if match))


def as_column(values: Any, kind: pa.DataType) -> pa.Array:
    """Values of examples as a column, arrays as lists of fixed length without a copy."""
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(values, kind)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), kind.value_type)
    return pa.FixedSizeListArray.from_arrays(flat, type=kind)


def as_array(column: pa.ChunkedArray, shape: tuple[int, ...]) -> np.ndarray:
    """A column as an array."""
    if not shape:
        return np.asarray(column.to_numpy())
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(chunks).reshape(-1, *shape)
