"""CutPanel without a browser: what Python sees of it."""

import io
import json
from xml.etree import ElementTree

import ipywidgets
import keras
import numpy as np
import pytest
import traitlets
from PIL import Image

import cutwidgets as cw
from cutwidgets.inference import pictures
from cutwidgets.panel import panel as panel_module
from cutwidgets.panel import result_views


@pytest.fixture
def panel(tiny_resnet):
    return cw.CutPanel(tiny_resnet)


@pytest.fixture
def names(tiny_resnet):
    return [block.name for block in cw.anatomy(tiny_resnet)]


@pytest.fixture(scope="module")
def resnet50():
    return keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(64, 64, 3), name="resnet50"
    )


def random(shape, seed=0):
    return np.random.default_rng(seed).normal(size=(1, *shape[1:])).astype("float32")


def values(model, tensors, x):
    """What the whole model has at some of its tensors."""
    return [np.asarray(value) for value in keras.Function(model.inputs, tensors)([x])]


def from_page(panel, **state):
    """What happens when the page changes synced traits."""
    panel.set_state(state)


def test_nothing_is_selected_at_first(panel):
    assert (panel.selection, panel.slice, panel.error) == ((), None, "")


def test_the_slice_computes_what_the_model_computes(panel, names, tiny_resnet):
    panel.selection = (names[1], names[3])
    last = cw.anatomy(tiny_resnet)[3].end
    ends = [tiny_resnet.get_layer(name).output for name in (panel.slice.input.name, last)]
    entering, expected = values(tiny_resnet, ends, random(tiny_resnet.input_shape))
    np.testing.assert_allclose(panel.slice(entering), expected, rtol=1e-6)


def test_the_page_selects_as_python_does(panel, names):
    from_page(panel, selection=[names[1], names[2]])
    assert panel.selection == (names[1], names[2])
    assert panel.slice.output_shape == (None, 16, 16, 4)
    from_page(panel, selection=[])
    assert (panel.selection, panel.slice) == ((), None)


@pytest.mark.parametrize(
    "places",
    [
        ("conv3", "conv4"),
        ("conv3_block1_1_conv", "conv4_block6_out"),
        ("res3a_branch2a", "activation_89"),
        (4, 13),
    ],
)
def test_places_become_names_of_blocks(resnet50, places):
    panel = cw.CutPanel(resnet50)
    panel.selection = places
    assert panel.selection == ("conv3_block1", "conv4_block6")


def test_tensors_and_none_are_places(panel, names, tiny_resnet):
    blocks = cw.anatomy(tiny_resnet)
    border = tiny_resnet.get_layer(blocks[1].end).output
    panel.selection = (border, None)
    assert panel.selection == (names[2], names[-1])
    inner = tiny_resnet.get_layer(blocks[2].start).output
    panel.selection = (None, inner)
    assert panel.selection[0] == names[0]
    x = random(tiny_resnet.input_shape)
    np.testing.assert_array_equal(panel.slice(x), values(tiny_resnet, [inner], x)[0])


def test_an_end_inside_a_block_is_told_with_what_passes_it_by(panel, names, tiny_resnet):
    blocks = cw.anatomy(tiny_resnet)
    panel.selection = (names[1], blocks[2].start)
    assert panel.selection == (names[1], blocks[2].start)
    assert panel.error == ""
    assert not panel._result["exact"]
    assert f"inside {names[2]}" in panel._result["note"]
    assert f"the output of {blocks[1].end}," in panel._result["note"]
    panel.selection = (names[1], names[2])
    assert panel._result["exact"]


@pytest.mark.parametrize(
    ("start", "end"),
    [(3, 1), ("no such place", 2), (99, 2), ("s1_b_2_conv", "s2_b"), (object(), 1)],
)
def test_what_cannot_be_cut_is_said_and_not_raised(panel, names, tiny_resnet, start, end):
    panel.selection = (names[1], names[2])
    panel.selection = (start, end)
    assert panel.slice is None
    with pytest.raises(cw.CutwidgetsError) as raised:
        cw.cut(tiny_resnet, *panel.selection)
    assert panel.error == str(raised.value)
    json.dumps(panel.selection)
    panel.selection = (names[1], names[2])
    assert panel.error == ""
    assert panel.slice is not None


