"""How well two networks fit at each pair of places, judged before any stitch is fitted."""

from collections.abc import Sequence

import numpy as np

from ..errors import CutwidgetsError
from .linear_probes import classifier
from .similarity import FEWEST, gram, u_centred

_BATCH = 64  # examples whose similarities are compared with each other
_TOLERANCE = 0.01  # of a probe's fit: a rank needs no more digits
_SMALLEST = 1e-12  # probability; a divergence is finite then


def grams(values: np.ndarray, order: np.ndarray) -> list[np.ndarray]:
    """Which examples a network represents alike at a place: U-centred Gram matrices of minibatches.

    Args:
        values: Activations, with the batch axis.
        order: Positions of the examples in the order in which they are divided into minibatches,
            which are of nearly equal size.
    """
    number = max(1, min(round(len(values) / _BATCH), len(values) // FEWEST))
    found = []
    for rows in np.array_split(order, number):
        found.append(u_centred(gram(values[rows].reshape(len(rows), -1))))
    return found


def cka(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    """Linear CKA of two places, from minibatches (Nguyen, Raghu, Kornblith 2020).

    Args:
        one: What `grams` returns for one place.
        other: The same for the other place, for the same examples.

    Returns:
        NaN if the activations at one of them are the same for all examples, or there are too few.

    Example:
        >>> values = np.random.default_rng(0).normal(size=(40, 3))
        >>> both = [grams(array, np.arange(40)) for array in (values, 2 * values[:, ::-1] + 1)]
        >>> round(cka(*both), 6)
        1.0
    """
    sizes = [len(gram) for gram in one]
    if min(sizes) < FEWEST:
        return float("nan")

    def product(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
        pairs = zip(a, b, sizes, strict=True)
        return sum(float((x * y).sum()) / (n * (n - 3)) for x, y, n in pairs)

    lengths = product(one, one) * product(other, other)
    return product(one, other) / lengths**0.5 if lengths > 0 else float("nan")


def probe_answers(values: np.ndarray, labels: np.ndarray, order: np.ndarray) -> np.ndarray | None:
    """The log-probabilities that a linear probe at a place gives to the classes.

    The probe is fitted to a half of the examples, and answers for the other half. It reads the
    channels, averaged over all positions.

    Args:
        values: Activations, channels last.
        labels: The class of each example.
        order: Positions of the examples, of which the first half is for the fit.

    Returns:
        (examples of one half, classes); `None` if one half has fewer than two classes, or not all.

    Raises:
        CutwidgetsError: If scikit-learn is not installed.
    """
    seen, unseen = order[: len(order) // 2], order[len(order) // 2 :]
    classes = np.unique(labels)
    if len(classes) < 2 or len(np.unique(labels[seen])) < len(classes):
        return None
    pooled = values.reshape(len(values), -1, values.shape[-1]).mean(1, dtype="float64")
    probe = classifier().set_params(logisticregression__tol=_TOLERANCE)
    probe.fit(pooled[seen], labels[seen])
    answers: np.ndarray = np.log(np.maximum(probe.predict_proba(pooled[unseen]), _SMALLEST))
    return answers


def divergence(front: np.ndarray, back: np.ndarray) -> float:
    """The Kullback-Leibler divergence of the answers of two probes, averaged over the examples.

    Example:
        >>> answers = np.log([[0.5, 0.5], [0.9, 0.1]])
        >>> divergence(answers, answers)
        0.0
    """
    if front.shape != back.shape:
        raise CutwidgetsError(f"Answers of {front.shape} and {back.shape} cannot be compared.")
    return float((np.exp(front) * (front - back)).sum(1).mean())
