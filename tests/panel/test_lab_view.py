"""Experiments in CutPanel, without a browser."""

import json
import threading
import time

import keras
import numpy as np
import pytest

import cutwidgets as cw
import networks
from cutwidgets import lab
from cutwidgets.progress import track


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    return random.normal(size=(40, 16, 16, 3)).astype("float32"), random.integers(0, 3, 40)


@pytest.fixture
def panel(tiny_resnet, data):
    return cw.CutPanel(tiny_resnet, data=data)


def begin(panel, study="lesions"):
    panel._handle_custom_msg({"ask": "lab", "study": study}, [])


def made(panel, study="lesions"):
    begin(panel, study)
    panel._thread.join()
    assert panel._progress == {}
    return panel._lab


def wait(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def slow(monkeypatch, tiny_resnet, data):
    """Lesions that take a minute, if they are not stopped; how many are under way, at most."""
    under = {"now": 0, "most": 0}
    result = lab.lesions(tiny_resnet, *data)

    def lesions(*_):
        under["now"] += 1
        under["most"] = max(under.values())
        try:
            for _ in track(range(6000), "waiting"):
                time.sleep(0.01)
            return result
        finally:
            under["now"] -= 1

    monkeypatch.setattr(lab, "lesions", lesions)
    return under


@pytest.fixture
def late(monkeypatch, tiny_resnet, data):
    """Lesions that hear of no stop, and end when the event is set; how many have begun."""
    result, release = lab.lesions(tiny_resnet, *data), threading.Event()
    release.begun = 0

    def lesions(*_):
        release.begun += 1
        release.wait(20)
        return result

    monkeypatch.setattr(lab, "lesions", lesions)
    return release


@pytest.mark.parametrize(
    ("study", "function", "column"),
    [
        ("lesions", "lesions", "error"),
        ("norms", "norm_ratios", "ratio"),
        ("probes", "probes", "accuracy"),
    ],
)
def test_the_numbers_are_those_of_the_lab(panel, tiny_resnet, data, study, function, column):
    if not hasattr(lab, function):
        pytest.skip(f"no lab.{function} yet")
    answer = made(panel, study)
    assert panel.error == ""
    scope = {"model": tiny_resnet, "x": data[0], "y": data[1]}
    exec(answer["code"].replace("\nlab", "\nresult = lab"), scope)
    table = scope["result"].table.set_index("block")[column]
    shown = dict(zip(cw.anatomy(tiny_resnet), answer["values"], strict=True))
    found = {block.name: value for block, value in shown.items() if value is not None}
    assert found == pytest.approx(table.to_dict())
    assert answer["finding"] == scope["result"].finding
    assert [row[0] for row in answer["rows"]] == list(table.index)
    assert len(answer["rows"][0]) == len(answer["columns"])
    json.dumps(answer)


def test_texts_and_ends_of_the_scale(panel, tiny_resnet, data):
    answer = made(panel)
    values = lab.lesions(tiny_resnet, *data).table["error"]
    assert values.nunique() > 1
    texts = [f"{100 * value:.1f} %" for value in values]
    assert [text for text in answer["texts"] if text] == texts
    assert [row[1] for row in answer["rows"]] == texts
    ends = [f"{100 * end:.1f} %" for end in (values.min(), values.max())]
    assert [answer["low"], answer["high"]] == ends
    assert answer["on"] == "40 examples with labels"


def test_without_examples_the_photograph_is_used(tiny_resnet):
    panel = cw.CutPanel(tiny_resnet)
    answer = made(panel)
    shown = panel._input()[0][0]
    expected = lab.lesions(tiny_resnet, shown).table["change"].tolist()
    assert [value for value in answer["values"] if value is not None] == pytest.approx(expected)
    assert panel._photo["name"] in answer["on"]
    *others, probes = panel._experiments["studies"]
    assert not any(study["missing"] for study in others)
    assert probes["missing"] == (
        "Linear probes: needs examples with labels, CutPanel(model, data=(x, y))."
    )
    assert made(panel, "probes")["failed"]
    assert probes["missing"] in panel.error


def test_a_model_of_no_pictures_is_shown_random_numbers():
    x = inputs = keras.Input((8,))
    for i in range(2):
        x = keras.layers.Add(name=f"b{i}_add")([x, keras.layers.Dense(8, name=f"b{i}_dense")(x)])
    panel = cw.CutPanel(keras.Model(inputs, x))
    assert made(panel)["on"] == panel._experiments["on"] == "random numbers"


def test_labels_may_be_missing(tiny_resnet, data):
    panel = cw.CutPanel(tiny_resnet, data=(data[0], None))
    answer = made(panel)
    assert answer["title"] == "Change of the output without the block"
    assert answer["code"].endswith("lab.lesions(model, x)")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (np.zeros((3, 16, 16, 3)), "pair"),
        ((np.zeros((3, 8, 8, 3)), None), "shape"),
        ((np.zeros((3, 16, 16, 3)), [0, 1]), "as many"),
        ((np.zeros((3, 16, 16, 3)), [0, 1, 9]), "classes 0 to 2"),
        ((np.full((3, 16, 16, 3), np.nan), None), "not finite"),
    ],
)
def test_examples_that_do_not_fit_are_refused_at_once(tiny_resnet, wrong, words):
    with pytest.raises(cw.CutwidgetsError, match=words):
        cw.CutPanel(tiny_resnet, data=wrong)


