"""Run a slice over a data set and store what it gives, a row for each example."""

import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from itertools import count
from numbers import Integral
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import CutwidgetsError
from ..graph.reader import read
from .datasets import examples_of
from .examples import Examples
from .extractor import Chunk, Extractor, chunk_size, output_names
from .identity import Identifier
from .store import SHUFFLES, Store
from .store_files import part_files


@dataclass(frozen=True, eq=False, repr=False)
class Features:
    """Features that are stored.

    Attributes:
        path: The folder of Parquet files, or the `.npy` file.
        examples: How many examples there were, those broken among them.
        shapes: For each output the shape of what is stored for an example.
        broken: A table of the examples that could not be read: id, reason.
    """

    path: Path
    examples: int
    shapes: dict[str, tuple[int, ...]]
    broken: pd.DataFrame

    def read(self) -> tuple[np.ndarray, Any]:
        """The ids, and the features in the same order.

        Returns:
            The ids, and an array with a row for each; for a model of several outputs a dictionary
            of arrays by their names. An array of a `.npy` file is not read but mapped.

        Raises:
            CutwidgetsError: If the files are gone.
        """
        is_array = self.path.suffix == ".npy"
        try:
            folder = self.path.with_suffix(".ids.parquet") if is_array else self.path
            files = part_files(folder).values()
            table = pa.concat_tables([pq.read_table(file, partitioning=None) for file in files])
            ids = table["id"].to_numpy()
            if is_array:
                return ids, np.load(self.path, mmap_mode="r")
            arrays = {name: _array(table[name], shape) for name, shape in self.shapes.items()}
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise CutwidgetsError(
                f"Cannot read features from {str(self.path)!r}: {error}"
            ) from error
        return ids, arrays["features"] if list(arrays) == ["features"] else arrays

    def __repr__(self) -> str:
        """How many there are, and where."""
        shapes = ", ".join(f"{name} {shape}" for name, shape in self.shapes.items())
        broken = f", of which {len(self.broken):,} broken" if len(self.broken) else ""
        return f"Features of {self.examples:,} examples{broken}: {shapes}, in {str(self.path)!r}"

    def _repr_html_(self) -> str:
        table = self.broken.head(20).to_html(index=False) if len(self.broken) else ""
        return f"<p>{escape(repr(self))}</p>{table}"


