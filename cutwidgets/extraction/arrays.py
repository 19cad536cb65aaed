"""Arrays as a data set, in memory or mapped from files."""

import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph
from .examples import Batch, Examples, Id, sample
from .hashing import values_hash


class Arrays(Examples):
    """Examples along the first axis of arrays, one array for each input of a model.

    Arrays on disk (`np.memmap`) are read one batch at a time, also by other processes.

    Raises:
        CutwidgetsError: If there are no examples, or the arrays differ in length.
    """

    kind = "arrays"

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self._arrays = [
            array if hasattr(array, "shape") and hasattr(array, "dtype") else np.array(array)
            for array in arrays.values()
        ]
        shapes = [tuple(array.shape) for array in self._arrays]
        sizes = {shape[0] if shape else 0 for shape in shapes}
        if len(sizes) != 1 or 0 in sizes:
            raise CutwidgetsError(
                "Arrays need one row per example, and the same number of rows for each input. "
                f"Received: {dict(zip(arrays, shapes, strict=True))}."
            )
        self.size = int(sizes.pop())
        self.unknown = tuple(
            f"the data (of type {type(array).__name__}, of which 64 rows are checked)"
            for array in self._arrays
            if not _in_memory(array) and _mapped(array) is None
        )

    def identity(self) -> dict[str, Any]:
        """Shapes, dtypes and a hash of all rows.

        For a mapped file: its size, its modification time, and a sample of 64 rows.
        """
        return {
            "kind": self.kind,
            "arrays": [f"{array.dtype} {tuple(array.shape)}" for array in self._arrays],
            "values": [_rows_hash(array) for array in self._arrays],
        }

    def shapes(self, graph: CallGraph) -> list[tuple[int, ...]]:
        """The shapes of a row."""
        return [tuple(array.shape[1:]) for array in self._arrays]

    def batch(self, graph: CallGraph, first: int, last: int) -> Batch:
        """Read rows."""
        assert self.size
        ids: list[Id] = list(range(first, min(last, self.size)))
        return Batch(ids, [np.asarray(array[first:last]) for array in self._arrays])

    def __getstate__(self) -> dict[str, Any]:
        """For a mapped array its place in the file: its values might not fit into memory."""
        return {"size": self.size, "arrays": [_place(array) or array for array in self._arrays]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.size = state["size"]
        self._arrays = [
            np.memmap(mode="r", **array) if isinstance(array, dict) else array
            for array in state["arrays"]
        ]


def _mapped(array: Any) -> Any:
    """The mapping of a whole file that an array is a view of; `None` for other arrays."""
    whole = array
    while isinstance(whole, np.memmap) and not isinstance(whole.base, mmap.mmap):
        whole = whole.base
    # Changes of one that is copied on write are not in the file.
    is_file = isinstance(whole, np.memmap) and whole.filename and whole.mode != "c"
    return whole if is_file else None


def _in_memory(array: Any) -> bool:
    """Whether all rows can be hashed without reading them from a file or a service."""
    library = type(array).__module__.partition(".")[0]
    return _mapped(array) is None and (
        hasattr(array, "__array_interface__") or library in ("tensorflow", "jaxlib", "jax", "torch")
    )


def _rows_hash(array: Any) -> str:
    if _in_memory(array):
        return values_hash(np.asarray(array)).hex()
    rows = values_hash(np.stack([np.asarray(array[i]) for i in sample(len(array))])).hex()
    whole = _mapped(array)
    if whole is None:
        return f"64 rows {rows}"
    file = os.stat(whole.filename)
    offset = array.ctypes.data - whole.ctypes.data
    return f"{file.st_size} {file.st_mtime_ns} {offset} {array.strides} {rows}"


def _place(array: Any) -> dict[str, Any] | None:
    """The arguments of `np.memmap` for an array that is a contiguous part of a mapped file."""
    whole = _mapped(array)
    if whole is None or not array.flags.c_contiguous:
        return None
    offset = whole.offset + array.ctypes.data - whole.ctypes.data
    file = str(Path(whole.filename).resolve())
    return {"filename": file, "dtype": array.dtype, "shape": array.shape, "offset": offset}
