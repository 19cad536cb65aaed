"""Read photographs, and draw feature maps: NumPy and Pillow, without Keras."""

import io
from functools import cache
from math import ceil
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import CutwidgetsError

Picture = str | Path | Image.Image | np.ndarray

_FOLDER = Path(__file__).parent

# The photographs that come with cutwidgets. `photos/README.md` names their authors.
SAMPLES = {"Chelsea the cat": "chelsea.jpg", "An astronaut": "astronaut.jpg"}

_BITS, _PHOTOMETRIC = 258, 262  # tags of TIFF: bits per sample, and whether 0 is black

_TRANSPARENT = 255  # the index of the last colour of a palette

# Of heat: where its colours begin among those of viridis, and the opacity of the largest, through
# which a picture can still be seen.
_COLDEST, _DENSEST = 0.4, 0.8


def photo(source: Picture | None = None) -> Image.Image:
    """Load a photograph, in the colours that a person sees.

    - Transparent parts are laid on white.
    - 16-bit grey is scaled to 8 bits, and so is 32-bit grey with values from 256 to 65,535.
    - Floats up to 1 are scaled to 255; larger ones, up to 255, are only rounded.
    - An animation is represented by its first frame.

    Args:
        source: The path of a file, a PIL image, or an array of shape (height, width) or (height,
            width, 1, 3 or 4), with integers from 0 to 255 or floats from 0 to 1. `None` stands for
            Chelsea the cat, who comes with cutwidgets.

    Returns:
        An image in RGB.

    Raises:
        CutwidgetsError: If the source is no image or too large, or its values have no known range.

    Example:
        >>> photo().size
        (451, 300)
    """
    if source is None:
        return sample(next(iter(SAMPLES)))
    is_array = isinstance(source, np.ndarray)
    return _read(source, type(source).__name__ if is_array else f"{source!r:.200}")


def sample(name: str) -> Image.Image:
    """Load one of the photographs of `SAMPLES`.

    Raises:
        CutwidgetsError: If no sample has that name.

    Example:
        >>> sample("An astronaut").size
        (512, 512)
    """
    if name not in SAMPLES:
        raise CutwidgetsError(
            f"There is no sample photograph {name!r:.200}. The samples are: {', '.join(SAMPLES)}."
        )
    return photo(_FOLDER / "photos" / SAMPLES[name])


def uploaded(name: str, content: bytes) -> Image.Image:
    """Load a photograph from the bytes of a file.

    Raises:
        CutwidgetsError: If the file is no image, or too large.

    Example:
        >>> uploaded("notes.txt", b"no picture")
        Traceback (most recent call last):
        cutwidgets.errors.CutwidgetsError: Cannot read a photograph from 'notes.txt': ...
    """
    return _read(io.BytesIO(content), f"{name!r:.200}")


def _read(source: Picture | IO[bytes], label: str) -> Image.Image:
    """Read an image from anything, or raise an error that names the source by the label."""
    try:
        if isinstance(source, np.ndarray):
            source = Image.fromarray(_as_bytes(source))
        elif not isinstance(source, Image.Image):
            source = Image.open(source)
        return ImageOps.exif_transpose(_in_rgb(source))
    except UnidentifiedImageError as error:
        raise _unreadable(label, "it is not an image that Pillow can read") from error
    except Image.DecompressionBombError as error:
        raise _unreadable(label, f"it is too large ({error})") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise _unreadable(label, str(error).rstrip(".")) from error


def _unreadable(label: str, reason: str) -> CutwidgetsError:
    return CutwidgetsError(
        f"Cannot read a photograph from {label}: {reason}. Pass the path of an image file, a PIL "
        "image, or an array of shape (height, width, channels)."
    )