def test_a_fault_of_ours_is_shown_with_what_to_do(panel, names, monkeypatch):
    def broken(*_):
        raise RuntimeError("boom")

    monkeypatch.setattr(panel_module, "build", broken)
    from_page(panel, selection=[names[1], names[2]])
    assert "boom" in panel.error
    assert "report" in panel.error
    assert panel.slice is None


@pytest.mark.parametrize("selection", [("one",), (1, 2, 3)])
def test_a_selection_is_a_pair(panel, selection):
    with pytest.raises(traitlets.TraitError, match="start, end"):
        panel.selection = selection


@pytest.mark.parametrize("model", ["no model", keras.Sequential([keras.layers.Dense(1)])])
def test_no_panel_for_what_has_no_graph(model):
    with pytest.raises(cw.UnsupportedModelError):
        cw.CutPanel(model)


def test_observers_find_the_new_slice(panel, names):
    seen = []
    panel.observe(lambda change: seen.append((change["new"], panel.slice)), "selection")
    panel.selection = (names[1], names[2])
    assert seen == [((names[1], names[2]), panel.slice)]


def test_the_summary_counts_what_keras_counts(panel, names, tiny_resnet):
    panel.selection = (names[1], names[3])
    facts = dict(panel._result["facts"])
    trainable = sum(weight.numpy().size for weight in panel.slice.trainable_weights)
    assert facts["Parameters"].startswith(f"{panel.slice.count_params():,} ({trainable:,} ")
    assert facts["Layers"] == str(len(panel.slice.layers))
    assert facts["Input"] == "16×16×4 float32"
    assert facts["Output"] == "16×16×8 float32"
    parameters = [int(row[-1].replace(",", "")) for row in panel._result["rows"]]
    assert sum(parameters) == panel.slice.count_params()
    assert [row[0] for row in panel._result["rows"]] == names[1:4]


def test_answers_carry_their_selection(panel, names):
    panel.selection = (names[1], names[2])
    assert panel._result["selection"] == [names[1], names[2]]
    panel.selection = (names[2], names[1])
    assert panel._result["selection"] == [names[2], names[1]]
    assert "rows" not in panel._result


def test_keras_prints_its_summary_when_the_page_asks(panel, names):
    panel.selection = (names[1], names[2])
    assert panel._text == {}
    panel._handle_custom_msg({"ask": "text"}, [])
    lines = []
    panel.slice.summary(print_fn=lines.append)
    assert panel._text["selection"] == [names[1], names[2]]
    assert panel._text["text"] == "\n".join(lines)


def test_run_gives_a_picture_of_the_slice_s_output(panel, names):
    panel.selection = (names[1], names[3])
    panel._handle_custom_msg({"ask": "run"}, [])
    wait(panel)
    assert panel.error == ""
    assert panel._run["selection"] == [names[1], names[3]]
    maps = [panel._maps[which]["picture"] for which in ("input", "output")]
    for png in (panel._run["photo"], *maps):
        with Image.open(io.BytesIO(png)) as picture:
            assert picture.format == "PNG"
    facts = dict(panel._run["facts"])
    assert "ms" in facts["Time"]
    rows = {row[0]: row[1:3] for row in panel._run["statistics"]}
    assert rows == {"Input": ("16×16×4", "float32"), "Output": ("16×16×8", "float32")}


def test_what_is_drawn_is_what_the_model_has_there(names, tiny_resnet, monkeypatch):
    drawn = []
    draw = result_views.maps
    monkeypatch.setattr(
        result_views, "maps", lambda maps, *options: drawn.append(maps) or draw(maps, *options)
    )
    batch = random(tiny_resnet.input_shape)
    panel = cw.CutPanel(tiny_resnet, preprocess=lambda _: batch)
    panel.selection = (names[2], names[3])
    panel.run()
    ends = [tiny_resnet.get_layer(cw.anatomy(tiny_resnet)[i].end).output for i in (1, 3)]
    for seen, there in zip(drawn, values(tiny_resnet, ends, batch), strict=True):
        np.testing.assert_allclose(seen, there, rtol=1e-6)


def test_a_failing_preprocess_is_named(tiny_resnet):
    def swap_channels(_):
        raise IndexError("no such channel")

    panel = cw.CutPanel(tiny_resnet, preprocess=swap_channels)
    panel.selection = (None, None)
    panel.run()
    assert "swap_channels" in panel.error
    assert "no such channel" in panel.error


