"""The lens: what a model would answer if it stopped after each of its blocks.

nostalgebraist 2020, "Interpreting GPT: the logit lens"; Belrose et al. 2023, "Eliciting latent
predictions from transformers with the tuned lens".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from ..blocks.blocks import Block
from ..errors import CutwidgetsError
from ..extras import needs
from ..graph.frontier import Start
from ..graph.interpreter import compute
from ..inference.backend import compiled
from ..progress import track
from ..structure.anatomy import Anatomy
from .alignment import cosines
from .block_axis import along_blocks
from .controls import Control, with_control
from .lesions import Measured
from .linear_probes import features, readable
from .results import block_frame
from .subjects import Subject, subject

_ENDS = ("top", "classifier", "head")  # kinds of blocks that belong to the tail
_OWN, _TUNED = "own tail", "tuned"
_NUMBERS_AT_ONCE = 2**26  # of outputs in memory


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Lens(Measured):
    """How wrong a model is if its tail reads the output of an earlier block.

    Columns: block, stage, how (`"own tail"`, or `"tuned"` where a regression comes before it),
    `kind`, and with labels alignment (see `lab.alignment`; NaN where a block has no shortcut).

    Attributes:
        left_out: Names of the blocks before the tail that it cannot read, tuned or not.
    """

    left_out: tuple[str, ...] = ()

    @property
    def finding(self) -> str:
        """The measure at the first and the last block, for the tail alone and behind a regression.

        Also how often it rises from one block to the next, and which blocks the tail cannot read.
        """
        whos = {_OWN: "its own tail has", _TUNED: "behind a regression the tail has"}
        parts = [self._range(how, who) for how, who in whos.items()]
        chance = "" if self.chance is None else f"chance is {self._text(self.chance)}"
        text = f"{self.name}, {self.kind}: {'; '.join(filter(None, [*parts, chance]))}."
        if self.left_out:
            number = len(self.left_out)
            names = ", ".join(self.left_out[:3]) + (", …" if number > 3 else "")
            text += (
                f" The outputs of {number} blocks ({names}) do not have the shape that the tail "
                "reads, and it does not pool, so that no regression could help."
            )
        return text

    def _range(self, how: str, who: str) -> str:
        rows = self.table[self.table["how"] == how]
        values, names = rows[self.kind], rows["block"]
        if rows.empty:
            return ""
        first = f"{who} {self._text(values.iloc[0])} on the output of {names.iloc[0]}"
        if len(rows) == 1:
            return first
        rises = int((np.diff(values) > 0).sum())
        often = (
            f"rising at {rises} of the {len(rows) - 1} blocks after it" if rises else "never rising"
        )
        last = f"{self._text(values.iloc[-1])} on that of {names.iloc[-1]}"
        return f"{first}, {often}, and {last}"

    def _draw(self, axes: Any, colour: str) -> None:
        self._line(axes, colour)
        for how, face, label in ((_OWN, colour, self.name), (_TUNED, "none", None)):
            # A gap wherever the other way begins: the two measure different things.
            values = (self._factor * self.table[self.kind]).where(self.table["how"] == how)
            names, columns = self.table["block"], [values.to_numpy("float64")]
            places, (column,) = along_blocks(axes, names, columns)
            options = {"color": colour, "markerfacecolor": face, "markersize": 5}
            (line,) = axes.plot(places, column, "o-", label=label, **options)
            line.set_gid("block")
        axes.set_xlabel("last block before the tail (filled: its own; hollow: tuned)")


def lens(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    alpha: float = 1.0,
    folds: int = 5,
    seed: int = 0,
    measure: str | None = None,
    control: Control = None,
) -> Lens:
    """Let a model answer from the output of each block, and measure how wrong it is.

    The tail is what comes after the last block: features at the top, and the classifier or head.
    Where a block's output has the shape of the tail's input, the tail reads it as it is: the logit
    lens. Elsewhere the features that the tail pools are predicted from the block's own by a ridge
    regression, and the rest of the tail reads the prediction: the tuned lens, of Belrose et al.
    2023, with least squares in place of their training. The regression is cross-fitted: no example
    is scored by one that has seen it. A block's features are its channels, averaged over positions.

    In a trained residual network, the blocks of the last stage refine one answer step by step, so
    that the error falls from block to block: the iterative inference of Jastrzębski et al. 2018,
    "Residual connections encourage iterative inference". In an untrained one it does not.

    Args:
        model: A built functional or Sequential model with one output and layers after its last
            block.
        x: Input of the model, with the batch axis.
        y: Classes as integers or one-hot; yes or no for each of several classes; or numbers of the
            output's shape. `None` to measure how far the answer is from the model's own.
        alpha: The penalty of the ridge regression, on standardised features.
        folds: Number of folds of the cross-fitting.
        seed: Seed of the folds.
        measure: `"error"`, `"wrong decisions"`, `"squared error"` or `"change"`; `None` to choose
            by the labels.
        control: A model for comparison; `True` for `untrained(model, x)`.

    Raises:
        CutwidgetsError: If the model has no tail, or one that also reads other tensors; if the data
            do not fit, or scikit-learn is needed and not installed.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> data = lab.digits().test
        >>> result = lab.lens(lab.residual_network(blocks=(1, 2), width=4), *data)
        >>> result.table[["block", "how"]].to_numpy().tolist()[1:]
        [['stage1_block1', 'tuned'], ['stage2_block1', 'own tail'], ['stage2_block2', 'own tail']]
    """
    case = subject(model, x, y, measure)
    tail = tail_of(case.anatomy)
    before = [b for b in readable(case.anatomy) if b.kind not in _ENDS]
    own = [b for b in before if _fits(b, tail)]
    others = [b for b in before if b not in own] if tail.pooled is not None else []
    if others:
        _require_folds(case, folds, alpha)
    whole = case.output()
    scores = dict(zip([b.name for b in own], _own_scores(case, tail, own, whole), strict=True))
    tuned = _tuned_scores(case, tail, others, whole, alpha, folds, seed) if others else []
    scores |= zip([b.name for b in others], tuned, strict=True)
    rows = [b for b in before if b.name in scores]
    columns: dict[str, Any] = {
        "how": [_OWN if b in own else _TUNED for b in rows],
        case.kind: [scores[b.name] for b in rows],
    }
    residual = [b for b in rows if b.shortcut]
    if case.labels is not None and residual:
        found = dict(zip([b.name for b in residual], cosines(case, residual), strict=True))
        columns["alignment"] = [found.get(b.name, float("nan")) for b in rows]
    result = Lens(
        name=case.anatomy.name,
        table=block_frame(rows, **columns),
        kind=case.kind,
        base=case.score(whole, whole),
        chance=case.chance,
        left_out=tuple(b.name for b in before if b.name not in scores),
    )
    options: dict[str, Any] = {"alpha": alpha, "folds": folds, "seed": seed, "measure": measure}
    return with_control(result, lambda m: lens(m, x, y, **options), model, x, control)


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a model, which reads the output of its last block.

    Attributes:
        last: The last block before it.
        start: Index of the tensor that it reads.
        pooled: Index of the tensor with one vector an example, from which alone the output is
            computed; `None` if there is none.
        outputs: Index of the model's output.
    """

    last: Block
    start: int
    pooled: int | None
    outputs: tuple[int]


