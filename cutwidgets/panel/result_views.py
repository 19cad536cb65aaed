"""What the page shows of forward passes, checks, costs and surgery, as plain dictionaries."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import keras
import numpy as np
from PIL import Image

from ..analysis.costs import Costs
from ..comparison.comparison import compared
from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph
from ..inference import images, pictures
from ..inference.forward import arrays, evaluate, forward
from ..inference.inputs import random_input, random_words
from ..inference.token_ids import integers
from ..progress import doing
from ..structure.anatomy import Anatomy
from ..surgery import effects
from ..surgery.build import Section
from ..surgery.checking import Check
from ..surgery.effects import Change
from ..surgery.removal import swap_of
from ..surgery.slicing import section
from ..text import shape_text
from . import sums
from .tensor_views import maps, statistics

_PARTLY = "only a part of it is in the slice"


@dataclass(frozen=True, slots=True)
class ForwardPass:
    """A forward pass of a slice.

    Attributes:
        inputs: An array for each input of the slice.
        outputs: An array for each of its outputs.
        seconds: Wall-clock time of the slice.
    """

    inputs: list[np.ndarray]
    outputs: list[np.ndarray]
    seconds: float


def forward_pass(part: Section, model: keras.Model, values: Mapping[int, Any]) -> ForwardPass:
    """Compute a slice's real input with the layers before it, and run the slice.

    Args:
        part: The section of the slice.
        model: The slice.
        values: Values of the whole model's inputs, by their indices in the call graph.

    Raises:
        CutwidgetsError: If a layer cannot process these values.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> from cutwidgets.surgery.build import build
        >>> resnet = keras.applications.ResNet50(include_top=False, weights=None)
        >>> graph = cw.anatomy(resnet).graph
        >>> pixels, _ = shown_input(graph, pictures.photo(), None)
        >>> middle = section(cw.anatomy(resnet), "conv3", "conv4")
        >>> forward_pass(middle, build(resnet, middle), pixels).outputs[0].shape
        (1, 14, 14, 1024)
    """
    with doing("Running the head"):
        inputs = evaluate(part.graph, part.inputs, values)
    with doing("Running the slice"):
        started = perf_counter()
        outputs = arrays(forward(model, inputs))
    return ForwardPass(arrays(inputs), outputs, perf_counter() - started)


def shown_input(
    graph: CallGraph,
    image: Image.Image,
    preprocess: Callable[[np.ndarray], np.ndarray] | None,
) -> tuple[dict[int, Any], dict[str, Any]]:
    """Values for a model's inputs, from a photograph if the model takes images, and their facts.

    Raises:
        CutwidgetsError: If the user's own preprocessing fails.
    """
    if not images.takes_images(graph):
        return random_input(graph, seed=0), {"facts": _random_facts(graph)}
    preprocessing = images.preprocessing(graph, preprocess)
    pixels = images.pixels(graph, image)
    try:
        values = {graph.inputs[0]: preprocessing.function(pixels)}
    except Exception as problem:  # whatever a user's own function raises
        raise CutwidgetsError(
            f"Preprocessing by {preprocessing.name} failed: {problem!r}"
        ) from problem
    small = image.copy()
    small.thumbnail((224, 224))
    facts = [("Preprocessing", preprocessing.name)]
    return values, {"facts": facts, "photo": pictures.png(small)}


def _random_facts(graph: CallGraph) -> list[tuple[str, str]]:
    """What is drawn for each input of a model that takes no photograph."""
    words = random_words(graph)
    if len(words) > 1:
        why = "Random input, because this model does not take one image"
        return [("Shown", why), *words.items()]
    (only,) = words.values()
    if only == "Random numbers":
        shape = shape_text(graph.tensors[graph.inputs[0]].shape)
        only += f", because this model does not take images ({shape})"
    return [("Shown", only)]


def run(outcome: ForwardPass, part: Section) -> dict[str, Any]:
    """The facts about a forward pass."""
    rows = []
    sides = (("Input", (), outcome.inputs), ("Output", part.keys, outcome.outputs))
    for word, keys, tensors in sides:
        keys = keys or ("",) * len(tensors)
        for i, (key, array) in enumerate(zip(keys, tensors, strict=True)):
            number = keys[: i + 1].count(key) if keys.count(key) > 1 else ""
            rows.append(statistics(" ".join(f"{word} {key} {number}".split()), array))
    ends = zip(part.outputs, outcome.outputs, strict=True)
    found = [classes(array, replace(part, outputs=(tensor,), ends=None)) for tensor, array in ends]
    likely = next((one for one in found if part.ends and one["predictions"]), found[0])
    return {
        "facts": [("Time", f"{1000 * outcome.seconds:.0f} ms (eager, uncompiled)")],
        "statistics": rows,
        **likely,
    }


def all_drawn(outcome: ForwardPass, part: Section) -> dict[str, Any]:
    """What the page draws of a slice: its input, and its output or that of each end."""
    return {which: drawn(outcome, part, which, 0) for which in drawn_names(part)}


def drawn_names(part: Section) -> list[str]:
    """The names by which the page knows the tensors that it draws of a slice."""
    return ["input", *map(drawn_name, part.ends if part.ends else [None])]


def drawn_name(key: str | None) -> str:
    """The name of the output of an end; of the output if there is one end."""
    return "output" if key is None else f"output {key}"


def drawn(outcome: ForwardPass, part: Section, which: str, first: int) -> dict[str, Any]:
    """What the page draws of a slice's input or output: of several tensors, the first one.

    Args:
        outcome: A forward pass of the slice.
        part: The section of the slice.
        which: One of `drawn_names`.
        first: The first channel to show, of feature maps.
    """
    if which == "input":
        pairs = list(zip(part.inputs, outcome.inputs, strict=True))
    else:
        keys = part.keys or [None] * len(part.outputs)
        outputs = zip(keys, part.outputs, outcome.outputs, strict=True)
        pairs = [(tensor, array) for key, tensor, array in outputs if drawn_name(key) == which]
    (tensor, array), *others = pairs
    taken = integers(part.graph, tensor)
    if taken is not None and array.dtype.kind == "f" and np.isfinite(array).all():
        array = array.astype("int64")  # ids may be floats, and an embedding cuts them off
    padding = taken is not None and taken.padding
    shown = maps(array, first, part.graph.channel_axis, padding)
    if others:
        shown["notes"] = [f"{which.capitalize()} 1 of {1 + len(others)}.", *shown["notes"]]
    return shown


def predictions(array: np.ndarray, part: Section, top: int = 5) -> list[tuple[str, float]]:
    """The most likely classes of a classifier, with their probabilities; else nothing."""
    last = part.graph.maker(part.outputs[0])
    activation = getattr(getattr(last.layer, "activation", None), "__name__", last.kind).lower()
    is_classifier = array.ndim == 2 and array.shape[1] > 1 and activation == "softmax"
    if not is_classifier or not np.isfinite(array[0]).all():
        return []
    best = np.argsort(array[0])[::-1][:top]
    names = class_names(part.graph.name, array.shape[1])
    return [(names[i] if names else f"class {i}", float(array[0, i])) for i in best]


def classes(array: np.ndarray, part: Section) -> dict[str, Any]:
    """The predictions of a classifier, and what to know before one believes them."""
    found = predictions(array, part)
    return {"predictions": found, "predictions_note": _doubts(array, part) if found else ""}


def _doubts(array: np.ndarray, part: Section) -> str:
    """Whether the weights look untrained, and where the names of the classes are from."""
    doubts = []
    last, means = _last_biases(part), _moving_means(part)
    if last and _are_zero(last[1]):
        doubts.append(f"These weights look untrained: all biases of {last[0]} are 0.")
    elif means and all(map(_are_zero, means)):
        doubts.append("These weights look untrained: all moving means are 0.")
    elif array[0].max() < 1.5 * array[0].min():
        doubts.append("All classes are nearly equally likely, as with untrained weights.")
    if class_names(part.graph.name, array.shape[1]):
        doubts.append(
            "The names are those of ImageNet, as this model has 1,000 classes and the name of a "
            "model of keras.applications."
        )
    return " ".join(doubts)


def _last_biases(part: Section) -> tuple[str, Any] | None:
    """The layer that computes the scores of the classes, and its biases; `None` without any."""
    call = part.graph.maker(part.outputs[0])
    inside = set(part.calls)
    while call.index in inside and not getattr(call.layer, "weights", ()) and call.inputs:
        call = part.graph.maker(call.inputs[0])
    biases = getattr(call.layer, "bias", None)
    if call.index not in inside or not isinstance(biases, keras.Variable):
        return None
    return call.name, biases


def _moving_means(part: Section) -> list[Any]:
    layers = (part.graph.calls[index].layer for index in part.calls)
    return [
        layer.moving_mean for layer in layers if isinstance(layer, keras.layers.BatchNormalization)
    ]


def _are_zero(values: Any) -> bool:
    return not np.any(keras.ops.convert_to_numpy(values))


def class_names(model: str, count: int) -> list[str] | None:
    """The names of so many classes, if the model by its name predicts those of ImageNet."""
    return _classes() if count == 1000 and _is_application(model) else None


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


def check(result: Check) -> dict[str, Any]:
    """The outcome of a check, block by block."""
    return {
        "ok": result.ok,
        "conclusive": result.conclusive,
        "text": str(result),
        "rows": [(name, f"{difference:.3g}") for name, difference in result.differences],
    }


def costs(result: Costs, anatomy: Anatomy, of_calls: sums.Sizes) -> dict[str, Any]:
    """The costs of all blocks; the parameters add up to the model's.

    Args:
        result: The costs.
        anatomy: The anatomy of the model.
        of_calls: What `sums.sizes` returns.
    """
    calls = range(len(anatomy.graph.calls))
    shares = {share.block: share for share in sums.shares(anatomy, of_calls, calls)}
    macs, size, uncounted = result.of_calls(calls)
    return {
        "at": ", ".join(shape_text(shape) for shape in result.input_shapes),
        "rows": [
            {
                "parameters": shares[i].parameters,
                "own": cost.parameters,
                "shared": [anatomy[other].name for other in shares[i].shared],
                "macs": cost.macs,
                "bytes": cost.activation_bytes,
                "field": "×".join(map(str, cost.receptive_field or ())) or None,
                "uncounted": list(cost.uncounted),
            }
            for i, cost in enumerate(result)
        ],
        "model": {
            "parameters": sums.parameters_of(of_calls, calls),
            "macs": macs,
            "bytes": size,
            "uncounted": list(uncounted),
        },
    }


def operations(anatomy: Anatomy, part: Section) -> dict[str, Any]:
    """What surgery can do to the blocks of a slice.

    Returns:
        `"removable"`, the blocks that can be removed; `"reasons"`, why each of the others cannot;
        and `"swappable"`, the pairs that can change places.
    """
    calls = set(part.calls)
    touched = [block for block in anatomy if not calls.isdisjoint(block.calls)]
    inside = {block.name for block in touched if calls.issuperset(block.calls)}
    pairs = [(anatomy[i].name, anatomy[i + 1].name) for i in effects.swappable(anatomy)]
    removable, reasons = [], []
    for block in touched:
        swap = swap_of(anatomy.graph, block) if block.name in inside else _PARTLY
        if isinstance(swap, str):
            reasons.append((block.name, swap))
        else:
            removable.append(block.name)
    return {
        "removable": removable,
        "reasons": reasons,
        "swappable": [pair for pair in pairs if inside.issuperset(pair)],
    }


def removal(anatomy: Anatomy, names: Sequence[str], values: Mapping[int, Any]) -> dict[str, Any]:
    """The effect of removing blocks on a model's output, and the code that removes them.

    Raises:
        CutwidgetsError: If there are no blocks, or they cannot be removed.
    """
    if not names:
        raise CutwidgetsError("There is nothing to remove: name at least one block.")
    return {
        "title": f"Without {', '.join(names)}",
        "comparison": _comparison(anatomy, effects.removed(anatomy, names)),
        "code": f"smaller = cw.remove(model, {', '.join(map(repr, names))})",
        **_change(anatomy, effects.removal(anatomy, names, values)),
    }


def swap(anatomy: Anatomy, names: Sequence[str], values: Mapping[int, Any]) -> dict[str, Any]:
    """The effect of swapping two neighbours on a model's output, and the code that swaps them.

    Raises:
        CutwidgetsError: If they are no neighbours, or cannot change places.
    """
    blocks = [block.name for block in anatomy]
    if list(names) not in [blocks[i : i + 2] for i in range(len(blocks) - 1)]:
        listed = " and ".join(map(repr, names)) or "nothing"
        raise CutwidgetsError(f"Cannot swap {listed:.200}: name two neighbours, in their order.")
    first = blocks.index(names[0])
    one, other = map(repr, names)
    return {
        "title": f"{names[0]} and {names[1]} swapped",
        "code": f"pieces = {{\n    {one}: cw.cut(model, {other}, {other}),\n"
        f"    {other}: cw.cut(model, {one}, {one}),\n}}\n"
        f"swapped = cw.replace(model, [{one}, {other}], lambda block: pieces[block.name])",
        "comparison": _comparison(anatomy, effects.swapped(anatomy, first)),
        **_change(anatomy, effects.swap(anatomy, first, values)),
    }


def _comparison(before: Anatomy, after: Anatomy) -> dict[str, Any]:
    """What surgery changed, as a picture of both models and in words."""
    comparison = compared(
        replace(before, name="the original"), replace(after, name="the changed model")
    )
    return {"svg": comparison.svg, "finding": comparison.finding}


def _change(anatomy: Anatomy, change: Change) -> dict[str, Any]:
    whole = section(anatomy)
    shown: dict[str, Any] = {
        "facts": [
            ("Parameters", f"{change.parameters_before:,} → {change.parameters_after:,}"),
            ("Largest change", f"{change.largest:.3g}"),
            ("Relative change", f"{100 * change.relative:.3g} % of the output's norm"),
            ("Cosine similarity", f"{change.cosine:.2f}"),
        ],
    }
    outputs = {"before": change.before[0], "after": change.after[0]}
    likely = {when: predictions(array, whole) for when, array in outputs.items()}
    if all(likely.values()):
        note = classes(outputs["before"], whole)["predictions_note"]
        return shown | {"predictions": likely, "predictions_note": note}
    axis = anatomy.graph.channel_axis
    return shown | {when: maps(array, 0, axis) for when, array in outputs.items()}
