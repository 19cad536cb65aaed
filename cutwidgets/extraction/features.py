"""Run a slice over a data set and store its outputs, one row per example."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..extras import needs
from ..graph.reader import read
from .datasets import examples_of
from .extractor import Extractor

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Features:
    """Stored features.

    Attributes:
        path: The folder of Parquet files, or the `.npy` file.
        examples: The number of examples, broken ones included.
        shapes: The shape of the features of an example, for each output.
        broken: A table of the examples that could not be read, with the columns id and reason.
    """

    path: Path
    examples: int
    shapes: dict[str, tuple[int, ...]]
    broken: "pd.DataFrame"

    def read(self) -> tuple[np.ndarray, Any]:
        """The ids, and the features in the same order.

        Returns:
            The ids, and an array with a row for each of them; for a model of several outputs a
            dictionary of arrays by the names of the outputs. A `.npy` file is memory-mapped.

        Raises:
            CutwidgetsError: If the files cannot be read.
        """
        from .store import read_features

        return read_features(self.path, self.shapes)

    def __repr__(self) -> str:
        """The number of examples, the shapes and the path."""
        shapes = ", ".join(f"{name} {shape}" for name, shape in self.shapes.items())
        broken = f", of which {len(self.broken):,} broken" if len(self.broken) else ""
        return f"Features of {self.examples:,} examples{broken}: {shapes}, in {str(self.path)!r}"

    def _repr_html_(self) -> str:
        table = self.broken.head(20).to_html(index=False) if len(self.broken) else ""
        return f"<p>{escape(repr(self))}</p>{table}"


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
    """Run a model or a slice over a data set, and store its outputs, one row per example.

    Memory holds at most one batch of data, and 32 MB of features or one batch of them, whichever is
    more. A run that was stopped or killed resumes when it is called again with the same arguments:
    stored parts are not computed again, and the result is the same, bit for bit. Once everything is
    stored, another call computes nothing. Two runs cannot store in one place at the same time.

    A place holds the features of one run, and refuses any other. Runs differ if anything differs
    that determines the features: the layers of the model, their code, states and weights; the code
    of `preprocess` with all functions, variables and objects that it reads; the batch; the data.
    All rows of arrays in memory are compared. Mapped arrays and images in a folder are compared by
    the sizes and modification times of their files and by a sample of 64 rows or files; a copied
    file therefore counts as another, unless the copy keeps the modification time. Names that Keras
    generated, and the line where code stands, make no difference. A warning names whatever cannot
    be compared, such as all elements of a `tf.data.Dataset` but the first. Files that `preprocess`
    itself reads go unnoticed: pass a `version`.

    Images and folders that cannot be read do not stop the run: the result lists them as `broken`.

    Args:
        model: A built functional or Sequential model, such as a slice. Its weights and states are
            not changed.
        data: One of:

            - The path of a folder of images, which are resized for the model. Subfolders and links
              to folders are included, each folder once. A file whose name is not UTF-8 is broken.
            - An array with one example per row, or one for each input of the model in a list or a
              dictionary. Use `np.load(file, mmap_mode="r")` if it does not fit into memory.
            - A `tf.data.Dataset` of examples or of batches, with or without labels, which has the
              same order each time.
        to: Where to store the features, and in which form:

            - `"name.parquet"` is a folder of Parquet files, for pandas and others, with the
              columns `id` and `features`; or one for each of several outputs, named by its key in
              a dictionary of outputs (`"C3"`), else after its layer, or `output_1` if Keras made
              up that name. Features are flat lists; the result has their shape. Broken images have
              no row.
            - `"name.npy"` is one array for `np.load`, best for feature maps: row i is example i,
              NaN (zeros for integers) if it is broken. The file appears once it is complete. The
              folder `name.ids.parquet` beside it has the ids.

            The id is the path of an image in its folder, or the number of an example, from 0.
        preprocess: A function from a batch of the data to the model's input, such as
            `keras.applications.resnet.preprocess_input`. With `None`, the preprocessing of images
            is detected as in the panel, and arrays and data sets are used as they are.
        batch: The number of examples that are computed at once.
        engine: `"local"`, or `"ray"` to compute on Ray Data (`pip install "cutwidgets[ray]"`). It
            uses the cluster to which Ray is connected, by `ray.init("ray://...")` or the variable
            RAY_ADDRESS, or else this computer. The machines need cutwidgets, and access to folders
            and mapped arrays under the same path; only this process writes the results. On
            processors of the same kind they equal those of the local engine, bit for bit.
        workers: The number of Ray processes, each with a copy of the model; `None` for one per
            processor.
        version: A string of your own. Change it whenever something changes that cutwidgets cannot
            compare. With it there is no warning.

    Returns:
        The stored features, with a list of broken examples.

    Raises:
        CutwidgetsError: If the data do not fit the model; if the place holds something else or the
            features of another run, or another run is storing there; if the disk is full. What is
            stored is kept in all cases.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> import tempfile
        >>> import cutwidgets as cw
        >>> import numpy as np
        >>> from cutwidgets import lab
        >>> head = cw.cut(lab.residual_network(blocks=(2,), width=4), end="stem")
        >>> folder = tempfile.TemporaryDirectory()
        >>> stem = cw.features(head, lab.digits().test[0][:50], to=f"{folder.name}/stem.parquet")
        >>> stem.examples, stem.shapes
        (50, {'features': (8, 8, 4)})
        >>> ids, values = stem.read()
        >>> ids[:3], values.shape
        (array([0, 1, 2]), (50, 8, 8, 4))
        >>> folder.cleanup()
    """
    if engine not in ("local", "ray"):
        raise CutwidgetsError(f"engine must be 'local' or 'ray'. Received: {engine!r:.200}")
    for name, number in (("batch", batch), ("workers", 1 if workers is None else workers)):
        if not isinstance(number, Integral) or number < 1:
            raise CutwidgetsError(f"{name} must be an integer from 1. Received: {number!r:.200}")
    if preprocess is not None and not callable(preprocess):
        raise CutwidgetsError(f"preprocess must be a function. Received: {preprocess!r:.200}")
    if version is not None and not isinstance(version, str):
        raise CutwidgetsError(f"version must be a text. Received: {version!r:.200}")
    graph = read(model)
    fixed = {graph.tensors[tensor].shape[0] for tensor in graph.inputs} - {None, batch}
    if fixed:
        raise CutwidgetsError(
            f"The model {graph.name!r} takes exactly {(size := fixed.pop())} examples at once, but "
            f"batch is {batch}. Pass batch={size}."
        )
    with needs("features", "cutwidgets.features"):
        import pandas as pd

        from .run import run
    extractor = Extractor(graph, examples_of(data, graph), preprocess, int(batch))
    store = run(model, extractor, to, engine, workers, version)
    broken = store.manifest["broken"]
    ids = list(broken) if store.manifest["data"]["ids"] == "str" else list(map(int, broken))
    return Features(
        store.path,
        store.manifest["examples"],
        {name: output.shape for name, output in store.outputs.items()},
        pd.DataFrame({"id": ids, "reason": list(broken.values())}),
    )
