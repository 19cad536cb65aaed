"""Forward passes: of all blocks at once, and of a slice."""

from functools import partial

import keras
import numpy as np
from cuts import bare, ours, resnet
from measure import Row, Times, interleaved, timed

import cutwidgets as cw


def blockwise(repeats: int) -> list[Row]:
    """What every block gives, against the plain pass, one model of many outputs, many models."""
    model = resnet()
    image = np.random.default_rng(0).random((1, 224, 224, 3), "float32")
    names = [block.name for block in cw.anatomy(model)]
    outputs = [cw.cut(model, end=name).output for name in names]
    together = keras.Model(model.input, outputs)
    apart = [keras.Model(model.input, output) for output in outputs]

    def every() -> dict[str, np.ndarray]:
        return cw.activations(model, image)

    def plain() -> np.ndarray:
        return np.asarray(model(image, training=False))

    def in_one() -> list[np.ndarray]:
        return [np.asarray(value) for value in together(image, training=False)]

    def one_by_one() -> list[np.ndarray]:
        return [np.asarray(part(image, training=False)) for part in apart]

    what = f"activations of the {len(names)} blocks of ResNet50"
    slow = Times([timed(every) for _ in range(2)], [timed(one_by_one) for _ in range(2)])
    return [
        interleaved(every, plain, repeats).row(what, 1.15, "model(x)"),
        interleaved(in_one, plain, repeats).row(
            "the same by one keras.Model of as many outputs", None, "model(x)"
        ),
        slow.row(what, None, f"{len(names)} keras.Models"),
    ]


def steady(repeats: int) -> list[Row]:
    """A slice that has run before, against the bare `keras.Model` of the same tensors."""
    model = resnet()
    parts = {"ours": ours(model), "bare": bare(model)}
    x = np.random.default_rng(0).random((1, 56, 56, 256), "float32")
    runs = {name: partial(part.predict_on_batch, x) for name, part in parts.items()}
    times = interleaved(runs["ours"], runs["bare"], repeats, warm=3)
    traces = {name: part.predict_function.experimental_get_tracing_count()
              for name, part in parts.items()}  # fmt: skip
    return [
        times.row("predict_on_batch of the slice conv3 to conv4", 1.05, "keras.Model"),
        Row(
            f"traces in {repeats + 3} calls",
            str(traces["ours"]),
            f"keras.Model: {traces['bare']}",
            f"{traces['ours'] / traces['bare']:.3g}",
            "one trace",
            traces["ours"] == 1,
        ),
    ]


def rows(quick: bool) -> list[Row]:
    """All rows of this topic."""
    return [*blockwise(5 if quick else 15), *steady(10 if quick else 60)]
