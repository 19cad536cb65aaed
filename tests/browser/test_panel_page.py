"""`static/panel.js` on a plain page in Chromium, with a real CutPanel behind, no JupyterLab."""

import keras
import pytest
from panelpage import PanelPage
from PIL import Image

import cutwidgets


@pytest.fixture
def at(page, tiny_resnet):
    return PanelPage(page, cutwidgets.CutPanel(tiny_resnet))


@pytest.fixture
def names(tiny_resnet):
    return [block.name for block in cutwidgets.anatomy(tiny_resnet)]


def test_two_clicks_show_the_slice(at, names):
    at.block(names[1]).click()
    assert at.selected() == [names[1]]
    assert at.shown() is None
    assert names[1] in at.part("hint").text_content()
    at.block(names[2]).click()
    at.wait_for(names[1], names[2])
    assert at.panel.selection == (names[1], names[2])
    assert at.selected() == names[1:3]
    summary = at.part("summary").text_content()
    assert f"{at.panel.slice.count_params():,}" in summary
    assert all(name in summary for name in names[1:3])
    assert names[1] in at.live()
    assert names[2] in at.live()


def test_the_old_slice_stays_until_the_end_is_chosen(at, names):
    at.choose(names[1], names[2])
    at.block(names[2]).click()
    assert at.selected() == [names[2]]
    assert at.shown() == f"{names[1]}..{names[2]}"
    at.page.keyboard.press("Escape")
    assert at.selected() == names[1:3]


def test_the_same_block_twice_is_a_slice_of_one_block(at, names):
    at.choose(names[2], names[2])
    assert at.selected() == [names[2]]


def test_shift_click_moves_the_end_and_escape_clears(at, names):
    at.choose(names[1], names[2])
    at.block(names[3]).click(modifiers=["Shift"])
    at.wait_for(names[1], names[3])
    at.page.keyboard.press("Escape")
    at.page.wait_for_selector(".cutwidgets:not([data-selection])")
    assert at.panel.selection == ()
    assert at.selected() == []


def test_an_end_before_the_start_is_greyed_with_its_reason_and_explained(at, names):
    at.block(names[2]).click()
    early = at.block(names[1])
    assert early.get_attribute("aria-disabled") == "true"
    assert f"before the start, {names[2]}" in early.get_attribute("aria-label")
    assert at.block(names[3]).get_attribute("aria-disabled") == "false"
    early.hover()
    at.page.wait_for_selector("[role=tooltip]:not([hidden])")
    assert "Cannot end here" in at.page.locator("[role=tooltip]").text_content()
    early.click(force=True)
    at.page.wait_for_selector("[data-part=error]:not(:empty)")
    assert at.part("error").text_content().startswith(f"Cannot end at {names[1]}: it comes before")
    assert at.selected() == [names[2]]  # the start stays
    assert at.shown() is None
    assert at.part("run").is_disabled()
    at.page.keyboard.press("Escape")
    assert at.part("error").text_content() == ""
    at.choose(names[1], names[2])
    assert at.part("error").text_content() == ""


def test_all_by_keyboard(at, names):
    page = at.page
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('role')") == "listbox":
            break

    def active() -> str:
        return page.evaluate(
            """() => document.getElementById(
                 document.activeElement.getAttribute("aria-activedescendant")).dataset.block"""
        )

    page.keyboard.press("End")
    assert active() == names[-1]
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    assert active() == names[1]
    assert names[1] in page.locator("[role=tooltip]").text_content()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    at.wait_for(names[1], names[2])
    page.keyboard.press("Shift+ArrowDown")
    at.wait_for(names[1], names[3])
    page.keyboard.press("Escape")
    page.wait_for_selector(".cutwidgets:not([data-selection])")


def test_the_selection_by_touch(browser, tiny_resnet, names):
    context = browser.new_context(has_touch=True, viewport={"width": 820, "height": 1000})
    at = PanelPage(context.new_page(), cutwidgets.CutPanel(tiny_resnet))
    for name in names[1:3]:
        at.block(name).tap()
    at.wait_for(names[1], names[2])
    at.block(names[2]).tap()
    at.block(names[1]).tap(force=True)  # explained, with a button for it
    at.part("error").get_by_role("button", name="Swap").tap()
    at.wait_for(names[1], names[2])
    at.part("end").select_option(label=names[3])
    at.wait_for(names[1], names[3])
    context.close()


def test_keys_of_the_diagram_do_not_reach_the_notebook(at):
    at.page.evaluate("document.addEventListener('keydown', (e) => (window.heard = e.key))")
    at.page.locator("[role=listbox]").focus()
    for key in ("ArrowDown", "Space", "Enter", "Escape", "Home"):
        at.page.keyboard.press(key)
    assert at.page.evaluate("window.heard") is None
    focusable = "button, select, [tabindex]"
    unprotected = f":is({focusable}):not([data-lm-suppress-shortcuts])"
    assert at.page.locator(f".cutwidgets {unprotected}").count() == 0


