"""CutPanel without a browser: what Python sees of it."""

import io
import json

import keras
import numpy as np
import pytest
import traitlets
from PIL import Image

import cutwidgets as cw
from cutwidgets import panel as panel_module


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
    with pytest.raises(cw.CutError) as raised:
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
    assert panel._result == {"selection": [names[2], names[1]]}


def test_keras_prints_its_summary_when_the_page_asks(panel, names):
    panel.selection = (names[1], names[2])
    assert panel._text == {}
    panel._handle_custom_msg({"ask": "text"}, [])
    lines = []
    panel.slice.summary(print_fn=lines.append)
    assert panel._text == {"selection": [names[1], names[2]], "text": "\n".join(lines)}


def test_run_gives_a_picture_of_the_slice_s_output(panel, names):
    panel.selection = (names[1], names[3])
    panel._handle_custom_msg({"ask": "run"}, [])
    assert panel.error == ""
    assert panel._features["selection"] == [names[1], names[3]]
    for name in ("picture", "photo"):
        with Image.open(io.BytesIO(panel._features[name])) as picture:
            assert picture.format == "PNG"
    facts = dict(panel._features["facts"])
    assert "16×16×8" in facts["Output"]
    assert "ms" in facts["Time"]


def test_what_is_drawn_is_what_the_model_has_there(names, tiny_resnet, monkeypatch):
    drawn = []
    draw = panel_module.pictures.feature_maps
    monkeypatch.setattr(
        panel_module.pictures, "feature_maps", lambda maps: drawn.append(maps) or draw(maps)
    )
    batch = random(tiny_resnet.input_shape)
    panel = cw.CutPanel(tiny_resnet, preprocess=lambda _: batch)
    panel.selection = (names[2], names[3])
    panel.run()
    there = tiny_resnet.get_layer(cw.anatomy(tiny_resnet)[3].end).output
    np.testing.assert_allclose(drawn[0], values(tiny_resnet, [there], batch)[0], rtol=1e-6)


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
    with pytest.raises(cw.CutError, match="photo.png"):
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
    assert "photo" not in panel._features
    assert "random" in dict(panel._features["facts"])["Shown"]
    with Image.open(io.BytesIO(panel._features["picture"])) as picture:
        assert picture.format == "PNG"


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
