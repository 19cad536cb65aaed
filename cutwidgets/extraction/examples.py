"""Data sets as numbered examples, each with an id, from which any batch can be read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..graph.callgraph import CallGraph
from ..inference.inputs import dtype_of
from .hashing import hashed, values_hash

Id = str | int


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive examples.

    Attributes:
        ids: The ids of all examples, broken ones included.
        inputs: For each input of the model an array of the readable examples, in the same order.
        broken: The reason why an example cannot be read, by its id.
    """

    ids: list[Id]
    inputs: list[np.ndarray]
    broken: dict[Id, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A hash of ids and values, which shows later whether the data have changed."""
        return hashed(self.ids, *map(values_hash, self.inputs)).hex()


class Examples:
    """A data set. It holds no model, so that it can be sent to other processes.

    Attributes:
        size: The number of examples; `None` if it is not known in advance.
        kind: The kind of data set, in words.
        ids: The type of the ids.
        can_be_shared: Whether several processes can read it.
        unknown: Parts of the data that `identity` does not cover, in words.
    """

    size: int | None
    kind: str
    ids: type = int
    can_be_shared = True
    unknown: tuple[str, ...] = ()

    def identity(self) -> dict[str, Any]:
        """What distinguishes this data set from others, for JSON."""
        raise NotImplementedError

    def shapes(self, graph: CallGraph) -> list[tuple[int, ...]]:
        """The shape of an example, without the batch axis, for each input of a model."""
        raise NotImplementedError

    def batch(self, graph: CallGraph, first: int, last: int) -> Batch:
        """The examples from `first` up to but not including `last`, or to the end of the data.

        Raises:
            CutwidgetsError: If the data cannot be read.
        """
        raise NotImplementedError


def sample(size: int) -> list[int]:
    """Up to 64 evenly spread numbers below `size`, including the last one."""
    return [int(i) for i in np.unique(np.linspace(0, size - 1, 64).astype(int))]


def blank(graph: CallGraph, shapes: Sequence[tuple[int, ...]], number: int) -> list[np.ndarray]:
    """Examples of zeros or empty texts, to compute the shapes of a model's outputs."""
    dtypes = [dtype_of(graph.tensors[tensor]) for tensor in graph.inputs]
    return [
        np.zeros((number, *shape), "U1" if dtype == "string" else dtype)
        for shape, dtype in zip(shapes, dtypes, strict=True)
    ]