def tail_of(model_anatomy: Anatomy) -> Tail:
    """Find the end of a model that can be applied to the outputs of its blocks.

    Raises:
        CutwidgetsError: If there is none, or it also reads other tensors than the last block's
            output.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> tail = tail_of(cw.anatomy(keras.applications.ResNet50(weights=None)))
        >>> tail.last.name, tail.last.graph.maker(tail.pooled).name
        ('conv5_block3', 'avg_pool')
    """
    graph, name = model_anatomy.graph, model_anatomy.name
    last = next((b for b in reversed(model_anatomy.blocks) if b.kind not in _ENDS), None)
    if last is None or set(last.exits) & set(graph.outputs):
        raise CutwidgetsError(
            f"The model {name!r} has no layers after its last block that turn features into an "
            "answer, so no block can be read by them. Pass a model with its classifier or head."
        )
    start, output = last.exits[-1], graph.outputs[0]
    if not Start(graph, (start,), ()).leads_to([output]) or (bypassing := _others(graph, start)):
        also = ", ".join(graph.maker(tensor).name for tensor in bypassing[:3]) if bypassing else ""
        raise CutwidgetsError(
            f"The answer of the model {name!r} is not computed from the output of its last block, "
            f"{last.name!r}, alone{f': it also needs that of {also}' if also else ''}. The lens "
            "needs a model whose blocks follow each other."
        )
    vectors = (t.index for t in graph.tensors[start:] if _is_vector(model_anatomy, t.index))
    alone = (t for t in vectors if t != output and _lies_between(graph, start, t, output))
    return Tail(last, start, next(alone, None), (output,))


