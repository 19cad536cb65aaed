"""Branches of a network that compute one output of the model each."""

from collections.abc import Sequence

from ..graph.callgraph import CallGraph, connected, entering, leaving, parameters
from .ends import classifier_start, collapses, has_weights, predicts
from .regions import Region

# Owner of a call that several outputs need.
_SHARED = -1


def branches(graph: CallGraph) -> list[tuple[int, ...]]:
    """The calls of branches that only one output of the model needs, each read from one tensor.

    The heads of a detector are such branches: one for each level of its pyramid and each output,
    in which they are joined. The end of the network itself is no such branch.

    Returns:
        The indices of the calls of each branch, ascending.
    """
    outputs = list(dict.fromkeys(graph.outputs))
    if len(outputs) < 2:
        return []
    owned = _owned(graph, outputs)
    found: list[tuple[int, ...]] = []
    single: list[tuple[int, ...]] = []
    for output in outputs:
        parts, joint = _parts(graph, owned[output], output)
        if any(len(entering(graph, part)) != 1 or not _weights(graph, part) for part in parts):
            continue
        if len(parts) > 1:
            *others, last = parts
            found += [*others, tuple(sorted((*last, *joint)))]
        elif parts and _weights(graph, parts[0]) > 1:
            branch = tuple(sorted((*parts[0], *joint)))
            single += [branch] if len(entering(graph, branch)) == 1 else []
    return sorted(found + _beside(graph, single))


def branch_kind(graph: CallGraph, chain: Sequence[Region]) -> str | None:
    """The kind of a chain that is a branch with an output of its own; `None` for any other.

    Args:
        graph: The call graph.
        chain: All regions of a line that does not begin at the model's inputs.
    """
    calls = [index for region in chain for index in region.calls]
    entry, exits = chain[0].entry, leaving(graph, sorted(calls))
    if len(set(graph.outputs)) < 2 or entry is None or len(exits) != 1:
        return None
    is_beside = entry in graph.outputs or not set(calls).issuperset(graph.tensors[entry].users)
    weighted = [region for region in chain if has_weights(graph, region)]
    changes = sum(graph.calls[index].stride != 1 for index in calls)
    if not is_beside or not weighted or changes > 1:
        return None
    pools = any(collapses(graph, region) for region in chain)
    classifies = pools and classifier_start(graph, list(chain), False) is not None
    return "classifier" if classifies and predicts(graph, weighted[-1]) else "head"


def _owned(graph: CallGraph, outputs: Sequence[int]) -> dict[int, list[int]]:
    """For each output the calls that no other output needs, ascending."""
    owner: dict[int, int] = {}
    owned: dict[int, list[int]] = {output: [] for output in outputs}
    inputs = {graph.tensors[tensor].maker for tensor in graph.inputs}
    for call in reversed(graph.calls):
        reached = {tensor for tensor in call.outputs if tensor in owned}
        users = (user for tensor in call.outputs for user in graph.tensors[tensor].users)
        reached.update(owner[user] for user in users if user in owner)
        if reached:
            owner[call.index] = reached.pop() if len(reached) == 1 else _SHARED
        if call.index not in inputs and owner.get(call.index, _SHARED) != _SHARED:
            owned[owner[call.index]].append(call.index)
    return {output: calls[::-1] for output, calls in owned.items()}


def _parts(
    graph: CallGraph, calls: Sequence[int], output: int
) -> tuple[list[tuple[int, ...]], list[int]]:
    """The parts of calls that are joined without weights right before an output, and the joint."""
    inside = set(calls)
    joint: list[int] = []
    tensor = output
    while graph.tensors[tensor].maker in inside:
        call = graph.maker(tensor)
        if parameters(graph, [call.index]):
            break
        joint.append(call.index)
        if len(call.inputs) != 1:
            break
        (tensor,) = call.inputs
    merges = bool(joint) and len(graph.calls[joint[-1]].inputs) > 1
    left = inside.difference(joint) if merges else inside
    return [tuple(part) for part in connected(graph, left)], sorted(joint) if merges else []


def _weights(graph: CallGraph, calls: Sequence[int]) -> int:
    """The number of calls with weights."""
    return sum(parameters(graph, [index]) > 0 for index in calls)


def _beside(graph: CallGraph, single: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The branches that do not continue the network itself.

    Of the branches that read one tensor, the longest may be the rest of the network beside an early
    exit. It counts as a branch only if another one is about as long.
    """
    sizes: dict[int, list[int]] = {}
    for calls in single:
        sizes.setdefault(entering(graph, calls)[0], []).append(_weights(graph, calls))
    result = []
    for calls in single:
        (entry,) = entering(graph, calls)
        size = _weights(graph, calls)
        others = sorted(sizes[entry])
        others.remove(size)
        if others and size <= 2 * others[-1]:
            result.append(calls)
    return result
