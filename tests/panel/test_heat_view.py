"""Grad-CAM in CutPanel, without a browser."""

import io
import json
import sys

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import cutwidgets as cw
from cutwidgets import lab
from cutwidgets.inference import images


@pytest.fixture
def panel(tiny_resnet):
    panel = cw.CutPanel(tiny_resnet)
    panel.selection = ("s1_b", "s2_a")
    yield panel
    panel.close()


def asked(panel, question, **arguments):
    panel._handle_custom_msg({"ask": question, **arguments}, [])
    if panel._thread is not None:
        panel._thread.join(30)
    return getattr(panel, f"_{question}")


def picture(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def test_a_run_says_what_can_be_explained(panel):
    offer = asked(panel, "run")["explains"]
    assert offer == {"places": ["s1_b", "s2_a"], "place": "s2_a", "classes": [], "note": ""}


@pytest.mark.parametrize(("place", "target"), [("s2_a", None), ("s1_b", 2)])
def test_a_slice_explains_the_answer_of_the_whole_model(panel, tiny_resnet, place, target):
    answer = asked(panel, "heat", place=place, target=target)
    assert panel.error == ""
    x = list(panel._input()[0].values())
    expected = lab.grad_cam(tiny_resnet, x, place, target)
    assert answer["finding"] == expected.finding
    assert answer["class"] == expected.table["class"][0]
    heat = picture(answer["heat"])
    assert heat.shape == (16, 16, 4)
    # It is opaque where it is hot.
    assert (heat[..., 3] / 255).max() == pytest.approx(0.8 if expected.heat.any() else 0)
    assert (heat[..., 3] == 0).tolist() == (np.round(255 * 1.2 * expected.heat[0]) == 0).tolist()
    # Below it, the part of the photograph that the model sees.
    pixels = images.pixels(panel._anatomy.graph, panel._image)[0].astype("uint8")
    seen = np.asarray(Image.fromarray(pixels).convert("L"))
    assert (picture(answer["photo"]) == seen).all()
    # The likeliest classes come first.
    scores = np.asarray(tiny_resnet(x[0]))[0]
    assert [number for number, _ in answer["classes"]] == np.argsort(-scores).tolist()


def test_the_code_does_the_same(panel, tiny_resnet):
    answer = asked(panel, "heat", place="s2_a", target=1)
    scope = {"model": tiny_resnet, "x": list(panel._input()[0].values())}
    exec(answer["code"].replace("\nlab.", "\nresult = lab."), scope)
    assert scope["result"].finding == answer["finding"]
    assert len(answer["code"].splitlines()) == 3


def test_an_end_inside_a_block_is_a_place_too(panel):
    panel.selection = ("s1_b", "s2_a_1_conv")
    offer = asked(panel, "run")["explains"]
    assert offer["places"] == ["s1_b", "s2_a_1_conv"]
    answer = asked(panel, "heat", place="s2_a_1_conv")
    assert answer["place"] == "s2_a_1_conv"
    assert "at s2_a_1_conv (16×16)" in answer["finding"]


def test_a_slice_without_maps_says_so_and_so_does_an_impossible_question(panel):
    panel.selection = ("classifier", "classifier")
    offer = asked(panel, "run")["explains"]
    assert offer["places"] == []
    assert "does not lead" in offer["note"] or "no spatial axes" in offer["note"]
    assert asked(panel, "heat", place="classifier")["failed"]
    assert "Grad-CAM needs positions and channels" in panel.error
    assert asked(panel, "heat", place="s2_a", target=3)["failed"]
    assert "classes 0 to 2" in panel.error
    assert asked(panel, "heat", place="nowhere")["failed"]


def test_models_without_classes_say_so_beforehand(tiny_resnet):
    backbone = keras.Model(tiny_resnet.input, tiny_resnet.get_layer("s2_b_out").output)
    panel = cw.CutPanel(backbone)
    panel.selection = ("s1_b", "s2_a")
    offer = asked(panel, "run")["explains"]
    assert offer["places"] == []
    assert "feature maps" in offer["note"]
    two = keras.Model(tiny_resnet.input, [tiny_resnet.output, tiny_resnet.get_layer("pool").output])
    panel = cw.CutPanel(two)
    panel.selection = ("s1_b", "s2_a")
    assert "this one has 2" in asked(panel, "run")["explains"]["note"]


def test_a_number_is_explained_by_what_raises_and_lowers_it(tiny_resnet):
    score = layers.Dense(1, name="age")(tiny_resnet.get_layer("pool").output)
    panel = cw.CutPanel(keras.Model(tiny_resnet.input, score))
    panel.selection = ("s1_b", "s2_a")
    offer = asked(panel, "run")["explains"]
    assert [number for number, _ in offer["classes"]] == [1, 0]
    answer = asked(panel, "heat", place="s2_a", target=0)
    assert answer["class"] == 0
    assert list(map(list, answer["classes"])) == list(map(list, offer["classes"]))


def test_a_signal_has_heat_without_a_photograph():
    inputs = keras.Input((32, 2))
    x = layers.Conv1D(4, 3, padding="same", name="one")(inputs)
    x = layers.Conv1D(4, 3, strides=2, padding="same", name="two")(layers.ReLU()(x))
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))
    panel = cw.CutPanel(model)
    first, last = panel._network["blocks"][0]["name"], panel._network["blocks"][-1]["name"]
    panel.selection = (first, last)
    offer = asked(panel, "run")["explains"]
    answer = asked(panel, "heat", place=offer["place"])
    assert "photo" not in answer
    assert answer["maps"]["view"] == "signal"
    assert answer["maps"]["length"] == 32
    json.dumps(answer)


def test_another_photograph_takes_the_heat_away(panel):
    assert asked(panel, "heat", place="s2_a")["finding"]
    before = panel._heat
    panel._handle_custom_msg({"ask": "photo", "name": "An astronaut"}, [])
    assert panel._heat == {}
    assert asked(panel, "heat", place="s2_a")["photo"] != before["photo"]
    panel.selection = ("s1_b", "s2_b")
    assert panel._heat == {}


def test_heat_of_a_photograph_before_is_dropped(panel):
    work = panel._explain("s2_a")
    outcome = work()
    panel._choose_photo("An astronaut")
    assert panel._keep_heat(outcome) == {"stopped": True}


def test_without_the_extra_lab_the_panel_says_what_to_install(panel, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert asked(panel, "run")["explains"]["places"]
    assert asked(panel, "heat", place="s2_a")["failed"]
    assert 'pip install "cutwidgets[lab]"' in panel.error


def test_a_saved_page_has_the_heat(panel, tmp_path):
    asked(panel, "run")
    finding = asked(panel, "heat", place="s2_a")["finding"]
    assert finding.encode("ascii", "ignore").decode()[:20] in panel.save(
        tmp_path / "page.html"
    ).read_text("utf-8")
