"""Tabs, depth, search, undo and files of the panel's page, in Chromium, without JupyterLab."""

import io

import keras
import numpy as np
import pytest
from panelpage import PanelPage
from PIL import Image

import cutwidgets as cw
import networks


@pytest.fixture
def at(page, tiny_resnet):
    page.set_default_timeout(20_000)
    return PanelPage(page, cw.CutPanel(tiny_resnet))


@pytest.fixture
def names(tiny_resnet):
    return [block.name for block in cw.anatomy(tiny_resnet)]


@pytest.fixture(scope="module")
def unet():
    return networks.unet(2)


def test_undo_and_redo(at, names):
    at.choose(names[1], names[2])
    at.choose(names[2], names[3])
    undo, redo = (at.page.get_by_role("button", name=word) for word in ("Undo", "Redo"))
    assert redo.is_disabled()
    undo.click()
    at.wait_for(names[1], names[2])
    at.page.keyboard.press("Control+z")
    at.page.wait_for_selector(".cutwidgets:not([data-selection])")
    assert at.panel.selection == ()
    assert undo.is_disabled()
    redo.focus()
    redo.click()
    at.wait_for(names[1], names[2])
    at.page.keyboard.press("Control+Shift+z")
    at.wait_for(names[2], names[3])
    undo.click()
    at.choose(names[3], names[4])
    assert redo.is_disabled()


def test_an_end_that_a_skip_makes_impossible_is_greyed_with_its_skip_drawn(page, unet):
    at = PanelPage(page, cw.CutPanel(unet))
    blocks = [block.name for block in at.panel._anatomy]
    with pytest.raises(cw.BypassedCutError) as refused:
        cw.cut(unet, blocks[2], blocks[-1])
    at.block(blocks[2]).click()
    last = at.block(blocks[-1])
    assert last.get_attribute("aria-disabled") == "true"
    assert refused.value.bypasses[0] in last.get_attribute("aria-label")
    last.hover()
    page.wait_for_selector(".cw-hinted")
    marked = page.locator(".cw-hinted").evaluate_all("all => all.map(one => one.id)")
    assert any("skip-" in name for name in marked)
    last.click(force=True)
    page.wait_for_selector("[data-part=error]:not(:empty)")
    assert page.locator(".cw-crossing").count() == len(marked)
    # The nearest slice, of those that can be cut: behind the switch for the bypass.
    page.locator("[data-part=error] button").nth(1).click()
    page.wait_for_selector(".cutwidgets[data-selection]")
    assert at.panel.slice is not None
    assert not at.panel.allow_bypass

    at.part("bypass").check()
    at.block(blocks[2]).click()
    assert last.get_attribute("aria-disabled") == "false"
    last.click()
    at.wait_for(blocks[2], blocks[-1])
    assert len(at.panel.slice.inputs) == 2
    at.part("bypass").uncheck()
    page.wait_for_selector("[data-part=error]:not(:empty)")
    assert at.shown() is None


def test_a_block_opens_into_layers_that_can_be_chosen(at, names, tiny_resnet):
    layers = cw.anatomy(tiny_resnet)[3].layers
    at.page.locator("[role=listbox]").focus()
    for _ in range(3):
        at.page.keyboard.press("ArrowDown")
    at.page.keyboard.press("o")
    at.page.wait_for_selector("[data-layer]")
    shown = at.page.locator("[data-layer]").evaluate_all("all => all.map(one => one.dataset.layer)")
    assert shown == list(layers)
    at.page.locator(f'[data-layer="{layers[0]}"]').click()
    at.page.locator(f'[data-layer="{layers[1]}"]').click()
    at.wait_for(names[3], layers[1])  # the first layer is where the block begins
    assert at.panel.slice.layers[-1].name == layers[1]
    lit = at.page.locator("[data-layer][aria-selected=true]")
    assert lit.evaluate_all("all => all.map(one => one.dataset.layer)") == list(layers[:2])
    at.page.keyboard.press("Backspace")
    assert at.page.locator("[data-block]").count() == len(names)
    at.page.get_by_role("button", name=f"Open {names[3]}").click()
    at.page.wait_for_selector("[data-layer]")
    at.page.get_by_role("button", name="‹ tiny_resnet").click()
    assert at.page.locator("[data-block]").count() == len(names)


def test_search_finds_blocks_and_layers(at, names, tiny_resnet):
    active = """() => document.getElementById(
        document.querySelector("[role=listbox]").getAttribute("aria-activedescendant"))"""
    at.part("search").fill(names[4])
    at.part("search").press("Enter")
    assert at.page.evaluate(f"({active})().dataset.block") == names[4]
    layer = cw.anatomy(tiny_resnet)[2].layers[2]
    at.part("search").fill(layer.upper())
    at.part("search").press("Enter")
    at.page.wait_for_selector(f'[data-layer="{layer}"]')
    assert at.page.evaluate(f"({active})().dataset.layer") == layer
    at.part("search").fill("no such thing")
    at.part("search").press("Enter")
    at.page.wait_for_selector("[data-part=error]:not(:empty)")


