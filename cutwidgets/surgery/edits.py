"""Put layers and models into a model at any number of places, in one pass over its graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import keras

from ..errors import CutError, alternatives
from ..graph.callgraph import Call, CallGraph, between
from ..graph.keras_internals import functional, needs_one, parameters_of, undone_on_failure
from ..graph.rebuild import repeat_call, specify_call, units
from .assembling import (
    Arguments,
    Assembly,
    Symbols,
    fits,
    output_specs,
    refusing,
    require_fit,
    require_inputs,
)
from .copies import has_graph
from .free_shapes import is_free_after, new_inputs
from .masks import require_masks, require_no_new_mask


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """A layer or model that is put into a graph.

    Attributes:
        name: Name of the place.
        piece: The layer or model.
        reads: Indices of the tensors that it reads.
        outputs: Indices of the tensors in whose place others read what it returns.
        calls: Indices of the calls that it replaces; none if it is inserted.
        call: A call of a layer whose arguments the new layer gets, masks and flags among them;
            `None` if it gets the tensors alone.
    """

    name: str
    piece: keras.Layer
    reads: tuple[int, ...]
    outputs: tuple[int, ...]
    calls: tuple[int, ...] = ()
    call: Call | None = None

    def arguments(self, symbols: Symbols) -> Arguments:
        """The arguments of the new layer; a model gets the tensors alone."""
        read = [symbols[tensor] for tensor in self.reads]
        is_model = has_graph(self.piece) or isinstance(self.piece, keras.Sequential)
        if self.call is None or is_model:
            return (read[0] if len(read) == 1 else read,), {}
        args, kwargs = self.call.fill(symbols)
        kind, flags = type(self.piece), {n for n in kwargs if n == "training" or n.endswith("mask")}
        kept = flags & set(parameters_of(kind))
        if kind is type(self.call.layer) or len(read) != 1 or not needs_one(kind):
            kept |= kwargs.keys() - flags
        else:  # another kind of layer may want no list of one, no second time, no other name
            args = (read[0],)
        return args, {name: value for name, value in kwargs.items() if name in kept}


_Step: TypeAlias = Call | Edit


@undone_on_failure
def edited(model: keras.Model, graph: CallGraph, edits: Sequence[Edit]) -> keras.Model:
    """A flat model of the same name, with edits.

    Args:
        model: The model.
        graph: Its call graph.
        edits: What to put in.

    Raises:
        CutError: If two edits overlap, something outside reads a tensor from inside what is
            replaced, or shapes or dtypes do not fit.
    """
    _require_apart(graph, edits)
    _require_needed(graph, edits)
    source, steps = functional(model), _steps(graph, edits)
    inputs = list(source.inputs)
    for edit in edits:
        if len(edit.reads) == 1:
            inputs = new_inputs(graph, inputs, edit.reads[0], edit.calls, edit.piece)
    expected = _expected(graph, steps, dict(zip(graph.inputs, inputs, strict=True)))
    assembly = Assembly(source, inputs)
    # The model's own layers keep their names, so these are reserved first.
    assembly.reserve(step for step in steps if isinstance(step, Call))
    copier, symbols = assembly.copier(), dict(zip(graph.inputs, assembly.inputs, strict=True))
    for number, (step, returned) in enumerate(zip(steps, expected, strict=True), 1):
        if isinstance(step, Edit):
            outputs = assembly.attach(step.piece, step.arguments(symbols))
            later = (s.layer for s in islice(steps, number, None) if isinstance(s, Call))
            require_no_new_mask(graph, step.name, step.outputs, outputs, later)
            symbols |= dict(zip(step.outputs, outputs, strict=True))
        else:
            with refusing(graph):
                repeat_call(step, symbols, returned, assembly.layer_of(step, copier))
    copier.finish()
    return assembly.finish([symbols[t] for t in graph.outputs], source.output, model.name)


def _steps(graph: CallGraph, edits: Sequence[Edit]) -> list[_Step]:
    """The calls that remain and the edits, in an order of computation.

    A nested model is one call, unless a place is inside it.
    """
    replaced = {tensor for edit in edits if edit.calls for tensor in edit.outputs}
    read = [tensor for edit in edits for tensor in edit.reads]
    kept = between(graph, [*graph.outputs, *read], replaced)[0]
    _require_alone(graph, edits, set(kept))
    # What is inserted behind a nested model needs no look inside, unless layers inside read it too.
    inserted = [t for edit in edits if not edit.calls for t in edit.outputs if _inside(graph, t)]
    starts = [*graph.inputs, *replaced, *inserted]
    calls = units(graph, kept, starts, [*graph.outputs, *read])
    # The sort is stable: an edit comes after the call that computes its tensor.
    steps: list[tuple[int, _Step]] = [(call.index, call) for call in calls]
    steps += [(graph.tensors[edit.outputs[-1]].maker, edit) for edit in edits]
    return [step for _, step in sorted(steps, key=lambda pair: pair[0])]


def _inside(graph: CallGraph, tensor: int) -> bool:
    """Whether layers of a nested model read a tensor that the same nested model computes."""
    made, users = graph.tensors[tensor].maker, graph.tensors[tensor].users
    return any(
        made in nest.inside and any(user in nest.inside for user in users) for nest in graph.nests
    )


def _expected(
    graph: CallGraph, steps: Sequence[_Step], symbols: Symbols
) -> list[list[keras.KerasTensor]]:
    """What each step will return. Nothing is built.

    Raises:
        CutError: If a shape or dtype does not fit.
    """
    expected = []
    for step in steps:
        if isinstance(step, Edit):
            outputs = _outputs(graph, step, symbols)
            symbols |= dict(zip(step.outputs, outputs, strict=True))
        else:
            with refusing(graph):
                outputs = specify_call(graph, step, symbols)
        expected.append(outputs)
    return expected


def _outputs(graph: CallGraph, edit: Edit, symbols: Symbols) -> list[keras.KerasTensor]:
    read = [symbols[tensor] for tensor in edit.reads]
    require_inputs(edit.name, "accepts" if edit.calls else "returns", read, edit.piece)
    arguments = edit.arguments(symbols)
    require_masks(graph, edit.name, edit.reads, edit.piece, arguments[1])
    try:
        outputs = output_specs(edit.piece, arguments)
    except CutError as error:
        where = "in place of" if edit.calls else "after"
        count = f" (which has {len(edit.reads)} inputs)" if len(edit.reads) > 1 else ""
        raise CutError(
            f"Cannot put {edit.piece.name!r} {where} {edit.name!r}{count}: {error}"
        ) from error
    own = [graph.tensors[t].symbol if edit.calls else symbols[t] for t in edit.outputs]
    same = len(outputs) == len(own) and all(map(fits, own, outputs))
    if not same and (
        len(outputs) != len(own) or not all(is_free_after(graph, t) for t in edit.outputs)
    ):
        advice = (
            f"Pass one that returns what {edit.name!r} returns: shapes are free at a model's ends."
        )
        require_fit(edit.name, "returns", own, edit.piece.name, "returns", outputs, advice)
    return outputs


def _require_apart(graph: CallGraph, edits: Sequence[Edit]) -> None:
    """Refuse edits that overlap."""
    owners: dict[int, Edit] = {}
    for edit in edits:
        for index in edit.calls:
            other = owners.setdefault(index, edit)
            if other is not edit:
                raise CutError(
                    f"The places {other.name!r} and {edit.name!r} of {graph.name!r} overlap: both "
                    f"contain {graph.calls[index].name!r}. Choose one of them."
                )


def _require_needed(graph: CallGraph, edits: Sequence[Edit]) -> None:
    """Refuse places that no output needs: a nested model may have outputs that nothing reads."""
    needed = set(between(graph, graph.outputs, ())[0]) if graph.nests else range(len(graph.calls))
    for edit in edits:
        (out, *_) = edit.outputs
        if graph.tensors[out].maker not in needed and out not in graph.inputs:
            raise CutError(
                f"Cannot change {graph.name!r} at {edit.name!r}: no output of the model needs it."
            )


def _require_alone(graph: CallGraph, edits: Sequence[Edit], kept: set[int]) -> None:
    """Refuse to replace a place if something outside reads a tensor from inside it."""
    for edit in edits:
        inside = set(edit.calls)
        read_from = [
            graph.calls[index].name
            for index in sorted(kept & inside)
            if any(
                not inside.issuperset(graph.tensors[t].users) for t in graph.calls[index].outputs
            )
        ]
        if kept & inside:
            raise CutError(
                f"Cannot replace {edit.name!r} in {graph.name!r}: the output of "
                f"{alternatives(read_from or [edit.name])}, inside it, is also used further down. "
                "Replace a block, or a layer that nothing bypasses."
            )
