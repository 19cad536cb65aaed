"""Cut points, and the regions between them.

A cut point is a place with a single live tensor. Between two neighbouring cut points lies a region:
a single call, or branches that end in a merge. The merge decides the role of the region. Tensors
that join from the side, as in the decoder of a U-Net, make no branches: only calls that depend on
the region's entry count.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ..graph.callgraph import Call, CallGraph, parameters
from ..graph.frontier import Frontier

BRANCHED = frozenset({"residual", "inception", "dense", "branched"})


@dataclass(frozen=True, slots=True)
class Region:
    """Calls between two neighbouring cut points.

    Attributes:
        role: For a single call, its own role; for branches `"residual"`, `"inception"`, `"dense"`
            or `"branched"`; `"gate"` if they are multiplied or have no weights; `"addition"` if
            their result is added to a skip of the network. A straight chain may contain the last
            two, as it may any single call.
        calls: Indices of its calls, ascending, including those that lead into it from the side.
        entry: Index of the tensor that enters; `None` if there is none.
        exit: Index of the tensor that leaves.
        weighted: For a single call, and for what is added to a skip of the network, whether it
            mixes what it reads by weights.
        shortcut: For a residual region, the kind of its shortcut, as of a `Block`.
        shortcut_tensor: For a residual region, the tensor that its merge adds to the branch.
        branch: For a residual region, the calls of its residual branch.
        opens: Whether a block begins here, unless the network's own pattern contradicts.
    """

    role: str
    calls: tuple[int, ...]
    entry: int | None
    exit: int
    weighted: bool = False
    shortcut: str | None = None
    shortcut_tensor: int | None = None
    branch: tuple[int, ...] = ()
    opens: bool = False


def cut_points(
    graph: CallGraph, calls: Sequence[int], sources: Iterable[int], sinks: Iterable[int]
) -> list[int]:
    """Tensors that every path from the sources to the sinks passes through, in order.

    Args:
        graph: The call graph.
        calls: Indices of the calls between sources and sinks, ascending.
        sources: Indices of the tensors that exist before the first call.
        sinks: Indices of the tensors that the calls are to compute.

    Returns:
        Indices of tensors, a single source first and a single sink last.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> x = keras.Input((8,))
        >>> y = keras.layers.Dense(8)(x)
        >>> graph = read(keras.Model(x, keras.layers.Add()([x, y])))
        >>> cut_points(graph, [1, 2], graph.inputs, graph.outputs)
        [0, 2]
    """
    frontier = Frontier(graph, calls, sources, sinks)
    points = [*frontier.live] if len(frontier.live) == 1 else []
    for index in calls:
        frontier.advance([index])
        if len(frontier.live) == 1 and points[-1:] != [*frontier.live]:
            points += frontier.live
    return points


def regions(
    graph: CallGraph, calls: Sequence[int], sources: Sequence[int], sinks: Sequence[int]
) -> list[Region]:
    """Divide calls at their cut points; the arguments are those of `cut_points`.

    Calls after the last cut point, from which several outputs diverge, form the last region.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> x = keras.Input((8,))
        >>> y = keras.layers.Add()([x, keras.layers.Dense(8)(x)])
        >>> graph = read(keras.Model(x, keras.layers.ReLU()(y)))
        >>> [region.role for region in regions(graph, [1, 2, 3], graph.inputs, graph.outputs)]
        ['residual', 'activation']
    """
    divided = []
    entry = sources[0] if len(sources) == 1 else None
    done = 0
    for point in cut_points(graph, calls, sources, sinks):
        # In every order of computation, the calls that a cut point depends on precede it.
        end = bisect_right(calls, graph.tensors[point].maker)
        if end > done:
            divided.append(region(graph, calls[done:end], entry, point))
            done = end
        entry = point
    if done < len(calls):
        divided.append(Region("branched", tuple(calls[done:]), entry, sinks[0]))
    return divided


def region(graph: CallGraph, calls: Sequence[int], entry: int | None, exit: int) -> Region:
    """The region between two cut points; the merge of its branches decides its role."""
    merge = graph.maker(exit)
    inside = calls if entry is None else depending(graph, calls, entry)
    if len(inside) <= 1:
        return Region(merge.role, tuple(calls), entry, exit, merge.weighted)
    weighted = any(graph.calls[index].weighted for index in calls)
    normalized = any(graph.calls[index].role == "normalization" for index in inside)
    if entry is not None and (weighted or normalized) and _adds(graph, merge, inside, entry):
        kind, tensor, branch = _shortcut(graph, calls, inside, entry, merge)
        maker = graph.tensors[tensor].maker
        if tensor != entry and maker not in inside and kind != "identity":
            # What the region computes is added to a skip of the network, not to what enters.
            return Region(merge.role, tuple(calls), entry, exit, weighted)
        if not branch:
            return Region("branched", tuple(calls), entry, exit)
        return Region(
            "residual", tuple(calls), entry, exit,
            shortcut=kind, shortcut_tensor=tensor, branch=branch,
        )  # fmt: skip
    role = {
        "multiplication": "gate",
        "concatenation": "dense" if entry in merge.inputs else "inception",
    }.get(merge.role, "branched")
    return Region(role if weighted else "gate", tuple(calls), entry, exit)


def depending(graph: CallGraph, calls: Iterable[int], entry: int) -> list[int]:
    """The calls, of those listed, that depend on a tensor, directly or through each other."""
    tensors = {entry}
    dependents = []
    for index in calls:
        call = graph.calls[index]
        if not tensors.isdisjoint(call.inputs):
            dependents.append(index)
            tensors.update(call.outputs)
    return dependents


def _adds(graph: CallGraph, merge: Call, inside: Sequence[int], entry: int) -> bool:
    """Whether a merge adds a residual branch to a shortcut.

    A user's own layer may add as well, such as InceptionResNetV2's scale-and-add. It counts as a
    sum if it has no weights and all the tensors that it reads and computes have one shape.
    """
    if len(merge.inputs) < 2:
        return False
    if merge.role == "addition":
        return True
    own = {entry, *(tensor for index in inside for tensor in graph.calls[index].outputs)}
    shapes = {graph.tensors[tensor].shape for tensor in (*merge.inputs, *merge.outputs)}
    known = merge.role != "other" or merge.weighted
    return not known and len(shapes) == 1 and len(own.intersection(merge.inputs)) > 1


def _shortcut(
    graph: CallGraph, calls: Collection[int], inside: Collection[int], entry: int, merge: Call
) -> tuple[str, int, tuple[int, ...]]:
    """The shortcut's kind and tensor, and the calls of the residual branch.

    The shortcut is the path with the fewest weighted calls, then the fewest calls. Its kind and the
    branch are those of the paths that come from the region's entry; its tensor may also be a skip
    that joins from the side, as in a decoder. There is no branch if all paths weigh the same, as
    mean and noise in the latent space of a variational autoencoder.
    """
    paths = {tensor: _path(graph, set(calls), tensor) for tensor in merge.inputs}
    own = {
        tensor: path.intersection(inside)
        for tensor, path in paths.items()
        if tensor == entry or graph.tensors[tensor].maker in inside
    }

    def length(path: set[int]) -> tuple[int, int]:
        return sum(graph.calls[index].weighted for index in path), len(path)

    shortest = min(own, key=lambda tensor: length(own[tensor]))
    tensor = min(paths, key=lambda tensor: length(paths[tensor]))
    branch = set().union(*own.values()) - own[shortest]
    kind = _kind(graph, own[shortest], entry, shortest)
    if kind == "projection" and _weigh_the_same(graph, [*own.values()]):
        branch = set()
    return kind, tensor, tuple(sorted(branch))


def _weigh_the_same(graph: CallGraph, paths: Sequence[Collection[int]]) -> bool:
    weighted = {sum(graph.calls[index].weighted for index in path) for path in paths}
    if len(paths) < 2 or len(weighted) > 1:
        return False
    return len({parameters(graph, path) for path in paths}) == 1


def _kind(graph: CallGraph, path: Collection[int], entry: int, end: int) -> str:
    """What a shortcut from one tensor to another does."""
    if parameters(graph, path):
        return "projection"
    before, after = graph.tensors[entry].shape, graph.tensors[end].shape
    width, wider = before[graph.channel_axis], after[graph.channel_axis]
    if len(before) == len(after) and width and wider and width < wider:
        return "padding"
    changes = before != after or any(graph.calls[index].role == "pooling" for index in path)
    return "pooling" if changes else "identity"


def _path(graph: CallGraph, inside: set[int], tensor: int) -> set[int]:
    """The calls inside a region that a tensor depends on."""
    path: set[int] = set()
    pending = [graph.tensors[tensor].maker]
    while pending:
        index = pending.pop()
        if index in inside and index not in path:
            path.add(index)
            pending += [graph.tensors[read].maker for read in graph.calls[index].inputs]
    return path
