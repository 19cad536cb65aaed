"""Grad-CAM: where in its input a model finds a class, as seen at one of its blocks.

Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017, "Grad-CAM: visual explanations from deep
networks via gradient-based localization". Behind global average pooling and one linear layer it is
the class activation map of Zhou et al. 2016, "Learning deep features for discriminative
localization", but for a factor.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..graph.interpreter import compute
from ..inference.backend import applied, batches, compiled, finite, gradients
from ..inference.side_effects import put_back_after
from ..structure.places import PlaceLike
from .controls import Control, with_control
from .maps import Maps, area_of_half, maps_at, normalised, resized
from .overlays import draw_example
from .results import INK, Result, for_any_page, frame, new_axes
from .scores import Scores, scores_of
from .subjects import Subject, subject

_SHOWN = 5  # examples that stay readable side by side

_ROW = 1.12  # height of an example and of what stands above it

_SCALE = 1024.0  # keeps small gradients in float16 from losing digits


@dataclass(frozen=True, eq=False, repr=False)
class GradCam(Result):
    """Where a model finds classes in examples.

    Columns: example, class, score (before softmax or sigmoid; of the class 0 of two, that of 1 with
    the other sign), probability (if the model outputs any), predicted (the class that the model
    predicts, if that is clear), block, gradient (the largest at the block), peak (the largest value
    in `maps`), area (the smallest share of the input that holds half of the heat; NaN if there is
    no heat).

    Attributes:
        heat: The maps without what is negative, enlarged to the size of the input, and divided by
            the largest value of each, of which the paper's thresholds are shares: float32
            (examples, height, width), from 0 to 1. All zeros if no position speaks for the class.
            Signals have one axis in place of two, and volumes three.
        maps: The sums of the feature maps, weighted by their mean gradients, in the resolution of
            the block: float32 (examples, height, width). What is negative speaks against the class.
        place: Name of the block or layer.
        inputs: The examples, with the channels last if there are any.
        scores: The scores of all classes (examples, classes), before softmax or sigmoid; of a
            single score, its negative and itself.
        probabilities: Those of all classes; `None` if the model outputs none.
    """

    heat: np.ndarray
    maps: np.ndarray
    place: str
    inputs: np.ndarray
    scores: np.ndarray
    probabilities: np.ndarray | None

    @property
    def finding(self) -> str:
        """How much of the input holds half of the heat, and where there is none."""
        table, size = self.table, "×".join(map(str, self.maps.shape[1:]))
        classes = table["class"].unique()
        what = f"the class {classes[0]}" if len(classes) == 1 else "the classes"
        start = f"{self.name}: at {self.place} ({size})"
        area = table["area"].dropna()
        found = []
        if len(area):
            half = f"half of the heat for {what} lies on {100 * area.median():.1f} % of the input"
            of = f"median of {len(area)} examples; " if len(table) > 1 else ""
            found.append(f"{half} ({of}50 % if it were even)")
        flat, empty = table["gradient"] == 0, (table["gradient"] > 0) & (table["peak"] <= 0)
        if flat.any():
            found.append(
                f"the gradient is exactly zero {_of(flat)}, so nothing at this place matters there"
            )
        if empty.any():
            found.append(f"no position speaks for its class {_of(empty)}, so there is no heat")
        if self.likeness is not None:
            found.append(f"the rank correlation with the control's maps is {self.likeness:.2f}")
        return f"{start} {'; '.join(found)}."

    @property
    def likeness(self) -> float | None:
        """Spearman's rank correlation with the control's maps; the median of all examples.

        Maps that hardly change when a network forgets all that it has learned explain nothing
        (Adebayo et al. 2018, "Sanity checks for saliency maps").

        Returns:
            A number from -1 to 1; `None` without a control, or if its maps have another size or no
            two different values.
        """
        if not isinstance(self.control, GradCam) or self.control.maps.shape != self.maps.shape:
            return None
        rows = [frame(maps.reshape(len(maps), -1).T) for maps in (self.maps, self.control.maps)]
        likeness = rows[0].rank().corrwith(rows[1].rank()).median()
        return None if np.isnan(likeness) else float(likeness)

    def show(self, *examples: int) -> Any:
        """Draw the heat of examples over their inputs.

        Args:
            examples: Indices of examples; without any, the first five.

        Returns:
            The axes of matplotlib.

        Raises:
            CutwidgetsError: If there is no such example, or matplotlib is not installed.
        """
        for example in examples:
            if example not in range(len(self.heat)):
                raise CutwidgetsError(
                    f"There are the examples 0 to {len(self.heat) - 1}. Received: {example!r}."
                )
        chosen = list(examples) or range(min(_SHOWN, len(self.heat)))
        axes = new_axes(_inches(1, len(chosen)))
        self._row(axes, 0, chosen)
        for_any_page(axes)
        return axes

    def plot(self, *others: Result, axes: Any = None, labels: Sequence[str] | None = None) -> Any:
        """Draw the heat of the first five examples over their inputs, and below it the control's.

        Args:
            others: Results for the same examples, such as at other blocks; each gets a row.
            axes: Axes of matplotlib to draw into; `None` for a new figure.
            labels: A name for each row; `None` for those of the blocks.

        Returns:
            The axes.

        Raises:
            CutwidgetsError: If there is not a label for each result, or matplotlib is not
                installed.
        """
        results = self._rows(others, labels)
        count = min(_SHOWN, len(self.heat))
        if axes is None:
            axes = new_axes(_inches(len(results), count))
        for i, (title, result) in enumerate(results):
            title = title if len(results) > 1 or labels else ""
            result._row(axes, i, range(min(count, len(result.heat))), title)
        for_any_page(axes)
        return axes

    def _rows(
        self, others: Sequence[Result], labels: Sequence[str] | None
    ) -> list[tuple[str, "GradCam"]]:
        """All results with their titles, each before its control."""
        rows: list[tuple[str, GradCam]] = []
        for result in self._labelled(others, labels):
            assert isinstance(result, GradCam)
            rows.append((result.name if labels else result.place, result))
            if isinstance(result.control, GradCam):
                rows.append((result.control.name, result.control))
        return rows

    def _fill(self, figure: Any) -> None:
        figure.set_size_inches(_inches(len(self._rows((), None)), min(_SHOWN, len(self.heat))))
        self.plot(axes=figure.subplots())

    def _draw(self, axes: Any, colour: str) -> None:
        self._row(axes, 0, range(min(_SHOWN, len(self.heat))))

    def _row(self, axes: Any, row: int, examples: Sequence[int], title: str = "") -> None:
        """Draw examples side by side, each in a square of length 1."""
        top, style = row * _ROW, {"fontsize": 8, "color": INK}
        for column, example in enumerate(examples):
            draw_example(axes, self.inputs[example], self.heat[example], (column, top))
            axes.text(column + 0.5, top, self._words(example), ha="center", va="bottom", **style)
        if title:
            axes.text(-0.02, top + 0.5, title, ha="right", va="center", rotation=90, **style)
        axes.set_axis_off()
        axes.set(xlim=(0, len(examples)), ylim=(top + 1, 0), aspect="equal")

    def _words(self, example: int) -> str:
        row = self.table.iloc[example]
        number = f"{row['probability']:.2f}" if "probability" in row else f"{row['score']:.3g}"
        return f"class {row['class']}: {number}"


def _inches(rows: int, columns: int) -> tuple[float, float]:
    """The size of a figure."""
    return max(3, 2.1 * columns), 2.4 * rows


def grad_cam(
    model: keras.Model,
    x: Any,
    place: PlaceLike | None = None,
    target: Any = None,
    *,
    control: Control = None,
) -> GradCam:
    """Show where in its input a model finds a class, as seen at one of its blocks.

    The feature maps of the block are added up, each weighted by the mean of its gradient, and what
    is negative is left out (Selvaraju et al. 2017). The gradient is that of the class's score
    before the model's last softmax or sigmoid, in inference mode. With the last block the maps are
    coarse, but tell classes apart; with earlier ones they are finer, and follow edges.

    Nested models need no care: their blocks are places like all others.

    Args:
        model: A built functional or Sequential model with one output. It is not changed.
        x: Input of the model, with the batch axis: an array, or one for each input.
        place: A block, layer or stage whose output has spatial axes, or its name; `None` for the
            last block that has any.
        target: The class to explain, or one for each example; `None` for the class that the model
            predicts. With a single score, 1 explains what raises it, and 0 what lowers it.
        control: A model for comparison, explained at the same place and for the same classes;
            `True` for `untrained(model, x)`.

    Raises:
        UnknownPlaceError: If the model has no such place.
        CutwidgetsError: If the place has no spatial axes, or does not lead to the scores; if the
            model predicts no classes and there is no target; if the scores before the softmax
            cannot be found, or are not finite; if the data do not fit; or if the backend of Keras
            is neither TensorFlow nor JAX.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> model = lab.residual_network(blocks=(1, 1), size=32)
        >>> result = lab.grad_cam(model, lab.digits(32).test[0][:3], target=[3, 3, 5])
        >>> result.place, result.maps.shape, result.heat.shape
        ('stage2_block1', (3, 16, 16), (3, 32, 32))
        >>> result.table["class"].tolist()
        [3, 3, 5]
    """
    case = subject(model, x)
    scores = scores_of(case.anatomy.graph)
    spot = maps_at(case.anatomy, scores.graph, scores.tensor, place)
    targets = None if target is None else _targets(scores, target, case.size)
    if targets is None and scores.unclear:
        raise CutwidgetsError(scores.unclear)
    raw, gradient, values = _computed(case, scores, spot, targets)
    scores.require_no_hidden_softmax(values)
    both = values if scores.number > 1 else np.concatenate([-values, values], axis=1)
    inputs, best, rows = case.inputs[spot.screen], both.argmax(axis=1), np.arange(case.size)
    classes = best if targets is None else targets
    probabilities = scores.probabilities(values)
    heat = normalised(resized(np.maximum(raw, 0), spot.size(inputs)))
    likely = {} if probabilities is None else {"probability": probabilities[rows, classes]}
    columns = {
        "example": rows,
        "class": classes,
        "score": both[rows, classes],
        **likely,
        **({} if scores.unclear else {"predicted": best}),
        "block": spot.place,
        "gradient": gradient,
        "peak": raw.max(axis=tuple(range(1, raw.ndim))),
        "area": [area_of_half(one) for one in heat],
    }
    arrays = heat, raw, spot.place, spot.seen(inputs), both, probabilities
    result = GradCam(case.anatomy.name, frame(columns), *arrays)
    return with_control(
        result, lambda other: grad_cam(other, x, spot.place, classes), model, x, control
    )


def _targets(scores: Scores, target: Any, size: int) -> np.ndarray:
    """The class to explain for each example."""
    array = np.asarray(target)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]  # as Keras's data sets have labels
    if array.dtype.kind not in "iu" or array.shape not in ((), (size,)):
        raise CutwidgetsError(
            "target is the index of a class, or one for each of the "
            f"{size:,} examples. Received: {target!r:.200}"
        )
    if array.min() < 0 or array.max() >= scores.classes:
        raise CutwidgetsError(
            f"The model {scores.graph.name!r} has the classes 0 to {scores.classes - 1}. Received: "
            f"target={target!r:.200}"
        )
    return np.broadcast_to(array, size).astype(int)


def _computed(
    case: Subject, scores: Scores, spot: Maps, targets: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weighted sums of the maps, the largest gradients, and the scores of all classes."""
    graph, rows = case.anatomy.graph, []
    is_fixed = graph.tensors[graph.inputs[0]].shape[0] is not None
    at_once = case.size if is_fixed else case.at_once
    choices = _choices(scores, targets, case.size)
    function = _function(scores, spot)
    if case.size > at_once or keras.backend.backend() == "jax":
        function = compiled(function)
    layers = [call.layer for call in graph.calls]
    for chosen, batch in batches(case.inputs, at_once, "explaining examples"):
        with put_back_after(layers):
            rows.append(applied(lambda x, c=choices[chosen]: function(x, c), batch, graph.name))
    found = [np.concatenate(parts)[: case.size] for parts in zip(*rows, strict=True)]
    for array in found:
        finite(graph.name, array)
    return found[0], found[1], found[2]


