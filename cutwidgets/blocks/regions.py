"""Cut points, and the regions between them.

A cut point is a place with a single live tensor. Between two neighbouring cut points lies a region:
a single call, or branches that end in a merge. The merge decides the role of the region. Tensors
that join from the side, as in the decoder of a U-Net, make no branches: only calls that depend on
the region's entry count.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ..graph.callgraph import Call, CallGraph
from ..graph.frontier import Frontier

WEIGHTED = frozenset(
    {"convolution", "depthwise", "fully connected", "recurrent", "attention", "embedding"}
)

BRANCHED = frozenset({"residual", "inception", "dense", "branched"})


@dataclass(frozen=True, slots=True)
class Region:
    """Calls between two neighbouring cut points.

    Attributes:
        role: For a single call, its own role; for branches `"residual"`, `"inception"`, `"dense"`
            or `"branched"`, and `"gate"` if they are multiplied or have no weights. A straight
            chain may contain a gate, as it may any single call.
        calls: Indices of its calls, ascending, including those that lead into it from the side.
        entry: Index of the tensor that enters; `None` if there is none.
        exit: Index of the tensor that leaves.
        shortcut: For a residual region, `"identity"`, `"pooling"` or `"projection"`.
        shortcut_tensor: For a residual region, the tensor that its merge adds to the branch.
        branch: For a residual region, the calls of its residual branch.
        opens: Whether a block begins here, unless the network's own pattern contradicts.
    """

    role: str
    calls: tuple[int, ...]
    entry: int | None
    exit: int
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
        return Region(merge.role, tuple(calls), entry, exit)
    if entry is not None and _adds(graph, merge, entry):
        return Region(
            "residual", tuple(calls), entry, exit, *_shortcut(graph, calls, inside, entry, merge)
        )
    role = {
        "multiplication": "gate",
        "concatenation": "dense" if entry in merge.inputs else "inception",
    }.get(merge.role, "branched")
    if not any(graph.calls[index].role in WEIGHTED for index in calls):
        role = "gate"
    return Region(role, tuple(calls), entry, exit)


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


def _adds(graph: CallGraph, merge: Call, entry: int) -> bool:
    """Whether a merge adds a residual branch to a shortcut."""
    if len(merge.inputs) < 2:
        return False
    # A layer of unknown role may add as well, such as InceptionResNetV2's scale-and-add.
    shapes = {graph.tensors[tensor].shape for tensor in (*merge.inputs, *merge.outputs)}
    unknown_sum = merge.role == "other" and entry in merge.inputs and len(shapes) == 1
    return merge.role == "addition" or unknown_sum


def _shortcut(
    graph: CallGraph, calls: Collection[int], inside: Collection[int], entry: int, merge: Call
) -> tuple[str, int, tuple[int, ...]]:
    """The shortcut's kind and tensor, and the calls of the residual branch.

    The shortcut is the path with the fewest weighted calls, then the fewest calls. Its kind and the
    branch are those of the paths that come from the region's entry; its tensor may also be a skip
    that joins from the side, as in a decoder.
    """
    paths = {tensor: _path(graph, set(calls), tensor) for tensor in merge.inputs}
    own = [
        path.intersection(inside)
        for tensor, path in paths.items()
        if tensor == entry or graph.tensors[tensor].maker in inside
    ]

    def length(path: set[int]) -> tuple[int, int]:
        return sum(graph.calls[index].role in WEIGHTED for index in path), len(path)

    shortest = min(own, key=length)
    roles = {graph.calls[index].role for index in shortest}
    kind = "identity" if not roles else "pooling" if roles == {"pooling"} else "projection"
    tensor = min(paths, key=lambda tensor: length(paths[tensor]))
    return kind, tensor, tuple(sorted(set().union(*own) - shortest))


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