def _array(column: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A column of lists as one array."""
    if not shape:
        return np.asarray(column.to_numpy())
    chunks = [c.flatten().to_numpy(zero_copy_only=False) for c in column.chunks]
    values = np.concatenate(chunks)
    return values.reshape(-1, *shape)


def features(
    model: keras.Model,
    data: Any,
    *,
    to: str | os.PathLike[str],
    preprocess: Callable[..., Any] | None = None,
    batch: int = 32,
    engine: str = "local",
    workers: int | None = None,
    version: str | None = None,
) -> Features:
    """Run a model or a slice over a data set, and store what it gives, a row for each example.

    Of the data set no more is in memory than a batch, and of the features no more than a part of
    32 MB at most, or of a batch. A run that was stopped, or whose process was killed, goes on when
    it is called again with the same arguments: parts that are stored are not computed again, and
    what is stored in the end is the same, bit for bit. Called once more it does nothing. A run
    into a place that another one stores into at that moment is refused.

    What is stored is that of one run, and any other run into the same place is refused. A run is
    another one if anything differs that its values depend on: the model's layers, their code,
    states and weights; the code of `preprocess` with all functions, variables and objects that it
    reads; the batch; the data. Of arrays in memory all rows are looked at. Of mapped arrays, and of
    the images of a folder, the sizes and times of the files and a sample of 64: a copy of a file
    counts as another file, unless it keeps its time. Names that Keras makes up do not matter, nor
    where code stands in a file. What cannot be looked into, such as the elements of a
    `tf.data.Dataset` but for the first, is named in a warning. Files that `preprocess` reads by
    itself are not seen at all: give a `version`.

    Images that cannot be read are listed in the result's `broken`, and do not stop the run; nor do
    folders that cannot be read, and whatever else has the name of an image and is none.

    Args:
        model: A built functional or Sequential model, such as what `cut` and `split` give. Its
            weights and states are not changed.
        data: The path of a folder of images, which are looked for in its folders too and resized to
            what the model takes (folders that are links too, but none twice; a file whose name is
            no UTF-8 is broken, and listed with a backslash, x and two digits for such a byte); or
            an array, or as many of them in a list or a dictionary as the model takes, with an
            example a row (`np.load(file, mmap_mode="r")` for one that does not fit into memory); or
            a `tf.data.Dataset`, of examples or of batches, with or without labels, that gives the
            same examples in the same order each time.
        to: Where to store. `"name.parquet"` is a folder of Parquet files, for pandas and all else
            that reads them, with the columns `id` and `features` (or one named after each of
            several outputs, `output_1` where Keras made up the name): a flat list, whose shape the
            result tells. Broken images have no row. `"name.npy"` is one array for `np.load`, best
            for feature maps: row i is example i, and of NaN (of zeros, for integers) where that is
            broken. It is there once it is whole. The folder `name.ids.parquet` beside it has the
            ids. The id is the path of an image in its folder, or the number of an example, from 0.
        preprocess: What turns a batch of the data into the model's input, such as
            `keras.applications.resnet.preprocess_input`. `None` to find out for images, as the
            panel does; arrays and datasets are then taken as they are.
        batch: How many examples are computed at once.
        engine: `"local"`, or `"ray"` to compute on Ray Data (`pip install cutwidgets[ray]`). That
            is on the cluster that Ray is connected to, by `ray.init("ray://...")` or the variable
            RAY_ADDRESS; else on this computer. The machines need cutwidgets, and see folders and
            mapped arrays under the same path; the results are written by this process alone. On
            processors of the same kind they are those of the local engine, bit for bit.
        workers: How many processes of Ray compute, each with a copy of the model; `None` for one a
            processor.
        version: A text that is another one whenever something has changed that cannot be looked
            into. With it there is no warning.

    Returns:
        What is stored, and which examples were broken.

    Raises:
        CutwidgetsError: If the data do not fit the model; if there is something else where it is
            to be stored, or features of another model, other data or another batch, or another run
            is
            storing there; if the disk is full. What was done stays, in all cases.
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> import tempfile
        >>> import cutwidgets as cw
        >>> import numpy as np
        >>> from cutwidgets import lab
        >>> head = cw.cut(lab.residual_network(blocks=(2,), width=4), end="stem")
        >>> folder = tempfile.TemporaryDirectory()
        >>> found = cw.features(head, lab.digits().test[0][:50], to=f"{folder.name}/stem.parquet")
        >>> found.examples, found.shapes
        (50, {'features': (8, 8, 4)})
        >>> ids, values = found.read()
        >>> ids[:3], values.shape
        (array([0, 1, 2]), (50, 8, 8, 4))
        >>> folder.cleanup()
    """
    if engine not in ("local", "ray"):
        raise CutwidgetsError(f"engine is 'local' or 'ray'. Received: {engine!r:.200}")
    for name, number in (("batch", batch), ("workers", 1 if workers is None else workers)):
        if not isinstance(number, Integral) or number < 1:
            raise CutwidgetsError(f"{name} is a number from 1. Received: {number!r:.200}")
    if preprocess is not None and not callable(preprocess):
        raise CutwidgetsError(f"preprocess is a function. Received: {preprocess!r:.200}")
    if version is not None and not isinstance(version, str):
        raise CutwidgetsError(f"version is a text. Received: {version!r:.200}")
    graph = read(model)
    fixed = {graph.tensors[tensor].shape[0] for tensor in graph.inputs} - {None, batch}
    if fixed:
        raise CutwidgetsError(
            f"The model {graph.name!r} takes {fixed.pop()} examples at once, and batch is {batch}: "
            "give that number."
        )
    store = Store(to)
    examples = examples_of(data, graph)
    extractor = Extractor(model, examples, preprocess, int(batch))
    run = {
        **_identity(model, examples, extractor, preprocess, version),
        "batch": int(batch),
    }

    def first_look() -> tuple[Any, int]:
        outputs = extractor.outputs()
        return outputs, chunk_size(outputs, extractor.batch)

    with store.alone():
        store.begin(run, first_look)
        if not store.complete:
            _check_same(store, extractor)
            chunks = _chunks(store, extractor)
            if engine == "ray":
                from .ray_engine import chunks_by_ray

                chunks = chunks_by_ray(store, extractor, model, preprocess, workers)
            _store(store, chunks, examples.size)
            store.finish()
    return _result(store)


def _identity(
    model: keras.Model,
    examples: Examples,
    extractor: Extractor,
    preprocess: Callable[..., Any] | None,
    version: str | None,
) -> dict[str, Any]:
    """What tells this run from others, for JSON; a warning names what cannot be told."""
    identifier, of_model = Identifier(), Identifier()
    name = getattr(extractor.preprocessing, "name", "none")
    if preprocess is None:
        steps = {"hash": f"{name} {keras.config.image_data_format()}"}
    else:
        steps = {"hash": identifier.value(preprocess, "preprocess")}
    run = {
        **of_model.model(model),
        "outputs' names": output_names(extractor.graph),
        "data": {**examples.identity(), "ids": examples.ids.__name__},
        "preprocessing": {"name": name, **steps},
        "version": version,
    }
    unknown = [*of_model.unknown, *identifier.unknown, *examples.unknown]
    if unknown and version is None:
        warnings.warn(
            f"Whether features that are stored already are those of this run cannot be told where "
            f"it depends on: {'; '.join(dict.fromkeys(unknown))}. Give version='...', and another "
            "one whenever that changes.",
            stacklevel=3,
        )
    return run


def _check_same(store: Store, extractor: Extractor) -> None:
    """Look whether the data are still those of the part before the first that is missing."""
    size, batch = store.manifest["chunk"], extractor.batch
    last = next(number for number in count() if number not in store.parts) - 1
    if last < 0 or not store.parts[last].examples:
        return
    part = store.parts[last]
    first = last * size + (part.examples - 1) // batch * batch
    if extractor.digest(first) != part.digest:
        raise CutwidgetsError(
            f"{str(store.path)!r} cannot be gone on with: the examples {first:,} to "
            f"{last * size + part.examples:,} of the data are others now, in another order, or "
            f"gone. {SHUFFLES}Or begin anew in another place, to=..."
        )


def _chunks(store: Store, extractor: Extractor) -> Iterator[Chunk]:
    """Compute what is missing, in order."""
    size = store.manifest["chunk"]
    for number in count():
        if number not in store.parts:
            chunk = extractor.chunk(number, size)
            if chunk.ids:
                yield chunk
            if len(chunk.ids) < size:
                return
        elif store.parts[number].examples < size:
            return


def _store(store: Store, chunks: Iterator[Chunk], size: int | None) -> None:
    """Store chunks, and show how far it is."""
    from tqdm.auto import tqdm

    done = store.stored()
    with tqdm(
        desc="features", total=size, initial=done, unit=" examples", delay=1, leave=False
    ) as bar:
        for chunk in chunks:
            store.write(chunk)
            bar.update(len(chunk.ids))


def _result(store: Store) -> Features:
    is_text = store.manifest["data"]["ids"] == "str"
    broken = store.manifest["broken"]
    return Features(
        store.path,
        store.manifest["examples"],
        {name: output.shape for name, output in store.outputs.items()},
        pd.DataFrame(
            {"id": [k if is_text else int(k) for k in broken], "reason": list(broken.values())}
        ),
    )
