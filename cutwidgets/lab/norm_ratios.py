"""How much residual blocks change what they are given."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pandas as pd

from ..graph.interpreter import compute
from ..inference.backend import compiled, in_batches
from .labels import residual_blocks, subject, the_merge
from .lesions import Lesions
from .results import Result, by_block


class NormRatios(Result):
    """How much each residual block changes what it is given.

    Columns: block, stage, shortcut, ratio (the length of what the branch adds, divided by that of
    what the shortcut passes), cosine (of the angle between the two), both means over the examples.
    """

    _from_zero = True

    @property
    def finding(self) -> str:
        """How the ratio goes from the first to the last block."""
        ratios = self.table["ratio"]
        largest = self.table.loc[ratios.idxmax()]
        return (
            f"{self.name}: a branch adds a vector {ratios.median():.2f} times as long as what the "
            f"shortcut passes (median of {len(ratios)} blocks), {ratios.iloc[0]:.2f} in the first "
            f"and {ratios.iloc[-1]:.2f} in the last; at most {largest['ratio']:.2f} in "
            f"{largest['block']}."
        )

    def rank_correlation(self, lesions: Lesions) -> float:
        """Spearman's rank correlation of the ratio with what a model loses without the block.

        Args:
            lesions: Lesions of the same model.

        Returns:
            From -1 to 1, where 1 says that the block that changes most is missed most.
        """
        both = self.table.merge(lesions.table, on="block")
        return float(both["ratio"].corr(both[lesions.kind], method="spearman"))

    def _draw(self, axes: Any, colour: str) -> None:
        blocks, ratios = self.table["block"], self.table["ratio"]
        axes.plot(blocks, ratios, "o-", color=colour, markersize=4, label=self.name)
        axes.set_ylabel("‖F(x)‖ / ‖x‖")
        by_block(axes)


def norm_ratios(model: keras.Model, x: Any) -> NormRatios:
    """How much each residual block changes what it is given: ‖F(x)‖ / ‖x‖, and their cosine.

    x is what the shortcut passes (behind its projection, where it has one), F(x) what the addition
    adds to it. Where networks refine an estimate step by step, the ratio is small and falls with
    depth (Greff, Srivastava, Schmidhuber 2017, "Highway and residual networks learn unrolled
    iterative estimation"; Jastrzębski et al. 2018, "Residual connections encourage iterative
    inference").

    Args:
        model: A built functional or Sequential model with one output.
        x: Input of the model, with the batch axis.

    Raises:
        CutwidgetsError: If the model has no residual blocks, or the data do not fit.
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> found = lab.norm_ratios(lab.residual_network(blocks=(2,)), lab.digits().test[0])
        >>> found.table.columns.tolist()
        ['block', 'stage', 'shortcut', 'ratio', 'cosine']
    """
    seen = subject(model, x)
    graph, blocks = seen.anatomy.graph, residual_blocks(seen.anatomy)
    merges = [the_merge(seen.anatomy, block) for block in blocks]
    ends = [tensor for merge in merges for tensor in merge]

    def function(values: Mapping[int, Any]) -> Any:
        found = iter(compute(graph, ends, values))
        return keras.ops.stack([_lengths(*pair) for pair in zip(found, found, strict=True)], axis=1)

    lengths = in_batches(compiled(function), seen.given, seen.at_once)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = lengths[..., 0] / lengths[..., 1]
        cosines = lengths[..., 2] / (lengths[..., 0] * lengths[..., 1])
    rows = [
        {
            "block": block.name,
            "stage": block.stage,
            "shortcut": block.shortcut,
            # Where the shortcut passes nothing but zeros there is no ratio.
            "ratio": _mean(ratios[:, i]),
            "cosine": _mean(cosines[:, i]),
        }
        for i, block in enumerate(blocks)
    ]
    return NormRatios(seen.anatomy.name, pd.DataFrame(rows))


def _lengths(both: Any, shortcut: Any) -> Any:
    """For each example the lengths of branch and shortcut, and their product."""
    shortcut = keras.ops.cast(
        keras.ops.reshape(shortcut, (keras.ops.shape(shortcut)[0], -1)), "float32"
    )
    both = keras.ops.cast(keras.ops.reshape(both, (keras.ops.shape(both)[0], -1)), "float32")
    branch = both - shortcut
    products = [(branch, branch), (shortcut, shortcut), (branch, shortcut)]
    squares = [keras.ops.sum(one * other, axis=1) for one, other in products]
    return keras.ops.stack(
        [keras.ops.sqrt(squares[0]), keras.ops.sqrt(squares[1]), squares[2]], axis=1
    )


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
