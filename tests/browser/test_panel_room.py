"""The room of the panel: borders, full screen, larger text, legible text, nothing that moves."""

import keras
import numpy as np
import pytest
from keras import layers
from panelpage import PanelPage

import cutwidgets as cw
import networks


def shown(page, model, width=1280, height=900):
    """A page of a width with a panel of a model."""
    page.set_viewport_size({"width": width, "height": height})
    return PanelPage(page, cw.CutPanel(model))


@pytest.fixture
def at(page, tiny_resnet):
    return shown(page, tiny_resnet)


@pytest.fixture(scope="session")
def long_names():
    """Residual blocks with long names that differ at their ends, in nested models."""
    x = inputs = keras.Input((16, 16, 3), name="photo")
    x = layers.Conv2D(4, 3, padding="same", name="first")(x)
    for number in range(2):
        inner = y = keras.Input((16, 16, 4))
        for k in range(3):
            branch = layers.Conv2D(4, 3, padding="same", name=f"stage{number}_b{k}_conv")(y)
            y = layers.Add(name=f"stage{number}_b{k}_add")([y, branch])
        x = keras.Model(inner, y, name=f"residual_9_to_stage3_and_more_{number}")(x)
    return keras.Model(inputs, x, name="a_network_with_a_name_of_many_letters")


@pytest.fixture(scope="session")
def siamese():
    return networks.siamese(networks.untrained("MobileNetV2"))


def box_of(at, selector):
    return at.page.locator(selector).first.bounding_box()


def smallest_text(at) -> float:
    """The size of the smallest text of the diagram in pixels."""
    return at.page.evaluate(
        """() => Math.min(...[...document.querySelectorAll(".cw-diagram svg text")].map(
             (text) => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a))"""
    )


BOX = "document.querySelector('.cw-diagram')"


# ---------------------------------------------------------------------------- borders


def test_the_border_between_diagram_and_tabs_can_be_dragged(at):
    border = at.page.get_by_role("separator", name="Width of the diagram")
    assert border.get_attribute("aria-orientation") == "vertical"
    before = box_of(at, ".cw-left")["width"]
    place = border.bounding_box()
    x, y = place["x"] + place["width"] / 2, place["y"] + 100
    at.page.mouse.move(x, y)
    at.page.mouse.down()
    at.page.mouse.move(x + 100, y, steps=4)
    at.page.mouse.up()
    assert box_of(at, ".cw-left")["width"] == pytest.approx(before + 100, abs=3)
    wide = box_of(at, ".cw-body")["width"]
    share = 100 * box_of(at, ".cw-left")["width"] / wide
    assert int(border.get_attribute("aria-valuenow")) == pytest.approx(share, abs=1.1)
    at.page.mouse.move(x + 100, y)
    at.page.mouse.down()
    at.page.mouse.move(x + 2000, y)
    at.page.mouse.up()
    assert border.get_attribute("aria-valuenow") == border.get_attribute("aria-valuemax") == "80"
    border.dblclick()
    assert box_of(at, ".cw-left")["width"] == pytest.approx(before, abs=1)


def test_the_borders_by_keyboard(at):
    width = at.page.get_by_role("separator", name="Width of the diagram")
    height = at.page.get_by_role("separator", name="Height of the panel")
    before = [box_of(at, ".cw-left")["width"], box_of(at, ".cw-body")["height"]]
    assert int(height.get_attribute("aria-valuenow")) == pytest.approx(before[1], abs=1)
    width.press("ArrowRight")
    height.press("ArrowDown")
    assert box_of(at, ".cw-left")["width"] > before[0] + 10
    assert box_of(at, ".cw-body")["height"] == pytest.approx(before[1] + 20, abs=1)
    assert int(height.get_attribute("aria-valuenow")) == pytest.approx(before[1] + 20, abs=1)
    width.press("Enter")
    height.press("Enter")
    assert box_of(at, ".cw-left")["width"] == pytest.approx(before[0], abs=1)
    assert box_of(at, ".cw-body")["height"] == pytest.approx(before[1], abs=1)
    assert not at.violations()


