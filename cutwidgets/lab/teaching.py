"""A data set and networks to teach with: real digits, and networks that train within a minute."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import layers

from ..errors import CutError
from ..files import write
from .backprop import Gradients, meter
from .progress import track
from .results import Result

# Short trainings need statistics of a normalisation that follow soon: Keras's own momentum, 0.99,
# takes some hundred steps.
_MOMENTUM = 0.9
# With 54 blocks a rate of 0.03 already ends at twice the error.
_RATE, _BATCH = 0.02, 32


@dataclass(frozen=True, eq=False)
class Digits:
    """Handwritten digits, split for training and test.

    Attributes:
        train: Pictures, float32 (number, size, size, 1) from 0 to 1, and classes, integers from 0
            to 9.
        test: The same, of other pictures.
    """

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def digits(size: int = 8, seed: int = 0) -> Digits:
    """The 1,797 handwritten digits of scikit-learn, a fifth of them for the test.

    They are the test set of "Optical recognition of handwritten digits" (Alpaydin and Kaynak 1998,
    UCI machine learning repository), by 13 people, 8 by 8 pixels of 17 greys.

    Args:
        size: Pixels a side; above 8 they are enlarged.
        seed: Seed of the split, in which each digit has its share.

    Raises:
        CutError: If they cannot have this size.

    Example:
        >>> from cutwidgets import lab
        >>> data = lab.digits()
        >>> data.train[0].shape, data.test[0].shape
        ((1437, 8, 8, 1), (360, 8, 8, 1))
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if size not in range(8, 225):
        raise CutError(f"The digits can have 8 to 224 pixels a side. Received: {size!r}.")
    flat, classes = load_digits(return_X_y=True)
    pictures = (flat / flat.max()).reshape(-1, 8, 8, 1).astype("float32")
    if size > 8:
        enlarged = keras.ops.image.resize(pictures, (size, size))
        pictures = np.asarray(keras.ops.convert_to_numpy(enlarged))
    split = train_test_split(pictures, classes, test_size=0.2, random_state=seed, stratify=classes)
    train_x, test_x, train_y, test_y = split
    return Digits((train_x, train_y), (test_x, test_y))


def residual_network(
    blocks: Sequence[int] = (6, 6, 6),
    *,
    width: int = 16,
    size: int = 8,
    shortcuts: bool = True,
    preactivation: bool = False,
    normalisation: bool = True,
    survival: float = 1.0,
    seed: int = 0,
) -> keras.Model:
    """A residual network for the digits, as those for CIFAR-10 in He et al. 2015, section 4.2.

    Blocks of two 3×3 convolutions; each stage halves the resolution of the one before and doubles
    its width, where its first block has a 1×1 convolution as shortcut. Weights have the variance of
    He et al. 2015, "Delving deep into rectifiers". An ordinary Keras model, not trained yet.

    Args:
        blocks: Number of blocks in each stage.
        width: Channels of the first stage.
        size: Pixels a side of the input, which has one channel.
        shortcuts: Without them it is the same network, plain.
        preactivation: Whether normalisation and activation stand before the convolutions, and
            nothing behind the addition (He et al. 2016, "Identity mappings").
        normalisation: Whether there is batch normalisation.
        survival: Probability of the last block's residual branch in a training step; that of the
            first is near 1, with equal steps between (Huang et al. 2016, "Deep networks with
            stochastic depth"). Each example draws anew.
        seed: Seed of the weights.

    Raises:
        CutError: If there can be no such network.

    Example:
        >>> import cutwidgets as cw
        >>> from cutwidgets import lab
        >>> network = lab.residual_network(blocks=(2, 2))
        >>> [(block.name, block.shortcut) for block in cw.anatomy(network)][2:4]
        [('stage1_block2', 'identity'), ('stage2_block1', 'projection')]
    """
    if not blocks or any(number < 1 for number in blocks):
        raise CutError(f"A stage has one block at least. Received: blocks={blocks!r}.")
    if not 0 < survival <= 1 or (survival < 1 and not shortcuts):
        raise CutError(
            "A branch survives with a probability above 0, up to 1, and it takes a shortcut to do "
            f"without it. Received: survival={survival!r}, shortcuts={shortcuts!r}."
        )
    maker = _Maker(normalisation, preactivation, seed)
    inputs = keras.Input((size, size, 1), name="digit")
    x = maker.convolution(inputs, width, 3, 1, "stem")
    x = x if preactivation else maker.activated(x, "stem")
    total, count = sum(blocks), 0
    for stage, number in enumerate(blocks):
        for i in range(number):
            count += 1
            kept = 1 - count / total * (1 - survival)
            name = f"stage{stage + 1}_block{i + 1}"
            stride = 2 if stage and not i else 1
            x = maker.block(x, width * 2**stage, stride, name, shortcuts, kept)
    x = maker.activated(x, "top") if preactivation else x
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = maker.classes(x)
    kind = "residual" if shortcuts else "plain"
    return keras.Model(inputs, x, name=f"{kind}_{total}")