def _others(graph: Any, start: int) -> list[int]:
    """What the output needs besides a tensor. Masks do not count: the model's input gives them."""
    bypassing = Start(graph, (start,), ()).bypassed_by(graph.outputs)
    return [t for t in bypassing if "float" in graph.tensors[t].dtype and t not in graph.inputs]


def _is_vector(model_anatomy: Anatomy, tensor: int) -> bool:
    graph = model_anatomy.graph
    found, batch = graph.tensors[tensor], graph.tensors[graph.inputs[0]].shape[0]
    shape = found.shape
    return len(shape) == 2 and shape[0] == batch and shape[1] is not None and "float" in found.dtype


def _lies_between(graph: Any, start: int, tensor: int, output: int) -> bool:
    """Whether a tensor is computed from a start, and the output from that tensor alone."""
    from_start = tensor == start or Start(graph, (start,), ()).leads_to([tensor])
    return (
        from_start and Start(graph, (tensor,), ()).leads_to([output]) and not _others(graph, tensor)
    )


def _fits(block: Block, tail: Tail) -> bool:
    graph, end = block.graph, block.exits[-1]
    shapes = [(graph.tensors[t].shape, graph.tensors[t].dtype) for t in (end, tail.start)]
    return shapes[0] == shapes[1] and block.scale == tail.last.scale


def _own_scores(
    case: Subject, tail: Tail, blocks: Sequence[Block], whole: np.ndarray
) -> list[float]:
    """The scores of the tail on the outputs of blocks, as many in one pass as memory allows."""
    at_once = max(1, _NUMBERS_AT_ONCE // whole.size)
    groups = [blocks[i : i + at_once] for i in range(0, len(blocks), at_once)]
    scores: list[float] = []
    for group in track(groups, "applying the tail"):
        answers = case.computed(compiled(_answers(case, tail, group)))
        scores += [case.score(answers[:, i], whole) for i in range(len(group))]
    return scores


def _answers(case: Subject, tail: Tail, blocks: Sequence[Block]) -> Callable[..., Any]:
    """From the model's inputs to (examples, blocks, ...): the tail's answers to all blocks."""
    graph, ends = case.anatomy.graph, [block.exits[-1] for block in blocks]

    def function(values: Mapping[int, Any]) -> Any:
        answers = [
            compute(graph, tail.outputs, {**values, tail.start: value})[0]
            for value in compute(graph, ends, values)
        ]
        return keras.ops.stack(answers, axis=1)

    return function


def _tuned_scores(
    case: Subject,
    tail: Tail,
    blocks: Sequence[Block],
    whole: np.ndarray,
    alpha: float,
    folds: int,
    seed: int,
) -> list[float]:
    """The scores of the end of the tail on what a regression predicts from each block."""
    with needs("lab", "A tuned lens"):
        from sklearn.linear_model import Ridge
        from sklearn.model_selection import KFold, cross_val_predict
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

    graph, pooled = case.anatomy.graph, tail.pooled
    assert pooled is not None
    target = case.computed(compiled(lambda values: compute(graph, [pooled], values)[0]))
    rest = compiled(lambda values: compute(graph, tail.outputs, values)[0])
    split = KFold(folds, shuffle=True, random_state=seed)
    scores = []
    found = features(case, [block.exits[-1] for block in blocks])
    for values in track(found, "fitting regressions"):
        regression = make_pipeline(StandardScaler(), Ridge(alpha))
        predicted = cross_val_predict(regression, values, target.astype("float64"), cv=split)
        inputs = {**case.inputs, pooled: predicted.reshape(target.shape).astype(target.dtype)}
        scores.append(case.score(replace(case, inputs=inputs).computed(rest), whole))
    return scores


def _require_folds(case: Subject, folds: int, alpha: float) -> None:
    if not isinstance(folds, int) or not 2 <= folds <= case.size or not alpha >= 0:
        raise CutwidgetsError(
            "A tuned lens needs 2 folds at least, no more folds than examples, and a penalty of at "
            f"least 0. Received: {case.size:,} examples, folds={folds!r}, alpha={alpha!r}."
        )
