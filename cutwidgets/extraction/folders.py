"""A folder of images as a data set. A file that cannot be read does not affect the others."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph
from ..inference.images import pixels, takes_images
from ..inference.pictures import photo
from .examples import Batch, Examples, Id, sample


class Folder(Examples):
    r"""The images in a folder and its subfolders, sorted by path.

    Links to folders are followed, but no folder is visited twice, so circular links end. Whatever
    cannot be read becomes a broken example: a file; a folder, listed with a trailing slash;
    anything that is named like an image and is none; and a file whose name is not UTF-8, listed
    with the byte escaped, as in `caf\xe9.png`.

    Args:
        path: The folder.
        graph: The call graph of the model.

    Raises:
        CutwidgetsError: If the folder cannot be read or has no images, or the model takes no
            images.
    """

    kind = "folder of images"
    ids = str

    def __init__(self, path: Path, graph: CallGraph) -> None:
        if not takes_images(graph):
            shapes = ", ".join(str(graph.tensors[tensor].shape) for tensor in graph.inputs)
            raise CutwidgetsError(
                f"The model {graph.name!r} takes {shapes}. Images of a folder need an input of "
                "four axes, with 1 or 3 channels. A slice from the middle of a model takes feature "
                "maps: cut the head instead, cw.cut(model, end=...), or give arrays of that shape."
            )
        try:
            self.root = path.resolve()
            os.scandir(self.root).close()
        except (OSError, RuntimeError) as error:
            raise CutwidgetsError(f"Cannot read the folder {str(path)!r}: {error}") from error
        self.names, self._broken = _images(self.root)
        if not self.names:
            raise CutwidgetsError(
                f"There are no images in the folder {str(path)!r} or its subfolders: no file name "
                "has an ending of images (.jpg, .png, .tif, .webp, ...)."
            )
        self.size = len(self.names)

    def identity(self) -> dict[str, Any]:
        """Paths, sizes and modification times of all files, and the first bytes of 64 of them."""
        files = blake2b(digest_size=16)
        sampled = {self.names[i] for i in sample(len(self.names))}
        for name in self.names:
            files.update(f"{name}\0{self._broken.get(name)}\0".encode())
            with suppress(OSError):
                if name not in self._broken:
                    status = (self.root / name).stat()
                    files.update(f"{status.st_size} {status.st_mtime_ns}\0".encode())
                    if name in sampled:
                        with (self.root / name).open("rb") as file:
                            files.update(file.read(2**12))
        return {"kind": self.kind, "number": self.size, "files": files.hexdigest()}

    def shapes(self, graph: CallGraph) -> list[tuple[int, ...]]:
        """The shape to which images are resized."""
        return [pixels(graph, Image.new("RGB", (8, 8))).shape[1:]]

    def batch(self, graph: CallGraph, first: int, last: int) -> Batch:
        """Read images as pixels from 0 to 255, resized for the model."""
        ids: list[Id] = list(self.names[first:last])
        images: list[np.ndarray] = []
        broken: dict[Id, str] = {}
        for name in self.names[first:last]:
            try:
                # The file may have been replaced since the folder was listed.
                problem = self._broken.get(name) or _problem(self.root / name)
                if problem and self.root.is_dir():
                    broken[name] = problem
                else:
                    images.append(pixels(graph, photo(self.root / name)))
            except Exception as error:  # readers of image files raise all kinds of exceptions
                reason = error.__cause__ or error
                of_system = isinstance(reason, OSError) and reason.errno in _SYSTEM_ERRORS
                if of_system or isinstance(reason, MemoryError) or not self.root.is_dir():
                    raise CutwidgetsError(
                        f"Cannot read {name!r} in the folder {str(self.root)!r}: "
                        f"{reason or type(reason).__name__}. Earlier examples are stored: call "
                        "again with the same arguments."
                    ) from error
                broken[name] = printable(f"{type(reason).__name__}: {reason}")
        return Batch(ids, [np.concatenate(images)] if images else [], broken)


# Errors that are not caused by a single file, but by the disk, the network or a lack of memory.
_SYSTEM_ERRORS = (
    *(errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE),
    *(errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH),
)


def printable(name: str) -> str:
    r"""A file name in valid UTF-8: other bytes are written as a backslash, x and two digits.

    Example:
        >>> printable("caf\udce9.png")
        'caf\\xe9.png'
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _images(root: Path) -> tuple[list[str], dict[str, str]]:
    """Sorted relative paths of the images below a folder, and why some of them are broken."""
    problems = dict(_walked(root))
    for name in sorted(problems):
        written = printable(name)
        if written != name:
            reason = problems.pop(name) or "its name is not UTF-8: rename it"
            while written in problems:
                written = f"\\{written}"
            problems[written] = reason
    return sorted(problems), {
        name: printable(problem) for name, problem in problems.items() if problem
    }


def _walked(root: Path) -> Iterator[tuple[str, str]]:
    """Relative paths of images and of unreadable folders, each with its problem or `""`."""
    Image.init()
    formats = Image.registered_extensions()
    endings = {end for end in formats if Image.MIME.get(formats[end], "").startswith("image/")}
    errors: list[OSError] = []
    visited = set()
    pending = [root]
    while pending:
        for path, folders, files in os.walk(pending.pop(0), onerror=errors.append):
            folder = Path(path)
            if folder.resolve() in visited:
                folders.clear()
                continue
            visited.add(folder.resolve())
            folders.sort()
            for name in (*folders, *files):
                if Path(name).suffix.lower() in endings and not name.startswith("."):
                    yield (folder / name).relative_to(root).as_posix(), _problem(folder / name)
            # Links come last, so that the folder itself is listed under its own path.
            pending += [folder / name for name in folders if (folder / name).is_symlink()]
    for error in errors:
        inside = Path(error.filename).relative_to(root).as_posix()
        yield f"{inside}/", f"{type(error).__name__}: {error.strerror}"


def _problem(file: Path) -> str:
    """Why a path is not a readable file; `""` if it is one.

    Opening a pipe would wait until something writes to it, and a device may have no end.
    """
    try:
        mode = file.stat().st_mode
    except (OSError, RuntimeError) as error:
        return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"
    kinds = [(stat.S_ISDIR, "a folder"), (stat.S_ISSOCK, "a socket"), (stat.S_ISFIFO, "a pipe")]
    kind = next((kind for is_kind, kind in kinds if is_kind(mode)), "a device")
    return "" if stat.S_ISREG(mode) else f"it is no file, but {kind}"
