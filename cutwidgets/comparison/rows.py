"""What differs between two models: a row for each block, and for layers of blocks that differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..blocks.blocks import Block
from ..graph.callgraph import Call
from ..structure.anatomy import Anatomy
from ..structure.places import first_and_last
from ..text import shape_text
from .alignment import Status, Step
from .pairs import pair_calls, rewired
from .signatures import Known, Signature, signature_of
from .weights import Change, change_of, total


@dataclass(frozen=True, slots=True)
class Difference:
    """A block or a layer of one model, of the other, or of both.

    Attributes:
        status: `"same"`, `"changed"`, `"added"`, `"removed"` or `"moved"`: of the structure. Layers
            of the same structure may have other weights.
        block: Name of the block in the first model; `""` if it was added.
        other: Name of its counterpart in the second model; `""` if it was removed.
        layer: Name of the layer in the first model, or in the second if it was added; `""` in the
            row of a block. A row of a layer without a block is an input or output of the models.
        details: What changed.
        weight_change: For the same structure, how far the weights and statistics are apart:
            ‖ΔW‖ / ‖W‖, with Frobenius norms over all of them together; 0 for equal values, infinite
            where all weights were 0, `None` for another structure or without weights.
        output_difference: On the input, ‖Δy‖ / ‖y‖ of the block's output; `None` without an input,
            or for outputs of other shapes.
        stage: Name of the block's stage; `""` without one.
    """

    status: Status
    block: str
    other: str
    layer: str = ""
    details: str = ""
    weight_change: float | None = None
    output_difference: float | None = None
    stage: str = ""

    @property
    def is_equal(self) -> bool:
        """Whether structure and weights are the same."""
        return self.status == "same" and self.weight_change in (None, 0)


Outputs = Mapping[int | None, float]  # by the position of a block in the first model

# For each layer, by the model that it is in and its id, its counterpart in the other model.
Partners = dict[tuple[bool, int], Any]


def rows_of(
    one: Anatomy, other: Anatomy, steps: Sequence[Step], outputs: Outputs, known: Known
) -> list[Difference]:
    """A row for each block, followed by rows for its layers if the block differs.

    Args:
        one: The anatomy of the first model.
        other: That of the second.
        steps: What `pair_blocks` returns.
        outputs: The differences of outputs that were measured.
        known: See `signature_of`.
    """
    wires = rewired(one, other, steps)
    rows = [*_inputs(one, other, steps), *_outputs(one, other, steps)]
    partners: Partners = {}
    for step in steps:
        a = None if step.one is None else one[step.one]
        b = None if step.other is None else other[step.other]
        row = _row(step.status, a, b)
        inside: list[Difference] = []
        if a is not None and b is not None:
            row, inside = _compared(row, a, b, known)
            row = replace(row, output_difference=outputs.get(step.one))
            if tied := _tied_otherwise(a, b, partners):
                text = f"{tied!r} shares its weights with other layers in one of the models alone"
                row = replace(row, status="changed", details=_joined([row.details, text]))
        if step.one in wires and step.status == "changed":
            before, after = wires[step.one]
            row = replace(row, details=_joined([f"reads {after!r}, not {before!r}", row.details]))
        if row.status == "changed" and not row.details:
            row = replace(row, details="the same layers, connected in another way")
        rows += [row, *inside]
    return rows


def _tied_otherwise(one: Block, other: Block, partners: Partners) -> str | None:
    """The name of a layer with weights that is called again in one model, and not in the other."""
    calls, others = _calls(one), _calls(other)
    if [call.kind for call in calls] != [call.kind for call in others]:
        return None
    for a, b in zip(calls, others, strict=True):
        if _has_weights(a):
            for first, layer, partner in ((True, a.layer, b.layer), (False, b.layer, a.layer)):
                if partners.setdefault((first, id(layer)), partner) is not partner:
                    return a.name
    return None


def _inputs(one: Anatomy, other: Anatomy, steps: Sequence[Step]) -> list[Difference]:
    """A row for inputs of the models that the same blocks read, if they look different."""
    changes = {}
    for step in steps:
        if step.one is not None and step.other is not None:
            for a, b in zip(one[step.one].entries, other[step.other].entries, strict=False):
                if a in one.graph.inputs and b in other.graph.inputs:
                    before, after = _looks(one, a), _looks(other, b)
                    if before != after:
                        changes[a] = f"{before} → {after}"
    return [
        Difference("changed", block="", other="", layer=one.graph.maker(tensor).name, details=text)
        for tensor, text in changes.items()
    ]


def _outputs(one: Anatomy, other: Anatomy, steps: Sequence[Step]) -> list[Difference]:
    """Rows for outputs that other blocks compute, though the blocks of before are still there."""
    (made, names), (other_made, other_names) = map(_makers, (one, other))
    if len(made) != len(other_made):
        text = f"{', '.join(names)} → {', '.join(other_names)}"
        return [Difference("changed", "", "", layer="outputs", details=text)]
    stays = {s.one: s.other for s in steps if s.status in ("same", "changed")}
    stay = set(stays.values())
    return [
        Difference("changed", "", "", layer=f"output {i}", details=f"{names[i]} → {other_names[i]}")
        for i, (a, b) in enumerate(zip(made, other_made, strict=True))
        if a in stays and b in stay and stays[a] != b
    ]


def _makers(anatomy: Anatomy) -> tuple[list[int], list[str]]:
    """The positions of the blocks that compute a model's outputs, and the names of the layers."""
    blocks = {tensor: i for i, block in enumerate(anatomy) for tensor in block.exits}
    outputs = anatomy.graph.outputs
    names = [anatomy.graph.maker(tensor).name for tensor in outputs]
    return [blocks.get(tensor, -1) for tensor in outputs], names


