"""Photographs in, pictures of features out: NumPy and PIL, no Keras."""

import io
from math import ceil
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import CutwidgetsError

Picture = str | Path | Image.Image | np.ndarray

# Photographs that are installed with scikit-image, and their names there; all are free to use.
SAMPLES = {
    "Chelsea the cat": "chelsea",
    "An astronaut": "astronaut",
    "A cup of coffee": "coffee",
    "A rocket": "rocket",
}

_BITS, _PHOTOMETRIC = 258, 262  # tags of TIFF: bits of a sample, and whether 0 is black

_CLEAR = 255  # the last colour of a palette, which is transparent


def photo(source: Picture | None = None) -> Image.Image:
    """Load a photograph.

    The colours are those that a person sees. Whatever is transparent is laid upon white. Grey of 16
    bits is scaled, and so is grey of 32 bits with values from 256 to 65,535. Floats, of an array or
    a file, are scaled from 0 to 255 where none is above 1, and taken as they are where none is
    above 255. Of an animation the first picture is taken.

    Args:
        source: A file's path, a PIL image, or an array (height, width) or (height, width, 1, 3 or
            4), of integers from 0 to 255 or of floats from 0 to 1; `None` for Chelsea the cat, who
            is installed with scikit-image.

    Returns:
        An image in RGB.

    Raises:
        CutwidgetsError: If it is no picture, too large a one, or one whose values have no known
            range.

    Example:
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
        return ImageOps.exif_transpose(_in_rgb(source))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "its format is none of a picture" if unknown else error
        asked = type(source).__name__ if isinstance(source, np.ndarray) else f"{source!r:.200}"
        raise CutwidgetsError(
            f"Cannot read a photograph from {asked}: {reason}. Give the path of a picture "
            "file, a PIL image or an array (height, width, channels)."
        ) from error
    except Image.DecompressionBombError as error:
        raise CutwidgetsError(f"The photograph {source!r:.200} is too large: {error}.") from error


def sample(name: str) -> Image.Image:
    """One of the photographs of `SAMPLES`.

    Raises:
        CutwidgetsError: If there is none of that name.

    Example:
        >>> sample("A cup of coffee").size
        (600, 400)
    """
    if name not in SAMPLES:
        raise CutwidgetsError(
            f"There is no sample photograph {name!r:.200}, but {', '.join(SAMPLES)}."
        )
    from skimage import data

    return photo(getattr(data, SAMPLES[name])())


def uploaded(name: str, content: bytes) -> Image.Image:
    """A photograph from the bytes of a file.

    Raises:
        CutwidgetsError: If it is no picture, or too large a one.

    Example:
        >>> uploaded("notes.txt", b"no picture")
        Traceback (most recent call last):
        cutwidgets.errors.CutwidgetsError: Cannot read a photograph from 'notes.txt': ...
    """
    try:
        return photo(Image.open(io.BytesIO(content)))
    except CutwidgetsError as error:
        raise CutwidgetsError(f"Cannot read a photograph from {name!r:.200}: {error}") from error
    except UnidentifiedImageError as error:
        raise CutwidgetsError(
            f"Cannot read a photograph from {name!r:.200}: its format is none of a picture, such "
            "as PNG or JPEG."
        ) from error
    except (OSError, ValueError) as error:
        raise CutwidgetsError(f"Cannot read a photograph from {name!r:.200}: {error}.") from error
    except Image.DecompressionBombError as error:
        raise CutwidgetsError(f"The photograph {name!r:.200} is too large: {error}.") from error


def png(image: Image.Image) -> bytes:
    """An image as a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _in_rgb(image: Image.Image) -> Image.Image:
    """An image in RGB; Pillow itself clips what has more than 8 bits, and drops transparency.

    Raises:
        ValueError: If its values have no known range, or Pillow cannot convert it.
    """
    image.load()
    exif = image.getexif()
    if image.mode == "F" or image.mode.startswith("I"):
        made = Image.fromarray(_grey(image)).convert("RGB")
    elif image.mode in ("La", "RGBa"):
        made = _upon_white(image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode]))
    else:
        made = _upon_white(image) if image.has_transparency_data else image.convert("RGB")
    made.info["exif"] = exif.tobytes()
    return made


def _upon_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _grey(image: Image.Image) -> np.ndarray:
    """Grey of more than 8 bits in 8 bits."""
    array = np.asarray(image)
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    if image.mode == "F":
        return _as_bytes(array)
    # PNG and PGM know no grey of more than 16 bits. Others may hold fewer than Pillow's mode has.
    sixteen = image.mode != "I" or image.format in ("PNG", "PPM")
    if not sixteen and array.max() <= 255:
        return _as_bytes(array)
    if array.min() < 0 or array.max() > 65535:
        raise ValueError("its values are not between 0 and 65,535")
    bits = tags.get(_BITS, (16,))[0]
    white = 2 ** min(bits, 16) - 1
    levels = np.round(array.astype("float64") * 255 / white)
    if tags.get(_PHOTOMETRIC) == 0:  # 0 is white
        levels = 255 - levels
    if isinstance(clear := image.info.get("transparency"), int):
        levels[array == clear] = 255
    return np.asarray(levels, "uint8")


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


def feature_maps(features: np.ndarray, columns: int = 8, limit: int = 64, first: int = 0) -> bytes:
    """Draw the features of the first example of a batch.

    Each map is coloured from its own smallest value (dark) to its own largest (bright), by a scale
    that is even to the eye and safe for the colour-blind (matplotlib's viridis).

    Args:
        features: Maps (batch, height, width, channels); of volumes (batch, depth, height, width,
            channels) the middle is drawn, of a sequence (batch, length, channels) one map, of
            (batch, channels) a strip, in rows.
        columns: How many maps stand side by side.
        limit: How many maps are drawn at most.
        first: The channel to begin with.

    Returns:
        A PNG file, transparent between the maps and where a value is not a finite number.

    Raises:
        CutwidgetsError: If there are no features to draw.

    Example:
        >>> import numpy as np

        >>> feature_maps(np.zeros((1, 7, 7, 256)))[1:4]
        b'PNG'
    """
    from matplotlib import colormaps

    if not np.size(features):
        raise CutwidgetsError(
            f"There is nothing to draw in features of shape {np.shape(features)}."
        )
    maps = _maps(np.asarray(features, "float32"))[first : first + limit]
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
    if first.ndim == 4:
        first = first[len(first) // 2]
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