class _Maker:
    """Makes the layers of a network."""

    def __init__(self, normalisation: bool, preactivation: bool, seed: int) -> None:
        self._normalisation = normalisation
        self._preactivation = preactivation
        self._seeds = iter(range(seed * 100_000, (seed + 1) * 100_000))

    def convolution(self, x: Any, width: int, size: int, stride: int, name: str) -> Any:
        return layers.Conv2D(
            width,
            size,
            strides=stride,
            padding="same",
            use_bias=not self._normalisation,
            kernel_initializer=keras.initializers.HeNormal(next(self._seeds)),
            name=f"{name}_conv",
        )(x)

    def classes(self, x: Any) -> Any:
        start = keras.initializers.GlorotUniform(next(self._seeds))
        return layers.Dense(10, activation="softmax", kernel_initializer=start, name="classes")(x)

    def normalised(self, x: Any, name: str) -> Any:
        if not self._normalisation:
            return x
        return layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_bn")(x)

    def activated(self, x: Any, name: str) -> Any:
        return layers.ReLU(name=f"{name}_relu")(self.normalised(x, name))

    def block(self, x: Any, width: int, stride: int, name: str, shortcut: bool, kept: float) -> Any:
        before = x
        if self._preactivation:
            x = self.activated(x, f"{name}_1")
            x = self.convolution(x, width, 3, stride, f"{name}_1")
            x = self.activated(x, f"{name}_2")
            x = self.convolution(x, width, 3, 1, f"{name}_2")
        else:
            x = self.activated(self.convolution(x, width, 3, stride, f"{name}_1"), f"{name}_1")
            x = self.normalised(self.convolution(x, width, 3, 1, f"{name}_2"), f"{name}_2")
        if kept < 1:
            # One number for all of an example's branch: dropped as a whole, or scaled to make up.
            x = layers.Dropout(1 - kept, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(x)
        if shortcut:
            if stride > 1 or before.shape[-1] != width:
                before = self.convolution(before, width, 1, stride, f"{name}_0")
                before = before if self._preactivation else self.normalised(before, f"{name}_0")
            x = layers.Add(name=f"{name}_add")([before, x])
        return x if self._preactivation else layers.ReLU(name=f"{name}_out")(x)


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
            f"{100 * last['training error']:.1f} %, test error {100 * last['test error']:.1f} %."
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
        CutError: If the data do not fit the model.

    Example:
        >>> from cutwidgets import lab
        >>> model = lab.residual_network(blocks=(1,), width=4)
        >>> lab.train(model, lab.digits(), epochs=1).table.columns.tolist()
        ['epoch', 'loss', 'training error', 'test error']
    """
    if tuple(data.train[0].shape[1:]) != tuple(model.input_shape[1:]):
        raise CutError(
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
        CutError: If there can be no such network.

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
        write(file, model.save_weights, replace=True)
    return model


def cache_folder() -> Path:
    """Where trained networks are kept; it may be deleted at any time."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("cutwidgets"))
