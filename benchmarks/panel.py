"""Measure the panel in a real JupyterLab in Chromium: `uv run python benchmarks/panel.py`.

From a click to the highlight and to the slice's new numbers and table, and how long a panel takes
to open. The limits are those of the project; the peer of `open` is building the model itself.
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import keras

import cutwidgets as cw

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browser import chromium, jupyterlab

NOTEBOOK = """import keras, cutwidgets as cw
resnet = keras.applications.ResNet50(include_top=False, weights=None)
panel = cw.CutPanel(resnet)
panel"""
STAGES = [(f"conv{i}_block{a}", f"conv{i}_block{b}") for i in (2, 3, 4, 5) for a in (1, 2)
          for b in (2, 3)]  # fmt: skip
# The times from the second click's own time stamp to what it changed in the page.
WATCH = """
() => {
  const root = document.querySelector(".cutwidgets");
  window.times = [];
  let clicked, lit;
  root.addEventListener("click", (event) => ([clicked, lit] = [event.timeStamp, null]), true);
  new MutationObserver((changes) => {
    for (const { attributeName } of changes) {
      const now = performance.now() - clicked;
      if (attributeName === "aria-selected") lit ??= now;
      if (attributeName === "data-selection" && root.dataset.selection) {
        window.times.push([lit, now, root.dataset.selection]);
      }
    }
  }).observe(root, { attributes: true, subtree: true });
}
"""


def clicks(rounds: int = 4) -> tuple[list[float], list[float], bool]:
    """Milliseconds to the highlight, and to the slice; and whether rapid clicks end in the last."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        root, state = Path(folder, "root"), Path(folder, "state")
        root.mkdir()
        state.mkdir()
        cell = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [],
                "execution_count": None, "source": NOTEBOOK}  # fmt: skip
        spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
        notebook = {"cells": [cell], "metadata": {"kernelspec": spec}, "nbformat": 4,
                    "nbformat_minor": 5}  # fmt: skip
        (root / "panel.ipynb").write_text(json.dumps(notebook))
        with jupyterlab(root, state) as lab:
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            lab.open(page, "panel.ipynb")
            lab.run_all(page)
            page.locator(".cutwidgets").wait_for(timeout=120_000)
            page.evaluate(WATCH)
            for start, end in STAGES * rounds:
                for name in (start, end):
                    page.locator(f'[data-block="{name}"]').click()
                page.wait_for_selector(f'.cutwidgets[data-selection="{start}..{end}"]')
            times = page.evaluate("window.times")
            names = [name for pair in STAGES for name in pair]
            page.evaluate(
                """names => { for (const name of names)
                     document.querySelector(`[data-block="${name}"]`)
                       .dispatchEvent(new MouseEvent("click", { bubbles: true })); }""",
                names,
            )
            last = "..".join(names[-2:])
            page.wait_for_selector(f'.cutwidgets[data-selection="{last}"]')
            page.wait_for_timeout(500)
            answered = page.evaluate("window.times").__len__() - len(times)
            overtaken = page.evaluate(f"window.times.at(-1)[2] === {last!r}") and answered <= 3
    first = len(STAGES)  # the first round warms up
    highlights, slices = zip(*((lit, shown) for lit, shown, _ in times[first:]), strict=True)
    return list(highlights), list(slices), overtaken


def opening(name: str) -> tuple[float, float]:
    """Seconds to open a panel for a model of `keras.applications`, and to build the model."""
    begun = perf_counter()
    model = getattr(keras.applications, name)(weights=None)
    built = perf_counter()
    cw.CutPanel(model).get_state()
    return perf_counter() - built, built - begun


def main() -> None:
    """Print a table."""
    opening("VGG16")  # warms up
    for name, limit in (("ResNet50", 0.5), ("DenseNet201", 1.0), ("EfficientNetB7", 1.0)):
        seconds, built = opening(name)
        print(f"open {name}: {seconds:.3f} s (limit {limit} s; Keras builds it in {built:.2f} s)")
    highlights, slices, overtaken = clicks()
    for name, times in (("highlight", highlights), ("numbers and table", slices)):
        cuts = statistics.quantiles(times, n=20)
        print(f"click to {name}: p50 {cuts[9]:.0f} ms, p95 {cuts[18]:.0f} ms, n = {len(times)}")
    print(f"a rapid series of clicks ends in the last selection: {'yes' if overtaken else 'NO'}")


if __name__ == "__main__":
    main()
