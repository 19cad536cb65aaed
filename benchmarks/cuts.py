"""`cw.cut` against bare `keras.Model(tensor, tensor)`: time, and what a thousand cuts leave."""

import gc
from collections.abc import Iterator
from functools import partial
from time import perf_counter
from typing import Any

import keras
import psutil
from measure import Part, Row, Times, interleaved, number

import cutwidgets as cw

ENDS = ["conv3_block4", "conv4_block1", "conv4_block3", "conv4_block6", "conv5_block3"]


def resnet() -> keras.Model:
    """The model that is cut."""
    return keras.applications.ResNet50(include_top=False, weights=None)


def bare(model: keras.Model, end: str = "conv4_block6") -> keras.Model:
    """The same slice by Keras alone: what enters conv3, and what leaves a block."""
    start = model.get_layer("conv2_block3_out").output
    return keras.Model(start, model.get_layer(f"{end}_out").output)


def ours(model: keras.Model, end: str = "conv4_block6") -> keras.Model:
    """The slice by us."""
    return cw.cut(model, "conv3", end)


def first(repeats: int) -> Iterator[Row]:
    """The first cut from a start, each time of a new model."""
    peer = "keras.Model(tensor, tensor)"
    times = interleaved(ours, bare, repeats, fresh=looked_at)
    yield times.row("cut: the first from a start", 1.3, peer)
    times = interleaved(ours, bare, repeats, fresh=resnet)
    yield times.row("the same of a model never seen, with finding its blocks", None, peer)


def looked_at() -> keras.Model:
    """A model whose blocks are known, as one has to know what to cut."""
    model = resnet()
    cw.anatomy(model)
    return model


def further(count: int, chunk: int) -> list[Row]:
    """Further cuts from the same start, with several ends; time, memory and nodes.

    Each has a model of its own, as bare Keras' cuts leave nodes behind. Their turns are chunks, so
    that the growth of the process can be told apart.
    """
    models = {ours: resnet(), bare: resnet()}
    times: dict[Any, list[float]] = {ours: [], bare: []}
    grown = {ours: 0.0, bare: 0.0}
    for function, model in models.items():
        for end in ENDS:
            function(model, end)
    nodes = {function: _nodes(model) for function, model in models.items()}
    for i in range(count // chunk):
        for function in (bare, ours) if i % 2 else (ours, bare):
            before = _megabytes()
            gc.disable()
            model = models[function]
            for k in range(chunk):
                times[function].append(_seconds(partial(function, model, ENDS[k % len(ENDS)])))
            gc.enable()
            if i:  # the first chunk fills what Python keeps for later
                grown[function] += _megabytes() - before
    left = {function: _nodes(model) - nodes[function] for function, model in models.items()}
    return [
        Times(times[ours], times[bare]).row(
            f"cut: {count} further ones from that start", 0.6, "keras.Model(tensor, tensor)"
        ),
        _worn(ours, models[ours], count).row(
            f"a cut of a model that was cut {count} times", 1.2, "ours, of a new model"
        ),
        _worn(bare, models[bare], count).row(
            "the same, bare Keras", None, "bare Keras, of a new model"
        ),
        Row(
            f"nodes that a layer has more after {count} cuts",
            str(left[ours]),
            f"keras.Model(tensor, tensor): {left[bare]}",
            number(left[ours] / left[bare]),
            "none",
            left[ours] == 0,
        ),
        Row(
            f"growth of the process over {count - chunk} cuts",
            f"{grown[ours]:.1f} MB",
            f"keras.Model(tensor, tensor): {grown[bare]:.1f} MB",
            number(grown[ours] / max(grown[bare], 0.1)),
            "≤ 2 MB",
            grown[ours] <= 2,
        ),
    ]


def _worn(function: Any, model: keras.Model, count: int) -> Times:
    """Cuts of a model that was cut so often, against those of a new one."""
    new = resnet()
    for end in ENDS:
        function(new, end)
    return interleaved(partial(function, model), partial(function, new), min(count // 20, 30))


def _seconds(function: Any) -> float:
    begun = perf_counter()
    function()
    return perf_counter() - begun


def _megabytes() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


def _nodes(model: keras.Model) -> int:
    return len(model.get_layer("conv4_block1_out")._inbound_nodes)


def copied(repeats: int) -> Row:
    """A slice with weights of its own."""
    model = resnet()
    part = bare(model)

    def peer() -> keras.Model:
        clone = keras.models.clone_model(part)
        clone.set_weights(part.get_weights())
        return clone

    times = interleaved(lambda: cw.cut(model, "conv3", "conv4", weights="copy"), peer, repeats)
    return times.row('cut(weights="copy")', 1.0, "clone_model and set_weights")


def parts(quick: bool) -> dict[str, Part]:
    """What this topic measures."""
    return {
        "the first cut": partial(first, 2 if quick else 5),
        "further cuts": partial(further, 200 if quick else 1000, 50 if quick else 100),
        "a cut with weights of its own": partial(copied, 3 if quick else 5),
    }
