"""How much residual blocks change their input."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ..graph.interpreter import compute
from ..inference.backend import compiled
from .controls import Control, with_control
from .lesions import Lesions
from .results import Result, block_frame
from .subjects import Subject, residual_blocks, subject, the_merge


class NormRatios(Result):
    """How much each residual block changes its input.

    Columns: block, stage, shortcut, ratio (the norm of the branch's output, divided by that of the
    shortcut's), cosine (of the angle between the two), both averaged over the examples.
    """

    _from_zero = True

    @property
    def finding(self) -> str:
        """The ratio in the first, the last, the median and the largest block."""
        ratios = self.table["ratio"]
        largest = self.table.loc[ratios.idxmax()]
        return (
            f"{self.name}: the branch's output is {ratios.median():.2f} times as long as the "
            f"shortcut's (median of {len(ratios)} blocks), {ratios.iloc[0]:.2f} in the first and "
            f"{ratios.iloc[-1]:.2f} in the last; at most {largest['ratio']:.2f} in "
            f"{largest['block']}."
        )

    def rank_correlation(self, lesions: Lesions) -> float:
        """Spearman's rank correlation of the ratio with the error after removing the block.

        Args:
            lesions: Lesions of the same model.

        Returns:
            From -1 to 1; 1 if the blocks that change their input most are also those whose removal
            does most harm.
        """
        both = self.table.merge(lesions.table, on="block")
        return float(both["ratio"].corr(both[lesions.kind], method="spearman"))

    def _draw(self, axes: Any, colour: str) -> None:
        self._curve(axes, colour, "block", "ratio")
        axes.set_ylabel("‖F(x)‖ / ‖x‖")


def norm_ratios(model: keras.Model, x: Any, *, control: Control = None) -> NormRatios:
    """Measure how much each residual block changes its input: ‖F(x)‖ / ‖x‖, and their cosine.

    x is the output of the shortcut (after its projection, if it has one), F(x) what the addition
    adds to it. The ratio falls within a stage, but that is not learned: each normalised branch adds
    a vector of about the same length to a sum that grows as the root of their number, so block l of
    a stage of an untrained network already has a ratio of about 1/√l (De and Smith 2020, "Batch
    normalization biases residual blocks towards the identity function in deep networks"). Compare
    with `control=True`. What training adds is measured by `alignment`.

    Args:
        model: A built functional or Sequential model with one output.
        x: Input of the model, with the batch axis.
        control: A model for comparison; `True` for `untrained(model, x)`.

    Raises:
        CutwidgetsError: If the model has no residual blocks, the data do not fit, or a value in the
            model is not finite.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> result = lab.norm_ratios(lab.residual_network(blocks=(2,)), lab.digits().test[0])
        >>> result.table.columns.tolist()
        ['block', 'stage', 'shortcut', 'ratio', 'cosine']
    """
    case = subject(model, x)
    blocks = residual_blocks(case.anatomy)
    ratios, cosines = changes(case, [the_merge(case.anatomy, block) for block in blocks])
    shortcuts = [block.shortcut for block in blocks]
    table = block_frame(blocks, shortcut=shortcuts, ratio=ratios, cosine=cosines)
    result = NormRatios(case.anatomy.name, table)
    return with_control(result, lambda other: norm_ratios(other, x), model, x, control)


def changes(case: Subject, pairs: Sequence[tuple[int, int]]) -> tuple[list[float], list[float]]:
    """The length and the direction of changes of tensors, averaged over the examples.

    Args:
        case: The model and the data.
        pairs: Indices of tensors of equal shape: x + F(x), and x.

    Returns:
        For each pair ‖F(x)‖ / ‖x‖ and the cosine of F(x) and x; NaN where one of them is always
        zero.
    """
    graph, ends = case.anatomy.graph, [tensor for pair in pairs for tensor in pair]

    def function(values: Mapping[int, Any]) -> Any:
        vectors = map(flat, compute(graph, ends, values))
        both = zip(vectors, vectors, strict=True)
        return keras.ops.stack([products(merged - x, x) for merged, x in both], axis=1)

    branch, shortcut, product = np.moveaxis(case.computed(compiled(function)), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios, cosines = branch / shortcut, product / (branch * shortcut)
    return [_mean(values) for values in ratios.T], [_mean(values) for values in cosines.T]


def flat(tensor: Any) -> Any:
    """A tensor as a vector for each example, float32 (examples, numbers)."""
    ops = keras.ops
    return ops.cast(ops.reshape(tensor, (ops.shape(tensor)[0], -1)), "float32")


def products(one: Any, other: Any) -> Any:
    """For each example the norms of two vectors, and their inner product: (examples, 3)."""
    ops = keras.ops
    norms = [ops.sqrt(ops.sum(vector * vector, axis=1)) for vector in (one, other)]
    return ops.stack([*norms, ops.sum(one * other, axis=1)], axis=1)


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
