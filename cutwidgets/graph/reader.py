"""Read the call graph of a Keras model.

A functional or Sequential model inside the model is opened: its calls become calls of the graph.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras

from ..errors import UnsupportedModelError
from .callgraph import Call, CallGraph, Nest, Tensor
from .keras_internals import (
    Functional,
    Node,
    SymbolicArguments,
    adapters_of,
    functional,
    maker_of,
    nodes_of,
    origin_of,
    position_of,
    specs_inside,
    takes_training,
    travelling_masks,
)
from .roles import is_pointwise, is_weighted, role_of
from .strides import stride_of


def read(model: keras.Model) -> CallGraph:
    """Read the graph of a model, in time linear in its calls and tensors, without changing it.

    Args:
        model: A built functional or Sequential model.

    Returns:
        The graph. It refers to the model's layers and tensors, not to the model.

    Raises:
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> import keras
        >>> graph = read(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="out")]))
        >>> [call.name for call in graph.calls][1:], graph.tensors[-1].shape
        (['out'], (None, 1))
    """
    source = functional(model)
    reader = _Reader()
    outermost = _Frame(source)
    frames = [outermost]
    while frames:
        frame = frames[-1]
        node = next(frame.nodes, None)
        if node is None:
            frames.pop()
            if frames:
                reader.close(frame, frames[-1])
        elif inner := reader.open(frame, node):
            frames.append(inner)
        elif not (node.is_input and frame.scope):
            reader.add(frame, node)
    return reader.graph(model.name, source, outermost.index)


class _Frame:
    """A model whose calls are being read: the outermost one, or a nested model in one of its calls.

    Attributes:
        nodes: The calls that remain to be read, in an order of computation.
        index: The index in the graph of each Keras tensor, by its id.
        specs: Tensors of the shapes that differ here from those of the nested model itself, by id.
        scope: Names of the nested calls around it.
        training: The `training` argument of the nested model's call.
    """

    def __init__(self, source: Functional, name: str = "", outer: "_Frame | None" = None) -> None:
        nodes = nodes_of(source)
        self.source = source
        self.nodes = iter(nodes)
        self.index: dict[int, int] = {}
        self.specs: dict[int, keras.KerasTensor] = {}
        self.scope: tuple[str, ...] = (*outer.scope, name) if outer else ()
        self.training: bool | None = outer.training if outer else None
        self.node: Node | None = None
        self.first_call = 0
        self.names = _names(nodes, self.scope)


def _names(nodes: Iterable[Node], scope: Sequence[str]) -> dict[int, str]:
    """The name of each call, by its id; calls of a layer with several are numbered."""
    calls: dict[int, list[Node]] = {}
    for node in nodes:
        calls.setdefault(id(node.operation), []).append(node)
    path = f"{scope[-1]}/" if scope else ""
    names = {}
    for same in calls.values():
        in_order = same if len(same) == 1 else sorted(same, key=position_of)
        for number, node in enumerate(in_order, 1):
            suffix = f"#{number}" if len(same) > 1 else ""
            names[id(node)] = f"{path}{node.operation.name}{suffix}"
    return names


class _Reader:
    """Collects calls and tensors."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.nests: list[Nest] = []
        self.aliases: list[list[keras.KerasTensor]] = []
        self.specs: list[keras.KerasTensor] = []
        self.makers: list[int] = []
        self.nested: list[bool] = []

    def add(self, frame: _Frame, node: Node) -> None:
        """Read a call."""
        arguments = node.arguments
        if not node.is_input:
            arguments = self._with_masks(frame, node, _with_training(node, frame.training))
        self._append(frame, self._name(frame, node), node.operation, arguments, node.outputs)

    def _name(self, frame: _Frame, node: Node) -> str:
        if id(node) in frame.names:
            return frame.names[id(node)]
        # A call that computes a mask need not be among the calls of the model.
        return f"{frame.scope[-1]}/{node.operation.name}" if frame.scope else node.operation.name

    def _append(
        self,
        frame: _Frame,
        name: str,
        operation: keras.Operation,
        arguments: SymbolicArguments,
        outputs: Sequence[keras.KerasTensor],
    ) -> None:
        first = len(self.specs)
        for symbol in outputs:
            frame.index[id(symbol)] = len(self.specs)
            self.specs.append(frame.specs.get(id(symbol), symbol))
            self.aliases.append([symbol])
            self.makers.append(len(self.calls))
            self.nested.append(bool(frame.scope))
        indices = range(first, len(self.specs))
        self.calls.append(self._call(frame, name, operation, arguments, indices))

    def _call(
        self,
        frame: _Frame,
        name: str,
        operation: keras.Operation,
        arguments: SymbolicArguments,
        outputs: Iterable[int],
    ) -> Call:
        reads = tuple([frame.index[id(symbol)] for symbol in arguments.keras_tensors])
        outputs = tuple(outputs)
        role = role_of(operation)
        return Call(
            index=len(self.calls),
            name=name,
            layer=operation,
            kind=type(operation).__name__,
            role=role,
            weighted=is_weighted(operation, role),
            pointwise=is_pointwise(operation),
            stride=self._stride(operation, role, arguments, reads, outputs),
            inputs=tuple(dict.fromkeys(reads)),
            outputs=outputs,
            scope=frame.scope,
            arguments=arguments,
            reads=reads,
        )

    def _stride(
        self,
        operation: keras.Operation,
        role: str,
        arguments: SymbolicArguments,
        reads: Sequence[int],
        outputs: Sequence[int],
    ) -> float:
        if not reads or not outputs:
            return 1
        symbols = zip(arguments.keras_tensors, reads, strict=True)
        read = {id(symbol): self.specs[tensor] for symbol, tensor in symbols}
        return stride_of(operation, role, arguments, read, self.specs[outputs[0]])

    def open(self, frame: _Frame, node: Node) -> _Frame | None:
        """Begin to read a nested model; `None` for any other call, and for one that stays closed.

        It stays closed if it is called with a mask or with custom arguments, because Keras's graph
        does not record how these reach the inner layers.
        """
        nested = _nested(node)
        if nested is None:
            return None
        source, symbols, training = nested
        adapters = [
            adapters_of(self.specs[frame.index[id(symbol)]], source, own)
            for symbol, own in zip(symbols, source.inputs, strict=True)
        ]
        specs = [
            steps[-1][1] if steps else self.specs[frame.index[id(symbol)]]
            for symbol, steps in zip(symbols, adapters, strict=True)
        ]
        changed = any(s.shape != own.shape for s, own in zip(specs, source.inputs, strict=True))
        try:
            inner_specs = specs_inside(source, specs) if changed else {}
        except Exception:  # whatever a layer raises that does not accept this shape symbolically
            return None
        inner = _Frame(source, frame.names[id(node)], frame)
        inner.node, inner.specs, inner.first_call = node, inner_specs, len(self.calls)
        inner.training = frame.training if training is None else training
        for symbol, own, steps in zip(symbols, source.inputs, adapters, strict=True):
            tensor = inner.index[id(symbol)] = frame.index[id(symbol)]
            for operation, output in steps:
                name = f"{inner.scope[-1]}/{operation.name}"
                self._append(inner, name, operation, SymbolicArguments(symbol), [output])
                symbol, tensor = output, self.calls[-1].outputs[0]
            inner.index[id(own)] = tensor
            self.aliases[tensor].append(own)
        return inner

    def close(self, inner: _Frame, frame: _Frame) -> None:
        """Leave a nested model: the outputs of its last calls become its outputs."""
        node, first = inner.node, inner.first_call
        assert node is not None
        outputs = [inner.index[id(symbol)] for symbol in inner.source.outputs]
        for symbol, tensor in zip(node.outputs, outputs, strict=True):
            frame.index[id(symbol)] = tensor
            if self.makers[tensor] < first:  # an input that goes straight through
                self.aliases[tensor].append(symbol)
                continue
            self.aliases[tensor].insert(0, symbol)
            self.nested[tensor] &= bool(frame.scope)
            if not frame.specs and len(symbol.shape) == len(self.specs[tensor].shape):
                self.specs[tensor] = symbol
        call = self._call(frame, inner.scope[-1], node.operation, node.arguments, outputs)
        self.nests.append(Nest(replace(call, index=first), range(first, len(self.calls))))

    def _with_masks(
        self, frame: _Frame, node: Node, arguments: SymbolicArguments
    ) -> SymbolicArguments:
        """Arguments with the masks that Keras attaches to tensors, outside the graph.

        Keras reads these from the tensors at each call. The inputs of a slice have none attached,
        so here a mask has to be a tensor like any other.
        """
        masks = travelling_masks(node)
        for mask in masks.values():
            if not self._derive(frame, mask):
                return arguments
        if not masks:
            return arguments
        return SymbolicArguments(*arguments.args, **(arguments.kwargs | masks))

    def _derive(self, frame: _Frame, symbol: keras.KerasTensor) -> bool:
        """Read the calls that compute a tensor from tensors read so far, if there are such calls.

        Returns:
            Whether the tensor is in the graph now.
        """
        pending = [symbol]
        while pending:
            if id(pending[-1]) in frame.index:
                pending.pop()
                continue
            node = maker_of(pending[-1])
            if node is None or node.is_input:
                return False
            missing = [s for s in node.input_tensors if id(s) not in frame.index]
            if missing:
                pending += missing
            else:
                self.add(frame, node)
        return True

    def graph(self, name: str, source: Functional, index: Mapping[int, int]) -> CallGraph:
        """The graph of all calls read so far."""
        users: list[list[int]] = [[] for _ in self.specs]
        for call in self.calls:
            for tensor in call.inputs:
                users[tensor].append(call.index)
        formats = {getattr(call.layer, "data_format", None) for call in self.calls}
        return CallGraph(
            name=name,
            calls=tuple(self.calls),
            tensors=tuple(
                Tensor(
                    i, tuple(s.shape), s.dtype, self.makers[i], tuple(users[i]), s,
                    tuple(self.aliases[i]), self.nested[i],
                )
                for i, s in enumerate(self.specs)
            ),
            inputs=tuple(index[id(symbol)] for symbol in source.inputs),
            outputs=tuple(index[id(symbol)] for symbol in source.outputs),
            nests=tuple(sorted(self.nests, key=lambda n: (n.inside.start, -n.inside.stop))),
            channel_axis=1 if "channels_first" in formats else -1,
            output_keys=_keys(source.output),
        )  # fmt: skip


