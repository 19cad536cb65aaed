import base64
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, pairwise
from xml.etree import ElementTree

import keras
import pydot
import pytest

import networks
from cutwidgets import CutwidgetsError, anatomy
from cutwidgets.drawing import block_diagram, rendering
from cutwidgets.drawing.dot import clipped

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</TABLE>> ]; evil -> b; //",
    "quote\" and 'quote",
    r"back\slash \N \G \L \\",
    "ends with a backslash\\",
    "two\nlines\tand\x00control\x1b",
    "&amp; &#60; entities",
    "emoji 🧠 and עברית",
    "lone surrogate \ud800",
    "-->",
    "",
]


@pytest.fixture(params=["ResNet50", "ResNet50V2", "VGG16", "MobileNetV2", "DenseNet121"])
def found(request):
    return anatomy(networks.untrained(request.param, 64))


@pytest.fixture(scope="module")
def resnet():
    return anatomy(networks.untrained("ResNet50", 224))


def unquoted(text):
    return text.strip('"')


def nodes(graph):
    inner = chain.from_iterable(nodes(frame) for frame in graph.get_subgraphs())
    own = [node for node in graph.get_nodes() if node.get_name() not in ("node", "edge", "graph")]
    return [*own, *inner]


def parsed(dot):
    """DOT as pydot reads it: ids of nodes, and edges by id as (start, end, class, style)."""
    (graph,) = pydot.graph_from_dot_data(dot)
    edges = {
        unquoted(edge.get("id")): (
            unquoted(edge.get_source()),
            unquoted(edge.get_destination()),
            unquoted(edge.get("class")),
            edge.get("style"),
        )
        for edge in graph.get_edges()
        if edge.get("id")
    }
    return graph, {unquoted(node.get_name()) for node in nodes(graph)}, edges


def parts(svg):
    """The groups of an SVG by id."""
    groups = ElementTree.fromstring(svg).iter(f"{SVG}g")
    return {group.get("id"): group for group in groups}


def corners(group):
    """Smallest and largest x and y of the card, joint or frame that a group draws."""
    shape = next(element for element in group if element.tag != f"{SVG}text")
    if shape.tag == f"{SVG}ellipse":
        x, y, rx, ry = (float(shape.get(key)) for key in ("cx", "cy", "rx", "ry"))
        return x - rx, y - ry, x + rx, y + ry
    numbers = list(map(float, re.findall(r"-?[\d.]+", shape.get("d") or shape.get("points"))))
    return min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])


def texts(group):
    return "".join(group.itertext()).replace("\xa0", " ")


def test_dot_holds_every_block_joint_and_shortcut(found):
    _, ids, edges = parsed(found.dot)
    residual = [i for i, block in enumerate(found) if block.kind == "residual"]
    expected = {"input", "output", "legend"}
    expected |= {f"block-{i}" for i in range(len(found))} | {f"joint-{i}" for i in residual}
    assert ids == expected

    leaves = ["input", *(f"{'joint' if i in residual else 'block'}-{i}" for i in range(len(found)))]
    for i, block in enumerate(found):
        assert edges.pop(f"spine-{i}")[:3] == (leaves[i], f"block-{i}", "spine")
        if i in residual:
            assert edges.pop(f"branch-{i}")[:3] == (f"block-{i}", f"joint-{i}", "branch")
            style = {"identity": "solid", "projection": "dashed", "pooling": "dotted"}
            assert edges.pop(f"shortcut-{i}") == (
                leaves[i],
                f"joint-{i}",
                f"shortcut {block.shortcut}",
                style[block.shortcut],
            )
    assert edges.pop(f"spine-{len(found)}")[:2] == (leaves[-1], "output")
    assert not edges


def test_each_stage_frames_its_blocks(found):
    graph, _, _ = parsed(found.dot)
    frames = {unquoted(frame.get("id")): frame for frame in graph.get_subgraphs()}
    positions = {block.name: i for i, block in enumerate(found)}
    assert len(frames) == len(found.stages)
    for j, stage in enumerate(found.stages):
        inside = {unquoted(node.get_name()) for node in frames[f"stage-{j}"].get_nodes()}
        cards = {name for name in inside if name.startswith("block-")}
        assert cards == {f"block-{positions[block.name]}" for block in stage.blocks}


def test_svg_has_the_ids_and_classes_that_pages_rely_on(found):
    groups = parts(found.svg)
    for i, block in enumerate(found):
        assert groups[f"block-{i}"].get("class") == f"node block {block.kind}"
        assert groups[f"spine-{i}"].get("class") == "edge spine"
        assert (f"joint-{i}" in groups) == (block.shortcut is not None)
        if block.shortcut:
            assert groups[f"joint-{i}"].get("class") == "node joint"
            assert groups[f"branch-{i}"].get("class") == "edge branch"
            assert groups[f"shortcut-{i}"].get("class") == f"edge shortcut {block.shortcut}"
    for j in range(len(found.stages)):
        assert groups[f"stage-{j}"].get("class") == "cluster stage"
    assert {"input", "output", "legend", f"spine-{len(found)}"} <= set(groups)


