"""The panel in a real JupyterLab in Chromium: its latencies.

From a click to the highlight and to the slice's new numbers and table, from the letter O to the
layers of a block, and how long a panel takes to open. The limits are those of the project; the peer
of a panel that opens is building the model itself.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import keras
from measure import Part, Row, Times, duration, spread

import cutwidgets as cw

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "browser"))

from chromium import NoBrowserError, chromium, jupyterlab

NOTEBOOK = """import functools, keras, cutwidgets as cw
cw.CutPanel({model})"""
APPLICATION = "keras.applications.{}(include_top=False, weights=None)"
# One residual block of 300 layers: a plain chain would be divided into several blocks.
LONG_BLOCK = """(lambda x: keras.Model(x, keras.layers.Add()([x, functools.reduce(
    lambda y, _: keras.layers.Dense(8)(y), range(300), x)])))(keras.Input((8,)))"""
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


@contextmanager
def panel_of(model: str) -> Iterator[Any]:
    """A page of JupyterLab with a panel of a model, given as Python."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        root, state = Path(folder, "root"), Path(folder, "state")
        root.mkdir()
        state.mkdir()
        cell = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [],
                "execution_count": None, "source": NOTEBOOK.format(model=model)}  # fmt: skip
        spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
        notebook = {"cells": [cell], "metadata": {"kernelspec": spec}, "nbformat": 4,
                    "nbformat_minor": 5}  # fmt: skip
        (root / "panel.ipynb").write_text(json.dumps(notebook))
        with jupyterlab(root, state) as lab:
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            lab.open(page, "panel.ipynb")
            lab.run_all(page)
            page.locator(".cutwidgets [data-block]").first.wait_for(timeout=120_000)
            yield page


def clicks(name: str, rounds: int) -> tuple[list[float], list[float], bool]:
    """Milliseconds to the highlight, and to the slice; and whether rapid clicks end in the last."""
    with panel_of(APPLICATION.format(name)) as page:
        page.evaluate(WATCH)
        for start, end in STAGES * rounds:
            for block in (start, end):
                page.locator(f'[data-block="{block}"]').click()
            page.wait_for_selector(f'.cutwidgets[data-selection="{start}..{end}"]')
            page.wait_for_timeout(100)  # a person reads what has changed
        times = page.evaluate("window.times")
        names = [block for pair in STAGES for block in pair]
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


def latencies(name: str, rounds: int) -> Iterator[Row]:
    """The rows of what follows a click."""
    try:
        highlights, slices, overtaken = clicks(name, rounds)
    except NoBrowserError as error:
        yield Row(f"{name}: from a click to what it shows", f"not measured: {error}")
        return
    limits = {"the highlight": (0.016, None), "the slice's numbers and table": (0.05, 0.1)}
    for (what, (middle, tail)), times in zip(limits.items(), (highlights, slices), strict=True):
        seconds = [milliseconds / 1000 for milliseconds in times]
        late = quantiles(seconds, n=20)[-1]
        text = f"{spread(seconds, duration)}; 95 % within {duration(late)}"
        limit = f"median ≤ {duration(middle)}" + (f", 95 % ≤ {duration(tail)}" if tail else "")
        kept = median(seconds) <= middle and (tail is None or late <= tail)
        title = f"{name}: from a click to {what}, {len(times)} clicks"
        yield Row(title, text, limit=limit, ok=kept)
    answer = "yes" if overtaken else "no"
    title = f"{name}: rapid clicks end in the last selection"
    yield Row(title, answer, limit="yes", ok=overtaken)


def layers(repeats: int) -> Iterator[Row]:
    """From the letter O to the layers of a block of 300 layers."""
    try:
        with panel_of(LONG_BLOCK) as page:
            times = []
            for _ in range(repeats):
                box = page.locator(".cutwidgets [role=listbox]")
                box.focus()
                page.evaluate(
                    """() => { window.pressed = performance.now();
                         window.opened = new Promise((done) => {
                           new MutationObserver((_, observer) => {
                             if (!document.querySelector("[data-layer]")) return;
                             observer.disconnect();
                             requestAnimationFrame(() => done(performance.now() - window.pressed));
                           }).observe(document.querySelector(".cutwidgets"),
                                      { childList: true, subtree: true, attributes: true });
                         }); }"""
                )
                page.keyboard.press("o")
                times.append(page.evaluate("window.opened") / 1000)
                page.keyboard.press("Backspace")
                page.locator("[data-block]").first.wait_for()
    except NoBrowserError as error:
        yield Row("opening a block of 300 layers", f"not measured: {error}")
        return
    kept = median(times) <= 0.5
    limit = f"median ≤ {duration(0.5)}"
    yield Row("opening a block of 300 layers", spread(times, duration), limit=limit, ok=kept)


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
        **{
            f"clicks in {name}": partial(latencies, name, 2 if quick else 3)
            for name in (["ResNet50"] if quick else ["ResNet50", "DenseNet201"])
        },
        "layers": partial(layers, 2 if quick else 5),
    }