def test_a_photo_that_is_none_is_an_error_at_once(tiny_resnet, tmp_path):
    (tmp_path / "photo.png").write_text("no picture")
    with pytest.raises(cw.CutwidgetsError, match="photo.png"):
        cw.CutPanel(tiny_resnet, photo=tmp_path / "photo.png")


def test_selection_takes_none_and_refuses_a_single_place(panel, names):
    panel.selection = (names[1], names[2])
    with pytest.raises(traitlets.TraitError, match="start, end"):
        panel.selection = names[1]
    assert panel.selection == (names[1], names[2])
    panel.selection = None
    assert panel.selection == ()
    assert panel.slice is None


def test_run_without_a_slice_says_so(panel):
    panel.run()
    assert "no slice" in panel.error


def test_a_model_of_no_pictures_runs_on_random_input():
    words = keras.Input((12,), dtype="int32", name="words")
    x = keras.layers.Embedding(30, 8, name="embedding")(words)
    x = keras.layers.LSTM(6, name="lstm")(x)
    model = keras.Model(words, keras.layers.Dense(2, name="scores")(x))
    panel = cw.CutPanel(model)
    panel.selection = (None, None)
    panel.run()
    assert panel.error == ""
    assert "photo" not in panel._run
    shown = "Random token ids from the vocabulary of 30"
    assert dict(panel._run["facts"])["Shown"] == shown
    scores = panel._forward_pass.outputs[0]
    np.testing.assert_allclose(panel._maps["output"]["values"], scores[0], rtol=1e-6)