def test_the_height_follows_the_window(at):
    heights = []
    for window in (500, 800, 1600):
        at.page.set_viewport_size({"width": 1280, "height": window})
        heights.append(box_of(at, ".cw-body")["height"])
    assert heights == [420, pytest.approx(0.85 * 800 - 80, abs=1), 900]


def test_sizes_outlast_a_redraw_and_another_model(at, tiny_resnet, long_names):
    at.page.get_by_role("separator", name="Width of the diagram").press("End")
    at.page.get_by_role("separator", name="Height of the panel").press("Home")
    at.page.get_by_role("button", name="Aa").click()
    at.page.get_by_role("button", name="Fit").click()

    def sizes():
        wide = box_of(at, ".cw-body")["width"]
        large = at.page.get_by_role("button", name="Aa").get_attribute("aria-pressed")
        share = box_of(at, ".cw-left")["width"] / wide
        return [round(share, 2), round(box_of(at, ".cw-body")["height"]), large]

    chosen = sizes()
    assert chosen[1:] == [300, "true"]
    at.panel.model = long_names
    at.update()
    at.page.wait_for_selector("[data-block*=stage1_b2]")
    assert sizes() == chosen
    assert smallest_text(at) >= 16.4


def test_sizes_are_stored_where_the_browser_allows_it_and_last_in_the_view_where_not(at):
    at.page.get_by_role("button", name="Aa").click()
    at.page.evaluate("() => { window.close(); document.querySelector('.cutwidgets').remove(); }")
    at.show()
    # A page without an address of its own may not store anything.
    assert at.page.evaluate("(() => { try { return !localStorage } catch { return true } })()")
    assert at.page.get_by_role("button", name="Aa").get_attribute("aria-pressed") == "false"


SIZES = """async (source) => {
  const url = URL.createObjectURL(new Blob([source + "\\nexport { createSizes };"],
    { type: "text/javascript" }));
  const { createSizes } = await import(url);
  const store = (text) => ({ text, getItem() { return this.text; }, setItem(key, value) {
    this.key = key; this.text = value; } });
  const forbidden = { getItem() { throw new Error("no"); }, setItem() { throw new Error("no"); } };
  const kept = store(null);
  const one = createSizes(kept);
  one.set({ share: 0.5, zoom: 2 });
  const broken = ["{", "[]", "7", "null", '{"share": "a", "height": null, "zoom": "x"}',
    '{"share": 99, "height": -5, "large": 1, "zoom": "fit"}'];
  const own = createSizes(forbidden);
  own.set({ large: true });
  return { one: one.get(), kept: kept.text, key: kept.key, again: createSizes(kept).get(),
    broken: broken.map((text) => createSizes(store(text)).get()), own: own.get(),
    none: createSizes(null).get() };
}"""


def test_stored_sizes_of_any_form(page):
    from cutwidgets.panel.page import script

    found = page.evaluate(SIZES, script("sizes.js"))
    default = {"share": None, "height": None, "large": False, "zoom": "auto"}
    assert found["one"] == default | {"share": 0.5, "zoom": 2}
    assert found["again"] == default | {"share": 0.5}  # a scale suits one model only
    assert found["broken"][:5] == [default] * 5
    assert found["broken"][5] == default | {"share": 0.8, "height": 300, "zoom": "fit"}
    assert found["own"] == default | {"large": True}
    assert found["none"] == default


# ---------------------------------------------------------------------------- full screen


