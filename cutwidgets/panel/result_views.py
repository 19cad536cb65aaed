"""What the panel's page is told of forward passes, checks, costs and surgery."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from ..analysis.costs import Costs
from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph
from ..inference import images, inputs, pictures
from ..structure.anatomy import Anatomy
from ..surgery import effects
from ..surgery.build import Section
from ..surgery.checking import Check
from ..surgery.effects import Change
from ..surgery.removal import removable
from ..surgery.slicing import section
from ..text import shape_text
from .forward_view import Run

MAPS = 32  # how many feature maps the page shows at a time


def shown_input(
    model: keras.Model,
    graph: CallGraph,
    image: Image.Image,
    preprocess: Callable[[np.ndarray], np.ndarray] | None,
) -> tuple[dict[int, Any], dict[str, Any]]:
    """Values for a model's inputs, from a photograph if it takes one, and what is told of them.

    Raises:
        CutwidgetsError: If the user's own preprocessing fails.
    """
    if not images.takes_images(graph):
        shapes = ", ".join(str(graph.tensors[tensor].shape) for tensor in graph.inputs)
        words = f"random numbers: the model takes {shapes}, which is no photograph"
        return inputs.random_input(graph, seed=0), {"facts": [("Shown", words)]}
    preprocessing = images.preprocessing(graph, preprocess)
    pixels = images.pixels(graph, image)
    try:
        given = {graph.inputs[0]: preprocessing.function(pixels)}
    except Exception as problem:  # whatever a user's own function raises
        raise CutwidgetsError(
            f"Preprocessing by {preprocessing.name} failed: {problem!r}"
        ) from problem
    small = image.copy()
    small.thumbnail((224, 224))
    facts = [("Preprocessing", preprocessing.name)]
    return given, {"facts": facts, "photo": pictures.png(small)}


def run(outcome: Run, part: Section) -> dict[str, Any]:
    """The facts about a forward pass."""
    arrays = [
        *((_numbered("Input", i, outcome.inputs), a) for i, a in enumerate(outcome.inputs)),
        *((_numbered("Output", i, outcome.outputs), a) for i, a in enumerate(outcome.outputs)),
    ]
    return {
        "facts": [("Time", f"{1000 * outcome.seconds:.0f} ms for the slice, without compiling it")],
        "statistics": [_statistics(name, array) for name, array in arrays],
        "predictions": predictions(outcome.outputs[0], part),
    }


def _numbered(word: str, i: int, arrays: Sequence[np.ndarray]) -> str:
    return word if len(arrays) == 1 else f"{word} {i + 1}"


def _statistics(name: str, array: np.ndarray) -> tuple[str, ...]:
    """A row of: name, shape, dtype, smallest, mean and largest value, share of zeros."""
    shape = f"{shape_text(array.shape)}", str(array.dtype)
    if not array.size or array.dtype.kind not in "buif":
        return name, *shape, "", "", "", ""
    numbers = [float(f(array)) for f in (np.min, np.mean, np.max)]
    zeros = f"{100 * float(np.mean(array == 0)):.0f} %"
    return name, *shape, *(f"{number:.3g}" for number in numbers), zeros


def maps(array: np.ndarray, first: int, channel_axis: int) -> dict[str, Any]:
    """Feature maps of the first example, from a channel on.

    Args:
        array: With the batch axis.
        first: The first channel to show.
        channel_axis: Where the model has its channels, -1 or 1.
    """
    if channel_axis == 1 and array.ndim > 2:
        array = np.moveaxis(array, 1, -1)
    several = array.ndim > 3
    channels = array.shape[-1] if several else 1
    first = max(0, min(first, channels - MAPS))
    last = min(first + MAPS, channels)
    words = (
        f"channels {first + 1} to {last} of {channels:,}" if several else shape_text(array.shape)
    )
    return {
        "picture": pictures.feature_maps(array, limit=MAPS, first=first),
        "first": first,
        "channels": channels,
        "words": words,
    }


def predictions(array: np.ndarray, part: Section, top: int = 5) -> list[tuple[str, float]]:
    """The classes that a classifier thinks likeliest, with their probabilities; else nothing."""
    last = part.graph.maker(part.outputs[0])
    activation = getattr(getattr(last.layer, "activation", None), "__name__", last.kind).lower()
    is_classifier = array.ndim == 2 and array.shape[1] > 1 and activation == "softmax"
    if not is_classifier or not np.isfinite(array[0]).all():
        return []
    best = np.argsort(array[0])[::-1][:top]
    names = _classes() if array.shape[1] == 1000 and _is_application(part.graph.name) else None
    return [(names[i] if names else f"class {i}", float(array[0, i])) for i in best]


def _is_application(name: str) -> bool:
    plain = name.lower().replace("_", "").replace("-", "")
    return any(plain.startswith(own.lower()) for own in dir(keras.applications) if own[0].isupper())


def _classes() -> list[str] | None:
    """Names of the classes of ImageNet, if Keras has downloaded them before."""
    file = Path.home() / ".keras" / "models" / "imagenet_class_index.json"
    if not file.exists():
        return None
    utils = importlib.import_module("keras.applications.resnet")
    decoded = utils.decode_predictions(np.arange(1000, 0, -1)[np.newaxis], top=1000)[0]
    return [name.replace("_", " ") for _, name, _ in decoded]


def check(shown: Check) -> dict[str, Any]:
    """The outcome of a check, block by block."""
    return {
        "ok": shown.ok,
        "conclusive": shown.conclusive,
        "text": str(shown),
        "rows": [(name, f"{difference:.3g}") for name, difference in shown.differences],
    }


def costs(shown: Costs) -> dict[str, Any]:
    """The costs of all blocks, and of the model."""
    return {
        "at": ", ".join(shape_text(shape) for shape in shown.input_shapes),
        "rows": [
            {
                "parameters": cost.parameters,
                "macs": cost.macs,
                "bytes": cost.activation_bytes,
                "field": "×".join(map(str, cost.receptive_field)) if cost.receptive_field else None,
                "uncounted": list(cost.uncounted),
            }
            for cost in shown
        ],
    }


def operations(anatomy: Anatomy, part: Section) -> dict[str, Any]:
    """The residual blocks of a slice that can be removed, and the pairs that can change places."""
    inside = {block.name for block in anatomy if set(block.calls) <= set(part.calls)}
    pairs = [(anatomy[i].name, anatomy[i + 1].name) for i in effects.swappable(anatomy)]
    return {
        "removable": [
            block.name for block in removable(anatomy) if block.shortcut and block.name in inside
        ],
        "swappable": [pair for pair in pairs if inside.issuperset(pair)],
    }


def removal(anatomy: Anatomy, names: Sequence[str], given: Mapping[int, Any]) -> dict[str, Any]:
    """What a model's output is without some blocks, and the code that removes them."""
    change = effects.removal(anatomy, names, given)
    return {
        "title": f"Without {', '.join(names)}",
        "code": f"smaller = cw.remove(model, {', '.join(map(repr, names))})",
        **_change(anatomy, change),
    }


