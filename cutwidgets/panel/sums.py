"""Sums over the parts of a model that agree with `count_params()`: each weight counts once."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..analysis.costs import Costs
from ..graph.callgraph import CallGraph, weights
from ..graph.frontier import head
from ..structure.anatomy import Anatomy
from ..surgery.build import Section

Sizes = Sequence[Mapping[int, int]]  # for each call, the sizes of its weights by a key for each


def sizes(graph: CallGraph) -> list[dict[int, int]]:
    """For each call, the sizes of its weights. A weight that calls share has the same key in all.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> graph = cw.anatomy(keras.applications.ResNet50(weights=None)).graph
        >>> parameters_of(sizes(graph), range(len(graph.calls)))
        25636712
    """
    return [weights(graph, [call.index]) for call in graph.calls]


def parameters_of(of_calls: Sizes, calls: Iterable[int]) -> int:
    """The number of parameters of some calls."""
    return sum(_merged(of_calls, calls).values())


def _merged(of_calls: Sizes, calls: Iterable[int]) -> dict[int, int]:
    return {key: size for call in calls for key, size in of_calls[call].items()}


@dataclass(frozen=True, slots=True)
class Share:
    """What a block has in a part of a model.

    Attributes:
        block: Position of the block.
        parameters: Number of its parameters there, without those of the blocks before it.
        shared: Positions of the other blocks there that have some of its weights.
        partly: Whether some of its calls lie outside.
    """

    block: int
    parameters: int
    shared: tuple[int, ...]
    partly: bool


def shares(anatomy: Anatomy, of_calls: Sizes, calls: Collection[int]) -> list[Share]:
    """The blocks of a part of a model, in order; the parameters add up to those of the part.

    Args:
        anatomy: The anatomy of the model.
        of_calls: What `sizes` returns.
        calls: Indices of the calls of the part.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> anatomy = cw.anatomy(keras.applications.VGG16(weights=None))
        >>> found = shares(anatomy, sizes(anatomy.graph), range(len(anatomy.graph.calls)))
        >>> sum(share.parameters for share in found), found[0].shared
        (138357544, ())
    """
    inside = set(calls)
    held = {
        i: _merged(of_calls, inside.intersection(block.calls))
        for i, block in enumerate(anatomy)
        if not inside.isdisjoint(block.calls)
    }
    holders: dict[int, list[int]] = {}
    for i, own in held.items():
        for key in own:
            holders.setdefault(key, []).append(i)
    return [
        Share(
            block=i,
            parameters=sum(size for key, size in own.items() if holders[key][0] == i),
            shared=tuple(sorted({other for key in own for other in holders[key]} - {i})),
            partly=not inside.issuperset(anatomy[i].calls),
        )
        for i, own in held.items()
    ]


def totals(part: Section, of_calls: Sizes, costs: Costs | None) -> dict[str, Any]:
    """What head, slice, tail and model have; the first three add up to the model.

    A weight of the slice counts there, another one of the head in the head.

    Args:
        part: The section of the slice.
        of_calls: What `sizes` returns.
        costs: The costs of the model, if they are known; else there are parameters only.

    Returns:
        For `"head"`, `"slice"`, `"tail"` and `"model"`: `"parameters"`; `"shared"`, how many more
        parameters its layers have that count elsewhere; and of the costs `"macs"`, `"bytes"` and
        `"uncounted"`.
    """
    graph = part.graph
    inside = set(part.calls)
    before = head(graph, [*part.inputs, *part.carried]) - inside
    after = set(range(len(graph.calls))) - inside - before
    found: dict[str, Any] = {}
    counted: set[int] = set()
    for name, calls in (("slice", inside), ("head", before), ("tail", after)):
        own = _merged(of_calls, calls)
        found[name] = {
            "parameters": sum(size for key, size in own.items() if key not in counted),
            "shared": sum(size for key, size in own.items() if key in counted),
            **_costs_of(costs, calls),
        }
        counted |= own.keys()
    everything = range(len(graph.calls))
    whole = {"parameters": parameters_of(of_calls, everything), "shared": 0}
    whole |= _costs_of(costs, everything)
    return {"head": found["head"], "slice": found["slice"], "tail": found["tail"], "model": whole}


def _costs_of(costs: Costs | None, calls: Iterable[int]) -> dict[str, Any]:
    if costs is None:
        return {}
    macs, size, uncounted = costs.of_calls(calls)
    return {"macs": macs, "bytes": size, "uncounted": list(uncounted)}


def names_text(names: Sequence[str]) -> str:
    """Names of blocks for a row of a table; of many, how many.

    Example:
        >>> names_text(["a", "b"]), names_text(["a", "b", "c"])
        ('a and b', '3 blocks')
    """
    return " and ".join(names) if len(names) < 3 else f"{len(names)} blocks"