def test_svg_is_one_element_without_comments_and_tooltips(resnet):
    assert resnet.svg.startswith("<svg ")
    assert resnet.svg.endswith("</svg>")
    assert "<!--" not in resnet.svg
    assert "<title" not in resnet.svg


def test_cards_tell_name_shape_and_parameters(resnet):
    groups = parts(resnet.svg)
    card = texts(groups["block-4"])
    assert re.search(r"conv3_block1\s+28×28×512\s+383 k", card), card
    assert re.search(r"input\s+224×224×3", texts(groups["input"]))
    assert re.search(r"conv3\s+28×28×512", texts(groups["stage-1"]))
    legend = texts(groups["legend"])
    assert "identity" in legend
    assert "projection" in legend
    assert "pooling" not in legend


def test_kinds_that_no_arc_shows_are_named():
    vgg = anatomy(networks.application("VGG16"))
    groups = parts(vgg.svg)
    assert "plain" in texts(groups["block-0"])
    assert "shortcut" not in texts(groups["legend"])


def test_lengths_that_are_not_fixed_are_shown_as_shares_of_the_input():
    model = keras.applications.ResNet50(include_top=False, weights=None)
    groups = parts(anatomy(model).svg)
    assert "H×W×3" in texts(groups["input"])
    assert "H/32×W/32×2048" in texts(groups["output"])


def test_the_spine_is_straight_and_nothing_overlaps(found):
    groups = parts(found.svg)
    column = [
        corners(groups[name])
        for i in range(len(found))
        for name in (f"block-{i}", f"joint-{i}")
        if name in groups
    ]
    centres = [(left + right) / 2 for left, _, right, _ in column]
    assert max(centres) - min(centres) < 0.5
    for (_, _, _, bottom), (_, top, _, _) in pairwise(column):
        assert bottom < top


def test_cards_are_equally_wide_and_hold_their_texts(found):
    groups = parts(found.svg)
    cards = [groups[f"block-{i}"] for i in range(len(found))]
    boxes = [corners(card) for card in cards]
    assert len({round(right - left) for left, _, right, _ in boxes}) == 1
    for card, (left, top, right, bottom) in zip(cards, boxes, strict=True):
        for text in card.iter(f"{SVG}text"):
            assert left < float(text.get("x")) < right
            assert top < float(text.get("y")) < bottom


def test_a_resnet_fits_beside_other_things(resnet):
    width, height = map(float, ElementTree.fromstring(resnet.svg).get("viewBox").split()[2:])
    assert width < 290
    assert height < 1000


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_and_nothing_else(resnet, name):
    blocks = tuple(replace(block, name=f"{name}{i}") for i, block in enumerate(resnet.blocks[:3]))
    stage = replace(resnet.stages[0], name=name, blocks=blocks[1:])
    dot = block_diagram.source(name, blocks, [stage])

    _, ids, edges = parsed(dot)
    assert {"block-0", "block-1", "block-2", "joint-1", "joint-2"} < ids
    assert len(ids) == 8
    assert set(edges) == {
        "spine-0", "spine-1", "spine-2", "spine-3", "branch-1", "branch-2", "shortcut-1",
        "shortcut-2",
    }  # fmt: skip

    svg = rendering.render(dot)
    tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(svg).iter()}
    assert tags <= {"svg", "g", "path", "polygon", "ellipse", "text"}
    shown = "".join(x if x.isprintable() else "�" for x in name)
    groups = parts(svg)
    for part in ("legend", "block-0", "stage-0"):
        title = clipped(shown, 22) if part == "stage-0" else shown
        assert title.strip() in texts(groups[part])


def test_long_names_are_shortened(resnet):
    block = replace(resnet.blocks[0], name="x" * 300)
    svg = rendering.render(block_diagram.source("y" * 300, [block], []))
    width = float(ElementTree.fromstring(svg).get("viewBox").split()[2])
    assert re.search("x{8,20}…x{8,20}", texts(parts(svg)["block-0"]))
    assert re.search("y{8,30}…y{8,30}", texts(parts(svg)["legend"]))
    assert width < 500


def test_a_model_without_blocks_has_a_diagram():
    x = keras.Input((3,))
    groups = parts(anatomy(keras.Model(x, x, name="nothing")).svg)
    assert groups["spine-0"].get("class") == "edge spine"


def test_several_inputs_are_counted():
    inputs = [keras.Input((2,)) for _ in range(3)]
    model = keras.Model(inputs, keras.layers.Concatenate()(inputs))
    assert "3 inputs" in texts(parts(anatomy(model).svg)["input"])


