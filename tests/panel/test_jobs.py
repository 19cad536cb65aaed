"""What CutPanel computes in threads: progress, stops, several questions at once, and no harm."""

import sys
import threading
import time

import keras
import numpy as np
import pytest
from keras import layers

import cutwidgets as cw
from cutwidgets import progress
from cutwidgets.inference.side_effects import put_back_after

JOBS = ("run", "check", "costs", "surgery")
SELECTION = ("s1_a", "s2_b")


class Gate(layers.Layer):
    """Waits in every pass on values until it is opened, if it was closed."""

    opened = threading.Event()
    passes = 0

    def call(self, x):
        Gate.passes += 1
        assert Gate.opened.wait(20)
        return x

    def compute_output_shape(self, shape):
        return shape


@pytest.fixture
def gate():
    Gate.passes = 0
    Gate.opened.clear()
    yield Gate
    Gate.opened.set()


@pytest.fixture
def model():
    """Residual blocks with a gate in the second."""
    x = inputs = keras.Input((4,))
    for k in range(4):
        y = layers.Dense(4, name=f"b{k}_dense")(x)
        y = Gate(name="gate")(y) if k == 1 else y
        x = layers.Add(name=f"b{k}_add")([x, y])
    return keras.Model(inputs, x)


@pytest.fixture
def panel(model):
    panel = cw.CutPanel(model)
    panel.selection = (1, 2)
    yield panel
    Gate.opened.set()
    panel.close()
    finish(panel)


def ask(panel, question, /, **arguments):
    panel._handle_custom_msg({"ask": question, **arguments}, [])


def finish(panel):
    if panel._thread is not None:
        panel._thread.join(20)
        assert not panel._thread.is_alive()


