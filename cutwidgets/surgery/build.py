"""Build Keras models of sections of a graph: with the model's own layers, or with copies."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, Literal, TypeAlias, get_args

import keras

from ..errors import CutError
from ..graph.callgraph import Call, CallGraph, Shape
from ..graph.frontier import carried_past
from ..graph.keras_internals import alone, functional, memory_of, undone_on_failure
from ..graph.rebuild import RepeatError, repeat, units
from .copies import Copier

Weights: TypeAlias = Literal["share", "copy"]


@dataclass(frozen=True, slots=True)
class Section:
    """The part of a model's call graph that a slice consists of.

    Attributes:
        graph: The call graph of the whole model.
        name: The slice's name.
        inputs: Indices of the tensors that the slice accepts.
        outputs: Indices of the tensors that it returns, flat.
        calls: Indices of its calls, ascending.
        new_shapes: Shapes of the slice's inputs, with the batch axis, if they are to differ from
            those of the model's tensors; otherwise `None`.
        ends: If it has several ends, a dictionary of the tensors that it returns: by the key of
            each end the index of its tensor, or a list of several. Keras flattens a dictionary in
            the order of its sorted keys, and `outputs` does, too.
    """

    graph: CallGraph
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    calls: tuple[int, ...]
    new_shapes: tuple[Shape, ...] | None = None
    ends: Mapping[str, Any] | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """For each output, the key of its end; none for a slice with one end."""
        paths = keras.tree.flatten_with_path(dict(self.ends or {}))
        return tuple(path[0] for path, _ in paths)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Shapes of the slice's inputs, with the batch axis."""
        return self.new_shapes or tuple(self.graph.tensors[t].shape for t in self.inputs)

    @property
    def carried(self) -> tuple[int, ...]:
        """Indices of the tensors that bypass the end: the tail needs them as well as the outputs.

        Empty where the end is a cut point: there, head, slice and tail rebuild the model.
        """
        return carried_past(self.graph, self.outputs)