def test_html_carries_a_style_sheet_that_concerns_the_diagram_alone(resnet):
    page = rendering.html(resnet.svg)
    assert page.startswith('<div class="cutwidgets-diagram"><style>')
    assert resnet.svg in page
    sheet = re.search("<style>(.*)</style>", page, re.DOTALL)[1]
    rules = re.sub(r"/\*.*?\*/|@media[^{]*", "", sheet, flags=re.DOTALL)
    selectors = re.findall(r"([^{}]+){", rules)
    assert len(selectors) > 5
    ours = ":is(.cutwidgets, .cutwidgets-diagram)"
    for selector in re.split(r",\s*\n", ",\n".join(selectors)):
        assert not selector.strip() or selector.strip().startswith(ours)


def test_an_image_is_the_diagram_with_its_style_sheet(resnet):
    html = rendering.image(resnet.svg, "words")
    assert 'alt="words"' in html
    data = re.search(r'src="data:image/svg\+xml;base64,([^"]*)"', html)[1]
    image = ElementTree.fromstring(base64.b64decode(data))
    inner = image.find(f"{SVG}svg")
    drawn = ElementTree.fromstring(resnet.svg)
    assert [ElementTree.tostring(part) for part in inner] == [
        ElementTree.tostring(part) for part in drawn
    ]
    sizes = [drawn.get(name) for name in ("width", "height", "viewBox")]
    assert [image.get(name) for name in ("width", "height", "viewBox")] == sizes
    assert (inner.get("viewBox"), inner.get("width")) == (sizes[2], None)  # as large as the image
    assert image.find(f"{SVG}style").text.startswith(rendering.STYLESHEET)


def test_the_style_sheet_knows_the_colours_of_the_texts(resnet):
    sheet = rendering.STYLESHEET
    drawn = resnet.svg + anatomy(networks.unet(3)).svg
    for colour in re.findall(r'\[fill="(#\w+)"\]', sheet):
        assert f'fill="{colour}"' in drawn


def test_the_systems_dot_draws_where_pygraphviz_cannot_be_imported(resnet, monkeypatch):
    if shutil.which("dot") is None:
        pytest.skip("no Graphviz on this system")
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    svg = rendering.render(resnet.dot)
    classes = {name: group.get("class") for name, group in parts(resnet.svg).items()}
    assert {name: group.get("class") for name, group in parts(svg).items()} == classes
    assert svg.startswith("<svg ")
    assert "<title" not in svg


def test_without_any_graphviz_the_error_says_what_to_install(resnet, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CutwidgetsError) as caught:
        rendering.render(resnet.dot)
    for word in ("Linux", "macOS", "Windows", "conda", "pip install pygraphviz", "apt", "brew"):
        assert word in str(caught.value)


def test_drawing_prints_nothing(found, capfd):
    rendering.render(found.dot)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_what_cannot_be_drawn_is_reported():
    with pytest.raises(CutwidgetsError, match="cannot draw"):
        rendering.render("no graph")


def test_threads_may_draw_at_once(resnet, capfd):
    with ThreadPoolExecutor(4) as pool:
        drawn = set(pool.map(rendering.render, [resnet.dot] * 8))
    assert drawn == {resnet.svg}
    assert capfd.readouterr().err == ""


def test_the_pydot_graph_is_the_diagram_to_edit(resnet):
    graph = resnet.to_pydot()
    (card,) = graph.get_subgraph('"cluster-0"')[0].get_node('"block-1"')
    card.set("fillcolor", "#ffff00")
    _, ids, edges = parsed(graph.to_string())
    assert (ids, edges) == parsed(resnet.dot)[1:]
    assert "#ffff00" in rendering.render(graph.to_string())


def test_skips_are_drawn_from_their_makers():
    unet = anatomy(networks.unet(3))
    _, _, edges = parsed(unet.dot)
    skips = {name: edge[:3] for name, edge in edges.items() if name.startswith("skip-")}
    # Level i on the way down reaches across to level 6 - i on the way up.
    assert skips == {f"skip-{6 - i}-1": (f"block-{i}", f"block-{6 - i}", "skip") for i in range(3)}
    assert "long skip connection" in texts(parts(unet.svg)["legend"])
    assert parts(unet.svg)["skip-4-1"].get("class") == "edge skip"


def test_towers_stand_side_by_side():
    towers = anatomy(networks.two_towers())
    names = [block.name for block in towers]
    _, _, edges = parsed(towers.dot)
    first, second, merge = (names.index(n) for n in ("stem", "picture8", "stage4_block1"))
    assert edges[f"spine-{first}"][0] == edges[f"spine-{second}"][0] == "input"
    ends = {edges[f"{name}-{merge}{k}"][0] for name, k in (("spine", ""), ("skip", "-1"))}
    assert ends == {f"block-{names.index('top')}", f"block-{names.index('picture16')}"}
    into_output = {edge[0] for edge in edges.values() if edge[1] == "output"}
    assert into_output == {f"block-{names.index(name)}" for name in ("kind", "colour")}
    groups = parts(towers.svg)
    assert "2 inputs" in texts(groups["input"])
    assert corners(groups[f"block-{first}"])[2] < corners(groups[f"block-{second}"])[0]