def wait(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("question", JOBS)
def test_a_job_gives_what_python_gives(tiny_resnet, question):
    panel = cw.CutPanel(tiny_resnet)
    panel.selection = SELECTION
    seen = []
    panel.observe(lambda change: seen.append(change["new"]), "_progress")
    ask(panel, question, id=4)
    finish(panel)
    answer = getattr(panel, f"_{question}")
    assert (panel.error, answer["id"], answer["selection"]) == ("", 4, list(SELECTION))
    assert seen[0] == {question: {"done": 0, "total": 0, "label": "Starting"}}
    assert seen[-1] == panel._progress == {}
    if question == "check":
        x = list(panel._input()[0].values())
        assert answer["text"] == str(cw.check(tiny_resnet, *SELECTION, x))
    if question == "run":
        shown = panel._forward_pass
        assert panel._maps["output"]["picture"]
        panel.run()
        np.testing.assert_array_equal(shown.outputs[0], panel._forward_pass.outputs[0])


def test_a_check_says_what_it_does(tiny_resnet):
    heard = []
    with progress.reporting_to(lambda *now: heard.append(now)):
        cw.check(tiny_resnet, *SELECTION)
    assert list(dict.fromkeys(label for *_, label in heard)) == [
        "Running the model",
        "Running the model on another input",
        "Running the model, block by block",
        "Running the head",
        "Running the slice",
        "Running the tail",
    ]
    steps = [now for now in heard if now[2] == "Running the model, block by block"]
    layers = len(cw.anatomy(tiny_resnet).graph.calls) - 1
    assert steps == [(0, 0, steps[0][2]), *((k, layers, steps[0][2]) for k in range(layers + 1))]


def test_inner_loops_tell_how_far_the_outer_one_is():
    heard = []
    with progress.reporting_to(lambda *now: heard.append(now)):
        for _ in progress.track("ab", "outer"):
            with progress.doing("inner"):
                list(progress.steps("xyz"))
            list(progress.track("xyz", "also inner"))
    assert set(heard) == {(0, 2, "outer"), (1, 2, "outer"), (2, 2, "outer")}
    assert len(heard) == 3 + 2 * 7


def test_a_loop_left_by_an_error_is_over():
    heard, kept = [], []
    with progress.reporting_to(lambda *now: heard.append(now)):
        try:
            with progress.doing("failing"):
                for _ in progress.steps("ab"):
                    raise ValueError
        except ValueError as problem:
            kept.append(problem)  # and with it the loop
        with progress.doing("next"):
            list(progress.steps("a"))
    assert heard[-2:] == [(0, 1, "next"), (1, 1, "next")]


def test_without_a_listener_there_is_no_work():
    items = [1, 2]
    assert progress.steps(items) is items


def test_progress_and_other_questions_while_a_job_runs(panel, gate):
    ask(panel, "check", id=1)
    wait(lambda: gate.passes)
    assert panel._progress["check"]["label"] == "Running the model"
    ask(panel, "text", id=2)
    assert panel._text["id"] == 2
    ask(panel, "open", block="b1")
    assert panel._open["calls"]
    ask(panel, "check", id=3)  # it runs already
    assert panel._check == {}
    gate.opened.set()
    finish(panel)
    assert panel._check["id"] == 1
    assert panel._check["ok"]


def test_jobs_wait_for_each_other(panel, gate):
    for question in JOBS:
        ask(panel, question)
    wait(lambda: gate.passes)
    assert list(panel._progress) == list(JOBS)
    assert [panel._progress[q]["label"] for q in JOBS[1:]] == ["Waiting"] * 3
    assert gate.passes == 1
    gate.opened.set()
    finish(panel)
    assert panel._progress == {}
    assert all(not getattr(panel, f"_{q}").get("failed") for q in JOBS)
    assert panel._run["facts"]
    assert panel._check["ok"]
    assert panel._costs["rows"]
    assert "removable" in panel._surgery


def test_one_of_several_jobs_is_stopped(panel, gate):
    ask(panel, "run", id=1)
    ask(panel, "check", id=2)
    ask(panel, "costs", id=3)
    wait(lambda: gate.passes)
    ask(panel, "stop", question="check")  # it waits, and so it ends at once
    assert panel._stop["stopping"] == ["check"]
    assert (panel._check["stopped"], panel._check["id"]) == (True, 2)
    assert "check" not in panel._progress
    ask(panel, "stop", question="run")
    assert panel._progress["run"]["stopping"]
    assert "stopping" not in panel._progress["costs"]
    gate.opened.set()
    finish(panel)
    assert (panel._run["stopped"], panel._run["id"]) == (True, 1)
    assert panel._maps == {}
    assert panel._costs["rows"]
    assert panel.error == ""


def test_a_stop_takes_effect_at_the_next_layer(panel, gate):
    ask(panel, "check")
    wait(lambda: gate.passes)
    ask(panel, "stop")
    gate.opened.set()
    finish(panel)
    assert panel._check["stopped"]
    assert gate.passes == 1


def test_a_stop_of_nothing(panel):
    ask(panel, "stop", question="check", id=9)
    assert panel._stop["stopping"] == []
    assert panel._stop["id"] == 9
    assert panel._check == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda panel: setattr(panel, "selection", (2, 3)),
        lambda panel: setattr(panel, "selection", ()),
        lambda panel: setattr(panel, "weights", "copy"),
        lambda panel: setattr(panel, "allow_bypass", True),
        lambda panel: panel.set_state({"selection": ["b2", "b3"]}),
    ],
)
def test_a_result_is_never_shown_for_another_selection(panel, gate, change):
    questions = ("run", "check", "surgery")
    for question in questions:
        ask(panel, question, id=5)
    ask(panel, "costs")  # of the model: it goes on
    wait(lambda: gate.passes)
    seen = []
    for question in questions:
        panel.observe(
            lambda news: seen.append((list(panel.selection), news["new"])), f"_{question}"
        )
    panel.observe(lambda news: seen.append((list(panel.selection), news["new"])), "_maps")
    change(panel)
    assert list(panel._progress) == ["costs"]
    gate.opened.set()
    finish(panel)
    for question in questions:
        answer = getattr(panel, f"_{question}")
        assert (answer["dropped"], answer["id"]) == (True, 5)
        assert answer.keys() == {"dropped", "id", "selection", "count"}
    assert panel._maps == {}
    assert panel._forward_pass is None
    assert panel._costs["rows"]
    assert all(not answer or answer.get("dropped") for _, answer in seen)


def test_another_model_drops_all_jobs(panel, gate, tiny_resnet):
    for question in JOBS:
        ask(panel, question)
    wait(lambda: gate.passes)
    panel.model = tiny_resnet
    assert panel._progress == {}
    gate.opened.set()
    finish(panel)
    assert all(getattr(panel, f"_{question}") == {} for question in JOBS)


