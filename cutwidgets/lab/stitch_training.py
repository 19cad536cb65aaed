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
    graph, labels = case.anatomy.graph, case.targets
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
        random = np.random.default_rng(seed)
        variables = [keras.Variable(value) for value in (stitch.kernel, stitch.bias)]
        optimizer = keras.optimizers.Adam(_RATE)
        starts = range(0, len(values) - batch + 1, batch)
        for _ in range(epochs):
            order = random.permutation(len(values))
            for start in starts:
                rows = order[start : start + batch]
                weights = [keras.ops.convert_to_numpy(variable) for variable in variables]
                inputs = dict(enumerate([values[rows], labels[rows], *weights]))
                found = applied(lambda t: traced(*(t[i] for i in range(4))), inputs)
                optimizer.apply([keras.ops.convert_to_tensor(slope) for slope in found], variables)
        return Stitch(*(keras.ops.convert_to_numpy(variable) for variable in variables))

    return trained
