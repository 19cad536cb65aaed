"""What a model gives for the examples of a data set, a chunk at a time."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import prod
from typing import Any

import keras
import numpy as np

from .callgraph import read
from .errors import CutError
from .examples import Examples, Id, blank
from .graph import CallGraph
from .lab.backend import applied, compiled
from .repeating import compute
from .running import as_inputs, preprocessing

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
        outputs: For each output an array of the examples that are not broken, in their order.
        broken: For the ids of broken examples, the reasons.
        digest: A hash of the last batch that went into the model.
    """

    number: int
    ids: list[Id]
    outputs: dict[str, np.ndarray]
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
        CutError: If the data do not fit the model.
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
            raise CutError(
                f"preprocess is for a model of one input, and {graph.name!r} takes "
                f"{len(graph.inputs)}. Give data that are ready for it."
            )
        detect = preprocess is not None or examples.ids is str
        self.preprocessing = preprocessing(model, preprocess) if detect else None
        self._function = compiled(lambda values: compute(graph, graph.outputs, values))
        names = [graph.maker(tensor).name for tensor in graph.outputs]
        self._names = (
            ["features"]
            if len(names) == 1
            else [
                f"{name}_{i}" if names.count(name) > 1 or name == "id" else name
                for i, name in enumerate(names)
            ]
        )

    def outputs(self) -> dict[str, Output]:
        """Shapes and dtypes of what it gives for an example, by the outputs' names.

        Raises:
            CutError: If the data do not fit the model.
        """
        given = blank(self.graph, self.examples.shapes(self.graph), self.batch)
        made = zip(self._names, self._forward(given, self.batch), strict=True)
        outputs = {name: Output(str(value.dtype), value.shape[1:]) for name, value in made}
        for name, output in outputs.items():
            if np.dtype(output.dtype).kind not in "fiub" or 0 in output.shape:
                raise CutError(
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
            CutError: If the data cannot be read, or do not fit the model.
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
        outputs = {
            name: np.concatenate([row[i] for row in rows])
            for i, name in enumerate(self._names)
            if rows
        }
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
                raise CutError(
                    f"preprocess ({self.preprocessing.name}) cannot take an array of shape "
                    f"{inputs[0].shape}: {error}"
                ) from error
        chosen = np.minimum(np.arange(self.batch), number - 1)
        given = as_inputs(self.graph, [values[chosen] for values in inputs])
        made = applied(self._function, given, self.graph.name)
        for name, value in zip(self._names, made, strict=True):
            if value.shape[:1] != (self.batch,):
                raise CutError(
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


def fingerprint(model: keras.Model) -> dict[str, str]:
    """Hashes of a model's layers, without their names, and of its weights.

    Example:
        >>> import keras
        >>> build = lambda: keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> one, other = fingerprint(build()), fingerprint(build())
        >>> one["layers"] == other["layers"], one["weights"] == other["weights"]
        (True, False)
    """
    weights = blake2b(digest_size=16)
    for variable in model.weights:
        value = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
        weights.update(f"{value.dtype} {value.shape}".encode())
        weights.update(value.tobytes())
    layers = blake2b("\n".join(_described(read(model))).encode(), digest_size=16)
    return {"layers": layers.hexdigest(), "weights": weights.hexdigest()}


def _described(graph: CallGraph) -> list[str]:
    """Each call of a model in a line that is the same in every process."""
    lines = [str(graph.outputs)]
    for call in graph.calls:
        try:
            config = _nameless(keras.saving.serialize_keras_object(call.layer))
        except Exception:  # whatever a layer raises that cannot be saved
            config = call.kind
        arguments = call.fill({tensor: f"tensor {tensor}" for tensor in call.reads})
        text = json.dumps([config, call.outputs], default=str, sort_keys=True)
        lines.append(re.sub(r" at 0x\w+", "", f"{text} {arguments!r}"))
    return lines


def _nameless(config: Any) -> Any:
    """A configuration without names, which Keras numbers anew for each model, and training."""
    if isinstance(config, Mapping):
        left_out = ("name", "trainable", "build_config", "compile_config", "shared_object_id")
        return {key: _nameless(value) for key, value in config.items() if key not in left_out}
    return [_nameless(v) for v in config] if isinstance(config, list | tuple) else config
