"""Stored features: a Parquet file for each chunk, written as a whole or not at all.

For a `.npy` file the Parquet files only hold the ids, and say which rows of the array exist.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from ..errors import CutwidgetsError
from ..files import UNFINISHED, write_whole
from .array_file import ArrayFile
from .extractor import Chunk, Output
from .part_files import PART, as_array, as_column, folder_of, part_files, valid_path

# Readers of Parquet folders ignore names that begin with an underscore.
_MANIFEST, _LOCK, _ARRAY = "_features.json", "_features.lock", "_array.npy"

_KEY = b"cutwidgets"

_MAKER = "cutwidgets.features"  # a manifest without it belongs to the user

SHUFFLES = (
    "A data set that shuffles has another order each time: give it a seed, and "
    "reshuffle_each_iteration=False. "
)

# What distinguishes runs, and its name in a message.
_IDENTITY = {
    "layers": "the model's layers",
    "weights": "the model's weights",
    "outputs' names": "the names of the outputs",
    "data": "the data",
    "preprocessing": "the preprocessing",
    "batch": "the batch",
    "version": "the version",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A stored chunk: the number of its examples, the broken ones, a hash of its data."""

    examples: int
    broken: dict[str, str]
    digest: str


class Store:
    """Features on disk, complete or not.

    Args:
        to: A path that ends in `.parquet` or `.npy`.

    Raises:
        CutwidgetsError: If it has another ending, or something else exists there.
    """

    def __init__(self, to: str | os.PathLike[str]) -> None:
        self.path = valid_path(to)
        self.is_array = self.path.suffix == ".npy"
        self.folder = folder_of(self.path)
        self.manifest: dict[str, Any] = {}  # empty until something is stored
        self.parts: dict[int, Part] = {}
        self._load_manifest()

    @property
    def outputs(self) -> dict[str, Output]:
        """The features of an example."""
        return {
            name: Output(dtype, tuple(shape))
            for name, (dtype, shape) in self.manifest["outputs"].items()
        }

    @property
    def complete(self) -> bool:
        """Whether all features are stored."""
        return "examples" in self.manifest

    def stored(self) -> int:
        """The number of stored examples, broken ones included."""
        return sum(part.examples for part in self.parts.values())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs from storing in the same place, unless all features are stored.

        Raises:
            CutwidgetsError: If another run is storing there, or the place cannot be written to.
        """
        if self.complete:
            yield
            return
        lock = FileLock(self.folder / _LOCK)
        was_there = self.folder.is_dir()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise CutwidgetsError(
                f"Another run is storing features in {str(self.path)!r}. Wait until it ends, or "
                "give another place, to=..."
            ) from None
        except OSError as error:
            raise CutwidgetsError(
                f"Cannot write to {str(self.path)!r}: {error.strerror or error}."
            ) from error
        try:
            self._load_manifest()  # another run may have finished since
            yield
        finally:
            lock.release()
            if not self.manifest:
                with suppress(OSError):
                    (self.folder / _LOCK).unlink()
                    if not was_there:
                        self.folder.rmdir()

    def begin(
        self, run: dict[str, Any], measure: Callable[[], tuple[dict[str, Output], int]]
    ) -> None:
        """Begin to store features, or resume.

        Args:
            run: What distinguishes this run from others, for JSON.
            measure: Returns the model's outputs and the number of examples in a chunk.

        Raises:
            CutwidgetsError: If another run began here, or stored parts are damaged or gone.
        """
        # Without a part there is nothing to lose, as when the first batch did not fit.
        if self.complete or part_files(self.folder):
            self._resume(json.loads(json.dumps(run)))
            return
        outputs, chunk = measure()
        if self.is_array and len(outputs) > 1:
            raise CutwidgetsError(
                f"A .npy file holds one array, and the model has {len(outputs)} outputs, "
                f"{', '.join(map(repr, outputs))}. Store them in a folder that ends in .parquet."
            )
        about = {"made by": _MAKER, "form": self._form, **run, "chunk": chunk}
        shapes = {name: (output.dtype, output.shape) for name, output in outputs.items()}
        self.manifest = json.loads(json.dumps({**about, "outputs": shapes}))
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._save_manifest()
            if self.is_array:
                self._array_file().begin()

    def write(self, chunk: Chunk) -> None:
        """Store a chunk as a whole or not at all.

        Raises:
            CutwidgetsError: If it cannot be written, for example to a full disk.
        """
        part = Part(len(chunk.ids), {str(k): v for k, v in chunk.broken.items()}, chunk.digest)
        is_valid = np.array([name not in chunk.broken for name in chunk.ids], bool)
        schema = self._schema().with_metadata({_KEY: json.dumps(asdict(part))})
        ids = [i for i, valid in zip(chunk.ids, is_valid, strict=True) if valid or self.is_array]
        outputs = chunk.outputs or [np.empty((0, *o.shape), o.dtype) for o in self.outputs.values()]
        values = [ids] if self.is_array else [ids, *outputs]
        columns = [as_column(v, field.type) for v, field in zip(values, schema, strict=True)]
        table = pa.Table.from_arrays(columns, schema=schema)
        file = self.folder / f"part-{chunk.number:06d}.parquet"
        with self._writing():
            if self.is_array:
                first = chunk.number * self.manifest["chunk"]
                self._array_file().write(first, outputs[0], is_valid)
            write_whole(file, lambda path: pq.write_table(table, path), replace=True)
        self.parts[chunk.number] = part

    def finish(self) -> None:
        """Note that all chunks are stored."""
        examples = self.stored()
        broken = {k: v for _, part in sorted(self.parts.items()) for k, v in part.broken.items()}
        with self._writing():
            if self.is_array:
                self._array_file().finish(examples)
            self.manifest |= {"examples": examples, "broken": broken}
            self._save_manifest()
            for file in self.folder.glob(f"{UNFINISHED}*"):  # of runs that were killed
                file.unlink(missing_ok=True)
        self._publish()

    @property
    def _form(self) -> str:
        return "an array" if self.is_array else "a folder"

    def _load_manifest(self) -> None:
        self.manifest = {}
        others: list[Path] = []
        file = self.folder / _MANIFEST
        try:
            if file.exists():
                manifest = json.loads(file.read_text("utf-8"))
                if not isinstance(manifest, dict) or manifest.get("made by") != _MAKER:
                    raise ValueError("it was not written by this version of cutwidgets")
                self.manifest = manifest
            elif self.folder.is_dir():
                names = (path for path in sorted(self.folder.iterdir()) if path.name != _LOCK)
                others = [path for path in names if not path.name.startswith(UNFINISHED)]
            elif os.path.lexists(self.folder):
                others = [self.folder]
        except (OSError, ValueError) as error:
            raise CutwidgetsError(
                f"The features in {str(self.folder)!r} cannot be read: {error}. Give another "
                "place, to=..."
            ) from error
        if self.manifest and self.manifest.get("form") != self._form:
            raise CutwidgetsError(
                f"{str(self.folder)!r} belongs to features that are stored as "
                f"{self.manifest.get('form')}. Give another place, to=..."
            )
        if self.is_array and not self.complete and os.path.lexists(self.path):
            others.insert(0, self.path)
        if others:
            raise CutwidgetsError(
                f"{str(others[0])!r} exists, and holds no features of an earlier run. Give another "
                "place, to=..."
            )

    def _resume(self, run: dict[str, Any]) -> None:
        before = self.manifest
        differences = [
            f"{words} (was {_in_words(before.get(key))}, is {_in_words(run[key])})"
            for key, words in _IDENTITY.items()
            if _unnamed(before.get(key)) != _unnamed(run[key])
        ]
        if differences:
            hint = SHUFFLES if before["data"].get("first") != run["data"].get("first") else ""
            raise CutwidgetsError(
                f"{str(self.path)!r} holds features of another run. What differs: "
                f"{', '.join(differences)}. Give another place, to=... {hint}{self._restart()}"
            )
        self.parts = self._read_parts()
        if self.is_array:
            self._check_array()

    def _read_parts(self) -> dict[int, Part]:
        parts = {}
        for number, file in part_files(self.folder).items():
            try:
                schema = pq.read_schema(file)
                parts[number] = Part(**json.loads((schema.metadata or {})[_KEY]))
                missing = [field.name for field in self._schema() if field not in list(schema)]
                if missing:
                    raise ValueError(f"the columns {', '.join(map(repr, missing))} do not fit")
            except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
                raise CutwidgetsError(
                    f"{str(file)!r} is damaged, or no part of these features: {error}. Move it "
                    "away, and call again: its features are computed again."
                ) from error
        return parts

    def _schema(self) -> pa.Schema:
        """The columns: the id, and a list of fixed length for each output."""
        is_text = self.manifest["data"]["ids"] == "str"
        fields = [pa.field("id", pa.string() if is_text else pa.int64())]
        for name, output in () if self.is_array else self.outputs.items():
            kind = pa.from_numpy_dtype(np.dtype(output.dtype))
            kind = pa.list_(kind, prod(output.shape)) if output.shape else kind
            fields.append(pa.field(name, kind, metadata={"shape": json.dumps(output.shape)}))
        return pa.schema(fields)

    @property
    def _unfinished(self) -> Path:
        """The array until it is complete."""
        return self.folder / _ARRAY

    def _array_file(self) -> ArrayFile:
        (output,) = self.outputs.values()
        return ArrayFile(self.path if self.complete else self._unfinished, output)

    def _publish(self) -> None:
        """Move a complete array to its place, unless that was done before."""
        if not self._unfinished.exists():
            return
        if os.path.lexists(self.path):
            raise CutwidgetsError(
                f"Another file is now at {str(self.path)!r}, where the finished array belongs. "
                "Move it away and call again with the same arguments; nothing is computed again."
            )
        with self._writing(), suppress(FileNotFoundError):  # another run was faster
            os.replace(self._unfinished, self.path)

    def _check_array(self) -> None:
        """Check that the array exists, with the rows of all parts."""
        if self.complete:
            self._publish()  # the process may have been killed before
        ends = [n * self.manifest["chunk"] + part.examples for n, part in self.parts.items()]
        counts = [self.manifest["examples"]] if self.complete else [0, self.stored()]
        if not self._array_file().is_intact(counts, max(ends, default=0)):
            file = self.path if self.complete else self._unfinished
            raise CutwidgetsError(
                f"The array {str(file)!r} is missing, damaged or another one. Give another place, "
                f"to=... {self._restart()}"
            )

    def _save_manifest(self) -> None:
        text = json.dumps(self.manifest, indent=1)
        file = self.folder / _MANIFEST
        write_whole(file, lambda path: path.write_text(text, "utf-8"), replace=True)

    def _restart(self) -> str:
        """How to begin anew in this place, unless files of the user would be lost."""
        for file in self.folder.iterdir():
            is_ours = file.name in (_MANIFEST, _LOCK, _ARRAY) or PART.fullmatch(file.name)
            if not is_ours and not file.name.startswith(UNFINISHED):
                return ""
        array = f" and the array {str(self.path)!r}" if self.is_array else ""
        return f"To begin anew in this one, delete the folder {str(self.folder)!r}{array}."

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, CutwidgetsError) as error:
            problem = getattr(error.__cause__ or error, "strerror", None) or error
            broken = sum(len(part.broken) for part in self.parts.values())
            raise CutwidgetsError(
                f"Cannot write to {str(self.path)!r}: {problem}. "
                f"{self.stored() - broken:,} examples are stored, and kept. Free space if the disk "
                "is full, and call again with the same arguments."
            ) from error


def read_features(path: Path, shapes: dict[str, tuple[int, ...]]) -> tuple[np.ndarray, Any]:
    """Ids and stored features, as `Features.read` returns them."""
    try:
        files = part_files(folder_of(path)).values()
        table = pa.concat_tables([pq.read_table(file, partitioning=None) for file in files])
        ids = table["id"].to_numpy()
        if path.suffix == ".npy":
            return ids, np.load(path, mmap_mode="r")
        arrays = {name: as_array(table[name], shape) for name, shape in shapes.items()}
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise CutwidgetsError(f"Cannot read features from {str(path)!r}: {error}") from error
    return ids, arrays["features"] if list(arrays) == ["features"] else arrays


def _unnamed(about: Any) -> Any:
    """A part of a run's identity without its name, which does not distinguish runs."""
    return {k: v for k, v in about.items() if k != "name"} if isinstance(about, dict) else about


def _in_words(about: Any) -> str:
    """A part of a run's identity, for a message."""
    if isinstance(about, dict) and "name" in about:
        return f"{about['name']}, {about['hash'][:8]}"
    return str(about)
