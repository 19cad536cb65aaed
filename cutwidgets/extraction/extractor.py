"""Apply a model to the examples of a data set, one chunk at a time."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph, has_automatic_name
from ..graph.interpreter import compute
from ..inference.backend import applied, compiled
from ..inference.images import preprocessing
from ..inference.inputs import as_inputs
from .examples import Examples, Id, blank

_MAX_BYTES = 2**25  # of the features of a chunk, which is in memory two or three times

_BATCHES = 32  # in a chunk, at most: a chunk that is interrupted is computed again


@dataclass(frozen=True, slots=True)
class Output:
    """An output of a model: its dtype, and its shape without the batch axis."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Chunk:
    """The outputs of a model for consecutive examples.

    Attributes:
        number: Index of the chunk.
        ids: The ids of all examples, broken ones included.
        outputs: For each output, in the model's order, an array of the examples that are not
            broken; empty if all are broken.
        broken: The reason why an example cannot be read, by its id.
        digest: A hash of the last batch of examples.
    """

    number: int
    ids: list[Id]
    outputs: list[np.ndarray]
    broken: dict[Id, str]
    digest: str


class Extractor:
    """A model that is applied to a data set, always to the same number of examples at once.

    The outputs for a chunk depend on that chunk alone, not on earlier ones or on the process. The
    model is not changed.

    Args:
        graph: The call graph of the model.
        examples: The data set.
        preprocess: A function from a batch of the data to the model's input. `None` for the
            preprocessing that images need, and none for other data.
        batch: The number of examples in a batch.

    Raises:
        CutwidgetsError: If the data do not fit the model.
    """

    def __init__(
        self,
        graph: CallGraph,
        examples: Examples,
        preprocess: Callable[..., Any] | None,
        batch: int,
    ) -> None:
        self.graph, self.examples, self.batch = graph, examples, batch
        self.preprocess = preprocess
        if preprocess is not None and len(graph.inputs) > 1:
            raise CutwidgetsError(
                f"preprocess is for a model of one input, and {graph.name!r} takes "
                f"{len(graph.inputs)}. Give data that need no preprocessing."
            )
        is_needed = preprocess is not None or examples.ids is str
        self.preprocessing = preprocessing(graph, preprocess) if is_needed else None
        self._function = compiled(lambda values: compute(graph, graph.outputs, values))
        self._names = output_names(graph)

    def outputs(self) -> dict[str, Output]:
        """Shapes and dtypes of the outputs for an example, by the names of the outputs.

        Raises:
            CutwidgetsError: If the data do not fit the model.
        """
        inputs = blank(self.graph, self.examples.shapes(self.graph), self.batch)
        arrays = zip(self._names, self._forward(inputs, self.batch), strict=True)
        outputs = {name: Output(str(array.dtype), array.shape[1:]) for name, array in arrays}
        for name, output in outputs.items():
            if np.dtype(output.dtype).kind not in "fiub" or 0 in output.shape:
                raise CutwidgetsError(
                    f"The output {name!r} of the model {self.graph.name!r} cannot be stored: it is "
                    f"{output.dtype} of shape {output.shape}."
                )
        return outputs

    def chunk(self, number: int, size: int) -> Chunk:
        """Compute a chunk.

        Args:
            number: Index of the chunk.
            size: The number of examples in a chunk, a multiple of the batch.

        Raises:
            CutwidgetsError: If the data cannot be read, or do not fit the model.
        """
        ids: list[Id] = []
        broken: dict[Id, str] = {}
        rows: list[list[np.ndarray]] = []
        digest = ""
        for first in range(number * size, (number + 1) * size, self.batch):
            batch = self.examples.batch(self.graph, first, first + self.batch)
            if not batch.ids:
                break
            ids += batch.ids
            broken |= batch.broken
            digest = batch.digest
            readable = len(batch.ids) - len(batch.broken)
            if readable:
                rows.append(self._forward(batch.inputs, readable))
            if len(batch.ids) < self.batch:
                break
        outputs = [np.concatenate(values) for values in zip(*rows, strict=True)]
        return Chunk(number, ids, outputs, broken, digest)

    def digest(self, first: int) -> str:
        """The hash of the batch that begins with an example."""
        return self.examples.batch(self.graph, first, first + self.batch).digest

    def _forward(self, inputs: Sequence[np.ndarray], number: int) -> list[np.ndarray]:
        """The outputs for up to a batch of examples, which is filled up with the last one."""
        if self.preprocessing is not None:
            try:
                inputs = [np.asarray(self.preprocessing.function(inputs[0]))]
            except Exception as error:  # whatever a user's own function raises
                raise CutwidgetsError(
                    f"preprocess ({self.preprocessing.name}) cannot take an array of shape "
                    f"{inputs[0].shape}: {error}"
                ) from error
        rows = np.minimum(np.arange(self.batch), number - 1)
        full = as_inputs(self.graph, [values[rows] for values in inputs])
        outputs = applied(self._function, full, self.graph.name)
        for i, (name, output) in enumerate(zip(self._names, outputs, strict=True)):
            if output.shape[:1] != (self.batch,):
                raise CutwidgetsError(
                    f"The output {name!r} of the model {self.graph.name!r} has the shape "
                    f"{output.shape} for {self.batch} examples: it needs one row per example."
                )
            if output.dtype.kind == "V" or output.dtype.name == "bfloat16":
                output = output.astype("float32")  # NumPy and Parquet have no bfloat16
            outputs[i] = output[:number]
        return outputs


def output_names(graph: CallGraph) -> list[str]:
    """Names of a model's outputs, which stay the same when the model is built again.

    The outputs of a dictionary are called by their keys. Any other single output is called
    `"features"`. Several outputs are called like their layers, or have a number if Keras made up
    the name of the layer.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> x = keras.Input((2,))
        >>> named, other = keras.layers.Dense(1, name="scores")(x), keras.layers.ReLU()(x)
        >>> output_names(read(keras.Model(x, [named, other])))
        ['scores', 'output_1']
        >>> output_names(read(keras.Model(x, {"z": named, "a": other})))
        ['a', 'z']
    """
    makers = [graph.maker(tensor) for tensor in graph.outputs]
    if graph.output_keys:
        own_names: list[str | None] = [*graph.output_keys]
    elif len(makers) == 1:
        return ["features"]
    else:
        own_names = [None if has_automatic_name(maker) else maker.name for maker in makers]
    counts = Counter(own_names)
    names = []
    for i, name in enumerate(own_names):
        if name is None:
            prefix = "output"
            while f"{prefix}_{i}" in counts:
                prefix += "_"
            names.append(f"{prefix}_{i}")
        else:
            names.append(f"{name}_{i}" if name == "id" or counts[name] > 1 else name)
    return names


def chunk_size(outputs: Mapping[str, Output], batch: int) -> int:
    """The number of examples in a chunk: whole batches, with at most 32 MB of features.

    Example:
        >>> chunk_size({"features": Output("float32", (2048,))}, batch=32)
        1024
        >>> chunk_size({"features": Output("float32", (56, 56, 256))}, batch=8)
        8
    """
    row = sum(np.dtype(o.dtype).itemsize * prod(o.shape) for o in outputs.values())
    return batch * min(max(_MAX_BYTES // (row * batch), 1), _BATCHES)
