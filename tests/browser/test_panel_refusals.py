"""Refusals as the page draws and explains them, in Chromium, without JupyterLab."""

import keras
import pytest
from panelpage import PanelPage

import cutwidgets as cw
import networks


@pytest.fixture
def at(page, tiny_resnet):
    page.set_default_timeout(20_000)
    return PanelPage(page, cw.CutPanel(tiny_resnet))


@pytest.fixture
def names(tiny_resnet):
    return [block.name for block in cw.anatomy(tiny_resnet)]


@pytest.fixture
def residual(tiny_resnet):
    """A block with an identity shortcut, its layers, and a layer of its branch."""
    anatomy = cw.anatomy(tiny_resnet)
    block = next(block for block in anatomy if block.shortcut == "identity")
    merge = anatomy.graph.calls[block.merge].name
    return block.name, block.layers, merge


def layer(at, name):
    return at.page.locator(f'[data-layer="{name}"]')


def open_block(at, name):
    at.block(name).click(modifiers=["Alt"])
    at.page.keyboard.press("Escape")
    at.page.locator("[role=listbox]").press("o")
    at.page.wait_for_selector("[data-layer]")


def greyed(at, attribute):
    cards = at.page.locator(f"[role=option][data-{attribute}][aria-disabled=true]")
    return set(cards.evaluate_all(f"all => all.map(one => one.dataset.{attribute})"))


def wait_for_greyed(at, count, attribute):
    at.page.wait_for_function(
        "([count, attribute]) => document.querySelectorAll("
        "`[role=option][data-${attribute}][aria-disabled=true]`).length === count",
        arg=[count, attribute],
    )


def marked(at, name):
    parts = at.page.locator(f".cw-diagram .{name}").evaluate_all("all => all.map(one => one.id)")
    return sorted(part.split("-", 2)[2] for part in parts)


def actions(at):
    return at.part("error").locator("button").all_text_contents()


def impossible(model, start, ends):
    """Those ends that `cut` refuses, with its error."""
    found = {}
    for end in ends:
        try:
            cw.cut(model, start, end)
        except cw.CutError as error:
            found[end] = error
    return found


def test_layers_that_cannot_be_the_end_are_greyed_with_their_reason(at, residual, tiny_resnet):
    block, layers, merge = residual
    open_block(at, block)
    start = layers[1]
    layer(at, start).click()
    wrong = impossible(tiny_resnet, start, layers)
    assert merge in wrong
    wait_for_greyed(at, len(wrong), "layer")
    assert greyed(at, "layer") == set(wrong)
    assert wrong[merge].bypasses[0] in layer(at, merge).get_attribute("aria-label")
    assert "before the start" in layer(at, layers[0]).get_attribute("aria-label")
    layer(at, merge).hover()
    at.page.wait_for_selector(".cw-hinted")
    assert len(marked(at, "cw-hinted")) == 1


def test_a_click_on_a_greyed_layer_explains_and_keeps_slice_and_start(at, residual, names):
    block, layers, merge = residual
    at.choose(names[1], names[2])
    open_block(at, block)
    at.panel.selection = (names[1], names[2])
    at.update()
    layer(at, layers[1]).click()
    at.page.wait_for_selector(f'[data-layer="{merge}"][aria-disabled=true]')
    layer(at, merge).click(force=True)
    at.page.wait_for_selector("[data-part=error]:not(:empty)")
    assert at.part("error").text_content().startswith(f"Cannot end at {merge}: it also needs")
    assert at.panel.selection == (names[1], names[2])
    assert layer(at, layers[1]).get_attribute("aria-selected") == "true"
    assert len(marked(at, "cw-crossing")) == 1
    assert at.part("key").is_visible()
    words = actions(at)
    assert words[0] == "Let skip connections become extra inputs"
    assert f"{block} to {merge}" in words or block in words
    assert words[-1] == f"Start at {merge} instead"

    at.part("error").locator("button").first.click()
    at.page.wait_for_selector(".cutwidgets[data-selection]")
    assert at.panel.allow_bypass
    at.page.wait_for_function("() => document.querySelectorAll('.cw-entering').length > 0")
    assert len(at.panel.slice.inputs) == 2
    assert at.part("error").text_content() == ""
    assert marked(at, "cw-crossing") == []
    (entering,) = marked(at, "cw-entering")
    calls = {call.name: call.index for call in at.panel._anatomy.graph.calls}
    assert entering == f"edge-entry-0-{calls[merge]}"
    opacity = at.page.locator(".cw-entering").evaluate("one => getComputedStyle(one).opacity")
    assert float(opacity) == 1
    assert "extra input: " in at.part("key").text_content()
    at.page.keyboard.press("Backspace")
    at.page.wait_for_selector("[data-block]")
    assert [part.partition("-")[0] for part in marked(at, "cw-entering")] == ["shortcut"]


