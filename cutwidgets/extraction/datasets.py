"""A data set from what a person gave: a folder, arrays, or a `tf.data.Dataset`."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph
from .examples import Arrays, Batch, Examples, by_input
from .folders import Folder


class Stream(Examples):
    """A `tf.data.Dataset`, which is read in its order; also of batches, also with labels.

    Args:
        dataset: The data set.
        graph: The graph of the model that will look at it.

    Raises:
        CutwidgetsError: If it has no end, or does not fit the model.
    """

    kind = "tf.data.Dataset"
    unknown = ("the content of a tf.data.Dataset, of which the first example is looked at",)

    def __init__(self, dataset: Any, graph: CallGraph) -> None:
        self._element = str(dataset.element_spec)
        specs = self._of_model(dataset.element_spec, graph)
        try:
            ranks = [len(spec.shape) for spec in specs]
        except (AttributeError, ValueError) as error:  # ragged, or of unknown rank
            raise CutwidgetsError(
                f"The shapes of the data set are not known: {self._element:.200}. Give them, as "
                "by output_signature=tf.TensorSpec(shape, dtype) of from_generator."
            ) from error
        wanted = [len(graph.tensors[tensor].shape) for tensor in graph.inputs]
        if int(dataset.cardinality()) == -1:
            raise CutwidgetsError(
                "The data set has no end. Give a part of it: dataset.take(number)."
            )
        if ranks == wanted:
            dataset = dataset.unbatch()
        elif ranks != [rank - 1 for rank in wanted]:
            shapes = [graph.tensors[tensor].shape for tensor in graph.inputs]
            raise CutwidgetsError(
                f"The model {graph.name!r} takes {shapes}, the batch axis first. Received a data "
                f"set of {self._element:.300}: give one of examples of that shape, or of batches."
            )
        self._dataset = dataset
        number = int(dataset.cardinality())
        self.size = number if number >= 0 else None
        self._iterator: Any = None
        self._position = -1
        self._specs = self._of_model(dataset.element_spec, graph)
        self._first = self.batch(graph, 0, 1)
        if not self._first.ids:
            raise CutwidgetsError("The data set is empty.")

    def identity(self) -> dict[str, Any]:
        """Shapes and dtypes of what a model reads, their number where it is known, the first.

        Raises:
            CutwidgetsError: If it is empty.
        """
        return {
            "kind": self.kind,
            "elements": [f"{spec.dtype} {spec.shape}" for spec in self._specs],
            "number": self.size,
            "first": self._first.digest,
        }

    def shapes(self, graph: CallGraph) -> list[tuple[int, ...]]:
        """The shapes of an element: of the first, where the data set does not say."""
        return [values.shape[1:] for values in self._first.inputs]

    def batch(self, graph: CallGraph, first: int, last: int) -> Batch:
        """Read elements; to go back or ahead takes as long as to read from the beginning."""
        if first != self._position:
            self._iterator = self._dataset.skip(first).batch(last - first).as_numpy_iterator()
        try:
            element = next(self._iterator, None)
        except Exception as error:  # whatever a step of the user's pipeline raises
            self._position = -1
            raise CutwidgetsError(
                f"The data set cannot be read between the examples {first:,} and {last:,}: "
                f"{error}. What was done is stored. With dataset.ignore_errors() the examples "
                "that cannot be read are left out."
            ) from error
        inputs = [] if element is None else self._of_model(element, graph)
        number = len(inputs[0]) if inputs else 0
        self._position = first + number
        return Batch(list(range(first, first + number)), [np.asarray(i) for i in inputs])

    def _of_model(self, element: Any, graph: CallGraph) -> list[Any]:
        """What a model reads of an element: not the labels."""
        inputs = keras.utils.unpack_x_y_sample_weight(element)[0]
        return list(by_input(inputs, graph, "The data set").values())


def examples_of(data: Any, graph: CallGraph) -> Examples:
    """A data set from what a person gave.

    Args:
        data: The path of a folder of images; an array, or as many of them as the model takes, in a
            list or a dictionary; or a `tf.data.Dataset`.
        graph: The graph of the model that will look at it.

    Raises:
        CutwidgetsError: If it is nothing of that, or does not fit the model.

    Example:
        >>> import keras
        >>> from cutwidgets.callgraph import read
        >>> graph = read(keras.Sequential([keras.Input((2,)), keras.layers.ReLU()]))
        >>> examples_of([[1, 2], [3, 4], [5, 6]], graph).batch(graph, 1, 3).inputs[0].tolist()
        [[3, 4], [5, 6]]
    """
    if isinstance(data, str | os.PathLike):
        if not Path(data).is_dir():
            raise CutwidgetsError(f"There is no folder {os.fspath(data)!r} of images.")
        return Folder(Path(data), graph)
    if hasattr(data, "element_spec") and hasattr(data, "as_numpy_iterator"):
        return Stream(data, graph)
    if hasattr(data, "__array__") or isinstance(data, Mapping | Sequence):
        return Arrays(by_input(data, graph, "The dictionary"))
    raise CutwidgetsError(
        "Data are a folder of images, an array for each input of the model, or a tf.data.Dataset. "
        f"Received: {data!r:.200} (of type {type(data).__name__})."
    )
