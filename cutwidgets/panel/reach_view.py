"""What the page shows of the ends that a slice cannot have: why, and what works instead."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..blocks.blocks import Block
from ..errors import BypassedCutError, CutwidgetsError
from ..graph.callgraph import between
from ..graph.frontier import head
from ..structure import reach
from ..structure.anatomy import Anatomy
from ..structure.places import PlaceLike, resolve
from ..surgery.build import Section
from ..surgery.slicing import section
from .ends import each, title, without
from .slice_view import block_with

ALLOW_BYPASS = "Let skip connections become extra inputs"


def ends(anatomy: Anatomy, start: PlaceLike, block: str | None = None) -> dict[str, Any]:
    """The ends that slices from one start cannot have, and why.

    Args:
        anatomy: The anatomy of the model.
        start: Any place.
        block: The name of a block whose layers are meant too, if any.

    Returns:
        The reasons: for `"blocks"` by their positions, for `"layers"` of the block by their names;
        nothing for a start that the model does not have.

    Raises:
        UnknownPlaceError: If the model has no such block.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> found = ends(anatomy, "conv5_block3_2_conv", "conv5_block3")
        >>> found["blocks"][17]["names"], found["layers"]["conv5_block3_1_conv"]["kind"]
        (['conv5_block2_out'], 'before')
    """
    layers = [] if block is None else [anatomy.graph.calls[i].name for i in anatomy[block].calls]
    try:
        first = resolve(anatomy, start)
    except CutwidgetsError:
        return {}
    found = reach.Reach(anatomy.graph, first.entries, first.calls)
    wires = _Wires(anatomy)

    def reasons(places: Mapping[Any, Sequence[int]]) -> dict[Any, dict[str, Any]]:
        refusals = {place: found.refusal(exits) for place, exits in places.items()}
        return {place: wires.reason(why) for place, why in refusals.items() if why}

    return {
        "blocks": reasons({i: other.exits for i, other in enumerate(anatomy)}),
        "layers": reasons({name: resolve(anatomy, name).exits for name in layers}),
    }


class _Wires:
    """What reads a tensor, as the diagrams of the blocks and of their layers draw it."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._anatomy = anatomy
        self._block_of = {call: i for i, block in enumerate(anatomy) for call in block.calls}

    def reason(self, refusal: reach.Refusal) -> dict[str, Any]:
        return {"kind": refusal.kind} | self.described(refusal.tensors, refusal.readings)

    def described(
        self, tensors: Iterable[int], readings: Iterable[reach.Reading]
    ) -> dict[str, Any]:
        """The layers that compute some tensors, and the wires to what reads them."""
        makers = (self._anatomy.graph.maker(tensor).name for tensor in tensors)
        wires = [self._wire(tensor, reader) for tensor, reader in readings]
        return {"names": list(dict.fromkeys(makers)), "wires": wires}

    def _wire(self, tensor: int, reader: int) -> dict[str, Any]:
        maker = self._anatomy.graph.tensors[tensor].maker
        into = self._block_of.get(reader, -1)
        return {
            "tensor": tensor,
            "maker": maker,
            "reader": reader,
            "source": self._block_of.get(maker, -1),
            "block": into,
            "shortcut": into >= 0 and self._is_shortcut(self._anatomy[into], tensor, reader),
        }

    def _is_shortcut(self, block: Block, tensor: int, reader: int) -> bool:
        """Whether the shortcut of a block, and not its branch, reads a tensor there."""
        if block.shortcut_tensor is None:
            return False
        graph = self._anatomy.graph
        if block.shortcut_tensor == tensor:
            return graph.calls[reader].role == "addition"
        return reader in between(graph, [block.shortcut_tensor], block.entries)[0]