def test_the_lists_are_in_step_with_the_diagram(at, names):
    start, end = at.part("start"), at.part("end")
    at.choose(names[1], names[2])
    chosen = "select => select.selectedOptions[0].textContent"
    assert [start.evaluate(chosen), end.evaluate(chosen)] == names[1:3]
    end.select_option(label=names[3])
    at.wait_for(names[1], names[3])
    assert at.selected() == names[1:4]
    start.select_option(label=names[2])
    at.wait_for(names[2], names[3])
    disabled = end.locator("option:disabled").all_text_contents()
    assert disabled == names[:2]


def test_a_selection_from_python_is_drawn(at, names, tiny_resnet):
    inside = cutwidgets.anatomy(tiny_resnet)[2].layers[0]
    at.panel.selection = (names[1], inside)
    at.update()
    at.wait_for(names[1], inside)
    assert at.selected() == names[1:3]
    assert "tail also needs" in at.part("summary").text_content()
    assert at.part("end").evaluate("s => s.selectedOptions[0].textContent") == inside


def test_an_overtaken_answer_is_not_shown(at, names):
    at.page.evaluate("model.held = []")
    at.block(names[1]).click()
    at.block(names[1]).click()
    at.page.wait_for_function("model.held.length === 2")  # the ends of the start, and the slice
    at.page.wait_for_selector(".cutwidgets[aria-busy=true]")
    at.block(names[2]).click()
    at.block(names[3]).click()
    at.page.wait_for_function("model.held.length === 3")
    assert at.selected() == names[2:4]
    at.page.evaluate("model.receive({ _result: model.held[1]._result })")
    assert at.shown() is None
    assert at.selected() == names[2:4]
    assert at.part("run").is_disabled()
    at.page.evaluate("model.receive(model.held[2])")
    assert at.shown() == f"{names[2]}..{names[3]}"
    assert at.page.locator(".cutwidgets[aria-busy]").count() == 0


def test_run_shows_feature_maps(at, names):
    assert at.part("run").is_disabled()
    at.choose(names[1], names[2])
    at.page.evaluate("model.held = []")
    at.part("run").click()
    assert at.part("run").get_attribute("aria-disabled") == "true"
    at.page.wait_for_function("model.held.length === 1")
    at.page.evaluate("() => { model.receive(model.held[0]); model.held = null; }")
    at.page.wait_for_function(
        """() => [...document.querySelectorAll("[data-part=features] figure")]
                   .filter(one => one.querySelector("canvas")?.width > 0).length === 2"""
    )
    assert at.part("run").get_attribute("aria-disabled") == "false"
    at.choose(names[2], names[2])
    assert at.part("features").locator("canvas").count() == 0


def test_keras_prints_its_summary_when_asked(at, names):
    at.choose(names[1], names[2])
    assert at.panel._text == {}
    at.page.locator("details summary").click()
    last = cutwidgets.anatomy(at.panel.slice)[-1].layers[-1]
    at.page.wait_for_function(
        "name => document.querySelector('pre').textContent.includes(name)", arg=last
    )
    at.choose(names[2], names[3])
    at.page.wait_for_function(
        "name => document.querySelector('pre').textContent.includes(name)", arg=names[3]
    )


def test_zoom_by_buttons_and_ctrl_wheel_never_by_plain_wheel(at):
    def width() -> float:
        return at.page.locator("[role=listbox] svg").bounding_box()["width"]

    first = width()
    at.page.get_by_role("button", name="Zoom in").click()
    assert width() > first
    at.page.get_by_role("button", name="Zoom out").click()
    assert width() == pytest.approx(first)
    at.page.locator("[role=listbox]").hover()
    at.page.mouse.wheel(0, -50)
    at.page.wait_for_timeout(50)
    assert width() == pytest.approx(first)
    at.page.keyboard.down("Control")
    at.page.mouse.wheel(0, -50)
    at.page.keyboard.up("Control")
    at.page.wait_for_function(
        "w => document.querySelector('[role=listbox] svg').clientWidth > w + 1", arg=first
    )


def test_two_views_of_a_panel_share_the_selection_and_no_id(at, names):
    at.show()
    ids = at.page.locator("[id]").evaluate_all("all => all.map(one => one.id)")
    assert len(ids) == len(set(ids))
    at.block(names[1], view=1).click()
    at.block(names[2], view=1).click()
    for view in (0, 1):
        at.page.wait_for_function(
            "view => document.querySelectorAll('.cutwidgets')[view].dataset.selection", arg=view
        )
    listening = at.page.evaluate("model.listening()")
    at.page.evaluate("window.close()")
    assert at.page.evaluate("model.listening()") == listening / 2