@pytest.mark.parametrize("allowed", [True, False])
def test_full_screen_and_escape_keeps_the_selection(at, tiny_resnet, allowed):
    names = [block.name for block in cw.anatomy(tiny_resnet)]
    at.choose(names[1], names[2])
    if not allowed:
        at.page.evaluate(
            "() => { Element.prototype.requestFullscreen = () => Promise.reject(new Error()); }"
        )
    at.page.get_by_role("button", name="Full screen").click()
    at.page.wait_for_function("document.querySelector('.cw-full')?.clientHeight === innerHeight")
    assert at.page.evaluate("document.fullscreenElement !== null") == allowed
    root = box_of(at, ".cw-panel")
    assert [root["x"], root["y"]] == [0, 0]
    assert box_of(at, ".cw-body")["height"] > 700
    at.page.keyboard.press("Escape")
    at.page.wait_for_function("!document.querySelector('.cw-full') && !document.fullscreenElement")
    assert at.shown() == f"{names[1]}..{names[2]}"
    assert at.selected() == names[1:3]
    at.page.keyboard.press("Escape")
    at.page.wait_for_selector(".cutwidgets:not([data-selection])")


# ---------------------------------------------------------------------------- scale


def outputs():
    """A network with an output after each of its blocks."""
    x = inputs = keras.Input((16, 16, 3))
    heads = []
    for k in range(4):
        x = layers.Conv2D(4, 3, padding="same", activation="relu", name=f"c{k}")(x)
        heads.append(layers.Dense(2, name=f"out{k}")(layers.GlobalAveragePooling2D()(x)))
    return keras.Model(inputs, heads, name="outputs")


MODELS = {
    "unet": networks.unet,
    "towers": networks.two_towers,
    "outputs": outputs,
    "siamese": lambda: networks.siamese(networks.untrained("MobileNetV2")),
    "resnet": lambda: networks.untrained("ResNet50"),
}


@pytest.mark.parametrize("width", [484, 1280])
@pytest.mark.parametrize("name", MODELS)
def test_text_is_readable_at_every_scale_and_the_first_block_in_sight(page, name, width):
    at = shown(page, MODELS[name](), width)
    first = at.panel._anatomy[0].name

    def in_sight() -> bool:
        card, box = at.block(first).bounding_box(), box_of(at, ".cw-diagram")
        # A card may be wider than its box; its begin and the place of its flag are in sight.
        return box["x"] <= card["x"] - 50 and card["y"] + card["height"] < box["y"] + box["height"]

    assert in_sight()
    assert smallest_text(at) >= 10.99
    if name == "resnet" and width == 1280:
        assert smallest_text(at) == pytest.approx(13, abs=0.05)
    for _ in range(12):
        page.get_by_role("button", name="Zoom out").click()
    assert smallest_text(at) == pytest.approx(11, abs=0.05)
    page.get_by_role("button", name="Fit").click()
    assert smallest_text(at) >= 10.99
    overflows = page.evaluate(
        f"{BOX}.scrollWidth > {BOX}.clientWidth + 1 || {BOX}.scrollHeight > {BOX}.clientHeight + 1"
    )
    assert page.locator(".cw-overview").is_visible() == overflows
    ends = cw.anatomy(at.panel.model)
    at.block(ends[0].name).click()
    assert page.locator(".cw-flag").count() == 1
    assert smallest_text(at) >= 10.99


def test_fit_shows_the_whole_where_it_can_be_read(page):
    at = shown(page, networks.unet(), 1600, 1000)
    page.get_by_role("button", name="Fit").click()
    whole = f"{BOX}.scrollWidth <= {BOX}.clientWidth && {BOX}.scrollHeight <= {BOX}.clientHeight"
    assert page.evaluate(whole)
    assert smallest_text(at) >= 11


