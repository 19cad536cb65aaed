"""The result of a study: a table, a plot, and the finding in words."""

import base64
import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle
from typing import TYPE_CHECKING, Any, ClassVar

from ..blocks.blocks import Block
from ..extras import needs

if TYPE_CHECKING:
    import pandas as pd

# Colours that the colour-blind can tell apart: Okabe and Ito 2008, "Color universal design".
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def frame(data: Any, columns: Sequence[str] | None = None) -> "pd.DataFrame":
    """A table, made by pandas, which is imported only now."""
    with needs("lab", "A study"):
        import pandas as pd
    return pd.DataFrame(data, columns=columns)


def block_frame(blocks: Sequence[Block], **columns: Any) -> "pd.DataFrame":
    """A table with a row for each block: its name, its stage, and further columns."""
    names, stages = [block.name for block in blocks], [block.stage for block in blocks]
    return frame({"block": names, "stage": stages, **columns})


@dataclass(frozen=True, eq=False, repr=False)
class Result(ABC):
    """The outcome of a study. In a notebook it displays its plot.

    Attributes:
        name: Name of the model.
        table: All numbers, with a row for each block or step.
    """

    name: str
    table: "pd.DataFrame"
    _size: ClassVar[tuple[float, float]] = (7, 3.2)  # of the plot in a notebook, in inches
    _from_zero: ClassVar[bool] = False  # whether the vertical axis begins at zero

    @property
    @abstractmethod
    def finding(self) -> str:
        """The result in a sentence or two."""

    @abstractmethod
    def _draw(self, axes: Any, colour: str) -> None:
        """Draw into axes of matplotlib, and label the axes."""

    def plot(self, *others: "Result", axes: Any = None) -> Any:
        """Draw the result, and those of other models for comparison.

        Args:
            others: Results of the same study.
            axes: Axes of matplotlib to draw into; `None` for a new figure.

        Returns:
            The axes.

        Raises:
            CutwidgetsError: If matplotlib is not installed.
        """
        if axes is None:
            with needs("lab", "A plot"):
                from matplotlib import pyplot

            _, axes = pyplot.subplots(figsize=(7, 3.2), layout="constrained")
        axes.autoscale()  # limits set by an earlier plot would cut this one off
        for result, colour in zip((self, *others), cycle(COLOURS), strict=False):
            result._draw(axes, colour)
        if self._from_zero:
            axes.set_ylim(0, 1.04 * axes.get_ylim()[1])
        if others:
            axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        return axes

    def _curve(
        self, axes: Any, colour: str, x: str, y: str, factor: float = 1, *, band: bool = False
    ) -> None:
        """Draw a column of the table over another.

        Args:
            axes: Axes of matplotlib.
            colour: Colour of the curve.
            x: The column on the horizontal axis.
            y: The column on the vertical axis.
            factor: Multiplies all values, for percent.
            band: Whether to shade the range between the columns `low` and `high`.
        """
        table = self.table
        axes.plot(table[x], factor * table[y], "o-", color=colour, markersize=4, label=self.name)
        if band:
            low, high = factor * table["low"], factor * table["high"]
            axes.fill_between(table[x], low, high, color=colour, alpha=0.2, linewidth=0)
        if x == "block":
            by_block(axes)

    def __repr__(self) -> str:
        """The finding and the numbers."""
        return (
            f"{self.finding}\n\n{self.table.to_string(index=False, float_format='{:.4g}'.format)}"
        )

    def _repr_html_(self) -> str:
        with needs("lab", "A plot"):
            from matplotlib.figure import Figure

        # Without pyplot, which keeps figures and would display this one a second time.
        figure, file = Figure(figsize=self._size, layout="constrained", dpi=110), io.BytesIO()
        self._fill(figure)
        figure.savefig(file, format="png")
        table = self.table.to_html(index=False, border=0, float_format="{:.4g}".format)
        return (
            f"<p>{escape(self.finding)}</p>"
            f'<img alt="{escape(self.finding, quote=True)}" style="max-width:100%" '
            f'src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
            f"<details><summary>All numbers</summary>{table}</details>"
        )

    def _fill(self, figure: Any) -> None:
        """Draw what a notebook displays."""
        self.plot(axes=figure.subplots())


def by_block(axes: Any) -> None:
    """Label a horizontal axis with as many names of blocks as stay readable.

    As the axis goes by name, blocks of one name in several models stand above each other.
    """
    from matplotlib.ticker import MultipleLocator

    count = round(axes.dataLim.x1) + 1
    axes.xaxis.set_major_locator(MultipleLocator(-(-count // 27)))
    axes.tick_params("x", rotation=90, labelsize=7)
    axes.margins(x=0.02)


def by_number(axes: Any, label: str) -> None:
    """Label a horizontal axis of whole numbers."""
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel(label)