def png(image: Image.Image, **options: Any) -> bytes:
    """Encode an image as PNG, with options of Pillow."""
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def _in_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to RGB; Pillow alone clips more than 8 bits, and drops transparency.

    Raises:
        ValueError: If its values have no known range, or Pillow cannot convert it.
    """
    image.load()
    exif = image.getexif()
    if image.mode == "F" or image.mode.startswith("I"):
        converted = Image.fromarray(_grey(image)).convert("RGB")
    elif image.mode in ("La", "RGBa"):
        converted = _on_white(image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode]))
    else:
        converted = _on_white(image) if image.has_transparency_data else image.convert("RGB")
    converted.info["exif"] = exif.tobytes()
    return converted


def _on_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _grey(image: Image.Image) -> np.ndarray:
    """Convert grey of more than 8 bits to 8 bits."""
    array = np.asarray(image)
    if image.mode == "F":
        return _as_bytes(array)
    # PNG and PGM store at most 16 bits of grey. In other formats mode "I" may hold only 8 bits.
    is_16_bit = image.mode != "I" or image.format in ("PNG", "PPM")
    if not is_16_bit and array.max() <= 255:
        return _as_bytes(array)
    if array.min() < 0 or array.max() > 65535:
        raise ValueError("its values are not between 0 and 65,535")
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    white = 2 ** min(tags.get(_BITS, (16,))[0], 16) - 1
    levels = np.round(array.astype("float64") * 255 / white)
    if tags.get(_PHOTOMETRIC) == 0:  # 0 is white
        levels = 255 - levels
    if isinstance(transparent := image.info.get("transparency"), int):
        levels[array == transparent] = 255
    return np.asarray(levels, "uint8")


def _as_bytes(array: np.ndarray) -> np.ndarray:
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (3, 4))
    if not is_image or not array.size or array.dtype.kind not in "buif":
        raise ValueError(f"an array of shape {array.shape} and dtype {array.dtype} is not an image")
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 255:
        raise ValueError("its values are not between 0 and 255")
    scale = 255 if array.dtype.kind in "bf" and array.max() <= 1 else 1
    return np.asarray(np.round(array * scale), "uint8")


def sheet(maps: np.ndarray, scales: np.ndarray, columns: int = 8) -> bytes:
    """Draw maps as the tiles of one picture, a pixel for each value, in rows without gaps.

    The colours are those of viridis, which is perceptually even and safe for the colour-blind.

    Args:
        maps: An array (number, height, width) of real numbers.
        scales: For each map the values of the darkest and of the brightest colour, (number, 2).
        columns: The number of maps in a row.

    Returns:
        A PNG file, transparent where a value is not finite, and behind the last tile.

    Example:
        >>> import numpy as np
        >>> maps = np.arange(12.0).reshape(3, 2, 2)
        >>> drawn = sheet(maps, np.array([[0, 11]] * 3), columns=2)
        >>> Image.open(io.BytesIO(drawn)).size
        (4, 4)
    """
    levels = _levels(maps, scales)
    number, height, width = levels.shape
    columns = min(columns, number)
    rows = ceil(number / columns)
    cells = np.full((rows * columns, height, width), _TRANSPARENT, "uint8")
    cells[:number] = levels
    cells = cells.reshape(rows, columns, height, width).swapaxes(1, 2)
    image = Image.fromarray(cells.reshape(rows * height, columns * width)).convert("P")
    image.putpalette(_palette())
    return png(image, transparency=_TRANSPARENT, compress_level=1)


def glow(heat: np.ndarray) -> np.ndarray:
    """Colour heat so that it can be laid over a grey picture: what is cold is transparent.

    Args:
        heat: An array (height, width) of numbers from 0 to 1.

    Returns:
        Bytes (height, width, 4): red, green, blue and opacity. The colours are those of viridis.

    Example:
        >>> import numpy as np
        >>> glow(np.array([[0.0, 1.0]]))[0, :, 3].tolist()
        [0, 204]
    """
    heat = np.clip(heat, 0, 1)
    # From the middle of the colours on: the dark ones would look like shadows of the picture.
    levels = np.round((_COLDEST + (1 - _COLDEST) * heat) * (_TRANSPARENT - 1)).astype("uint8")
    colours = np.frombuffer(_palette(), "uint8").reshape(-1, 3)[levels]
    opacity = np.round(255 * _DENSEST * np.minimum(1, 1.5 * heat)).astype("uint8")
    return np.concatenate([colours, opacity[..., np.newaxis]], axis=-1)


@cache
def _palette() -> bytes:
    """The 255 colours of viridis, as RGB, and one for what is transparent."""
    with Image.open(_FOLDER / "viridis.png") as colours:
        return colours.tobytes() + bytes(3)


def _levels(maps: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Scale each map to the colours of the palette; what is not finite becomes transparent."""
    # Halves, because the difference of two large numbers may be too large for a float.
    halves = np.where(np.isfinite(maps), maps, np.nan).astype("float64") / 2
    low, high = (scales.astype("float64") / 2).T[..., np.newaxis, np.newaxis]
    spread = high - low
    levels = (halves - low) / np.where(spread > 0, spread, 1) * (_TRANSPARENT - 1)
    return np.asarray(np.nan_to_num(np.round(levels), nan=_TRANSPARENT), "uint8")
