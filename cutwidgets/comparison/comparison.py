"""Compare two models: what is the same, and what was changed, added, removed or moved."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..inference.forward import arrays, evaluate
from ..inference.inputs import as_inputs
from ..progress import doing
from ..structure.anatomy import Anatomy, anatomy
from ..tables import Column, Table
from ..text import percent_text
from .alignment import Step
from .findings import finding
from .pairs import pair_blocks
from .rows import Difference, rows_of
from .signatures import Known

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """How two models differ, block by block and layer by layer. Shows itself as a picture.

    Attributes:
        one: The anatomy of the first model.
        other: That of the second.
        rows: A row for each block, in the order of the second model; what was removed stands where
            it was. Rows for the layers of a block follow it if the block or its weights differ.
    """

    one: Anatomy
    other: Anatomy
    rows: tuple[Difference, ...]
    _steps: tuple[Step, ...] = field(repr=False)

    @property
    def blocks(self) -> tuple[Difference, ...]:
        """The rows of blocks alone."""
        return tuple(row for row in self.rows if not row.layer)

    @property
    def same(self) -> bool:
        """Whether the models have the same structure, and weights of equal values."""
        return all(row.is_equal for row in self.rows)

    @property
    def finding(self) -> str:
        """What differs, in a few sentences."""
        return finding(self.one.name, self.other.name, self.rows)

    @property
    def table(self) -> "pd.DataFrame":
        """All rows as a DataFrame of pandas.

        It has the columns `status` (`"same"`, `"changed"`, `"added"`, `"removed"` or `"moved"`),
        `block`, `layer` (`None` in the row of a block), `other` (the block's name in the second
        model), `details`, `weight_change` and `output_difference`.
        """
        return self._table(self.rows).frame()

    @cached_property
    def svg(self) -> str:
        """Both models side by side, as an SVG element: counterparts are joined by lines."""
        from ..drawing.rendering import render
        from .picture import source

        return render(source(self.one, self.other, self._steps, self.blocks))

    def plot(self, axes: Any = None) -> Any:
        """Draw how far the weights of each block moved, and by how much its outputs differ.

        Args:
            axes: Axes of matplotlib to draw into; `None` for a new figure.

        Returns:
            The axes.
        """
        from .plot import draw

        return draw(self.blocks, axes)

    def _table(self, rows: Sequence[Difference]) -> Table:
        columns = [
            Column("status", left=True),
            Column("block", value=lambda row: row.block or row.other, text=_block_text, left=True),
            Column("layer", value=lambda row: row.layer or None, left=True),
            Column("other", "in the second model", text=_other_text, left=True),
            Column(
                "weight_change",
                "weights moved",
                value=lambda row: _number(row.weight_change),
                text=lambda row: _percent(row.weight_change),
            ),
        ]
        differences = Column(
            "output_difference",
            "outputs differ",
            text=lambda row: _percent(row.output_difference),
            value=lambda row: _number(row.output_difference),
            hidden=all(row.output_difference is None for row in rows),
        )
        return Table([*columns, differences, Column("details", left=True)], rows)

    def _shown(self) -> list[Difference]:
        """The rows to read: without layers of which only the weights differ."""
        return [row for row in self.rows if not row.layer or row.status != "same"]

    def __repr__(self) -> str:
        """The finding, and the rows of what differs as a table of text."""
        rows = [row for row in self._shown() if not row.is_equal or row.output_difference]
        return "\n\n".join([self.finding, *([self._table(rows).text()] if rows else [])])

    def _repr_html_(self) -> str:
        from ..drawing.rendering import html

        table = self._table(self._shown()).html(f"{self.one.name} and {self.other.name}")
        return (
            f"<p>{escape(self.finding)}</p>{html(self.svg)}"
            f"<details><summary>Block by block</summary>{table}</details>"
        )

    def _repr_svg_(self) -> str:
        return self.svg


def compare(a: keras.Model, b: keras.Model, x: Any = None) -> Comparison:
    """Compare two models, block by block, and layer by layer where blocks differ.

    Blocks are paired by their structure: the classes of their layers, their configurations, the
    shapes of their weights and how they are connected. Names, trainable flags, initialisers and
    seeds are no part of it. The list of differences is the shortest one: something is changed,
    added, removed or moved. Blocks of equal structure are told apart by shared layers, else by
    equal weights, else by names.

    Args:
        a: A built functional or Sequential model.
        b: Another one.
        x: Input for both models, as for `check`, to compare what their blocks return.

    Raises:
        CutwidgetsError: If `x` does not fit one of the models, or one cannot run on it.
        UnsupportedModelError: If a model is subclassed, not built or not a Keras model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(weights=None)
        >>> cw.compare(resnet, resnet).same
        True
        >>> difference = cw.compare(resnet, cw.remove(resnet, "conv3_block2"))
        >>> difference.table.query("status != 'same'")[["status", "block"]].values.tolist()
        [['removed', 'conv3_block2']]
    """
    one, other = anatomy(a), anatomy(b)
    return compared(one, other, None if x is None else (x, x))


def compared(one: Anatomy, other: Anatomy, inputs: tuple[Any, Any] | None = None) -> Comparison:
    """Compare two anatomies, of models that need not be built.

    Args:
        one: The anatomy of the first model.
        other: That of the second.
        inputs: An input for each of the two models; `None` not to compare outputs.
    """
    known: Known = {}  # reading configurations is what takes longest
    steps = pair_blocks(one, other, known)
    outputs = {} if inputs is None else _outputs(one, other, steps, inputs)
    return Comparison(one, other, tuple(rows_of(one, other, steps, outputs, known)), tuple(steps))


def _outputs(
    one: Anatomy, other: Anatomy, steps: Sequence[Step], inputs: tuple[Any, Any]
) -> dict[int | None, float]:
    """For each pair of blocks with outputs of equal shape, how far these are apart."""
    pairs = [
        (step.one, one[step.one].exits[0], other[step.other].exits[0])
        for step in steps
        if step.one is not None and step.other is not None
    ]
    values = []
    for each, x, ends in zip(
        (one, other), inputs, zip(*(pair[1:] for pair in pairs), strict=True), strict=True
    ):
        try:
            entering = as_inputs(each.graph, x)
        except CutwidgetsError as error:
            raise CutwidgetsError(
                f"Both models must accept the input, and {each.name!r} does not: {error}"
            ) from error
        with doing(f"Running {each.name}"):
            values.append(arrays(evaluate(each.graph, list(ends), entering)))
    apart = {}
    for (position, *_), before, after in zip(pairs, *values, strict=True):
        if before.shape == after.shape and before.dtype.kind not in "OSU":
            apart[position] = _relative(before, after)
    return apart


def _relative(before: np.ndarray, after: np.ndarray) -> float:
    if np.array_equal(before, after, equal_nan=before.dtype.kind in "fc"):
        return 0.0
    size = np.linalg.norm(before.astype("float64").ravel())
    difference = np.linalg.norm(after.astype("float64").ravel() - before.ravel())
    return float(difference / size) if size else np.inf


def _block_text(row: Difference) -> str:
    return "" if row.layer else row.block or row.other


def _other_text(row: Difference) -> str:
    """The name in the second model, where it is another one."""
    both = row.block and row.other
    return row.other if both and not row.layer and row.other != row.block else ""


def _number(share: float | None) -> float:
    return np.nan if share is None else share


def _percent(share: float | None) -> str:
    return "" if share is None else "0" if share == 0 else percent_text(share)
