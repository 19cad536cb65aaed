"""The widget. It is thin: what it shows comes from the other modules, and the page draws it."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import keras
import numpy as np
import traitlets

from .. import files
from ..analysis.costs import costs
from ..errors import CutwidgetsError
from ..inference import pictures
from ..structure.anatomy import anatomy
from ..surgery.build import Section, Weights, build
from ..surgery.checking import check
from ..surgery.script import to_code
from ..surgery.slicing import section
from . import forward_view, lab_view, page, result_views, slice_view
from .background import BackgroundWidget

PARTS = ("diagram", "summary", "run", "check", "code", "costs", "surgery", "lab", "save")


class _Selection(traitlets.Tuple):
    """`()` or a pair of places; `None` clears as `()` does."""

    def validate(self, obj: Any, value: Any) -> Any:
        if value is not None and not (isinstance(value, tuple | list) and len(value) in (0, 2)):
            raise traitlets.TraitError(
                f"A selection is () or (start, end), a pair of places. Received: {value!r:.200}"
            )
        return super().validate(obj, tuple(value or ()))


class CutPanel(BackgroundWidget):
    """A panel to choose a slice by two clicks, to look at it and to run it.

    A selection that cannot be cut raises nothing: the panel says why, and so does `error`. All
    attributes can be set and observed, and linked between widgets.

    Args:
        model: A built functional or Sequential model. The panel does not change it.
        photo: What *Run* shows to the model: a path, a PIL image or an array, as for
            `cutwidgets.inference.pictures.photo`; `None` for a photograph that comes with
            scikit-image.
        preprocess: A function from pixels, float32 (1, height, width, channels) from 0 to 255, to
            what the model expects; `None` to find out.
        parts: What to show, to use a part alone: any of `"diagram"`, `"summary"`, `"run"`,
            `"check"`, `"code"`, `"costs"`, `"surgery"`, `"lab"` and `"save"`.
        data: Examples for the experiments of *Lab*, a pair of an input of the model and of labels,
            as for `lab.lesions`; labels may be `None`. Without examples the photograph is used.

    Attributes:
        model: The model; set another one to look at that.
        selection: `()`, or start and end. Any two places can be set; they become names of blocks
            where the cut lies between blocks, names of layers elsewhere.
        value: The same, under the name that `ipywidgets.interactive_output` looks for.
        bypass: `None`, or `"input"` to make what bypasses the start a further input, as in `cut`.
        weights: `"share"` or `"copy"`, as in `cut`.
        slice: The `keras.Model` of the selection, or `None`.
        error: What the panel says is wrong, or `""`.

    Raises:
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.
        CutwidgetsError: If the photograph cannot be read, the examples do not fit, or there is no
            such part.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> panel = cw.CutPanel(keras.applications.ResNet50(include_top=False, weights=None))
        >>> panel.selection = ("conv3", "conv4_block6_out")
        >>> panel.selection, panel.slice.output_shape
        (('conv3_block1', 'conv4_block6'), (None, None, None, 1024))
        >>> print(panel.code)
        import cutwidgets as cw
        part = cw.cut(model, 'conv3_block1', 'conv4_block6')
        cw.check(model, 'conv3_block1', 'conv4_block6')
        >>> panel.selection = ("conv4", "conv3")
        >>> print(panel.slice, panel.error)
        None Cannot cut 'resnet50' from 'conv4_block1' to 'conv3_block4': ...
    """

    _esm = page.SCRIPT
    _css = page.STYLE

    model = traitlets.Instance(keras.Model)
    selection = _Selection().tag(sync=True)
    value = _Selection()
    allow_bypass = traitlets.Bool(False).tag(sync=True)
    weights = traitlets.Enum[Weights](["share", "copy"], default_value="share").tag(sync=True)
    slice = traitlets.Instance(keras.Model, default_value=None, allow_none=True)
    error = traitlets.Unicode("").tag(sync=True)

    # For the page. Answers carry the selection that they belong to, as it may have changed since.
    _parts: traitlets.List[Any] = traitlets.List().tag(sync=True)
    _network = traitlets.Dict().tag(sync=True)
    _result = traitlets.Dict().tag(sync=True)
    _photo = traitlets.Dict().tag(sync=True)
    _features = traitlets.Dict().tag(sync=True)
    _maps = traitlets.Dict().tag(sync=True)
    _text = traitlets.Dict().tag(sync=True)
    _checked = traitlets.Dict().tag(sync=True)
    _code = traitlets.Dict().tag(sync=True)
    _costs = traitlets.Dict().tag(sync=True)
    _surgery = traitlets.Dict().tag(sync=True)
    _lab = traitlets.Dict().tag(sync=True)
    _experiments = traitlets.Dict().tag(sync=True)
    _opened = traitlets.Dict().tag(sync=True)
    _found = traitlets.Dict().tag(sync=True)
    _file = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        model: keras.Model,
        photo: Any = None,
        preprocess: Callable[[np.ndarray], np.ndarray] | None = None,
        parts: Sequence[str] = PARTS,
        data: tuple[Any, Any] | None = None,
    ) -> None:
        unknown = [part for part in parts if part not in PARTS]
        if unknown or isinstance(parts, str) or not parts:
            raise CutwidgetsError(f"parts are some of {', '.join(PARTS)}. Received: {parts!r:.200}")
        self._preprocess = preprocess
        self._section: Section | None = None
        self._outcome: forward_view.Run | None = None
        self._tensors: dict[str, keras.KerasTensor] = {}
        self._count = count(1)
        self._refusal, self._places_asked = "", [""]  # why there is no slice; what was asked
        self._image = pictures.photo(photo)
        name = "Your photograph" if photo is not None else next(iter(pictures.SAMPLES))
        anatomy(model)  # to refuse a model before there is a widget
        self._data = lab_view.examples(model, data)
        photographs = {"name": name, "names": list(pictures.SAMPLES)}
        super().__init__(model=model, _parts=list(parts), _photo=photographs)
        traitlets.link((self, "selection"), (self, "value"))
        self.on_msg(self._asked)

    def __repr__(self) -> str:
        """The model, and what is selected."""
        return (
            f"<CutPanel of {self.model.name!r}: "
            f"{' to '.join(map(str, self.selection)) or 'no slice'}>"
        )

    def _ipython_display_(self) -> None:
        from IPython.display import display

        bundle = super()._repr_mimebundle_()
        data = (bundle[0] if isinstance(bundle, tuple) else bundle) or {}
        display(data | {"image/svg+xml": self._anatomy.svg}, raw=True)
        picture = {"text/html": page.picture(self._anatomy), "text/plain": repr(self._anatomy)}
        display(picture, raw=True)

    @property
    def code(self) -> str:
        """Three lines of Python that do what the panel does now; `""` without a selection."""
        if not self.selection:
            return ""
        return slice_view.code(self.selection, self.allow_bypass, self.weights)

    def run(self) -> None:
        """Run the slice on the photograph and show its feature maps, as the button *Run* does."""
        self._answer("_features", self._forward)

    def save(self, path: str | Path) -> Path:
        """Save what the panel shows.

        Args:
            path: A file, which must not exist: `.keras` for the slice; `.svg`, `.png` or `.dot` for
                the diagram; `.html` for a page of the whole panel that needs no kernel.

        Returns:
            The path of the file.

        Raises:
            CutwidgetsError: If there is no slice to save, or the file exists or cannot be written.

        Example:
            >>> import cutwidgets as cw
            >>> import keras, tempfile
            >>> panel = cw.CutPanel(keras.applications.ResNet50(include_top=False, weights=None))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     panel.save(f"{folder}/resnet.html").stat().st_size > 50_000
            True
        """
        path = Path(path)
        if path.suffix == ".keras":
            page.whole(path, lambda unfinished: self._required_slice().save(unfinished))
        else:
            page.whole(path, lambda unfinished: unfinished.write_bytes(self._content(path.suffix)))
        return path

    def _content(self, suffix: str) -> bytes:
        """A file that is made for a download."""
        if suffix == ".html" and not self._costs:
            self._answer("_costs", self._count_costs)
        state = {name: getattr(self, name) for name in self.keys if name in _PAGE}
        return page.file(self._anatomy, suffix, state)

    @traitlets.observe("model")
    def _opened_model(self, _change: object) -> None:
        """Begin anew with a model."""
        self._drop()
        self._anatomy = anatomy(self.model)
        self._tensors = {}
        with self.hold_sync():
            for name in _ANSWERS:
                setattr(self, name, {})
            self.selection = ()
            self.slice, self.error, self._section, self._outcome = None, "", None, None
            self._refusal = ""
            self._result = {"selection": []}
            # The number tells the page of a model that looks like the one before.
            found = lab_view.opened(self.model, self._anatomy.graph, self._data)
            self._data, self._experiments = found
            self._network = slice_view.network(self._anatomy) | {"count": next(self._count)}

    @traitlets.validate("model")
    def _readable(self, proposal: dict[str, Any]) -> keras.Model:
        anatomy(proposal["value"])  # raises before anything has changed
        model: keras.Model = proposal["value"]
        return model

    @traitlets.validate("selection", "value")
    def _by_name(self, proposal: dict[str, Any]) -> tuple[str | int, ...]:
        self._places_asked = [str(place) for place in proposal["value"]]
        names = []
        for place, is_start in zip(proposal["value"], (True, False), strict=False):
            names.append(slice_view.name_of(self._anatomy, place, is_start))
            if isinstance(place, keras.KerasTensor) and names[-1] == place.name:
                self._tensors[str(names[-1])] = place
        return tuple(names)

    def _places(self) -> list[Any]:
        return [self._tensors.get(str(place), place) for place in self.selection]

    @traitlets.observe("selection", "allow_bypass", "weights")
    def _selected(self, _change: object) -> None:
        # What holds if an interrupt comes.
        part, inside, error = None, None, "The cut was interrupted. Select the slice again."
        answer: dict[str, Any] = {"selection": list(self.selection), "count": next(self._count)}
        answer |= {
            "allow_bypass": self.allow_bypass,
            "weights": self.weights,
            "asked": self._places_asked,
        }
        try:
            found = built = None
            if self.selection:
                found = section(self._anatomy, *self._places(), allow_bypass=self.allow_bypass)
                built = build(self.model, found, self.weights)
                answer |= slice_view.summary(
                    self._anatomy, found, built, self.selection, self.weights
                )
            part, inside, error = built, found, ""
        except Exception as problem:
            error = slice_view.message(problem)
            answer |= slice_view.refusal(self._anatomy, problem, self.selection)
        finally:
            with self.hold_sync():
                self.slice, self._section, self._outcome = part, inside, None
                self.error = self._refusal = error
                self._result = answer
                for name in _OF_SLICE:
                    setattr(self, name, {})

    def _asked(self, _panel: object, content: dict[str, Any], buffers: Sequence[Any]) -> None:
        """Answer the page: what takes longer than a summary is made when it is asked for."""
        asked: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
            "run": ("_features", self._forward),
            "text": ("_text", self._keras_summary),
            "check": ("_checked", self._run_check),
            "code": ("_code", self._script),
            "costs": ("_costs", self._count_costs),
            "surgery": ("_surgery", lambda: self._operate(content)),
            "maps": ("_maps", lambda: self._draw_maps(**{content["which"]: content["first"]})),
            "photo": ("_photo", lambda: self._choose_photo(content, buffers)),
            "open": ("_opened", lambda: slice_view.opened(self._anatomy, content["block"])),
            "find": ("_found", lambda: slice_view.found(self._anatomy, content["text"])),
            "save": ("_file", lambda: self._save_as(content["kind"])),
        }
        if content.get("ask") in asked:
            self._answer(*asked[content["ask"]])
        elif content.get("ask") == "lab":
            self._begin(self._study(str(content.get("study"))), partial(self._answer, "_lab"))
        elif content.get("ask") == "stop":
            self._stop()

    def _answer(self, name: str, make: Callable[[], dict[str, Any]]) -> None:
        """Set a trait for the page to what is made, or tell why there is nothing."""
        # The number tells the page of a second answer that equals the first.
        old = {key: getattr(self, name)[key] for key in ("name", "names") if name == "_photo"}
        answer = old | {"selection": list(self.selection), "count": next(self._count)}
        error = self._refusal
        try:
            answer |= make()
        except Exception as problem:
            error = slice_view.message(problem)
            answer["failed"] = True
        except BaseException:
            error, answer["failed"] = "Interrupted.", True
            raise
        finally:  # the page waits for an answer
            with self.hold_sync():
                self.error = error
                setattr(self, name, answer)

    def _required_slice(self) -> keras.Model:
        if self.slice is None:
            raise CutwidgetsError(
                self._refusal or "There is no slice: choose its start and its end."
            )
        return self.slice

    def _keras_summary(self) -> dict[str, Any]:
        lines: list[str] = []
        self._required_slice().summary(print_fn=lines.append)
        return {"text": "\n".join(lines)}

    def _script(self) -> dict[str, Any]:
        self._required_slice()
        script = to_code(self.model, *self._places(), allow_bypass=self.allow_bypass)
        return {"script": script, "lines": self.code}

    def _count_costs(self) -> dict[str, Any]:
        return result_views.costs(costs(self.model))

    def _run_check(self) -> dict[str, Any]:
        self._required_slice()
        given, facts = self._input()
        start, end = self._places()
        shown = check(
            self.model,
            start,
            end,
            list(given.values()),
            weights=self.weights,
            allow_bypass=self.allow_bypass,
        )
        return facts | result_views.check(shown)

    def _forward(self) -> dict[str, Any]:
        """Photograph, head, slice: what the page shows of a run."""
        part = self._required_slice()
        assert self._section is not None
        given, shown = self._input()
        self._outcome = forward_view.run(self._section, part, given)
        told = result_views.run(self._outcome, self._section)
        maps = self._draw_maps(input=0, output=0)
        self._maps = {"selection": list(self.selection), "count": next(self._count)} | maps
        return shown | told | {"facts": [*shown["facts"], *told["facts"]]}

    def _draw_maps(self, **firsts: int) -> dict[str, Any]:
        """Feature maps of the last run, from a channel of input or output on."""
        if self._outcome is None:
            raise CutwidgetsError("There is nothing to draw: run the slice first.")
        axis = self._anatomy.graph.channel_axis
        arrays = {"input": self._outcome.inputs[0], "output": self._outcome.outputs[0]}
        drawn = {which: self._maps.get(which) for which in arrays}
        for which, first in firsts.items():
            drawn[which] = result_views.maps(arrays[which], int(first), axis)
        return drawn

    def _input(self) -> tuple[dict[int, Any], dict[str, Any]]:
        """Values for the model's inputs, and what the page shows of them."""
        return result_views.shown_input(
            self.model, self._anatomy.graph, self._image, self._preprocess
        )

    def _study(self, name: str) -> Callable[[], dict[str, Any]]:
        """An experiment for a thread: it looks at nothing that may be another by then."""
        seen = (self.model, self._anatomy.graph, self._image, self._preprocess)
        shown = partial(result_views.shown_input, *seen)
        return partial(lab_view.study, self.model, name, self._data, shown, self._photo["name"])

    def _choose_photo(self, content: dict[str, Any], buffers: Sequence[Any]) -> dict[str, Any]:
        name = str(content["name"])
        self._image = (
            pictures.uploaded(name, bytes(buffers[0])) if buffers else pictures.sample(name)
        )
        return {"name": name}

    def _operate(self, content: dict[str, Any]) -> dict[str, Any]:
        """Which blocks of the slice can be removed or swapped; and what that changes."""
        self._required_slice()
        assert self._section is not None
        told = result_views.operations(self._anatomy, self._section)
        names = content.get("blocks")
        if not names:
            return told
        operate = result_views.swap if content.get("what") == "swap" else result_views.removal
        return told | operate(self._anatomy, names, self._input()[0])

    def _save_as(self, kind: str) -> dict[str, Any]:
        """A file for the page to download; models are too large for that, and go to the disk."""
        name = self.slice.name if kind == "keras" and self.slice else self._anatomy.name
        if kind != "keras":
            return {"name": files.file_name(name, kind), "content": self._content(f".{kind}")}
        self._required_slice()
        numbered = (f"{name}-{i}" if i else name for i in count())
        paths = (Path(files.file_name(stem, kind)) for stem in numbered)
        path = self.save(next(path for path in paths if not path.exists()))
        size = path.stat().st_size / 1e6
        return {"saved": f"Saved as {path} ({size:.1f} MB) in {path.resolve().parent}."}


_OF_SLICE = ("_features", "_maps", "_text", "_checked", "_code", "_surgery")

_ANSWERS = (*_OF_SLICE, "_costs", "_lab", "_opened", "_found", "_file")

_PAGE = {
    "selection", "allow_bypass", "weights", "error", "_parts", "_network", "_result", "_photo",
    "_experiments", *_ANSWERS,
} - {"_found", "_file"}  # fmt: skip