def swap(anatomy: Anatomy, names: Sequence[str], given: Mapping[int, Any]) -> dict[str, Any]:
    """What a model's output is with two neighbours swapped, and the code that swaps them."""
    first = next(i for i, block in enumerate(anatomy) if block.name == names[0])
    change = effects.swap(anatomy, first, given)
    ends = [block.name for block in anatomy.blocks[max(0, first - 1) : first + 2]]
    head, tail = ["head"] if first else [], ["tail"] if first + 2 < len(anatomy) else []
    ends = ends if tail else ends[:-1]
    return {
        "title": f"{names[0]} and {names[1]} swapped",
        "code": f"{', '.join([*head, 'one', 'other', *tail])} = "
        f"cw.split(model, {', '.join(map(repr, ends))})\n"
        f"swapped = cw.join({', '.join([*head, 'other', 'one', *tail])})",
        **_change(anatomy, change),
    }


def _change(anatomy: Anatomy, change: Change) -> dict[str, Any]:
    whole = section(anatomy)
    before, after = (predictions(arrays[0], whole) for arrays in (change.before, change.after))
    told: dict[str, Any] = {
        "facts": [
            ("Parameters", f"{change.parameters_before:,} → {change.parameters_after:,}"),
            ("Largest change", f"{change.largest:.3g}"),
            ("Relative change", f"{100 * change.relative:.3g} % of the output's length"),
            ("Cosine", f"{change.cosine:.4f} between the outputs"),
        ],
    }
    if before and after:
        return told | {"predictions": {"before": before, "after": after}}
    axis = anatomy.graph.channel_axis
    pictured = (("before", change.before), ("after", change.after))
    return told | {when: maps(arrays[0], 0, axis) for when, arrays in pictured}
