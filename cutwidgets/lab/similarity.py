"""How similarly the blocks of networks represent the same examples.

Kornblith, Norouzi, Lee, Hinton 2019, "Similarity of neural network representations revisited".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..graph.interpreter import compute
from ..inference.backend import compiled, finite, in_batches
from ..progress import track
from .controls import Control, with_control
from .linear_probes import readable
from .results import Result, for_any_page, frame
from .subjects import Subject, subject

FEWEST = 4  # examples for which HSIC has an unbiased estimate


@dataclass(frozen=True, eq=False, repr=False)
class Similarity(Result):
    """How similarly the blocks of a model, or of two, represent the same examples.

    Columns: block, and one for each block of the other model (or of the same). Rows: the blocks of
    the model. Values: linear CKA, 1 if two blocks differ only by a rotation and a scale, near 0 if
    they have nothing in common, NaN if the output of one is the same for all examples.

    Attributes:
        values: The CKA, float64 (blocks, blocks of the other).
        other: Name of the other model; `None` where the model is compared with itself.
    """

    values: np.ndarray
    other: str | None
    _by_block = False  # as the blocks stand along both axes

    @property
    def finding(self) -> str:
        """The mean CKA of neighbours, or of the best matches between two models; the extreme."""
        values, columns = self.values, self.table.columns[1:]
        rows = self.table.iloc[:, 0]
        if not np.isfinite(values).any():
            return f"{self.name}: the output of each block is the same for all examples."
        if self.other is not None:
            best = np.array([row[np.isfinite(row)].max(initial=-1) for row in values])
            row = int(best.argmax())
            column = int(np.nanargmax(values[row]))
            return (
                f"{self.name} and {self.other}: a block of the one and the most similar block of "
                f"the other have a CKA of {best[best > -1].mean():.2f} on average; the most "
                f"similar are {rows[row]} and {columns[column]} ({values[row, column]:.2f})."
            )
        neighbours = np.diagonal(values, offset=1)
        if not np.isfinite(neighbours).any():
            return f"{self.name}: no two neighbouring blocks vary with the examples."
        least = int(np.nanargmin(neighbours))
        return (
            f"{self.name}: neighbouring blocks have a CKA of {np.nanmean(neighbours):.2f} on "
            f"average; the least similar are {rows[least]} and {rows[least + 1]} "
            f"({neighbours[least]:.2f})."
        )

    def plot(self, *others: Result, axes: Any = None, labels: Sequence[str] | None = None) -> Any:
        """Draw the CKA of all pairs of blocks.

        A dot marks the largest value of each row, where two models are compared.

        Args:
            others: Must be empty: one pair of axes holds one similarity.
            axes: Axes of matplotlib to draw into; `None` for a new figure.
            labels: A name for the model, in a list.

        Returns:
            The axes.

        Raises:
            CutwidgetsError: If there are others.
        """
        if others:
            raise CutwidgetsError(
                "Similarities cannot be drawn on top of each other. Draw each into axes of its "
                "own, or compare two models directly: lab.similarity(model, x, other)."
            )
        return super().plot(axes=axes, labels=labels)

    def _finish(self, axes: Any, legend: bool) -> None:
        """No legend: the colours have a bar of their own."""
        for_any_page(axes)

    def _fill(self, figure: Any) -> None:
        if self.control is None:
            self.plot(axes=figure.subplots())
            return
        left, right = figure.subplots(1, 2)
        replace(self, control=None).plot(axes=left)
        self.control.plot(axes=right)

    def _draw(self, axes: Any, colour: str) -> None:
        # From the smallest value on, so that small differences are visible.
        image = axes.imshow(self.values, vmax=1, cmap="viridis", aspect="auto")
        axes.set_facecolor("0.8")  # visible where there is no value
        for_any_page(axes.figure.colorbar(image, ax=axes, label="CKA").ax)
        axes.set_title(self.name if self.other is None else "", fontsize=8)
        if self.other is not None:
            known = np.isfinite(self.values).any(1)
            best = np.nanargmax(self.values[known], axis=1)
            axes.plot(best, np.flatnonzero(known), "o", color="white", markersize=3)
        rows, columns = self.table.iloc[:, 0].tolist(), self.table.columns[1:].tolist()
        step = -(-len(columns) // 14)
        axes.set_xticks(range(0, len(columns), step), columns[::step], rotation=90, fontsize=7)
        step = -(-len(rows) // 20)  # the plot is wider than it is high
        axes.set_yticks(range(0, len(rows), step), rows[::step], fontsize=7)
        axes.set(xlabel=self.other or "", ylabel="" if self.other is None else self.name)


def similarity(
    model: keras.Model,
    x: Any,
    other: keras.Model | None = None,
    batch: int = 64,
    seed: int = 0,
    *,
    control: Control = None,
) -> Similarity:
    """Measure how similarly all pairs of blocks represent the same examples, by linear CKA.

    CKA compares the similarities between examples in one block with those in another. It does not
    change if features are rotated, reflected or scaled as a whole. It is estimated from minibatches
    by the unbiased estimator of HSIC (Song et al. 2012, "Feature selection via dependence
    maximization"), summed before the ratio is taken (Nguyen, Raghu, Kornblith 2020, "Do wide and
    deep networks learn the same things?"), so it may be slightly negative by chance. Features are
    all numbers of a block's output. Of a block with several outputs the last counts. Blocks whose
    output is not floating-point (tokens, for example) or has no batch axis are left out.

    Args:
        model: A built functional or Sequential model with one output.
        x: Input of the model, with the batch axis.
        other: A model that accepts the same input; `None` to compare the model with itself.
        batch: Size of a minibatch, in which all pairs of examples are compared; at least 4. All
            minibatches are of this size or slightly smaller, so that they count alike, and smaller
            still where features would need more than half a gigabyte.
        seed: Seed by which the examples are distributed over the minibatches, the same way in
            whatever order they come.
        control: A model to do the same with; `True` for `untrained(model, x)`.

    Raises:
        CutwidgetsError: If the data do not fit, or there are fewer than 4 examples.
        UnsupportedModelError: If a model is subclassed, not built or not a Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> model = lab.residual_network(blocks=(2,), width=4)
        >>> result = lab.similarity(model, lab.digits().test[0][:40], batch=20)
        >>> result.table.columns.tolist()
        ['block', 'stem', 'stage1_block1', 'stage1_block2', 'classifier']
        >>> result.values.diagonal().round(6).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    case = subject(model, x)
    other_case = case if other is None else subject(other, x)
    if not isinstance(batch, int) or batch < FEWEST or case.size < FEWEST:
        raise CutwidgetsError(
            f"CKA needs {FEWEST} examples at least, in each minibatch. Received {case.size:,} "
            f"examples, and batch={batch!r}."
        )
    most = min(batch, _most_at_once(case), _most_at_once(other_case))
    number = max(1, min(ceil(case.size / most), case.size // FEWEST))
    minibatches = np.array_split(case.shuffled(seed), number)
    names, grams = _grams(case)
    other_names, other_grams = _grams(other_case)
    both, own, others = 0.0, 0.0, 0.0
    for chosen in track(minibatches, "comparing blocks"):
        one = grams(chosen)
        two = one if other is None else other_grams(chosen)
        both += one @ two.T
        own += (one**2).sum(1)
        others += (two**2).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = both / np.sqrt(np.outer(own, others))
    table = frame(values, other_names)
    # A block of the other model may have the name "block".
    table.insert(0, "block", names, allow_duplicates=True)
    other_name = None if other is None else other_case.anatomy.name
    result = Similarity(case.anatomy.name, table, values, other_name)
    return with_control(result, lambda m: similarity(m, x, other, batch, seed), model, x, control)


def _grams(case: Subject) -> tuple[list[str], Callable[[np.ndarray], np.ndarray]]:
    """Which examples a model's blocks represent alike: U-centred Gram matrices of minibatches.

    Returns:
        The names of the blocks, and a function from the positions of a minibatch's examples to
        matrices, flat, float64 (blocks, examples²), whose products are estimates of HSIC.
    """
    graph, blocks = case.anatomy.graph, readable(case.anatomy)
    ends = [block.exits[-1] for block in blocks]
    widths: list[int] = []

    @compiled
    def function(values: Mapping[int, Any]) -> Any:
        flat = [_flat(value) for value in compute(graph, ends, values)]
        widths[:] = [value.shape[1] for value in flat]
        return keras.ops.concatenate(flat, axis=1)

    def grams(chosen: np.ndarray) -> np.ndarray:
        inputs = {i: array[chosen] for i, array in case.inputs.items()}
        number = len(chosen)
        # In parts, so that a bar moves while they are computed.
        values = finite(graph.name, in_batches(function, inputs, min(case.at_once, number)))
        features = np.split(values, np.cumsum(widths)[:-1], axis=1)
        centred = u_centred(np.stack([gram(value) for value in features]))
        flat: np.ndarray = centred.reshape(len(centred), -1) / np.sqrt(number * (number - 3))
        return flat

    return [block.name for block in blocks], grams


def _most_at_once(case: Subject) -> int:
    """The number of examples whose features at all blocks need half a gigabyte."""
    graph = case.anatomy.graph
    shapes = [graph.tensors[block.exits[-1]].shape for block in readable(case.anatomy)]
    numbers = sum(prod(length or 1 for length in shape[1:]) for shape in shapes)
    return max(FEWEST, 2**27 // numbers)


def _flat(value: Any) -> Any:
    flat = keras.ops.reshape(value, (keras.ops.shape(value)[0], -1))
    return keras.ops.cast(flat, "float32")


def gram(features: np.ndarray) -> np.ndarray:
    """Inner products of all pairs of examples, up to what U-centring removes; float64.

    Args:
        features: (examples, numbers).

    Example:
        >>> gram(np.array([[1.0], [1.0], [3.0]]))[2].tolist()
        [0.0, 0.0, 4.0]
    """
    # U-centring removes any vector that all examples share. Subtracting the first example keeps
    # digits where shared values are large, and gives exact zeros where examples are equal.
    flat = features.astype("float64") - features[:1]
    products: np.ndarray = flat @ flat.T
    return products


def u_centred(grams: np.ndarray) -> np.ndarray:
    """Centre symmetric matrices, leaving out their diagonals, which become zero.

    Székely and Rizzo 2014, "Partial distance correlation with methods for dissimilarities". The
    inner product of two of them divided by n (n - 3) is the unbiased estimate of HSIC.

    Args:
        grams: Matrices, (..., n, n) with n > 2.

    Returns:
        Matrices of the same shape; all rows and columns add up to zero.

    Example:
        >>> abs(u_centred(np.outer(range(4), range(4)) * 1.0).sum(0)).max().round(9)
        np.float64(0.0)
    """
    number = grams.shape[-1]
    off_diagonal = 1 - np.eye(number)
    grams = grams * off_diagonal
    sums = grams.sum(-1, keepdims=True) / (number - 2)
    total = grams.sum((-2, -1), keepdims=True) / ((number - 1) * (number - 2))
    centred: np.ndarray = (grams - sums - np.swapaxes(sums, -2, -1) + total) * off_diagonal
    return centred
