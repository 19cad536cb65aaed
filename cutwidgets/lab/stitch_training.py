"""Training of a stitch, while the networks on both sides stay as they are."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from ..graph.interpreter import compute
from ..inference.backend import applied, compiled
from ..inference.backend import gradients as slopes
from .stitch_fitting import Spot, Stitch
from .subjects import Subject, the_loss

_RATE, _BATCH = 1e-3, 32


def trainer_for(case: Subject, back: Spot) -> Callable[[np.ndarray, Stitch, int, int], Stitch]:
    """A function that trains a stitch, and nothing else, on the loss of the network behind it.

    Adam (Kingma and Ba 2015), with a rate of 0.001 and batches of 32.

    Args:
        case: The network behind the stitch, with labels.
        back: The place where it continues.

    Returns:
        A function of the activations in front of the stitch (resized, channels last), the stitch
        where training starts, the number of epochs, and the seed of the order of the examples.
    """
    graph, labels = case.anatomy.graph, case.labels
    assert labels is not None
    labels = labels.astype("float32" if labels.dtype.kind == "f" else "int32")
    batch = min(_BATCH, case.size)

    def gradient(inputs: Any, truth: Any, kernel: Any, bias: Any) -> Any:
        def loss(at: list[Any]) -> Any:
            mapped = keras.ops.matmul(inputs, at[0]) + at[1]
            mapped = keras.ops.moveaxis(mapped, -1, 1) if graph.channel_axis == 1 else mapped
            mapped = keras.ops.cast(mapped, graph.tensors[back.tensor].dtype)
            (output,) = compute(graph, graph.outputs[:1], {back.tensor: mapped})
            return the_loss(case, output, truth) / batch

        return slopes(loss, [kernel, bias])

    traced = compiled(gradient)

    def trained(values: np.ndarray, stitch: Stitch, epochs: int, seed: int) -> Stitch:
        random, weights = np.random.default_rng(seed), [stitch.kernel.copy(), stitch.bias.copy()]
        moments = [[np.zeros_like(w), np.zeros_like(w)] for w in weights]
        starts = range(0, len(values) - batch + 1, batch)
        for step in range(epochs * len(starts)):
            if step % len(starts) == 0:
                order = random.permutation(len(values))
            rows = order[starts[step % len(starts)] :][:batch]
            inputs = dict(enumerate([values[rows], labels[rows], *weights]))
            found = applied(lambda t: traced(*(t[i] for i in range(4))), inputs)
            _step(weights, moments, found, step + 1)
        return Stitch(*weights)

    return trained


def _step(
    weights: list[np.ndarray], moments: list[list[np.ndarray]], found: list[np.ndarray], number: int
) -> None:
    """A step of Adam, in place."""
    for weight, moment, slope in zip(weights, moments, found, strict=True):
        moment[0] = 0.9 * moment[0] + 0.1 * slope
        moment[1] = 0.999 * moment[1] + 0.001 * slope**2
        size = np.sqrt(moment[1] / (1 - 0.999**number)) + 1e-7
        weight -= _RATE * moment[0] / (1 - 0.9**number) / size
