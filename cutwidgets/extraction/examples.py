"""Data sets as examples in a row, each with an id, of which any batch can be read."""

import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph
from ..inference.inputs import dtype_of
from .hashing import array_hash, atom, hashed

Id = str | int


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples that follow each other.

    Attributes:
        ids: Their ids, also those of examples that cannot be read.
        inputs: For each input of the model an array of those that can, in the same order.
        broken: For the ids of those that cannot, the reasons.
    """

    ids: list[Id]
    inputs: list[np.ndarray]
    broken: dict[Id, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A hash of all of it, to tell later whether the data are still the same."""
        hashed = blake2b(repr(self.ids).encode(), digest_size=16)
        for values in self.inputs:
            is_text = values.dtype.kind in "OUS"
            hashed.update(repr(values.tolist()).encode() if is_text else values.tobytes())
        return hashed.hexdigest()


class Examples:
    """A data set. It knows nothing of a model, so that it can be sent to other processes.

    Attributes:
        size: The number of examples; `None` where nobody knows.
        kind: What it is, in words.
        ids: The type of its ids.
        unknown: What `identity` cannot tell from another, in words.
    """

    size: int | None
    kind: str
    ids: type = int
    unknown: tuple[str, ...] = ()

    def identity(self) -> dict[str, Any]:
        """What tells this data set from others, for JSON."""
        raise NotImplementedError

    def shapes(self, graph: CallGraph) -> list[tuple[int, ...]]:
        """The shape of an example, without the batch axis, for each input of a model."""
        raise NotImplementedError

    def batch(self, graph: CallGraph, first: int, last: int) -> Batch:
        """The examples from first to before last, or to the end of the data set.

        Raises:
            CutwidgetsError: If the data cannot be read.
        """
        raise NotImplementedError


def spread(size: int) -> list[int]:
    """Up to 64 numbers below a size, spread evenly, the last among them."""
    return [int(i) for i in np.unique(np.linspace(0, size - 1, 64).astype(int))]


class Arrays(Examples):
    """Examples along the first axis of arrays, one array for each input of a model.

    Arrays on disk (`np.memmap`) are read a batch at a time, also by other processes.

    Raises:
        CutwidgetsError: If there are no examples, or not as many in each array.
    """

    kind = "arrays"

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self._arrays = {
            name: array if hasattr(array, "shape") and hasattr(array, "dtype") else np.array(array)
            for name, array in arrays.items()
        }
        shapes = {name: tuple(array.shape) for name, array in self._arrays.items()}
        sizes = {shape[0] if shape else 0 for shape in shapes.values()}
        if len(sizes) != 1 or 0 in sizes:
            raise CutwidgetsError(
                f"Arrays have an example a row, and as many for each input. Received: {shapes}."
            )
        self.size = int(sizes.pop())
        self.unknown = tuple(
            f"the data (of type {type(array).__name__}, of which 64 rows are looked at)"
            for array in self._arrays.values()
            if not _in_memory(array) and _mapped(array) is None
        )

    def identity(self) -> dict[str, Any]:
        """Shapes, dtypes and a hash of all rows.

        Of a file that is mapped: its size, its time, and a sample of 64 rows.
        """
        arrays = list(self._arrays.values())
        return {
            "kind": self.kind,
            "arrays": [f"{array.dtype} {tuple(array.shape)}" for array in arrays],
            "values": [_rows_hash(array) for array in arrays],
        }

    def shapes(self, graph: CallGraph) -> list[tuple[int, ...]]:
        """The shapes of a row."""
        return [tuple(array.shape[1:]) for array in self._arrays.values()]

    def batch(self, graph: CallGraph, first: int, last: int) -> Batch:
        """Read rows."""
        assert self.size
        inputs = [np.asarray(array[first:last]) for array in self._arrays.values()]
        return Batch(list(range(first, min(last, self.size))), inputs)

    def __getstate__(self) -> dict[str, Any]:
        """Of an array on disk its file, not its values, which need not fit into memory."""
        on_disk = {name: _on_disk(array) for name, array in self._arrays.items()}
        in_memory = {name: a for name, a in self._arrays.items() if on_disk[name] is None}
        return {"size": self.size, "on disk": on_disk, "in memory": in_memory}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.size = state["size"]
        self._arrays = {
            name: state["in memory"][name] if where is None else np.memmap(mode="r", **where)
            for name, where in state["on disk"].items()
        }


