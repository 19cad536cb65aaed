"""Heat over the examples of a model, drawn by matplotlib."""

from typing import Any

import numpy as np

from ..inference import pictures
from .results import COLOURS


def draw_example(
    axes: Any, example: np.ndarray, heat: np.ndarray, corner: tuple[float, float]
) -> None:
    """Draw heat over an example in grey, in a square of length 1.

    Args:
        axes: Axes of matplotlib, whose vertical axis points down.
        example: A signal, picture or volume, with the channels last if there are any.
        heat: Numbers from 0 to 1 at its positions. Of a volume, the slice with the most is drawn.
        corner: The upper left corner of the square.
    """
    grey = _grey(example, heat.ndim)
    left, top = corner
    if heat.ndim == 1:
        return _draw_signal(axes, grey, heat, corner)
    if heat.ndim > 2:  # the slice with the most heat
        at = int(heat.reshape(len(heat), -1).sum(axis=1).argmax())
        return draw_example(axes, grey[at], heat[at], corner)
    height, width = (length / max(heat.shape) for length in heat.shape)
    x, y = left + (1 - 0.96 * width) / 2, top + (1 - 0.96 * height) / 2
    extent = (x, x + 0.96 * width, y + 0.96 * height, y)
    axes.imshow(grey, cmap="gray", vmin=0, vmax=1, extent=extent)
    axes.imshow(pictures.glow(heat), extent=extent)


def _draw_signal(
    axes: Any, grey: np.ndarray, heat: np.ndarray, corner: tuple[float, float]
) -> None:
    left, top = corner
    x = left + 0.02 + 0.96 * (np.arange(len(heat)) + 0.5) / len(heat)
    axes.fill_between(x, top + 0.98, top + 0.98 - 0.9 * heat, color=COLOURS[1], alpha=0.5, lw=0)
    axes.plot(x, top + 0.98 - 0.9 * grey, color="#767676", linewidth=0.8)


def _grey(example: np.ndarray, axes: int) -> np.ndarray:
    """An example in grey, from 0 to 1."""
    values = example.astype("float64")
    values = values.mean(axis=-1) if values.ndim > axes else values
    return np.asarray((values - values.min()) / (np.ptp(values) or 1))
