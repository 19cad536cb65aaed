"""What the page shows of Grad-CAM: heat over the photograph, as plain dictionaries."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from PIL import Image

from .. import lab
from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph
from ..inference import images, pictures
from ..lab.grad_cam import GradCam
from ..lab.maps import maps_at, places_of_maps
from ..lab.scores import scores_of
from ..structure.anatomy import Anatomy
from ..structure.places import EndLike
from ..surgery.build import Section
from .ends import each
from .result_views import class_names
from .tensor_views import maps, number

_CLASSES = 5  # that the page offers, the most likely ones

_RAISES, _LOWERS = (1, "what raises the output"), (0, "what lowers it")


def offer(anatomy: Anatomy, part: Section, end: EndLike) -> dict[str, Any]:
    """What of a model's answer can be explained within a slice.

    Args:
        anatomy: The anatomy of the whole model.
        part: The section of the slice.
        end: The end of the slice, or its ends.

    Returns:
        `"places"`, names of the blocks in the slice with feature maps, and of its ends; `"place"`,
        the one to begin with; `"classes"`, pairs of a number and words, if what the model predicts
        is not clear; `"note"`, why there is nothing to explain, or `""`.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> from cutwidgets.surgery.slicing import section
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> offer(anatomy, section(anatomy, "conv5", "classifier"), "classifier")["places"]
        ['conv5_block1', 'conv5_block2', 'conv5_block3']
    """
    graph = anatomy.graph
    nothing: dict[str, Any] = {"places": [], "place": "", "classes": [], "note": ""}
    if len(graph.outputs) != 1:
        note = f"Grad-CAM explains a model with one output; this one has {len(graph.outputs)}."
        return nothing | {"note": note}
    try:
        scores = scores_of(graph)
    except CutwidgetsError as problem:
        return nothing | {"note": str(problem)}
    calls = set(part.calls)
    found = {
        maps.tensor: maps.place
        for maps in places_of_maps(anatomy, scores.graph, scores.tensor)
        if graph.tensors[maps.tensor].maker in calls
    }
    for place in each(end):
        try:
            last = maps_at(anatomy, scores.graph, scores.tensor, place)
            found.setdefault(last.tensor, last.place)
        except CutwidgetsError as problem:  # the end has no maps, but blocks before it may have
            nothing["note"] = str(problem)
    if not found:
        return nothing
    is_number = scores.number == 1 and scores.unclear
    if scores.unclear and not is_number:
        return nothing | {"note": scores.unclear}
    names = [name for _, name in sorted(found.items())]
    classes = [_RAISES, _LOWERS] if is_number else []
    return {"places": names, "place": names[-1], "classes": classes, "note": ""}


def heat(
    model: keras.Model,
    place: str | keras.KerasTensor,
    target: int | None,
    shown_input: Callable[[], tuple[dict[int, Any], dict[str, Any]]],
    graph: CallGraph,
    image: Image.Image,
) -> dict[str, Any]:
    """Where the whole model finds a class in what *Run* feeds to it, as seen at a place.

    Args:
        model: The whole model.
        place: A place with feature maps.
        target: The class; `None` for the one that the model predicts.
        shown_input: Returns the input, as `result_views.shown_input` does.
        graph: The call graph of the model.
        image: The photograph, for a model that takes any.

    Raises:
        CutwidgetsError: If there is nothing to explain, or the extra `lab` is not installed.
    """
    inputs = shown_input()[0]
    found = lab.grad_cam(model, list(inputs.values()), place, target)
    row = found.table.iloc[0]
    names = class_names(graph.name, found.scores.shape[1])
    name = place if isinstance(place, str) else found.place
    call = f"lab.grad_cam(model, x, {name!r}{'' if target is None else f', target={target}'})"
    return {
        "place": name,
        "class": int(row["class"]),
        "classes": _classes(found, names),
        "size": "×".join(map(str, found.maps.shape[1:])),
        "finding": found.finding,
        "code": f"from cutwidgets import lab\n# x: the input that Run feeds to the model\n{call}",
        **_drawn(found, graph, image),
    }


def _classes(found: GradCam, names: Sequence[str] | None) -> list[tuple[int, str]]:
    """The most likely classes and the explained one: their numbers, and words for them."""
    scores, likely = found.scores[0], found.probabilities
    if likely is None and len(scores) == 2 and scores[0] == -scores[1]:
        return [_RAISES, _LOWERS]
    best = np.argsort(-scores, kind="stable")[:_CLASSES].tolist()
    best += [one for one in found.table["class"].tolist() if one not in best]
    words = [names[i] if names else f"class {i}" for i in best]
    numbers = scores if likely is None else likely[0]
    form = "score {}" if likely is None else "{}"
    texts = [form.format(number(float(numbers[i]))) for i in best]
    return [(i, f"{word}, {text}") for i, word, text in zip(best, words, texts, strict=True)]


def _drawn(found: GradCam, graph: CallGraph, image: Image.Image) -> dict[str, Any]:
    """The photograph as the model sees it, in grey, and the heat; else the heat as a tensor."""
    heat = found.heat
    if not images.takes_images(graph):
        return {"maps": maps(heat[..., np.newaxis], 0, -1)}
    pixels = np.moveaxis(images.pixels(graph, image), graph.channel_axis, -1)[0].astype("uint8")
    seen = Image.fromarray(pixels if pixels.shape[-1] > 1 else pixels[..., 0]).convert("L")
    return {
        "photo": pictures.png(seen),
        "heat": pictures.png(Image.fromarray(pictures.glow(heat[0]))),
    }
