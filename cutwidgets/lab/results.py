"""The result of a study: a table, a plot, and the finding in words."""

import base64
import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from itertools import cycle
from typing import TYPE_CHECKING, Any, ClassVar

from ..blocks.blocks import Block
from ..errors import CutwidgetsError
from ..extras import needs
from .block_axis import add_blocks, along_blocks

if TYPE_CHECKING:
    import pandas as pd

# Colours that the colour-blind can tell apart: Okabe and Ito 2008, "Color universal design".
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

CONTROL = "0.6"  # the grey of a control

_LETTERS = 90  # of a legend above a plot of the usual width

INK = "0.45"  # texts and axes: a grey that can be read on a white page and on a black one


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
        control: The same study of a model for comparison, such as one that was never trained;
            `None` without. It is drawn in grey.
    """

    name: str
    table: "pd.DataFrame"
    control: "Result | None" = field(default=None, kw_only=True)
    _size: ClassVar[tuple[float, float]] = (7, 3.2)  # of the plot in a notebook, in inches
    _from_zero: ClassVar[bool] = False  # whether the vertical axis begins at zero

    @property
    @abstractmethod
    def finding(self) -> str:
        """The result in a sentence or two."""

    @abstractmethod
    def _draw(self, axes: Any, colour: str) -> None:
        """Draw into axes of matplotlib, and label the axes."""

    def plot(self, *others: "Result", axes: Any = None, labels: Sequence[str] | None = None) -> Any:
        """Draw the result, those of other models for comparison, and all their controls in grey.

        Args:
            others: Results of the same study.
            axes: Axes of matplotlib to draw into; `None` for a new figure.
            labels: A name for this result and for each of the others, for the legend; `None` for
                the names of the models.

        Returns:
            The axes.

        Raises:
            CutwidgetsError: If there is not a label for each result, or matplotlib is not
                installed.
        """
        results = self._labelled(others, labels)
        if axes is None:
            axes = new_axes()
        controls = {id(r.control): r.control for r in results if r.control is not None}
        axes.autoscale()  # limits set by an earlier plot would cut this one off
        add_blocks(axes, (r.table["block"] for r in (*results, *controls.values()) if r._by_block))
        for control in controls.values():
            control._draw(axes, CONTROL)
        for result, colour in zip(results, cycle(COLOURS), strict=False):
            result._draw(axes, colour)
        if self._from_zero:
            axes.set_ylim(0, 1.04 * axes.get_ylim()[1])
        self._finish(axes, len(results) + len(controls) > 1)
        return axes

    def _labelled(self, others: Sequence["Result"], labels: Sequence[str] | None) -> list["Result"]:
        results = [self, *others]
        if any(type(other) is not type(self) for other in others):
            kinds = ", ".join(type(result).__name__ for result in results)
            raise CutwidgetsError(f"Only results of one study share axes. Received: {kinds}.")
        if labels is None:
            return results
        if isinstance(labels, str) or len(labels) != len(results):
            raise CutwidgetsError(
                f"There are {len(results)} results, and as many labels are needed, in a list. "
                f"Received: labels={labels!r}."
            )
        return [replace(result, name=label) for result, label in zip(results, labels, strict=True)]

    @property
    def _by_block(self) -> bool:
        return "block" in self.table.columns

    def _finish(self, axes: Any, legend: bool) -> None:
        """A legend above the axes, where it covers nothing, and colours for any page."""
        if legend:
            longest = max(len(text) for text in axes.get_legend_handles_labels()[1])
            axes.legend(
                frameon=False, loc="lower left", bbox_to_anchor=(0, 1), fontsize=8,
                ncols=max(1, _LETTERS // (longest + 6)), borderaxespad=0.2,
            )  # fmt: skip
        axes.spines[["top", "right"]].set_visible(False)
        for_any_page(axes)

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
        columns = [y, "low", "high"] if band else [y]
        values = [factor * self.table[column].to_numpy("float64") for column in columns]
        places = self.table[x]
        if x == "block":
            places, values = along_blocks(axes, places, values)
        (line,) = axes.plot(places, values[0], "o-", color=colour, markersize=4, label=self.name)
        line.set_gid(x)
        if band:
            shade = axes.fill_between(places, *values[1:], color=colour, alpha=0.2, linewidth=0)
            shade.set_gid(x)

    def __repr__(self) -> str:
        """The finding, that of the control, and the numbers."""
        control = f"\nControl: {self.control.finding}" if self.control else ""
        table = self.table.to_string(index=False, float_format="{:.4g}".format)
        return f"{self.finding}{control}\n\n{table}"

    def _repr_html_(self) -> str:
        with needs("lab", "A plot"):
            from matplotlib.figure import Figure

        # Without pyplot, which keeps figures and would display this one a second time.
        figure, file = Figure(figsize=self._size, layout="constrained", dpi=110), io.BytesIO()
        self._fill(figure)
        figure.savefig(file, format="png", transparent=True)
        table = self.table.to_html(index=False, border=0, float_format="{:.4g}".format)
        control = f"<p>Control: {escape(self.control.finding)}</p>" if self.control else ""
        return (
            f"<p>{escape(self.finding)}</p>{control}"
            f'<img alt="{escape(self.finding, quote=True)}" style="max-width:100%" '
            f'src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
            f"<details><summary>All numbers</summary>{table}</details>"
        )

    def _fill(self, figure: Any) -> None:
        """Draw what a notebook displays."""
        self.plot(axes=figure.subplots())


def new_axes(size: tuple[float, float] = (7, 3.2)) -> Any:
    """Axes of a new figure of matplotlib, of a size in inches."""
    with needs("lab", "A plot"):
        from matplotlib import pyplot

    return pyplot.subplots(figsize=size, layout="constrained")[1]


def for_any_page(axes: Any) -> None:
    """Give axes colours that can be read on a white page and on a black one.

    A figure whose colour the user has not chosen becomes transparent.
    """
    from matplotlib import rcParams
    from matplotlib.colors import same_color

    figure = axes.figure
    if same_color(figure.get_facecolor(), rcParams["figure.facecolor"]):
        figure.patch.set_alpha(0)
    if same_color(axes.get_facecolor(), rcParams["axes.facecolor"]):
        axes.patch.set_alpha(0)
    axes.tick_params(colors=INK, which="both")
    texts = [axes.xaxis.label, axes.yaxis.label, axes.title]
    legend = axes.get_legend()
    for text in [*texts, *(legend.get_texts() if legend else ())]:
        text.set_color(INK)
    for spine in axes.spines.values():
        spine.set_edgecolor(INK)


def chance_line(axes: Any, value: float) -> None:
    """Draw the value of an answer that is always the same, once."""
    if not any(line.get_gid() == "chance" for line in axes.lines):
        line = axes.axhline(value, color=CONTROL, linewidth=0.8, linestyle=(0, (6, 4)))
        line.set_gid("chance")
        axes.annotate(
            "chance", (1, value), xycoords=("axes fraction", "data"), color=INK, fontsize=7,
            ha="right", va="bottom",
        )  # fmt: skip


def errors_on_a_log_axis(axes: Any) -> None:
    """Percent from 0 to 100, where the step from 1 to 10 is as long as that from 10 to 100."""
    axes.set_yscale("symlog", linthresh=1, linscale=0.4)
    ticks = (0, 1, 2, 5, 10, 20, 50, 100)
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.set_yticks([], minor=True)


def by_number(axes: Any, label: str) -> None:
    """Label a horizontal axis of whole numbers."""
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel(label)