HOSTILE = (
    "<img src=x onerror=window.broken=1>",
    "\"quotes' & <script>window.broken=1;<",
    'line\nbreak] [data-x="',
    "émoji 🧨 " + "long " * 60,
)


def test_hostile_names_stay_text(page):
    x = inputs = keras.Input((8,), name="in")
    for name in HOSTILE:
        branch = keras.layers.Dense(8, name=name)(x)
        x = keras.layers.Add(name=f"{name} sum")([x, branch])
    at = PanelPage(page, cutwidgets.CutPanel(keras.Model(inputs, x, name="<b>model")))
    options = page.locator("[role=option]")
    shown = options.evaluate_all("all => all.map(one => one.dataset.block)")
    assert shown == [block.name for block in at.panel._anatomy]
    options.nth(1).hover()
    page.wait_for_selector("[role=tooltip]:not([hidden])")
    options.nth(1).click()
    options.nth(2).click()
    page.wait_for_selector(".cutwidgets[data-selection]")
    assert at.shown() == f"{shown[1]}..{shown[2]}"
    at.part("run").click()
    page.wait_for_selector("[data-part=features] figure")
    for tab in ("code", "check", "costs", "surgery", "save", "summary"):
        at.tab(tab)
    page.wait_for_function("() => document.querySelector('[data-part=code] pre')")
    page.locator("details summary").click()
    page.locator("[role=listbox]").focus()
    page.keyboard.press("o")
    page.wait_for_selector("[data-layer]")
    page.keyboard.press("Backspace")
    options.nth(3).click()
    options.nth(0).click(force=True)
    page.wait_for_selector("[data-part=error]:not(:empty)")
    assert page.locator(".cutwidgets :is(script, b, img[onerror])").count() == 0
    assert page.evaluate("window.broken") is None
    inner = page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert inner, "a long name made the page wider than the window"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_readable_on_a_plain_page(at, names, scheme, tmp_path):
    at.page.emulate_media(color_scheme=scheme)
    at.page.set_viewport_size({"width": 900, "height": 800})
    at.choose(names[1], names[2])
    at.page.screenshot(path=tmp_path / f"{scheme}.png")
    with Image.open(tmp_path / f"{scheme}.png") as picture:
        assert picture.width == 900
    contrast = at.page.evaluate(CONTRAST)
    assert contrast >= 4.5
    boxes = [at.page.locator(box).bounding_box() for box in (".cw-left", ".cw-right")]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert boxes[1]["x"] + boxes[1]["width"] <= 900


# The least contrast, by the formula of WCAG 2, of the panel's own texts with its background.
CONTRAST = """
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const luminance = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)
      .map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (e) => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)$|transparent/.test(colour)) return colour;
    }
    return "white";
  };
  const texts = ["h3", "dt", "dd", "td", "th", ".cw-hint", ".cw-aside", ".cw-note", "label"];
  return Math.min(...texts.flatMap((text) => [...document.querySelectorAll(`.cw-panel ${text}`)])
    .map((e) => {
      const [a, b] = [luminance(getComputedStyle(e).color), luminance(background(e))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    }));
}
"""


# --- Several ends ---------------------------------------------------------------------------------


def flags(at):
    """The texts of the flags in the diagram."""
    return at.page.locator(".cw-flag text").all_text_contents()


def chips(at):
    return at.page.locator("[data-end]").evaluate_all("all => all.map(one => one.dataset.end)")


def test_ctrl_click_adds_an_end_and_removes_it(at, names):
    at.choose(names[1], names[2])
    at.block(names[3]).click(modifiers=["Control"])
    at.wait_for(names[1], f"{names[2]},{names[3]}")
    assert at.panel.selection == (names[1], (names[2], names[3]))
    assert at.selected() == names[1:4]
    assert flags(at) == ["START", "END", "END"]
    assert chips(at) == [names[3]]
    for name, is_end in ((names[1], False), (names[2], True), (names[3], True)):
        label = at.block(name).get_attribute("aria-label")
        assert ("An end of the slice." in label) == is_end
    assert f"Output {names[2]}" in at.live()
    assert f"Output {names[3]}" in at.part("summary").text_content()
    assert at.part("status").text_content() == f"Slice: {names[1]} to {names[2]} and {names[3]}"
    at.block(names[2]).click(modifiers=["Control"])
    at.wait_for(names[1], names[3])
    assert at.panel.selection == (names[1], names[3])
    assert flags(at) == ["START", "END"]
    assert chips(at) == []
    at.block(names[3]).click(modifiers=["Control"])
    at.page.wait_for_selector("[data-part=error]:not(:empty)")
    assert "the only end" in at.part("error").text_content()
    assert at.panel.selection == (names[1], names[3])


