"""Names that a part of a model takes from its layers."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..graph.callgraph import Call, CallGraph, parameters
from .blocks import Block
from .layer_names import beginnings, common_begin, is_automatic


@dataclass(frozen=True)
class Names:
    """The names of a part's layers, without those that Keras chose.

    Attributes:
        all: The names, in call order.
        weighted: Those of layers with weights.
        nameless: The number of layers with weights that Keras named.
    """

    all: tuple[str, ...]
    weighted: tuple[str, ...]
    nameless: int

    @cached_property
    def beginnings(self) -> Counter[str]:
        """How many of the names of layers with weights begin with the same words."""
        return beginnings(self.weighted)

    @cached_property
    def shared(self) -> tuple[str | None, str | None]:
        """What all names begin with, and what those of layers with weights begin with."""
        return common_begin(self.all), common_begin(self.weighted)


def names_of(graph: CallGraph, calls: Iterable[int]) -> Names:
    """The names of the layers that are called."""
    own, weighted, nameless = [], [], 0
    for call in map(graph.calls.__getitem__, calls):
        has_weights = parameters(graph, [call.index]) > 0
        if is_automatic(call.own_name, call.kind):
            nameless += has_weights
            continue
        own.append(call.name)
        if has_weights:
            weighted.append(call.name)
    return Names(tuple(own), tuple(weighted), nameless)


def together(parts: Iterable[Names]) -> Names:
    """The names of several parts."""
    parts = list(parts)
    return Names(
        tuple(name for part in parts for name in part.all),
        tuple(name for part in parts for name in part.weighted),
        sum(part.nameless for part in parts),
    )


class Owners:
    """Tells whether the beginning of a name belongs to one part of a model.

    It does if no other part has layers with weights that are named so. One other part may have a
    few of them if the beginning is numbered: the layer that leaves `down1` may open `down2`.

    Args:
        parts: The names of all parts.
    """

    def __init__(self, parts: Iterable[Names]) -> None:
        inside = [part.beginnings for part in parts]
        self._layers = Counter[str]()
        for counts in inside:
            self._layers.update(counts)
        self._parts = Counter(begin for counts in inside for begin in counts)

    def owns(self, part: Names, begin: str) -> bool:
        """Whether a beginning belongs to a part."""
        return self._has(begin, part.beginnings[begin])

    def most_common(self, part: Names) -> str | None:
        """The beginning that belongs to a part, and that most of its layers with weights have.

        It is no layer's whole name.
        """
        inside = part.beginnings.copy()
        for name in part.all:
            inside.pop(name, None)
        half = (len(part.weighted) + part.nameless) / 2
        owned = [begin for begin, n in inside.items() if n > half and self._has(begin, n)]
        return max(owned, key=lambda begin: (inside[begin], len(begin)), default=None)

    def _has(self, begin: str, inside: int) -> bool:
        if self._layers[begin] == inside:
            return True
        most = 2 * inside > self._layers[begin] and self._parts[begin] == 2
        return most and begin[-1].isdigit()


def name_after_layers(
    graph: CallGraph,
    blocks: Sequence[Block],
    parts: Sequence[Names],
    names: list[str | None],
    taken: Collection[str],
    *,
    alone: bool,
) -> None:
    """Name blocks after all of their layers, or those with weights, or at last after most of these.

    No name stands for two blocks, nor for a layer that reads or computes something else.

    Args:
        graph: The call graph.
        blocks: Its blocks.
        parts: The names of each block's layers.
        names: The names of the blocks; it is completed.
        taken: Names that no block can have.
        alone: Whether the name has to belong to the block, as `Owners` says.
    """
    calls = {call.name: call for call in graph.calls}
    owners = Owners(parts)
    suggestions = [(*part.shared, owners.most_common(part)) for part in parts]
    for suggested in zip(*suggestions, strict=True):
        times = Counter(suggested)
        there = {*taken, *names}
        for i, name in enumerate(suggested):
            if names[i] or not name or times[name] > 1 or name in there:
                continue
            is_clear = name not in calls or means(blocks[i], calls[name])
            if is_clear and (not alone or owners.owns(parts[i], name)):
                names[i] = name


def means(block: Block, call: Call) -> bool:
    """Whether a layer's name and a block's stand for the same place."""
    return block.calls == (call.index,) or (block.entries, block.exits) == (
        call.inputs,
        call.outputs,
    )
