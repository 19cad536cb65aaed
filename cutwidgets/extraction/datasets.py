"""Every kind of data set that `features` accepts."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph
from ..inference.inputs import by_input
from .arrays import Arrays
from .examples import Examples
from .folders import Folder
from .streams import Stream


def examples_of(data: Any, graph: CallGraph) -> Examples:
    """The examples of a data set.

    Args:
        data: The path of a folder of images; an array, or one for each input of the model in a
            list or a dictionary; or a `tf.data.Dataset`.
        graph: The call graph of the model.

    Raises:
        CutwidgetsError: If it is none of these, or does not fit the model.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
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
        return Arrays(by_input(graph, data))
    raise CutwidgetsError(
        "Data must be a folder of images, an array for each input of the model, or a "
        f"tf.data.Dataset. Received: {data!r:.200} (of type {type(data).__name__})."
    )
