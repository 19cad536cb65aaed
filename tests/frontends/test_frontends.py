"""A panel in every front end: the same test, in a real Chromium."""

import re
import time
from importlib.util import find_spec

import pytest
from chromium import watch
from front_ends import (
    FrontEnd,
    UnreachableError,
    executed,
    in_embedding,
    in_jupyterlab,
    in_marimo,
    in_nbconvert,
    in_notebook_7,
    in_saved_page,
    in_voila,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# What pages of nbconvert and ipywidgets load from the web: here from npm, or nothing.
WEB = (
    "/require.js/",
    "/@jupyter-widgets/html-manager@",
    "/anywidget@",
    "/anywidget.js",
    "/mathjax/",
    "/mermaid",
)
# Fonts of Voila, and an extension of Notebook that it cannot load where both are installed.
VOILA = ("/@fortawesome/fontawesome-free@", "/@jupyter-notebook/lab-extension/")

FRONT_ENDS = {
    "JupyterLab": FrontEnd(in_jupyterlab, "jupyterlab"),
    "Notebook": FrontEnd(in_notebook_7, "notebook", known=("reading 'schema'",)),
    "Voila": FrontEnd(in_voila, "voila", known=VOILA),
    "marimo, anywidget": FrontEnd(in_marimo("mo.ui.anywidget(panel)"), "marimo"),
    "marimo, direct": FrontEnd(in_marimo("panel"), "marimo"),
    "nbconvert": FrontEnd(
        in_nbconvert(), "nbconvert", has_kernel=False, is_notebook=False, known=WEB
    ),
    "saved page": FrontEnd(in_saved_page, "cutwidgets", has_kernel=False, is_notebook=False),
    "embedding": FrontEnd(
        in_embedding, "ipywidgets", has_kernel=False, is_notebook=False, known=WEB
    ),
}


@pytest.fixture(params=FRONT_ENDS)
def front_end(request):
    found = FRONT_ENDS[request.param]
    if find_spec(found.needs) is None:
        pytest.skip(f"{found.needs} is not installed: uv run --group frontends pytest …")
    return found


@pytest.fixture
def shown(browser, front_end, tmp_path):
    """A page with a panel, which waits for what is looked for."""
    yield from opened(browser, front_end.open, tmp_path, front_end.known)


def opened(browser, front_end, folder, known=(), **options):
    """A page that a front end has opened; then, no fault but the known ones."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(20_000)
    faults = watch(page)
    try:
        with front_end(page, folder, **options):
            try:
                yield page
            finally:
                context.close()  # before the server ends
    except UnreachableError as reason:
        pytest.skip(str(reason))
    ours = [fault for fault in faults if not any(one in fault for one in known)]
    assert not ours, "\n".join(ours)


def panel_of(page):
    """The only panel of a page."""
    panels = page.locator(".cutwidgets:has([role=listbox])")
    panels.first.wait_for(timeout=240_000)
    assert panels.count() == 1
    return panels


# Pictures that stand alone, show this model, and are seen: SVG, or an image of one.
PICTURES = """
all => all.filter(one => {
  const inside = one.parentElement?.closest("svg");
  const { width, height } = one.getBoundingClientRect();
  const data = one.currentSrc?.match(/^data:image\\/svg\\+xml;base64,(.*)$/)?.[1];
  const text = data ? atob(data) : one.textContent;
  return !inside && one.checkVisibility() && width > 100 && height > 100
    && text.includes("stage1_block1");
}).length
"""


def pictures(page):
    """How many diagrams of the model can be seen."""
    return page.locator("svg, img").evaluate_all(PICTURES)


def choose(panel, start, end):
    for block in (start, end):
        panel.locator(f'[data-block="{block}"]').click()
    chosen = f'.cutwidgets[data-selection="{start}..{end}"]'
    panel.page.wait_for_selector(chosen, timeout=30_000)


def test_a_slice_is_chosen_and_runs_where_there_is_python(front_end, shown):
    panel = panel_of(shown)
    shown.wait_for_timeout(500)
    assert pictures(shown) == 1
    if not front_end.has_kernel:
        eventually(says_that_there_is_no_python, panel, front_end.is_notebook)
    choose(panel, "stage1_block1", "stage2_block1")
    panel.locator("[data-tab=summary]").click()
    summary = panel.locator("[data-part=summary]").text_content()
    assert "stage1_block1" in summary
    assert "stage2_block1" in summary
    if front_end.has_kernel:
        panel.locator("[data-part=run]").click()
        panel.locator("[data-part=features] figure").first.wait_for(timeout=120_000)
        assert panel.locator("[data-part=error]").text_content() == ""
    else:
        eventually(says_that_there_is_no_python, panel, front_end.is_notebook)
    assert pictures(shown) == 1


def eventually(holds, *arguments, seconds=12):
    """What `holds` asserts holds after some time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return holds(*arguments)
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            arguments[0].page.wait_for_timeout(500)


def says_that_there_is_no_python(panel, is_notebook):
    """In every tab, nothing looks alive that does nothing, and nothing waits for ever."""
    alive = controls(panel.locator("[data-part=run]"))
    for tab in panel.locator("[role=tab]").all():
        tab.click()
        name = tab.text_content()
        content = panel.locator("[role=tabpanel]").locator("visible=true").first
        text = content.inner_text()
        assert re.search(r"\w{3}", text), f"{name} is empty: {text!r}"
        assert "no slice" not in text, f"{name}: {text}"
        assert content.locator("progress:visible, [aria-busy=true]").count() == 0, name
        alive += [f"{name}: {control}" for control in controls(content)]
    assert not alive
    opens = panel.get_by_role("button", name=re.compile("^Open ")).locator("visible=true")
    if opens.count() and opens.is_enabled():
        opens.click()
        assert "Python" in panel.locator("[data-part=error]").text_content()
    if not is_notebook:
        assert "this cell" not in panel.inner_text()


def controls(within):
    """Names of the buttons and fields that can be used, but not of those that only copy."""
    found = within.locator("visible=true").and_(within.page.locator("button, select, input"))
    found = found.or_(within.locator("button:visible, select:visible, input:visible"))
    alive = found.and_(within.page.locator(":enabled:not([aria-disabled=true])"))
    return [name for name in alive.evaluate_all(NAMES) if name != "Copy"]


NAMES = "all => all.map(one => one.textContent || one.ariaLabel || one.type)"


NO_WEB = (*WEB, "ERR_NAME_NOT_RESOLVED", "require")  # what is missing makes errors of its own


@pytest.mark.parametrize(
    ("front_end", "known"),
    [(in_nbconvert(with_state=False), WEB), (in_nbconvert(with_network=False), NO_WEB)],
    ids=["without state", "without a network"],
)
def test_a_page_of_nbconvert_shows_the_picture(browser, front_end, known, tmp_path):
    for page in opened(browser, front_end, tmp_path, known):
        page.wait_for_timeout(1000)
        shows_the_picture(page)
        assert "this cell" not in page.inner_text("body")  # it has none that runs


def shows_the_picture(page):
    assert page.locator(".cutwidgets:has([role=listbox])").count() == 0
    assert pictures(page) == 1
    page.locator("details:visible summary").click()
    assert page.locator("td:visible", has_text="stage2_block2").count() == 1


@pytest.mark.parametrize(
    ("front_end", "needs", "known"),
    [
        (in_jupyterlab, "jupyterlab", ()),
        (in_notebook_7, "notebook", ("reading 'schema'",)),
    ],
    ids=["JupyterLab", "Notebook"],
)
def test_a_stranger_s_notebook_shows_the_picture(browser, front_end, needs, known, tmp_path):
    """It is not trusted: its HTML is sanitized, and its widgets are not drawn."""
    pytest.importorskip(needs)
    for page in opened(browser, front_end, tmp_path, known, shown=executed()):
        page.locator(".cutwidgets-static").wait_for(timeout=60_000)
        shows_the_picture(page)
