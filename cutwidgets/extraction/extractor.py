"""What a model gives for the examples of a data set, a chunk at a time."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..graph.callgraph import Call, CallGraph
from ..graph.interpreter import compute
from ..graph.reader import read
from ..inference.backend import applied, compiled
from ..inference.images import preprocessing
from ..inference.inputs import as_inputs
from .examples import Examples, Id, blank

_BYTES = 2**25  # of a chunk's features, at most; it is in memory two or three times

_BATCHES = 32  # of a chunk, at most: so much is computed again after a kill


@dataclass(frozen=True, slots=True)
class Output:
    """An output of a model: its dtype, and its shape without the batch axis."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a model gives for examples that follow each other.

    Attributes:
        number: The how-manieth chunk it is, from 0.
        ids: The examples' ids, also those of broken ones.
        outputs: For each output, in the model's order, an array of the examples that are not
            broken; empty where all are.
        broken: For the ids of broken examples, the reasons.
        digest: A hash of the last batch that went into the model.
    """

    number: int
    ids: list[Id]
    outputs: list[np.ndarray]
    broken: dict[Id, str]
    digest: str


class Extractor:
    """A model that is applied to a data set, always to as many examples at once.

    What it gives for a chunk depends on nothing but the chunk: not on what came before it, nor on
    the process. The model itself is not changed.

    Args:
        model: A built functional or Sequential model.
        examples: The data set.
        preprocess: What turns a batch of it into the model's input; `None` to find out for images,
            and for nothing otherwise.
        batch: How many examples are computed at once.

    Raises:
        CutwidgetsError: If the data do not fit the model.
    """

    def __init__(
        self,
        model: keras.Model,
        examples: Examples,
        preprocess: Callable[..., Any] | None,
        batch: int,
    ) -> None:
        self.graph = graph = read(model)
        self.examples, self.batch = examples, batch
        if preprocess is not None and len(graph.inputs) > 1:
            raise CutwidgetsError(
                f"preprocess is for a model of one input, and {graph.name!r} takes "
                f"{len(graph.inputs)}. Give data that are ready for it."
            )
        detect = preprocess is not None or examples.ids is str
        self.preprocessing = preprocessing(graph, preprocess) if detect else None
        self._function = compiled(lambda values: compute(graph, graph.outputs, values))
        self._names = output_names(graph)

    def outputs(self) -> dict[str, Output]:
        """Shapes and dtypes of what it gives for an example, by the outputs' names.

        Raises:
            CutwidgetsError: If the data do not fit the model.
        """
        given = blank(self.graph, self.examples.shapes(self.graph), self.batch)
        made = zip(self._names, self._forward(given, self.batch), strict=True)
        outputs = {name: Output(str(value.dtype), value.shape[1:]) for name, value in made}
        for name, output in outputs.items():
            if np.dtype(output.dtype).kind not in "fiub" or 0 in output.shape:
                raise CutwidgetsError(
                    f"The output {name!r} of the model {self.graph.name!r} holds nothing to store: "
                    f"{output.dtype} of shape {output.shape}."
                )
        return outputs

    def chunk(self, number: int, size: int) -> Chunk:
        """What the model gives for a chunk.

        Args:
            number: The how-manieth, from 0.
            size: How many examples a chunk has, a multiple of the batch.

        Raises:
            CutwidgetsError: If the data cannot be read, or do not fit the model.
        """
        ids: list[Id] = []
        broken: dict[Id, str] = {}
        rows: list[list[np.ndarray]] = []
        digest = ""
        for first in range(number * size, (number + 1) * size, self.batch):
            read = self.examples.batch(self.graph, first, first + self.batch)
            if not read.ids:
                break
            ids += read.ids
            broken |= read.broken
            digest = read.digest
            kept = len(read.ids) - len(read.broken)
            if kept:
                rows.append(self._forward(read.inputs, kept))
            if len(read.ids) < self.batch:
                break
        outputs = [np.concatenate(values) for values in zip(*rows, strict=True)]
        return Chunk(number, ids, outputs, broken, digest)

    def digest(self, first: int) -> str:
        """The hash of the batch that begins with an example."""
        return self.examples.batch(self.graph, first, first + self.batch).digest

    def _forward(self, inputs: Sequence[np.ndarray], number: int) -> list[np.ndarray]:
        """The outputs for some examples; the last is repeated until they are a batch."""
        if self.preprocessing is not None:
            try:
                inputs = [np.asarray(self.preprocessing.function(inputs[0]))]
            except Exception as error:  # whatever a user's own function raises
                raise CutwidgetsError(
                    f"preprocess ({self.preprocessing.name}) cannot take an array of shape "
                    f"{inputs[0].shape}: {error}"
                ) from error
        chosen = np.minimum(np.arange(self.batch), number - 1)
        given = as_inputs(self.graph, [values[chosen] for values in inputs])
        made = applied(self._function, given, self.graph.name)
        for name, value in zip(self._names, made, strict=True):
            if value.shape[:1] != (self.batch,):
                raise CutwidgetsError(
                    f"The output {name!r} of the model {self.graph.name!r} is of shape "
                    f"{value.shape} for {self.batch} examples: it has no row for each."
                )
        # NumPy and Parquet have no bfloat16.
        return [
            (v if v.dtype.kind != "V" and v.dtype.name != "bfloat16" else v.astype("float32"))[
                :number
            ]
            for v in made
        ]


def output_names(graph: CallGraph) -> list[str]:
    """Names for a model's outputs, which are the same when it is built again.

    That of a single output is `"features"`; of several each has the name of its layer, or its
    number where Keras made up the name.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> x = keras.Input((2,))
        >>> named, other = keras.layers.Dense(1, name="scores")(x), keras.layers.ReLU()(x)
        >>> output_names(read(keras.Model(x, [named, other])))
        ['scores', 'output_1']
    """
    makers = [graph.maker(tensor) for tensor in graph.outputs]
    if len(makers) == 1:
        return ["features"]
    names = [maker.name for maker in makers]
    made_up = [_made_up(maker) for maker in makers]
    taken = {"id", *(name for name, numbered in zip(names, made_up, strict=True) if not numbered)}
    found = []
    for i, name in enumerate(names):
        own = name if not made_up[i] else "output"
        while made_up[i] and f"{own}_{i}" in taken:
            own += "_"
        found.append(f"{own}_{i}" if made_up[i] or name == "id" or names.count(name) > 1 else name)
    return found


def _made_up(call: Call) -> bool:
    """Whether Keras made up a layer's name, with a number that is another in each process."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", call.kind).lower()
    plain = re.sub(r"_\d+$", "", call.own_name)
    in_unnamed = any(re.fullmatch(r"(functional|sequential)(_\d+)?(#\d+)?", n) for n in call.scope)
    return in_unnamed or plain.replace("_", "") == snake.replace("_", "")


def chunk_size(outputs: Mapping[str, Output], batch: int) -> int:
    """How many examples make a chunk: a multiple of the batch, of at most 32 MB of features.

    Example:
        >>> chunk_size({"features": Output("float32", (2048,))}, batch=32)
        1024
        >>> chunk_size({"features": Output("float32", (56, 56, 256))}, batch=8)
        8
    """
    row = sum(np.dtype(o.dtype).itemsize * prod(o.shape) for o in outputs.values())
    return batch * min(max(_BYTES // (row * batch), 1), _BATCHES)
