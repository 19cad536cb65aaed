"""Build Keras models of sections of a graph: with the model's own layers, or with copies."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import keras

from ..errors import CutError
from ..graph.callgraph import Call, CallGraph, Shape
from ..graph.frontier import carried_past
from ..graph.keras_internals import alone, functional, memory_of, undone_on_failure
from ..graph.rebuild import RepeatError, repeat, units
from .copies import Copier


@dataclass(frozen=True, slots=True)
class Section:
    """What a slice consists of, in the call graph of the whole model.

    Attributes:
        graph: The call graph of the whole model.
        name: The slice's name.
        inputs: Indices of the tensors that the slice takes.
        outputs: Indices of the tensors that it gives.
        calls: Indices of its calls, ascending.
    """

    graph: CallGraph
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    calls: tuple[int, ...]

    @property
    def carried(self) -> tuple[int, ...]:
        """Indices of the tensors that bypass the end: the tail needs them besides the outputs.

        None where the end is a cut point: then head, slice and tail make up the model.
        """
        return carried_past(self.graph, self.outputs)


def model_name(*parts: str | None) -> str:
    """A name for a model: names of models become scopes of TensorFlow, which take no others."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", "_".join(filter(None, parts)))


@alone
def build(
    model: keras.Model,
    section: Section,
    weights: str = "share",
    shapes: Sequence[Shape] | None = None,
) -> keras.Model:
    """Make a Keras model of a section of a model.

    Args:
        model: The model.
        section: The section.
        weights: `"share"` for the model's own layers, `"copy"` for new ones with equal weights.
        shapes: Shapes of the inputs, with the batch axis; `None` for those of the model's tensors.

    Raises:
        CutError: If two layers of the section have the same name, a layer cannot be copied, or one
            does not take these shapes; or if Keras itself gives up, as on a chain too long for
            Python's recursion limit.
    """
    graph, source = section.graph, functional(model)
    symbols = symbols_of(model, section, weights, shapes)
    inputs = _arranged(section.inputs, graph.inputs, source.input, symbols)
    outputs = _arranged(section.outputs, graph.outputs, source.output, symbols)
    return model_of(inputs, outputs, section.name)


@alone
def symbols_of(
    model: keras.Model,
    section: Section,
    weights: str = "share",
    shapes: Sequence[Shape] | None = None,
) -> dict[int, keras.KerasTensor]:
    """What stands for the tensors of a section in the model that `build` makes; see there.

    Tensors inside of nested models that the section holds as a whole have no symbols. There may be
    others, of tensors that are not in the section.
    """
    graph = section.graph
    shapes = tuple(shapes or (graph.tensors[tensor].shape for tensor in section.inputs))
    if weights == "share" and _is_there(section, shapes):
        # The model's own tensors serve: nothing is repeated, and no node is added.
        return {t.index: t.aliases[0] for t in graph.tensors if not t.nested}
    calls = units(graph, section.calls, section.inputs, section.outputs)
    if weights == "copy":
        copier = Copier()
        symbols = _inputs(graph, section.inputs, shapes)
        symbols = _repeat(section, calls, symbols, shapes, copier)
        copier.finish()
        return symbols
    _require_names(section, calls)
    # Nested models that are taken in part are opened, and called as a whole elsewhere.
    opened = frozenset(name for call in calls for name in call.scope)
    # For each start, the calls behind it, repeated on a new input. Keras keeps a node in a layer
    # for each repeated call, for good; all slices from one start share them.
    known = memory_of(functional(model)).setdefault("repeated", {})
    key = (section.inputs, shapes, opened, graph.swaps)
    symbols = known.get(key) or _inputs(graph, section.inputs, shapes)
    missing = [call for call in calls if not symbols.keys() >= set(call.outputs)]
    # Remembered once it can no longer be taken back.
    known[key] = symbols = _repeat_shared(section, missing, symbols, shapes)
    return symbols