def model_name(*parts: str | None) -> str:
    """A model name that TensorFlow accepts as a scope, from the parts that are not empty."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", "_".join(filter(None, parts)))


def require_weights(weights: str) -> None:
    """Refuse an unknown value of `weights`.

    Raises:
        CutError: If it is unknown.
    """
    if weights not in get_args(Weights):
        raise CutError(f"weights must be 'share' or 'copy'. Received: {weights!r:.200}")


@alone
def build(model: keras.Model, section: Section, weights: Weights = "share") -> keras.Model:
    """Build a Keras model of a section.

    Args:
        model: The model that the section belongs to.
        section: The section.
        weights: `"share"` for the model's own layers, `"copy"` for new ones with equal weights.

    Raises:
        CutError: If two layers of the section have the same name, a layer cannot be copied or does
            not accept the section's shapes, or the graph is too deep for Python's recursion limit.
    """
    graph, source = section.graph, functional(model)
    symbols = symbols_of(model, section, weights)
    inputs = arranged(section.inputs, graph.inputs, source.input, symbols)
    outputs = returned(section, source.output, symbols)
    return model_of(inputs, outputs, section.name)


@alone
def symbols_of(
    model: keras.Model, section: Section, weights: Weights = "share"
) -> dict[int, keras.KerasTensor]:
    """The Keras tensors that stand for a section's tensors in the model that `build` returns.

    Tensors inside nested models that the section contains as a whole are left out. There may be
    more, for tensors outside the section.
    """
    graph = section.graph
    if weights == "share" and _is_there(section):
        # The model's own tensors serve: nothing is repeated, and no node is added.
        return {t.index: t.aliases[0] for t in graph.tensors if not t.nested}
    calls = units(graph, section.calls, section.inputs, section.outputs)
    if weights == "copy":
        copier = Copier()
        symbols = _repeat(section, calls, _new_inputs(section), copier)
        copier.finish()
        return symbols
    _require_names(section, calls)
    # Nested models of which only a part is cut out are opened; others are called as a whole.
    opened = frozenset(name for call in calls for name in call.scope)
    # For each start, the downstream calls repeated on a new input. Keras keeps a node in a layer
    # for each repeated call, for good; all slices from one start share them.
    memory = memory_of(functional(model)).setdefault("repeated", {})
    key = (section.inputs, section.shapes, opened, graph.swaps)
    symbols = memory.get(key) or _new_inputs(section)
    missing = [call for call in calls if not symbols.keys() >= set(call.outputs)]
    # Stored only once nothing can fail any more.
    memory[key] = symbols = _repeat_shared(section, missing, symbols)
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


def _is_there(section: Section) -> bool:
    """Whether the section can be a model of the tensors that are in the graph already."""
    graph = section.graph
    ends = (*section.inputs, *section.outputs)
    return (
        not graph.swaps
        and set(section.inputs) <= set(graph.inputs)
        and (not graph.nests or set(section.inputs) == set(graph.inputs))
        and not any(graph.tensors[tensor].nested for tensor in ends)
        and section.shapes == tuple(graph.tensors[tensor].shape for tensor in section.inputs)
    )


def _repeat(
    section: Section,
    calls: Sequence[Call],
    symbols: dict[int, keras.KerasTensor],
    copier: Copier | None = None,
) -> dict[int, keras.KerasTensor]:
    try:
        return repeat(section.graph, calls, symbols, copier)
    except RepeatError as error:
        call = error.call
        usual = tuple(section.graph.tensors[tensor].shape for tensor in call.reads)
        shapes = _shapes_text(error.shapes)
        if error.shapes == usual:
            reason = f"the layer {call.name!r} does not accept {shapes}"
        else:
            reason = (
                f"for an input of shape {_shapes_text(section.shapes)}, the layer {call.name!r} "
                f"({call.kind}) would get {shapes}; in the model it gets {_shapes_text(usual)}, "
                "and it does not accept another shape"
            )
        raise CutError(f"Cannot build {section.name!r}: {reason}. {error.__cause__}") from error


def _shapes_text(shapes: Sequence[Shape]) -> str:
    return ", ".join(map(str, shapes))


_repeat_shared = undone_on_failure(_repeat)


def _require_names(section: Section, calls: Sequence[Call]) -> None:
    """Refuse two layers of the same name, which may come from two nested models."""
    named: dict[str, Call] = {}
    for call in calls:
        other = named.setdefault(call.own_name, call)
        if other.layer is not call.layer:
            raise CutError(
                f"Cannot build {section.name!r} with shared layers: {other.name!r} and "
                f"{call.name!r} would both be its layer {call.own_name!r}, and names are "
                "unique in a Keras model. Rename the layers of one of the nested models, or cut "
                "with weights='copy': copies get names of their own."
            )


def arranged(
    tensors: Sequence[int], own: Sequence[int], structure: Any, values: Mapping[int, Any]
) -> Any:
    """Values of tensors, in the model's own structure if these are its own inputs or outputs."""
    flat = [values[tensor] for tensor in tensors]
    if tuple(tensors) == tuple(own):
        return keras.tree.pack_sequence_as(structure, flat)
    return flat[0] if len(flat) == 1 else flat


def returned(section: Section, structure: Any, values: Mapping[int, Any]) -> Any:
    """Values of a section's outputs, in the structure that the slice returns.

    Args:
        section: The section.
        structure: The structure of the whole model's outputs.
        values: Values by the indices of tensors.
    """
    if section.ends is None:
        return arranged(section.outputs, section.graph.outputs, structure, values)
    return keras.tree.map_structure(values.__getitem__, dict(section.ends))


def _new_inputs(section: Section) -> dict[int, keras.KerasTensor]:
    """New inputs in place of tensors, each named after the layer that computes the tensor."""
    graph = section.graph
    inputs: dict[int, keras.KerasTensor] = {}
    # A layer may be called again further down, and names are unique in a model.
    called = Counter(call.own_name for call in graph.calls)
    used = set(called)
    for tensor, shape in zip(section.inputs, section.shapes, strict=True):
        maker, symbol = graph.maker(tensor), graph.tensors[tensor].symbol
        name = maker.own_name
        number = maker.name.rpartition("/")[2].removeprefix(name)
        if number:  # "#2", which TensorFlow refuses as the name of an exported argument
            name = f"{name}_call_{number[1:]}"
        if called[name] > (not number) or name in {i.name for i in inputs.values()}:
            numbered = (f"{name}_input_{number}" for number in count(2))
            name = next(n for n in chain([f"{name}_input"], numbered) if n not in used)
        used.add(name)
        inputs[tensor] = keras.Input(
            batch_shape=shape, dtype=symbol.dtype, sparse=symbol.sparse, name=name
        )
    return inputs
