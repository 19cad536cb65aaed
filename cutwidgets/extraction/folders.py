"""A folder of images as a data set: whatever is wrong with a file of it, the others are read."""

import errno
import os
import stat
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
from .examples import Batch, Examples, Id, spread


class Folder(Examples):
    r"""The images of a folder and those below it, in the order of their paths.

    Folders that are links are looked into as well, but none twice: so links in a circle have an
    end. What cannot be read is an example that is broken: a file, a folder, which is listed with a
    slash at its end, whatever has the name of an image and is none, and a file whose name is no
    UTF-8, which is listed with that byte written as in `caf\xe9.png`.

    Args:
        path: The folder.
        graph: The graph of the model that will look at them.

    Raises:
        CutwidgetsError: If there are none, the folder itself cannot be read, or the model takes no
            images.
    """

    kind = "folder of images"
    ids = str

    def __init__(self, path: Path, graph: CallGraph) -> None:
        if not takes_images(graph):
            shapes = ", ".join(str(graph.tensors[tensor].shape) for tensor in graph.inputs)
            raise CutwidgetsError(
                f"The model {graph.name!r} takes {shapes}, and a folder holds images: four axes, "
                "and 1 or 3 channels. A slice that begins in the middle of a model takes what the "
                "blocks before it give: cut the head instead, cw.cut(model, end=...), or give "
                "arrays of that shape."
            )
        try:
            self.root = path.resolve()
            os.listdir(self.root)
        except (OSError, RuntimeError) as error:
            raise CutwidgetsError(f"Cannot read the folder {str(path)!r}: {error}") from error
        self.names, self._broken = _listed(self.root)
        if not self.names:
            raise CutwidgetsError(
                f"There are no images in the folder {str(path)!r} or below it: no file ends as "
                "those do (.jpg, .png, .tif, .webp, ...)."
            )
        self.size = len(self.names)

    def identity(self) -> dict[str, Any]:
        """Paths, sizes and times of all files, and a sample: what 64 of them begin with."""
        found = blake2b(digest_size=16)
        sample = set(spread(len(self.names)))
        for i, name in enumerate(self.names):
            found.update(f"{name}\0{self._broken.get(name)}\0".encode())
            with suppress(OSError):
                if name not in self._broken:
                    file = self.root / name
                    about = file.stat()
                    found.update(f"{about.st_size} {about.st_mtime_ns}\0".encode())
                    if i in sample:
                        with file.open("rb") as opened:
                            found.update(opened.read(2**12))
        return {"kind": self.kind, "number": self.size, "files": found.hexdigest()}

    def shapes(self, graph: CallGraph) -> list[tuple[int, ...]]:
        """What images are resized to."""
        return [pixels(graph, Image.new("RGB", (8, 8))).shape[1:]]

    def batch(self, graph: CallGraph, first: int, last: int) -> Batch:
        """Read images, as pixels from 0 to 255 of the size that the model takes."""
        ids: list[Id] = list(self.names[first:last])
        read: list[np.ndarray] = []
        broken: dict[Id, str] = {}
        for name in self.names[first:last]:
            try:
                # It may be another one by now.
                broken_by = self._broken.get(name) or _no_file(self.root / name)
                if broken_by and self.root.is_dir():
                    broken[name] = broken_by
                else:
                    read.append(pixels(graph, photo(self.root / name)))
            except Exception as error:  # what the readers of image files raise is no closed list
                reason = error.__cause__ or error
                of_system = isinstance(reason, OSError) and reason.errno in _OF_THE_SYSTEM
                if of_system or isinstance(reason, MemoryError) or not self.root.is_dir():
                    raise CutwidgetsError(
                        f"Cannot read {name!r} of the folder {str(self.root)!r}: "
                        f"{reason or type(reason).__name__}. What was done is stored: call again "
                        "with the same arguments."
                    ) from error
                broken[name] = readable_name(f"{type(reason).__name__}: {reason}")
        return Batch(ids, [np.concatenate(read)] if read else [], broken)


# Errors that are no fault of a single file: of the disk or the network, or too many open files.
_OF_THE_SYSTEM = (
    *(errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE),
    *(errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH),
)


def readable_name(name: str) -> str:
    r"""A name that can be written everywhere: bytes that are no UTF-8 as backslash, x and digits.

    Example:
        >>> readable_name("caf\udce9.png")
        'caf\\xe9.png'
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _listed(root: Path) -> tuple[list[str], dict[str, str]]:
    """The images below a folder, by their paths in it, and why some of them cannot be read."""
    Image.init()
    formats = Image.registered_extensions()
    known = {end for end in formats if Image.MIME.get(formats[end], "").startswith("image/")}
    found: dict[str, str] = {}
    seen: set[tuple[int, int]] = set()

    def look(folder: Path, links: list[Path]) -> None:
        """Look into a folder; links to folders are for later, that none hides the folder itself."""
        inside = folder.relative_to(root)
        try:
            about = folder.stat()
            if (about.st_dev, about.st_ino) in seen:
                return
            seen.add((about.st_dev, about.st_ino))
            entries = sorted(os.listdir(folder))
        except OSError as error:
            found[f"{inside.as_posix()}/"] = f"{type(error).__name__}: {error.strerror}"
            return
        for name in entries:
            file = folder / name
            if os.path.splitext(name)[1].lower() in known and not name.startswith("."):
                found[(inside / name).as_posix()] = _no_file(file)
            if os.path.isdir(file):
                if os.path.islink(file):
                    links.append(file)
                else:
                    look(file, links)

    later: list[Path] = []
    look(root, later)
    while later:
        look(later.pop(0), later)
    broken: dict[str, str] = {}
    for name, reason in sorted(found.items()):
        written = readable_name(name)
        if written != name:
            reason = reason or "its name is no UTF-8: rename it"
            while written in found:
                written = f"\\{written}"
        broken[written] = readable_name(reason)
    return sorted(broken), {name: reason for name, reason in broken.items() if reason}


def _no_file(file: Path) -> str:
    """Why something with the name of an image is no file that can be read; `""` if it is one.

    To open a pipe would wait for somebody to write into it, and a device has no end.
    """
    try:
        mode = file.stat().st_mode
    except (OSError, RuntimeError) as error:
        return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"
    kinds = [(stat.S_ISDIR, "a folder"), (stat.S_ISSOCK, "a socket"), (stat.S_ISFIFO, "a pipe")]
    kind = next((kind for is_kind, kind in kinds if is_kind(mode)), "a device")
    return "" if stat.S_ISREG(mode) else f"it is no file, but {kind}"