@alone
def model_of(inputs: Any, outputs: Any, name: str) -> keras.Model:
    """A Keras model of symbols.

    Raises:
        CutError: If Keras gives up.
    """
    try:
        return keras.Model(inputs, outputs, name=name)
    except RecursionError as error:
        raise CutError(
            f"Keras builds a model by recursion, and the calls of {name!r} go too deep for "
            "Python's limit. Raise it with sys.setrecursionlimit, and try again."
        ) from error
    except ValueError as error:
        raise CutError(f"Keras cannot build the model {name!r}: {error}") from error


def _is_there(section: Section, shapes: Sequence[Shape]) -> bool:
    graph = section.graph
    ends = (*section.inputs, *section.outputs)
    return (
        not graph.swaps
        and set(section.inputs) <= set(graph.inputs)
        and (not graph.nests or set(section.inputs) == set(graph.inputs))
        and not any(graph.tensors[tensor].nested for tensor in ends)
        and all(graph.tensors[t].shape == s for t, s in zip(section.inputs, shapes, strict=True))
    )


def _repeat(
    section: Section,
    calls: Sequence[Call],
    symbols: dict[int, keras.KerasTensor],
    shapes: Sequence[Shape],
    copier: Copier | None = None,
) -> dict[int, keras.KerasTensor]:
    try:
        return repeat(section.graph, calls, symbols, copier)
    except RepeatError as error:
        graph, call = section.graph, error.call
        usual = [graph.tensors[tensor].shape for tensor in call.reads]
        given = ", ".join(map(str, error.shapes))
        if error.shapes == tuple(usual):
            reason = f"the layer {call.name!r} does not take {given}"
        else:
            reason = (
                f"for an input of shape {', '.join(map(str, shapes))}, the layer {call.name!r} "
                f"({call.kind}) would get {given}; in the model it gets "
                f"{', '.join(map(str, usual))}, and it does not take another shape"
            )
        raise CutError(f"Cannot build {section.name!r}: {reason}. {error.__cause__}") from error


_repeat_shared = undone_on_failure(_repeat)


def _require_names(section: Section, calls: Sequence[Call]) -> None:
    """Names are unique in a model, but those of two nested models may be equal."""
    named: dict[str, Call] = {}
    for call in calls:
        other = named.setdefault(call.own_name, call)
        if other.layer is not call.layer:
            raise CutError(
                f"Cannot build {section.name!r} with shared layers: {other.name!r} and "
                f"{call.name!r} would both be its layer {call.own_name!r}, and Keras wants names "
                "to be unique. Rename the layers of one of the nested models, or cut with "
                "weights='copy': copies get names of their own."
            )


def _arranged(
    tensors: Sequence[int],
    own: Sequence[int],
    structure: Any,
    symbols: dict[int, keras.KerasTensor],
) -> Any:
    """Symbols in the model's own structure where they are its own inputs or outputs."""
    flat = [symbols[tensor] for tensor in tensors]
    if tuple(tensors) == tuple(own):
        return keras.tree.pack_sequence_as(structure, flat)
    return flat[0] if len(flat) == 1 else flat


def _inputs(
    graph: CallGraph, tensors: Sequence[int], shapes: Sequence[Shape]
) -> dict[int, keras.KerasTensor]:
    """New inputs in place of tensors, each named after the layer that makes it."""
    inputs: dict[int, keras.KerasTensor] = {}
    # A layer may be called again behind this place, and names are unique in a model.
    called = Counter(call.own_name for call in graph.calls)
    taken = set(called)
    for tensor, shape in zip(tensors, shapes, strict=True):
        maker, symbol = graph.maker(tensor), graph.tensors[tensor].symbol
        name = maker.own_name
        number = maker.name.rpartition("/")[2].removeprefix(name)
        if number:  # "#2", which TensorFlow does not take in the names of exported arguments
            name = f"{name}_call_{number[1:]}"
        if called[name] > (not number) or name in {i.name for i in inputs.values()}:
            name = next(n for n in _numbered(name) if n not in taken)
        taken.add(name)
        inputs[tensor] = keras.Input(
            batch_shape=shape, dtype=symbol.dtype, sparse=symbol.sparse, name=name
        )
    return inputs


def _numbered(name: str) -> Iterator[str]:
    yield f"{name}_input"
    yield from (f"{name}_input_{number}" for number in count(2))
