"""The slider of lesson 03, in a real JupyterLab: the picture moves with it."""

from pathlib import Path

import pytest
from chromium import jupyterlab

LESSON = Path(__file__).parents[2] / "notebooks" / "03-lesions.ipynb"


@pytest.fixture
def lab(tmp_path):
    """JupyterLab on a folder with the lesson, up to the slider."""
    import nbformat  # takes seconds

    lesson = nbformat.read(LESSON, as_version=4)
    code = [cell for cell in lesson.cells if cell.cell_type == "code"]
    last = next(i for i, cell in enumerate(code) if "interact(" in cell.source)
    lesson.cells = code[: last + 1]
    root, state = tmp_path / "notebooks", tmp_path / "state"
    root.mkdir()
    state.mkdir()
    nbformat.write(lesson, root / "lesson.ipynb")
    with jupyterlab(root, state) as started:
        yield started


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_picture_moves_with_the_slider(lab, page):
    lab.open(page, "lesson.ipynb")
    lab.run_all(page)
    box = page.locator(".widget-interact")
    picture = box.locator("img")
    picture.wait_for(timeout=400_000)
    whole = picture.get_attribute("src")
    removed = box.locator(".widget-slider").nth(1)
    assert "removed" in removed.text_content()
    removed.locator(".noUi-handle").focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    changed = "before => document.querySelector('.widget-interact img')?.src !== before"
    page.wait_for_function(changed, arg=whole, timeout=30_000)
    assert removed.locator(".widget-readout").text_content() == "6"