def _keys(outputs: Any) -> tuple[str, ...]:
    """The keys of a dictionary of outputs, in the order in which Keras flattens it."""
    if not isinstance(outputs, dict):
        return ()
    return tuple("_".join(map(str, path)) for path, _ in keras.tree.flatten_with_path(outputs))


def _nested(node: Node) -> tuple[Functional, list[keras.KerasTensor], bool | None] | None:
    """The graph, the flat inputs and the `training` argument of a nested model's call.

    `None` if it is no such call, or has more arguments than that.
    """
    if node.is_input or not isinstance(node.operation, keras.Model):
        return None
    args, kwargs = node.arguments.args, dict(node.arguments.kwargs)
    if len(args) > 1:
        return None
    training = kwargs.pop("training", None)
    if any(value is not None for value in keras.tree.flatten(kwargs.pop("mask", None))):
        return None
    inputs = args[0] if args else kwargs.pop("inputs", None)
    try:
        source = functional(node.operation)
    except UnsupportedModelError:
        return None
    own = source.input
    if isinstance(inputs, dict) and not isinstance(own, dict):
        names = [symbol.name for symbol in source.inputs]
        if not set(names) <= set(inputs):
            return None
        inputs = [inputs[name] for name in names]
    symbols = keras.tree.flatten(inputs)
    fits = len(symbols) == len(source.inputs)
    if kwargs or not fits or not all(isinstance(s, keras.KerasTensor) for s in symbols):
        return None
    return source, symbols, training


def _with_training(node: Node, training: bool | None) -> SymbolicArguments:
    """Arguments with the `training` argument that a nested model passes on to its layers."""
    arguments = node.arguments
    if training is None or not takes_training(node.operation):
        return arguments
    return SymbolicArguments(*arguments.args, **(arguments.kwargs | {"training": training}))


def find(graph: CallGraph, symbol: keras.KerasTensor) -> tuple[int, ...]:
    """Indices of the tensors that a `KerasTensor` stands for.

    There are none if it is not part of this graph, and several if it is inside a nested model that
    is called more than once.
    """
    tensors = [t.index for t in graph.tensors if any(alias is symbol for alias in t.aliases)]
    origin = origin_of(symbol)
    if not tensors and origin is not None:
        # A copy of the tensor, of the same origin, stands for the same value.
        tensors = [t.index for t in graph.tensors if origin in map(origin_of, t.aliases)]
    if not tensors and origin is not None:
        # `layer.output` belongs to the layer's first call; for a layer in a slice, that call is in
        # the original model.
        calls = [call for call in graph.calls if call.layer is origin[0]]
        if len(calls) == 1:
            tensors = [calls[0].outputs[origin[2]]]
    return tuple(tensors)