def test_a_model_without_a_classifier_takes_classes_for_its_probes(tiny_resnet, data):
    features = cw.cut(tiny_resnet, None, -2)
    panel = cw.CutPanel(features, data=data)
    assert made(panel, "probes")["title"] == "Accuracy of a linear probe"
    with pytest.raises(cw.CutwidgetsError, match="as many"):
        cw.CutPanel(features, data=(data[0], [1]))


def test_examples_that_do_not_fit_another_model_are_left_out(panel, tiny_resnet):
    panel.model = keras.models.clone_model(tiny_resnet)
    assert (panel._experiments["on"], panel._experiments["dropped"]) == (
        "40 examples with labels",
        "",
    )
    panel.model = networks.unet(2)
    assert "left out" in panel._experiments["dropped"]
    assert "photograph" in panel._experiments["on"]
    assert panel._experiments["studies"][-1]["missing"]


def test_a_study_can_be_stopped(panel, slow):
    seen = []
    panel.observe(lambda change: seen.append((time.monotonic(), change["new"])), "_progress")
    begin(panel)
    wait(lambda: panel._progress["lab"]["done"] >= 25)
    assert panel._progress["lab"]["label"] == "waiting"
    assert panel._progress["lab"]["total"] == 6000
    times = [when for when, progress in seen if progress["lab"]["done"]]
    assert min(np.diff(times)) > 0.09
    panel._handle_custom_msg({"ask": "stop"}, [])
    panel._thread.join(5)
    assert panel._lab["stopped"]
    assert "values" not in panel._lab
    assert (panel._progress, panel.error, slow["now"]) == ({}, "", 0)


def test_a_stop_comes_not_too_late(panel, late):
    begin(panel)
    wait(lambda: late.begun)
    panel._handle_custom_msg({"ask": "stop"}, [])
    assert panel._progress["lab"]["stopping"]
    late.set()
    panel._thread.join()
    assert panel._lab["stopped"]


def test_one_study_at_a_time(panel, slow, tiny_resnet):
    begin(panel)
    first = panel._thread
    begin(panel)
    assert panel._thread is first
    wait(lambda: slow["now"])
    panel.model = tiny_resnet  # no other model, and so nothing is stopped
    assert first.is_alive()
    panel.model = keras.models.clone_model(tiny_resnet)
    begin(panel)
    wait(lambda: panel._progress["lab"]["done"])
    panel.close()
    panel._thread.join(5)
    assert not panel._thread.is_alive()
    assert slow == {"now": 0, "most": 1}


def test_a_late_result_of_an_old_model_is_dropped(panel, late, tiny_resnet):
    begin(panel)
    panel.model = keras.models.clone_model(tiny_resnet)
    assert panel._progress == {}
    late.set()
    panel._thread.join()
    assert (panel._lab, panel._progress, panel.error) == ({}, {}, "")


def test_a_study_of_a_new_model_waits_for_that_of_the_old_one(panel, late, tiny_resnet):
    begin(panel)
    old = panel._thread
    wait(lambda: late.begun)
    panel.model = keras.models.clone_model(tiny_resnet)
    begin(panel)
    time.sleep(0.1)
    assert late.begun == 1
    late.set()
    old.join()
    panel._thread.join()
    assert panel._lab["values"]


@pytest.mark.parametrize(
    ("problem", "words"),
    [(cw.CutwidgetsError("no luck"), "no luck"), (ValueError("boom"), "report")],
)
def test_what_goes_wrong_is_shown(panel, monkeypatch, problem, words):
    def broken(*_):
        raise problem

    monkeypatch.setattr(lab, "lesions", broken)
    assert made(panel)["failed"]
    assert words in panel.error
    monkeypatch.undo()
    assert made(panel)["values"]
    assert panel.error == ""
    assert made(panel, "guesses")["failed"]
    assert "lesions, norms, probes" in panel.error


def test_a_failing_preprocess_is_named(tiny_resnet):
    panel = cw.CutPanel(tiny_resnet, preprocess=lambda _: 1 / 0)
    assert made(panel)["failed"]
    assert "Preprocessing" in panel.error


def test_page_and_thread_write_by_turns(panel, slow, tiny_resnet):
    names = [block.name for block in cw.anatomy(tiny_resnet)]
    begin(panel)
    for i in range(40):
        panel.set_state({"selection": [names[1], names[2 + i % 2]]})
        assert panel.slice is not None
    panel._handle_custom_msg({"ask": "stop"}, [])
    panel._thread.join(5)
    assert panel._lab["stopped"]
    assert not panel._holding_sync


def test_a_page_keeps_the_result(panel, tmp_path):
    finding = made(panel)["finding"]
    text = panel.save(tmp_path / "page.html").read_text("utf-8")
    assert json.dumps(finding)[1:-1] in text
    assert '"_progress":' not in text