def _in_memory(array: Any) -> bool:
    """Whether all rows of an array can be looked at; not where they are read from somewhere."""
    whole = _mapped(array)
    if whole is not None:
        return bool(whole.mode == "c")  # changes of such a one are not in the file
    return (
        isinstance(array, np.ndarray)
        or hasattr(array, "__array_interface__")
        or (type(array).__module__.partition(".")[0] in ("tensorflow", "jaxlib", "jax", "torch"))
    )


def _rows_hash(array: Any) -> str:
    """What tells the values of an array from others."""
    if _in_memory(array):
        return _values_hash(np.asarray(array))
    whole = _mapped(array)
    some = spread(len(array))
    sample = _values_hash(np.stack([np.asarray(array[i]) for i in some]))
    if whole is None or not whole.filename:
        return f"64 rows {sample}"
    about = os.stat(whole.filename)
    place = array.ctypes.data - whole.ctypes.data
    return f"{about.st_size} {about.st_mtime_ns} {place} {array.strides} {sample}"


def _values_hash(values: np.ndarray) -> str:
    if values.dtype.kind == "O":
        return hashed(values.shape, *(atom(v) for v in values.ravel().tolist())).hex()
    return array_hash(values).hex()


def _mapped(array: Any) -> Any:
    """The array of a whole file that an array is a part of, if it is mapped from one."""
    whole = array
    while isinstance(whole, np.memmap) and not isinstance(whole.base, mmap.mmap):
        whole = whole.base
    return whole if isinstance(whole, np.memmap) else None


def _on_disk(array: Any) -> dict[str, Any] | None:
    """Where the values of an array are on disk, if they are there."""
    whole = _mapped(array)
    if whole is None or not (whole.filename and array.flags.c_contiguous):
        return None
    offset = whole.offset + array.ctypes.data - whole.ctypes.data
    file = str(Path(whole.filename).resolve())
    return {"filename": file, "dtype": array.dtype, "shape": array.shape, "offset": offset}


def by_input(given: Any, graph: CallGraph, what: str) -> dict[str, Any]:
    """What is given for each input of a model, by the inputs' names.

    Args:
        given: A value, a list or tuple of them, or a dictionary by names.
        graph: The graph of the model.
        what: What it was given in, for the error.

    Raises:
        CutwidgetsError: If there is not one for each.

    Example:
        >>> import keras
        >>> from cutwidgets.callgraph import read
        >>> graph = read(keras.Sequential([keras.Input((2,), name="x"), keras.layers.ReLU()]))
        >>> by_input([3, 4], graph, "The list")
        {'x': [3, 4]}
    """
    names = [graph.maker(tensor).name for tensor in graph.inputs]
    if isinstance(given, Mapping):
        missing = [name for name in names if name not in given]
        if missing:
            raise CutwidgetsError(
                f"{what} has no {', '.join(map(repr, missing))}, which the model {graph.name!r} "
                f"takes. It has {', '.join(map(repr, given)) or 'nothing'}."
            )
        return {name: given[name] for name in names}
    if len(names) == 1:
        return {names[0]: given[0] if _is_list_of_one(given, graph) else given}
    if not isinstance(given, list | tuple) or len(given) != len(names):
        raise CutwidgetsError(
            f"The model {graph.name!r} takes {', '.join(map(repr, names))}: give a list of as many "
            f"arrays, or a dictionary. Received: {given!r:.200}"
        )
    return dict(zip(names, given, strict=True))


def _is_list_of_one(given: Any, graph: CallGraph) -> bool:
    rank = len(graph.tensors[graph.inputs[0]].shape)
    return isinstance(given, list | tuple) and [getattr(v, "ndim", 0) for v in given] == [rank]


def blank(graph: CallGraph, shapes: Sequence[tuple[int, ...]], number: int) -> list[np.ndarray]:
    """Examples of nothing but zeros, or empty texts, to see what a model makes of their shapes."""
    dtypes = [dtype_of(graph.tensors[tensor]) for tensor in graph.inputs]
    return [
        np.full(
            (number, *shape), "" if dtype == "string" else 0, None if dtype == "string" else dtype
        )
        for shape, dtype in zip(shapes, dtypes, strict=True)
    ]
