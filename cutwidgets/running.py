"""Run a slice on a photograph: loading, preprocessing, the forward pass, a picture of features."""

import importlib
import io
import pkgutil
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from math import ceil
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any

import keras
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .callgraph import CallGraph, Tensor, compute, functional, read
from .errors import CutError
from .regions import WEIGHTED
from .slicing import Section

Picture = str | Path | Image.Image | np.ndarray
_CLEAR = 255  # the last colour of a palette, which is transparent
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


def photo(source: Picture | None = None) -> Image.Image:
    """Load a photograph.

    Args:
        source: A file's path, a PIL image, or an array (height, width) or (height, width, 1, 3 or
            4), of integers from 0 to 255 or of floats from 0 to 1; `None` for Chelsea the cat, who
            is installed with scikit-image.

    Returns:
        An image in RGB.

    Raises:
        CutError: If it is no picture, or too large a one.

    Example:
        >>> from cutwidgets.running import photo
        >>> photo().size
        (451, 300)
    """
    if source is None:
        from skimage import data

        source = data.chelsea()
    try:
        if isinstance(source, np.ndarray):
            source = Image.fromarray(_as_bytes(source))
        elif not isinstance(source, Image.Image):
            source = Image.open(source)
        # Cameras store how they were held.
        return ImageOps.exif_transpose(source).convert("RGB")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "its format is none of a picture" if unknown else error
        asked = type(source).__name__ if isinstance(source, np.ndarray) else f"{source!r:.200}"
        raise CutError(
            f"Cannot read a photograph from {asked}: {reason}. Give the path of a picture "
            "file, a PIL image or an array (height, width, channels)."
        ) from error
    except Image.DecompressionBombError as error:
        raise CutError(f"The photograph {source!r:.200} is too large: {error}.") from error


def _as_bytes(array: np.ndarray) -> np.ndarray:
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (3, 4)):
        raise ValueError(f"an array of shape {array.shape} is no picture")
    if not array.size or array.dtype.kind not in "buif":
        raise ValueError(f"an array of shape {array.shape} and dtype {array.dtype} is no picture")
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 255:
        raise ValueError("its values are not between 0 and 255")
    scale = 255 if array.dtype.kind in "bf" and array.max() <= 1 else 1
    return np.asarray(np.round(array * scale), "uint8")


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
        >>> from cutwidgets.running import photo, pixels
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
        >>> from cutwidgets.running import photo, pixels, run
        >>> from cutwidgets.slicing import build, section
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


def evaluate(graph: CallGraph, ends: Sequence[int], given: Mapping[int, Any]) -> list[Any]:
    """Compute tensors of a model from others, as `compute` does; the model is the same afterwards.

    Raises:
        CutError: If a layer cannot take these values.
    """
    layers = [call.layer for call in graph.calls if isinstance(call.layer, keras.Layer)]
    with _as_before(graph.name, layers):
        return compute(graph, ends, given)


def arrays(values: Sequence[Any]) -> list[np.ndarray]:
    """The backend's tensors as NumPy arrays."""
    return [np.asarray(keras.ops.convert_to_numpy(value)) for value in values]


@contextmanager
def _as_before(name: str, layers: Sequence[keras.Layer]) -> Iterator[None]:
    """Put back states, statistics and seeds that a forward pass changes; explain its errors."""
    variables = {id(v): v for layer in layers for v in layer.non_trainable_variables}
    before = [(v, np.array(keras.ops.convert_to_numpy(v))) for v in variables.values()]
    try:
        with warnings.catch_warnings():
            # Between head, slice and tail a mask travels with its tensor, as it does in the model.
            warnings.filterwarnings("ignore", message=".*does not support masking")
            yield
    except Exception as error:  # whatever a user's own layer or the backend raises
        raise CutError(f"The model {name!r} cannot run on this input: {error}") from error
    finally:
        for variable, value in before:
            if not np.array_equal(value, keras.ops.convert_to_numpy(variable)):
                variable.assign(value)


def feature_maps(features: np.ndarray, columns: int = 8, limit: int = 64) -> bytes:
    """Draw the features of the first example of a batch.

    Each map is coloured from its own smallest value (dark) to its own largest (bright), by a scale
    that is even to the eye and safe for the colour-blind (matplotlib's viridis).

    Args:
        features: Maps (batch, height, width, channels); of a sequence (batch, length, channels) one
            map is drawn, of (batch, channels) a strip, in rows.
        columns: How many maps stand side by side.
        limit: How many maps are drawn at most, the first channels.

    Returns:
        A PNG file, transparent between the maps and where a value is not a finite number.

    Raises:
        CutError: If there are no features to draw.

    Example:
        >>> import numpy as np
        >>> from cutwidgets.running import feature_maps
        >>> feature_maps(np.zeros((1, 7, 7, 256)))[1:4]
        b'PNG'
    """
    from matplotlib import colormaps

    if not np.size(features):
        raise CutError(f"There is nothing to draw in features of shape {np.shape(features)}.")
    maps = _maps(np.asarray(features, "float32"))[:limit]
    step = ceil(max(maps.shape[1:]) / 112)
    levels = _levels(maps[:, ::step, ::step])
    # Large enough to be seen, and no larger than a page: a single map may fill its width.
    grow = max(1, round((448 if len(maps) == 1 else 56) / max(levels.shape[1:])))
    sheet = _sheet(levels.repeat(grow, axis=1).repeat(grow, axis=2), min(columns, len(maps)))
    image = Image.fromarray(sheet).convert("P")
    colours = colormaps["viridis"](np.linspace(0, 1, _CLEAR), bytes=True)[:, :3]
    image.putpalette([*colours.ravel().tolist(), 0, 0, 0])
    file = io.BytesIO()
    image.save(file, "PNG", transparency=_CLEAR, compress_level=1)
    return file.getvalue()


def _sheet(tiles: np.ndarray, columns: int, gap: int = 4) -> np.ndarray:
    """Tiles (number, height, width) in rows, with gaps between them."""
    number, height, width = tiles.shape
    rows = ceil(number / columns)
    cells = np.full((rows * columns, height + gap, width + gap), _CLEAR, "uint8")
    cells[:number, :-gap, :-gap] = tiles
    cells = cells.reshape(rows, columns, height + gap, width + gap).swapaxes(1, 2)
    return cells.reshape(rows * (height + gap), -1)[:-gap, :-gap]


def _maps(features: np.ndarray) -> np.ndarray:
    """The first example as maps (number, height, width)."""
    first = features[0] if features.ndim else features.reshape(1)
    if first.ndim == 3:
        return first.transpose(2, 0, 1)
    if first.ndim == 2:
        return first[np.newaxis]
    row = first.reshape(-1)
    rows = ceil(row.size / 64) or 1
    strip = np.full(rows * min(64, row.size or 1), np.nan, "float32")
    strip[: row.size] = row
    return strip.reshape(1, rows, -1)


def _levels(maps: np.ndarray) -> np.ndarray:
    """Each map from its least value, 0, to its largest, 254; 255 for what is not finite."""
    finite = np.isfinite(maps)
    low = np.where(finite, maps, np.inf).min(axis=(1, 2), keepdims=True)
    high = np.where(finite, maps, -np.inf).max(axis=(1, 2), keepdims=True)
    spread = np.where(high > low, high - low, 1)
    levels = np.where(finite, (np.where(finite, maps, 0) - low) / spread * (_CLEAR - 1), _CLEAR)
    return np.round(levels).astype("uint8")
