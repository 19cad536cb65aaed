"""The widget. It is thin: what it shows comes from the other modules, and the page draws it."""

import io
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import keras
import numpy as np
import traitlets
from PIL import Image

from . import pictures, running
from ._anatomy import Anatomy, anatomy
from .blocks import Block, shape_text
from .building import Section, build
from .errors import CutError
from .places import PlaceLike, resolve
from .slicing import section

_STATIC = Path(__file__).parent / "static"


class _Selection(traitlets.Tuple):
    """`()` or a pair of places; `None` clears as `()` does."""

    def validate(self, obj: Any, value: Any) -> Any:
        if value is not None and not (isinstance(value, tuple | list) and len(value) in (0, 2)):
            raise traitlets.TraitError(
                f"A selection is () or (start, end), a pair of places. Received: {value!r:.200}"
            )
        return super().validate(obj, tuple(value or ()))


class CutPanel(anywidget.AnyWidget):
    """A panel to choose a slice by two clicks, to look at it and to run it.

    A selection that cannot be cut raises nothing: the panel says why, and so does `error`.

    Args:
        model: A built functional or Sequential model. The panel does not change it.
        photo: What *Run* shows to the model: a path, a PIL image or an array, as for
            `cutwidgets.pictures.photo`; `None` for a photograph that comes with scikit-image.
        preprocess: A function from pixels, float32 (1, height, width, channels) from 0 to 255, to
            what the model expects; `None` to find out.

    Attributes:
        selection: `()`, or start and end. Any two places can be set; they become names of blocks
            where the cut lies between blocks, names of layers elsewhere.
        slice: The `keras.Model` of the selection, or `None`. It shares its layers with the model.
        error: What the panel says is wrong, or `""`.

    Raises:
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.
        CutError: If the photograph cannot be read.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> panel = cw.CutPanel(keras.applications.ResNet50(include_top=False, weights=None))
        >>> panel.selection = ("conv3", "conv4_block6_out")
        >>> panel.selection, panel.slice.output_shape
        (('conv3_block1', 'conv4_block6'), (None, None, None, 1024))
        >>> panel.selection = ("conv4", "conv3")
        >>> print(panel.slice, panel.error)
        None Cannot cut 'resnet50' from 'conv4_block1' to 'conv3_block4': ...
    """

    _esm = _STATIC / "panel.js"
    _css = "\n".join((_STATIC / f"{name}.css").read_text("utf-8") for name in ("diagram", "panel"))

    selection = _Selection().tag(sync=True)
    slice = traitlets.Instance(keras.Model, default_value=None, allow_none=True)
    error = traitlets.Unicode("").tag(sync=True)

    # For the page. Answers carry the selection that they belong to, as it may have changed since.
    _name = traitlets.Unicode().tag(sync=True)
    _svg = traitlets.Unicode().tag(sync=True)
    _blocks: traitlets.List[Any] = traitlets.List().tag(sync=True)
    _result = traitlets.Dict().tag(sync=True)
    _features = traitlets.Dict().tag(sync=True)
    _text = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        model: keras.Model,
        photo: Any = None,
        preprocess: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self._anatomy = anatomy(model)
        self._model = model
        self._photo = None if photo is None else pictures.photo(photo)
        self._preprocess = preprocess
        self._section: Section | None = None
        self._tensors: dict[str, keras.KerasTensor] = {}
        self._runs = 0
        super().__init__(
            _name=model.name,
            _svg=self._anatomy.svg,
            _blocks=[_card(block) for block in self._anatomy],
            _result={"selection": []},
        )
        self.on_msg(self._asked)

    def __repr__(self) -> str:
        """The model, and what is selected."""
        return (
            f"<CutPanel of {self._name!r}: {' to '.join(map(str, self.selection)) or 'no slice'}>"
        )

    def run(self) -> None:
        """Run the slice on the photograph and show its feature maps, as the button *Run* does."""
        self._runs += 1  # or the page would not be told of a second run with an equal outcome
        answer: dict[str, Any] = {"selection": list(self.selection), "run": self._runs}
        error = ""
        try:
            answer |= self._forward()
        except Exception as problem:
            error = _message(problem)
        with self.hold_sync():
            self.error = error
            self._features = answer

    @traitlets.validate("selection")
    def _by_name(self, proposal: dict[str, Any]) -> tuple[str | int, ...]:
        return tuple(
            self._name_of(place, is_start)
            for place, is_start in zip(proposal["value"], (True, False), strict=False)
        )

    def _name_of(self, place: PlaceLike | None, is_start: bool) -> str | int:
        """A name for a place, to send to the page: a block's where the cut lies at its border."""
        blocks = self._anatomy.blocks
        if place is None:
            return blocks[0 if is_start else -1].name
        try:
            found = resolve(self._anatomy, place)
        except CutError:  # It will be raised, and shown, when the selection is cut.
            return place if isinstance(place, str | int) else repr(place)
        for block in blocks:
            if found.entries == block.entries if is_start else found.exits == block.exits:
                return block.name
        if isinstance(place, keras.KerasTensor):
            self._tensors[place.name] = place
            return str(place.name)
        return found.name

    @traitlets.observe("selection")
    def _selected(self, _change: object) -> None:
        part, answer, error = None, {"selection": list(self.selection)}, ""
        try:
            if self.selection:
                places = [self._tensors.get(str(place), place) for place in self.selection]
                self._section = section(self._anatomy, *places)
                part = build(self._model, self._section)
                answer |= _summary(self._anatomy, self._section, part, self.selection)
        except Exception as problem:
            part, error = None, _message(problem)
        with self.hold_sync():
            self.slice = part
            self.error = error
            self._result = answer

    def _asked(self, _panel: object, content: dict[str, str], _buffers: object) -> None:
        """Answer the page: what takes longer than a summary is made when it is asked for."""
        if content.get("ask") == "run":
            self.run()
        elif content.get("ask") == "text" and self.slice is not None:
            lines: list[str] = []
            try:
                self.slice.summary(print_fn=lines.append)
            except Exception as problem:
                self.error = _message(problem)
            self._text = {"selection": list(self.selection), "text": "\n".join(lines)}

    def _forward(self) -> dict[str, Any]:
        """Photograph, head, slice: what the page shows of a run."""
        if self.slice is None or self._section is None:
            raise CutError(self.error or "There is no slice to run: choose its start and its end.")
        given, shown = self._input()
        outcome = running.run(self._section, self.slice, given)
        channels = outcome.outputs[0].shape[-1]
        return {
            **shown,
            "facts": [
                *shown["facts"],
                ("Input", ", ".join(map(_array_text, outcome.inputs))),
                ("Output", ", ".join(map(_array_text, outcome.outputs))),
                ("Time", f"{1000 * outcome.seconds:.0f} ms for the slice"),
            ],
            "picture": pictures.feature_maps(outcome.outputs[0]),
            "alt": f"Features at {self.selection[1]}: {min(64, channels)} of {channels:,} "
            "channels, each from its smallest value (dark) to its largest (bright).",
        }

    def _input(self) -> tuple[dict[int, Any], dict[str, Any]]:
        """Values for the model's inputs, and what the page shows of them."""
        graph = self._anatomy.graph
        if not running.takes_images(graph):
            shapes = ", ".join(str(graph.tensors[tensor].shape) for tensor in graph.inputs)
            words = f"random numbers: the model takes {shapes}, which is no photograph"
            return running.random_input(graph, seed=0), {"facts": [("Shown", words)]}
        image = pictures.photo(self._photo)
        preprocessing = running.preprocessing(self._model, self._preprocess)
        pixels = running.pixels(graph, image)
        try:
            given = {graph.inputs[0]: preprocessing.function(pixels)}
        except Exception as problem:  # whatever a user's own function raises
            raise CutError(
                f"Preprocessing by {preprocessing.name} failed: {problem!r}"
            ) from problem
        image.thumbnail((224, 224))
        return given, {"facts": [("Preprocessing", preprocessing.name)], "photo": _png(image)}


