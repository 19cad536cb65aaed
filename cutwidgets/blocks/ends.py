"""The ends of networks: what computes an output of the model from the features before it."""

from collections.abc import Sequence

from ..graph.callgraph import Call, CallGraph, parameters
from .regions import Region

_POOLING = frozenset({"pooling", "global pooling"})


def split_end(
    graph: CallGraph, chain: Sequence[Region], alone: bool
) -> tuple[list[Region], str, list[Region]]:
    """Split off the end of a chain that computes an output of the model.

    Args:
        graph: The call graph.
        chain: Single calls and gates in sequence.
        alone: Whether the chain is an entire network, or an entire tower of one.

    Returns:
        What comes before the end, the kind of the end, and the end itself; it is empty if the chain
        ends in features. The kind is `"classifier"` from global pooling, flattening or the choice
        of one token on, `"head"` for any other output, `"top"` for what ends a tower.
    """
    chain = list(chain)
    start = classifier_start(graph, chain, alone)
    is_output = bool(chain) and chain[-1].exit in graph.outputs
    kind = "top" if not is_output else "classifier"
    if start is None and is_output:
        start, kind = _head_start(graph, chain, alone), "head"
    elif start is not None and is_output:
        kind = "classifier" if _classifies(graph, chain, start) else "head"
    if start is None or (kind == "top" and not alone):
        return chain, "", []
    return chain[:start], kind, chain[start:]


def classifier_start(graph: CallGraph, chain: list[Region], alone: bool) -> int | None:
    """Where the calls begin that turn features of the whole input into a prediction."""
    weighted = [i for i, region in enumerate(chain) if has_weights(graph, region)]
    joins = [i for i, region in enumerate(chain) if collapses(graph, region)]
    if not joins or not weighted:
        return None
    start = joins[0]
    if alone and len(weighted) > 1 and start < weighted[0]:
        # A perceptron that flattens its image first: its hidden layers are separate blocks.
        start = weighted[-1]
    elif start in weighted:
        start += 1  # the last state of a recurrent layer
    start = max([start, *(i for i in range(start, len(chain)) if chain[i].opens)])
    later = [chain[i] for i in weighted if i >= start]
    if later:
        flat = all(_is_flat(graph, region) and _is_collapsed(graph, region) for region in later)
        return start if flat else None
    last = chain[weighted[-1]]
    normalized = any(region.role == "normalization" for region in chain[weighted[-1] :])
    if weighted[-1] < start and predicts(graph, last) and not normalized:
        # A 1×1 convolution for each class, and the mean of each (Lin et al. 2014, NiN).
        return weighted[-1]
    return None


def _classifies(graph: CallGraph, chain: list[Region], start: int) -> bool:
    """Whether the end of a chain classifies: if there are several outputs, each may be no class."""
    if len(set(graph.outputs)) == 1:
        return True
    follows_state = start > 0 and chain[start - 1].role == "recurrent"
    pools = follows_state or any(collapses(graph, region) for region in chain[start:])
    return pools and predicts(graph, [r for r in chain if has_weights(graph, r)][-1])


def _head_start(graph: CallGraph, chain: list[Region], alone: bool) -> int | None:
    """Where the calls begin that predict something for each position, or compare two inputs."""
    weighted = [i for i, region in enumerate(chain) if has_weights(graph, region)]
    if not weighted or (alone and len(weighted) == 1):
        return None
    start = last = weighted[-1]
    later = {region.role for region in chain[last + 1 :]}
    if later & {"normalization", *_POOLING}:
        return None
    if not predicts(graph, chain[last]) and not _draws(graph, chain[last]):
        return None
    for i in reversed(weighted[:-1]) if not alone else ():
        between = chain[i:start]
        if not _is_flat(graph, chain[i]) or any(region.role in _POOLING for region in between):
            break
        start = i
    before = chain[:start]
    if [region.role for region in before[-2:]] == ["normalization", "activation"]:
        # After a convolution, they belong to it.
        start -= 0 if any(has_weights(graph, region) for region in before[-3:-2]) else 2
    if not alone and not parameters(graph, [i for region in chain[:start] for i in region.calls]):
        start = 0
    return max([start, *(i for i in range(start, last + 1) if chain[i].opens)])


def has_weights(graph: CallGraph, region: Region) -> bool:
    """Whether a region has weights; those of a normalization alone do not count."""
    return region.role != "normalization" and parameters(graph, region.calls) > 0


def collapses(graph: CallGraph, region: Region) -> bool:
    """Whether a call makes one vector of all positions, or chooses one of them."""
    if region.role in {"global pooling", "flatten"}:
        return True
    if region.entry is None or (region.role != "recurrent" and has_weights(graph, region)):
        return False
    return len(graph.tensors[region.entry].shape) > 2 == len(graph.tensors[region.exit].shape)


def _is_collapsed(graph: CallGraph, region: Region) -> bool:
    """Whether a call reads a single position."""
    if region.entry is None:
        return False
    shape = graph.tensors[region.entry].shape
    return len(shape) == 2 or _positions(graph, shape) == {1}


def _positions(graph: CallGraph, shape: Sequence[int | None]) -> set[int | None]:
    channels = graph.channel_axis % len(shape)
    return {length for axis, length in enumerate(shape) if axis not in (0, channels)}


def _is_flat(graph: CallGraph, region: Region) -> bool:
    """Whether a call computes each position from that position alone."""
    call = graph.maker(region.exit)
    return len(region.calls) == 1 and (
        call.role == "fully connected" or (_is_convolution(call) and call.pointwise)
    )


def _is_convolution(call: Call) -> bool:
    return call.role == "convolution" and call.stride == 1


def _width(graph: CallGraph, tensor: int | None) -> int | None:
    return None if tensor is None else graph.tensors[tensor].shape[graph.channel_axis]


def predicts(graph: CallGraph, region: Region) -> bool:
    """Whether a call computes other quantities from those of each position."""
    return _is_flat(graph, region) and _width(graph, region.entry) != _width(graph, region.exit)


def _draws(graph: CallGraph, region: Region) -> bool:
    """Whether a convolution ends in far fewer channels than any features have, as a picture has."""
    call = graph.maker(region.exit)
    width = _width(graph, region.exit)
    if len(region.calls) != 1 or not _is_convolution(call) or width is None:
        return False
    features = [
        _width(graph, tensor)
        for other in graph.calls
        if other.index != call.index and parameters(graph, [other.index])
        for tensor in other.outputs
    ]
    return 2 * width <= min((f for f in features if f is not None), default=0)