def test_the_map_scrolls_both_ways(page, siamese):
    at = shown(page, siamese, 900)
    overview = page.locator(".cw-overview")
    place = overview.bounding_box()
    natural = page.evaluate(
        """() => { const { width, height } = document.querySelector(".cw-diagram svg")
                     .viewBox.baseVal; return width / height; }"""
    )
    assert place["width"] / place["height"] == pytest.approx(natural, rel=0.05)
    overview.click(position={"x": place["width"] - 4, "y": place["height"] - 4})
    reached = page.evaluate(f"[{BOX}.scrollLeft, {BOX}.scrollTop]")
    page.evaluate(f"{BOX}.scrollTo(99999, 99999)")
    assert reached == page.evaluate(f"[{BOX}.scrollLeft, {BOX}.scrollTop]")
    assert min(reached) > 100
    sight = box_of(at, ".cw-sight")
    assert sight["x"] + sight["width"] == pytest.approx(place["x"] + place["width"], abs=6)
    page.locator("[role=listbox]").press("Home")
    card, box = at.block(at.panel._anatomy[0].name).bounding_box(), box_of(at, ".cw-diagram")
    assert box["x"] < card["x"] < box["x"] + 80


# ---------------------------------------------------------------------------- nothing moves

PLACES = """() => [...document.querySelectorAll(
    ".cw-diagram [role=option], [role=tab], .cw-controls :is(button, select, input), "
    + ".cw-toolbar button, .cw-diagram, .cw-right")]
  .filter((one) => one.checkVisibility())
  .map((one) => {
    const { x, y, width, height } = one.getBoundingClientRect();
    const name = one.getAttribute("data-block") ?? one.getAttribute("data-tab") ??
      one.getAttribute("data-part") ??
      String(one.getAttribute("title")).slice(0, 6) + one.getAttribute("class");
    return [name, ...[x, y, width, height].map((n) => Math.round(10 * n) / 10)];
  })"""


@pytest.mark.parametrize("width", [484, 900, 996, 1280, 1600])
@pytest.mark.parametrize("model", ["long_names", pytest.param("siamese", marks=pytest.mark.slow)])
def test_nothing_moves_between_clicks(page, request, model, width):
    at = shown(page, request.getfixturevalue(model), width, 1400)
    names = [block.name for block in at.panel._anatomy]
    # Blocks in sight, of which the second cannot be the end of a slice that begins at the third.
    first, second, early = names[2], names[3], names[1]
    for name in (first, second, early):  # now, as a click would do it otherwise
        at.block(name).scroll_into_view_if_needed()
    before = page.evaluate(PLACES)

    def same(what):
        after = page.evaluate(PLACES)
        moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
        assert not moved, f"{what}: {moved}"

    at.block(first).click()
    same("first click")
    at.block(early).click(force=True)
    page.wait_for_selector("[data-part=error]:not(:empty)")
    same("refused click")
    at.block(second).click()
    at.wait_for(first, second)
    same("second click")
    at.tab("costs").locator("table").wait_for()
    same("another tab")
    at.part("run").click()
    page.wait_for_selector("[data-part=features] figure")
    same("run")
    page.locator("[role=listbox]").press("o")
    page.wait_for_selector("[data-layer]")
    page.locator("[data-layer]").first.click()
    # The breadcrumbs say something else, and another diagram may need no map.
    opened = ("Back t", "Show w", "nullcw-diagram")
    keep = [p for p in before if p[0] not in names and not p[0].startswith(opened)]
    after = [p for p in page.evaluate(PLACES) if not p[0].startswith(opened)]
    assert [p for p in after if p[0] in {q[0] for q in keep}] == keep, "opening a block"


def test_in_one_column_the_result_comes_into_sight(page, tiny_resnet):
    at = shown(page, tiny_resnet, 484, 500)
    names = [block.name for block in cw.anatomy(tiny_resnet)]
    page.evaluate("scrollTo(0, 0)")
    at.block(names[1]).click()
    scrolled = page.evaluate("scrollY")
    at.block(names[2]).click()
    at.wait_for(names[1], names[2])
    tabs = box_of(at, "[role=tablist]")
    assert 0 <= tabs["y"] < 400
    assert page.evaluate("scrollY") > scrolled
    now = page.evaluate("scrollY")
    at.part("run").evaluate("button => button.click()")
    page.wait_for_selector("[data-part=features] figure")
    assert page.evaluate("scrollY") == now  # it was in sight


# ---------------------------------------------------------------------------- names and text


