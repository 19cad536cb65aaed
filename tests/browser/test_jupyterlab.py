"""The main way, in a real JupyterLab in a real Chromium."""

import pytest
from chromium import jupyterlab


@pytest.fixture
def lab(tmp_path):
    root, state = tmp_path / "notebooks", tmp_path / "state"
    root.mkdir()
    state.mkdir()
    with jupyterlab(root, state) as started:
        yield started


def write_notebook(root, *cells):
    """Write `test.ipynb` of code cells."""
    import nbformat  # takes seconds

    kernel = {"name": "python3", "display_name": "Python 3"}  # otherwise JupyterLab asks for one
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata={"kernelspec": kernel}
    )
    nbformat.write(notebook, root / "test.ipynb")


RESNET = "import keras\nresnet = keras.applications.ResNet50(include_top=False, weights=None)"


@pytest.mark.timeout(600)
def test_two_clicks_and_the_slice_runs(lab, page, tmp_path):
    write_notebook(tmp_path / "notebooks", RESNET, "import cutwidgets as cw\ncw.CutPanel(resnet)")
    lab.open(page, "test.ipynb")
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

    # Another end, by the keys that run a cell elsewhere.
    prompts = page.locator(".jp-InputPrompt")
    before = prompts.all_text_contents()
    panel.locator("[role=listbox]").focus()
    for keys in ("ArrowDown", "Control+Enter"):
        page.keyboard.press(keys)
    both = '.cutwidgets[data-selection="conv3_block1..conv4_block6,conv5_block1"]'
    page.wait_for_selector(both, timeout=60_000)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(both, state="detached", timeout=60_000)
    assert prompts.all_text_contents() == before

    panel.locator("[data-part=run]").click()
    panel.locator("[data-part=features] figure").first.wait_for(timeout=120_000)
    assert panel.locator("[data-part=error]").text_content() == ""

    # The notebook's own keys: in command mode, "d d" deletes a cell and arrows leave it.
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    panel.locator("[role=listbox]").focus()
    for key in ("ArrowDown", "d", "d", "x", "ArrowUp"):
        page.keyboard.press(key)
    assert panel.locator("[role=listbox]").evaluate("box => box === document.activeElement")
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells


CELLS = (
    "import keras, cutwidgets as cw\n"
    "vgg = keras.applications.VGG16(include_top=False, weights=None)\n"
    "panel = cw.CutPanel(vgg)\npanel",
    "panel",
    "cw.CutPanel(vgg, parts=['diagram', 'summary'])",
)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_several_panels_a_lost_kernel_and_a_notebook_without_one(lab, page, tmp_path):
    write_notebook(tmp_path / "notebooks", *CELLS)
    lab.open(page, "test.ipynb")
    lab.run_all(page)
    page.locator(".cutwidgets:has([role=listbox])").nth(2).wait_for(timeout=240_000)
    one, again, other = (page.locator(".cutwidgets:has([role=listbox])").nth(i) for i in range(3))
    pictures = page.locator(".cutwidgets-static")
    assert pictures.count() == 3
    assert not any(picture.is_visible() for picture in pictures.all())
    one.locator('[data-block="block2"]').click()
    one.locator('[data-block="block3"]').click()
    for view in (one, again):
        view.and_(page.locator("[data-selection='block2..block3']")).wait_for()
    assert other.get_attribute("data-selection") is None
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")

    page.evaluate(
        """() => window.jupyterapp.shell.currentWidget.context.sessionContext
                   .session.kernel.restart()"""
    )
    one.locator('[data-block="block4"]').click()
    one.locator('[data-block="block5"]').click()
    one.locator("[data-part=error]:not(:empty)").wait_for(timeout=60_000)
    assert "does not answer" in one.locator("[data-part=error]").text_content()
    assert "block5" in one.locator("[data-part=summary]").text_content()

    page.goto("about:blank")
    lab.open(page, "test.ipynb")
    page.locator(".cutwidgets-static img").first.wait_for(timeout=60_000)
    assert pictures.first.is_visible()


EXPERIMENT = (
    "import keras, numpy, cutwidgets as cw\n"
    "resnet = keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3), classes=10)\n"
    "pictures = numpy.random.default_rng(0).normal(size=(64, 64, 64, 3))\n"
    "cw.CutPanel(resnet, data=(pictures, numpy.arange(64) % 10))"
)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_experiment_runs_and_can_be_stopped(lab, page, tmp_path):
    write_notebook(tmp_path / "notebooks", EXPERIMENT)
    lab.open(page, "test.ipynb")
    lab.run_all(page)
    panel = page.locator(".cutwidgets:has([role=listbox])")
    panel.wait_for(timeout=240_000)
    panel.locator("[data-tab=lab]").click()
    run, stop = (panel.get_by_role("button", name=name) for name in ("Run experiment", "Stop"))
    run.click()
    panel.get_by_text("removing blocks:").wait_for(timeout=120_000)
    stop.click()
    panel.get_by_text("Stopped.").first.wait_for(timeout=30_000)
    run.click()
    panel.locator("[data-part=legend]").wait_for(timeout=240_000)
    assert panel.locator("[data-value]").count() == 16
    assert panel.locator("[data-part=error]").text_content() == ""
