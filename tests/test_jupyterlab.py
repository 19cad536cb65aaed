"""The main way, in a real JupyterLab in a real Chromium."""

import shutil
from pathlib import Path

import pytest

from browser import jupyterlab

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "01-cut-a-resnet.ipynb"


@pytest.fixture
def lab(tmp_path):
    root, state = tmp_path / "notebooks", tmp_path / "state"
    root.mkdir()
    state.mkdir()
    shutil.copy(NOTEBOOK, root)
    with jupyterlab(root, state) as started:
        yield started


@pytest.mark.timeout(600)
def test_two_clicks_and_the_slice_runs(lab, page):
    lab.open(page, NOTEBOOK.name)
    lab.run_all(page)
    panel = page.locator(".cutwidgets:has([role=listbox])").first
    panel.wait_for(timeout=240_000)
    summary = panel.locator("[data-part=summary]")

    def choose(start, end):
        for block in (start, end):
            panel.locator(f'[data-block="{block}"]').click()
        chosen = f'.cutwidgets[data-selection="{start}..{end}"]'
        page.wait_for_selector(chosen, timeout=240_000)
        return summary.text_content()

    first = choose("conv2_block1", "conv2_block2")
    then = choose("conv3_block1", "conv4_block6")
    assert "conv4_block6" in then
    assert "conv4_block6" not in first

    panel.locator("[data-part=run]").click()
    panel.locator("[data-part=features] img").first.wait_for(timeout=120_000)
    assert panel.locator("[data-part=error]").text_content() == ""

    # The notebook's own keys: in command mode, "d d" deletes a cell and arrows leave it.
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    panel.locator("[role=listbox]").focus()
    for key in ("ArrowDown", "d", "d", "x", "ArrowUp"):
        page.keyboard.press(key)
    assert panel.locator("[role=listbox]").evaluate("box => box === document.activeElement")
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells
