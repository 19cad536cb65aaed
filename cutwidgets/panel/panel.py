"""The widget: other modules compute what it shows, and the page draws it."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import keras
import numpy as np
import traitlets

from .. import files
from ..analysis.costs import Costs, costs
from ..drawing.folding import Card
from ..errors import CutwidgetsError
from ..inference import pictures
from ..structure.anatomy import anatomy
from ..surgery.build import Section, Weights, build
from ..surgery.checking import check
from ..surgery.script import to_code
from ..surgery.slicing import section
from . import (
    ends,
    heat_view,
    lab_view,
    page,
    questions,
    reach_view,
    result_views,
    slice_view,
    sums,
)
from .background import Answer, BackgroundWidget, Work
from .exports import View
from .traits import IN_PAGE, Selection, answers, problems

PARTS = ("diagram", "summary", "run", "check", "code", "costs", "surgery", "lab", "save")


class CutPanel(BackgroundWidget):
    """A panel to choose a slice of a model with two clicks, inspect it and run it.

    Selecting a slice that cannot be cut raises nothing: the panel says why, and so does `error`.
    All attributes can be set, observed and linked to other widgets.

    Args:
        model: A built functional or Sequential model. The panel does not change it.
        photo: The photograph that *Run* feeds to the model: a path, a PIL image or an array, as for
            `cutwidgets.inference.pictures.photo`; `None` for a sample photograph.
        preprocess: A function from pixels, float32 (1, height, width, channels) from 0 to 255, to
            what the model expects; `None` to infer it from the model.
        parts: Which parts to show: any of `"diagram"`, `"summary"`, `"run"`, `"check"`, `"code"`,
            `"costs"`, `"surgery"`, `"lab"` and `"save"`.
        data: Examples for the experiments of *Lab*, a pair (inputs, labels) as for `lab.lesions`;
            labels may be `None`. Without examples, the experiments use the photograph.

    Attributes:
        model: The model; set another one to replace it.
        selection: `()`, or start and end. Accepts any two places, and converts them to the names of
            blocks where the cut lies between blocks, else to the names of layers. For several ends,
            the end is a list or a dictionary of places, as for `cut`.
        value: The same, under the name that `ipywidgets.interactive_output` expects.
        allow_bypass: Whether tensors that bypass the start become extra inputs, as in `cut`.
        weights: `"share"` or `"copy"`, as in `cut`.
        slice: The `keras.Model` of the selection, or `None`.
        error: The error message that the panel shows, or `""`.

    Raises:
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.
        CutwidgetsError: If the photograph cannot be read, the examples do not fit the model, or a
            part does not exist.

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
        >>> panel.selection = ("conv3", ["conv3", "conv4"])
        >>> panel.selection
        ('conv3_block1', ('conv3_block4', 'conv4_block6'))
        >>> panel.selection = ("conv4", "conv3")
        >>> print(panel.slice, panel.error)
        None Cannot cut 'resnet50' from 'conv4_block1' to 'conv3_block4': ...
    """

    _esm = page.SCRIPT
    _css = page.STYLE

    model = traitlets.Instance(keras.Model)
    selection = Selection().tag(**IN_PAGE)
    value = Selection()
    allow_bypass = traitlets.Bool(False).tag(**IN_PAGE)
    weights = traitlets.Enum[Weights](["share", "copy"], default_value="share").tag(**IN_PAGE)
    slice = traitlets.Instance(keras.Model, default_value=None, allow_none=True)
    error = traitlets.Unicode("").tag(**IN_PAGE)

    # The page reads these, and the answers at the end of the class.
    _parts: traitlets.List[Any] = traitlets.List().tag(**IN_PAGE)
    _network = traitlets.Dict().tag(**IN_PAGE)
    _result = traitlets.Dict().tag(**IN_PAGE)
    _experiments = traitlets.Dict().tag(**IN_PAGE)
    # By the widget's "id", the page finds its model, and with it whether the kernel still lives.
    _kernel = traitlets.Dict().tag(sync=True)
    # Tells the page that its last message has arrived: "id", "ask", and "failed" if it is refused.
    _reply = traitlets.Dict().tag(sync=True)
    _token = traitlets.Unicode().tag(sync=True)  # by it, a view hides the panel's static picture

    def __init__(
        self,
        model: keras.Model,
        photo: Any = None,
        preprocess: Callable[[np.ndarray], np.ndarray] | None = None,
        parts: Sequence[str] = PARTS,
        data: tuple[Any, Any] | None = None,
    ) -> None:
        if isinstance(parts, str) or not parts or not set(parts) <= set(PARTS):
            raise CutwidgetsError(
                f"parts must be a list drawn from: {', '.join(PARTS)}. Received: {parts!r:.200}"
            )
        self._anatomy = anatomy(model)  # raises before there is a widget
        self._preprocess = preprocess
        self._section: Section | None = None
        self._forward_pass: result_views.ForwardPass | None = None
        self._tensors: dict[str, keras.KerasTensor] = {}  # selected ones, by their names
        self._sizes: sums.Sizes = ()
        self._table_of_costs: Costs | None = None  # once the page has asked for it
        self._count = count(1)
        self._refusal = ""  # why there is no slice
        self._requested: list[Any] = [""]  # the places of the selection as somebody wrote them
        self._image = pictures.photo(photo)
        self._data = lab_view.examples(model, data)
        samples = list(pictures.SAMPLES)
        name = samples[0] if photo is None else "Your photograph"
        super().__init__(
            model=model,
            _parts=list(parts),
            _photo={"name": name, "names": samples},
            _token=uuid4().hex,
        )
        self._kernel = {"id": self.model_id}
        traitlets.link((self, "selection"), (self, "value"))
        self.on_msg(self._receive)

    def __repr__(self) -> str:
        """The model, and what is selected."""
        selected = ends.title(self.selection) if self.selection else "no slice"
        return f"<CutPanel of {self.model.name!r}: {selected}>"

    def _ipython_display_(self) -> None:
        from IPython.display import display

        bundle = super()._repr_mimebundle_()
        display((bundle[0] if isinstance(bundle, tuple) else bundle) or {}, raw=True)
        picture = page.picture(self._anatomy, self._token)
        display({"text/html": picture, "text/plain": repr(self._anatomy)}, raw=True)

    @property
    def code(self) -> str:
        """Three lines of Python that cut and check the selected slice; `""` without a selection."""
        if not self.selection:
            return ""
        return slice_view.code(self.selection, self.allow_bypass, self.weights)

    def run(self) -> None:
        """Run the slice on the photograph and show its feature maps, as the button *Run* does."""
        self._drop(["run"])
        self._answer("run", lambda: self._keep_run(self._run_slice()()))

    def save(self, path: str | Path) -> Path:
        """Save what the panel shows.

        Args:
            path: A new file: `.keras` for the slice; `.svg`, `.png` or `.dot` for the diagram, with
                the slice and the colours of the last study; `.html` for a page of the whole panel
                that needs no kernel.

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
            page.whole(path, lambda unfinished: self._chosen()[1].save(unfinished))
        else:
            page.whole(path, lambda unfinished: unfinished.write_bytes(self._content(path.suffix)))
        return path

    def _content(self, suffix: str, view: View | None = None) -> bytes:
        """The content of a file of the diagram or the panel, as a view shows it."""
        if suffix == ".html" and not self._costs:
            self._answer("costs", self._count_costs)
        state = {name: getattr(self, name) for name in self.trait_names(in_page=True)}
        return page.file(self._anatomy, suffix, state, view)

    @traitlets.validate("model")
    def _read(self, proposal: dict[str, Any]) -> Any:
        """Read a new model first, so that a failure leaves the panel unchanged."""
        self._anatomy = anatomy(proposal["value"])
        return proposal["value"]

    @traitlets.observe("model")
    def _begin_anew(self, _change: object) -> None:
        self._drop()
        self._tensors = {}
        self._sizes = sums.sizes(self._anatomy.graph)
        self._table_of_costs = None
        with self.hold_sync():
            self._clear_answers("model")
            self.selection = ()
            self._cut(None)
            self._data, self._experiments = lab_view.experiments(
                self.model, self._anatomy, self._data
            )
            # By the number, the page can tell this model from an equal one before it.
            self._network = slice_view.network(self._anatomy) | {"count": next(self._count)}

    def _clear_answers(self, until: str) -> None:
        """Forget answers that are obsolete, and drop the jobs that compute such ones."""
        names = self.trait_names(until=until)
        dropped = self._drop([name.removeprefix("_") for name in names])
        for name in names:
            setattr(self, name, {})
        if until == "selection":
            for question, number in dropped.items():  # the page waits for an answer
                setattr(self, f"_{question}", self._stamp(number) | {"dropped": True})

    @traitlets.validate("selection", "value")
    def _by_name(self, proposal: dict[str, Any]) -> tuple[Any, ...]:
        """Replace places by their names."""
        self._requested = [ends.mapped(str, end) for end in proposal["value"]]
        if not proposal["value"]:
            return ()
        start, end = proposal["value"]
        return self._name_of(start, True), ends.mapped(partial(self._name_of, is_start=False), end)

    def _name_of(self, place: Any, is_start: bool) -> str | int:
        name = slice_view.name_of(self._anatomy, place, is_start)
        if isinstance(place, keras.KerasTensor) and name == place.name:
            self._tensors[str(name)] = place
        return name

    def _places(self) -> list[Any]:
        """The selected start, and the end or the ends, as `cut` takes them."""
        return [ends.mapped(lambda p: self._tensors.get(str(p), p), end) for end in self.selection]

    @traitlets.observe("selection", "allow_bypass", "weights")
    def _cut(self, _change: object) -> None:
        """Cut the selected slice, or say why that is impossible."""
        with self.hold_sync():
            self._clear_answers("selection")
        chosen: tuple[Section | None, keras.Model | None] = None, None
        error = "The cut was interrupted. Select the slice again."
        result = self._stamp() | {
            "allow_bypass": self.allow_bypass,
            "weights": self.weights,
            "requested": self._requested,
        }
        try:
            if self.selection:
                inside = section(self._anatomy, *self._places(), allow_bypass=self.allow_bypass)
                label = "Copying layers and weights" if self.weights == "copy" else ""
                with self._telling("cut", label):
                    part = build(self.model, inside, self.weights)
                result |= self._summary(inside, part)
                result["extra"] = reach_view.extra(self._anatomy, inside, self._places()[0])
                chosen = inside, part
            error = ""
        except Exception as problem:
            error = slice_view.message(problem)
            result |= reach_view.refusal(
                self._anatomy, problem, self.selection, self._places(), self.allow_bypass
            )
        finally:  # even after an interrupt
            with self.hold_sync():
                self._section, self.slice = chosen
                self._forward_pass = None
                self.error = self._refusal = error
                self._result = result

    def _summary(self, inside: Section, part: keras.Model) -> Answer:
        if sums.parameters_of(self._sizes, inside.calls) != part.count_params():
            self._sizes = sums.sizes(self._anatomy.graph)  # weights were added, or replaced
        return slice_view.summary(
            self._anatomy, inside, part, self._places(), self.weights, self._sizes
        ) | {"totals": sums.totals(inside, self._sizes, self._table_of_costs)}

    def _chosen(self) -> tuple[Section, keras.Model]:
        """The selected slice.

        Raises:
            CutwidgetsError: If there is none.
        """
        if self._section is None or self.slice is None:
            raise CutwidgetsError(self._refusal or "There is no slice: choose a start and an end.")
        return self._section, self.slice

    def _receive(self, _panel: object, message: Any, buffers: Sequence[Any]) -> None:
        """Answer a message of the page, of whatever form."""
        self._tell_received(message)
        try:
            asked = questions.read(message, self._table())
        except CutwidgetsError as problem:
            self._tell_received(message, str(problem))
            return
        question = self._table()[asked.question]
        try:
            compute = questions.bind(question["compute"], self, asked, buffers)
        except CutwidgetsError as problem:
            self._tell_received(message, str(problem))
            self._answer(asked.question, partial(_raise, problem), asked.number)
            return
        if question["job"]:
            self._begin_answer(asked, compute, question["keep"])
        else:
            with self._telling(asked.question, question["label"]):
                self._answer(asked.question, compute, asked.number)

    def _begin_answer(
        self,
        asked: questions.Asked,
        prepare: Callable[[], Work],
        keep: Callable[..., Answer] | None,
    ) -> None:
        """Begin to compute an answer in a thread, unless it is being computed."""
        selection = list(self.selection)

        def end(result: Work) -> None:
            self._answer(asked.question, lambda: kept(result()), asked.number, selection)

        def kept(answer: Answer) -> Answer:
            return answer if keep is None or answer.get("stopped") else keep(self, answer)

        if asked.question in self._jobs:
            return
        try:
            work = prepare()
        except Exception as problem:
            self._answer(asked.question, partial(_raise, problem), asked.number)
        else:
            self._begin(asked.question, work, end, asked.number)

    def _table(self) -> dict[str, dict[str, Any]]:
        """What the page may ask: for each question, what `answers` says of it."""
        return {
            name.removeprefix("_"): trait.metadata
            for name, trait in self.traits(compute=callable).items()
        }

    def _tell_received(self, message: Any, error: str = "") -> None:
        """Tell the page that a message has arrived, or why it is refused."""
        asked = message.get("ask") if isinstance(message, dict) else None
        with self.hold_sync():
            self.error = error or self.error
            self._reply = {
                "id": questions.number_of(message),
                "ask": asked if isinstance(asked, str) else None,
                "received": True,
                "failed": bool(error),
                "count": next(self._count),
            }

    def _handle_msg(self, message: Any) -> None:
        """Handle a message of the front end: a state, or a question in an envelope."""
        data = message["content"]["data"]
        if isinstance(data, dict) and data.get("method") == "update":
            state = data.get("state", {})
            if data.get("buffer_paths") or not isinstance(state, dict):
                self._refuse_state(self.keys, f"The page set {questions.shown(state)}.")
            else:
                self.set_state(state)
        elif isinstance(data, dict) and data.get("method") in ("request_state", "custom"):
            super()._handle_msg(message)
        else:
            self._tell_received(None, f"The page sent {questions.shown(data)}, which is unknown.")

    def set_state(self, sync_data: Any) -> None:
        """Set what the page has changed. What it may not set, it gets back as it is."""
        if not isinstance(sync_data, dict):
            return self._refuse_state(self.keys, f"The page set {questions.shown(sync_data)}.")
        refused = {
            name: problem
            for name, problem in problems(sync_data).items()
            if name not in self.keys or not _is_same(self.get_state(name)[name], sync_data[name])
        }
        wanted = {name: value for name, value in sync_data.items() if name not in refused}
        super().set_state(wanted)
        if refused:
            self._refuse_state(refused, " ".join(refused.values()))

    def _refuse_state(self, names: Iterable[str], error: str) -> None:
        with self.hold_sync():
            self.error = error
        self.send_state([name for name in names if name in self.keys])

    def _stamp(self, number: int | None = None, selection: list[Any] | None = None) -> Answer:
        """Marks an answer, so that the page can tell it from an older one.

        Args:
            number: The page's own number of the question.
            selection: What it is about; `None` for the current selection.
        """
        about = list(self.selection) if selection is None else selection
        stamp = {"selection": about, "count": next(self._count)}
        return stamp if number is None else stamp | {"id": number}

    def _answer(
        self,
        question: str,
        compute: Callable[[], Answer],
        number: int | None = None,
        selection: list[Any] | None = None,
    ) -> None:
        """Compute the answer to a question; where that fails, say why. See `_stamp`."""
        name = f"_{question}"
        answer = self._stamp(number, selection)
        if question == "photo":
            answer = self._photo | answer | {"failed": False}
        error = self._refusal
        try:
            answer |= compute()
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

    def _keras_summary(self) -> Answer:
        lines: list[str] = []
        self._chosen()[1].summary(print_fn=lines.append)
        return {"text": "\n".join(lines)}

    def _script(self) -> Answer:
        self._chosen()
        script = to_code(
            self.model,
            *self._places(),
            weights=self.weights,
            allow_bypass=self.allow_bypass,
        )
        return {"script": script, "lines": self.code}

    def _count_costs(self) -> Answer:
        return self._keep_costs(self._cost_work()())

    def _cost_work(self) -> Work:
        model, anatomy, of_calls = self.model, self._anatomy, self._sizes

        def work() -> Answer:
            table = costs(model)
            return {"table": table, "answer": result_views.costs(table, anatomy, of_calls)}

        return work

    def _keep_costs(self, outcome: Answer) -> Answer:
        """Add the costs to the totals of the selection."""
        self._table_of_costs = outcome["table"]
        if self._section is not None:
            totals = sums.totals(self._section, self._sizes, self._table_of_costs)
            self._result = self._result | {"totals": totals}
        answer: Answer = outcome["answer"]
        return answer

    def _verify(self) -> Work:
        self._chosen()
        start, end = self._places()
        options: dict[str, Any] = {"weights": self.weights, "allow_bypass": self.allow_bypass}
        model, shown_input = self.model, self._input

        def work() -> Answer:
            inputs, facts = shown_input()
            result = check(model, start, end, list(inputs.values()), **options)
            return facts | result_views.check(result)

        return work

    def _run_slice(self) -> Work:
        inside, part = self._chosen()
        shown_input, name = self._input, self._photo["name"]
        anatomy, end = self._anatomy, self._places()[1]

        def work() -> Answer:
            inputs, shown = shown_input()
            outcome = result_views.forward_pass(inside, part, inputs)
            facts = result_views.run(outcome, inside)
            return {
                "pass": outcome,
                "maps": result_views.all_drawn(outcome, inside),
                "answer": shown
                | facts
                | {"photo_name": name, "facts": [*shown["facts"], *facts["facts"]]}
                | {"explains": heat_view.offer(anatomy, inside, end)},
            }

        return work

    def _keep_run(self, outcome: Answer) -> Answer:
        self._forward_pass = outcome["pass"]
        self._maps = self._stamp() | outcome["maps"]
        answer: Answer = outcome["answer"]
        return answer

    def _draw_maps(
        self, input: int | None = None, output: int | None = None, key: str | None = None
    ) -> Answer:
        """Feature maps of the last run, from a channel of `input` or `output` on.

        With several ends, `key` says which output is meant.
        """
        outcome = self._forward_pass
        if outcome is None:
            raise CutwidgetsError("There are no feature maps: run the slice first.")
        inside = self._chosen()[0]
        if key is not None and key not in inside.keys:
            raise CutwidgetsError(f"The slice has no output {questions.shown(key)}.")
        drawn = {which: self._maps.get(which) for which in result_views.drawn_names(inside)}
        if input is not None:
            drawn["input"] = result_views.drawn(outcome, inside, "input", input)
        if output is not None:
            which = result_views.drawn_name(key)
            drawn[which] = result_views.drawn(outcome, inside, which, output)
        return drawn

    def _explain(self, place: str, target: int | None = None) -> Work:
        """Bind Grad-CAM of the whole model to the current photograph, to run in a thread."""
        self._chosen()
        model, shown_input, image, graph = self.model, self._input, self._image, self._anatomy.graph
        at = self._tensors.get(place, place)

        def work() -> Answer:
            found = heat_view.heat(model, at, target, shown_input, graph, image)
            return {"image": image, "answer": found}

        return work

    def _keep_heat(self, outcome: Answer) -> Answer:
        """Keep heat, unless it belongs to a photograph before the current one."""
        answer: Answer = outcome["answer"]
        return answer if outcome["image"] is self._image else {"stopped": True}

    @property
    def _input(self) -> Callable[[], tuple[dict[int, Any], Answer]]:
        """Computes values for the current model's inputs, and how the page shows them."""
        current = (self._anatomy.graph, self._image, self._preprocess)
        return partial(result_views.shown_input, *current)

    def _stop_work(self, question: str | None = None) -> Answer:
        return {"stopping": self._stop_jobs(question)}

    def _study(self, study: str) -> Work:
        """Bind the study to the current model and photograph, to run in a thread."""
        current = (self._data, self._input, self._photo["name"])
        return partial(lab_view.study, self.model, self._anatomy, study, *current)

    def _choose_photo(self, name: str, buffers: Sequence[Any] = ()) -> Answer:
        if len(buffers) > 1:
            raise CutwidgetsError(f"The page sent {len(buffers)} files; a photograph is one.")
        self._image = (
            pictures.uploaded(name, bytes(buffers[0])) if buffers else pictures.sample(name)
        )
        self._heat = {}  # it lies over the photograph before
        return {"name": name}

    def _operate(
        self, what: Literal["", "remove", "swap"] = "", blocks: Sequence[str] = ()
    ) -> Work:
        """Which blocks of the slice can be removed or swapped, and the effect of doing so."""
        anatomy, inside, shown_input = self._anatomy, self._chosen()[0], self._input

        def work() -> Answer:
            options = result_views.operations(anatomy, inside)
            if not what:
                return options
            operate = result_views.swap if what == "swap" else result_views.removal
            return options | operate(anatomy, blocks, shown_input()[0])

        return work

    def _layers(self, block: str) -> Answer:
        return slice_view.layers(self._anatomy, block)

    def _ends(self, start: str | int, block: str | None = None) -> Answer:
        found = reach_view.ends(self._anatomy, self._tensors.get(str(start), start), block)
        return {"start": start, "block": block} | found

    def _diagram(self, first: int, last: int) -> Answer:
        return slice_view.diagram(self._anatomy, (first, last))

    def _locate(self, text: str) -> Answer:
        return slice_view.location(self._anatomy, text)

    def _write(
        self,
        kind: str,
        colours: bool = True,
        unfolded: Sequence[int] | None = None,
        dark: bool = False,
        tab: str = "",
    ) -> Answer:
        """A file for the page to download; a slice is too large for that, and goes to the disk."""
        if kind != "keras":
            name = files.file_name(self._anatomy.name, kind)
            view = View(colours, Card(*unfolded) if unfolded else None, dark, tab)
            return {"name": name, "content": self._content(f".{kind}", view)}
        name = self._chosen()[1].name
        numbered = (f"{name}-{i}" if i else name for i in count())
        paths = (Path(files.file_name(stem, kind)) for stem in numbered)
        path = self.save(next(path for path in paths if not path.exists()))
        size = path.stat().st_size / 1e6
        return {"saved": f"Saved as {path} ({size:.1f} MB) in {path.resolve().parent}."}

    # What the page may ask.
    _run = answers(_run_slice, until="selection", job=True, keep=_keep_run)
    _maps = answers(_draw_maps, until="selection")
    _heat = answers(_explain, until="selection", job=True, keep=_keep_heat)
    _text = answers(_keras_summary, until="selection", label="Writing the summary")
    _check = answers(_verify, until="selection", job=True)
    _code = answers(_script, until="selection", label="Writing the script")
    _surgery = answers(_operate, until="selection", job=True)
    _costs = answers(_cost_work, until="model", job=True, keep=_keep_costs)
    _unfold = answers(_diagram, until="model", in_page=False)
    _open = answers(_layers, until="model")
    _reach = answers(_ends, until="model", in_page=False)
    _find = answers(_locate, until="model", in_page=False)
    _save = answers(_write, until="model", in_page=False, label="Saving")
    _photo = answers(_choose_photo, until=None)
    _lab = answers(_study, until="model", job=True)
    _stop = answers(_stop_work, until=None, in_page=False)
    _alive = answers(lambda self: {}, until=None, in_page=False)  # `_reply` is the answer


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal, and of one type: 0.0 is not false."""
    return type(one) is type(other) and bool(one == other)


def _raise(problem: Exception) -> Answer:
    raise problem