def test_undo_goes_back_over_ends(at, names):
    at.choose(names[1], names[2])
    at.block(names[3]).click(modifiers=["Control"])
    at.wait_for(names[1], f"{names[2]},{names[3]}")
    at.page.keyboard.press("Control+z")
    at.wait_for(names[1], names[2])
    at.page.keyboard.press("Control+Shift+z")
    at.wait_for(names[1], f"{names[2]},{names[3]}")
    assert at.panel.selection == (names[1], (names[2], names[3]))


@pytest.mark.parametrize("keys", ["Control+Enter", "Control+Space", "Meta+Enter"])
def test_ends_by_keyboard(at, names, keys):
    at.choose(names[1], names[2])
    at.page.keyboard.press("ArrowDown")
    at.page.keyboard.press(keys)
    at.wait_for(names[1], f"{names[2]},{names[3]}")
    at.page.keyboard.press(keys)
    at.wait_for(names[1], names[2])


def test_an_end_that_cannot_be_added_says_why(at, names):
    at.choose(names[2], names[3])
    at.block(names[1]).click(modifiers=["Control"])
    at.page.wait_for_selector("[data-part=error]:not(:empty)")
    assert at.part("error").text_content().startswith(f"Cannot end at {names[1]}: it comes before")
    assert at.panel.selection == (names[2], names[3])
    assert at.shown() == f"{names[2]}..{names[3]}"


def test_ends_without_the_diagram(at, names):
    at.choose(names[1], names[2])
    at.panel.selection = (names[1], {"z": names[3], "a": names[2]})
    at.update()
    at.wait_for(names[1], f"{names[3]},{names[2]}")
    assert chips(at) == ["a"]
    assert at.part("end").evaluate("one => one.selectedOptions[0].text") == names[3]
    at.part("end").select_option(label=names[4])
    at.wait_for(names[1], f"{names[4]},{names[2]}")
    assert at.panel.selection == (names[1], {"z": names[4], "a": names[2]})
    at.part("start").select_option(label=names[2])
    at.wait_for(names[2], f"{names[4]},{names[2]}")
    at.page.get_by_role("button", name="Remove the end a").click()
    at.wait_for(names[2], names[4])
    assert at.panel.selection == (names[2], {"z": names[4]})
    assert list(at.panel.slice.output) == ["z"]


def test_several_ends_in_every_tab(at, names):
    at.panel.selection = (names[1], {"z": names[3], "a": names[2]})
    at.update()
    at.wait_for(names[1], f"{names[3]},{names[2]}")
    facts = at.tab("summary").text_content()
    assert facts.index("Output z") < facts.index("Output a")
    at.part("run").click()
    at.page.wait_for_selector("[data-part=features] [data-maps]")
    maps = at.part("features").locator("[data-maps]")
    shown = maps.evaluate_all("all => all.map(one => one.dataset.maps)")
    assert shown == ["input", "output z", "output a"]
    assert "Slice output z" in at.part("features").text_content()
    check = at.tab("check")
    check.get_by_role("button", name="Run the check").click()
    at.page.wait_for_function(
        "document.querySelector('[data-part=check]').textContent.includes('bit for bit')"
    )
    rows = check.locator("tbody tr th, tbody tr td:first-child").all_text_contents()
    assert {"z", "a"} <= set(rows)
    code = at.tab("code")
    at.page.wait_for_selector("[data-part=code] pre")
    assert f"{{'z': '{names[3]}', 'a': '{names[2]}'}}" in code.text_content()
    costs = at.tab("costs")
    at.page.wait_for_selector("[data-part=costs] .cw-in")
    assert costs.locator(".cw-in").count() == 3
    assert at.violations() == []


def test_a_page_in_a_file_keeps_several_ends(page, at, names, tmp_path):
    at.panel.selection = (names[1], {"z": names[2], "a": names[3]})
    page.goto(at.panel.save(tmp_path / "page.html").as_uri())
    page.wait_for_selector(f'.cutwidgets[data-selection="{names[1]}..{names[2]},{names[3]}"]')
    assert "Output z" in page.locator("[data-part=summary]").text_content()
    assert page.locator(".cw-flag text").all_text_contents() == ["START", "END", "END"]
    # Without Python, ends that the page knows can be added still.
    page.locator(f'[data-block="{names[4]}"]').click(modifiers=["Control"])
    wanted = f"{names[1]}..{names[2]},{names[3]},{names[4]}"
    page.wait_for_selector(f'.cutwidgets[data-selection="{wanted}"]')
    assert f"Output {names[4]}" in page.locator("[data-part=summary]").text_content()
