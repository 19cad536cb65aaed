"""A panel whose slice has several ends, without a browser."""

import json

import keras
import numpy as np
import pytest
import traitlets

import cutwidgets as cw
from cutwidgets.panel import result_views
from networks import unet


@pytest.fixture
def panel(tiny_resnet):
    return cw.CutPanel(tiny_resnet)


@pytest.fixture
def names(tiny_resnet):
    return [block.name for block in cw.anatomy(tiny_resnet)]


def ask(panel, question, **arguments):
    """Ask as the page does."""
    panel._handle_custom_msg({"ask": question, "id": 1, **arguments}, [])
    return getattr(panel, f"_{question}")


def as_in_page(value):
    return json.loads(json.dumps(value))


def test_a_list_of_ends(panel, names, tiny_resnet):
    panel.selection = (1, [3, names[1]])
    assert panel.selection == (names[1], (names[3], names[1]))
    assert panel.value == panel.selection
    assert panel.error == ""
    assert list(panel.slice.output) == [names[3], names[1]]
    wanted = cw.cut(tiny_resnet, names[1], [names[3], names[1]])
    x = np.ones((1, *panel.slice.input_shape[1:]), "float32")
    for key, value in wanted(x).items():
        np.testing.assert_array_equal(panel.slice(x)[key], value)
    assert repr(panel).endswith(f"{names[1]} to {names[3]} and {names[1]}>")


def test_the_keys_of_a_dictionary_stay(panel, names):
    panel.selection = (1, {"z": 2, "a": names[3]})
    assert panel.selection == (names[1], {"z": names[2], "a": names[3]})
    assert list(panel.slice.output) == ["z", "a"]
    assert panel.code == (
        "import cutwidgets as cw\n"
        f"part = cw.cut(model, {names[1]!r}, {{'z': {names[2]!r}, 'a': {names[3]!r}}})\n"
        f"cw.check(model, {names[1]!r}, {{'z': {names[2]!r}, 'a': {names[3]!r}}})"
    )
    panel.weights = "copy"
    assert list(panel.slice.output) == ["z", "a"]


def test_observers_find_the_slice(panel, names):
    seen = []
    panel.observe(lambda change: seen.append((change["new"], panel.slice)), "selection")
    panel.selection = (1, [2, 3])
    assert seen == [((names[1], (names[2], names[3])), panel.slice)]


@pytest.mark.parametrize("end", [[], {}, {"": 1}, {3: 1}])
def test_what_are_no_ends(panel, end):
    with pytest.raises(traitlets.TraitError, match="not an empty one"):
        panel.selection = (1, end)
    assert panel.selection == ()


@pytest.mark.parametrize("ends", [["a", "b"], {"z": "a", "y": "b"}])
def test_the_page_selects_as_python_does(panel, names, ends):
    ends = dict.fromkeys(ends, names[2]) if isinstance(ends, dict) else [names[2], names[3]]
    panel.set_state({"selection": [names[1], ends]})
    assert panel.error == ""
    assert as_in_page(panel.selection) == [names[1], ends]
    assert len(panel.slice.output) == 2
    panel.set_state({"selection": [names[1], names[3]]})
    assert panel.slice.output_shape


@pytest.mark.parametrize("end", [[], {}, [None], [["a"]], {"": "a"}, {"k": 2.5}, [True]])
def test_what_the_page_may_not_set(panel, names, end):
    panel.selection = (1, 2)
    panel.set_state({"selection": [names[1], end]})
    assert panel.selection == (names[1], names[2])
    assert "The page set selection to" in panel.error


def test_the_summary_has_every_output(panel, names):
    panel.selection = (1, {"z": 3, "a": 2})
    result = panel._result
    facts = [word for word, _ in result["facts"]]
    assert facts[:3] == ["Input", "Output z", "Output a"]
    shapes = dict(result["facts"])
    for key in ("z", "a"):
        tensor = panel.slice.output[key]
        assert shapes[f"Output {key}"] == f"{'×'.join(map(str, tensor.shape[1:]))} float32"
        assert f"Output {key} {shapes[f'Output {key}']}" in result["announcement"]
    assert result["title"] == f"{names[1]} to {names[3]} and {names[2]}"
    assert result["ends"] == [3, 2]
    assert result["exact"]
    assert "2 tensors leave at the ends" in result["note"]
    assert as_in_page(result["selection"]) == [names[1], {"z": names[3], "a": names[2]}]


def test_what_bypasses_the_ends_is_told(panel, names, tiny_resnet):
    blocks = cw.anatomy(tiny_resnet)
    inside = blocks[2].start
    panel.selection = (1, [names[1], blocks[1].start])
    assert panel._result["exact"]
    panel.selection = (0, [names[0], inside])
    assert not panel._result["exact"]
    assert "outputs of the ends are not enough" in panel._result["note"]
    assert panel._result["ends"] == [0, 2]


