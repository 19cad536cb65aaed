"""Forward passes: of all blocks at once, and of slices."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from cuts import bare, ours, resnet
from measure import Part, Row, interleaved, number

import cutwidgets as cw


def blockwise(repeats: int) -> Iterator[Row]:
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
    yield interleaved(every, plain, repeats).row(what, 1.15, "model(x)")
    yield interleaved(in_one, plain, repeats).row(
        "the same by one keras.Model of as many outputs", None, "model(x)"
    )
    yield interleaved(every, one_by_one, 2, warm=0).row(what, None, f"{len(names)} keras.Models")


def in_pieces(repeats: int) -> Row:
    """Slices that make up a model, one after another, against these layers in the full model."""
    model = resnet()
    image = tf.constant(np.random.default_rng(0).random((1, 224, 224, 3), "float32"))
    pieces = [compiled(piece) for piece in cw.split(model, "conv2", "conv3", "conv4")]
    whole = compiled(model)

    def slices() -> np.ndarray:
        value = image
        for piece in pieces:
            value = piece(value)
        return value.numpy()

    return interleaved(slices, lambda: whole(image).numpy(), repeats, warm=3).row(
        f"ResNet50 in {len(pieces)} slices, each compiled", 1.05, "the full model, compiled"
    )


def compiled(model: keras.Model) -> Any:
    """A model's forward pass as one graph of TensorFlow."""
    return tf.function(partial(model, training=False))


def steady(repeats: int) -> Iterator[Row]:
    """A slice that has run before, against the bare `keras.Model` of the same tensors."""
    model = resnet()
    parts = {"ours": ours(model), "bare": bare(model)}
    generator = np.random.default_rng(0)
    x = generator.random((1, 56, 56, 256), "float32")
    runs = {name: partial(part.predict_on_batch, x) for name, part in parts.items()}
    times = interleaved(runs["ours"], runs["bare"], repeats, warm=3)
    yield times.row("predict_on_batch of the slice conv3 to conv4", 1.05, "keras.Model")
    yield _traces(parts, f"traces in {repeats + 3} calls with one shape", 1)
    x = generator.random((1, 28, 28, 256), "float32")
    for part in parts.values():
        for _ in range(3):
            part.predict_on_batch(x)
    yield _traces(parts, "traces after 3 more calls with another shape", 2)


def _traces(parts: dict[str, keras.Model], what: str, shapes: int) -> Row:
    """How often each slice was compiled."""
    ours, bare = (
        parts[name].predict_function.experimental_get_tracing_count() for name in ("ours", "bare")
    )
    ratio = number(ours / bare)
    return Row(what, str(ours), f"keras.Model: {bare}", ratio, "one a shape", ours == shapes)


def parts(quick: bool) -> dict[str, Part]:
    """What this topic measures."""
    return {
        "activations": partial(blockwise, 5 if quick else 11),
        "a model in slices": partial(in_pieces, 10 if quick else 40),
        "a slice that has run before": partial(steady, 10 if quick else 60),
    }