def test_the_model_is_left_alone(panel, names, tiny_resnet):
    config = tiny_resnet.get_config()
    weights = [weight.copy() for weight in tiny_resnet.get_weights()]
    panel.selection = (names[1], names[2])
    panel.run()
    panel._handle_custom_msg({"ask": "text"}, [])
    assert tiny_resnet.get_config() == config
    for before, after in zip(weights, tiny_resnet.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_two_panels_of_one_model_are_apart(tiny_resnet, names):
    one, other = cw.CutPanel(tiny_resnet), cw.CutPanel(tiny_resnet)
    one.selection = (names[1], names[2])
    assert other.selection == ()
    other.selection = (names[1], names[3])
    assert one.selection == (names[1], names[2])


def wait(panel):
    """Until the last job has ended."""
    if panel._thread is not None:
        panel._thread.join()


def ask(panel, question, buffers=(), **arguments):
    """The answer to a question of the page; marked as failed if there is an error."""
    panel._handle_custom_msg({"ask": question, **arguments}, list(buffers))
    wait(panel)
    answer = getattr(panel, f"_{question}")
    assert answer["selection"] == list(panel.selection)
    assert bool(panel.error) == bool(answer.get("failed"))
    return answer


def photograph(size=(40, 30), mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, size, "red" if mode == "RGB" else 1).save(file, "PNG")
    return file.getvalue()


def test_what_bypasses_the_start_may_become_an_input(panel, names, tiny_resnet):
    inside = cw.anatomy(tiny_resnet)[2].layers[1]
    panel.selection = (inside, names[3])
    assert panel.slice is None
    assert panel._result["nearest"]
    for places in panel._result["nearest"]:
        cw.cut(tiny_resnet, *places)
    panel.allow_bypass = True
    assert panel.error == ""
    assert len(panel.slice.inputs) == 2
    assert len(dict(panel._result["facts"])["Input"].split(", ")) == 2
    assert "allow_bypass=True" in panel.code
    panel.allow_bypass = False
    assert panel.slice is None


def test_a_copied_slice_shares_nothing(panel, names, tiny_resnet):
    panel.selection = (names[1], names[2])
    owned = {id(variable) for variable in tiny_resnet.variables}
    assert {id(variable) for variable in panel.slice.variables} <= owned
    assert "trains the model" in panel._result["sharing"]
    panel.weights = "copy"
    assert not {id(variable) for variable in panel.slice.variables} & owned
    assert "does not affect the model" in panel._result["sharing"]
    with pytest.raises(traitlets.TraitError):
        panel.weights = "steal"


def test_the_code_makes_the_slice_of_the_panel(panel, names, tiny_resnet):
    assert panel.code == ""
    panel.selection = (names[1], names[2])
    panel.weights = "copy"
    made = {"model": tiny_resnet}
    exec(panel.code, made)
    x = random(panel.slice.input_shape)
    np.testing.assert_array_equal(made["part"](x), panel.slice(x))


def test_the_script_is_that_of_to_code(panel, names, tiny_resnet):
    panel.selection = (names[1], names[2])
    answer = ask(panel, "code")
    assert answer["script"] == cw.to_code(tiny_resnet, names[1], names[2])
    assert answer["lines"] == panel.code


def test_the_check_is_that_of_check(panel, names):
    panel.selection = (names[1], names[2])
    answer = ask(panel, "check")
    assert answer["ok"]
    assert "bit for bit" in answer["text"]
    assert [row[0] for row in answer["rows"]] == names[1:]


def test_the_costs_are_those_of_costs(panel, names, tiny_resnet):
    rows = ask(panel, "costs")["rows"]
    table = cw.costs(tiny_resnet)
    assert [(row["macs"], row["bytes"]) for row in rows] == [
        (cost.macs, cost.activation_bytes) for cost in table
    ]


def test_surgery_computes_what_the_functions_make(panel, names, tiny_resnet):
    panel.selection = (names[0], names[-1])
    options = ask(panel, "surgery")
    assert options["removable"] == names[1:5]
    assert options["swappable"] == [(names[1], names[2])]
    wanted = {"what": "remove", "blocks": names[1:2]}
    removed = ask(panel, "surgery", **wanted)
    swapped = ask(panel, "surgery", what="swap", blocks=names[1:3])
    assert removed["facts"] != swapped["facts"]
    x = panel._input()[0][0]
    whole = np.asarray(tiny_resnet(x))
    for answer, name in ((removed, "smaller"), (swapped, "swapped")):
        made = {"cw": cw, "model": tiny_resnet}
        exec(answer["code"], made)
        changed = np.asarray(made[name](x))
        largest = float(dict(answer["facts"])["Largest change"])
        assert largest == pytest.approx(np.abs(changed - whole).max(), rel=0.01)


def test_surgery_shows_what_it_changed_and_leaves_no_call_in_the_model(panel, names, tiny_resnet):
    panel.selection = (names[0], names[-1])
    calls = [len(layer._inbound_nodes) for layer in tiny_resnet.layers]
    removed = ask(panel, "surgery", what="remove", blocks=names[1:2])["comparison"]
    swapped = ask(panel, "surgery", what="swap", blocks=names[1:3])["comparison"]
    assert (
        f"the changed model lacks 1 block of the original in s1: '{names[1]}'" in removed["finding"]
    )
    assert f"1 block in s1 is moved: '{names[1]}'" in swapped["finding"]
    for comparison, sign in ((removed, "−"), (swapped, "⇄")):
        texts = {element.text for element in ElementTree.fromstring(comparison["svg"]).iter()}
        assert {sign, names[1]} <= texts
    assert [len(layer._inbound_nodes) for layer in tiny_resnet.layers] == calls


def test_a_block_opens_into_its_layers(panel, names, tiny_resnet):
    answer = ask(panel, "open", block=names[3])
    block = cw.anatomy(tiny_resnet)[3]
    assert [call["name"] for call in answer["calls"]] == list(block.layers)
    drawn = {element.get("id") for element in ElementTree.fromstring(answer["svg"]).iter()}
    assert {call["id"] for call in answer["calls"]} <= drawn
    assert ask(panel, "open", block="nothing")["failed"]


def test_old_names_are_found(resnet50):
    panel = cw.CutPanel(resnet50)
    answer = ask(panel, "find", text="res3a_branch2a")
    assert (answer["block"], answer["layer"]) == ("conv3_block1", "conv3_block1_1_conv")
    assert "nothing_at_all" in (ask(panel, "find", text="nothing_at_all") and panel.error)


def test_a_photograph_is_chosen_or_uploaded(panel, names):
    panel.selection = (names[0], names[1])
    seen = set()
    for name in panel._photo["names"]:
        assert ask(panel, "photo", name=name)["name"] == name
        panel.run()
        seen.add(panel._run["photo"])
    assert len(seen) == len(pictures.SAMPLES)
    answer = ask(panel, "photo", [photograph()], name="mine.png")
    assert answer["name"] == "mine.png"
    assert answer["names"] == list(pictures.SAMPLES)


def test_what_is_no_photograph_is_said_and_the_old_one_stays(panel, names):
    huge = photograph((20_000, 20_000), "1")
    for name, content in (("notes.txt", b"no picture"), ("empty", b""), ("huge.png", huge)):
        answer = ask(panel, "photo", [content], name=name)
        assert answer["failed"]
        assert name in panel.error
    panel.selection = (names[0], names[1])
    panel.run()
    assert panel.error == ""


def test_a_slider_chooses_the_channels():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(80, 3, name="wide"), keras.layers.ReLU()]
    )
    panel = cw.CutPanel(model)
    panel.selection = (None, None)
    assert ask(panel, "maps", output=8)["failed"]
    panel.run()
    before = panel._maps
    after = ask(panel, "maps", output=40)
    assert after["input"] == before["input"]
    assert after["output"]["words"] == "channels 41 to 72 of 80"
    whole = panel._forward_pass.outputs[0]
    again = result_views.maps(whole[..., 40:72], 0, -1)
    assert after["output"]["picture"] == again["picture"]
    assert ask(panel, "maps", output=999)["output"]["first"] == 48