def test_names_are_clipped_in_the_middle(page, long_names):
    at = shown(page, long_names)
    names = [block.name for block in at.panel._anatomy]
    cards = page.locator("[role=option]")
    texts = cards.evaluate_all("all => all.map(one => one.querySelector('text').textContent)")
    assert len({text.strip() for text in texts}) == len(names)
    long = next(name for name in names if len(name) > 30)
    at.block(long).click()
    shown_start = at.part("start").evaluate("s => s.selectedOptions[0].label")
    assert "…" in shown_start
    assert shown_start.endswith(long[-12:])
    assert at.part("start").get_attribute("title") == long
    whole = at.part("start").evaluate("s => s.selectedOptions[0].textContent")
    assert whole == long
    assert long[-12:] in at.part("hint").text_content()
    at.block(long).click()
    at.wait_for(long, long)
    cell = at.part("summary").locator("tbody th").first
    assert cell.text_content() == long
    assert cell.evaluate("one => one.scrollWidth <= one.clientWidth")


def test_larger_text_is_larger_everywhere(at, tiny_resnet):
    names = [block.name for block in cw.anatomy(tiny_resnet)]
    at.choose(names[1], names[2])
    fonts = """() => [...document.querySelectorAll(".cw-panel *")]
      .filter((one) => one.checkVisibility() && !one.closest("svg") && one.textContent.trim())
      .map((one) => parseFloat(getComputedStyle(one).fontSize))"""
    before, diagram = np.array(at.page.evaluate(fonts)), smallest_text(at)
    button = at.page.get_by_role("button", name="Aa")
    button.click()
    after = np.array(at.page.evaluate(fonts))
    np.testing.assert_allclose(after, 1.5 * before, rtol=0.01)
    assert smallest_text(at) >= max(16.49, 1.2 * diagram)
    at.block(names[3]).click()  # hit testing is right
    assert at.selected() == [names[3]]
    assert button.get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize("width", [484, 756])
@pytest.mark.parametrize("large", [False, True])
def test_the_tabs_stand_in_one_row(page, tiny_resnet, width, large):
    at = shown(page, tiny_resnet, width)
    if large:
        page.get_by_role("button", name="Aa").click()
    tops = page.get_by_role("tab").evaluate_all("all => all.map(o => o.getBoundingClientRect().y)")
    assert len(tops) == 8
    assert len(set(tops)) == 1
    if not large:
        tabs = "document.querySelector('[role=tablist]')"
        assert page.evaluate(f"{tabs}.scrollWidth <= {tabs}.clientWidth")
    assert at.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# ---------------------------------------------------------------------------- contrast

OPACITY = """() => [...document.querySelectorAll(".cw-diagram [role=option]")].map(
    (one) => [one.classList.contains("cw-lit"), getComputedStyle(one).opacity,
              getComputedStyle(one.querySelector("path")).strokeWidth])"""


@pytest.mark.parametrize("how", ["contrast", "forced", "theme"])
def test_with_high_contrast_nothing_is_dimmed(at, tiny_resnet, how):
    names = [block.name for block in cw.anatomy(tiny_resnet)]
    at.choose(names[1], names[2])
    at.page.wait_for_timeout(200)
    assert "0.45" in [opacity for lit, opacity, _ in at.page.evaluate(OPACITY) if not lit]
    if how == "theme":
        at.page.evaluate("document.body.dataset.jpThemeName = 'JupyterLab Dark High Contrast'")
    else:
        at.page.emulate_media(
            **{
                "contrast" if how == "contrast" else "forced_colors": "more"
                if how == "contrast"
                else "active"
            }
        )
    at.page.wait_for_timeout(400)  # what fades has faded
    cards = at.page.evaluate(OPACITY)
    assert {opacity for _, opacity, _ in cards} == {"1"}
    widths = {lit: width for lit, _, width in cards}
    assert float(widths[True].rstrip("px")) >= 2 * float(widths[False].rstrip("px"))
