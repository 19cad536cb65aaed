"""Labels: what they can mean for a model's output, converted and checked."""

from typing import Any

import numpy as np

from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph, Shape
from .answers import Answers, answers

MEASURES = ("error", "wrong decisions", "squared error", "change")


def labels_of(
    graph: CallGraph, y: Any, size: int, how: Answers | None = None, measure: str | None = None
) -> tuple[np.ndarray, str]:
    """Convert labels to integers, or to numbers of the output's shape; return also their `kind`.

    Args:
        graph: The call graph of the model.
        y: The labels.
        size: The number of examples.
        how: How the model's output is to be read; `None` to ask its graph.
        measure: The `kind` that is wanted; `None` to choose by the labels.

    Raises:
        CutwidgetsError: If they do not fit the model's output, or the measure.
    """
    labels = as_labels(y, size)
    shape, how = graph.tensors[graph.outputs[0]].shape, how or answers(graph)
    axis = how.axis
    if labels.ndim == len(shape) and labels.shape[axis] == 1 != shape[axis]:
        labels = labels.squeeze(axis)  # as Keras's data sets have them
    if labels.ndim == len(shape) - 1 and shape[axis] == 1:
        labels = np.expand_dims(labels, axis)
    wanted = shape if labels.ndim == len(shape) else (*shape[:axis], *shape[axis + 1 :])
    if labels.ndim != len(wanted) or any(
        fixed not in (None, length) for fixed, length in zip(wanted, labels.shape, strict=True)
    ):
        raise CutwidgetsError(
            f"The model {graph.name!r} outputs {shape}, with the classes along axis "
            f"{axis}. Received labels of shape {labels.shape}: pass the number of a class for "
            "each example, or numbers of the output's shape."
        )
    possible = _possible(graph, labels, shape, how)
    kind = measure or next(iter(possible))
    if kind not in possible:
        raise CutwidgetsError(
            f"These labels, of shape {labels.shape}, cannot be measured by {measure!r} for the "
            f"model {graph.name!r}, which outputs {shape}. Possible: {', '.join(possible)}."
        )
    converted = possible[kind]
    if kind == "squared error" and how.activation in ("softmax", "sigmoid"):
        low, high = float(converted.min()), float(converted.max())
        if low < 0 or high > 1:
            raise CutwidgetsError(
                f"The model {graph.name!r} ends with a {how.activation}, so it outputs "
                f"numbers from 0 to 1. Received labels from {low:g} to {high:g}. For a mask of 0 "
                "and 255, pass y / 255."
            )
    return converted, kind


def _possible(
    graph: CallGraph, labels: np.ndarray, shape: Shape, how: Answers
) -> dict[str, np.ndarray]:
    """The labels as each kind of measure needs them, the most likely kind first."""
    axis, possible = how.axis, {}
    classes, whole = shape[axis], bool((labels == np.round(labels)).all())
    if labels.ndim < len(shape):
        low, high = int(labels.min()), int(labels.max())
        if whole and low >= 0 and high < (classes or high + 1):
            return {"error": labels.astype(int)}
        known = f"the classes 0 to {classes - 1}" if classes else "classes from 0 on"
        received = f"the labels {low} to {high}" if whole else "labels with fractions"
        raise CutwidgetsError(f"The model {graph.name!r} has {known}. Received {received}.")
    binary = set(np.unique(labels)) <= {0, 1}
    if labels.shape[axis] == 1 and binary:
        possible["error"] = labels.squeeze(axis).astype(int)
    elif binary and (labels.sum(axis) == 1).all():
        possible["error"] = labels.argmax(axis)
    if labels.shape[axis] > 1 and binary:
        possible["wrong decisions"] = labels.astype(int)
    possible["squared error"] = labels.astype("float64")
    return possible


def as_labels(y: Any, size: int) -> np.ndarray:
    """Convert labels to an array.

    Args:
        y: Numbers.
        size: The number of examples.

    Raises:
        CutwidgetsError: If they are not finite numbers, or not one for each example.

    Example:
        >>> as_labels([3, 4], size=2)
        array([3, 4])
    """
    labels = np.asarray(y)
    if labels.dtype.kind not in "biuf" or not np.isfinite(labels).all():
        raise CutwidgetsError(f"Labels are finite numbers. Received: {y!r:.200}")
    if labels.ndim == 0 or len(labels) != size:
        raise CutwidgetsError(
            f"There are {size:,} examples, and labels of shape {labels.shape}: pass as many."
        )
    return labels


def classes_of(y: Any, size: int) -> np.ndarray:
    """Convert classes, which need not be the model's own, to integers.

    Args:
        y: Classes as integers or one-hot.
        size: The number of examples.

    Raises:
        CutwidgetsError: If they are no classes, not one for each example, or all the same.

    Example:
        >>> classes_of([[0, 1], [1, 0]], size=2)
        array([1, 0])
    """
    labels = as_labels(y, size)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]  # as Keras's data sets have them
    elif labels.ndim == 2 and _is_one_hot(labels):
        labels = labels.argmax(1)
    if labels.ndim != 1 or (labels != np.round(labels)).any():
        raise CutwidgetsError(
            "A linear probe predicts classes: pass the number of a class for each example, or "
            f"one-hot. Received labels of shape {labels.shape}: {y!r:.200}"
        )
    if (labels == labels[0]).all():
        raise CutwidgetsError(
            f"A linear probe needs examples of two classes at least. All {size:,} examples are of "
            f"a single class, {int(labels[0])}."
        )
    return labels.astype(int)


def _is_one_hot(labels: np.ndarray) -> bool:
    return set(np.unique(labels)) <= {0, 1} and bool((labels.sum(-1) == 1).all())
