"""Whether residual blocks move features down the loss, as steps of gradient descent do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from ..blocks.blocks import Block
from ..graph.interpreter import Edit, compute
from ..inference.backend import compiled
from ..inference.backend import gradients as slopes
from .controls import Control, with_control
from .norm_ratios import flat, products
from .results import CONTROL, Result, block_frame
from .subjects import Subject, labelled, residual_blocks, the_loss, the_merge

_LABELS = -1  # the key of the labels among the inputs, whose keys are indices of tensors


class Alignment(Result):
    """How well each residual block's branch points down the loss.

    Columns: block, stage, shortcut, alignment (the cosine of the angle between F(x) and −∂L/∂x,
    averaged over the examples; NaN where it is defined for none of them).
    """

    @property
    def finding(self) -> str:
        """The mean over all blocks, and over those of the last stage."""
        values = self.table["alignment"]
        stages = self.table["stage"].tolist()
        last = self.table[[stage == stages[-1] for stage in stages]]
        return (
            f"{self.name}: the cosine between a block's F(x) and the negative gradient of the loss "
            f"is {values.mean():.3f} on average over {len(values)} blocks, and "
            f"{last['alignment'].mean():.3f} over the {len(last)} of the last stage (1: each block "
            "is a step of gradient descent; 0: it has nothing to do with the loss)."
        )

    def _draw(self, axes: Any, colour: str) -> None:
        if colour != CONTROL:
            axes.axhline(0, color=CONTROL, linewidth=0.8, linestyle=":")
        self._curve(axes, colour, "block", "alignment")
        axes.set_ylabel("cos(F(x), −∂L/∂x)")


def alignment(
    model: keras.Model,
    x: Any,
    y: Any,
    *,
    measure: str | None = None,
    control: Control = None,
) -> Alignment:
    """Measure whether residual blocks move features down the loss: cos(F(x), −∂L/∂x).

    x is the output of the shortcut (after its projection, if it has one), F(x) what the block adds
    to it, and L the loss of the whole model, in inference mode. To first order, a block lowers the
    loss by the inner product of the two. Jastrzębski et al. 2018, "Residual connections encourage
    iterative inference", measure the same cosine (section 4), and conclude that blocks move
    features along the negative gradient, and that it is the higher ones that refine. In an
    untrained network the cosine is about 0.

    Args:
        model: A built functional or Sequential model with one output. It is not changed.
        x: Input of the model, with the batch axis.
        y: Classes as integers or one-hot; yes or no for each of several classes; or numbers of the
            output's shape.
        measure: `"error"`, `"wrong decisions"` or `"squared error"`, which determines the loss;
            `None` to choose by the labels.
        control: A model for comparison; `True` for `untrained(model, x)`.

    Raises:
        CutwidgetsError: If the model has no residual blocks, the data do not fit, a gradient is not
            finite, or the backend of Keras is neither TensorFlow nor JAX.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> result = lab.alignment(lab.residual_network(blocks=(2,)), *lab.digits().test)
        >>> result.table.columns.tolist()
        ['block', 'stage', 'shortcut', 'alignment']
    """
    case = labelled(model, x, y, measure)
    blocks = residual_blocks(case.anatomy)
    table = block_frame(
        blocks,
        shortcut=[block.shortcut for block in blocks],
        alignment=cosines(case, blocks),
    )
    result = Alignment(case.anatomy.name, table)
    return with_control(result, lambda m: alignment(m, x, y, measure=measure), model, x, control)


def cosines(case: Subject, blocks: Sequence[Block]) -> list[float]:
    """The mean of cos(F(x), −∂L/∂x) over all examples, for each of some residual blocks.

    An example counts for a block if neither vector is zero: a loss that is as low as its numbers
    can tell has no gradient.

    Args:
        case: The model and the data, with labels.
        blocks: Residual blocks.

    Raises:
        CutwidgetsError: If a layer does not accept these values, or a gradient is not finite.

    Example:
        >>> from cutwidgets import lab
        >>> case = labelled(lab.residual_network(blocks=(2,)), *lab.digits().test)
        >>> [abs(value) < 1 for value in cosines(case, residual_blocks(case.anatomy))]
        [True, True]
    """
    with_labels = replace(case, inputs={**case.inputs, _LABELS: case.targets})
    products = with_labels.computed(compiled(_function(case, blocks))).astype("float64")
    branch, slope, both = np.moveaxis(products, -1, 0)
    lengths = branch * slope
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(lengths > 0, -both / lengths, np.nan)
    return [float(np.nanmean(v)) if np.isfinite(v).any() else float("nan") for v in values.T]


def _function(case: Subject, blocks: Sequence[Block]) -> Callable[[Mapping[int, Any]], Any]:
    """From inputs and labels to (examples, blocks, 3): two norms and an inner product."""
    graph = case.anatomy.graph
    merges, shortcuts = zip(*(the_merge(case.anatomy, block) for block in blocks), strict=True)
    places = list(dict.fromkeys(shortcuts))  # two blocks may have one tensor as their shortcut

    def function(values: Mapping[int, Any]) -> Any:
        inputs = {index: value for index, value in values.items() if index != _LABELS}
        tensors = compute(graph, [*merges, *places], inputs)
        merged, at = tensors[: len(merges)], dict(zip(places, tensors[len(merges) :], strict=True))

        def loss(zeros: list[Any]) -> Any:
            # Add a zero to each x: the gradient there is that of the zero.
            added = dict(zip(places, zeros, strict=True))
            edits = {t: Edit(lambda value, zero=zero: value + zero) for t, zero in added.items()}
            starts = {t: value + added[t] if t in added else value for t, value in inputs.items()}
            (output,) = compute(graph, graph.outputs, starts, edits)
            return the_loss(case, output, values[_LABELS])

        zeros = [keras.ops.zeros_like(at[place]) for place in places]
        slope_at = dict(zip(places, slopes(loss, zeros), strict=True))
        rows = [
            products(flat(merge) - flat(at[shortcut]), _scaled(flat(slope_at[shortcut])))
            for merge, shortcut in zip(merged, shortcuts, strict=True)
        ]
        return keras.ops.stack(rows, axis=1)

    return function


def _scaled(slope: Any) -> Any:
    """Vectors with 1 as their largest number: products of tiny gradients would underflow."""
    ops = keras.ops
    size = ops.max(ops.abs(slope), axis=1, keepdims=True)
    return slope / ops.where(size > 0, size, ops.ones_like(size))
