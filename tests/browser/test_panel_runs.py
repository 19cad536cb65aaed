"""Runs of like blocks in the panel's page: one card each, which opens."""

import keras
import pytest
from panelpage import PanelPage

import cutwidgets as cw

BLOCKS = 230


@pytest.fixture(scope="module")
def long_resnet():
    x = inputs = keras.Input((4,), name="x")
    x = keras.layers.Dense(4, name="stem")(x)
    for i in range(BLOCKS):
        y = keras.layers.Dense(4, name=f"b{i}_dense")(x)
        x = keras.layers.Add(name=f"b{i}_add")([x, y])
    return keras.Model(inputs, keras.layers.Dense(2, name="last")(x))


@pytest.fixture
def at(page, long_resnet):
    return PanelPage(page, cw.CutPanel(long_resnet))


@pytest.fixture
def run(at):
    """The card of the run of residual blocks."""
    return at.page.locator("[data-run]")


def pieces(at):
    return at.page.locator("[data-run]").evaluate_all("all => all.map(one => one.dataset.run)")


def open_piece(at, run, name):
    """Open the run, then the piece that holds a block."""
    run.click()
    at.page.wait_for_function("document.querySelectorAll('[data-run]').length > 1")
    first = next(text for text in pieces(at) if text.split(", ")[1].startswith(f"{name} "))
    at.page.locator(f'[data-run="{first}"]').click()
    at.block(name).wait_for()


def test_a_run_is_one_card_that_says_how_many(at, run):
    assert run.get_attribute("data-run") == "230 × residual, b0 … b229"
    assert "Opens" in run.get_attribute("aria-label")
    assert run.get_attribute("role") == "option"
    assert at.page.locator("[data-block]").count() == 2
    assert at.violations() == []


def test_clicks_open_a_run_in_pieces_and_its_blocks_can_be_chosen(at, run):
    open_piece(at, run, "b0")
    assert at.live().startswith("Opened")
    at.choose("b0", "b1")
    assert at.panel.selection == ("b0", "b1")
    assert at.selected() == ["b0", "b1"]
    assert at.violations() == []


def test_the_start_is_kept_while_another_run_opens(at, run):
    open_piece(at, run, "b0")
    at.block("b1").click()
    at.page.locator("[data-run]").last.click()
    at.block("b229").wait_for()
    at.block("b229").click()
    at.wait_for("b1", "b229")
    assert at.panel.selection == ("b1", "b229")


def test_a_selection_inside_of_a_run_shows_on_its_card(at, run):
    at.panel.selection = ("b7", "b9")
    at.update()
    at.wait_for("b7", "b9")
    assert run.get_attribute("aria-selected") == "true"
    assert at.page.locator(".cw-flag text").all_text_contents() == ["START", "END"]
    at.part("end").select_option(label="b12")
    at.wait_for("b7", "b12")
    assert run.get_attribute("aria-selected") == "true"


def test_runs_open_and_close_by_keyboard(at, run):
    page = at.page
    page.locator("[role=listbox]").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('[data-run]').length > 1")
    active = """() => document.getElementById(
        document.activeElement.getAttribute("aria-activedescendant")).dataset"""
    assert page.evaluate(active)["run"].split(", ")[1].startswith("b0 ")
    page.keyboard.press("o")
    at.block("b0").wait_for()
    assert page.evaluate(active)["block"] == "b0"
    page.keyboard.press("Backspace")
    page.wait_for_function("document.querySelectorAll('[data-run]').length === 1")
    assert page.evaluate(active)["run"] == "230 × residual, b0 … b229"


def test_the_search_opens_the_run_of_a_block(at):
    at.part("search").fill("b123")
    at.part("search").press("Enter")
    at.block("b123").wait_for()


def test_without_a_kernel_the_page_says_what_opening_needs(page, tmp_path, long_resnet):
    path = cw.CutPanel(long_resnet).save(tmp_path / "long.html")
    page.goto(path.as_uri())
    page.locator("[data-run]").click()
    page.wait_for_selector("[data-part=error]:not(:empty)")
    assert "needs Python" in page.locator("[data-part=error]").text_content()
