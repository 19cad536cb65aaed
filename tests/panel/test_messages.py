"""Messages and states of any form from the page: each gets an answer, and none does harm."""

import json
import math

import ipywidgets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cutwidgets as cw

QUESTIONS = {
    *("run", "maps", "text", "check", "code", "surgery", "costs", "unfold", "open", "find"),
    *("save", "photo", "lab", "stop", "reach", "alive", "heat"),
}

scalars = (
    st.none() | st.booleans() | st.integers() | st.integers(10**30, 10**40) | st.floats()
    | st.text(max_size=8) | st.sampled_from(["conv", "stem", "lesions", "remove", "s1_a", "input"])
)  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
arguments = st.dictionaries(
    st.sampled_from(
        "id block first last text study name what blocks input output self buffers question "
        "number asked place target".split()
    ),
    anything,
    max_size=4,
)
ALWAYS_FAST = sorted(QUESTIONS - {"run", "check", "save", "lab", "costs", "surgery", "heat"})
messages = (
    anything
    | arguments
    | st.builds(lambda ask, more: {**more, "ask": ask}, anything, arguments)
    | st.builds(lambda ask, more: {**more, "ask": ask}, st.sampled_from(ALWAYS_FAST), arguments)
    | st.builds(
        lambda ask, more: {**more, "ask": ask, "wrong": 1},
        st.sampled_from(sorted(QUESTIONS)),
        arguments,
    )
)
states = anything | st.dictionaries(
    st.sampled_from(
        "selection allow_bypass weights _network _result _progress error _parts _esm layout value "
        "slice model comm keys".split()
    ),
    anything,
    max_size=3,
)
several_times = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def panel(tiny_resnet):
    panel = cw.CutPanel(tiny_resnet)
    panel.selection = ("s1_a", "s1_b")
    return panel


@pytest.fixture
def sent(panel, monkeypatch):
    """All states that are sent to the page."""
    found = []
    send = panel._send
    monkeypatch.setattr(panel, "_send", lambda msg, buffers=None: (found.append(msg), send(msg)))
    return found


def message(panel, content, buffers=()):
    """What the front end's messages do, from the envelope on."""
    data = {"method": "custom", "content": content}
    panel._handle_msg({"content": {"data": data}, "buffers": list(buffers)})


def state(panel, content, **data):
    data = {"method": "update", "state": content, **data}
    panel._handle_msg({"content": {"data": data}, "buffers": [b"x"]})


def require_valid(panel, capfd, caplog):
    """The panel works as before, and nothing was printed."""
    panel.selection = ("s1_a", "s1_b")
    panel.allow_bypass, panel.weights = False, "share"
    assert panel.slice.output_shape == (None, 16, 16, 4)
    assert panel._network["name"] == "tiny_resnet"
    for name in panel.keys:
        if name != "layout":
            json.dumps(panel.get_state(name), default=lambda one: len(bytes(one)))
    assert not caplog.records
    printed = capfd.readouterr()
    assert "Traceback" not in printed.out + printed.err


def test_the_questions_are_one_table(panel):
    assert set(panel._table()) == QUESTIONS


@several_times
@given(content=messages, buffers=st.lists(st.binary(max_size=4), max_size=2))
def test_any_message_is_answered(panel, capfd, caplog, content, buffers):
    before = panel._reply
    message(panel, content, buffers)
    reply = panel._reply
    assert reply != before
    assert reply["received"]
    number = content.get("id") if isinstance(content, dict) else None
    if type(number) is int:
        assert reply["id"] == number
    question = content.get("ask") if isinstance(content, dict) else None
    if not (isinstance(question, str) and question in QUESTIONS):
        assert reply["failed"]
    if reply["failed"]:
        assert panel.error.startswith("The page ")
        assert len(panel.error) < 600
    require_valid(panel, capfd, caplog)


@several_times
@given(content=states)
def test_any_state_is_answered(panel, capfd, caplog, content):
    panel.set_state({"selection": ["s1_a", "s2_a"], "weights": "share"})
    kept = {name: panel.get_state(name)[name] for name in ("_network", "_parts", "_esm")}
    state(panel, content)
    assert kept == {name: panel.get_state(name)[name] for name in kept}
    assert panel.weights in ("share", "copy")
    require_valid(panel, capfd, caplog)


REFUSED_STATES = [
    ({"selection": ["s1_a"]}, "selection to ['s1_a']; it must be"),
    ({"selection": ["s1_a", [["s1_b"]]]}, "selection"),
    ({"selection": ["s1_a", []]}, "selection"),
    ({"selection": [["s1_a"], "s1_b"]}, "selection"),
    ({"selection": [math.inf, 2]}, "inf"),
    ({"selection": [True, 2]}, "True"),
    ({"selection": {"start": 1}}, "it must be [] or [start, end]"),
    ({"weights": "steal"}, "'steal'"),
    ({"weights": ["share"]}, "'share'"),
    ({"allow_bypass": 1}, "true or false"),
    ({"allow_bypass": 0.0}, "true or false"),
    ({"_network": {}}, "may not set '_network'"),
    ({"error": "all is well"}, "may not set 'error'"),
    ({"value": ["s1_a", "s2_b"]}, "may not set 'value'"),
    ({"unknown": 1}, "unknown"),
    (["selection"], "['selection']"),
    (None, "None"),
]


