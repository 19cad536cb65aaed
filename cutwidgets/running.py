"""Run a slice: what a model expects of its pixels, the head, the forward pass."""

import importlib
import pkgutil
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from time import perf_counter
from types import ModuleType
from typing import Any

import keras
import numpy as np
from PIL import Image, ImageOps

from ._anatomy import anatomy
from .building import Section
from .callgraph import read
from .errors import CutError
from .graph import Call, CallGraph, Tensor, between
from .kerasgraph import functional
from .places import PlaceLike, resolve
from .regions import WEIGHTED
from .repeating import compute
from .sideeffects import put_back_after

USUAL_SIZE = 224  # pixels a side, where a model takes any: what ImageNet networks are trained on


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What turns pixels into what a model expects.

    Attributes:
        name: What it is, in words.
        function: From float32 pixels (batch, height, width, channels), 0 to 255, to the same shape.
    """

    name: str
    function: Callable[[np.ndarray], Any]


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


def takes_images(graph: CallGraph) -> bool:
    """Whether a model's only input is a batch of images: four axes, and 1 or 3 channels.

    Example:
        >>> import keras
        >>> from cutwidgets.callgraph import read
        >>> takes_images(read(keras.applications.ResNet50(weights=None)))
        True
    """
    shapes = [graph.tensors[tensor].shape for tensor in graph.inputs]
    return len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][graph.channel_axis] in (1, 3)


def preprocessing(model: keras.Model, function: Callable[..., Any] | None = None) -> Preprocessing:
    """Find out how a model wants its pixels.

    Args:
        model: A built functional or Sequential model.
        function: A function to use instead of what would be found out.

    Returns:
        The function of the model's own module, where `keras.applications` built the model; none
        where the model rescales by itself; else pixels divided by 255, from 0 to 1.

    Example:
        >>> import keras
        >>> preprocessing(keras.applications.ResNet50(weights=None)).name
        'keras.applications.resnet.preprocess_input'
        >>> own = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
        >>> preprocessing(own).name
        'pixels divided by 255: the model does not say what it expects'
    """
    if function is not None:
        return Preprocessing(getattr(function, "__name__", "your own function"), function)
    before_weights = takewhile(lambda call: call.role not in WEIGHTED, read(model).calls)
    if any(call.role == "rescaling" for call in before_weights):
        return Preprocessing("none: the model rescales its pixels by itself", lambda pixels: pixels)
    module = _application(model)
    if module is not None:
        name = module.__name__.rpartition(".")[2]
        return Preprocessing(
            f"keras.applications.{name}.preprocess_input",
            # It works in place on the array that it is given.
            lambda pixels: module.preprocess_input(pixels.copy()),
        )
    return Preprocessing(
        "pixels divided by 255: the model does not say what it expects",
        lambda pixels: pixels / 255,
    )


def _application(model: keras.Model) -> ModuleType | None:
    """The module of `keras.applications` that built a model.

    It is told by the model's name: `mobilenetv2_1.00_224` begins with that of `MobileNetV2`, which
    is longer than that of `MobileNet`.
    """

    def plain(name: str) -> str:
        return re.sub(r"[^a-z0-9]", "", name.lower())

    found = [
        (len(name), module)
        for module in _application_modules()
        for name in vars(module)
        if name[0].isupper() and plain(model.name).startswith(plain(name))
    ]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _application_modules() -> Iterator[ModuleType]:
    for info in pkgutil.iter_modules(keras.applications.__path__):
        module = importlib.import_module(f"keras.applications.{info.name}")
        if hasattr(module, "preprocess_input"):
            yield module


def pixels(graph: CallGraph, image: Image.Image) -> np.ndarray:
    """Crop and resize a photograph for a model: the largest centred part of the right shape.

    Args:
        graph: The graph of a model that takes images.
        image: A photograph.

    Returns:
        Float32 pixels from 0 to 255, of the shape that the model takes, with a batch of one. Where
        the model takes any size, 224 pixels a side.

    Raises:
        CutError: If the model takes no images.

    Example:
        >>> import keras
        >>> from cutwidgets.callgraph import read
        >>> from cutwidgets.pictures import photo
        >>> from cutwidgets.running import pixels
        >>> pixels(read(keras.applications.ResNet50(weights=None)), photo()).shape
        (1, 224, 224, 3)
    """
    if not takes_images(graph):
        shapes = [graph.tensors[tensor].shape for tensor in graph.inputs]
        raise CutError(
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


def random_input(
    graph: CallGraph, seed: int, like: Mapping[int, Any] | None = None
) -> dict[int, np.ndarray]:
    """Random values for a model's inputs: normal, or zeros and ones for integers.

    Args:
        graph: The call graph.
        seed: Seed of the random numbers.
        like: Values whose shapes to use; without them, two examples, and for lengths that are not
            fixed 64 for images and 16 for anything else.

    Raises:
        CutError: If the model takes strings.

    Example:
        >>> import keras
        >>> from cutwidgets.callgraph import read
        >>> graph = read(keras.Sequential([keras.Input((None, 2)), keras.layers.Dense(1)]))
        >>> random_input(graph, seed=0)[0].shape
        (2, 16, 2)
    """
    generator = np.random.default_rng(seed)
    made = {}
    for index in graph.inputs:
        tensor = graph.tensors[index]
        if tensor.dtype == "string":
            raise CutError(
                f"The model {graph.name!r} takes texts, and random texts would show nothing. Give "
                "an input of your own."
            )
        free = 64 if len(tensor.shape) == 4 else 16
        batch, *lengths = tensor.shape
        shape = (batch or 2, *(length or free for length in lengths))
        shape = shape if like is None else tuple(np.shape(like[index]))
        is_float = "float" in tensor.dtype
        random = generator.normal(size=shape) if is_float else generator.integers(0, 2, shape)
        made[index] = random.astype(dtype_of(tensor))
    return made


def as_inputs(graph: CallGraph, x: Any) -> dict[int, np.ndarray]:
    """Arrays for the model's inputs, from one, a list or a tuple of them, or a dictionary.

    Raises:
        CutError: If they do not fit the model.
    """
    names = [graph.maker(tensor).name for tensor in graph.inputs]
    if isinstance(x, dict):
        given = [x.get(name) for name in names]
    else:
        given = list(x) if isinstance(x, list | tuple) and len(names) == len(x) else [x]
    if len(given) != len(names) or any(value is None for value in given):
        raise CutError(f"The model {graph.name!r} takes the inputs {names}. Received: {x!r:.200}")
    inputs = {}
    for index, name, value in zip(graph.inputs, names, given, strict=True):
        tensor = graph.tensors[index]
        try:
            array = np.asarray(value)
            inputs[index] = array if tensor.dtype == "string" else array.astype(dtype_of(tensor))
        except (TypeError, ValueError) as error:
            raise CutError(
                f"The input {name!r} of the model {graph.name!r} takes numbers. "
                f"Received: {value!r:.200}"
            ) from error
        fits = [want in (None, got) for want, got in zip(tensor.shape, array.shape, strict=False)]
        if len(array.shape) != len(tensor.shape) or not all(fits):
            raise CutError(
                f"The input {name!r} of the model {graph.name!r} has the shape {tensor.shape}, the "
                f"batch axis first. Received an array of shape {array.shape}."
            )
    return inputs


def dtype_of(tensor: Tensor) -> str:
    """A dtype of NumPy that a tensor takes; NumPy has no bfloat16."""
    return "float32" if tensor.dtype == "bfloat16" else tensor.dtype


def run(section: Section, part: keras.Model, given: Mapping[int, Any]) -> Run:
    """Compute a slice's real input with the layers before it, and run the slice.

    Args:
        section: What the slice consists of.
        part: The slice.
        given: Values of the model's inputs, by their indices in the call graph.

    Raises:
        CutError: If a layer cannot take these values.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> from cutwidgets.pictures import photo
        >>> from cutwidgets.running import pixels, run
        >>> from cutwidgets.building import build
        >>> from cutwidgets.slicing import section
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


