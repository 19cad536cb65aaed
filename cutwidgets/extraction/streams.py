"""A `tf.data.Dataset` as a data set, which can only be read in its order."""

from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph
from ..inference.inputs import by_input
from .examples import Batch, Examples


class Stream(Examples):
    """A `tf.data.Dataset` of examples or of batches, with or without labels, read in its order.

    Args:
        dataset: The data set.
        graph: The call graph of the model.

    Raises:
        CutwidgetsError: If the data set is empty, is endless, or does not fit the model.
    """

    kind = "tf.data.Dataset"
    can_be_shared = False
    unknown = ("the content of a tf.data.Dataset, of which only the first example is checked",)

    def __init__(self, dataset: Any, graph: CallGraph) -> None:
        element = f"{dataset.element_spec!s:.300}"
        specs = _inputs(dataset.element_spec, graph)
        try:
            ranks = [len(spec.shape) for spec in specs]
        except (AttributeError, ValueError) as error:  # ragged, or of unknown rank
            raise CutwidgetsError(
                f"The shapes of the data set are not known: {element}. Declare them, for example "
                "with output_signature=tf.TensorSpec(shape, dtype) in from_generator."
            ) from error
        if int(dataset.cardinality()) == -1:
            raise CutwidgetsError(
                "The data set has no end. Give a part of it: dataset.take(number)."
            )
        shapes = [graph.tensors[tensor].shape for tensor in graph.inputs]
        if ranks == [len(shape) for shape in shapes]:
            dataset = dataset.unbatch()
        elif ranks != [len(shape) - 1 for shape in shapes]:
            raise CutwidgetsError(
                f"The model {graph.name!r} takes {shapes}, the batch axis first. Received a data "
                f"set of {element}: give one of examples of that shape, or of batches."
            )
        self._dataset = dataset
        number = int(dataset.cardinality())
        self.size = number if number >= 0 else None
        self._iterator: Any = None
        self._position = -1
        self._first = self.batch(graph, 0, 1)
        if not self._first.ids:
            raise CutwidgetsError("The data set is empty.")
        self._specs = _inputs(dataset.element_spec, graph)

    def identity(self) -> dict[str, Any]:
        """Shapes and dtypes of the model's inputs, their number if known, the first example."""
        return {
            "kind": self.kind,
            "elements": [f"{spec.dtype} {spec.shape}" for spec in self._specs],
            "number": self.size,
            "first": self._first.digest,
        }

    def shapes(self, graph: CallGraph) -> list[tuple[int, ...]]:
        """The shapes of the first example, as the data set may not declare them."""
        return [values.shape[1:] for values in self._first.inputs]

    def batch(self, graph: CallGraph, first: int, last: int) -> Batch:
        """Read elements; anything but the next ones is read from the beginning."""
        if first != self._position:
            self._iterator = self._dataset.skip(first).batch(last - first).as_numpy_iterator()
        try:
            element = next(self._iterator, None)
        except Exception as error:  # whatever a step of the user's pipeline raises
            self._position = -1
            raise CutwidgetsError(
                f"The data set cannot be read between the examples {first:,} and {last:,}: "
                f"{error}. Earlier examples are stored. dataset.ignore_errors() skips unreadable "
                "ones."
            ) from error
        inputs = [] if element is None else [np.asarray(v) for v in _inputs(element, graph)]
        self._position = first + (len(inputs[0]) if inputs else 0)
        return Batch(list(range(first, self._position)), inputs)


def _inputs(element: Any, graph: CallGraph) -> list[Any]:
    """The model's inputs in an element, without labels."""
    return list(by_input(graph, keras.utils.unpack_x_y_sample_weight(element)[0]).values())