def refusal(
    anatomy: Anatomy,
    error: Exception,
    names: Sequence[Any],
    places: Sequence[Any],
    allow_bypass: bool,
) -> dict[str, Any]:
    """What makes a cut impossible, and what the user can do instead.

    Args:
        anatomy: The anatomy of the model.
        error: Why there is no slice.
        names: The selection.
        places: The same as places: some tensors are not found by their names.
        allow_bypass: As for `cut`.

    Returns:
        `"actions"`: each has a `"label"` and what it sets, `"selection"` or `"allow_bypass"`, so
        that there is a slice. `"reason"`: why the end cannot be reached from the start. If skip
        connections are in the way, also `"crossing"`, which ones, and `"nearest"`, the nearest
        slices.
    """
    actions = _actions(anatomy, names, places, allow_bypass)
    shown = {"actions": actions, **_reason(anatomy, places)}
    if not isinstance(error, BypassedCutError):
        return shown
    graph, start = anatomy.graph, resolve(anatomy, places[0])
    bypassing = (
        call
        for call in map(graph.calls.__getitem__, sorted(head(graph, start.entries)))
        if call.name in error.bypasses
    )
    calls = start.calls or graph.tensors[start.entries[0]].users
    nearest = [(place, names[1]) for place in error.nearest]
    slices = [{"label": title(pair), "selection": pair} for pair in nearest]
    return shown | {
        "crossing": {
            "makers": [block_with(anatomy, [maker.index]) for maker in bypassing],
            "start": max(0, block_with(anatomy, calls)),
        },
        "nearest": nearest,
        "actions": [*actions, *slices],
    }


def _reason(anatomy: Anatomy, places: Sequence[PlaceLike]) -> dict[str, Any]:
    """Why a slice from one place cannot end at others, unless one of them is no place at all."""
    try:
        start, *ends = (resolve(anatomy, place) for place in (places[0], *each(places[1])))
    except CutwidgetsError:
        return {}
    found = reach.Reach(anatomy.graph, start.entries, start.calls)
    reasons = filter(None, (found.refusal(end.exits) for end in ends))
    why = next(reasons, None)
    return {} if why is None else {"reason": _Wires(anatomy).reason(why)}


def extra(anatomy: Anatomy, part: Section, start: PlaceLike) -> dict[str, Any]:
    """The inputs that a slice has beside those of its start, and what reads them.

    Args:
        anatomy: The anatomy of the model.
        part: The section of the slice.
        start: Its start, as `cut` received it.
    """
    own = resolve(anatomy, start).entries
    others = [tensor for tensor in part.inputs if tensor not in own]
    return _Wires(anatomy).described(others, reach.readings(part.graph, part.calls, others))


def _actions(
    anatomy: Anatomy, names: Sequence[Any], places: Sequence[Any], allow_bypass: bool
) -> list[dict[str, Any]]:
    """Swap the ends, allow the bypass, or both, where that gives a slice."""
    if len(each(names[1])) > 1:
        return _actions_for_several(anatomy, names, places, allow_bypass)
    swapped = {"selection": list(reversed(names))}
    backwards = list(reversed(places))
    bypass = {"allow_bypass": True}
    choices: list[tuple[str, Sequence[Any], dict[str, Any]]] = [
        (ALLOW_BYPASS, places, bypass),
        ("Swap start and end", backwards, swapped),
        (
            "Swap start and end, and let skip connections become extra inputs",
            backwards,
            swapped | bypass,
        ),
    ]
    if _has_section(anatomy, places, allow_bypass):
        return []  # something else is in the way
    for label, ends, values in choices:
        if _has_section(anatomy, ends, values.get("allow_bypass", allow_bypass)):
            return [{"label": label, **values}]
    return []


def _actions_for_several(
    anatomy: Anatomy, names: Sequence[Any], places: Sequence[Any], allow_bypass: bool
) -> list[dict[str, Any]]:
    """Allow the bypass, or leave out one of several ends, where that gives a slice."""
    if _has_section(anatomy, places, allow_bypass):
        return []  # something else is in the way
    actions: list[dict[str, Any]] = []
    if _has_section(anatomy, places, True):
        actions.append({"label": ALLOW_BYPASS, "allow_bypass": True})
    for i, name in enumerate(each(names[1])):
        if _has_section(anatomy, [places[0], without(places[1], i)], allow_bypass):
            rest = [names[0], without(names[1], i)]
            actions.append({"label": f"Leave out {name}", "selection": rest})
    return actions


def _has_section(anatomy: Anatomy, places: Sequence[Any], allow_bypass: bool) -> bool:
    try:
        section(anatomy, *places, allow_bypass=allow_bypass)
    except CutwidgetsError:
        return False
    return True
