"""The panel of fourteen kinds of models: whether its page is accessible, and its texts legible."""

import pytest
from panel_models import MODELS
from take_panel_pictures import (
    EVERY_TAB,
    TABS,
    begin_slice,
    choose,
    high_contrast_theme,
    open_panel,
    tabs,
)

import cutwidgets as cw

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LEAST = 11  # pixels: the height of the smallest text

# For each visible text of the panel: the height of its font on the screen, and the text.
SIZES = """
() => {
  const panel = document.querySelector(".cutwidgets");
  const walker = document.createTreeWalker(panel, NodeFilter.SHOW_TEXT);
  const sizes = [];
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim();
    const own = walker.currentNode.parentElement;
    const { width, height } = own.getBoundingClientRect();
    if (!text || !own.checkVisibility({ visibilityProperty: true }) || width * height < 2) continue;
    const scale = own instanceof SVGElement ? Math.abs(own.getScreenCTM().d) : 1;
    sizes.push([parseFloat(getComputedStyle(own).fontSize) * scale, text]);
  }
  return sizes;
}
"""

# The texts that reach out of the card that they stand on.
OUTSIDE = """
() => [...document.querySelectorAll(".cutwidgets [role=option]")].flatMap((card) => {
  const space = card.querySelector("path, polygon, ellipse").getBoundingClientRect();
  return [...card.querySelectorAll("text")].filter((text) => {
    const { left, right, top, bottom } = text.getBoundingClientRect();
    return text.textContent.trim()
      && (left < space.left - 1 || right > space.right + 1 || top < space.top - 2
        || bottom > space.bottom + 2);
  }).map((text) => text.textContent);
})
"""

# What is wider than its place: the page, the panel, or what stands in it and cannot be scrolled.
TOO_WIDE = """
() => {
  const panel = document.querySelector(".cutwidgets");
  const { right } = panel.getBoundingClientRect();
  const scrolls = (one) => one !== panel && (
    getComputedStyle(one).overflowX !== "visible" || scrolls(one.parentElement));
  const wide = document.documentElement.scrollWidth > innerWidth ? ["the page"] : [];
  if (panel.scrollWidth > panel.clientWidth + 1) wide.push("the panel");
  for (const one of panel.querySelectorAll("*")) {
    if (!one.checkVisibility() || one.closest("svg") || scrolls(one.parentElement)) continue;
    if (one.getBoundingClientRect().right > right + 1) wide.push(one.outerHTML.slice(0, 80));
  }
  return wide;
}
"""


def small(page):
    """The texts that are too small, with their heights."""
    return sorted(
        {(round(size, 1), text) for size, text in page.evaluate(SIZES) if size < LEAST - 0.05}
    )


def faults(view):
    """What is wrong with the panel as it is shown, by kind."""
    page = view.page
    found = {
        "axe": view.violations(),
        "small": small(page)[:5],
        "outside its card": page.evaluate(OUTSIDE)[:5],
        "too wide": page.evaluate(TOO_WIDE)[:5],
    }
    return {kind: faults for kind, faults in found.items() if faults}


def looked_through(view, filled=False):
    """The faults of all tabs, and of a panel whose start is chosen and whose end is not."""
    found = {tab: faults(view) for tab in tabs(view, filled)}
    view.tab("costs")
    begin_slice(view)
    found["pending"] = faults(view)
    return {state: fault for state, fault in found.items() if fault}


def told(found):
    return "\n".join(
        f"{state}: {kind}: {what}" for state, f in found.items() for kind, what in f.items()
    )


@pytest.fixture(scope="module")
def panel_of():
    """The panel of a model; that of the last one is kept, as its tests follow each other."""
    kept = {}

    def build(name):
        if name not in kept:
            kept.clear()
            kept[name] = cw.CutPanel(MODELS[name]())
        kept[name].selection = ()
        return kept[name]

    return build


# Every model in one scheme, three in both: the colours are the same for all of them.
SCHEMES = {name: ("light", "dark")[i % 2 :][:1] for i, name in enumerate(MODELS)}
SCHEMES |= dict.fromkeys(EVERY_TAB, ("light", "dark"))


@pytest.mark.parametrize(
    ("name", "scheme"), [(name, scheme) for name, schemes in SCHEMES.items() for scheme in schemes]
)
def test_the_page_is_accessible_and_legible(page, panel_of, name, scheme):
    view = open_panel(page, panel_of(name))
    view.colour(scheme)
    choose(view)
    found = looked_through(view)
    assert not found, told(found)


@pytest.mark.parametrize("width", [900, 1280, 1600])
def test_the_tabs_with_results(page, panel_of, width):
    view = open_panel(page, panel_of("resnet1d"), width)
    choose(view)
    found = looked_through(view, filled=True)
    assert not found, told(found)


@pytest.mark.parametrize("how", ["forced", "more", "theme"])
def test_high_contrast(page, panel_of, how):
    view = open_panel(page, panel_of("resnet1d"))
    if how == "forced":
        page.emulate_media(forced_colors="active")
    elif how == "more":
        page.emulate_media(contrast="more")
    else:
        page.emulate_media(color_scheme="dark")
        page.add_style_tag(content=high_contrast_theme() + "body { background: #000000 }")
        page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    choose(view)
    found = looked_through(view)
    assert not found, told(found)


def test_all_tabs_are_looked_through(page, panel_of):
    view = open_panel(page, panel_of("resnet1d"))
    own = view.page.locator("[data-tab]").evaluate_all("all => all.map(one => one.dataset.tab)")
    assert own == list(TABS)


def test_a_small_text_and_one_outside_of_its_card_are_found(page, panel_of):
    """The measures measure."""
    view = open_panel(page, panel_of("resnet1d"))
    card = page.locator("[role=option]").first
    card.locator("text").first.evaluate("text => text.setAttribute('x', 5000)")
    page.locator("[data-part=hint]").evaluate("hint => { hint.style.fontSize = '10px' }")
    page.locator(".cutwidgets").evaluate("el => { el.style.minWidth = '1400px' }")
    found = faults(view)
    assert any(size == 10 for size, _ in small(page))
    assert found["outside its card"]
    assert found["too wide"]
