"""The tab Lab of the panel's page, in Chromium, without JupyterLab."""

import threading

import numpy as np
import pytest
from panelpage import PanelPage

import cutwidgets as cw
import networks
from cutwidgets import lab
from cutwidgets.progress import track


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    return random.normal(size=(12, 16, 16, 3)).astype("float32"), random.integers(0, 3, 12)


@pytest.fixture
def at(page, tiny_resnet, data):
    page.set_default_timeout(20_000)
    return PanelPage(page, cw.CutPanel(tiny_resnet, data=data))


@pytest.fixture
def names(tiny_resnet):
    return [block.name for block in cw.anatomy(tiny_resnet)]


@pytest.fixture
def slow(monkeypatch):
    """Lesions that do not end by themselves, but take a step whenever the event is set."""
    step = threading.Event()

    def lesions(*_):
        for _ in track(range(1000), "waiting"):
            step.wait(20)
            step.clear()

    monkeypatch.setattr(lab, "lesions", lesions)
    yield step
    step.set()


def coloured(at):
    """The values that the cards of the diagram show, by block."""
    cards = at.page.locator("[data-value]")
    return dict(cards.evaluate_all("all => all.map(one => [one.dataset.block, one.dataset.value])"))


def colours(at):
    return at.page.locator(".cw-pill rect").evaluate_all(
        "all => all.map(one => one.getAttribute('fill'))"
    )


def test_an_experiment_colours_the_diagram(at, names, tiny_resnet, data):
    at.begin("lesions")
    at.finish()
    values = lab.lesions(tiny_resnet, *data).table.set_index("block")["error"]
    texts = {name: f"{100 * value:.1f} %" for name, value in values.items()}
    assert coloured(at) == texts
    assert at.page.locator(".cw-pill text").all_text_contents() == list(texts.values())
    shown = dict(zip(texts, colours(at), strict=True))
    assert shown[values.idxmin()] == "rgb(68, 1, 84)"
    assert shown[values.idxmax()] == "rgb(253, 231, 37)"
    assert f"Error without the block: {texts[names[2]]}." in at.block(names[2]).get_attribute(
        "aria-label"
    )
    assert at.block(names[0]).get_attribute("data-value") is None
    legend = at.part("legend")
    ends = [f"{100 * end:.1f} %" for end in (values.min(), values.max())]
    assert all(text in legend.text_content() for text in ("Error without the block", *ends))
    finding = lab.lesions(tiny_resnet, *data).finding
    assert at.part("finding").text_content() == finding
    assert at.live() == finding
    rows = at.part("lab").locator("tbody tr")
    assert rows.locator("th").all_text_contents() == list(texts)
    assert rows.locator("td").all_text_contents() == list(texts.values())
    assert "lab.lesions(model, x, y)" in at.part("lab").locator("pre").text_content()


def test_colours_stay_with_the_tab_and_can_be_cleared(at, names):
    at.begin("lesions")
    at.finish()
    before = coloured(at)
    at.choose(names[1], names[2])
    assert coloured(at) == before
    assert at.selected() == names[1:3]
    flags = at.page.locator(".cw-flag").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect())"
    )
    pills = at.page.locator(".cw-pill").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect())"
    )
    assert not any(
        flag["bottom"] - 2 > pill["top"] and pill["bottom"] - 2 > flag["top"]
        for flag in flags
        for pill in pills
    )
    at.tab("costs")
    assert coloured(at) == {}
    at.tab("lab")
    assert coloured(at) == before
    at.page.get_by_role("button", name="Clear colours").click()
    assert (coloured(at), colours(at)) == ({}, [])
    at.tab("summary")
    at.tab("lab")
    assert coloured(at) == {}
    at.page.get_by_role("button", name="Colour the diagram").click()
    assert coloured(at) == before
    at.page.locator("[role=listbox]").press("o")
    at.page.wait_for_selector("[data-layer]")
    assert coloured(at) == {}
    at.page.locator("[role=listbox]").press("Backspace")
    assert coloured(at) == before


