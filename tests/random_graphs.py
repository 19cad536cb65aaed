"""Random models, each with a record of how it was wired that knows nothing of cutwidgets.

A program says what to build, in a few words that hypothesis can draw, shrink and print. `build`
makes a Keras model of it and notes every call on the way, those inside nested models included. The
record is searched by brute force and computed call by call: what cutwidgets says about the model is
compared with that.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any

import keras
import networkx
import numpy as np
from hypothesis import strategies as st
from keras import layers, ops

WIDTH = 4


@dataclass(frozen=True)
class Step:
    """One thing to do to tensors, which are counted back from the latest."""

    what: str
    of: tuple[int, int, int] = (0, 0, 0)
    which: int = 0
    stem: str = ""


@dataclass(frozen=True)
class Program:
    """How to build a model."""

    steps: tuple[Step, ...]
    inputs: int = 1
    outputs: tuple[int, ...] = (0,)
    nested: tuple["Program", ...] = ()
    sequential: bool = False
    named: bool = False


# --- Layers ---------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("random_graphs")
class Mix(layers.Layer):
    """A dense layer with a constant in place of weights: variables take TensorFlow milliseconds."""

    def __init__(self, seed, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}

    def build(self, shape):
        self.constant = np.random.default_rng(self.seed).normal(size=(shape[-1], WIDTH), scale=0.7)

    def call(self, x):
        return ops.matmul(x, ops.cast(self.constant, x.dtype))

    def compute_output_shape(self, shape):
        return (*shape[:-1], WIDTH)


@keras.saving.register_keras_serializable("random_graphs")
class Fork(layers.Layer):
    """A layer of two outputs."""

    def call(self, x):
        return 0.5 * x, ops.tanh(x) - 0.2

    def compute_output_shape(self, shape):
        return shape, shape


@keras.saving.register_keras_serializable("random_graphs")
class Scale(layers.Layer):
    """A layer that takes a second tensor by keyword."""

    def call(self, x, by=None):
        return x * ops.sigmoid(by)

    def compute_output_shape(self, x_shape, by_shape):
        return x_shape


def _dense(name: str, seed: int) -> keras.Layer:
    normal = keras.initializers.RandomNormal(stddev=0.7, seed=seed)
    return layers.Dense(WIDTH, kernel_initializer=normal, use_bias=False, name=name)


STRAIGHT: dict[str, Callable[[str, int], keras.Layer]] = {
    "mix": lambda name, seed: Mix(seed, name=name),
    "dense": _dense,
    "relu": lambda name, seed: layers.ReLU(negative_slope=0.1, name=name),
    "norm": lambda name, seed: layers.LayerNormalization(center=False, name=name),
    "dropout": lambda name, seed: layers.Dropout(0.5, seed=seed, name=name),
}
MERGES: dict[str, Callable[[str], keras.Layer]] = {
    "add": lambda name: layers.Add(name=name),
    "subtract": lambda name: layers.Subtract(name=name),
    "multiply": lambda name: layers.Multiply(name=name),
    "concat": lambda name: layers.Concatenate(name=name),
}
CONSTANT = np.linspace(-1, 1, WIDTH, dtype="float32")
OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "tanh": ops.tanh,
    "slice": lambda x: x[:, : WIDTH // 2],
    "flip": lambda x: x[:, ::-1],
    "constant": lambda x: ops.subtract(CONSTANT, x),
    "split": lambda x: ops.split(x, 2, axis=1),
}
OPERATIONS_OF_TWO: dict[str, Callable[[Any, Any], Any]] = {
    "plus": lambda x, y: x + y,
    "minus": lambda x, y: x - y,
    "join": lambda x, y: ops.concatenate([x, y], axis=1),
}
SHARED = 2  # so many layers, for all models inside the model
KINDS = [
    "mix", "mix", "relu", "tanh", "add", "add", "plus", "concat", "dense", "norm", "dropout",
    "subtract", "multiply", "minus", "join", "slice", "flip", "constant", "split", "fork", "scale",
    "where", "shared", "shared", "shared", "nested", "nested", "nested",
]  # fmt: skip


def programs(depth: int = 2, least: int = 4, most: int = 14) -> st.SearchStrategy[Program]:
    """Programs for models of so many steps, and with so many models inside each other."""
    # The latest tensors are read most often: that makes chains with skips, not bushes.
    latest = st.sampled_from([0, 0, 0, 0, 1, 1, 2, 4])
    earlier = st.sampled_from([1, 0, 1, 2, 2, 3, 5, 8])
    steps = st.builds(
        Step,
        what=st.sampled_from(KINDS),
        of=st.tuples(latest, earlier, earlier),
        which=st.integers(0, 3),
        stem=st.sampled_from(["", "", "b1", "b2"]),
    )
    nested = st.lists(programs(depth - 1, 1, 4), max_size=2).map(tuple) if depth else st.just(())
    return st.builds(
        Program,
        steps=st.lists(steps, min_size=least, max_size=most).map(tuple),
        inputs=st.sampled_from([1, 1, 1, 2, 2, 3]),
        outputs=st.lists(earlier, max_size=3).map(lambda more: (0, *more)),
        nested=nested,
        sequential=st.just(False) if depth == 2 else st.booleans(),
        named=st.booleans() if depth == 2 else st.just(False),
    )


# --- Building -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _OwnCall:
    """A call in a model, with the numbers that its tensors have in that model."""

    function: Callable[..., Any]
    operation: keras.Operation
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    inner: "_OwnModel | None"


@dataclass(frozen=True)
class _OwnModel:
    model: keras.Model
    symbols: list[keras.KerasTensor]
    calls: list[_OwnCall]

    def numbers(self, symbols: Iterable[keras.KerasTensor]) -> tuple[int, ...]:
        known = {id(symbol): number for number, symbol in enumerate(self.symbols)}
        return tuple(known[id(symbol)] for symbol in symbols)


class _Names:
    """Names and layers that all models inside a model share."""

    def __init__(self) -> None:
        self.seeds = count()
        self.taken: set[str] = set()
        self.shared: dict[int, keras.Layer] = {}

    def give(self, kind: str, stem: str = "") -> str:
        name = stem if stem and stem not in self.taken else None
        name = name or f"{stem and stem + '_'}{kind}{len(self.taken)}"
        self.taken.add(name)
        return name


class _Builder:
    """Builds one model, step by step, and notes its calls."""

    def __init__(self, program: Program, names: _Names) -> None:
        self.program = program
        self.names = names
        self.symbols: list[keras.KerasTensor] = []
        self.calls: list[_OwnCall] = []
        self.models: dict[int, _OwnModel] = {}

    def build(self) -> _OwnModel:
        if self.program.sequential:
            return self._sequential()
        for number in range(self.program.inputs):
            name = self.names.give("input")
            shape = (WIDTH,) if number < 2 else (WIDTH // 2,)
            self.symbols.append(keras.Input(shape, name=name))
        for step in self.program.steps:
            self._do(step)
        inputs = self.symbols[: self.program.inputs]
        outputs = [self.symbols[self._back(back)] for back in self.program.outputs]
        structures = [self._structure(inputs, "in"), self._structure(outputs, "out")]
        model = keras.Model(*structures, name=self.names.give("net"))
        return _OwnModel(model, self.symbols, self._needed(outputs))

    def _structure(self, symbols: list[keras.KerasTensor], prefix: str) -> Any:
        if self.program.named:
            names = [s.name for s in symbols] if prefix == "in" else map("out{}".format, count())
            return dict(zip(names, symbols, strict=False))
        return symbols[0] if len(symbols) == 1 else symbols

    def _needed(self, outputs: Sequence[keras.KerasTensor]) -> list[_OwnCall]:
        """Keras leaves out of a model what none of its outputs needs."""
        needed = {id(symbol) for symbol in outputs}
        found = []
        for call in reversed(self.calls):
            if needed & {id(self.symbols[t]) for t in call.makes}:
                needed |= {id(self.symbols[t]) for t in call.reads}
                found.append(call)
        return found[::-1]

    def _sequential(self) -> _OwnModel:
        kinds = [step.what if step.what in STRAIGHT else "mix" for step in self.program.steps]
        chain = [STRAIGHT[k](self.names.give(k), next(self.names.seeds)) for k in kinds]
        inputs = keras.Input((WIDTH,), name=self.names.give("input"))
        model = keras.Sequential([inputs, *chain], name=self.names.give("net"))
        calls = [_OwnCall(x, x, (i,), (i + 1,), None) for i, x in enumerate(chain)]
        return _OwnModel(model, [model.inputs[0], *(layer.output for layer in chain)], calls)

    def _back(self, back: int) -> int:
        # Neither adding nor multiplying takes what a comparison gives.
        numbers = [i for i, symbol in enumerate(self.symbols) if symbol.dtype != "bool"]
        return numbers[-1 - back % len(numbers)]

    def _call(
        self, function: Callable[..., Any], *tensors: int, inner: _OwnModel | None = None
    ) -> int:
        """Call a layer or operation; the number of the first tensor that it makes."""
        made = keras.tree.flatten(function(*(self.symbols[tensor] for tensor in tensors)))
        first = len(self.symbols)
        self.symbols += made
        operation = made[0]._keras_history.operation
        numbers = tuple(range(first, first + len(made)))
        self.calls.append(_OwnCall(function, operation, tensors, numbers, inner))
        return first

    def _width(self, tensor: int) -> int:
        return self.symbols[tensor].shape[-1]

    def _fit(self, tensor: int, width: int = WIDTH) -> int:
        """A tensor of this width, through one more layer where there is need of it."""
        if self._width(tensor) == width:
            return tensor
        if width != WIDTH:
            return self._call(lambda x: x[:, :width], self._fit(tensor))
        return self._call(Mix(next(self.names.seeds), name=self.names.give("fit")), tensor)

    def _alike(self, one: int, other: int) -> tuple[int, int]:
        if self._width(one) == self._width(other):
            return one, other
        return self._fit(one), self._fit(other)

    def _do(self, step: Step) -> None:
        what = step.what
        one, other, third = map(self._back, step.of)
        if what in STRAIGHT:
            name = self.names.give(what, step.stem)
            self._call(STRAIGHT[what](name, next(self.names.seeds)), one)
        elif what in MERGES:
            layer = MERGES[what](self.names.give(what, step.stem))
            if what != "concat":
                one, other = self._alike(one, other)
            self._call(lambda *tensors: layer(list(tensors)), one, other)
        elif what in OPERATIONS:
            fits = what not in ("constant", "split") or self._width(one) == WIDTH
            self._call(OPERATIONS[what], one if fits else self._fit(one))
        elif what in OPERATIONS_OF_TWO:
            self._call(OPERATIONS_OF_TWO[what], *self._alike(one, other))
        elif what == "fork":
            self._call(Fork(name=self.names.give(what, step.stem)), one)
        elif what == "scale":
            layer = Scale(name=self.names.give(what, step.stem))
            self._call(lambda x, y: layer(x, by=y), *self._alike(one, other))
        elif what == "where":
            positive = self._call(lambda x: x > 0, self._fit(third))
            self._call(ops.where, positive, self._fit(one), self._fit(other))
        elif what == "nested" and self.program.nested:
            self._nested(step, (one, other, third))
        else:
            self._shared(step, one)

    def _shared(self, step: Step, tensor: int) -> None:
        number = step.which % SHARED
        if number not in self.names.shared:
            name = self.names.give("shared", step.stem)
            kind = "dense" if number else "mix"
            self.names.shared[number] = STRAIGHT[kind](name, next(self.names.seeds))
        self._call(self.names.shared[number], self._fit(tensor))

    def _nested(self, step: Step, tensors: Sequence[int]) -> None:
        number = step.which % len(self.program.nested)
        if number not in self.models:
            self.models[number] = _Builder(self.program.nested[number], self.names).build()
        inner = self.models[number]
        given = [
            self._fit(tensor, symbol.shape[-1])
            for tensor, symbol in zip(tensors, inner.model.inputs, strict=False)
        ]
        training = {"training": False} if step.which > 1 else {}

        def call(*symbols: keras.KerasTensor) -> Any:
            return inner.model(symbols[0] if len(symbols) == 1 else list(symbols), **training)

        self._call(call, *given, inner=inner)


# --- The record -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wire:
    """A call, with the numbers of its tensors. Nested models are opened."""

    reads: tuple[int, ...]
    makes: tuple[int, ...]
    function: Callable[..., Any] | None = None
    inside: tuple[str, ...] = ()

    @property
    def entries(self) -> tuple[int, ...]:
        """What a slice from here takes: for an input, what it gives."""
        return tuple(dict.fromkeys(self.reads)) or self.makes


@dataclass(frozen=True)
class Verdict:
    """What a search says about a cut: the tensors that a slice takes, and those that pass by."""

    possible: bool
    takes: tuple[int, ...]
    bypassing: tuple[int, ...]

    @property
    def legal(self) -> bool:
        return self.possible and not self.bypassing


@dataclass
class Wiring:
    """A model, and the record of its calls.

    Attributes:
        model: The model.
        calls: All calls by name, inputs first, each behind those that it needs.
        nests: The calls of nested models by name.
        inputs: Numbers of the model's input tensors.
        outputs: Numbers of its output tensors.
        symbols: For all of Keras's tensors, the numbers of the tensors that they stand for.
    """

    model: keras.Model
    calls: dict[str, Wire] = field(default_factory=dict)
    nests: dict[str, Wire] = field(default_factory=dict)
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    symbols: list[tuple[keras.KerasTensor, set[int]]] = field(default_factory=list)

    @cached_property
    def graph(self) -> networkx.DiGraph:
        """Calls (by name) and tensors (by number) as vertices."""
        graph = networkx.DiGraph()
        for name, wire in self.calls.items():
            graph.add_edges_from((tensor, name) for tensor in wire.reads)
            graph.add_edges_from((name, tensor) for tensor in wire.makes)
        return graph

    def maker(self, tensor: int) -> str:
        return next(iter(self.graph.pred[tensor]))

    @cached_property
    def before(self) -> dict[Any, set[Any]]:
        """For each vertex all those that lead to it."""
        return {vertex: networkx.ancestors(self.graph, vertex) for vertex in self.graph}

    def head(self, tensors: Iterable[int]) -> set[str]:
        """The calls that it takes to make some tensors."""
        return {v for tensor in tensors for v in self.before[tensor] if isinstance(v, str)}

    def made_by(self, calls: Iterable[str]) -> set[int]:
        return {tensor for call in calls for tensor in self.calls[call].makes}

    def needed(self, exits: Iterable[int], done: set[str]) -> set[str]:
        """The calls that are left to make some tensors when others are done."""
        return self.head(exits) - done - {self.maker(tensor) for tensor in self.inputs}

    def live(self, exits: Iterable[int], done: set[str]) -> set[int]:
        """The tensors that are there when calls are done, and that the exits still need."""
        exits = set(exits)
        needed = self.needed(exits, done)
        there = self.made_by(done) | set(self.inputs)
        return {tensor for tensor in there if tensor in exits or needed & set(self.graph[tensor])}

    def verdict(
        self, entries: Sequence[int], calls: Iterable[str], exits: Sequence[int]
    ) -> Verdict:
        """Whether the exits can be computed from the entries, and what it takes."""
        head = self.head(entries)
        live = self.live(exits, head)
        needed = self.needed(exits, head)
        begins = needed & set(calls) if calls else live & set(entries)
        bypassing = sorted(live & self.made_by(head) - set(entries))
        assert bool(bypassing) == self._a_way_remains(entries, exits)
        takes = [tensor for tensor in entries if tensor in live]
        takes += sorted(live - set(entries))
        return Verdict(bool(needed and begins), tuple(takes), tuple(bypassing))

    def _a_way_remains(self, entries: Sequence[int], exits: Sequence[int]) -> bool:
        """Whether a path from what comes before the entries leads past them to an exit."""
        ways = self.graph.copy()
        ways.remove_nodes_from(entries)
        before = {vertex for tensor in entries for vertex in self.before[tensor]}
        ends = set(exits) - set(entries)
        return any(before & ({end} | networkx.ancestors(ways, end)) for end in ends)

    def run(self, inputs: Sequence[Any]) -> dict[int, Any]:
        """The value of every tensor, computed call by call."""
        values = dict(zip(self.inputs, inputs, strict=True))
        for wire in self.calls.values():
            if wire.function is not None:
                made = keras.tree.flatten(wire.function(*(values[t] for t in wire.reads)))
                values.update(zip(wire.makes, made, strict=True))
        return values

    def random_inputs(self, seed: int = 0) -> list[Any]:
        random = np.random.default_rng(seed)
        shapes = [(3, *symbol.shape[1:]) for symbol in self.model.inputs]
        return [ops.convert_to_tensor(random.normal(size=s).astype("float32")) for s in shapes]


def build(program: Program) -> Wiring:
    """A model, with the record of its calls."""
    own = _Builder(program, _Names()).build()
    wiring = Wiring(own.model)
    given = []
    for symbol in own.model.inputs:
        tensor = len(given)
        wiring.calls[symbol.name] = Wire((), (tensor,))
        given.append(tensor)
    stands: dict[int, tuple[keras.KerasTensor, set[int]]] = {}
    outputs = _lay(own, given, "", wiring, count(len(given)), stands)
    wiring.inputs, wiring.outputs = tuple(given), outputs
    wiring.symbols = list(stands.values())
    return wiring


def _lay(
    own: _OwnModel,
    given: Sequence[int],
    scope: str,
    wiring: Wiring,
    numbers: Iterable[int],
    stands: dict[int, tuple[keras.KerasTensor, set[int]]],
) -> tuple[int, ...]:
    """Note the calls of a model that is called on some tensors; the tensors that it gives."""
    tensors = dict(zip(own.numbers(own.model.inputs), given, strict=True))
    names = _call_names(own)
    for call, own_name in zip(own.calls, names, strict=True):
        name = f"{scope}/{own_name}" if scope else own_name
        reads = tuple(tensors[number] for number in call.reads)
        if call.inner is None:
            makes = tuple(next(numbers) for _ in call.makes)
            wiring.calls[name] = Wire(reads, makes, call.function)
        else:
            before = len(wiring.calls)
            # Inside of a model that is inside of a model, the name begins with the innermost.
            makes = _lay(call.inner, reads, name, wiring, numbers, stands)
            wiring.nests[name] = Wire(reads, makes, inside=tuple(wiring.calls)[before:])
        tensors.update(zip(call.makes, makes, strict=True))
    for number, tensor in tensors.items():
        symbol = own.symbols[number]
        stands.setdefault(id(symbol), (symbol, set()))[1].add(tensor)
    return tuple(tensors[number] for number in own.numbers(own.model.outputs))


def _call_names(own: _OwnModel) -> list[str]:
    """The layers' names, with a number where a layer is called several times in the model."""
    calls_of = defaultdict(list)
    for call in own.calls:
        calls_of[id(call.operation)].append(call)
    names = []
    for call in own.calls:
        same = calls_of[id(call.operation)]
        number = f"#{same.index(call) + 1}" if len(same) > 1 else ""
        names.append(f"{call.operation.name}{number}")
    return names