def test_blocks_are_greyed_for_a_start_inside_of_another_block(at, residual, tiny_resnet, names):
    block, layers, _ = residual
    open_block(at, block)
    layer(at, layers[1]).click()
    at.page.keyboard.press("Backspace")
    wrong = impossible(tiny_resnet, layers[1], names)
    at.page.wait_for_selector(f'[data-block="{names[-1]}"][aria-disabled=true]')
    assert greyed(at, "block") == set(wrong)
    at.block(names[-1]).hover()
    at.page.wait_for_selector(".cw-hinted")
    assert marked(at, "cw-hinted") == [f"shortcut-{names.index(block)}"]


def test_until_the_kernel_has_told_nothing_is_greyed(at, residual):
    block, layers, merge = residual
    open_block(at, block)
    at.page.evaluate("model.held = []")
    layer(at, layers[1]).click()
    at.page.wait_for_function("model.held.length > 0")
    assert greyed(at, "layer") == set()
    at.page.evaluate("() => { model.receive(model.held[0]); model.held = null; }")
    at.page.wait_for_selector(f'[data-layer="{merge}"][aria-disabled=true]')


def test_a_refusal_by_the_kernel_is_drawn_among_the_layers_too(at, residual):
    block, layers, merge = residual
    open_block(at, block)
    at.panel.selection = (layers[1], merge)
    at.update()
    at.page.wait_for_selector("[data-part=error]:not(:empty)")
    assert len(marked(at, "cw-crossing")) == 1
    assert "Let skip connections become extra inputs" in actions(at)
    at.page.keyboard.press("Backspace")
    at.page.wait_for_selector("[data-block]")
    assert [part.partition("-")[0] for part in marked(at, "cw-crossing")] == ["shortcut"]


def test_swap_and_start_there_for_blocks(at, names):
    at.choose(names[3], names[3])
    at.block(names[2]).click()
    at.block(names[1]).click(force=True)
    at.page.wait_for_selector("[data-part=error] button")
    assert at.shown() == f"{names[3]}..{names[3]}"
    assert actions(at) == [f"Swap: {names[1]} to {names[2]}", f"Start at {names[1]} instead"]
    at.part("error").locator("button").last.click()
    assert at.part("error").text_content() == ""
    assert at.selected() == [names[1]]
    at.page.keyboard.press("Escape")  # the diagram has the focus
    at.block(names[2]).click()
    at.block(names[1]).click(force=True)
    at.part("error").locator("button").first.click()
    at.wait_for(names[1], names[2])
    assert at.part("error").text_content() == ""


def test_layers_are_swapped(at, residual):
    block, layers, _ = residual
    open_block(at, block)
    layer(at, layers[1]).click()
    at.page.wait_for_selector(f'[data-layer="{layers[0]}"][aria-disabled=true]')
    layer(at, layers[0]).click(force=True)
    at.page.get_by_role("button", name="Swap:").click()
    at.wait_for(block, layers[1])


