"""A `.npy` file that grows by rows, in any order."""

import io
from collections.abc import Collection
from math import prod
from pathlib import Path

import numpy as np

from ..files import sync
from .extractor import Output


class ArrayFile:
    """The `.npy` file of an output, with a row for each example.

    Args:
        path: The file.
        output: The shape and dtype of a row.
    """

    def __init__(self, path: Path, output: Output) -> None:
        self._path = path
        self._shape, self._dtype = output.shape, np.dtype(output.dtype)
        self._row_bytes = self._dtype.itemsize * prod(self._shape)

    def begin(self) -> None:
        """Write an array without rows."""
        self._path.write_bytes(self._header(0))

    def write(self, first: int, values: np.ndarray, is_valid: np.ndarray) -> None:
        """Write rows.

        Args:
            first: Index of the first row.
            values: The values of the valid rows; not used if there are none.
            is_valid: Which rows have values. The others are NaN, or zero for integers.
        """
        fill = np.nan if self._dtype.kind == "f" else 0
        rows = np.full((len(is_valid), *self._shape), fill, self._dtype)
        if is_valid.any():
            rows[is_valid] = values
        # Not through a memory map, which crashes the process when the disk is full.
        with self._path.open("r+b") as file:
            file.seek(len(self._header(0)) + first * self._row_bytes)
            file.write(rows.data)
        sync(self._path)

    def finish(self, rows: int) -> None:
        """Note the number of rows in the header."""
        with self._path.open("r+b") as file:
            file.write(self._header(rows))
        sync(self._path)

    def is_intact(self, counts: Collection[int], rows: int) -> bool:
        """Whether the header has one of the given numbers of rows, and the data at least `rows`."""
        headers = [self._header(count) for count in counts]
        size = len(headers[0])
        try:
            with self._path.open("rb") as file:
                is_ours = file.read(size) in headers
            return is_ours and self._path.stat().st_size >= size + rows * self._row_bytes
        except OSError:
            return False

    def _header(self, rows: int) -> bytes:
        """The head of a `.npy` file, whose length does not depend on the number of rows."""
        descr = np.lib.format.dtype_to_descr(self._dtype)
        head = {"descr": descr, "fortran_order": False, "shape": (rows, *self._shape)}
        file = io.BytesIO()
        np.lib.format.write_array_header_1_0(file, head)
        return file.getvalue()
