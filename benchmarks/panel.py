"""The panel in a real JupyterLab in Chromium: its latencies.

From a click to the highlight and to the slice's new numbers and table, and how long a panel takes
to open. The limits are those of the project; the peer of `open` is building the model itself.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import quantiles
from time import perf_counter

import keras
from measure import Part, Row, Times, duration, spread

import cutwidgets as cw

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "browser"))

from chromium import NoBrowserError, chromium, jupyterlab

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


def clicks(rounds: int) -> tuple[list[float], list[float], bool]:
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


def latencies(rounds: int) -> Iterator[Row]:
    """The rows of what follows a click."""
    try:
        highlights, slices, overtaken = clicks(rounds)
    except NoBrowserError as error:
        yield Row("from a click to what it shows", f"not measured: {error}")
        return
    for what, times in (("the highlight", highlights), ("the slice's numbers and table", slices)):
        seconds = [milliseconds / 1000 for milliseconds in times]
        late = duration(quantiles(seconds, n=20)[-1])
        text = f"{spread(seconds, duration)}; 95 % within {late}"
        yield Row(f"from a click to {what}, {len(times)} clicks", text)
    answer = "yes" if overtaken else "no"
    yield Row("rapid clicks end in the last selection", answer, limit="yes", ok=overtaken)


def opening(name: str, limit: float, repeats: int) -> Row:
    """Opening a panel for a model of `keras.applications`, and building the model."""
    warm = keras.applications.VGG16(include_top=False, weights=None)
    cw.CutPanel(warm).get_state()  # loads what a first panel loads
    ours, peer = [], []
    for _ in range(repeats):
        begun = perf_counter()
        model = getattr(keras.applications, name)(weights=None)
        built = perf_counter()
        cw.CutPanel(model).get_state()
        ours.append(perf_counter() - built)
        peer.append(built - begun)
    row = Times(ours, peer).row(f"opening a panel of {name}", None, "keras builds the model")
    kept = sorted(ours)[len(ours) // 2] <= limit
    return replace(row, limit=f"ours ≤ {duration(limit)}", ok=kept)


def parts(quick: bool) -> dict[str, Part]:
    """What this topic measures."""
    limits = {"ResNet50": 0.5, "DenseNet201": 1.0, "EfficientNetB7": 1.0}
    opened = {"ResNet50": 0.5} if quick else limits
    return {
        **{
            f"opening a panel of {name}": partial(opening, name, limit, 1 if quick else 2)
            for name, limit in opened.items()
        },
        "clicks": partial(latencies, 2 if quick else 3),
    }
