"""Training of small networks on the digits, within minutes."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from ..errors import CutwidgetsError
from ..extras import needs
from ..files import write_whole
from ..progress import track
from ..text import percent_text
from .digits import Digits, digits
from .gradients import Gradients, meter
from .networks import residual_network
from .results import Result, frame

# With 54 blocks a learning rate of 0.03 already ends at twice the error.
_RATE, _BATCH = 0.02, 32


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
            label = f"{self.name}, {column.split()[0]}"
            axes.plot(self.table["epoch"], percent, style, color=colour, label=label)
        axes.set(xlabel="epoch", ylabel="error (%)")


def train(
    model: keras.Model, data: Digits, epochs: int = 12, *, watch: bool = False, seed: int = 0
) -> Training:
    """Train a classifier in place.

    Stochastic gradient descent with momentum 0.9 and batches of 32. The learning rate rises to 0.02
    during the first epoch (He et al. 2015, section 4.2, also warm up their deepest network), then
    decays by a cosine (Loshchilov and Hutter 2017, "SGDR").

    Args:
        model: The model, which outputs a probability for each class.
        data: Training and test data.
        epochs: Number of epochs.
        watch: Whether to measure the gradients of all blocks after each epoch.
        seed: Seed of the order of the images, and of random layers such as dropout.

    Raises:
        CutwidgetsError: If the data do not fit the model.

    Example:
        >>> from cutwidgets import lab
        >>> model = lab.residual_network(blocks=(1,), width=4)
        >>> lab.train(model, lab.digits(), epochs=1).table.columns.tolist()
        ['epoch', 'loss', 'training error', 'test error']
    """
    if tuple(data.train[0].shape[1:]) != tuple(model.input_shape[1:]):
        raise CutwidgetsError(
            f"The model {model.name!r} accepts images of shape {model.input_shape[1:]}. The data "
            f"have the shape {data.train[0].shape[1:]}. Use the same size for both."
        )
    _compile(model, -(-len(data.train[0]) // _BATCH), epochs)
    # Metrics create their variables on first use. TensorFlow traces a step twice if it creates
    # variables, which would take half of the time of a short training.
    model.evaluate(*data.test, batch_size=len(data.test[0]), verbose=0)
    measure = meter(model, *data.train) if watch else None
    gradients = [measure("before training")] if measure else []
    rows = []
    keras.utils.set_random_seed(seed)
    for epoch in track(range(1, epochs + 1), f"training {model.name}"):
        history = model.fit(*data.train, batch_size=_BATCH, verbose=0).history
        _, accuracy = model.evaluate(*data.test, batch_size=len(data.test[0]), verbose=0)
        rows.append((epoch, history["loss"][0], 1 - history["accuracy"][0], 1 - accuracy))
        gradients += [measure(f"epoch {epoch}")] if measure else []
    table = frame(rows, ["epoch", "loss", "training error", "test error"])
    return Training(model.name, table, tuple(gradients))


def _compile(model: keras.Model, steps: int, epochs: int) -> None:
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, (epochs - 1) * steps or 1, warmup_target=_RATE, warmup_steps=steps
    )
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    # For the same reason. In the trace, each variable would take a tenth of a second.
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])


def trained(
    blocks: Sequence[int] = (6, 6, 6), *, epochs: int = 12, seed: int = 0, **options: Any
) -> keras.Model:
    """A network of `residual_network`, trained on the digits by `train`, and cached on disk.

    On two cores, 18 blocks take half a minute and 54 take two; the second time they are loaded.

    Args:
        blocks: Number of blocks in each stage.
        epochs: Number of epochs.
        seed: Seed of weights and training.
        options: The other arguments of `residual_network`.

    Raises:
        CutwidgetsError: If an argument is out of range, or scikit-learn or platformdirs is not
            installed.

    Example:
        >>> from cutwidgets import lab
        >>> lab.trained(blocks=(1,), epochs=1, width=4).name
        'residual_1'
    """
    model = residual_network(blocks, seed=seed, **options)
    settings = [model.to_json(), epochs, seed, _RATE, _BATCH, keras.__version__]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    file = cache_folder() / f"{model.name}-{key}.weights.h5"
    try:
        model.load_weights(file)
    except (OSError, ValueError):  # no file, or a damaged one
        model = residual_network(blocks, seed=seed, **options)  # some weights may be loaded already
        train(model, digits(options.get("size", 8)), epochs, seed=seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, model.save_weights, replace=True)
    return model


def cache_folder() -> Path:
    """The folder of the trained networks; it may be deleted at any time."""
    with needs("lab", "A trained network"):
        import platformdirs

    return Path(platformdirs.user_cache_dir("cutwidgets"))
