"""Where features are stored: a Parquet file for each chunk, written whole or not at all.

Of a `.npy` file the Parquet files hold the ids alone, and say which rows of the array are there.
"""

import errno
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

from .errors import CutError
from .extracting import Chunk, Output

_MANIFEST = "_features.json"  # readers of Parquet folders leave out what begins with an underscore
_LOCK = "_features.lock"
_KEY = b"cutwidgets"
# What tells one run from another, and how to say so.
_SAME = {
    "layers": "the model's layers",
    "weights": "the model's weights",
    "data": "the data",
    "preprocessing": "the preprocessing",
    "batch": "the batch",
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
        CutError: If it ends otherwise, or there is something else.
    """

    def __init__(self, to: str | os.PathLike[str]) -> None:
        self.path = Path(to)
        if self.path.suffix not in (".parquet", ".npy"):
            raise CutError(
                "Features are stored in a folder that ends in .parquet, a row for each example, or "
                f"in a file that ends in .npy, an array. Received: to={os.fspath(to)!r}."
            )
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
            CutError: If one does so at the moment, or the place cannot be written to.
        """
        if self.complete:
            yield
            return
        lock = FileLock(self.folder / _LOCK)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise CutError(
                f"Another run stores features in {str(self.path)!r} at this moment. Wait for it, "
                "or give another place, to=..."
            ) from None
        except OSError as error:
            raise CutError(
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
                    self.folder.rmdir()

    def begin(
        self, run: dict[str, Any], outputs: Callable[[], tuple[dict[str, Output], int]]
    ) -> None:
        """Begin, or go on with what was begun.

        Args:
            run: What tells this run from others, for JSON.
            outputs: A function that gives the model's outputs, and the size of a chunk.

        Raises:
            CutError: If what was begun is another run, or parts of it are damaged or gone.
        """
        # What has no part yet is lost to nobody, such as a run whose first batch did not fit.
        if not self.complete and not any(self.folder.glob("part-*.parquet")):
            made, chunk = outputs()
            if self.array and len(made) > 1:
                raise CutError(
                    f"A .npy file holds one array, and the model has {len(made)} outputs, "
                    f"{', '.join(map(repr, made))}. Store them in a folder that ends in .parquet."
                )
            shapes = {name: (output.dtype, output.shape) for name, output in made.items()}
            self.manifest = json.loads(json.dumps({**run, "chunk": chunk, "outputs": shapes}))
            with self._writing():
                self.folder.mkdir(parents=True, exist_ok=True)
                self._save()
            self._begin_array()
            return
        run = json.loads(json.dumps(run))
        was = self.manifest
        other = [
            f"{said} (was {was.get(key)}, is {run[key]})"
            for key, said in _SAME.items()
            if was.get(key) != run[key]
        ]
        if other:
            raise CutError(
                f"{str(self.path)!r} holds features of another run. What differs: "
                f"{', '.join(other)}. Give another place, to=... {self._again()}"
            )
        self.parts = {} if self.complete else self._parts()
        if self.array:
            ends = (n * was["chunk"] + part.examples for n, part in self.parts.items())
            rows = was.get("examples", max(ends, default=0))
            size = self.array.stat().st_size if self.array.exists() else -1
            if size < len(self._header(0)) + rows * self._row():
                raise CutError(f"The array {str(self.array)!r} is gone or damaged. {self._again()}")

    def write(self, chunk: Chunk) -> None:
        """Store a chunk, as a whole or not at all; a full disk is a CutError."""
        part = Part(len(chunk.ids), {str(k): v for k, v in chunk.broken.items()}, chunk.digest)
        kept = np.array([name not in chunk.broken for name in chunk.ids], bool)
        with self._writing():
            if self.array:
                self._write_rows(chunk, kept)
            schema = self._schema().with_metadata({_KEY: json.dumps(asdict(part))})
            ids = [i for i, keep in zip(chunk.ids, kept, strict=True) if keep or self.array]
            columns = [pa.array(ids, schema.field("id").type)]
            for field in list(schema)[1:]:
                output = self.outputs[field.name]
                empty = np.empty((0, *output.shape), output.dtype)
                columns.append(_column(chunk.outputs.get(field.name, empty), field.type))
            table = pa.Table.from_arrays(columns, schema=schema)
            _whole(self._file(chunk.number), lambda file: pq.write_table(table, file))
        self.parts[chunk.number] = part

    def finish(self) -> None:
        """Note that all chunks are there."""
        examples = sum(part.examples for part in self.parts.values())
        broken = {k: v for _, part in sorted(self.parts.items()) for k, v in part.broken.items()}
        with self._writing():
            if self.array:
                with self.array.open("r+b") as file:
                    file.write(self._header(examples))
                    _flush(file)
            self.manifest |= {"examples": examples, "broken": broken}
            self._save()
            for left in self.folder.glob(".*.tmp"):  # by a process that was killed
                left.unlink(missing_ok=True)

    def _look(self) -> None:
        """See what is there."""
        self.manifest = {}
        try:
            self.manifest = json.loads((self.folder / _MANIFEST).read_text("utf-8"))
        except FileNotFoundError:
            others = [self.array] if self.array and self.array.exists() else []
            if self.folder.is_dir():
                own = (f".{_MANIFEST}", _LOCK)  # of a process that was killed
                others += [p for p in self.folder.iterdir() if not p.name.startswith(own)]
            elif self.folder.exists():
                others += [self.folder]
            if others:
                raise CutError(
                    f"{str(others[0])!r} is there, and holds no features of an earlier run. Give "
                    "another place, to=..., or delete it."
                ) from None
        except (OSError, ValueError) as error:
            raise CutError(
                f"{str(self.folder / _MANIFEST)!r} cannot be read: {error}. {self._again()}"
            ) from error

    def stored(self) -> int:
        """The number of examples that are stored."""
        return sum(part.examples for part in self.parts.values())

    def _parts(self) -> dict[int, Part]:
        """The parts that are there."""
        found = {}
        for file in self.folder.glob("part-*.parquet"):
            try:
                schema = pq.read_schema(file)
                part = Part(**json.loads(schema.metadata[_KEY]))
                number = int(file.stem.removeprefix("part-"))
            except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
                raise CutError(
                    f"{str(file)!r} is no part of these features, or damaged: {error}. Delete that "
                    "file, and call again: what it held is computed anew."
                ) from error
            missing = [f.name for f in self._schema() if f not in list(schema)]
            if missing:
                raise CutError(
                    f"{str(file)!r} lacks the columns {', '.join(map(repr, missing))}, or has "
                    f"others of these names: {', '.join(schema.names)}. Delete that file, and call "
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

    def _begin_array(self) -> None:
        """Until all of it is there the array is one of no rows."""
        if self.array:
            with self._writing():
                self.array.write_bytes(self._header(0))

    def _write_rows(self, chunk: Chunk, kept: np.ndarray) -> None:
        """Write rows into the array; not by mapping it, which a full disk makes a crash."""
        assert self.array is not None
        ((name, output),) = self.outputs.items()
        fill = np.nan if np.dtype(output.dtype).kind == "f" else 0
        rows = np.full((len(chunk.ids), *output.shape), fill, output.dtype)
        if kept.any():
            rows[kept] = chunk.outputs[name]
        first = chunk.number * self.manifest["chunk"]
        with self.array.open("r+b") as file:
            file.seek(len(self._header(0)) + first * self._row())
            file.write(rows.data)
            _flush(file)

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
        _whole(self.folder / _MANIFEST, lambda file: file.write(text.encode()))

    def _again(self) -> str:
        """How to begin anew."""
        all_of_it = dict.fromkeys(map(str, (self.folder, self.path)))
        return f"To begin anew, delete {' and '.join(map(repr, all_of_it))}."

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            what = "Free space, and call" if full else "Call"
            raise CutError(
                f"Cannot write to {str(self.path)!r}: {error.strerror or error}. "
                f"{self.stored():,} examples are stored, and stay. {what} again with the same "
                "arguments."
            ) from error


def _column(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Values of examples as a column of lists of fixed length, not copied."""
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(values, kind)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), kind.value_type)
    return pa.FixedSizeListArray.from_arrays(flat, type=kind)


def _whole(path: Path, write: Callable[[Any], Any]) -> None:
    """Write a file that is there as a whole, or not at all."""
    begun = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with begun.open("wb") as file:
            write(file)
            _flush(file)
        os.replace(begun, path)
    except BaseException:
        begun.unlink(missing_ok=True)
        raise


def _flush(file: Any) -> None:
    """Bring a file to the disk, where some systems notice only then that it is full."""
    file.flush()
    os.fsync(file.fileno())