def _choices(scores: Scores, targets: np.ndarray | None, size: int) -> np.ndarray:
    """The factor of each class's score in what is explained; all zeros for the predicted class."""
    choices = np.zeros((size, scores.number), "float32")
    if targets is not None and scores.number == 1:
        choices[:, 0] = np.where(targets == 1, 1, -1)
    elif targets is not None:
        choices[np.arange(size), targets] = 1
    return choices


def _function(scores: Scores, spot: Maps) -> Callable[[Mapping[int, Any], Any], list[Any]]:
    """From inputs and choices to the weighted sums, the largest gradients and all scores."""
    graph, ops = scores.graph, keras.ops
    scale = _SCALE if graph.tensors[spot.tensor].dtype == "float16" else 1.0

    def function(inputs: Mapping[int, Any], choices: Any) -> list[Any]:
        maps, output = compute(graph, [spot.tensor, graph.outputs[0]], inputs)
        values = scores.summed(output)
        choices = ops.convert_to_tensor(choices)
        given = ops.any(choices != 0, axis=1, keepdims=True)
        choices = ops.where(given, choices, _predicted(values, scores.number))

        def score(at: list[Any]) -> Any:
            (again,) = compute(graph, graph.outputs, {**inputs, spot.tensor: at[0]})
            return scale * ops.sum(scores.summed(again) * choices)

        slopes = ops.cast(gradients(score, [maps])[0], "float32") / scale
        slopes, maps = (ops.moveaxis(one, spot.channel_axis, -1) for one in (slopes, maps))
        positions = tuple(range(1, len(maps.shape) - 1))
        weights = ops.mean(slopes, axis=positions, keepdims=True)
        total = ops.sum(weights * ops.cast(maps, "float32"), axis=-1)
        return [total, ops.max(ops.abs(slopes), axis=(*positions, -1)), values]

    return function


def _predicted(values: Any, number: int) -> Any:
    """The choice of the class that a model predicts."""
    if number == 1:
        return keras.ops.where(values > 0, 1.0, -1.0)
    return keras.ops.one_hot(keras.ops.argmax(values, axis=1), number, dtype="float32")


def _of(chosen: Any) -> str:
    """How many examples are meant, in words."""
    count = int(chosen.sum())
    return "for this example" if len(chosen) == 1 else f"for {count} of {len(chosen)} examples"
