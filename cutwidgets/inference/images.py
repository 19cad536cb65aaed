"""Photographs as a model's input: preprocessing and size."""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from types import ModuleType
from typing import Any

import keras
import numpy as np
from PIL import Image, ImageOps

from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph
from .inputs import USUAL_SIZE


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """A function from pixels to what a model expects.

    Attributes:
        name: A description for people.
        function: From float32 pixels (batch, height, width, channels), 0 to 255, to the same shape.
    """

    name: str
    function: Callable[[np.ndarray], Any]


def takes_images(graph: CallGraph) -> bool:
    """Whether a model's only input is a batch of images: four axes, and 1 or 3 channels.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> takes_images(read(keras.applications.ResNet50(weights=None)))
        True
    """
    shapes = [graph.tensors[tensor].shape for tensor in graph.inputs]
    return len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][graph.channel_axis] in (1, 3)


def preprocessing(graph: CallGraph, function: Callable[..., Any] | None = None) -> Preprocessing:
    """Choose the preprocessing for a model.

    Args:
        graph: The call graph of the model.
        function: The user's own function, which comes first.

    Returns:
        Nothing to do, if the model rescales its input itself; `preprocess_input` of the model's
        module, if the model comes from `keras.applications`; else a division by 255.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> preprocessing(read(keras.applications.ResNet50(weights=None))).name
        'keras.applications.resnet.preprocess_input'
        >>> own = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
        >>> preprocessing(read(own)).name
        'pixels scaled to 0–1 (a guess; pass preprocess= for another one)'
    """
    if function is not None:
        return Preprocessing(getattr(function, "__name__", "your own function"), function)
    before_weights = takewhile(lambda call: not call.weighted, graph.calls)
    if any(call.role == "rescaling" for call in before_weights):
        return Preprocessing("none: the model rescales its pixels itself", lambda pixels: pixels)
    module = _application(graph.name)
    if module is not None:
        name = module.__name__.rpartition(".")[2]
        return Preprocessing(
            f"keras.applications.{name}.preprocess_input",
            # Keras's function changes its argument.
            lambda pixels: module.preprocess_input(pixels.copy()),
        )
    return Preprocessing(
        "pixels scaled to 0–1 (a guess; pass preprocess= for another one)",
        lambda pixels: pixels / 255,
    )


def _application(model_name: str) -> ModuleType | None:
    """The module of `keras.applications` that a model comes from, judging by the model's name.

    The longest match counts: `mobilenetv2_1.00_224` starts with `MobileNet` and `MobileNetV2`.
    """

    def plain(name: str) -> str:
        return re.sub(r"[^a-z0-9]", "", name.lower())

    matches = [
        (name, module)
        for module in _application_modules()
        for name in vars(module)
        if name[0].isupper() and plain(model_name).startswith(plain(name))
    ]
    return max(matches, key=lambda match: len(match[0]))[1] if matches else None


def _application_modules() -> Iterator[ModuleType]:
    for info in pkgutil.iter_modules(keras.applications.__path__):
        module = importlib.import_module(f"keras.applications.{info.name}")
        if hasattr(module, "preprocess_input"):
            yield module


def pixels(graph: CallGraph, image: Image.Image) -> np.ndarray:
    """Crop and resize a photograph for a model: the largest centred part with the right ratio.

    Args:
        graph: The graph of a model that takes images.
        image: A photograph.

    Returns:
        Float32 pixels from 0 to 255, of the shape of the model's input, with a batch axis of one.
        Lengths that are not fixed become 224 pixels.

    Raises:
        CutwidgetsError: If the model does not accept images.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> from cutwidgets.inference.pictures import photo

        >>> pixels(read(keras.applications.ResNet50(weights=None)), photo()).shape
        (1, 224, 224, 3)
    """
    if not takes_images(graph):
        shapes = [graph.tensors[tensor].shape for tensor in graph.inputs]
        raise CutwidgetsError(
            f"The model {graph.name!r} takes no photographs: its input has the shape "
            f"{', '.join(map(str, shapes))}. Images have four axes, and 1 or 3 channels."
        )
    lengths = list(graph.tensors[graph.inputs[0]].shape[1:])
    channels = lengths.pop(graph.channel_axis if graph.channel_axis == -1 else 0)
    height, width = (length or USUAL_SIZE for length in lengths)
    fitted = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    array = np.asarray(fitted.convert("L" if channels == 1 else "RGB"), "float32")
    array = array.reshape(1, height, width, channels or 1)
    return array if graph.channel_axis == -1 else array.transpose(0, 3, 1, 2)