@pytest.mark.parametrize(("wrong", "words"), REFUSED_STATES)
def test_what_the_page_may_not_set_it_gets_back(panel, sent, capfd, caplog, wrong, words):
    before = panel.get_state()
    state(panel, wrong)
    assert words in panel.error
    now = panel.get_state()
    assert {name for name in now if now[name] != before[name]} <= {"error"}
    returned = set()
    for one in sent:
        if one["method"] == "update":
            returned |= one["state"].keys()
    names = set(wrong) & set(panel.keys) if isinstance(wrong, dict) else set(panel.keys)
    assert names <= returned
    require_valid(panel, capfd, caplog)
    assert panel.error


def test_what_is_right_is_set_though_something_else_is_wrong(panel):
    state(panel, {"selection": ["s1_b", "s2_a"], "weights": "steal"})
    assert (panel.selection, panel.weights) == (("s1_b", "s2_a"), "share")
    assert "'steal'" in panel.error


def test_a_page_may_send_what_is_there_already(panel):
    panel.selection = ("s1_a", "s1_b")
    state(panel, {"_parts": list(panel._parts), "weights": "share"})
    assert panel.error == ""


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "unknown"),
        ({}, "unknown"),
        ({"method": ["update"]}, "unknown"),
        ({"method": "update", "state": {}, "buffer_paths": [["selection", 0]]}, "set"),
    ],
)
def test_an_envelope_of_any_form(panel, capfd, caplog, data, words):
    panel._handle_msg({"content": {"data": data}, "buffers": []})
    assert words in panel.error
    require_valid(panel, capfd, caplog)


WRONG_QUESTIONS = [
    ({"ask": "open", "id": 3}, "missing a required argument: 'block'"),
    ({"ask": "open", "block": 3}, "block=3; it must be a text"),
    ({"ask": "open", "block": "stem", "more": 1}, "'more'"),
    ({"ask": "maps", "input": math.nan}, "input=nan; it must be an integer"),
    ({"ask": "maps", "input": True}, "input=True"),
    ({"ask": "unfold", "first": 0, "last": 99}, "numbered 0 to"),
    ({"ask": "unfold", "first": -(10**30), "last": 10**30}, "numbered 0 to"),
    ({"ask": "surgery", "what": "burn"}, "'remove', 'swap'"),
    ({"ask": "surgery", "what": "swap", "blocks": ["s1_a"]}, "two neighbours"),
    ({"ask": "surgery", "what": "remove"}, "nothing to remove"),
    ({"ask": "run", "self": 1}, "self"),
    ({"ask": "lab"}, "'study'"),
    ({"ask": "photo", "name": "x", "buffers": []}, "buffers"),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG_QUESTIONS)
def test_a_wrong_argument_is_named_in_the_answer(panel, capfd, caplog, wrong, words):
    panel.selection = ("s1_a", "s1_b")
    message(panel, {"id": 12, **wrong})
    finish(panel)
    assert words in panel.error
    answer = getattr(panel, f"_{wrong['ask']}")
    assert answer["failed"]
    assert answer["id"] == wrong.get("id", 12)
    require_valid(panel, capfd, caplog)


def finish(panel):
    if panel._thread is not None:
        panel._thread.join()


def test_answers_carry_the_number_of_their_question(panel):
    panel.selection = ("s1_a", "s1_b")
    for number, question in enumerate(("text", "code", "run", "check", "costs", "surgery")):
        message(panel, {"ask": question, "id": number})
        finish(panel)
        assert getattr(panel, f"_{question}")["id"] == number
        assert not panel._reply["failed"]
    message(panel, {"ask": "text"})
    assert "id" not in panel._text


def test_other_listeners_still_hear_messages(panel):
    heard = []
    panel.on_msg(lambda _, content, buffers: heard.append(content))
    message(panel, "hello")
    assert heard == ["hello"]


def test_bytes_where_none_belong(panel):
    message(panel, {"ask": "text"}, [b"bytes"])
    assert panel._reply["failed"]
    assert "buffers" in panel.error
    message(panel, {"ask": "photo", "name": "two"}, [b"one", b"two"])
    assert "2 files" in panel.error


def test_a_layout_of_a_user_is_kept(tiny_resnet):
    panel = cw.CutPanel(tiny_resnet, parts=["diagram"])
    panel.layout = ipywidgets.Layout(width="50%")
    state(panel, {"layout": panel.get_state("layout")["layout"]})
    assert panel.layout.width == "50%"