def test_search_puts_blocks_and_stages_before_layers(page):
    resnet = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), include_top=False)
    at = PanelPage(page, cw.CutPanel(resnet, parts=["diagram", "summary"]))
    search = at.part("search")
    box = search.bounding_box()

    def active():
        return page.locator(".cw-active").evaluate("one => one.dataset.block ?? one.dataset.layer")

    for text, block in (("conv5", "conv5_block1"), ("CONV4_BLOCK3", "conv4_block3")):
        search.fill(text)
        search.press("Enter")
        assert active() == block
        assert page.locator("[data-layer]").count() == 0
    search.fill("conv5")
    search.press("Enter")
    assert "stage" in at.part("hits").text_content()
    assert "Stage conv5" in at.live()
    search.fill("block3")
    for hit in (
        "conv2_block3",
        "conv3_block3",
        "conv4_block3",
        "conv5_block3",
        "conv2_block3_1_conv",
    ):
        search.press("Enter")
        page.wait_for_selector(f'.cw-active:is([data-block="{hit}"], [data-layer="{hit}"])')
    assert at.part("hits").text_content().startswith("5 of ")
    assert search.bounding_box() == box


def test_a_search_in_vain_shows_only_its_own_message(at, names):
    at.block(names[2]).click()
    at.block(names[1]).click(force=True)
    at.page.wait_for_selector("[data-part=error] button")
    at.part("search").fill("no such thing")
    at.part("search").press("Enter")
    at.page.wait_for_function(
        """() => document.querySelector("[data-part=error]").textContent
                   .includes("no such thing")"""
    )
    assert at.part("error").locator("button").count() == 0


def test_old_names_are_found(page):
    resnet = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), include_top=False)
    at = PanelPage(page, cw.CutPanel(resnet))
    at.part("search").fill("activation_89")
    at.part("search").press("Enter")
    page.wait_for_selector('[data-layer="conv4_block6_out"]')


def test_tabs_by_keyboard(at, names):
    at.choose(names[1], names[2])
    at.page.locator("[data-tab=summary]").focus()
    seen = []
    for _ in range(8):
        seen.append(at.page.evaluate("document.activeElement.dataset.tab"))
        panels = at.page.locator("[role=tabpanel]:not([hidden])")
        assert panels.count() == 1
        assert panels.get_attribute("aria-labelledby").endswith(f"tab-{seen[-1]}")
        at.page.keyboard.press("ArrowRight")
    assert seen == ["summary", "run", "check", "code", "costs", "surgery", "lab", "save"]
    assert at.page.evaluate("document.activeElement.dataset.tab") == "summary"


def test_check_code_costs_and_surgery(at, names, tiny_resnet):
    at.choose(names[1], names[2])
    result = at.tab("check")
    result.get_by_role("button", name="Run the check").click()
    result.locator("table").wait_for()
    assert "bit for bit" in result.text_content()

    code = at.tab("code")
    code.locator("pre").first.wait_for()
    script = code.locator("pre").nth(1).text_content()
    assert script == cw.to_code(tiny_resnet, names[1], names[2])
    code.get_by_role("button", name="Copy").first.click()
    at.page.wait_for_function(
        """() => /Copied|Selected/.test(
             document.querySelector("[data-part=code] button").textContent)"""
    )

    costs = at.tab("costs")
    costs.locator("table").wait_for()
    lit = costs.locator(".cw-in th").all_text_contents()
    assert lit == names[1:3]
    at.choose(names[2], names[3])
    assert costs.locator(".cw-in th").all_text_contents() == names[2:4]

    surgery = at.tab("surgery")
    surgery.get_by_role("button", name="Remove 2 blocks").click()
    surgery.locator("dl").wait_for()
    assert f"cw.remove(model, '{names[2]}', '{names[3]}')" in surgery.text_content()
    assert len(tiny_resnet.layers) == len(keras.models.clone_model(tiny_resnet).layers)


def test_the_weights_are_copied_by_a_switch(at, names, tiny_resnet):
    at.choose(names[1], names[2])
    summary = at.part("summary")
    assert "Shared weights" in summary.text_content()
    at.part("weights").check()
    at.page.wait_for_function(
        """() => document.querySelector("[data-part=summary]").textContent
                   .includes("does not affect the model")"""
    )
    assert at.shown() == f"{names[1]}..{names[2]}"
    assert at.panel.slice.layers[-1] is not tiny_resnet.get_layer(at.panel.slice.layers[-1].name)


