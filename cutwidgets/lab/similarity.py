"""How alike the blocks of networks represent the same examples.

Kornblith, Norouzi, Lee, Hinton 2019, "Similarity of neural network representations revisited".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd

from ..errors import CutwidgetsError
from ..graph.interpreter import compute
from ..inference.backend import compiled, finite, in_batches
from ..progress import track
from .labels import Subject, names_of, subject
from .linear_probes import readable
from .results import Result

_FEWEST = 4  # examples for which HSIC has an unbiased estimate


@dataclass(frozen=True, eq=False, repr=False)
class Similarity(Result):
    """How alike the blocks of a model, or of two, represent the same examples.

    Columns: block, and one for each block of the other model (or of the same), a row for each block
    of the model: their linear CKA, 1 where they differ by a rotation and a scale, near 0 where they
    have nothing in common. NaN where a block gives the same for all examples.

    Attributes:
        values: The CKA, float64 (blocks, blocks of the other).
        other: Name of the other model; `None` where the model is compared with itself.
    """

    values: np.ndarray
    other: str | None

    @property
    def _rows(self) -> list[str]:
        return list(self.table.iloc[:, 0])

    @property
    def _columns(self) -> list[str]:
        return list(self.table.columns[1:])

    @property
    def finding(self) -> str:
        """How alike neighbours are, and which are least; of two models, which are most."""
        if not np.isfinite(self.values).any():
            return f"{self.name}: the blocks give the same for all examples."
        if self.other is not None:
            best = np.array([row[np.isfinite(row)].max(initial=-1) for row in self.values])
            row = int(best.argmax())
            column = int(np.nanargmax(self.values[row]))
            return (
                f"{self.name} and {self.other}: a block of the one and the block of the other that "
                f"is most like it have a CKA of {best[best > -1].mean():.2f} in the mean; most "
                f"alike are {self._rows[row]} and {self._columns[column]} "
                f"({self.values[row, column]:.2f})."
            )
        neighbours = np.diagonal(self.values, offset=1)
        if not np.isfinite(neighbours).any():
            return f"{self.name}: no two neighbouring blocks vary with the examples."
        least = int(np.nanargmin(neighbours))
        return (
            f"{self.name}: neighbouring blocks have a CKA of {np.nanmean(neighbours):.2f} in the "
            f"mean; least alike are {self._rows[least]} and {self._rows[least + 1]} "
            f"({neighbours[least]:.2f})."
        )

    def plot(self, *others: Result, axes: Any = None) -> Any:
        """Draw the CKA of all pairs of blocks.

        Args:
            others: Nothing: two of these cannot be drawn into the same axes.
            axes: Axes of matplotlib to draw into; `None` for a new figure.

        Returns:
            The axes.

        Raises:
            CutwidgetsError: If there are others.
        """
        if others:
            raise CutwidgetsError(
                "Similarities cannot be drawn above each other. Draw each into axes of its own, or "
                "compare two models with each other: lab.similarity(model, x, other)."
            )
        return super().plot(axes=axes)

    def _draw(self, axes: Any, colour: str) -> None:
        image = axes.imshow(self.values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
        axes.set_facecolor("0.8")  # what shows where there is no value
        axes.figure.colorbar(image, ax=axes, label="CKA")
        step = -(-len(self._columns) // 27)
        axes.set_xticks(
            range(0, len(self._columns), step), self._columns[::step], rotation=90, fontsize=7
        )
        step = -(-len(self._rows) // 20)  # the picture is wider than it is high
        axes.set_yticks(range(0, len(self._rows), step), self._rows[::step], fontsize=7)
        axes.set_ylabel("" if self.other is None else self.name)
        axes.set_xlabel(self.other or "")


def similarity(
    model: keras.Model, x: Any, other: keras.Model | None = None, batch: int = 64
) -> Similarity:
    """Measure how alike all pairs of blocks represent the same examples, by linear CKA.

    CKA compares which examples a block finds alike with which ones another does. It does not change
    if features are rotated, reflected or scaled as a whole. It is estimated from minibatches, by
    the unbiased estimator of HSIC (Song et al. 2012, "Feature selection via dependence
    maximization"), summed before the ratio is taken (Nguyen, Raghu, Kornblith 2020, "Do wide and
    deep networks learn the same things?"); by chance it may so be a little below zero. Features are
    all numbers of a block's output. Of a block with several outputs the last is looked at; blocks
    whose output is made of no floating numbers, as tokens are, or has no batch axis are left out.

    Args:
        model: A built functional or Sequential model with one output.
        x: Input of the model, with the batch axis.
        other: A model that takes the same input; `None` to compare the model with itself.
        batch: How many examples are compared with each other, all pairs of them. Of the last ones
            4 at least must be left, or they are not used.

    Raises:
        CutwidgetsError: If the data do not fit, or there are less than 4 examples.
        UnsupportedModelError: If a model is subclassed, not built or no Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> model = lab.residual_network(blocks=(2,), width=4)
        >>> found = lab.similarity(model, lab.digits().test[0][:40], batch=20)
        >>> found.table.columns.tolist()
        ['block', 'stem', 'stage1_block1', 'stage1_block2', 'classifier']
        >>> found.values.diagonal().round(6).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    seen = subject(model, x)
    others = seen if other is None else subject(other, x)
    if not isinstance(batch, int) or batch < _FEWEST or seen.size < _FEWEST:
        raise CutwidgetsError(
            f"CKA is estimated from {_FEWEST} examples at least, in each minibatch. Received "
            f"{seen.size:,} examples, and batch={batch!r}."
        )
    starts = range(0, seen.size - _FEWEST + 1, batch)
    compare, compare_others = _Grams(seen), _Grams(others)
    together, own, theirs = 0.0, 0.0, 0.0
    for first in track(starts, "comparing blocks"):
        one = compare(first, batch)
        two = one if other is None else compare_others(first, batch)
        together += one @ two.T
        own += (one**2).sum(1)
        theirs += (two**2).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = together / np.sqrt(np.outer(own, theirs))
    table = pd.DataFrame(values, columns=compare_others.names)
    # A block of the other model may have the name "block".
    table.insert(0, "block", compare.names, allow_duplicates=True)
    name = None if other is None else others.anatomy.name
    return Similarity(seen.anatomy.name, table, values, name)


class _Grams:
    """What a model's blocks find alike: Gram matrices of minibatches."""

    def __init__(self, seen: Subject) -> None:
        blocks = readable(seen.anatomy)
        ends = [block.exits[-1] for block in blocks]
        self.names = names_of(blocks)
        self._seen = seen

        def function(values: Mapping[int, Any]) -> Any:
            found = compute(seen.anatomy.graph, ends, values)
            return keras.ops.stack([_gram(value) for value in found], axis=1)

        self._function = compiled(function)

    def __call__(self, first: int, batch: int) -> np.ndarray:
        """U-centred Gram matrices of a minibatch, flat, whose products are estimates of HSIC.

        Args:
            first: Position of its first example.
            batch: How many there are, if there are.

        Returns:
            float64 (blocks, examples²).
        """
        given = {i: value[first : first + batch] for i, value in self._seen.given.items()}
        number = len(next(iter(given.values())))
        found = finite(self._seen.anatomy.name, in_batches(self._function, given, number))
        centred = u_centred(np.moveaxis(found.astype("float64"), 1, 0))
        flat: np.ndarray = centred.reshape(len(centred), -1) / np.sqrt(number * (number - 3))
        return flat


def _gram(value: Any) -> Any:
    """Products of all pairs of examples, as far as the estimator looks at them."""
    flat = keras.ops.reshape(value, (keras.ops.shape(value)[0], -1))
    flat = keras.ops.cast(flat, "float64")
    # U-centring takes out what all examples have in common, whatever stands for it. Without the
    # first one, large common values cost no digits, and equal examples give zeros and no noise.
    flat = flat - flat[:1]
    return keras.ops.matmul(flat, keras.ops.transpose(flat))


def u_centred(grams: np.ndarray) -> np.ndarray:
    """Centre symmetric matrices without their diagonals, which are zero then.

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
