"""How the page shows a tensor: a view for each kind of shape and dtype, as plain data.

Only the first example of a batch is drawn. Whatever else a view leaves out, its notes say.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np

from ..inference import pictures
from ..text import shape_text

MAPS = 32  # how many feature maps the page shows at a time

_COLUMNS = 8  # of the picture of the feature maps
_MOST_VALUES = 20  # a vector of so many numbers is written out
_MOST_LINES = 4  # a sequence of so many channels is a signal
_MOST_POINTS = 256  # of a line
_MOST_CELLS = 256  # token ids
_MOST_PIXELS = 400_000  # of a picture


@dataclass
class _Example:
    """The first example of a batch, as it becomes simpler step by step.

    Attributes:
        values: Its values, without the batch axis.
        axes: For each axis of the values, which axis of the whole tensor it is.
        index: For each axis of the tensor, what of it is shown, as NumPy writes an index.
        notes: What else a reader must know.
        along: What the numbers of a vector are counted by.
    """

    values: np.ndarray
    axes: list[int]
    index: list[str]
    notes: list[str] = field(default_factory=list)
    along: str = "index"

    def take(self, axis: int, position: int) -> None:
        """Keep one position of an axis."""
        self.index[self.axes.pop(axis)] = str(position)
        self.values = np.take(self.values, position, axis)


def maps(array: np.ndarray, first: int, channel_axis: int, padding: bool = False) -> dict[str, Any]:
    """Everything the page needs to draw a tensor.

    Args:
        array: With the batch axis, of any shape and dtype.
        first: The first channel to show, of feature maps.
        channel_axis: Where the model has its channels, -1 or 1.
        padding: Whether the token id 0 stands for padding.

    Returns:
        A dictionary with the key `"view"`:

        - `"maps"`: images, feature maps and volumes, a picture for each of up to 32 channels;
        - `"sequence"`: a heat map of positions and features;
        - `"signal"`: a sequence of few channels, a line for each;
        - `"vector"`: up to 20 numbers, each with a bar; `"profile"`: more numbers, as a line;
        - `"tokens"`: integers, truth values or texts, in cells;
        - `"empty"`: no value at all.

        The keys `"words"`, `"alt"`, `"notes"`, `"first"` and `"channels"` belong to every view.

    Example:
        >>> import numpy as np
        >>> shown = maps(np.array([[0.1, 0.9]]), 0, -1)
        >>> shown["view"], shown["values"], shown["texts"]
        ('vector', [0.1, 0.9], ['0.1', '0.9'])
        >>> shown = maps(np.zeros((1, 28, 28, 256)), 32, -1)
        >>> shown["view"], shown["words"]
        ('maps', 'channels 33 to 64 of 256')
    """
    array = np.asarray(array)
    common: dict[str, Any] = {
        "words": _shape(array),
        "alt": "",
        "notes": [],
        "first": 0,
        "channels": 1,
    }
    if not array.size:
        return common | {"view": "empty", "alt": "A tensor without values"}
    example = _first_example(array)
    if array.dtype.kind in "SUOT":
        drawn = _tokens(example, [_text(value) for value in example.values.ravel()], [])
    elif array.dtype.kind in "iub" and example.values.ndim < 2:
        drawn = _integers(example, padding)
    else:
        _real(example)
        _simplify(example, channel_axis)
        drawn = _numbers(example, first)
    return common | {"notes": example.notes} | drawn


def _shape(array: np.ndarray) -> str:
    return shape_text(array.shape) if array.ndim else "scalar"


def _first_example(array: np.ndarray) -> _Example:
    if array.ndim < 2:  # a number for each example
        several = array.size > 1
        notes = [f"One number for each of {array.size:,} examples."] if several else []
        values = array.reshape(-1)
        return _Example(values, [0], [":"], notes, "example" if several else "index")
    notes = [f"Example 1 of {len(array):,}."] if len(array) > 1 else []
    return _Example(array[0], [*range(1, array.ndim)], ["0", *":" * (array.ndim - 1)], notes)


def _text(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _real(example: _Example) -> None:
    """Convert to float64, and say what of the values is not drawn."""
    values = example.values
    if values.dtype.kind == "c":
        values = np.abs(values)
        example.notes.append("Complex numbers: their magnitudes are drawn.")
    elif values.dtype.kind == "b":
        example.notes.append("Truth values: 1 is true.")
    example.values = values = values.astype("float64")  # also bfloat16, whose kind is no float
    bad = values.size - int(np.isfinite(values).sum())
    if bad:
        nans = int(np.isnan(values).sum())
        kinds = {"NaN": nans, "infinite": bad - nans}
        listed = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count)
        verb = "is" if bad == 1 else "are"
        example.notes.append(f"{bad:,} of {values.size:,} values {verb} not finite ({listed}).")
    elif values.size > 1 and values.min() == values.max():
        example.notes.append(f"All values are {number(values.flat[0])}.")


def _simplify(example: _Example, channel_axis: int) -> None:
    """Bring the channels to the end, leave out axes of length 1, and cut volumes."""
    if channel_axis == 1 and example.values.ndim > 1:
        example.values = np.moveaxis(example.values, 0, -1)
        example.axes.append(example.axes.pop(0))
        example.notes.append("The channels are on axis 1.")
    for axis in reversed(range(example.values.ndim - 1)):
        if example.values.shape[axis] == 1:
            example.take(axis, 0)
    if None is not (left := _left_out(example)):
        example.notes.append(left)
    while example.values.ndim > 3:
        length, axis = len(example.values), example.axes[0]
        middle = length // 2
        example.take(0, middle)
        example.notes.append(f"The middle of axis {axis}: position {middle} of 0 to {length - 1}.")


def _left_out(example: _Example) -> str | None:
    axes = [str(i) for i, taken in enumerate(example.index) if i and taken != ":"]
    if not axes:
        return None
    if len(axes) == 1:
        return f"Axis {axes[0]} has length 1 and is left out."
    return f"The axes {', '.join(axes[:-1])} and {axes[-1]} have length 1 and are left out."


def _numbers(example: _Example, first: int) -> dict[str, Any]:
    values = example.values
    if values.ndim == 3:
        return _maps(example, first)
    if values.ndim == 2:
        length, channels = values.shape
        return (_signal if channels <= _MOST_LINES < length else _sequence)(example)
    return (_vector if values.size <= _MOST_VALUES else _profile)(example)


def _maps(example: _Example, first: int) -> dict[str, Any]:
    height, width, channels = example.values.shape
    first = max(0, min(first, channels - MAPS))
    last = min(first + MAPS, channels)
    images = np.moveaxis(example.values[..., first:last], -1, 0)
    step = ceil((images.size / _MOST_PIXELS) ** 0.5)
    if step > 1:
        example.notes.append(f"Every {_ordinal(step)} pixel is drawn.")
    scales = np.array([_scale(image) for image in images])
    drawn = images[:, ::step, ::step]
    axis = example.axes[-1]
    index = example.index
    words = f"channels {first + 1} to {last} of {channels:,}"
    places = [[*index[:axis], str(i), *index[axis + 1 :]] for i in range(first, last)]
    return {
        "view": "maps",
        "words": words,
        "alt": f"Feature maps of {height}×{width} pixels, {words}",
        "picture": pictures.sheet(drawn, scales, _COLUMNS),
        "columns": min(_COLUMNS, len(drawn)),
        "drawn": [*drawn.shape[:0:-1]],
        "size": [width, height],
        "scales": [_ends(scale) for scale in scales],
        "range": _ends(_scale(images)),
        "places": [f"[{', '.join(place)}]" for place in places],
        "first": first,
        "channels": channels,
    }


def _sequence(example: _Example) -> dict[str, Any]:
    length, features = example.values.shape
    steps = [ceil(size / _MOST_PIXELS**0.5) for size in (length, features)]
    for step, what in zip(steps, ("position", "feature"), strict=True):
        if step > 1:
            example.notes.append(f"Every {_ordinal(step)} {what} is drawn.")
    scale = _scale(example.values)
    drawn = example.values[:: steps[0], :: steps[1]].T
    low, high = _ends(scale)
    return {
        "view": "sequence",
        "words": f"{length:,} positions, {features:,} features",
        "alt": f"Heat map of {length:,} positions and {features:,} features, {_from(low, high)}",
        "picture": pictures.sheet(drawn[np.newaxis], scale[np.newaxis]),
        "drawn": [*drawn.shape[::-1]],
        "size": [length, features],
        "range": [low, high],
    }


def _signal(example: _Example) -> dict[str, Any]:
    length, channels = example.values.shape
    return {
        "view": "signal",
        "words": f"{length:,} positions, {channels} channel{'s' * (channels != 1)}",
        "alt": f"{channels} line{'s' * (channels != 1)} of {length:,} positions",
        "along": "position",
        "length": length,
        "lines": [
            _line(values, f"channel {i}" if channels > 1 else "")
            for i, values in enumerate(example.values.T, 1)
        ],
    }


def _profile(example: _Example) -> dict[str, Any]:
    line = _line(example.values, "")
    if "low" in line:
        each = f"{example.values.size / len(line['mean']):.3g}"
        example.notes.append(f"The line is the mean of each {each} numbers, the band their range.")
    return {
        "view": "profile",
        "words": f"{example.values.size:,} numbers",
        "alt": f"Line of {example.values.size:,} numbers, {_from(*line['range'])}",
        "along": example.along,
        "length": example.values.size,
        "lines": [line],
    }


def _vector(example: _Example) -> dict[str, Any]:
    values = example.values
    texts = [number(value) for value in values]
    return {
        "view": "vector",
        "words": f"{len(texts)} number{'s' * (len(texts) != 1)}",
        "alt": f"Bars of {len(texts)} number{'s' * (len(texts) != 1)}: {', '.join(texts)}",
        "along": example.along,
        "values": _plain(values),
        "texts": texts,
    }


def _integers(example: _Example, padding: bool) -> dict[str, Any]:
    values = example.values
    if values.dtype.kind == "b":
        return _tokens(example, ["true" if value else "false" for value in values], [])
    padded = np.flatnonzero(values[:_MOST_CELLS] == 0).tolist() if padding else []
    if padded:
        example.notes.append("0 is padding: the model masks it.")
    return _tokens(example, [str(value) for value in values], padded)


def _tokens(example: _Example, cells: list[str], padded: Sequence[int]) -> dict[str, Any]:
    if example.values.ndim > 1:
        example.notes.append("All axes in one row.")
    if len(cells) > _MOST_CELLS:
        example.notes.append(f"The first {_MOST_CELLS} of {len(cells):,}.")
    what = f"{len(cells):,} {_what(example.values.dtype)}{'s' * (len(cells) != 1)}"
    return {
        "view": "tokens",
        "words": what,
        "alt": f"Cells of {what}",
        "along": "position" if example.along == "index" else example.along,
        "cells": cells[:_MOST_CELLS],
        "padded": padded,
    }


def _what(dtype: np.dtype) -> str:
    return {"b": "truth value", "i": "integer", "u": "integer"}.get(dtype.kind, "text")


def _line(values: np.ndarray, title: str) -> dict[str, Any]:
    """A line through values, or through the means of as many parts as there is room for."""
    values = np.where(np.isfinite(values), values, np.nan)
    scale = _scale(values)
    line: dict[str, Any] = {"title": title, "range": _ends(scale), "average": None}
    if np.isfinite(scale[0]):
        # Divided first, because the sum of large numbers may be too large for a float.
        line["average"] = _plain(np.array([np.nansum(values / np.isfinite(values).sum())]))[0]
    if len(values) <= _MOST_POINTS:
        return line | {"mean": _plain(values)}
    starts = np.arange(_MOST_POINTS) * len(values) // _MOST_POINTS
    known = ~np.isnan(values)
    counts = np.add.reduceat(known.astype(int), starts)
    parts = np.where(known, values, 0) / np.repeat(
        np.maximum(counts, 1), np.diff([*starts, len(values)])
    )
    means = np.where(counts > 0, np.add.reduceat(parts, starts), np.nan)
    return line | {
        "low": _plain(np.fmin.reduceat(values, starts)),
        "mean": _plain(means),
        "high": _plain(np.fmax.reduceat(values, starts)),
    }


def _scale(values: np.ndarray) -> np.ndarray:
    """The smallest and the largest finite value; NaN if there is none."""
    finite = values[np.isfinite(values)]
    return np.array([finite.min(), finite.max()] if finite.size else [np.nan, np.nan])


def _ends(scale: np.ndarray) -> list[float | None]:
    return _plain(scale)


def _plain(values: np.ndarray) -> list[float | None]:
    """Numbers for JSON: short, and without those that are not finite."""
    return [float(f"{value:.9g}") if np.isfinite(value) else None for value in values.tolist()]


def _from(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "none of them finite"
    return f"from {number(low)} to {number(high)}"


def _ordinal(n: int) -> str:
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def number(value: float) -> str:
    """A number in three digits, for people.

    Example:
        >>> [number(value) for value in (0.12345, -1234.5, 1e9, float("inf"), -0.0)]
        ['0.123', '-1,234', '1e+09', 'inf', '0']
    """
    if 999.5 <= abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value + 0.0:.3g}"


def statistics(name: str, array: np.ndarray) -> tuple[str, ...]:
    """A row of: name, shape, dtype, minimum, mean, maximum, share of zeros.

    Example:
        >>> import numpy as np
        >>> statistics("Input", np.array([[0.0, 1.0]], "float32"))
        ('Input', '2', 'float32', '0', '0.5', '1', '50 %')
    """
    row = name, _shape(array), str(array.dtype)
    if not array.size or array.dtype.kind in "cSUOT":
        return *row, "", "", "", ""
    with np.errstate(all="ignore"):  # infinite values, or a sum that is too large
        values = np.min(array), np.mean(array, dtype="float64"), np.max(array)
    return *row, *map(number, map(float, values)), f"{100 * float(np.mean(array == 0)):.0f} %"
