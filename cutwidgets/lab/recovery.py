"""Training of a network that has lost some of its blocks."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..graph.keras_internals import layers_inside
from ..inference.side_effects import states
from ..progress import track
from ..structure.anatomy import anatomy
from .controls import gather_statistics
from .subjects import Subject, the_loss
from .training import seed_layers

# Few examples a step make many steps: 45 steps of 32 leave twice the error of 90 steps of 16.
_BATCH = 16

_TEMPERATURE = 4.0  # Hinton et al. 2015 find 2.5 to 4 best for small networks, section 3

Loss = Callable[[Any, Any], Any]  # from labels and output of a batch to its mean loss


def recover(
    model: keras.Model,
    inputs: Sequence[np.ndarray],
    targets: np.ndarray,
    loss: Loss,
    *,
    epochs: int,
    rate: float,
    seed: int,
    batches: list[list[np.ndarray]],
) -> None:
    """Train a model in place, by Adam; then set the statistics of its batch normalisation.

    The model is not compiled afterwards, and the seeds of the process are as they were.

    Args:
        model: The model.
        inputs: An array for each of its inputs.
        targets: What the loss compares the outputs with.
        loss: The loss of a batch.
        epochs: Number of epochs.
        rate: The learning rate at the start; it decays to zero by a cosine.
        seed: Seed of the order of the examples, and of random layers such as dropout.
        batches: The inputs in batches, to measure the statistics on.

    Raises:
        CutwidgetsError: If the training diverges, or there is nothing to train.
    """
    if not model.trainable_variables:
        raise CutwidgetsError(
            f"All layers of {model.name!r} are frozen, so there is nothing to train. Pass "
            "epochs=0, or set trainable = True for some of them."
        )
    before = states([])
    try:
        _train(model, inputs, targets, loss, epochs, rate, seed)
        normalisations = [
            layer
            for layer in layers_inside(model)
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        ]
        if normalisations:
            # Averages that move by a hundredth a step would still be those of the whole network.
            gather_statistics(anatomy(model).graph, normalisations, batches)
    finally:
        before.put_back()


def _train(
    model: keras.Model,
    inputs: Sequence[np.ndarray],
    targets: np.ndarray,
    loss: Loss,
    epochs: int,
    rate: float,
    seed: int,
) -> None:
    size = len(targets)
    steps = -(-size // _BATCH)
    # A model of the same layers, so that the model itself is not compiled.
    trainer = keras.Model(list(model.inputs), model.outputs[0], name=model.name)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, epochs * steps))
    optimizer.build(trainer.trainable_variables)  # otherwise a step would be traced twice
    trainer.compile(optimizer, _LossOf(loss))
    seed_layers(model, seed)
    order = np.random.default_rng(seed)
    bar = track(range(epochs * steps), f"training {model.name}")
    step = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: next(bar))
    for epoch in range(1, epochs + 1):
        chosen = order.permutation(size)
        history = trainer.fit(
            [array[chosen] for array in inputs],
            targets[chosen],
            batch_size=_BATCH,
            shuffle=False,
            verbose=0,
            callbacks=[step],
        )
        reached = history.history["loss"][-1]
        if not np.isfinite(reached):
            raise CutwidgetsError(
                f"The training of {model.name!r} diverged: the loss is {reached} in epoch {epoch}. "
                f"Pass a smaller learning rate than rate={rate:g}."
            )
    list(bar)  # the end of the bar


class _LossOf(keras.losses.Loss):
    """A loss that leaves the shapes of labels and outputs as they are."""

    def __init__(self, function: Loss) -> None:
        super().__init__(name="recovery")
        self._function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self._function(y_true, y_pred)


def loss_of_labels(case: Subject) -> Loss:
    """The loss that `the_loss` computes, for training."""
    ops = keras.ops
    assert case.labels is not None
    dtype = "float32" if case.labels.dtype.kind == "f" else "int32"

    def loss(labels: Any, output: Any) -> Any:
        total = the_loss(case, output, ops.cast(labels, dtype))
        return total / ops.cast(ops.shape(output)[0], output.dtype)

    return loss


def loss_of_answers(case: Subject) -> Loss:
    """The distance from the whole model's answers.

    For classes the cross-entropy of both answers, softened by a temperature of 4, times its square
    (Hinton, Vinyals, Dean 2015, "Distilling the knowledge in a neural network", section 2). For
    numbers the squared error.

    Args:
        case: The whole model. Without labels, an output whose graph ends with neither softmax nor
            sigmoid counts as numbers.
    """
    ops, axis, activation = keras.ops, case.answers.axis, case.answers.activation

    def scores(output: Any, yes_or_no: bool) -> Any:
        if activation is None:
            return output / _TEMPERATURE
        tiny = keras.config.epsilon()
        logs = ops.log(ops.clip(output, tiny, 1.0))
        rest = ops.log(ops.clip(1.0 - output, tiny, 1.0)) if yes_or_no else 0.0
        return (logs - rest) / _TEMPERATURE

    def classes(whole: Any, output: Any) -> Any:
        wanted = ops.softmax(scores(whole, False), axis)
        losses = -ops.sum(wanted * ops.log_softmax(scores(output, False), axis), axis)
        return _TEMPERATURE**2 * ops.mean(losses)

    def decisions(whole: Any, output: Any) -> Any:
        wanted = ops.sigmoid(scores(whole, True))
        losses = ops.binary_crossentropy(wanted, scores(output, True), from_logits=True)
        return _TEMPERATURE**2 * ops.mean(losses)

    def numbers(whole: Any, output: Any) -> Any:
        return ops.mean((output - whole) ** 2)

    has_classes = case.kind in ("error", "wrong decisions") or activation is not None
    if case.kind == "squared error" or not has_classes:
        return numbers
    single = case.kind == "wrong decisions" or case.output_classes == 1 or activation == "sigmoid"
    return decisions if single else classes
