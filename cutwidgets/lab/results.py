"""What studies give: a table, a picture, and a sentence that says what was found."""

import base64
import io
from abc import ABC, abstractmethod
from dataclasses import dataclass
from html import escape
from itertools import cycle
from typing import Any, ClassVar

import pandas as pd

# Colours that the colour-blind can tell apart: Okabe and Ito 2008, "Color universal design".
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


@dataclass(frozen=True, eq=False, repr=False)
class Result(ABC):
    """The outcome of a study. Shows itself with its picture in a notebook.

    Attributes:
        name: Name of the model, or what the study was told to call it.
        table: All numbers, a row for each block or step.
    """

    name: str
    table: pd.DataFrame
    _size: ClassVar[tuple[float, float]] = (7, 3.2)  # of the picture in a notebook, in inches
    _from_zero: ClassVar[bool] = False  # whether the vertical axis begins at zero

    @property
    @abstractmethod
    def finding(self) -> str:
        """What was found, in a sentence or two."""

    @abstractmethod
    def _draw(self, axes: Any, colour: str) -> None:
        """Draw into axes of matplotlib, labels of the axes with it."""

    def plot(self, *others: "Result", axes: Any = None) -> Any:
        """Draw the result, and those of other models for comparison.

        Args:
            others: Results of the same study.
            axes: Axes of matplotlib to draw into; `None` for a new figure.

        Returns:
            The axes.
        """
        if axes is None:
            from matplotlib import pyplot

            _, axes = pyplot.subplots(figsize=(7, 3.2), layout="constrained")
        axes.autoscale()  # what was drawn before must not cut this off
        for result, colour in zip((self, *others), cycle(COLOURS), strict=False):
            result._draw(axes, colour)
        if self._from_zero:
            axes.set_ylim(0, 1.04 * axes.get_ylim()[1])
        if others:
            axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        return axes

    def __repr__(self) -> str:
        """The finding and the numbers."""
        return f"{self.finding}\n\n{self.table.to_string(index=False, float_format=_short)}"

    def _repr_html_(self) -> str:
        table = self.table.to_html(index=False, border=0, float_format=_short)
        return (
            f"<p>{escape(self.finding)}</p>"
            f'<img alt="{escape(self.finding, quote=True)}" style="max-width:100%" '
            f'src="data:image/png;base64,{base64.b64encode(self._picture()).decode()}">'
            f"<details><summary>All numbers</summary>{table}</details>"
        )

    def _picture(self) -> bytes:
        """What is shown as a PNG file, without pyplot, which keeps figures and shows them twice."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=self._size, layout="constrained", dpi=110)
        self._fill(figure)
        file = io.BytesIO()
        figure.savefig(file, format="png")
        return file.getvalue()

    def _fill(self, figure: Any) -> None:
        """Draw what a notebook shows: the plot."""
        self.plot(axes=figure.subplots())


def _short(number: float) -> str:
    return f"{number:.4g}"


def by_block(axes: Any) -> None:
    """Label a horizontal axis of names of blocks: with as many of them as can be read.

    By their names the same blocks of several models stand above each other.
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
