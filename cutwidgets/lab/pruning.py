"""Depth pruning: a network without its least important blocks, trained a little further.

Men et al. 2024, "ShortGPT: layers in large language models are more redundant than you expect".
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ..analysis.costs import costs
from ..blocks.blocks import Block
from ..errors import CutwidgetsError
from ..inference.side_effects import put_back_after
from ..surgery.build import Section, build
from ..surgery.removal import rest
from ..text import number_text
from .block_axis import add_blocks, along_blocks
from .block_importance import MEASURES, importances
from .controls import Control, batches_of, with_control
from .lesions import Measured
from .recovery import loss_of_answers, loss_of_labels, recover
from .results import COLOURS, CONTROL, block_frame, frame, new_axes
from .subjects import Subject, lesionable, require_other_examples, subject

if TYPE_CHECKING:
    import pandas as pd

_AXES = {
    "lesion": "rise of the loss without it",
    "influence": "1 − cosine of input and output",
    "ratio": "‖F(x)‖ / ‖x‖",
    "random": "importance (random)",
}


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Pruned(Measured):
    """A network without its least important blocks, before and after recovery.

    Columns: step ("whole", "pruned", and "recovered" if it was trained), `kind`, parameters, macs
    (multiply-accumulate operations for one example).

    Attributes:
        model: The smaller network, with weights of its own. It is not compiled.
        removed: Names of the blocks that were removed, in the order of the network.
        importance: A row for each block that could be removed. Columns: block, stage, shortcut,
            importance (on the training examples), removed.
        by: The measure of importance.
        label: What the importance is, in words.
        epochs: For how many epochs it was trained.
        training: `"training"`, or `"distillation"` if on the whole model's answers.
        examples: Which examples the table is about: `"test"` or `"training"`.
    """

    model: keras.Model
    removed: tuple[str, ...]
    importance: "pd.DataFrame"
    by: str
    label: str
    epochs: int
    training: str
    examples: str
    _size = (9, 3.4)

    @property
    def finding(self) -> str:
        """What the removal costs and saves, and what training brings back."""
        values, whole, last = self.table[self.kind], self.table.iloc[0], self.table.iloc[-1]
        pruned = self._text(values.iloc[1])
        choice = "drawn at random" if self.by == "random" else f"chosen by {self.by}"
        text = (
            f"{self._begin} without {len(self.removed)} of {len(self.importance)} blocks, "
            f"{choice}, {pruned}"
        )
        if self.epochs:
            epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
            text += f", after {epochs} of {self.training} {self._text(values.iloc[2])}"
        sizes = " of ".join(number_text(row["parameters"]) for row in (last, whole))
        macs = " of ".join(number_text(row["macs"], "MACs") for row in (last, whole))
        return f"{text} ({self.examples} examples). {sizes} parameters and {macs} remain."

    def plot_importance(self, axes: Any = None) -> Any:
        """Draw the importance of each block, with a cross at those that were removed.

        Args:
            axes: Axes of matplotlib to draw into; `None` for a new figure.

        Returns:
            The axes.

        Raises:
            CutwidgetsError: If matplotlib is not installed.
        """
        if axes is None:
            axes = new_axes()
        results = [self] if self.control is None else [self.control, self]
        results = [result for result in results if isinstance(result, Pruned)]
        add_blocks(axes, [result.importance["block"] for result in results])
        for result in results:
            result._draw_importance(axes, COLOURS[0] if result is self else CONTROL)
        axes.set_ylabel(f"{self.label}; ×: removed", fontsize=8)
        self._finish(axes, len(results) > 1)
        return axes

    def _draw_importance(self, axes: Any, colour: str) -> None:
        values = self.importance["importance"].to_numpy("float64")
        columns = [values, np.where(self.importance["removed"], values, np.nan)]
        places, (values, removed) = along_blocks(axes, self.importance["block"], columns)
        (line,) = axes.plot(places, values, "o-", color=colour, markersize=4, label=self.name)
        (crosses,) = axes.plot(places, removed, "x", color=colour, markersize=9)
        for drawn in (line, crosses):
            drawn.set_gid("block")
        if self.by == "lesion" and colour != CONTROL:  # a few blocks matter a hundred times as much
            axes.set_yscale("symlog", linthresh=max(float(np.nanmax(np.abs(values))) / 1000, 1e-9))

    def _draw(self, axes: Any, colour: str) -> None:
        self._line(axes, colour)
        values = self._factor * self.table[self.kind].to_numpy("float64")
        axes.plot(self.table["step"], values, "o-", color=colour, label=self.name)
        for place, value in enumerate(values[1:], 1):
            others = [text.xy[1] for text in axes.texts if text.xy[0] == place]
            if any(abs(value - other) < 0.2 * max(value, other) for other in others):
                continue  # the numbers would cover each other; the table has them
            axes.annotate(
                f"{value:.3g}", (place, value), xytext=(6, 3), textcoords="offset points",
                color=colour, fontsize=7,
            )  # fmt: skip
        axes.set_xlim(-0.2, 2.35)

    def _fill(self, figure: Any) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        self.plot_importance(left)
        self.plot(axes=right)


def prune(
    model: keras.Model,
    train: tuple[Any, Any],
    count: int,
    by: str = "lesion",
    test: tuple[Any, Any] | None = None,
    *,
    epochs: int = 1,
    distil: bool = False,
    rate: float = 3e-3,
    seed: int = 0,
    measure: str | None = None,
    control: Control = None,
) -> Pruned:
    """Remove the least important blocks of a network, and train what is left.

    Importance is measured on the training examples, for each block by itself, in one of four ways:

    - `"lesion"`: by how much the loss rises without the block (Veit et al. 2016). Without labels,
      by how much the output changes.
    - `"influence"`: 1 − cosine of a block's input and output at each position, on average: the
      block influence of ShortGPT (Men et al. 2024, section 2). Where a block changes the shape, so
      that a projection stays in its place, the output of that projection stands for the input.
    - `"ratio"`: ‖F(x)‖ / ‖x‖, as in `norm_ratios`; for a block without a shortcut, F(x) is its
      output minus its input.
    - `"random"`: drawn at random, for comparison.

    Blocks are removed as by `cutwidgets.remove`. The smaller network has weights of its own, so
    `model` is not changed. It is trained by Adam in batches of 16; at the end, its trainable batch
    normalisations get their statistics from the training examples, as those of the whole network
    are wrong for it.

    Args:
        model: A built functional or Sequential model with one output.
        train: Training examples: input of the model, with the batch axis, and labels as for
            `lesions`. The labels may be `None` where nothing needs them: with `epochs=0`, or with
            `distil=True`.
        count: How many blocks to remove.
        by: The measure of importance: `"lesion"`, `"influence"`, `"ratio"` or `"random"`.
        test: Other examples and labels for the table; `None` for the training examples.
        epochs: Number of epochs of training; 0 for none.
        distil: Whether to train on the whole model's answers in place of the labels (Hinton,
            Vinyals, Dean 2015, "Distilling the knowledge in a neural network"): on its
            probabilities softened by a temperature of 4, or on its numbers.
        rate: Learning rate at the start of the training; it decays to zero. The default suits the
            networks of `trained`; for a large pretrained network, begin with a tenth of it.
        seed: Seed of the random choice and of the training.
        measure: `"error"`, `"wrong decisions"`, `"squared error"` or `"change"`; `None` to choose
            by the labels.
        control: A model for comparison, pruned and trained in the same way; `True` for
            `untrained(model, train[0])`.

    Raises:
        CutwidgetsError: If there are not as many blocks that can be removed, the data do not fit,
            labels are missing, test examples are also training examples, or the training diverges.
        CutError: If these blocks cannot be removed together.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> model, data = lab.residual_network(blocks=(3,), width=4), lab.digits()
        >>> pruned = lab.prune(model, data.train, 1, by="influence", test=data.test, epochs=0)
        >>> pruned.table["step"].tolist(), len(pruned.removed)
        (['whole', 'pruned'], 1)
    """
    _require_numbers(epochs, rate, by)
    x, y = _pair(train, "train")
    case = subject(model, x, y, measure)
    testing = case
    if test is not None:
        testing = subject(model, *_pair(test, "test"), measure if y is None else case.kind)
        require_other_examples(case, testing)
    if epochs and case.labels is None and not distil:
        raise CutwidgetsError(
            "Training needs labels. Pass them, or distil=True to train on the answers of the "
            "whole model, or epochs=0 for no training. "
            f"Received: y={'None' if y is None else 'labels'}, measure={measure!r}."
        )
    blocks = lesionable(case.anatomy)
    if isinstance(count, bool) or count not in range(1, len(blocks) + 1):
        raise CutwidgetsError(
            f"count is the number of blocks to remove, 1 to {len(blocks)}: as many of the model "
            f"{case.anatomy.name!r} can be removed. Received: count={count!r}."
        )
    importance = importances(case, blocks, by, seed)
    chosen = np.sort(np.argsort(importance, kind="stable")[:count])
    removed = tuple(blocks[i].name for i in chosen)
    section = rest(case.anatomy, removed)
    with put_back_after([]):  # layers draw seeds when they are made
        smaller = build(model, section, "copy")
    work = _Work(model, smaller, section, case, testing, testing.output())
    rows = [work.row("whole"), work.row("pruned")]
    if epochs:
        work.recover(epochs, rate, seed, distil)
        rows.append(work.row("recovered"))
    result = Pruned(
        name=case.anatomy.name,
        table=frame(rows, ["step", testing.kind, "parameters", "macs"]),
        kind=testing.kind,
        base=rows[0][1],
        chance=testing.chance,
        model=smaller,
        removed=removed,
        importance=_importance(blocks, importance, removed),
        by=by,
        label="change of the output" if by == "lesion" and case.labels is None else _AXES[by],
        epochs=epochs,
        training="distillation" if distil else "training",
        examples="training" if test is None else "test",
    )

    def study(other: keras.Model) -> Pruned:
        return prune(
            other, train, count, by, test,
            epochs=epochs, distil=distil, rate=rate, seed=seed, measure=measure,
        )  # fmt: skip

    return with_control(result, study, model, x, control)


def _require_numbers(epochs: int, rate: float, by: str) -> None:
    if by not in MEASURES:
        raise CutwidgetsError(f"by is one of {MEASURES}. Received: by={by!r:.200}.")
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0 or not 0 < rate < 1:
        raise CutwidgetsError(
            "epochs is a whole number from 0 on, and rate a number between 0 and 1. "
            f"Received: epochs={epochs!r}, rate={rate!r}."
        )


def _pair(pair: Any, which: str) -> tuple[Any, Any]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise CutwidgetsError(
            f"{which} is a pair (x, y) of examples and labels; y may be None. "
            f"Received: {pair!r:.200}"
        )
    return pair[0], pair[1]


def _importance(
    blocks: Sequence[Block], values: Sequence[float], removed: Sequence[str]
) -> "pd.DataFrame":
    return block_frame(
        blocks,
        shortcut=[block.shortcut for block in blocks],
        importance=values,
        removed=[block.name in removed for block in blocks],
    )


@dataclass(frozen=True)
class _Work:
    """A network, the same without some blocks, and the data.

    Attributes:
        model: The whole network.
        smaller: The network without some blocks.
        section: What the smaller one consists of.
        case: The whole network and the training examples.
        testing: The whole network and the examples of the table.
        whole: Its output for them.
    """

    model: keras.Model
    smaller: keras.Model
    section: Section
    case: Subject
    testing: Subject
    whole: np.ndarray

    def row(self, step: str) -> tuple[str, float, int, int]:
        """A row of the table, for a network as it is now."""
        model, inputs = self.model, self.testing.anatomy.graph.inputs
        output = self.whole
        if step != "whole":
            model, inputs = self.smaller, self.section.inputs
            output = subject(model, [self.testing.inputs[i] for i in inputs]).output()
        spent = costs(model, [self.testing.inputs[i].shape[1:] for i in inputs]).total
        return step, self.testing.score(output, self.whole), spent.parameters, spent.macs

    def recover(self, epochs: int, rate: float, seed: int, distil: bool) -> None:
        """Train the smaller network."""
        case, targets = self.case, self.case.labels
        loss = None if distil else loss_of_labels(case)
        if loss is None:
            targets = case.output()
            case = replace(case, answers=case.answers.seen(lambda: targets))
            loss = loss_of_answers(case)
        assert targets is not None
        kept = replace(case, inputs={i: case.inputs[i] for i in self.section.inputs})
        recover(
            self.smaller, list(kept.inputs.values()), targets, loss,
            epochs=epochs, rate=rate, seed=seed, batches=batches_of(kept),
        )  # fmt: skip
