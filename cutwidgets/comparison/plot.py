"""How far the weights of each block moved, and by how much its outputs differ, as a plot."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..lab.results import COLOURS, for_any_page, new_axes
from .rows import Difference

_READABLE = 40  # names side by side


def draw(blocks: Sequence[Difference], axes: Any = None) -> Any:
    """Draw bars for the weights of each block, and dots for its outputs, in percent.

    Args:
        blocks: The rows of all blocks.
        axes: Axes of matplotlib to draw into; `None` for a new figure.

    Returns:
        The axes.

    Raises:
        CutwidgetsError: If matplotlib is not installed.

    Example:
        >>> rows = [Difference("same", name, name, weight_change=0.5) for name in ("stem", "top")]
        >>> draw(rows).get_ylabel()
        'difference (%)'
    """
    axes = axes or new_axes()
    columns = {
        "weights: ‖ΔW‖ / ‖W‖": [row.weight_change for row in blocks],
        "outputs: ‖Δy‖ / ‖y‖": [row.output_difference for row in blocks],
    }
    (weights, moved), (outputs, differ) = (
        (label, 100 * np.array(values, "float64")) for label, values in columns.items()
    )
    places = np.arange(len(blocks))
    moved[np.isinf(moved)] = differ[np.isinf(differ)] = np.nan
    axes.bar(places, moved, color=COLOURS[0], alpha=0.75, label=weights)
    if any(row.output_difference is not None for row in blocks):
        axes.plot(places, differ, "o", color=COLOURS[1], markersize=4, label=outputs)
    for place, row in zip(places, blocks, strict=True):
        if row.status != "same":  # no number tells how far another structure is away
            axes.axvspan(place - 0.5, place + 0.5, color=COLOURS[4], alpha=0.2, linewidth=0)
    step = -(-len(blocks) // _READABLE)
    names = [row.block or row.other for row in blocks]
    axes.set_xticks(places[::step], names[::step], rotation=90, fontsize=7)
    axes.set_xlim(-0.7, len(blocks) - 0.3)
    axes.set_ylabel("difference (%)")
    if any(row.status != "same" for row in blocks):
        axes.bar(0, 0, color=COLOURS[4], alpha=0.2, label="other structure")
    axes.legend(
        frameon=False, loc="lower left", bbox_to_anchor=(0, 1), fontsize=8, ncols=3,
        borderaxespad=0.2,
    )  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    for_any_page(axes)
    return axes
