"""What each block of a model costs: parameters, operations, memory, and how much it sees."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import keras

from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph, Shape, weights
from ..graph.rebuild import RepeatError, specs
from ..inference.inputs import USUAL_SIZE, input_shapes
from ..progress import doing, steps
from ..structure.anatomy import anatomy
from ..tables import Column, Rows, Table
from ..text import number_text, shape_text
from .macs import macs_of, without_inputs
from .operations import is_own
from .receptive_fields import fields, sizes, widest
from .split_points import Splits, bytes_of, splits

USUAL_LENGTH = 16  # of sequences and all else that are no images


@dataclass(frozen=True, slots=True)
class Cost:
    """What a block, or several, or a model costs for one example.

    Attributes:
        name: Name of the block or the model.
        parameters: Number of parameters, a shared layer counted once.
        macs: Multiply-accumulate operations of convolutions, matrix products, attention and
            recurrent layers, in inference; each is two FLOPs. Biases, normalisations, activations
            and pooling are not counted, as in papers (He et al. 2015, table 1).
        activation_bytes: Bytes of the outputs of all its layers: what training keeps if it keeps
            every one. Tensors inside a layer, such as attention scores, are not included.
        receptive_field: How many positions of the model's input an element of its output can
            depend on, along each spatial axis (Araujo, Norris, Sim 2019, "Computing receptive
            fields of convolutional neural networks"). It may exceed the size of the input. `None`
            where it is unbounded (after global pooling, attention and normalisation over
            positions), where it is unknown, and where the input has no spatial axes.
        uncounted: Names of the layers whose operations are unknown and missing from `macs`.
    """

    name: str
    parameters: int
    macs: int
    activation_bytes: int
    receptive_field: tuple[int, ...] | None
    uncounted: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Costs(Rows[Cost]):
    """What the blocks of a model cost. Shows itself as a table in a notebook.

    Attributes:
        name: Name of the model.
        input_shapes: The input shapes, with the batch axis. The costs are for one example.
        rows: A `Cost` for each block, in the order of the anatomy.
        splits: The data that crosses, and the costs on both sides, wherever `split` can cut: to
            choose where to divide a model between two machines.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> from cutwidgets import costs
        >>> found = costs(keras.applications.VGG16(weights=None))
        >>> len(found), found["block1"].receptive_field, found[-1].parameters
        (6, (6, 6), 123642856)
        >>> found.sum(0, 1).macs == found[0].macs + found[1].macs
        True
    """

    input_shapes: tuple[Shape, ...]
    splits: Splits
    # For each block the sizes of its weights, by a number for each weight.
    _weights: tuple[Mapping[int, int], ...] = field(repr=False, compare=False)
    _start: tuple[int, ...] | None = field(repr=False, compare=False)
    # For each call its name, its MACs and the bytes of its outputs, for the whole batch.
    _calls: tuple[tuple[str, int | None, int], ...] = field(repr=False, compare=False)
    _batch: int = field(repr=False, compare=False)

    @property
    def total(self) -> Cost:
        """The cost of the model; a weight that several blocks share counts once."""
        return self._sum(self.name, 0, len(self) - 1)

    def sum(self, first: int, last: int) -> Cost:
        """What neighbouring blocks cost together.

        Args:
            first: Position of the first block, counted from 0.
            last: Position of the last block. If it is before the first, there are no blocks and
                all costs are zero, as for the head of a slice that starts at the model's input.

        Returns:
            Their sum, with shared layers counted once, and the receptive field of the last block.

        Raises:
            UnknownPlaceError: If there are no such blocks.

        Example:
            >>> import keras
            >>> found = costs(keras.applications.ResNet50(weights=None))
            >>> found.sum(0, len(found) - 1).macs == found.total.macs
            True
            >>> found.sum(0, -1).macs
            0
        """
        for place in (first, last):
            if not isinstance(place, Integral) or (first <= last and not 0 <= place < len(self)):
                raise self._no_such(place)
        if first > last:
            return self._sum("", first, last)
        ends = (self.rows[first].name, self.rows[last].name)
        return self._sum(" to ".join(dict.fromkeys(ends)), first, last)

    def of_calls(self, calls: Iterable[int]) -> tuple[int, int, tuple[str, ...]]:
        """What some calls of the model cost, which need not be whole blocks.

        Args:
            calls: Their indices in the call graph.

        Returns:
            Their MACs, the bytes of their outputs, and the names of those whose MACs are unknown.

        Example:
            >>> import cutwidgets as cw
            >>> import keras
            >>> resnet = keras.applications.ResNet50(weights=None)
            >>> found, block = costs(resnet), cw.anatomy(resnet)["conv3_block2"]
            >>> found.of_calls(block.calls)[0] == found["conv3_block2"].macs
            True
        """
        chosen = [self._calls[i] for i in sorted(set(calls))]
        return (
            sum(macs or 0 for _, macs, _ in chosen) // self._batch,
            sum(size for *_, size in chosen) // self._batch,
            tuple(name for name, macs, _ in chosen if macs is None),
        )

    def _sum(self, name: str, first: int, last: int) -> Cost:
        rows = self.rows[first : last + 1] if first <= last else ()
        # Equal keys stand for the same weight.
        sizes_by_weight = {
            n: size for i, _ in enumerate(rows, first) for n, size in self._weights[i].items()
        }
        return Cost(
            name=name,
            parameters=sum(sizes_by_weight.values()),
            macs=sum(row.macs for row in rows),
            activation_bytes=sum(row.activation_bytes for row in rows),
            receptive_field=rows[-1].receptive_field if rows else self._start,
            uncounted=tuple(dict.fromkeys(name for row in rows for name in row.uncounted)),
        )

    def _table(self) -> Table:
        shapes = ", ".join(map(shape_text, self.input_shapes))
        caption = f"For one example of {shapes}. MACs: multiply-accumulate operations."
        total = self.total
        if total.uncounted:
            caption += f" ≥: without {', '.join(total.uncounted)}."

        largest = self._largest
        columns = [
            Column("block", value=lambda row: row.name, left=True),
            Column("parameters", full=largest("parameters")),
            Column("macs", "MACs", text=_macs_text, full=largest("macs")),
            Column("activation_bytes", "activations", unit="B", full=largest("activation_bytes")),
            Column("receptive_field", "receptive field", text=_field_text),
            Column("uncounted", hidden=True),
        ]
        return Table(columns, self.rows, caption, total)

    def _largest(self, name: str) -> int:
        return max((getattr(row, name) for row in self.rows), default=0)


def costs(model: keras.Model, input_shape: Any = None) -> Costs:
    """Compute what each block of a model costs for one example, without running the model.

    Args:
        model: A built functional or Sequential model.
        input_shape: Shape of an input, with or without the batch axis; for several inputs a list
            of them, or a dictionary by their names. `None` for the model's own shapes. Lengths
            that neither of them fixes are 224 for inputs with four axes (images), else 16.

    Returns:
        A `Cost` for each block of `anatomy(model)`, and their sums.

    Raises:
        CutwidgetsError: If the shape does not fit the model, or a layer does not accept it.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> import keras
        >>> found = costs(keras.applications.ResNet50(include_top=False, weights=None))
        >>> found.input_shapes, f"{found.total.macs:.2e}", found["conv3_block4"].receptive_field
        (((None, 224, 224, 3),), '3.86e+09', (99, 99))
        >>> resnet = keras.applications.ResNet50(include_top=False, weights=None)
        >>> round(costs(resnet, (448, 448, 3)).total.macs / found.total.macs, 1)
        4.0
    """
    model_anatomy = anatomy(model)
    graph = model_anatomy.graph
    shapes = _shapes(graph, input_shape)
    with doing("Computing the shapes"):
        symbols = _symbols(graph, shapes)
    receptive_fields = fields(graph, symbols)
    with doing("Counting the operations"):
        counts = {call.index: macs_of(call, symbols) for call in steps(without_inputs(graph))}
    sizes_of_outputs = [
        0 if call.role == "input" else sum(bytes_of(symbols[tensor]) for tensor in call.outputs)
        for call in graph.calls
    ]
    numbers: dict[int, int] = {}
    rows, own_weights = [], []
    for block in model_anatomy:
        own = weights(graph, block.calls)
        own_weights.append({numbers.setdefault(key, len(numbers)): own[key] for key in own})
        macs, uncounted = _macs(graph, block.calls, counts)
        rows.append(
            Cost(
                name=block.name,
                parameters=sum(own.values()),
                macs=macs // _batch(graph),
                activation_bytes=sum(sizes_of_outputs[i] for i in block.calls) // _batch(graph),
                receptive_field=sizes(widest([receptive_fields[tensor] for tensor in block.exits])),
                uncounted=uncounted,
            )
        )
    start = sizes(widest([receptive_fields[tensor] for tensor in graph.inputs]))
    crossing = splits(model_anatomy, symbols, counts, _batch(graph))
    calls = tuple(
        (call.name, counts.get(call.index, 0), sizes_of_outputs[call.index]) for call in graph.calls
    )
    return Costs(
        model_anatomy.name,
        tuple(rows),
        shapes,
        crossing,
        tuple(own_weights),
        start,
        calls,
        _batch(graph),
    )


def _macs(
    graph: CallGraph, calls: Sequence[int], counts: Mapping[int, int | None]
) -> tuple[int, tuple[str, ...]]:
    """The MACs of calls, and the names of those whose MACs are unknown."""
    return (
        sum(counts.get(i) or 0 for i in calls),
        tuple(graph.calls[i].name for i in calls if counts.get(i, 0) is None),
    )


def _batch(graph: CallGraph) -> int:
    """The batch size that a model was built for; 1 if it is not fixed."""
    return next((shape[0] for shape in _own_shapes(graph) if shape and shape[0]), 1)


def _own_shapes(graph: CallGraph) -> list[Shape]:
    return [graph.tensors[tensor].shape for tensor in graph.inputs]


def _shapes(graph: CallGraph, input_shape: Any) -> tuple[Shape, ...]:
    """The shapes of the inputs, with the batch axis and all other lengths fixed."""
    own = shapes = _own_shapes(graph)
    if input_shape is not None:
        shapes = list(input_shapes(f"model {graph.name!r}", graph, graph.inputs, input_shape))
    return tuple(_fixed(shape, usual) for shape, usual in zip(shapes, own, strict=True))


def _fixed(shape: Shape, usual: Shape) -> Shape:
    """A shape with all lengths fixed but for the batch axis, which is the model's."""
    free = USUAL_SIZE if len(usual) == 4 else USUAL_LENGTH
    lengths = zip(shape[1:], usual[1:], strict=True)
    return (usual[0], *(length or own or free for length, own in lengths))


def _symbols(graph: CallGraph, shapes: Sequence[Shape]) -> dict[int, keras.KerasTensor]:
    """Tensors of a graph at the given shapes of its inputs, for one example."""
    own = {tensor.index: tensor.symbol for tensor in graph.tensors}
    if list(shapes) == _own_shapes(graph) and _is_settled(graph):
        return own
    inputs = {
        tensor: keras.KerasTensor((shape[0] or 1, *shape[1:]), dtype=own[tensor].dtype)
        for tensor, shape in zip(graph.inputs, shapes, strict=True)
    }
    try:
        return specs(graph, steps(without_inputs(graph)), inputs)
    except RepeatError as error:
        refused = ", ".join(map(str, error.shapes))
        raise CutwidgetsError(
            f"Cannot count the costs of {graph.name!r} at the input shape "
            f"{', '.join(map(str, shapes))}: the layer {error.call.name!r} does not accept "
            f"{refused} ({error.__cause__}). The model itself accepts "
            f"{', '.join(map(str, _own_shapes(graph)))}."
        ) from error


def _is_settled(graph: CallGraph) -> bool:
    """Whether the model's own shapes are those for one example, with 1 for the batch axis.

    They are not where a length is free, or where a layer may fold positions into the batch axis,
    as a reshape of windows to (-1, 49, 96) does.
    """
    for call in graph.calls:
        input_shapes = [graph.tensors[tensor].shape for tensor in call.inputs]
        is_known = call.role not in {"other", "reordering"} or (
            isinstance(call.layer, keras.Layer) and is_own(call.layer)
        )
        for shape in (graph.tensors[tensor].shape for tensor in call.outputs):
            if None in shape[1:] or (
                None in shape[:1] and not is_known and shape not in input_shapes
            ):
                return False
    return True


def _macs_text(row: Cost) -> str:
    return f"{'≥ ' if row.uncounted else ''}{number_text(row.macs)}"


def _field_text(row: Cost) -> str:
    return "×".join(map(str, row.receptive_field)) if row.receptive_field else "—"