def test_a_refusal_says_which_end_and_what_works(panel, names):
    panel.selection = (2, [3, 1])
    assert panel.slice is None
    assert f"comes after the end {names[1]!r}" in panel.error
    assert panel._result["reason"]["kind"] == "before"
    (action,) = panel._result["actions"]
    assert action["label"] == f"Leave out {names[1]}"
    panel.selection = action["selection"]
    assert panel.selection == (names[2], names[3])
    assert panel.slice is not None


def test_a_bypassed_start_can_be_allowed(panel, tiny_resnet, names):
    blocks = cw.anatomy(tiny_resnet)
    residual = next(block for block in blocks if block.kind == "residual")
    start, near = residual.layers[1], residual.layers[2]
    panel.selection = (start, {"near": near, "far": names[-1]})
    assert "so the end" in panel.error
    labels = [action["label"] for action in panel._result["actions"]]
    assert labels[0] == "Let skip connections become extra inputs"
    assert f"Leave out {names[-1]}" in labels
    for action in panel._result["actions"]:
        other = cw.CutPanel(tiny_resnet)
        other.allow_bypass = action.get("allow_bypass", False)
        other.selection = action.get("selection", panel.selection)
        assert other.slice is not None, action
    panel.allow_bypass = True
    assert list(panel.slice.output) == ["near", "far"]


def test_the_run_draws_every_output(panel, names, monkeypatch):
    panel.selection = (1, {"z": 3, "a": 2})
    panel.run()
    answer = panel._run
    assert [row[0] for row in answer["statistics"]] == ["Input", "Output a", "Output z"]
    maps = {name for name in panel._maps if name not in ("selection", "count", "id")}
    assert maps == {"input", "output z", "output a"}
    before = panel._maps["output a"]
    drawn = []
    maps = result_views.maps
    monkeypatch.setattr(
        result_views, "maps", lambda x, first, *more: drawn.append((x, first)) or maps(x, 0, *more)
    )
    moved = ask(panel, "maps", output=7, key="z")
    ((array, first),) = drawn
    assert first == 7
    np.testing.assert_array_equal(array, panel._forward_pass.outputs[1])  # sorted, z is last
    assert moved["output a"] == before
    ask(panel, "maps", output=1, key="nowhere")
    assert "no output 'nowhere'" in panel.error
    # What is drawn of an end is what its own slice gives.
    panel.selection = (1, 2)
    panel.run()
    assert panel._maps["output"] == before


def test_predictions_are_shown_of_whichever_end_has_them(panel, names):
    panel.selection = (1, {"a": 2, "z": names[-1]})
    panel.run()
    found = panel._run["predictions"]
    panel.selection = (1, names[-1])
    panel.run()
    assert found == panel._run["predictions"]


def test_an_end_of_several_tensors_is_numbered():
    panel = cw.CutPanel(unet(2, "residual", size=16))
    wide = next(block for block in cw.anatomy(panel.model) if len(block.exits) == 2)
    panel.selection = (None, {"wide": wide, "up": "up1"})
    panel.run()
    names = [row[0] for row in panel._run["statistics"]]
    assert names == ["Input", "Output up", "Output wide 1", "Output wide 2"]
    assert panel._maps["output wide"]["notes"][0] == "Output wide 1 of 2."


def test_grad_cam_is_offered_at_every_end(panel, names, tiny_resnet):
    inside = next(b for b in cw.anatomy(tiny_resnet) if b.kind == "residual").layers[0]
    panel.selection = (0, [inside, names[3]])
    panel.run()
    assert {inside, names[3]} <= set(panel._run["explains"]["places"])


def test_check_and_script(panel, names):
    panel.selection = (1, {"z": 3, "a": 2})
    assert panel._verify()()["ok"]
    assert {"z", "a"} <= {name for name, _ in panel._verify()()["rows"]}
    assert "{'z': " in panel._script()["script"]
    assert panel._script()["lines"] == panel.code


def test_a_tensor_is_an_end(panel, tiny_resnet, names):
    x = keras.Input((4,))
    first, second = keras.ops.split(keras.layers.Dense(4)(x), 2, axis=1)
    model = keras.Model(x, [keras.layers.Dense(2)(first), second])
    panel = cw.CutPanel(model)
    panel.selection = (None, {"one": first, "other": second})
    assert panel.error == ""
    assert panel.slice.output["one"].shape == (None, 2)


def test_the_diagram_has_a_flag_on_every_end(panel, names, tmp_path):
    panel.selection = (1, [2, 3])
    drawn = panel.save(tmp_path / "diagram.dot").read_text("utf-8")
    assert [drawn.count(flag) for flag in ("START", "END")] == [1, 2]


def test_the_page_in_a_file_keeps_the_ends(panel, names, tmp_path):
    panel.selection = (1, {"z": 2, "a": 3})
    text = panel.save(tmp_path / "page.html").read_text("utf-8")
    assert f'"selection": ["{names[1]}", {{"z": "{names[2]}", "a": "{names[3]}"}}]' in text