def test_a_refusal_by_keyboard_and_with_shift(at, names):
    box = at.page.locator("[role=listbox]")
    at.choose(names[2], names[3])
    box.focus()
    box.press("Home")
    box.press("Shift+Enter")
    at.page.wait_for_selector("[data-part=error] button")
    assert at.shown() == f"{names[2]}..{names[3]}"
    assert at.part("error").text_content().startswith(f"Cannot end at {names[0]}")
    box.press("Escape")
    assert at.part("error").text_content() == ""
    at.block(names[1]).click(modifiers=["Shift"], force=True)
    at.page.wait_for_selector("[data-part=error] button")
    assert at.shown() == f"{names[2]}..{names[3]}"
    box.press("Escape")
    at.block(names[2]).click()
    box.press("ArrowUp")
    box.press("Enter")
    at.page.wait_for_selector("[data-part=error] button")
    assert at.selected() == [names[2]]
    cursor = at.block(names[1]).evaluate("one => getComputedStyle(one).cursor")
    assert cursor == "help"
    box.press("Shift+ArrowUp")
    assert at.part("error").text_content().startswith(f"Cannot end at {names[0]}")


def test_a_skip_that_is_an_input_is_lit_between_blocks(page):
    unet = networks.unet(2)
    at = PanelPage(page, cw.CutPanel(unet, parts=["diagram", "summary"]))
    blocks = [block.name for block in at.panel._anatomy]
    at.part("bypass").check()
    at.choose(blocks[2], blocks[-1])
    lit = marked(at, "cw-entering")
    assert any(part.startswith("skip-") for part in lit)
    assert len(at.panel.slice.inputs) == 1 + len(at.panel._result["extra"]["names"])
    assert at.part("key").is_visible()


def test_a_long_block_opens_at_its_first_layer(page):
    page.set_default_timeout(60_000)
    x = inputs = keras.Input((8,))
    for i in range(250):
        x = keras.layers.Dense(8, name=f"dense_{i:03}")(x)
    model = keras.Model(inputs, keras.layers.Add()([x, inputs]))
    at = PanelPage(page, cw.CutPanel(model, parts=["diagram"]))
    block = max(at.panel._anatomy, key=lambda block: len(block.layers))
    layers = block.layers
    assert len(layers) > 200
    at.block(block.name).click()
    page.keyboard.press("Escape")
    page.locator("[role=listbox]").press("o")
    page.wait_for_selector(f'[data-layer="{layers[0]}"].cw-active')
    assert_placed(page, "top")
    # From a search, a layer in the middle.
    page.keyboard.press("Backspace")
    at.part("search").fill(layers[150])
    at.part("search").press("Enter")
    page.wait_for_selector(f'[data-layer="{layers[150]}"].cw-active')
    assert_placed(page, "middle")


def assert_placed(page, where):
    page.wait_for_timeout(400)  # until it has its size
    offset, height = page.evaluate(
        """() => { const box = document.querySelector("[role=listbox]").getBoundingClientRect();
                   const card = document.querySelector(".cw-active").getBoundingClientRect();
                   return [card.top - box.top, box.height]; }"""
    )
    if where == "top":
        assert 0 <= offset < 160
    else:
        assert 0.3 * height < offset < 0.7 * height


def test_the_blocks_of_a_run_are_greyed_as_one_card(page):
    page.set_default_timeout(60_000)
    x = inputs = keras.Input((8,))
    for i in range(260):
        x = keras.layers.Add(name=f"b{i}_add")([x, keras.layers.Dense(8, name=f"b{i}_dense")(x)])
    at = PanelPage(page, cw.CutPanel(keras.Model(inputs, x), parts=["diagram"]))
    runs = page.locator("[data-run]")
    assert runs.count() >= 1
    last = at.panel._anatomy[-1].name
    at.part("start").select_option(label=last)
    page.wait_for_selector("[data-part=hint]")
    assert runs.first.get_attribute("aria-disabled") in ("true", "false")
    inside = at.panel._network["cards"]
    cards = page.locator("[role=option]")
    for k, card in enumerate(inside):
        all_before = card["last"] < len(at.panel._anatomy) - 1
        assert cards.nth(k).get_attribute("aria-disabled") == str(all_before).lower()
