"""A data set and networks to teach with: real digits, and networks that train within a minute."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from ..errors import CutwidgetsError
from ..files import write_whole
from ..progress import track
from ..text import percent_text
from .digits import Digits, digits
from .gradients import Gradients, meter
from .networks import residual_network
from .results import Result

# With 54 blocks a rate of 0.03 already ends at twice the error.
_RATE, _BATCH = 0.02, 32


@dataclass(frozen=True, eq=False, repr=False)
class Training(Result):
    """How a training went. Columns: epoch, loss, training error, test error (shares).

    Attributes:
        gradients: Of the first training pictures, before the first and after each epoch; empty
            where nobody asked for them.
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
    """Train a network for classes, in place.

    By stochastic gradient descent with momentum 0.9, a batch of 32, and a rate that rises to 0.02
    in the first epoch (He et al. 2015, section 4.2, warm up their deepest network likewise), and
    falls by a cosine from then on (Loshchilov and Hutter 2017, "SGDR").

    Args:
        model: The model, which gives a probability for each class.
        data: What to train on.
        epochs: How often it sees each picture.
        watch: Whether to measure the gradients of all blocks after each epoch.
        seed: Seed of the order of the pictures, and of what is random in the model's layers.

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
            f"The model {model.name!r} takes pictures of shape {model.input_shape[1:]}, and these "
            f"have {data.train[0].shape[1:]}. Give both the same size."
        )
    _compile(model, -(-len(data.train[0]) // _BATCH), epochs)
    # Metrics make their variables when they are first asked, and TensorFlow traces a step twice if
    # any are made in it: half of the time that a short training takes.
    model.evaluate(*data.test, batch_size=len(data.test[0]), verbose=0)
    measure = meter(model, *data.train) if watch else None
    gradients = [measure("before training")] if measure else []
    rows = []
    keras.utils.set_random_seed(seed)
    for epoch in track(range(1, epochs + 1), f"training {model.name}"):
        history = model.fit(*data.train, batch_size=_BATCH, verbose=0).history
        _, accuracy = model.evaluate(*data.test, batch_size=len(data.test[0]), verbose=0)
        rows.append(
            {
                "epoch": epoch,
                "loss": history["loss"][0],
                "training error": 1 - history["accuracy"][0],
                "test error": 1 - accuracy,
            }
        )
        gradients += [measure(f"epoch {epoch}")] if measure else []
    return Training(model.name, pd.DataFrame(rows), tuple(gradients))


def _compile(model: keras.Model, steps: int, epochs: int) -> None:
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, (epochs - 1) * steps or 1, warmup_target=_RATE, warmup_steps=steps
    )
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    # Made now for the same reason, and each would take a tenth of a second in the trace.
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])


def trained(
    blocks: Sequence[int] = (6, 6, 6), *, epochs: int = 12, seed: int = 0, **options: Any
) -> keras.Model:
    """A network that `residual_network` makes and `train` trains on the digits, kept on disk.

    On two cores 18 blocks take half a minute and 54 take two, and nothing the second time.

    Args:
        blocks: Number of blocks in each stage.
        epochs: How often it sees each picture.
        seed: Seed of weights and training.
        options: The other arguments of `residual_network`.

    Raises:
        CutwidgetsError: If there can be no such network.

    Example:
        >>> from cutwidgets import lab
        >>> lab.trained(blocks=(1,), epochs=1, width=4).name
        'residual_1'
    """
    model = residual_network(blocks, seed=seed, **options)
    asked = [model.to_json(), epochs, seed, _RATE, _BATCH, keras.__version__]
    key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
    file = cache_folder() / f"{model.name}-{key}.weights.h5"
    try:
        model.load_weights(file)
    except (OSError, ValueError):  # there is none, or a damaged one
        model = residual_network(blocks, seed=seed, **options)  # some weights may have been read
        train(model, digits(options.get("size", 8)), epochs, seed=seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, model.save_weights, replace=True)
    return model


def cache_folder() -> Path:
    """Where trained networks are kept; it may be deleted at any time."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("cutwidgets"))
