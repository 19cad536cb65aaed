"""What a panel says when its kernel is busy, restarted or killed: in a real JupyterLab."""

import pytest
from test_jupyterlab import lab, write_notebook  # noqa: F401

PANEL = """import keras, cutwidgets as cw
x = inputs = keras.Input((8, 8, 3))
for i in range(4):
    y = keras.layers.Conv2D(3, 3, 1, "same", name=f"b{i}_conv")(x)
    x = keras.layers.Add(name=f"b{i}_add")([x, y])
cw.CutPanel(keras.Model(inputs, x))"""
TABS = ("summary", "run", "check", "code", "costs", "surgery", "lab", "save")


class Panel:
    """The panel of a notebook in JupyterLab."""

    def __init__(self, lab, page, folder):  # noqa: F811
        write_notebook(folder / "notebooks", PANEL)
        lab.open(page, "test.ipynb")
        self.page = page
        lab.run_all(page)
        self.root = page.locator(".cutwidgets:has([role=listbox])").first
        self.root.wait_for(timeout=240_000)
        self.names = self.root.locator("[data-block]").evaluate_all(
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
        stop, go_on = ("kill -{} {}".format(signal, "{os.getpid()}") for signal in ("STOP", "CONT"))
        script = f"sleep 0.2; {stop}; sleep {seconds}; {go_on}"
        self.execute(f"import os, subprocess; subprocess.Popen(['sh', '-c', f'{script}'])")
        self.page.wait_for_timeout(600)

    def end(self, how: str) -> None:
        """End the kernel: `"kill"` its process, which the server restarts, or as a user does."""
        if how == "kill":
            self.execute("import os; os.kill(os.getpid(), 9)")
            self.page.locator(".jp-Dialog .jp-mod-accept").click()  # "it will restart"
            return
        self.page.evaluate(
            """how => { const { kernel } = window.jupyterapp.shell.currentWidget.context
                          .sessionContext.session; kernel[how](); }""",
            how,
        )

    def tab(self, name: str) -> None:
        self.root.locator(f"[data-tab={name}]").click()

    def click(self, *positions: int) -> None:
        for i in positions:
            self.root.locator(f'[data-block="{self.names[i]}"]').click()

    def status(self) -> str:
        return self.root.locator("[data-part=status]").text_content()

    def shown(self) -> str:
        return self.root.locator(".cw-tabpanel:not([hidden])").text_content()

    def wait_for_status(self, word: str, seconds: float) -> None:
        line = self.root.locator("[data-part=status]").get_by_text(word)
        line.or_(self.root.locator(f"[data-part=status]:text('{word}')")).first.wait_for(
            timeout=1000 * seconds
        )


@pytest.fixture
def panel(lab, page, tmp_path):  # noqa: F811
    return Panel(lab, page, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("tab", TABS)
def test_a_busy_kernel_is_called_busy_and_then_answers(panel, tab):
    panel.tab(tab)
    panel.make_busy(12)
    panel.click(1, 2)
    panel.wait_for_status("busy", 6)
    assert "There is no slice" not in panel.shown()
    assert "not possible" not in panel.shown()
    panel.wait_for_status("Slice: ", 40)
    assert panel.root.locator("[data-part=error]").text_content() == ""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("end", ["restart", "kill", "shutdown"])
@pytest.mark.parametrize("tab", TABS)
def test_a_lost_kernel_is_reported_in_every_tab(panel, tab, end):
    panel.click(1, 2)
    panel.wait_for_status("Slice: ", 60)
    panel.tab(tab)
    panel.end(end)
    panel.click(2, 3)
    panel.wait_for_status("does not answer", 10)
    assert "Run this cell again" in panel.root.locator("[data-part=error]").text_content()
    panel.click(0, 1)
    assert "does not answer" in panel.status()
    panel.tab("summary")
    assert panel.names[1] in panel.shown()
