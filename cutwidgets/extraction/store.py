"""Where features are stored: a Parquet file for each chunk, written whole or not at all.

Of a `.npy` file the Parquet files hold the ids alone, and say which rows of the array are there.
"""

import io
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
from ..files import UNFINISHED, sync, write_whole
from .extractor import Chunk, Output
from .store_files import PART, part_files, place

_MANIFEST = "_features.json"  # readers of Parquet folders leave out what begins with an underscore

_LOCK = "_features.lock"

_KEY = b"cutwidgets"

_MAKER = "cutwidgets.features"  # what is not by it is the user's own

_FORMS = {True: "an array", False: "a folder"}

_WORKING = "_array.npy"  # until all of it is there, in the folder of ids

SHUFFLES = (
    "A data set that shuffles gives another order each time; give it a seed and "
    "reshuffle_each_iteration=False. "
)

# What tells one run from another, and how to say so.
_SAME = {
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
    """What is known of a chunk that is stored: its examples, those broken, a hash of its data."""

    examples: int
    broken: dict[str, str]
    digest: str


class Store:
    """Features on disk, and how far they are.

    Args:
        to: A path that ends in `.parquet` or `.npy`.

    Raises:
        CutwidgetsError: If it ends otherwise, or there is something else.
    """

    def __init__(self, to: str | os.PathLike[str]) -> None:
        self.path = place(to)
        self.array = self.path if self.path.suffix == ".npy" else None
        self.folder = self.path.with_suffix(".ids.parquet") if self.array else self.path
        # Empty until something is stored.
        self.manifest: dict[str, Any] = {}
        self.parts: dict[int, Part] = {}
        self._look()

    @property
    def outputs(self) -> dict[str, Output]:
        """What is stored for each example."""
        return {
            name: Output(dtype, tuple(shape))
            for name, (dtype, shape) in self.manifest["outputs"].items()
        }

    @property
    def complete(self) -> bool:
        """Whether all of it is there."""
        return "examples" in self.manifest

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs from storing in the same place, unless all of it is there.

        Raises:
            CutwidgetsError: If one does so at the moment, or the place cannot be written to.
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
                f"Another run stores features in {str(self.path)!r} at this moment. Wait for it, "
                "or give another place, to=..."
            ) from None
        except OSError as error:
            raise CutwidgetsError(
                f"Cannot write to {str(self.path)!r}: {error.strerror or error}."
            ) from error
        try:
            self._look()  # another run may have come before
            yield
        finally:
            lock.release()
            if not self.manifest:
                with suppress(OSError):
                    (self.folder / _LOCK).unlink()
                    if not was_there:
                        self.folder.rmdir()

    def begin(
        self, run: dict[str, Any], outputs: Callable[[], tuple[dict[str, Output], int]]
    ) -> None:
        """Begin, or go on with what was begun.

        Args:
            run: What tells this run from others, for JSON.
            outputs: A function that gives the model's outputs, and the size of a chunk.

        Raises:
            CutwidgetsError: If what was begun is another run, or parts of it are damaged or gone.
        """
        # What has no part yet is lost to nobody, such as a run whose first batch did not fit.
        if not self.complete and not part_files(self.folder):
            made, chunk = outputs()
            if self.array and len(made) > 1:
                raise CutwidgetsError(
                    f"A .npy file holds one array, and the model has {len(made)} outputs, "
                    f"{', '.join(map(repr, made))}. Store them in a folder that ends in .parquet."
                )
            shapes = {name: (output.dtype, output.shape) for name, output in made.items()}
            made_by = {"made by": _MAKER, "form": _FORMS[self.array is not None]}
            about = {**made_by, **run, "chunk": chunk, "outputs": shapes}
            self.manifest = json.loads(json.dumps(about))
            with self._writing():
                self.folder.mkdir(parents=True, exist_ok=True)
                self._save()
            self._begin_array()
            return
        run = json.loads(json.dumps(run))
        was = self.manifest
        other = [
            f"{said} (was {_said(was.get(key))}, is {_said(run[key])})"
            for key, said in _SAME.items()
            if _unnamed(was.get(key)) != _unnamed(run[key])
        ]
        if other:
            hint = SHUFFLES if was["data"].get("first") != run["data"].get("first") else ""
            raise CutwidgetsError(
                f"{str(self.path)!r} holds features of another run. What differs: "
                f"{', '.join(other)}. Give another place, to=... {hint}{self._again()}"
            )
        self.parts = self._parts()
        if self.array:
            self._check_array()

    def write(self, chunk: Chunk) -> None:
        """Store a chunk, as a whole or not at all; a full disk is a CutwidgetsError."""
        part = Part(len(chunk.ids), {str(k): v for k, v in chunk.broken.items()}, chunk.digest)
        kept = np.array([name not in chunk.broken for name in chunk.ids], bool)
        with self._writing():
            if self.array:
                self._write_rows(chunk, kept)
            schema = self._schema().with_metadata({_KEY: json.dumps(asdict(part))})
            ids = [i for i, keep in zip(chunk.ids, kept, strict=True) if keep or self.array]
            columns = [pa.array(ids, schema.field("id").type)]
            none = [np.empty((0, *o.shape), o.dtype) for o in self.outputs.values()]
            outputs = zip(list(schema)[1:], chunk.outputs or none, strict=False)
            columns += [_column(values, field.type) for field, values in outputs]
            table = pa.Table.from_arrays(columns, schema=schema)
            file = self._file(chunk.number)
            write_whole(file, lambda path: pq.write_table(table, path), replace=True)
        self.parts[chunk.number] = part

    def finish(self) -> None:
        """Note that all chunks are there."""
        examples = self.stored()
        broken = {k: v for _, part in sorted(self.parts.items()) for k, v in part.broken.items()}
        with self._writing():
            if self.array:
                with self._working.open("r+b") as file:
                    file.write(self._header(examples))
                sync(self._working)
            self.manifest |= {"examples": examples, "broken": broken}
            self._save()
            for left in self.folder.iterdir():
                if left.name.startswith(UNFINISHED):
                    left.unlink(missing_ok=True)
        self._put_array()

    def _look(self) -> None:
        """See what is there."""
        self.manifest = {}
        file = self.folder / _MANIFEST
        try:
            if file.exists():
                found = json.loads(file.read_text("utf-8"))
                if not isinstance(found, dict) or found.get("made by") != _MAKER:
                    raise ValueError("it was not written by this version of cutwidgets")
                self.manifest = found
            if self.manifest:
                others = []
            elif self.folder.is_dir():
                there = sorted(self.folder.iterdir())
                others = [p for p in there if p.name != _LOCK and not p.name.startswith(UNFINISHED)]
            else:
                others = [self.folder] if os.path.lexists(self.folder) else []
            if self.array and os.path.lexists(self.array) and not self.complete:
                others.insert(0, self.array)
        except (OSError, ValueError) as error:
            raise CutwidgetsError(
                f"{str(self.folder)!r} holds no features that can be read: {error}. Give another "
                "place, to=..."
            ) from error
        form = self.manifest.get("form", _FORMS[self.array is not None])
        if form != _FORMS[self.array is not None]:
            raise CutwidgetsError(
                f"{str(self.folder)!r} belongs to features that are stored as {form}. Give another "
                "place, to=..."
            )
        if others:
            raise CutwidgetsError(
                f"{str(others[0])!r} is there, and holds no features of an earlier run. Give "
                "another place, to=..."
            )

    def stored(self) -> int:
        """The number of examples that are done, broken ones among them."""
        return sum(part.examples for part in self.parts.values())

    def _rows(self) -> int:
        """The number of examples whose features are stored."""
        return self.stored() - sum(len(part.broken) for part in self.parts.values())

    def _parts(self) -> dict[int, Part]:
        """The parts that are there."""
        found = {}
        for number, file in part_files(self.folder).items():
            try:
                schema = pq.read_schema(file)
                part = Part(**json.loads((schema.metadata or {})[_KEY]))
            except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
                raise CutwidgetsError(
                    f"{str(file)!r} is no part of these features, or damaged: {error}. Move it "
                    "away, and call again: what it held is computed anew."
                ) from error
            missing = [f.name for f in self._schema() if f not in list(schema)]
            if missing:
                raise CutwidgetsError(
                    f"{str(file)!r} lacks the columns {', '.join(map(repr, missing))}, or has "
                    f"others of these names: {', '.join(schema.names)}. Move it away, and call "
                    "again: what it held is computed anew."
                )
            found[number] = part
        return found

    def _schema(self) -> pa.Schema:
        """The columns: the id, and a list of fixed length for each output."""
        is_text = self.manifest["data"]["ids"] == "str"
        fields = [pa.field("id", pa.string() if is_text else pa.int64())]
        for name, output in () if self.array else self.outputs.items():
            kind = pa.from_numpy_dtype(np.dtype(output.dtype))
            kind = pa.list_(kind, prod(output.shape)) if output.shape else kind
            shape = {"shape": json.dumps(output.shape)}
            fields.append(pa.field(name, kind, metadata=shape))
        return pa.schema(fields)

    @property
    def _working(self) -> Path:
        """The array that is not yet whole."""
        return self.folder / _WORKING

    def _begin_array(self) -> None:
        if self.array:
            with self._writing():
                self._working.write_bytes(self._header(0))

    def _put_array(self) -> None:
        """Put the array where it belongs, once it is whole; also after a kill before that."""
        if not self.array or not self._working.exists():
            return
        if os.path.lexists(self.array):
            raise CutwidgetsError(
                f"{str(self.array)!r} is another file now, and the array was to be stored there. "
                "Move it away, and call again with the same arguments: all is computed."
            )
        with self._writing(), suppress(FileNotFoundError):  # another run was faster
            os.replace(self._working, self.array)

    def _check_array(self) -> None:
        """Look whether the array is there, with all rows that are said to be."""
        assert self.array is not None
        if self.complete:
            self._put_array()
        rows = self.manifest.get("examples", 0)
        ends = (n * self.manifest["chunk"] + part.examples for n, part in self.parts.items())
        header = self._header(rows)
        size = len(header) + max(ends, default=0) * self._row()
        file, heads = (self.array, [header]) if self.complete else (self._working, [])
        try:
            with file.open("rb") as opened:
                whole = opened.read(len(header)) in (heads or [header, self._header(self.stored())])
            whole = whole and file.stat().st_size >= size
        except OSError:
            whole = False
        if not whole:
            raise CutwidgetsError(
                f"The array {str(file)!r} is gone, damaged or another one now. Give another place, "
                f"to=... {self._again()}"
            )

    def _write_rows(self, chunk: Chunk, kept: np.ndarray) -> None:
        """Write rows into the array; not by mapping it, which a full disk makes a crash."""
        (output,) = self.outputs.values()
        fill = np.nan if np.dtype(output.dtype).kind == "f" else 0
        rows = np.full((len(chunk.ids), *output.shape), fill, output.dtype)
        if kept.any():
            rows[kept] = chunk.outputs[0]
        first = chunk.number * self.manifest["chunk"]
        with self._working.open("r+b") as file:
            file.seek(len(self._header(0)) + first * self._row())
            file.write(rows.data)
        sync(self._working)

    def _header(self, rows: int) -> bytes:
        """The head of a `.npy` file, which is as long for any number of rows."""
        (output,) = self.outputs.values()
        descr = np.lib.format.dtype_to_descr(np.dtype(output.dtype))
        head = {"descr": descr, "fortran_order": False, "shape": (rows, *output.shape)}
        file = io.BytesIO()
        np.lib.format.write_array_header_1_0(file, head)
        return file.getvalue()

    def _row(self) -> int:
        (output,) = self.outputs.values()
        return np.dtype(output.dtype).itemsize * prod(output.shape)

    def _file(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.parquet"

    def _save(self) -> None:
        text = json.dumps(self.manifest, indent=1)
        write_whole(
            self.folder / _MANIFEST, lambda path: path.write_text(text, "utf-8"), replace=True
        )

    def _again(self) -> str:
        """How to begin anew, where nothing of the user's own would be lost."""
        ours = (_MANIFEST, _LOCK, _WORKING)
        for file in self.folder.iterdir():
            if file.name not in ours and not (
                PART.fullmatch(file.name) or file.name.startswith(UNFINISHED)
            ):
                return ""
        return f"To begin anew in this one, delete the folder {str(self.folder)!r}" + (
            f" and the array {str(self.array)!r}." if self.array else "."
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, CutwidgetsError) as error:
            problem = getattr(error, "strerror", None) or error
            raise CutwidgetsError(
                f"Cannot write to {str(self.path)!r}: {problem}. {self._rows():,} examples are "
                "stored, and stay. Free space if the disk is full, and call again with the same "
                "arguments."
            ) from error


def _column(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Values of examples as a column of lists of fixed length, not copied."""
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(values, kind)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), kind.value_type)
    return pa.FixedSizeListArray.from_arrays(flat, type=kind)


def _unnamed(about: Any) -> Any:
    """What tells a run from others, without the names that do not."""
    return {k: v for k, v in about.items() if k != "name"} if isinstance(about, dict) else about


def _said(about: Any) -> str:
    """The same in a message."""
    if isinstance(about, dict) and "name" in about:
        return f"{about['name']}, {about['hash'][:8]}"
    return str(about)
