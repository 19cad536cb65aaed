"""Cut points, and the regions between them: pure graph work, no Keras.

One pass over the calls keeps the set of live tensors; where a single one is live lies a cut point.
Between two neighbouring cut points lies a region: a single call, or branches that end in a merge.
What the branches are merged by says what the region is. What comes in from the side, as into the
decoder of a U-Net, does not make branches: only what depends on the tensor that enters counts.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ..graph.callgraph import Call, CallGraph

WEIGHTED = frozenset(
    {"convolution", "depthwise", "fully connected", "recurrent", "attention", "embedding"}
)

BRANCHED = frozenset({"residual", "inception", "dense", "branched"})


@dataclass(frozen=True, slots=True)
class Region:
    """Calls between two neighbouring cut points.

    Attributes:
        role: The call's own role for a single call; `"residual"`, `"inception"`, `"dense"` or
            `"branched"` for branches, and `"gate"` for branches that are multiplied, or that hold
            no weights: a straight chain may hold them like any call.
        calls: Indices of its calls, ascending; those that lead into it from the side among them.
        entry: Index of the tensor that enters; `None` where nothing does.
        exit: Index of the tensor that leaves.
        shortcut: For a residual region, `"identity"`, `"pooling"` or `"projection"`.
        shortcut_tensor: For a residual region, the tensor that its merge adds to the branch.
        branch: For a residual region, the calls of its residual branch.
        opens: Whether a block begins here unless the network's own pattern tells otherwise.
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
    graph: CallGraph, calls: Iterable[int], sources: Iterable[int], sinks: Iterable[int]
) -> list[int]:
    """Tensors that every path from the sources to the sinks passes through, in order.

    Args:
        graph: The call graph.
        calls: Indices of the calls between sources and sinks, ascending.
        sources: Indices of the tensors that are there before the first call.
        sinks: Indices of the tensors that are asked for.

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
    calls = list(calls)
    sinks = set(sinks)
    inside = set(calls)
    unread = {}

    def makes_live(tensors: Iterable[int]) -> set[int]:
        for tensor in tensors:
            users = graph.tensors[tensor].users
            # A sink is wanted after the last call, so its count never comes down to zero.
            unread[tensor] = sum(user in inside for user in users) + (tensor in sinks)
        return {tensor for tensor in tensors if unread[tensor]}

    live = makes_live(list(sources))
    found = list(live) if len(live) == 1 else []
    for index in calls:
        call = graph.calls[index]
        for tensor in call.inputs:
            if tensor in unread:
                unread[tensor] -= 1
                if not unread[tensor]:
                    live.discard(tensor)
        live |= makes_live(call.outputs)
        if len(live) == 1 and found[-1:] != list(live):
            found += live
    return found


def regions(
    graph: CallGraph, calls: Sequence[int], sources: Sequence[int], sinks: Sequence[int]
) -> list[Region]:
    """Divide calls at their cut points; the arguments are those of `cut_points`.

    Calls behind the last cut point, where several outputs of the model part, make a last region.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> x = keras.Input((8,))
        >>> y = keras.layers.Add()([x, keras.layers.Dense(8)(x)])
        >>> graph = read(keras.Model(x, keras.layers.ReLU()(y)))
        >>> [region.role for region in regions(graph, [1, 2, 3], graph.inputs, graph.outputs)]
        ['residual', 'activation']
    """
    found = []
    entry = sources[0] if len(sources) == 1 else None
    done = 0
    for point in cut_points(graph, calls, sources, sinks):
        # All that a cut point depends on stands before it, in every order of computation.
        end = bisect_right(calls, graph.tensors[point].maker)
        if end > done:
            found.append(region(graph, calls[done:end], entry, point))
            done = end
        entry = point
    if done < len(calls):
        found.append(Region("branched", tuple(calls[done:]), entry, sinks[0]))
    return found


def region(graph: CallGraph, calls: Sequence[int], entry: int | None, exit: int) -> Region:
    """What lies between two cut points, by what its branches are merged by."""
    merge = graph.maker(exit)
    if len(calls) == 1:
        return Region(merge.role, tuple(calls), entry, exit)
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
    """Those of the calls that need a tensor, directly or by other calls among them."""
    known = {entry}
    found = []
    for index in calls:
        call = graph.calls[index]
        if not known.isdisjoint(call.inputs):
            found.append(index)
            known.update(call.outputs)
    return found


def _adds(graph: CallGraph, merge: Call, entry: int) -> bool:
    """Whether a merge adds a residual branch to a shortcut."""
    if len(merge.inputs) < 2:
        return False
    # A layer that we do not know, such as InceptionResNetV2's scale-and-add, may do it as well.
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