def test_photographs(at, names):
    at.choose(names[0], names[1])
    at.part("run").click()
    at.page.wait_for_selector("[data-part=features] figure")
    first = at.panel._run["photo"]
    at.part("photo").select_option(label="An astronaut")
    at.page.wait_for_function("model.get('_photo').name === 'An astronaut'")
    at.page.wait_for_function("count => model.get('_run').count > count", arg=5)
    assert at.panel._run["photo"] != first
    file = io.BytesIO()
    Image.new("RGB", (9, 9), "blue").save(file, "PNG")
    upload = at.part("upload")
    upload.set_input_files({"name": "blue.png", "mimeType": "image/png", "buffer": file.getvalue()})
    at.page.wait_for_function("model.get('_photo').name === 'blue.png'")
    upload.set_input_files({"name": "no.png", "mimeType": "image/png", "buffer": b"nothing"})
    at.page.wait_for_function(
        "() => document.querySelector('[data-part=error]').textContent.includes('no.png')"
    )
    huge = {"name": "huge.png", "mimeType": "image/png", "buffer": bytes(8_000_001)}
    upload.set_input_files(huge)
    at.page.wait_for_function(
        "() => document.querySelector('[data-part=error]').textContent.includes('huge.png')"
    )
    assert at.panel._photo["name"] == "blue.png"


def test_a_slider_shows_other_channels(page):
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(80, 3), keras.layers.ReLU()]
    )
    at = PanelPage(page, cw.CutPanel(model))
    at.panel.selection = (None, None)
    at.update()
    at.part("run").click()
    slider = at.part("channels-output")
    slider.wait_for()
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        """() => document.querySelector("[data-maps=output] figcaption").textContent
                   .includes("channels 6 to 37 of 80")"""
    )
    page.wait_for_selector("[data-maps=output] .cw-tiles[data-drawn='5']")


def test_a_page_without_a_kernel(at, names, page, tmp_path, tiny_resnet):
    at.panel.selection = (names[1], names[2])
    at.panel.run()
    path = at.panel.save(tmp_path / "panel.html")
    page.goto(path.as_uri())
    page.wait_for_selector(f'.cutwidgets[data-selection="{names[1]}..{names[2]}"]')
    at.tab("run")
    page.wait_for_selector("[data-part=features] figure")
    for block in (names[2], names[4]):
        at.block(block).click()
    at.wait_for(names[2], names[4])
    part = cw.cut(tiny_resnet, names[2], names[4])
    summary = at.tab("summary").text_content()
    assert f"{part.count_params():,}" in summary
    assert all(name in summary for name in names[2:5])
    assert str(len(part.layers) - 1) in summary
    costs = at.tab("costs")
    assert costs.locator(".cw-in th").all_text_contents() == names[2:5]
    assert "needs Python" in at.tab("check").text_content()
    assert at.part("run").is_disabled()
    assert page.locator("[src^=http], [href^=http]").count() == 0


def test_another_model_in_the_open_panel(at, names, unet):
    at.choose(names[1], names[2])
    at.tab("costs")
    at.panel.model = unet
    at.update()
    blocks = [block.name for block in cw.anatomy(unet)]
    shown = at.page.locator("[data-block]").evaluate_all("all => all.map(one => one.dataset.block)")
    assert shown == blocks
    assert at.shown() is None
    at.choose(blocks[0], blocks[-1])
    assert at.panel.slice.output_shape == unet.output_shape


def test_parts_alone_follow_a_selection(page, tiny_resnet, names):
    panel = cw.CutPanel(tiny_resnet, parts=["run"])
    at = PanelPage(page, panel)
    assert page.locator("[data-block], [role=tab]").count() == 0
    panel.selection = (names[1], names[2])
    at.update()
    at.wait_for(names[1], names[2])
    at.part("run").click()
    page.wait_for_selector("[data-part=features] figure")


