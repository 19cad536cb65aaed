"""Data sets as examples in a row, each with an id, of which any batch can be read."""

import errno
import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .errors import CutError
from .graph import CallGraph
from .pictures import photo
from .running import dtype_of, pixels, takes_images

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
    """

    size: int | None
    kind: str
    ids: type = int

    def identity(self) -> dict[str, Any]:
        """What tells this data set from others, for JSON."""
        raise NotImplementedError

    def shapes(self, graph: CallGraph) -> list[tuple[int, ...]]:
        """The shape of an example, without the batch axis, for each input of a model."""
        raise NotImplementedError

    def batch(self, graph: CallGraph, first: int, last: int) -> Batch:
        """The examples from first to before last, or to the end of the data set.

        Raises:
            CutError: If the data cannot be read.
        """
        raise NotImplementedError


class Folder(Examples):
    """The images of a folder and those below it, in the order of their paths.

    Args:
        path: The folder.
        graph: The graph of the model that will look at them.

    Raises:
        CutError: If there are none, or the model takes no images.
    """

    kind = "folder of images"
    ids = str

    def __init__(self, path: Path, graph: CallGraph) -> None:
        if not takes_images(graph):
            shapes = ", ".join(str(graph.tensors[tensor].shape) for tensor in graph.inputs)
            raise CutError(
                f"The model {graph.name!r} takes {shapes}, and a folder holds images: four axes, "
                "and 1 or 3 channels. A slice that begins in the middle of a model takes what the "
                "blocks before it give: cut the head instead, cw.cut(model, end=...), or give "
                "arrays of that shape."
            )
        Image.init()
        formats = Image.registered_extensions()
        known = {end for end in formats if Image.MIME.get(formats[end], "").startswith("image/")}
        self.root = path.resolve()
        hashed = blake2b(digest_size=16)
        self.names: list[str] = []
        for folder, _, files in os.walk(self.root):
            for name in files:
                if os.path.splitext(name)[1].lower() in known and not name.startswith("."):
                    full = Path(folder, name)
                    self.names.append(full.relative_to(self.root).as_posix())
        if not self.names:
            raise CutError(
                f"There are no images in the folder {str(path)!r} or below it: no file ends as "
                "those do (.jpg, .png, .tif, .webp, ...)."
            )
        self.names.sort()
        self.size = len(self.names)
        for name in self.names:
            full = self.root / name
            hashed.update(f"{name}\0{full.stat().st_size if full.exists() else -1}\0".encode())
        self._digest = hashed.hexdigest()

    def identity(self) -> dict[str, Any]:
        """The paths and sizes of the files."""
        return {"kind": self.kind, "number": self.size, "names and sizes": self._digest}

    def shapes(self, graph: CallGraph) -> list[tuple[int, ...]]:
        """What images are resized to."""
        return [pixels(graph, Image.new("RGB", (8, 8))).shape[1:]]

    def batch(self, graph: CallGraph, first: int, last: int) -> Batch:
        """Read images, as pixels from 0 to 255 of the size that the model takes."""
        ids: list[Id] = list(self.names[first:last])
        read, broken = [], {}
        for name in ids:
            try:
                read.append(pixels(graph, photo(self.root / str(name))))
            except Exception as error:  # what the readers of image files raise is no closed list
                reason = error.__cause__ or error
                if isinstance(reason, MemoryError):
                    raise
                if isinstance(reason, OSError) and reason.errno not in _OF_ONE_FILE:
                    raise CutError(
                        f"Cannot read {name!r} of the folder {str(self.root)!r}: {reason}. What "
                        "was done is stored: call again with the same arguments."
                    ) from error
                broken[name] = f"{type(reason).__name__}: {reason}"
        return Batch(ids, [np.concatenate(read)] if read else [], broken)


# Errors of the system that are those of a file, not of the disk; Pillow's own have no number.
_OF_ONE_FILE = (None, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.EINVAL)


class Arrays(Examples):
    """Examples along the first axis of arrays, one array for each input of a model.

    Arrays on disk (`np.memmap`) are read a batch at a time, also by other processes.

    Raises:
        CutError: If there are no examples, or not as many in each array.
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
            raise CutError(
                f"Arrays have an example a row, and as many for each input. Received: {shapes}."
            )
        self.size = int(sizes.pop())

    def identity(self) -> dict[str, Any]:
        """Shapes, dtypes, and a hash of 64 examples spread over all of them."""
        assert self.size
        arrays = self._arrays
        spread = np.unique(np.linspace(0, self.size - 1, 64).astype(int)).tolist()
        some = [np.stack([np.asarray(a[i]) for i in spread]) for a in arrays.values()]
        return {
            "kind": self.kind,
            "arrays": {name: f"{a.dtype} {tuple(a.shape)}" for name, a in arrays.items()},
            "values": Batch(spread, some).digest,
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


def _on_disk(array: Any) -> dict[str, Any] | None:
    """Where the values of an array are on disk, if they are there."""
    whole = array
    while isinstance(whole, np.memmap) and not isinstance(whole.base, mmap.mmap):
        whole = whole.base
    if not (isinstance(whole, np.memmap) and whole.filename and array.flags.c_contiguous):
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
        CutError: If there is not one for each.

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
            raise CutError(
                f"{what} has no {', '.join(map(repr, missing))}, which the model {graph.name!r} "
                f"takes. It has {', '.join(map(repr, given)) or 'nothing'}."
            )
        return {name: given[name] for name in names}
    if len(names) == 1:
        return {names[0]: given[0] if _is_list_of_one(given, graph) else given}
    if not isinstance(given, list | tuple) or len(given) != len(names):
        raise CutError(
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
