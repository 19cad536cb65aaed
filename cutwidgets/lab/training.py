"""Training of small networks on the digits, within minutes."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..extras import needs
from ..files import write_whole
from ..progress import track
from ..text import percent_text
from .digits import Digits, digits
from .gradients import Gradients, meter
from .networks import residual_network
from .results import Result, errors_on_a_log_axis, frame
from .shipped import shipped_weights

# With 54 blocks a learning rate of 0.03 already ends at twice the error.
_RATE, _BATCH = 0.02, 32

_ORDER = 2  # the version of the training, so that networks of an earlier one are trained anew


@dataclass(frozen=True, eq=False, repr=False)
class Training(Result):
    """The course of a training. Columns: epoch, loss, training error, test error (shares).

    Attributes:
        gradients: Gradients for the first training images, before training and after each epoch;
            empty without `watch`.
    """

    gradients: tuple[Gradients, ...] = ()
    _from_zero = True

    @property
    def finding(self) -> str:
        """Errors after the last epoch."""
        last = self.table.iloc[-1]
        return (
            f"{self.name} after {len(self.table)} epochs: training error "
            f"{percent_text(last['training error'])}, test error "
            f"{percent_text(last['test error'])}."
        )

    def _draw(self, axes: Any, colour: str) -> None:
        for column, style in (("training error", ":"), ("test error", "-")):
            percent = 100 * self.table[column]
            label = self.name if style == "-" else None
            axes.plot(self.table["epoch"], percent, style, color=colour, label=label)
        axes.set(xlabel="epoch", ylabel="error (%)\ndotted: training")
        errors_on_a_log_axis(axes)


def train(
    model: keras.Model, data: Digits, epochs: int = 12, *, watch: bool = False, seed: int = 0
) -> Training:
    """Train a classifier in place.

    Stochastic gradient descent with momentum 0.9 and batches of 32. The learning rate rises to 0.02
    during the first epoch (He et al. 2015, section 4.2, also warm up their deepest network), then
    decays by a cosine (Loshchilov and Hutter 2017, "SGDR"). Both errors are those of the network at
    the end of an epoch, in inference mode.

    Args:
        model: The model, which outputs a probability for each class.
        data: Training and test data.
        epochs: Number of epochs.
        watch: Whether to measure the gradients of all blocks after each epoch.
        seed: Seed of the order of the images, and of random layers such as dropout.

    Raises:
        CutwidgetsError: If the data do not fit the model, or the training diverges.

    Example:
        >>> from cutwidgets import lab
        >>> model = lab.residual_network(blocks=(1,), width=4)
        >>> lab.train(model, lab.digits(), epochs=1).table.columns.tolist()
        ['epoch', 'loss', 'training error', 'test error']
    """
    x, y = data.train
    if tuple(x.shape[1:]) != tuple(model.input_shape[1:]):
        raise CutwidgetsError(
            f"The model {model.name!r} accepts images of shape {model.input_shape[1:]}. The data "
            f"have the shape {x.shape[1:]}. Use the same size for both."
        )
    steps = -(-len(x) // _BATCH)
    _compile(model, steps, epochs)
    # Metrics create their variables on first use. TensorFlow traces a step twice if it creates
    # variables, which would take half of the time of a short training.
    _evaluate(model, data.test)
    measure = meter(model, x, y) if watch else None
    gradients = [measure("before training")] if measure else []
    rows, order = [], np.random.default_rng(seed)
    seed_layers(model, seed)
    bar = track(range(epochs * steps), f"training {model.name}")
    step = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: next(bar))
    for epoch in range(1, epochs + 1):
        # In our own order, as Keras's depends on the seeds of the whole process.
        chosen = order.permutation(len(x))
        model.fit(
            x[chosen], y[chosen], batch_size=_BATCH, shuffle=False, verbose=0, callbacks=[step]
        )
        (loss, error), (_, test_error) = _evaluate(model, data.train), _evaluate(model, data.test)
        if not np.isfinite(loss):
            raise CutwidgetsError(
                f"The training of {model.name!r} diverged: the loss is {loss} after epoch {epoch}. "
                "Use normalisation and shortcuts, or fewer blocks."
            )
        rows.append((epoch, loss, error, test_error))
        gradients += [measure(f"epoch {epoch}")] if measure else []
    list(bar)  # the end of the bar
    table = frame(rows, ["epoch", "loss", "training error", "test error"])
    return Training(model.name, table, gradients=tuple(gradients))


def _compile(model: keras.Model, steps: int, epochs: int) -> None:
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, (epochs - 1) * steps or 1, warmup_target=_RATE, warmup_steps=steps
    )
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    # For the same reason. In the trace, each variable would take a tenth of a second.
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])


def _evaluate(model: keras.Model, pair: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    """The loss and the error, a share, in inference mode."""
    loss, accuracy = model.evaluate(*pair, batch_size=len(pair[0]), verbose=0)
    return float(loss), 1 - float(accuracy)


def seed_layers(model: keras.Model, seed: int) -> None:
    """Seed each random layer, and leave the seeds of the user's process as they are."""
    states = [v for v in model.variables if v.name == "seed_generator_state"]
    for i, state in enumerate(states):
        state.assign(np.array([seed, i], state.dtype))


def trained(
    blocks: Sequence[int] = (6, 6, 6),
    *,
    epochs: int = 12,
    seed: int = 0,
    retrain: bool = False,
    **options: Any,
) -> keras.Model:
    """A network of `residual_network`, trained on the digits by `train`.

    Three networks with `width=8, epochs=24` come with the package: 54 blocks, `blocks=(18, 18,
    18)`, as usual and with stochastic depth (`survival=0.5`), and a plain one of 18 blocks,
    `shortcuts=False`. All others are trained, 18 blocks in half a minute on two cores, and are
    loaded from the cache on disk the second time.

    Args:
        blocks: Number of blocks in each stage.
        epochs: Number of epochs.
        seed: Seed of weights and training.
        retrain: Whether to train in any case, and replace what is in the cache.
        options: The other arguments of `residual_network`.

    Raises:
        CutwidgetsError: If an argument is out of range, or scikit-learn or platformdirs is not
            installed.

    Example:
        >>> from cutwidgets import lab
        >>> lab.trained(blocks=(1,), epochs=1, width=4).name
        'residual_1'
    """
    settings = {"blocks": tuple(blocks), "epochs": epochs, "seed": seed, **options}
    data = digits(options.get("size", 8))
    model = residual_network(blocks, seed=seed, **options)
    weights, file = shipped_weights(settings), _cached_file(model, epochs, seed)
    if not retrain and weights is not None:
        model.set_weights(weights)
    elif retrain or not _loaded(model, file):
        model = residual_network(blocks, seed=seed, **options)  # some weights may be loaded already
        train(model, data, epochs, seed=seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, model.save_weights, replace=True)
    _compile(model, -(-len(data.train[0]) // _BATCH), epochs)  # for `evaluate` and `fit`
    return model


def _cached_file(model: keras.Model, epochs: int, seed: int) -> Path:
    settings = [model.to_json(), epochs, seed, _RATE, _BATCH, _ORDER, keras.__version__]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    return cache_folder() / f"{model.name}-{key}.weights.h5"


def _loaded(model: keras.Model, file: Path) -> bool:
    """Load weights; `False` if there is no file, or a damaged one."""
    try:
        model.load_weights(file)
    except (OSError, ValueError):
        return False
    return True


def cache_folder() -> Path:
    """The folder of the trained networks; it may be deleted at any time."""
    with needs("lab", "A trained network"):
        import platformdirs

    return Path(platformdirs.user_cache_dir("cutwidgets"))