def test_a_long_diagram_has_an_overview(page):
    x = inputs = keras.Input((8,))
    for i in range(60):
        x = keras.layers.Add(name=f"b{i}_add")([x, keras.layers.Dense(8, name=f"b{i}_dense")(x)])
    at = PanelPage(page, cw.CutPanel(keras.Model(inputs, x)))
    overview = page.locator(".cw-overview")
    overview.wait_for()
    box = overview.bounding_box()
    marks = page.locator(".cw-overview rect").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().top)"
    )
    assert len(marks) == 60
    assert box["y"] <= min(marks)
    assert max(marks) <= box["y"] + box["height"]
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] - 5)
    assert page.locator("[role=listbox]").evaluate(
        "box => box.scrollTop + box.clientHeight > 0.9 * box.scrollHeight"
    )
    at.page.get_by_role("button", name="Fit").click()
    # All of its width, as its height would be too small to read.
    assert page.locator("[role=listbox]").evaluate("box => box.scrollWidth <= box.clientWidth")
    assert overview.is_visible()


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_axe_finds_nothing(at, names, scheme):
    at.colour(scheme)
    found = []

    def look(where):
        found.extend(f"{where}: {violation}" for violation in at.violations())

    look("at first")
    at.choose(names[1], names[2])
    at.part("run").click()
    at.page.wait_for_selector("[data-part=features] figure")
    look("run")
    for tab in ("summary", "check", "code", "costs", "surgery", "lab", "save"):
        at.tab(tab)
        if tab == "check":
            at.page.get_by_role("button", name="Run the check").click()
            at.page.wait_for_selector("[data-part=check] table")
        look(tab)
    at.block(names[3]).click()
    at.block(names[1]).click(force=True)
    at.page.wait_for_selector("[data-part=error]:not(:empty)")
    look("error")
    assert not found, "\n".join(found)


def test_motion_is_reduced_on_request(at):
    at.page.emulate_media(reduced_motion="reduce")
    moving = at.page.locator(".cutwidgets *").evaluate_all(
        "all => all.filter(one => parseFloat(getComputedStyle(one).transitionDuration) > 0).length"
    )
    assert moving == 0


def test_a_thousand_selections_leave_the_model_as_it_was(at, names, tiny_resnet):
    nodes = [len(layer._inbound_nodes) for layer in tiny_resnet.layers]
    weights = [np.array(weight) for weight in tiny_resnet.get_weights()]
    for _ in range(250):
        for pair in ((1, 2), (1, 3), (2, 3), (3, 4)):
            at.panel.selection = (names[pair[0]], names[pair[1]])
    after = [len(layer._inbound_nodes) for layer in tiny_resnet.layers]
    assert max(b - a for a, b in zip(nodes, after, strict=True)) <= 4
    for before, now in zip(weights, tiny_resnet.get_weights(), strict=True):
        np.testing.assert_array_equal(before, now)


def test_undo_steps_over_what_the_kernel_names_otherwise(at, names, tiny_resnet):
    layers = cw.anatomy(tiny_resnet)[3].layers
    at.choose(names[1], names[1])
    at.block(names[3]).click()
    at.page.keyboard.press("Escape")
    at.page.locator("[role=listbox]").press("o")
    at.page.wait_for_selector("[data-layer]")
    at.page.locator(f'[data-layer="{layers[0]}"]').click()
    at.page.locator(f'[data-layer="{layers[1]}"]').click()
    at.wait_for(names[3], layers[1])
    at.page.get_by_role("button", name="Undo").click()
    at.wait_for(names[1], names[1])


def test_what_one_view_asks_for_is_not_shown_in_the_other(at, names):
    at.show()
    first, second = (at.page.locator(".cutwidgets").nth(i) for i in (0, 1))
    first.locator("[role=listbox]").press("o")
    first.locator("[data-layer]").first.wait_for()
    assert second.locator("[data-layer]").count() == 0
    at.choose(names[1], names[1])
    assert first.locator("[data-layer]").count() > 0
    first.locator("[data-tab=costs]").click()
    first.locator("[data-part=costs] table").wait_for()
    assert second.locator("[data-part=summary]").is_visible()


def test_a_failed_operation_can_be_tried_again(page, tiny_resnet, names):
    def broken(_):
        raise IndexError("no pixels")

    at = PanelPage(page, cw.CutPanel(tiny_resnet, preprocess=broken))
    at.choose(names[1], names[2])
    surgery = at.tab("surgery")
    surgery.get_by_role("button", name="Remove").click()
    page.wait_for_selector("[data-part=error]:not(:empty)")
    assert "no pixels" in at.part("error").text_content()
    assert surgery.get_by_role("button", name="Remove").is_enabled()


def test_where_no_kernel_answers_the_page_shows_what_it_knows(at, names):
    at.page.clock.install()
    at.page.evaluate("model.held = []")
    at.block(names[1]).click()
    at.block(names[2]).click()
    assert at.shown() is None
    at.page.clock.run_for(1500)
    assert "busy" in at.part("status").text_content()
    assert at.part("error").text_content() == ""
    at.page.clock.run_for(60_000)
    assert at.shown() == f"{names[1]}..{names[2]}"
    assert "does not answer" in at.part("error").text_content()
    assert names[2] in at.part("summary").text_content()
    at.page.wait_for_function("model.held.some(({ _result }) => _result.rows)")
    at.page.evaluate("() => { model.receive(model.held.at(-1)); model.held = null; }")
    assert at.part("error").text_content() == ""
    assert at.part("run").is_enabled()
