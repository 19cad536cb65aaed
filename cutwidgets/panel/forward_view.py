"""A forward pass through a slice, for the panel."""

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import keras
import numpy as np

from ..inference.forward import arrays, evaluate, forward
from ..surgery.build import Section


@dataclass(frozen=True, slots=True)
class Run:
    """A forward pass of a slice.

    Attributes:
        inputs: What went into the slice, an array for each of its inputs.
        outputs: What came out, an array for each of its outputs.
        seconds: How long the slice took, by the clock.
    """

    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]
    seconds: float


def run(section: Section, part: keras.Model, given: Mapping[int, Any]) -> Run:
    """Compute a slice's real input with the layers before it, and run the slice.

    Args:
        section: What the slice consists of.
        part: The slice.
        given: Values of the model's inputs, by their indices in the call graph.

    Raises:
        CutwidgetsError: If a layer cannot take these values.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> from cutwidgets.inference.pictures import photo
        >>> from cutwidgets.inference.images import pixels
        >>> from cutwidgets.surgery.build import build
        >>> from cutwidgets.surgery.slicing import section
        >>> resnet = keras.applications.ResNet50(include_top=False, weights=None)
        >>> middle = section(cw.anatomy(resnet), "conv3", "conv4")
        >>> given = {middle.graph.inputs[0]: pixels(middle.graph, photo())}
        >>> run(middle, build(resnet, middle), given).outputs[0].shape
        (1, 14, 14, 1024)
    """
    inputs = evaluate(section.graph, section.inputs, given)
    started = perf_counter()
    outputs = arrays(forward(part, inputs))
    seconds = perf_counter() - started
    return Run(tuple(arrays(inputs)), tuple(outputs), seconds)
