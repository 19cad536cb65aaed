"""How much a network needs each of its blocks, by four measures."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ..blocks.blocks import Block
from ..graph.interpreter import compute
from ..inference.backend import compiled
from ..progress import track
from ..surgery.removal import swap_of
from .interventions import gated
from .norm_ratios import changes
from .subjects import Subject, the_loss, the_merge

MEASURES = ("lesion", "influence", "ratio", "random")


def importances(case: Subject, blocks: Sequence[Block], by: str, seed: int = 0) -> list[float]:
    """The importance of each block; larger is more important.

    Args:
        case: The model and the data.
        blocks: Blocks that can be removed.
        by: One of `MEASURES`, which `lab.prune` explains.
        seed: Seed of `"random"`.

    Raises:
        CutwidgetsError: If a layer does not accept the data, or a value is not finite.

    Example:
        >>> from cutwidgets import lab
        >>> from cutwidgets.lab.subjects import lesionable, subject
        >>> case = subject(lab.residual_network(blocks=(2,)), lab.digits().test[0])
        >>> blocks = lesionable(case.anatomy)
        >>> values = importances(case, blocks, "influence")
        >>> len(values), all(0 < value < 1 for value in values)
        (2, True)
    """
    if by == "lesion":
        return _harms(case, blocks)
    if by == "influence":
        return _influences(case, blocks)
    if by == "ratio":
        ends = [
            the_merge(case.anatomy, block) if block.shortcut else _swap(case, block)
            for block in blocks
        ]
        # A block whose shortcut passes only zeros makes the whole output.
        return [float("inf") if ratio != ratio else ratio for ratio in changes(case, ends)[0]]
    return list(map(float, np.random.default_rng(seed).random(len(blocks))))


def _harms(case: Subject, blocks: Sequence[Block]) -> list[float]:
    """By how much the loss is larger without each block; without labels, the output's change."""
    without = gated(case, blocks)
    whole = without([])
    outputs = (without([block.name]) for block in track(blocks, "removing blocks"))
    if case.labels is None:
        return [case.score(output, whole) for output in outputs]
    base = _mean_loss(case, whole)
    return [_mean_loss(case, output) - base for output in outputs]


def _mean_loss(case: Subject, output: np.ndarray) -> float:
    """The loss of an example, on average."""
    if case.kind == "squared error":
        return case.score(output, output)  # in double precision
    assert case.labels is not None
    tensors = map(keras.ops.convert_to_tensor, (output.astype("float32"), case.labels))
    return float(the_loss(case, *tensors)) / case.size


def _influences(case: Subject, blocks: Sequence[Block]) -> list[float]:
    """One minus the mean cosine of a block's output and what its removal puts in its place."""
    graph = case.anatomy.graph
    ends = [tensor for block in blocks for tensor in _swap(case, block)]

    def function(values: Mapping[int, Any]) -> Any:
        tensors = iter(compute(graph, ends, values))
        pairs = zip(tensors, tensors, strict=True)
        return keras.ops.stack([_cosines(graph.channel_axis, *p) for p in pairs], axis=1)

    sums = case.computed(compiled(function)).astype("float64").sum(0)
    # Where nothing but zeros goes in and comes out, the block changes nothing.
    return [1 - float(total / count) if count else 0.0 for total, count in sums]


def _cosines(axis: int, one: Any, other: Any) -> Any:
    """For each example the sum of the cosines at all positions, and the number of positions.

    Positions where both vectors are zero are left out.
    """
    ops = keras.ops
    axis = axis if len(one.shape) > 2 else -1
    one, other = ops.cast(one, "float32"), ops.cast(other, "float32")
    products = [ops.sum(a * b, axis=axis) for a, b in ((one, other), (one, one), (other, other))]
    product, *squares = (ops.reshape(value, (ops.shape(value)[0], -1)) for value in products)
    norms = [ops.sqrt(square) for square in squares]
    lengths = norms[0] * norms[1]
    cosine = ops.where(lengths > 0, product / ops.where(lengths > 0, lengths, 1.0), 0.0)
    counts = ops.cast(norms[0] + norms[1] > 0, "float32")
    return ops.stack([ops.sum(cosine, axis=1), ops.sum(counts, axis=1)], axis=1)


def _swap(case: Subject, block: Block) -> tuple[int, int]:
    """The tensor that a removal replaces, and the one that takes its place."""
    swap = swap_of(case.anatomy.graph, block)
    assert not isinstance(swap, str)
    return swap
