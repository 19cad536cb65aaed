"""The anatomy of a model, and its picture, against Keras' own pictures."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
from measure import Row, Times, against, interleaved, timed

import cutwidgets as cw

NAMES = ("ResNet50", "DenseNet201", "EfficientNetB7")
LENGTHS = (300, 1000, 3000)


def plain(length: int) -> list[keras.KerasTensor]:
    """A chain of layers: what each gives."""
    tensors = [keras.Input((4,))]
    for _ in range(length):
        tensors.append(keras.layers.Dense(4)(tensors[-1]))
    return tensors


def residual(length: int) -> list[keras.KerasTensor]:
    """A chain of residual blocks of three layers each, as long."""
    tensors = [keras.Input((4,))]
    for _ in range(length // 3):
        branch = keras.layers.Dense(4, activation="relu")(tensors[-1])
        branch = keras.layers.Dense(4)(branch)
        tensors += [branch, branch, keras.layers.Add()([tensors[-1], branch])]
    return tensors


def linearity(chain: Callable[[int], list[keras.KerasTensor]], what: str, repeats: int) -> list:
    """`cw.anatomy` of longer and longer parts of a chain, against making the `keras.Model`."""
    tensors, found = chain(LENGTHS[-1]), []
    for length in LENGTHS:
        end = tensors[length]
        model = keras.Model(tensors[0], end)
        times = interleaved(
            lambda model=model: cw.anatomy(model),
            lambda end=end: keras.Model(tensors[0], end),
            repeats,
        )
        found.append((times, times.row(f"anatomy: {what} of {length} layers", None, "keras.Model")))
    times, rows = zip(*found, strict=True)
    short, long = (
        [seconds / length for seconds in one.ours]
        for one, length in ((times[0], LENGTHS[0]), (times[-1], LENGTHS[-1]))
    )
    what = f"anatomy, a layer of a {what} of {LENGTHS[-1]} layers"
    return [*rows, Times(long, short).row(what, 1.5, f"ours, of {LENGTHS[0]}")]


def drawn(name: str, model: keras.Model, folder: Path, repeats: int) -> list[Row]:
    """From the model to SVG, against `keras.utils.plot_model`."""

    def picture() -> str:
        return cw.anatomy(model).svg

    def peer(form: str, **options: bool) -> Callable[[], None]:
        return lambda: keras.utils.plot_model(model, folder / f"{name}.{form}", **options)

    png = interleaved(picture, peer("png"), max(1, repeats // 2), warm=0)
    svg = interleaved(picture, peer("svg"), repeats, warm=0)
    rows = [
        png.row(f"diagram of {name} as SVG", 1 / 20, "plot_model, PNG"),
        svg.row(f"diagram of {name} as SVG", 1 / 3, "plot_model, SVG"),
    ]
    what = f"diagram of {name} with shapes, as SVG"
    try:
        shapes = timed(peer("svg", show_shapes=True))
    except Exception as error:  # whatever dot dies of
        reason = str(error).strip().splitlines()[0]
        return [*rows, Row(what, peer=f"plot_model(show_shapes=True) fails: {reason:.80}")]
    return [*rows, Times([timed(picture)], [shapes]).row(what, None, "plot_model, SVG")]


def rows(quick: bool) -> list[Row]:
    """All rows of this topic."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)  # Keras makes models by recursion
    found = []
    try:
        for chain, what in ((plain, "chain"), (residual, "residual chain")):
            found += linearity(chain, what, 2 if quick else 5)
    finally:
        sys.setrecursionlimit(limit)
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES[:1] if quick else NAMES:
            model = getattr(keras.applications, name)(weights=None, include_top=False)
            if name == NAMES[0]:
                seconds = [timed(cw.anatomy, model) for _ in range(10 if quick else 40)]
                found.append(against(seconds, 0.005, f"anatomy of {name}"))
            found += drawn(name, model, Path(folder), 2 if quick else 6)
    return found
