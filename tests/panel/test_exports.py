"""The diagram in files: it shows the slice and the colours of a study as the page does."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import keras
import numpy as np
import pytest

import cutwidgets as cw
import networks
from cutwidgets import lab
from cutwidgets.drawing import block_diagram, rendering
from cutwidgets.drawing.dot import in_dark
from cutwidgets.drawing.marks import ACCENT, ALERT, SCALE, Marks
from cutwidgets.panel import exports
from cutwidgets.panel.exports import View
from gallery.generative import diffusion_unet
from gallery.residual import cifar_resnet

SVG = "{http://www.w3.org/2000/svg}"


def svg_of(panel, **view):
    """The SVG that the page downloads, by the ids of its parts."""
    panel._handle_custom_msg({"ask": "save", "kind": "svg", **view}, [])
    assert not panel._save.get("failed"), panel.error
    root = ElementTree.fromstring(panel._save["content"])
    return {group.get("id"): group for group in root.iter(f"{SVG}g")}


def texts(group):
    return [(text.text or "").strip("\xa0 ") for text in group.iter(f"{SVG}text")]


def outline(group):
    return next(element for element in group if element.get("d") or element.get("rx"))


def is_faint(group):
    """Whether all lines and texts of a part are faint; some must not be, and others not."""
    drawn = [outline(group).get("stroke-opacity")]
    drawn += [
        text.get("fill-opacity")
        for text in group.iter(f"{SVG}text")
        if (text.text or "").strip("\xa0 ")
    ]
    assert len(set(drawn)) == 1, drawn
    return drawn[0] is not None


def blocks_of(model, part):
    """Positions of the blocks whose layers a slice has, by the names of its layers."""
    inside = {layer.name for layer in part.layers if not isinstance(layer, keras.layers.InputLayer)}
    return [i for i, block in enumerate(cw.anatomy(model)) if inside.intersection(block.layers)]


CUTS = {
    "tiny": (None, 1, 3),
    "inside": (None, "s1_b_1_relu", "s2_a_2_conv"),
    "VGG16": (lambda: networks.untrained("VGG16"), 2, 2),
    "unet": (networks.unet, "down2", "up1"),
    "towers": (networks.two_towers, "picture8_conv", "picture16_pool"),
}


@pytest.mark.parametrize("name", CUTS)
def test_the_slice_is_lit_and_the_rest_faint(name, tiny_resnet):
    make, start, end = CUTS[name]
    model = make() if make else tiny_resnet
    panel = cw.CutPanel(model)
    panel.allow_bypass = name == "inside"
    panel.selection = (start, end)
    assert not panel.error
    inside = blocks_of(model, panel.slice)
    assert 0 < len(inside) < len(cw.anatomy(model))
    parts = svg_of(panel)
    lit = {
        name
        for name, group in parts.items()
        if re.match("(block|joint)", name or "") and not is_faint(group)
    }
    assert {int(part.split("-")[1]) for part in lit} == set(inside)
    assert {outline(parts[part]).get("stroke") for part in lit} == {ACCENT}
    flags = {
        flag: [part for part in parts if flag in texts(parts[part]) and part.startswith("block")]
        for flag in ("START", "END")
    }
    assert flags == {"START": [f"block-{inside[0]}"], "END": [f"block-{inside[-1]}"]}
    edges = [(part, group) for part, group in parts.items() if "edge" in group.get("class", "")]
    for part, group in edges:
        enters = int(part.split("-")[1])
        assert (outline(group).get("stroke-opacity") is None) == (enters in inside), part
    assert not any(
        part in parts and is_faint(parts[part]) for part in ("input", "output", "legend")
    )


def test_without_a_slice_and_a_study_the_diagram_is_that_of_the_anatomy(tiny_resnet):
    panel = cw.CutPanel(tiny_resnet)
    panel._handle_custom_msg({"ask": "save", "kind": "svg"}, [])
    assert panel._save["content"].decode() == cw.anatomy(tiny_resnet).svg


def test_kinds_of_shortcuts_differ_in_a_slice_too():
    """A shortcut with padding is a thicker line than one without."""
    panel = cw.CutPanel(cifar_resnet())
    panel.selection = (None, None)
    parts = svg_of(panel)
    width = {}
    for group in parts.values():
        if kind := (group.get("class") or "").partition("shortcut ")[2]:
            width.setdefault(kind, float(outline(group).get("stroke-width", 1)))
    assert width["padding"] > width["identity"]


@pytest.fixture(scope="module")
def studied(tiny_resnet):
    """A panel with a study, and its values by block."""
    random = np.random.default_rng(0)
    data = random.normal(size=(12, 16, 16, 3)).astype("float32"), random.integers(0, 3, 12)
    panel = cw.CutPanel(tiny_resnet, data=data)
    panel._handle_custom_msg({"ask": "lab", "study": "lesions"}, [])
    panel._thread.join()
    return panel, lab.lesions(tiny_resnet, *data).table.set_index("block")["error"]


def luminance(colour):
    names = {"black": "#000000", "white": "#ffffff"}
    parts = bytes.fromhex(names.get(colour, colour)[1:])
    linear = [((p / 255 + 0.055) / 1.055) ** 2.4 if p > 10 else p / 255 / 12.92 for p in parts]
    return np.dot((0.2126, 0.7152, 0.0722), linear)


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def value_of(group):
    """The value that a card shows: its text, colour and that of the text; `None` without one."""
    pills = [
        text
        for text in group.iter(f"{SVG}text")
        if text.get("font-size") == "7.00" and text.get("font-weight") == "bold"
    ]
    pills = [text for text in pills if text.text not in ("START", "END")]
    if not pills:
        return None
    (text,) = pills
    fill = next(element for element in list(group)[list(group).index(text) - 1 :: -1])
    assert fill.get("fill-opacity") is None
    return text.text, fill.get("fill"), text.get("fill", "black")


@pytest.mark.parametrize("dark", [False, True])
def test_the_values_of_a_study_stand_on_the_cards(studied, dark):
    panel, errors = studied
    panel.selection = (3, 4)
    parts = svg_of(panel, colours=True, dark=dark)
    blocks = cw.anatomy(panel.model)
    shown = {block.name: value_of(parts[f"block-{i}"]) for i, block in enumerate(blocks)}
    expected = {name: f"{100 * error:.1f} %" for name, error in errors.items()}
    assert {name: value[0] for name, value in shown.items() if value} == expected
    assert shown[errors.idxmin()][1] == SCALE[0]
    assert shown[errors.idxmax()][1] == SCALE[-1]
    assert all(contrast(fill, ink) >= 4.5 for _, fill, ink in filter(None, shown.values()))
    legend = texts(parts["legend"])
    assert "Error without the block" in " ".join(legend)
    assert re.search(f"{100 * errors.min():.1f} %.*{100 * errors.max():.1f} %", " ".join(legend))
    scale = [p.get("fill") for p in parts["legend"].iter(f"{SVG}polygon")]
    assert [fill for fill in scale if fill in SCALE] == list(SCALE)


def test_the_page_decides_whether_colours_are_shown(studied, tmp_path):
    panel, _ = studied
    parts = svg_of(panel, colours=False)
    assert not any(value_of(parts[f"block-{i}"]) for i in range(len(cw.anatomy(panel.model))))
    assert "Error" not in " ".join(texts(parts["legend"]))
    saved = panel.save(tmp_path / "own.svg").read_text("utf-8")  # from Python: the last study
    assert "Error without the block" in saved


@pytest.mark.parametrize("dark", [False, True])
def test_lit_texts_can_be_read_and_colours_seen_on_any_page(studied, dark):
    panel, _ = studied
    panel.selection = (1, 4)
    parts = svg_of(panel, dark=dark)
    pages = "#ffffff", "#161b22"
    for i in range(1, 5):
        group = parts[f"block-{i}"]
        card = outline(group).get("fill")
        for text in group.iter(f"{SVG}text"):
            if text.get("font-size") == "9.00":
                assert contrast(text.get("fill"), card) >= 4.5
    for colour in (ACCENT, ALERT):
        assert all(contrast(colour, page) >= 3 for page in pages)
    assert contrast(ACCENT, "white") >= 4.5  # START and END
    assert (luminance(outline(parts["block-1"]).get("fill")) < 0.1) == dark


def test_what_makes_a_cut_impossible_is_drawn(tmp_path):
    panel = cw.CutPanel(networks.unet())
    panel.selection = ("down3", "up1")
    assert panel.slice is None
    parts = svg_of(panel)
    red = {
        part
        for part, group in parts.items()
        if part
        and group.get("class")
        and "edge" in group.get("class")
        and outline(group).get("stroke") == ALERT
    }
    up1 = [block.name for block in cw.anatomy(panel.model)].index("up1")
    assert red == {f"skip-{up1}-1"}
    assert "START" in texts(parts["block-2"])
    assert "END" in texts(parts[f"block-{up1}"])
    assert not any(is_faint(parts[f"block-{i}"]) for i in range(len(cw.anatomy(panel.model))))


def test_where_the_edge_is_not_drawn_its_readers_are_marked():
    panel = cw.CutPanel(diffusion_unet())
    panel.selection = (9, 10)
    assert "bypass" in panel.error
    parts = svg_of(panel)
    marked = [
        part
        for part, group in parts.items()
        if part and part.startswith("block") and outline(group).get("stroke") == ALERT
    ]
    assert "block-10" in marked
    assert all("reads" in " ".join(texts(parts[part])) for part in marked)


def test_the_opened_run_of_blocks_is_drawn_open():
    panel = cw.CutPanel(networks.residual_chain(300))
    panel.selection = (10, 20)
    folded = svg_of(panel)
    assert {part for part in folded if part and part.startswith("block")} == {"block-0"}
    assert {"START", "END"} <= set(texts(folded["block-0"]))
    parts = svg_of(panel, unfolded=[11, 11])
    lit = {
        part
        for part, group in parts.items()
        if part and part.startswith("block") and not is_faint(group)
    }
    assert "block-11" in lit
    cards = panel._diagram(11, 11)["cards"]
    assert {part for part in parts if part and part.startswith("block")} == {
        f"block-{card['first']}" for card in cards
    }
    assert lit == {
        f"block-{card['first']}" for card in cards if card["first"] <= 20 and card["last"] >= 10
    }


def drawn(dot):
    groups = ElementTree.fromstring(rendering.render(dot)).iter(f"{SVG}g")
    return {group.get("id"): group for group in groups}


def test_blocks_between_those_of_the_slice_are_faint(tiny_resnet):
    """Those of another tower, for example."""
    found = cw.anatomy(tiny_resnet)
    calls = [*found[1].calls, *found[4].calls]
    parts = drawn(exports.dot(found, {"_result": {"range": [1, 4], "calls": calls}}, View()))
    faint = [is_faint(parts[f"block-{i}"]) for i in range(len(found))]
    assert faint == [True, False, True, True, False, True]


def test_names_stay_what_they_are(tiny_resnet):
    names = [
        '<FONT COLOR="#57606a">',
        'COLOR="#123456"',
        "#ffffff",
        '="#ffffff"',
        "#57606a",
        "START",
    ]
    found = cw.anatomy(tiny_resnet)
    blocks = [replace(block, name=name) for block, name in zip(found, names, strict=True)]
    plain = drawn(block_diagram.source("plain", blocks, ()))
    marks = Marks(frozenset({1}), 1, (1,))
    marked = drawn(in_dark(block_diagram.source("plain", blocks, (), marks=marks)))
    for i, name in enumerate(names):
        assert name in texts(plain[f"block-{i}"])
        added = ["START", "END"] if i == 1 else []
        assert sorted(texts(marked[f"block-{i}"])) == sorted([*texts(plain[f"block-{i}"]), *added])


def test_the_saved_page_has_the_selection_and_the_tab(tiny_resnet):
    panel = cw.CutPanel(tiny_resnet)
    panel.selection = (1, 3)
    message = {"ask": "save", "kind": "html", "tab": "costs", "colours": False}
    panel._handle_custom_msg(message, [])
    text = panel._save["content"].decode()
    names = [block.name for block in cw.anatomy(tiny_resnet)]
    assert f'"selection": ["{names[1]}", "{names[3]}"]' in text
    assert '"_tab": "costs", "_coloured": false' in text
