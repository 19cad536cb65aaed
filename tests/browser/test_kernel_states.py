"""What a panel says when its kernel is busy, restarted or killed: in a real JupyterLab."""

import time

import pytest
from test_jupyterlab import lab, write_notebook  # noqa: F401

TABS = ("summary", "run", "check", "code", "costs", "surgery", "lab", "save")

CELL = f"""import keras, cutwidgets as cw
x = inputs = keras.Input((8, 8, 3))
for i in range(4):
    y = keras.layers.Conv2D(3, 3, 1, "same", name=f"b{{i}}_conv")(x)
    x = keras.layers.Add(name=f"b{{i}}_add")([x, y])
panel = cw.CutPanel(keras.Model(inputs, x))
for _ in range({len(TABS)}):
    display(panel)"""


class Views:
    """Views of one panel in a notebook in JupyterLab, each with another tab in front."""

    def __init__(self, lab, page, folder):  # noqa: F811
        write_notebook(folder / "notebooks", CELL)
        lab.open(page, "test.ipynb")
        lab.run_all(page)
        self.page = page
        self.all = page.locator(".cutwidgets:has([role=listbox])")
        self.all.nth(len(TABS) - 1).wait_for(timeout=240_000)
        for view, tab in enumerate(TABS):
            self.all.nth(view).locator(f"[data-tab={tab}]").click()
        self.names = self.all.first.locator("[data-block]").evaluate_all(
            "all => all.map(one => one.dataset.block)"
        )

    def execute(self, code: str) -> None:
        """Run code in the kernel, and do not wait for it."""
        self.page.evaluate(
            """code => { window.jupyterapp.shell.currentWidget.context.sessionContext
                          .session.kernel.requestExecute({ code }); }""",
            code,
        )

    def make_busy(self, seconds: float) -> None:
        """Let the kernel answer nothing for a while.

        A cell would not do: kernels of today handle widgets beside a cell.
        """
        stop, go_on = (f"kill -{signal} {{os.getpid()}}" for signal in ("STOP", "CONT"))
        script = f"sleep 0.2; {stop}; sleep {seconds}; {go_on}"
        self.execute(f"import os, subprocess; subprocess.Popen(['sh', '-c', f'{script}'])")
        self.page.wait_for_timeout(800)

    def end(self, how: str) -> None:
        """End the kernel: `"kill"` its process, which the server restarts, or as a user does."""
        if how == "kill":
            self.execute("import os; os.kill(os.getpid(), 9)")
            self.page.locator(".jp-Dialog .jp-mod-accept").click()  # "it will restart"
            return
        self.page.evaluate(
            """how => { window.jupyterapp.shell.currentWidget.context.sessionContext
                         .session.kernel[how](); }""",
            how,
        )

    def click(self, *positions: int) -> None:
        for i in positions:
            self.all.first.locator(f'[data-block="{self.names[i]}"]').click()

    def texts(self, part: str) -> list[str]:
        return self.all.locator(part).all_text_contents()

    def wait_for_status(self, words: str, seconds: float) -> None:
        """Wait until every view says so."""
        deadline = time.monotonic() + seconds
        while not all(words in text for text in self.texts("[data-part=status]")):
            assert time.monotonic() < deadline, self.texts("[data-part=status]")
            self.page.wait_for_timeout(100)

    def shown(self) -> list[str]:
        """What the tab in front of each view says."""
        return self.all.locator(".cw-tabpanel:not([hidden])").evaluate_all(
            "all => all.map(one => one.innerText)"
        )


@pytest.fixture
def views(lab, page, tmp_path):  # noqa: F811
    return Views(lab, page, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_busy_kernel_is_called_busy_in_every_tab_and_then_answers(views):
    views.make_busy(15)
    views.click(1, 2)
    views.wait_for_status("busy", 8)
    for text in views.shown():
        assert "There is no slice" not in text
        assert "not possible" not in text
        assert "does not answer" not in text
    views.wait_for_status("Slice: ", 60)
    assert not any(views.texts("[data-part=error]"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("end", ["restart", "kill", "shutdown"])
def test_a_lost_kernel_is_reported_in_every_tab(views, end):
    views.click(1, 2)
    views.wait_for_status("Slice: ", 60)
    views.end(end)
    views.click(2, 3)
    views.wait_for_status("does not answer", 10)
    for view, (text, error) in enumerate(
        zip(views.shown(), views.texts("[data-part=error]"), strict=True)
    ):
        assert "Run this cell again" in error, TABS[view]
        assert "…" not in text.replace("choose…", ""), (TABS[view], text)
    views.click(0, 1)
    views.wait_for_status("does not answer", 1)
    assert views.names[1] in views.shown()[0]
