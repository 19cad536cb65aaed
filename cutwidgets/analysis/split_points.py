"""Split points: the data that crosses each, and the work on both sides.

A device computes the head of a model and sends its outputs; a server computes the tail (Kang et al.
2017, "Neurosurgeon: collaborative intelligence between the cloud and mobile edge").
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from ..blocks.blocks import Block
from ..graph.callgraph import CallGraph, Shape, between
from ..graph.frontier import Frontier
from ..structure.anatomy import Anatomy
from ..tables import Column, Rows, Table
from ..text import number_text, shape_text

INPUT_ROW = "input"  # the row before the first block


@dataclass(frozen=True, slots=True)
class Split:
    """A split after a block: the data that crosses it, and the work before and after, per example.

    Attributes:
        after: Name of the block; `"input"` if the model's own input crosses and the tail is the
            whole model.
        shapes: Shapes of the tensors that cross, with the batch axis. There are several if the
            model has several inputs or the block several outputs.
        dtypes: Their dtypes.
        bytes: Their size. The model's input counts in the model's dtype: a `float32` photograph has
            four times as many bytes as its pixels. Texts count as zero.
        macs_before: Multiply-accumulate operations of the head, counted as in `Cost`.
        macs_after: Multiply-accumulate operations of the tail.
        parameters_before: Number of parameters of the head's layers. A layer that both sides call
            counts on both.
        parameters_after: Number of parameters of the tail's layers.
    """

    after: str
    shapes: tuple[Shape, ...]
    dtypes: tuple[str, ...]
    bytes: int
    macs_before: int
    macs_after: int
    parameters_before: int
    parameters_after: int


@dataclass(frozen=True, repr=False)
class Splits(Rows[Split]):
    """All blocks after which `split` can cut. Notebooks show it as a table.

    The pieces are plain Keras models and can be exported: `head.export("head")` for TensorFlow
    Serving, `head.export("head.tflite", format="litert")`, or `format="onnx"`.

    Attributes:
        name: Name of the model.
        rows: A `Split` for its input and one for each such block, in the order of computation.
        uncounted: Names of the layers whose operations are not known; no row includes them.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> splits = cw.costs(keras.applications.ResNet50(weights=None)).splits
        >>> splits["conv5_block3"].shapes, splits["conv5_block3"].bytes
        (((None, 7, 7, 2048),), 401408)
        >>> [row.after for row in splits.best]
        ['input', 'conv5_block1']
    """

    uncounted: tuple[str, ...]
    _key = "after"
    _noun = "split point"

    @property
    def best(self) -> tuple[Split, ...]:
        """The Pareto-optimal rows: every row with fewer bytes has more operations before the split.

        Which of them is fastest depends on the two machines and their connection. Of tied rows,
        only the first is listed.
        """
        best: list[Split] = []
        for row in sorted(self.rows, key=lambda row: (row.macs_before, row.bytes)):
            if not best or row.bytes < best[-1].bytes:
                best.append(row)
        return tuple(best)

    def plot(self, axes: Any = None) -> Any:
        """Plot the bytes that cross against the operations before, and label the best rows.

        Args:
            axes: Matplotlib axes to draw into; `None` for a new figure.

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
        axes.set_xlabel(f"MACs before the split, of {number_text(self.rows[0].macs_after)}")
        axes.set(ylabel="bytes that cross", title=self.name)
        axes.margins(x=0.06, y=0.15)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        return axes

    def _table(self) -> Table:
        best = self.best
        caption = "For one example. ★: every row with fewer bytes has more MACs before the split."
        if self.uncounted:
            caption += f" MACs are without those of {', '.join(self.uncounted)}."
        macs = self.rows[0].macs_after  # of the whole model
        columns = [
            Column("after", "split after", left=True),
            Column("shapes", "crosses", text=_shapes_text, left=True),
            Column("dtypes", "dtype", text=lambda row: ", ".join(dict.fromkeys(row.dtypes))),
            Column("bytes", unit="B", full=max(row.bytes for row in self.rows)),
            Column("macs_before", "MACs before", full=macs),
            Column("macs_after", "MACs after", full=macs),
            Column("parameters_before", "parameters before"),
            Column("parameters_after", "parameters after"),
            Column("best", value=best.__contains__, text=lambda row: "★" * (row in best)),
        ]
        return Table(columns, self.rows, caption, bold=best)


def splits(
    anatomy: Anatomy,
    symbols: Mapping[int, keras.KerasTensor],
    macs: Mapping[int, int | None],
    batch: int,
) -> Splits:
    """List the places where `split` can cut.

    Args:
        anatomy: The anatomy of a model.
        symbols: Shapes and dtypes of all its tensors.
        macs: Operations of each call for the whole batch; `None` if not known.
        batch: Number of examples in the batch.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> anatomy = cw.anatomy(keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)]))
        >>> symbols = {tensor.index: tensor.symbol for tensor in anatomy.graph.tensors}
        >>> [(row.after, row.bytes) for row in splits(anatomy, symbols, {0: 0, 1: 32}, 1)]
        [('input', 32)]
    """
    graph = anatomy.graph
    sides = _Sides(graph, macs)
    rows = [_row(graph, INPUT_ROW, graph.inputs, symbols, sides, batch)]
    for block, calls in _legal(graph, anatomy.blocks):
        sides.move(calls)
        rows.append(_row(graph, block.name, block.exits, symbols, sides, batch))
    uncounted = tuple(graph.calls[i].name for i, count in macs.items() if count is None)
    return Splits(anatomy.name, tuple(rows), uncounted)


def _legal(graph: CallGraph, blocks: Sequence[Block]) -> Iterator[tuple[Block, list[int]]]:
    """The blocks after which `split` can cut, each with the calls since the previous one.

    Blocks are in an order of computation, so the head consists of all calls up to a block's end.
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
    """Operations and parameters before and after a split that moves through a graph."""

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
        """Move calls to the side before the split."""
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
    """The shape of a tensor, with the batch axis of the model: `None` where it is free.

    If the model folds windows or the like into that axis, its length is for one example.
    """
    own = graph.tensors[tensor].shape
    return (*own[:1], *symbol.shape[1:]) if symbol.shape[:1] == (1,) else tuple(symbol.shape)


def bytes_of(symbol: keras.KerasTensor) -> int:
    """The size of a tensor, with free lengths as 1; zero for texts."""
    bits = re.search(r"\d+", symbol.dtype)
    width = int(bits.group()) // 8 if bits else int(symbol.dtype == "bool")
    for length in symbol.shape:
        width *= 1 if length is None else length
    return width


def _shapes_text(row: Split) -> str:
    return ", ".join(map(shape_text, row.shapes))


def _draw(axes: Any, rows: Sequence[Split], best: Sequence[Split]) -> None:
    """Draw a point for each row; the best ones are filled, joined by steps, and labelled."""
    # Vermilion and blue of Okabe and Ito 2008, "Color universal design". The best points are also
    # filled and larger, so that colour is not the only difference.
    others = [row for row in rows if row not in best]
    x, y = ([getattr(row, name) for row in others] for name in ("macs_before", "bytes"))
    axes.plot(x, y, "o", color="#0072b2", markerfacecolor="none", label="other splits")
    x, y = ([getattr(row, name) for row in best] for name in ("macs_before", "bytes"))
    axes.step(x, y, where="post", color="#d55e00", linewidth=1)
    axes.plot(x, y, "o", color="#d55e00", markersize=8, label="fewest bytes for their MACs")
    # No other point lies below and to the left of a best one.
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