def activations(
    model: keras.Model, x: Any, places: PlaceLike | Iterable[PlaceLike] | None = None
) -> dict[str, Any]:
    """What every block gives, in one forward pass in inference mode.

    Args:
        model: A built functional or Sequential model.
        x: Input of the model: an array with a batch axis, or as many of them, in a list or a
            dictionary, as the model takes.
        places: Places whose outputs are wanted; `None` for all blocks.

    Returns:
        For the name of each place an array with the batch axis, of the dtype of the tensor; a tuple
        of arrays for a place with several outputs.

    Raises:
        UnknownPlaceError: If the model has no such place.
        CutError: If `x` does not fit the model.
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> import numpy as np
        >>> vgg = keras.applications.VGG16(include_top=False, weights=None)
        >>> values = cw.activations(vgg, np.ones((1, 32, 32, 3)))
        >>> list(values), values["block5"].shape
        (['block1', 'block2', 'block3', 'block4', 'block5'], (1, 1, 1, 512))
    """
    found = anatomy(model)
    if places is None:
        places = found.blocks
    elif isinstance(places, str) or not isinstance(places, Iterable):
        places = [places]
    resolved = {}
    for place in places:
        where = resolve(found, place)
        resolved[place if isinstance(place, str) else where.name] = where.exits
    ends = list(dict.fromkeys(tensor for exits in resolved.values() for tensor in exits))
    values = dict(
        zip(ends, arrays(evaluate(found.graph, ends, as_inputs(found.graph, x))), strict=True)
    )
    return {
        name: values[exits[0]] if len(exits) == 1 else tuple(values[tensor] for tensor in exits)
        for name, exits in resolved.items()
    }


def forward(model: keras.Model, inputs: Sequence[Any]) -> list[Any]:
    """Call a model, on as many values as it has inputs, for as many as it has outputs.

    The model is the same afterwards, even if some of its layers change as they are called.

    Raises:
        CutError: If a layer cannot take these values.
    """
    packed = keras.tree.pack_sequence_as(functional(model).input, list(inputs))
    with _as_before(model.name, [model]):
        # Never with training=True: one such call changes the statistics of normalisations.
        return list(keras.tree.flatten(model(packed, training=False)))


def evaluate(
    graph: CallGraph,
    ends: Sequence[int],
    given: Mapping[int, Any],
    before: Callable[[Call], None] | None = None,
) -> list[Any]:
    """Compute tensors of a model from others, as `compute` does; the model is the same afterwards.

    Raises:
        CutError: If a layer cannot take these values.
    """
    layers = [graph.calls[index].layer for index in between(graph, ends, given)[0]]
    with _as_before(graph.name, layers):
        return compute(graph, ends, given, before=before)


def arrays(values: Sequence[Any]) -> list[np.ndarray]:
    """The backend's tensors as NumPy arrays."""
    return [np.asarray(keras.ops.convert_to_numpy(value)) for value in values]


@contextmanager
def _as_before(name: str, layers: Iterable[keras.Operation]) -> Iterator[None]:
    """Put back states, statistics and seeds that a forward pass changes; explain its errors."""
    try:
        with put_back_after(layers), warnings.catch_warnings():
            # Between head, slice and tail a mask travels with its tensor, as it does in the model.
            warnings.filterwarnings("ignore", message=".*does not support masking")
            yield
    except Exception as error:  # whatever a user's own layer or the backend raises
        raise CutError(f"The model {name!r} cannot run on this input: {error}") from error