def test_a_job_that_was_dropped_can_be_begun_again(panel, gate):
    ask(panel, "check", id=1)
    wait(lambda: gate.passes)
    panel.selection = (1, 1)
    ask(panel, "check", id=2)
    gate.opened.set()
    finish(panel)
    assert (panel._check["id"], panel._check["selection"]) == (2, ["b1", "b1"])
    assert panel._check["ok"]


@pytest.mark.parametrize("question", JOBS)
def test_failures_are_shown(tiny_resnet, question, monkeypatch):
    def fail(*_, **__):
        raise cw.CutwidgetsError("no luck")

    from cutwidgets.panel import panel as panel_module
    from cutwidgets.panel import result_views

    for module, name in [(result_views, "forward_pass"), (panel_module, "check")]:
        monkeypatch.setattr(module, name, fail)
    for module, name in [(panel_module, "costs"), (result_views, "operations")]:
        monkeypatch.setattr(module, name, fail)
    panel = cw.CutPanel(tiny_resnet)
    panel.selection = SELECTION
    ask(panel, question, id=1)
    finish(panel)
    assert getattr(panel, f"_{question}")["failed"]
    assert getattr(panel, f"_{question}")["id"] == 1
    assert panel.error == "no luck"
    assert panel._progress == {}


@pytest.mark.parametrize("question", ["run", "check", "surgery"])
def test_without_a_slice_a_job_says_so_at_once(panel, question):
    panel.selection = ()
    ask(panel, question, id=1)
    assert getattr(panel, f"_{question}")["failed"]
    assert "no slice" in panel.error
    assert panel._thread is None


def test_no_bars_in_the_notebook(tiny_resnet, monkeypatch):
    from tqdm import auto

    monkeypatch.setattr(auto, "tqdm", lambda *_, **__: pytest.fail("a bar"))
    panel = cw.CutPanel(tiny_resnet)
    panel.selection = SELECTION
    for question in JOBS:
        ask(panel, question)
    ask(panel, "lab", study="lesions")
    finish(panel)
    panel.run()
    assert panel._lab["values"]


def recurrent():
    """Its states change in every pass."""
    x = inputs = keras.Input(batch_shape=(1, 3, 4))
    x = layers.LSTM(4, stateful=True, return_sequences=True, name="lstm")(x)
    x = layers.LSTM(4, stateful=True, return_sequences=True, name="lstm2")(x)
    return keras.Model(inputs, layers.Dense(2, name="scores")(x))


def test_passes_of_two_threads_leave_the_states_as_they_were():
    model = recurrent()
    x = np.random.default_rng(0).normal(size=(1, 3, 4)).astype("float32")
    model(x)
    before = [np.array(variable) for variable in model.variables]
    expected = list(cw.activations(model, x).values())[-1]
    found = []

    def work():
        for _ in range(8):
            found.append(list(cw.activations(model, x).values())[-1])

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(usual)
    for one in found:
        np.testing.assert_array_equal(one, expected)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_an_error_lets_other_threads_pass():
    with pytest.raises(ValueError, match="boom"), put_back_after([]):
        raise ValueError("boom")
    other = threading.Thread(target=lambda: put_back_after([]).__enter__())
    other.start()
    other.join(5)
    assert not other.is_alive()


@pytest.mark.parametrize("build", [recurrent, "tiny_resnet"])
def test_jobs_and_selections_at_once_do_no_harm(build, request):
    model = build() if callable(build) else request.getfixturevalue(build)
    config = model.to_json()
    before = [np.array(variable) for variable in model.variables]
    names = [block.name for block in cw.anatomy(model)]
    panel = cw.CutPanel(model)
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for k in range(40):
            first = k % len(names)
            panel.weights = "copy" if k % 7 == 3 else "share"
            panel.set_state(
                {"selection": [names[first], names[min(first + k % 3, len(names) - 1)]]}
            )
            for question in (JOBS[k % 4], "run"):
                ask(panel, question, id=k)
            if k % 5 == 4:
                finish(panel)
                assert panel._run["id"] == k
                assert "facts" in panel._run, panel.error
            if k % 9 == 8:
                ask(panel, "stop")
            if k % 4 == 1:
                panel.run()
    finally:
        sys.setswitchinterval(usual)
        panel.close()
        finish(panel)
    assert model.to_json() == config
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