def test_a_classifier_predicts(tiny_resnet):
    logits = keras.layers.Softmax(name="probabilities")(tiny_resnet.output)
    panel = cw.CutPanel(keras.Model(tiny_resnet.input, logits))
    panel.selection = (None, None)
    panel.run()
    whole = np.asarray(panel.slice(panel._forward_pass.inputs[0]))[0]
    best = panel._run["predictions"]
    assert [name for name, _ in best] == [f"class {i}" for i in np.argsort(whole)[::-1]]
    assert sum(probability for _, probability in best) == pytest.approx(1)
    panel.selection = (None, 2)
    panel.run()
    assert panel._run["predictions"] == []


def test_files(panel, names, tmp_path, tiny_resnet):
    with pytest.raises(cw.CutwidgetsError, match="no slice"):
        panel.save(tmp_path / "part.keras")
    whole = panel.save(tmp_path / "whole.dot").read_text("utf-8")
    assert whole == cw.anatomy(tiny_resnet).dot
    panel.selection = (names[1], names[2])
    kinds = {".keras": b"PK", ".svg": b"<svg", ".png": b"\x89PNG", ".html": b"<!doctype html>"}
    for suffix, begin in kinds.items():
        path = panel.save(tmp_path / f"part{suffix}")
        assert path.read_bytes().startswith(begin)
    loaded = keras.models.load_model(tmp_path / "part.keras")
    x = random(panel.slice.input_shape)
    np.testing.assert_array_equal(loaded(x), panel.slice(x))
    assert panel.save(tmp_path / "part.dot").read_text("utf-8") != whole
    with pytest.raises(cw.CutwidgetsError, match=r"part\.dot"):
        panel.save(tmp_path / "part.dot")
    with pytest.raises(cw.CutwidgetsError, match="pdf"):
        panel.save(tmp_path / "part.pdf")
    with pytest.raises(cw.CutwidgetsError, match="Cannot save"):
        panel.save(tmp_path / "no folder" / "part.svg")


