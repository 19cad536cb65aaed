"""What crosses a split, and what is left to do on both sides: where to cut between two machines.

A device computes the head of a model and sends what it gives; a server computes the tail (Kang et
al. 2017, "Neurosurgeon: collaborative intelligence between the cloud and mobile edge").
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import keras

from ..blocks.blocks import Block
from ..errors import UnknownPlaceError, similar
from ..graph.callgraph import CallGraph, Shape, between
from ..graph.frontier import Frontier
from ..structure.anatomy import Anatomy
from ..text import SIDES, bar, readable, shape_text, text_table

WHOLE = "input"  # the name of the row where nothing is computed before


@dataclass(frozen=True, slots=True)
class Split:
    """What crosses a split behind a block, and what comes before and after it, for one example.

    Attributes:
        after: Name of the block; `"input"` where the model's own input crosses, and all of the
            model comes after.
        shapes: Shapes of the tensors that cross, with the batch axis: of one, but where a model has
            several inputs or a block several outputs.
        dtypes: Their dtypes.
        bytes: Their size. The model's input counts as the model takes it: a photograph of `float32`
            has four times the bytes of its pixels, and its file has fewer still. Texts have none.
        macs_before: Multiply-accumulate operations of the head, counted as in `Cost`.
        macs_after: Those of the tail.
        parameters_before: Number of parameters of the head's layers. A layer that both sides call
            is needed on both, and counts on both.
        parameters_after: That of the tail's.
    """

    after: str
    shapes: tuple[Shape, ...]
    dtypes: tuple[str, ...]
    bytes: int
    macs_before: int
    macs_after: int
    parameters_before: int
    parameters_after: int


@dataclass(frozen=True, slots=True, repr=False)
class Splits:
    """All blocks that `split` can cut behind. Shows itself as a table in a notebook.

    The pieces are plain Keras models, and go to their machines as such: `head.export("head")` for
    TensorFlow Serving, `head.export("head.tflite", format="litert")`, or `format="onnx"`.

    Attributes:
        name: Name of the model.
        rows: A `Split` for its input and for each such block, in the order of computation.
        uncounted: Names of the layers whose operations are not known, and in no row.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> found = cw.costs(keras.applications.ResNet50(weights=None)).splits
        >>> found["conv5_block3"].shapes, found["conv5_block3"].bytes
        (((None, 7, 7, 2048),), 401408)
        >>> [row.after for row in found.best]
        ['input', 'conv5_block1']
    """

    name: str
    rows: tuple[Split, ...]
    uncounted: tuple[str, ...]

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.rows)

    def __iter__(self) -> Iterator[Split]:
        """The rows, in the order of computation."""
        return iter(self.rows)

    def __getitem__(self, after: str) -> Split:
        """The row of a block, or of `"input"`, by its name.

        Raises:
            UnknownPlaceError: If there is no such block, or it cannot be split behind.
        """
        for row in self.rows:
            if row.after == after:
                return row
        names = [row.after for row in self.rows]
        raise UnknownPlaceError(
            after,
            f"The model {self.name!r} has no block {after!r} that it can be split behind.",
            similar(str(after), names),
        )

    @property
    def best(self) -> tuple[Split, ...]:
        """The rows for which no other has fewer bytes without more operations before the split.

        These are the Pareto-optimal ones: which of them is fastest depends on the two machines and
        the line between them. Of several rows with equal numbers it is the first.
        """
        found: list[Split] = []
        for row in sorted(self.rows, key=lambda row: (row.macs_before, row.bytes)):
            if not found or row.bytes < found[-1].bytes:
                found.append(row)
        return tuple(found)

    def plot(self, axes: Any = None) -> Any:
        """Draw the bytes that cross against the operations before, the best rows by their names.

        Args:
            axes: Axes of matplotlib to draw into; `None` for a new figure.

        Returns:
            The axes.
        """
        from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

        if axes is None:
            from matplotlib import pyplot

            _, axes = pyplot.subplots(figsize=(7, 3.6), layout="constrained")
        _draw(axes, self.rows, self.best)
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter(EngFormatter())
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(EngFormatter("B"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(f"MACs before the split, of {readable(self.rows[0].macs_after).strip()}")
        axes.set(ylabel="bytes that cross", title=self.name)
        axes.margins(x=0.06, y=0.15)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        return axes

    def __repr__(self) -> str:
        """The rows as a table of text."""
        cells = [_cells(row, row in self.best) for row in self.rows]
        return f"{text_table([_HEADS, *cells], left=2)}\n\n{self._caption()}"

    def _caption(self) -> str:
        caption = "For one example. ★: no other has fewer bytes without more MACs before the split."
        missing = ", ".join(self.uncounted)
        return f"{caption} MACs are without those of {missing}." if missing else caption

    def _repr_html_(self) -> str:
        head = "".join(f'<th style="{SIDES[i > 1]}">{name}</th>' for i, name in enumerate(_HEADS))
        most = max(row.bytes for row in self.rows)
        body = "".join(_html_row(row, row in self.best, most) for row in self.rows)
        return (
            '<table style="border-collapse:collapse;color:inherit"><caption style="text-align:left;'
            f'color:inherit">{escape(self.name)}: {escape(self._caption())}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )


def splits(
    found: Anatomy,
    symbols: Mapping[int, keras.KerasTensor],
    macs: Mapping[int, int | None],
    batch: int,
) -> Splits:
    """What crosses behind each block that `split` can cut behind.

    Args:
        found: The anatomy of a model.
        symbols: Shapes of all its tensors.
        macs: The operations of each call, all examples together; `None` where nobody knows.
        batch: The number of examples in these shapes.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> found = cw.anatomy(keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)]))
        >>> symbols = {tensor.index: tensor.symbol for tensor in found.graph.tensors}
        >>> [(row.after, row.bytes) for row in splits(found, symbols, {0: 0, 1: 32}, 1)]
        [('input', 32)]
    """
    graph = found.graph
    sides = _Sides(graph, macs)
    rows = [_row(graph, WHOLE, graph.inputs, symbols, sides, batch)]
    for block, calls in _legal(graph, found.blocks):
        sides.move(calls)
        rows.append(_row(graph, block.name, block.exits, symbols, sides, batch))
    uncounted = tuple(graph.calls[i].name for i, count in macs.items() if count is None)
    return Splits(found.name, tuple(rows), uncounted)


def _legal(graph: CallGraph, blocks: Sequence[Block]) -> Iterator[tuple[Block, list[int]]]:
    """The blocks that `split` can cut behind, each with the calls since the one before.

    Blocks are in an order of computation, so behind each the calls before it are the head.
    """
    needed = set(between(graph, graph.outputs, ())[0])
    frontier, calls = Frontier(graph, needed), list[int]()
    for block in blocks:
        frontier.advance(block.calls)
        calls += needed.intersection(block.calls)
        if not frontier.is_last and frontier.live.issubset(block.exits):
            yield block, calls
            calls = []


class _Sides:
    """What lies before and after a split that moves through a graph."""

    def __init__(self, graph: CallGraph, macs: Mapping[int, int | None]) -> None:
        self._layers = {
            call.index: id(call.layer)
            for call in graph.calls
            if isinstance(call.layer, keras.Layer)
        }
        self._params = {self._layers[i]: graph.calls[i].layer.count_params() for i in self._layers}
        self._calls_after = Counter(self._layers.values())
        self._layers_before: set[int] = set()
        self._macs = {i: count or 0 for i, count in macs.items()}
        self.macs = (0, sum(self._macs.values()))
        self.parameters = (0, sum(self._params.values()))

    def move(self, calls: Iterable[int]) -> None:
        """Take calls to the side before."""
        for index in calls:
            before, after = self.macs
            self.macs = (before + self._macs[index], after - self._macs[index])
            if index in self._layers:
                self._move_layer(self._layers[index])

    def _move_layer(self, layer: int) -> None:
        before, after = self.parameters
        self._calls_after[layer] -= 1
        is_last, is_first = not self._calls_after[layer], layer not in self._layers_before
        self._layers_before.add(layer)
        size = self._params[layer]
        self.parameters = (before + is_first * size, after - is_last * size)


def _row(
    graph: CallGraph,
    after: str,
    tensors: Sequence[int],
    symbols: Mapping[int, keras.KerasTensor],
    sides: _Sides,
    batch: int,
) -> Split:
    crossing = [symbols[tensor] for tensor in tensors]
    return Split(
        after=after,
        shapes=tuple(_shape(graph, tensor, symbols[tensor]) for tensor in tensors),
        dtypes=tuple(str(symbol.dtype) for symbol in crossing),
        bytes=sum(map(bytes_of, crossing)) // batch,
        macs_before=sides.macs[0] // batch,
        macs_after=sides.macs[1] // batch,
        parameters_before=sides.parameters[0],
        parameters_after=sides.parameters[1],
    )


def _shape(graph: CallGraph, tensor: int, symbol: keras.KerasTensor) -> Shape:
    """A shape at the lengths that are asked for, its batch axis as free as in the model.

    Where examples are folded into that axis, as windows of a picture, it says into how many.
    """
    own = graph.tensors[tensor].shape
    return (*own[:1], *symbol.shape[1:]) if symbol.shape[:1] == (1,) else tuple(symbol.shape)


def bytes_of(symbol: keras.KerasTensor) -> int:
    """The size of a tensor, with 1 for free lengths; texts have none."""
    bits = re.search(r"\d+", symbol.dtype)
    width = int(bits.group()) // 8 if bits else int(symbol.dtype == "bool")
    for length in symbol.shape:
        width *= 1 if length is None else length
    return width


_HEADS = (
    "split after", "crosses", "dtype", "bytes", "MACs before", "MACs after", "parameters before",
    "parameters after", "",
)  # fmt: skip


def _cells(row: Split, is_best: bool) -> tuple[str, ...]:
    """A row as text."""
    return (
        row.after,
        ", ".join(map(shape_text, row.shapes)),
        ", ".join(dict.fromkeys(row.dtypes)),
        f"{readable(row.bytes)}B",
        readable(row.macs_before).strip(),
        readable(row.macs_after).strip(),
        readable(row.parameters_before).strip(),
        readable(row.parameters_after).strip(),
        "★" if is_best else "",
    )


def _html_row(row: Split, is_best: bool, most: int) -> str:
    """A row of the table, with bars beneath bytes and shares of the operations."""
    cells = list(map(escape, _cells(row, is_best)))
    total = row.macs_before + row.macs_after
    cells[3] += bar(row.bytes / most if most else 0)
    cells[4] += bar(row.macs_before / total if total else 0)
    cells[5] += bar(row.macs_after / total if total else 0)
    columns = "".join(f'<td style="{SIDES[i > 1]}">{cell}</td>' for i, cell in enumerate(cells))
    return f'<tr style="{"font-weight:bold" if is_best else ""}">{columns}</tr>'


def _draw(axes: Any, rows: Sequence[Split], best: Sequence[Split]) -> None:
    """Points for all rows; the best ones filled, joined by steps, and named."""
    # Okabe and Ito 2008, "Color universal design": vermilion and blue, which the colour-blind tell
    # apart; the filled ones are larger, so that nobody needs to.
    others = [row for row in rows if row not in best]
    x, y = ([getattr(row, name) for row in others] for name in ("macs_before", "bytes"))
    axes.plot(x, y, "o", color="#0072b2", markerfacecolor="none", label="other splits")
    x, y = ([getattr(row, name) for row in best] for name in ("macs_before", "bytes"))
    axes.step(x, y, where="post", color="#d55e00", linewidth=1)
    axes.plot(x, y, "o", color="#d55e00", markersize=8, label="fewest bytes for their MACs")
    # Below and to the left of a best row there is no other.
    for i, row in enumerate(best):
        axes.annotate(
            row.after,
            (row.macs_before, row.bytes),
            (-5 if i else 0, -6),
            textcoords="offset points",
            ha="right" if i else "left",
            va="top",
            fontsize=8,
        )
