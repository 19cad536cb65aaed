"""Several ends, layers exchanged, folded and inserted in many places, and comparing two models."""

from collections.abc import Iterator
from difflib import SequenceMatcher
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from cuts import looked_at, resnet
from measure import Part, Row, duration, interleaved, number, spread

import cutwidgets as cw

ENDS = ["conv3", "conv4", "conv5"]


def several_ends(repeats: int) -> Row:
    """A model of three stages from the input, of a model whose blocks are known."""

    def bare(model: keras.Model) -> keras.Model:
        lasts = [cw.anatomy(model).stages[i].blocks[-1].end for i in (1, 2, 3)]
        outputs = [model.get_layer(name).output for name in lasts]
        return keras.Model(model.input, dict(zip(ENDS, outputs, strict=True)))

    times = interleaved(lambda model: cw.cut(model, end=ENDS), bare, repeats, fresh=looked_at)
    return times.row("cut with three ends", 1.5, "keras.Model with three outputs")


def is_relu(layer: keras.Layer) -> bool:
    """Whether a layer is a ReLU and nothing else."""
    return getattr(layer, "activation", None) is keras.activations.relu and not layer.weights


def gelu() -> keras.Layer:
    """What comes in its place."""
    return keras.layers.Activation("gelu")


def exchanges(repeats: int) -> Iterator[Row]:
    """Every ReLU of ResNet50 by a GELU: 49 places."""
    one, many = resnet(), resnet()
    count = sum(map(is_relu, many.layers))
    times = interleaved(
        lambda: cw.replace(many, is_relu, gelu),
        lambda: cw.replace(one, "conv3_block1_1_relu", gelu()),
        repeats,
    )
    yield times.row(f"{count} layers exchanged", 3, "ours, one layer")

    def clone() -> keras.Model:
        def exchanged(layer: keras.Layer) -> keras.Layer:
            return gelu() if is_relu(layer) else layer

        return keras.models.clone_model(many, clone_function=exchanged)

    times = interleaved(lambda: cw.replace(many, is_relu, gelu), clone, repeats)
    yield times.row(f"{count} layers exchanged", None, "clone_model with a clone_function")


def folded(repeats: int, runs: int) -> Iterator[Row]:
    """What folding takes, and what it is good for."""
    model = resnet()
    smaller = cw.fold(model)
    lost = len(model.layers) - len(smaller.layers)
    times = interleaved(lambda: cw.fold(model), lambda: cw.anatomy(resnet()), repeats)
    took = spread(times.ours, duration)
    yield Row(f"fold(ResNet50), {lost} layers fewer", took, "", "", "53 layers", lost == 53)
    for size, name in ((1, "an image"), (8, "8 images")):
        images = tf.constant(np.random.default_rng(0).random((size, 224, 224, 3), "float32"))
        for how, make in (("compiled", _compiled), ("eager", lambda model: model)):
            a, b = (partial(_run, make(each), images) for each in (smaller, model))
            times = interleaved(a, b, runs, warm=3)
            yield times.row(f"folded ResNet50, {name}, {how}", None, "the model")


def _compiled(model: keras.Model) -> Any:
    return tf.function(partial(model, training=False), autograph=False)


def _run(function: Any, images: Any) -> np.ndarray:
    return function(images).numpy()


def comparison(repeats: int) -> Iterator[Row]:
    """Two DenseNet201, structure and weights, with finding the blocks of both."""

    def pair() -> tuple[keras.Model, keras.Model]:
        build = partial(keras.applications.DenseNet201, include_top=False, weights=None)
        return build(), build()

    def peer(models: tuple[keras.Model, keras.Model]) -> object:
        texts = [[str(_config(layer)) for layer in model.layers] for model in models]
        return SequenceMatcher(None, *texts, autojunk=False).get_opcodes()

    def ours(models: tuple[keras.Model, keras.Model]) -> object:
        return cw.compare(*models)

    times = interleaved(ours, peer, repeats, fresh=pair)
    yield times.row(
        "compare two DenseNet201, weights too", None, "difflib over the layers, no weights"
    )
    middle = sorted(times.ours)[len(times.ours) // 2]
    yield Row("the same", spread(times.ours, duration), "the limit: 1 s", number(middle), "≤ 1",
              middle <= 1)  # fmt: skip


def _config(layer: keras.Layer) -> dict[str, Any]:
    return {key: value for key, value in layer.get_config().items() if key != "name"}


def parts(quick: bool) -> dict[str, Part]:
    """What this topic measures."""
    return {
        "several ends": partial(several_ends, 2 if quick else 5),
        "exchanges": partial(exchanges, 2 if quick else 5),
        "folding": partial(folded, 2 if quick else 5, 5 if quick else 20),
        "comparison": partial(comparison, 2 if quick else 5),
    }