def test_the_button_saves_the_slice_under_a_free_name(panel, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    panel.selection = (names[1], names[2])
    for _ in range(2):
        assert "MB" in ask(panel, "save", kind="keras")["saved"]
    assert len(list(tmp_path.glob("*.keras"))) == 2
    answer = ask(panel, "save", kind="dot")
    assert (answer["name"], answer["content"][:7]) == ("tiny_resnet.dot", b"digraph")


def test_another_model_is_opened_in_the_same_panel(panel, names, resnet50):
    panel.selection = (names[1], names[2])
    panel.run()
    ask(panel, "costs")
    panel.model = resnet50
    assert (panel.selection, panel.slice, panel.error) == ((), None, "")
    assert panel._run == panel._costs == panel._maps == {}
    assert panel._network["name"] == "resnet50"
    panel.selection = ("conv3", "conv3")
    assert panel.slice.output_shape[-1] == 512
    with pytest.raises(cw.UnsupportedModelError):
        panel.model = keras.Sequential([keras.layers.Dense(1)])
    assert panel.model is resnet50
    assert panel.slice.output_shape[-1] == 512


def test_parts_and_links(tiny_resnet, names):
    picker = cw.CutPanel(tiny_resnet, parts=["diagram"])
    view = cw.CutPanel(tiny_resnet, parts=["run"])
    traitlets.link((picker, "selection"), (view, "selection"))
    picker.selection = (names[1], names[2])
    assert view.slice.output_shape == picker.slice.output_shape
    for wrong in (["diagramm"], [], "diagram"):
        with pytest.raises(cw.CutwidgetsError, match="diagram"):
            cw.CutPanel(tiny_resnet, parts=wrong)


def test_widgets_of_others_work_with_the_selection(panel, names, tiny_resnet):
    shapes = []
    ipywidgets.interactive_output(
        lambda part: shapes.append(cw.cut(tiny_resnet, *part).output_shape if part else None),
        {"part": panel},
    )
    panel.selection = (1, 2)
    panel.value = (names[1], names[3])
    assert panel.selection == (names[1], names[3])
    assert shapes[-1] == panel.slice.output_shape
    other = cw.CutPanel(tiny_resnet)
    ipywidgets.link((panel, "selection"), (other, "selection"))
    assert other.slice.output_shape == panel.slice.output_shape


def test_the_notebook_keeps_a_picture_and_text(panel, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    panel._ipython_display_()
    live, picture = shown
    assert "application/vnd.jupyter.widget-view+json" in live
    assert "image/svg+xml" not in live  # a converter that cannot draw the panel would show both
    assert "tiny_resnet" in live["text/plain"]
    assert f"cutwidgets-of-{panel._token}" in picture["text/html"]
    assert "<svg" not in picture["text/html"]
    assert "s1_a" in picture["text/plain"]


def test_every_panel_has_a_token_of_its_own(panel, tiny_resnet):
    token = panel._token
    panel.model = keras.models.clone_model(tiny_resnet)
    assert panel._token == token
    assert cw.CutPanel(tiny_resnet)._token != token


def test_answers_about_another_slice_are_gone(panel, names):
    panel.selection = (names[1], names[2])
    panel.run()
    ask(panel, "code")
    panel.weights = "copy"
    assert panel._code == panel._run == panel._maps == {}
    assert "weights='copy'" in ask(panel, "code")["lines"]


def test_why_there_is_no_slice_is_said_until_there_is_one(panel, names, tmp_path):
    panel.selection = (names[2], names[1])
    refusal = panel.error
    for question, arguments in (("costs", {}), ("open", {"block": names[0]})):
        panel._handle_custom_msg({"ask": question, **arguments}, [])
        wait(panel)
        assert getattr(panel, f"_{question}")
        assert panel.error == refusal
    panel.save(tmp_path / "page.html")
    assert panel.error == refusal
    panel.selection = (names[1], names[2])
    assert panel.error == ""


def test_a_model_that_looks_the_same_is_another_one(panel, tiny_resnet):
    before = panel._network
    panel.model = keras.models.clone_model(tiny_resnet)
    assert panel._network != before


def test_no_half_built_file_stays(tmp_path):
    @keras.saving.register_keras_serializable("tests")
    class Unsaveable(keras.layers.ReLU):
        def get_config(self):
            raise ValueError("no config")

    panel = cw.CutPanel(keras.Sequential([keras.Input((8,)), Unsaveable(), keras.layers.ReLU()]))
    panel.selection = (None, None)
    with pytest.raises(cw.CutwidgetsError, match="no config"):
        panel.save(tmp_path / "part.keras")
    assert not list(tmp_path.iterdir())


def test_predictions_that_are_no_numbers_are_not_told():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3, activation="softmax")])
    model.set_weights([weight * np.nan for weight in model.get_weights()])
    panel = cw.CutPanel(model)
    panel.selection = (None, None)
    panel.run()
    assert panel.error == ""
    assert panel._run["predictions"] == []


def test_tensors_within_a_block_are_named_by_layers(panel, tiny_resnet):
    start, end = (tiny_resnet.get_layer(name).output for name in ("s1_a_1_conv", "s1_a_2_conv"))
    panel.selection = (start, end)
    assert panel.selection == ("s1_a_1_relu", "s1_a_2_conv")
    made = {"model": tiny_resnet}
    exec(panel.code, made)
    assert [layer.name for layer in made["part"].layers][1:] == ["s1_a_1_relu", "s1_a_2_conv"]


def test_a_model_without_blocks_has_an_empty_panel():
    tensor = keras.Input((8,))
    panel = cw.CutPanel(keras.Model(tensor, tensor))
    panel.selection = (None, None)
    assert panel.slice is None
    assert panel.error