def _looks(anatomy: Anatomy, tensor: int) -> str:
    symbol = anatomy.graph.tensors[tensor]
    lengths = "×".join("?" if length is None else str(length) for length in symbol.shape[1:])
    return f"{lengths or 'scalar'} {symbol.dtype}"


def _row(status: Status, one: Block | None, other: Block | None) -> Difference:
    name, counterpart = (block.name if block else "" for block in (one, other))
    stage = next((block.stage for block in (one, other) if block and block.stage), None)
    return Difference(status, name, counterpart, stage=stage or "")


def _compared(
    row: Difference, one: Block, other: Block, known: Known
) -> tuple[Difference, list[Difference]]:
    """The row of a block that both models have, and the rows of its layers that differ."""
    calls, others = _calls(one), _calls(other)
    same = [signature_of(c, known) for c in calls] == [signature_of(c, known) for c in others]
    if not same:
        inside = [_layer(row, step, calls, others, known) for step in pair_calls(one, other, known)]
        return replace(row, details=_summary(inside)), inside
    pairs = {(id(a.layer), id(b.layer)): (a, b) for a, b in zip(calls, others, strict=True)}
    changes = [(a, b, change_of(a.layer, b.layer)) for a, b in pairs.values()]
    changes = [entry for entry in changes if entry[2] != Change() or _has_weights(entry[0])]
    if not changes:
        return row, []
    whole = total(change for *_, change in changes).relative
    inside = [
        replace(row, status="same", layer=a.name, weight_change=change.relative)
        for a, _, change in changes
        if change.relative != 0
    ]
    return replace(row, weight_change=whole), inside


def _layer(
    row: Difference, step: Step, calls: Sequence[Call], others: Sequence[Call], known: Known
) -> Difference:
    """The row of a layer in a block that has another structure."""
    a = None if step.one is None else calls[step.one]
    b = None if step.other is None else others[step.other]
    names = [call.name for call in (a, b) if call is not None]
    row = replace(row, status=step.status, layer=names[0])
    if a is None or b is None:
        return row
    if step.status == "changed":
        return replace(row, details=_settings(signature_of(a, known), signature_of(b, known)))
    change = change_of(a.layer, b.layer)
    return replace(row, weight_change=change.relative) if _has_weights(a) else row


def _calls(block: Block) -> list[Call]:
    return [block.graph.calls[index] for index in block.calls]


def _has_weights(call: Call) -> bool:
    return bool(getattr(call.layer, "weights", ()))


def _settings(one: Signature, other: Signature) -> str:
    """Which settings of a layer changed, and to what."""
    texts = [f"{one.kind} → {other.kind}"] if one.kind != other.kind else []
    before, after = dict(one.config), dict(other.config)
    if one.kind == other.kind:
        texts += [
            f"{name}: {_short(before.get(name))} → {_short(after.get(name))}"
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name)
        ]
    if one.shapes != other.shapes:
        texts.append(f"weights: {_shapes(one)} → {_shapes(other)}")
    if one.constants != other.constants:
        texts.append(f"arguments: {_short(one.constants)} → {_short(other.constants)}")
    return "; ".join(texts)


def _short(text: str | None) -> str:
    if text is None:
        return "nothing"
    return text if len(text) < 40 else f"{text[:36]} …"


def _shapes(signature: Signature) -> str:
    shapes = [shape_text((None, *shape)) for shape in signature.shapes]
    return ", ".join(shapes[:4]) + (" …" if shapes[4:] else "") if shapes else "none"


def _summary(layers: Sequence[Difference]) -> str:
    """How many layers of a block were changed, added, removed and moved, and which."""
    texts = []
    for status in ("changed", "added", "removed", "moved"):
        names = [row.layer for row in layers if row.status == status]
        if names:
            count = f"{len(names)} layer{'s' * (len(names) > 1)} {status}"
            texts.append(f"{count}: {first_and_last(names)}")
    return "; ".join(texts)


def _joined(texts: Sequence[str]) -> str:
    return "; ".join(filter(None, texts))