def _message(problem: Exception) -> str:
    """What to show: in a callback of a widget, nobody sees an exception."""
    if isinstance(problem, CutError):
        return str(problem)
    traceback.print_exception(problem)
    return f"This is a fault of cutwidgets, please report it: {problem!r}"


def _card(block: Block) -> dict[str, Any]:
    """What the page tells about a block."""
    kind = f"{block.kind}, {block.shortcut} shortcut" if block.shortcut else block.kind
    return {
        "name": block.name,
        "about": f"{kind}, output {shape_text(block.output_shape, block.scale)}, "
        f"{block.params:,} parameters.",
        "layers": list(block.layers),
    }


def _summary(
    anatomy: Anatomy, part: Section, model: keras.Model, names: tuple[str | int, ...]
) -> dict[str, Any]:
    """What the page tells about a slice."""
    calls = set(part.calls)
    touched = [i for i, block in enumerate(anatomy) if calls & set(block.calls)]
    blocks = [anatomy[i] for i in touched]
    title = f"{names[0]} to {names[1]}" if names[0] != names[1] else str(names[0])
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    inputs, outputs = (
        ", ".join(_tensor_text(anatomy, tensor) for tensor in tensors)
        for tensors in (part.inputs, part.outputs)
    )
    return {
        "range": [touched[0], touched[-1]],
        "title": title,
        "facts": [
            ("Input", inputs),
            ("Output", outputs),
            ("Layers", f"{len(model.layers):,}"),
            ("Parameters", f"{model.count_params():,} ({trainable:,} trainable)"),
        ],
        "exact": not part.carried,
        "note": _exactness(anatomy, part),
        "rows": [
            (
                block.name if set(block.calls) <= calls else f"{block.name} (in part)",
                shape_text(block.output_shape, block.scale),
                f"{block.params:,}",
            )
            for block in blocks
        ],
        "aside": "panel.slice is this keras.Model. It shares its layers with the whole model: what "
        "trains or freezes one does the same to the other.",
        "told": f"Slice of {len(blocks)} blocks, {title}: input {inputs}, output {outputs}.",
    }


def _tensor_text(anatomy: Anatomy, index: int) -> str:
    tensor = anatomy.graph.tensors[index]
    scale = next((block.scale for block in anatomy if index in block.exits), 1)
    return f"{shape_text(tensor.shape, scale)} {tensor.dtype}"


def _array_text(array: np.ndarray) -> str:
    return f"{shape_text(array.shape)} {array.dtype}"


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _exactness(anatomy: Anatomy, part: Section) -> str:
    """Whether head, slice and tail make up the model again, and what it takes if they do not."""
    graph = part.graph
    if not part.carried:
        return "Head, slice and tail together compute the model: both ends are cut points."
    names = dict.fromkeys(graph.maker(tensor).name for tensor in part.carried)
    maker = graph.maker(part.outputs[0]).index
    inside = next(block.name for block in anatomy if maker in block.calls)
    return (
        f"The end lies inside {inside}: to compute the model, the tail also needs the output of "
        f"{', '.join(names)}, which bypasses the end."
    )