def test_a_running_experiment_is_stopped_by_keyboard(at, slow):
    part = at.tab("lab")
    run, stop = (part.get_by_role("button", name=name) for name in ("Run experiment", "Stop"))
    assert not stop.is_visible()
    run.focus()
    run.press("Enter")
    at.page.wait_for_function("model.get('_progress').lab")
    assert run.is_disabled()
    assert part.locator("select").is_disabled()
    assert stop.evaluate("one => one === document.activeElement")
    bar = part.get_by_role("progressbar", name="Progress: experiment")
    at.panel._progress = {"lab": {"done": 3, "total": 12, "label": "waiting"}}
    at.update()
    assert bar.evaluate("one => [one.value, one.max]") == [3, 12]
    assert "waiting: 3 of 12" in part.text_content()
    stop.press("Enter")
    at.page.wait_for_function("model.get('_progress').lab?.stopping")
    assert "Stopping…" in part.text_content()
    slow.set()
    at.finish()
    assert "Stopped." in part.text_content()
    assert at.live() == "Stopped."
    assert bar.count() == 0
    assert run.is_enabled()
    assert run.evaluate("one => one === document.activeElement")
    assert coloured(at) == {}


def test_both_views_show_one_experiment(at, slow):
    at.show()
    first, second = (at.part("lab", view) for view in (0, 1))
    for view in (0, 1):
        at.page.locator("[data-tab=lab]").nth(view).click()
    first.get_by_role("button", name="Run experiment").click()
    at.page.wait_for_function("model.get('_progress').lab")
    assert second.get_by_role("button", name="Run experiment").is_disabled()
    second.get_by_role("button", name="Stop").click()
    at.page.wait_for_function("model.get('_progress').lab?.stopping")
    slow.set()
    at.finish()
    assert "Stopped." in first.text_content()
    assert "Stopped." in second.text_content()


def test_errors_are_shown_and_probes_need_labels(page, tiny_resnet, monkeypatch):
    def broken(*_):
        raise cw.CutwidgetsError("no luck")

    at = PanelPage(page, cw.CutPanel(tiny_resnet))
    part = at.tab("lab")
    assert part.locator("option[value=probes]").is_disabled()
    assert "Linear probes: needs examples with labels, CutPanel(model, data=(x, y))." in (
        part.text_content()
    )
    monkeypatch.setattr(lab, "lesions", broken)
    at.begin("lesions")
    at.finish()
    assert at.part("error").text_content() == "no luck"
    assert part.get_by_role("button", name="Run experiment").is_enabled()
    monkeypatch.undo()
    at.begin("lesions")
    at.finish()
    assert at.part("error").text_content() == ""
    assert coloured(at)


def test_another_model_clears_the_tab(at):
    at.begin("lesions")
    at.finish()
    at.panel.model = networks.unet(2)
    at.update()
    part = at.tab("lab")
    assert "The examples are left out" in part.text_content()
    assert part.locator("table").count() == 0
    assert coloured(at) == {}


def test_a_page_without_a_kernel_keeps_the_result(at, page, tmp_path):
    path = at.panel.save(tmp_path / "none.html")
    at.begin("lesions")
    at.finish()
    before = coloured(at)
    kept = at.panel.save(tmp_path / "kept.html")
    page.goto(path.as_uri())
    assert "needs Python" in at.tab("lab").text_content()
    page.goto(kept.as_uri())
    part = at.tab("lab")
    assert part.locator("table").count() == 1
    assert coloured(at) == before
    for name in ("Run experiment", "Stop"):
        assert part.get_by_role("button", name=name).count() == 0


def test_the_tabs_stand_in_one_row(at):
    at.page.set_viewport_size({"width": 850, "height": 720})
    tops = at.page.locator("[role=tab]").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().top)"
    )
    assert len(set(tops)) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(at, names, scheme):
    at.colour(scheme)
    found = []

    def look(where):
        found.extend(f"{where}: {violation}" for violation in at.violations())

    at.choose(names[1], names[2])
    at.begin("lesions")
    at.finish()
    look("result")
    at.panel._progress = {"lab": {"done": 3, "total": 12, "label": "waiting"}}
    at.update()
    look("running")
    assert not found, "\n".join(found)
