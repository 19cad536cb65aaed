"""Take pictures of the panel to look through: `python tests/browser/take_panel_pictures.py FOLDER`.

Each of fourteen models with a slice, in light and dark; every tab of three of them; one of them
in high contrast and at other widths. With names of models after the folder, only of those.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from chromium import chromium
from panel_models import MODELS
from panelpage import PanelPage

import cutwidgets as cw

SCHEMES = ("light", "dark")
WIDTH = 1280
WIDTHS = (900, 1600)
EVERY_TAB = ("resnet50", "siamese", "text")
TABS = ("summary", "run", "check", "code", "costs", "surgery", "lab", "save")

# What to press in a tab, to fill it.
PRESSES = {"check": "Run the check", "surgery": "Remove", "lab": "Run experiment"}


def open_panel(page: Any, panel: cw.CutPanel, width: int = WIDTH) -> PanelPage:
    """A page of a width with a panel."""
    page.set_default_timeout(120_000)
    page.set_viewport_size({"width": width, "height": 1000})
    page.emulate_media(reduced_motion="reduce")
    view = PanelPage(page, panel)
    view.page.add_style_tag(
        content=":root { color-scheme: light dark; background: light-dark(#ffffff, #161b22) }"
    )
    return view


def middle_slice(panel: cw.CutPanel) -> tuple[str, str]:
    """Start and end of a slice in the middle of the model, by the names of its blocks."""
    names = [block["name"] for block in panel._network["blocks"]]
    third = len(names) // 3
    for start in range(third, -1, -1):
        refused = panel._network["refused"][start]
        for end in range(len(names) - 1 - third, start - 1, -1):
            if end not in refused:
                return names[start], names[end]
    raise AssertionError("no slice can be cut from the model")


def choose(view: PanelPage) -> None:
    """Choose the slice in the middle. Its blocks may be out of sight, inside of a run."""
    start, end = middle_slice(view.panel)
    view.panel.selection = (start, end)
    view.update()
    view.wait_for(start, end)
    settle(view)


def begin_slice(view: PanelPage) -> None:
    """Choose a start, and no end yet."""
    view.page.locator("[role=option][data-block]").first.click()
    view.page.mouse.move(1, 1)  # nothing is hovered


def settle(view: PanelPage) -> None:
    """Wait until the panel waits for nothing."""
    for _ in range(600):
        thread = view.panel._thread
        if thread is not None:
            thread.join()
        view.update()
        view.page.wait_for_timeout(100)
        bars = view.page.locator(".cutwidgets progress")
        if not any(bar.is_visible() for bar in bars.all()):
            return
    raise AssertionError("the panel still waits for an answer")


def tabs(view: PanelPage, filled: bool) -> Iterator[str]:
    """Go through the tabs of a panel.

    Args:
        view: The page.
        filled: Whether to run what the tabs offer to run.
    """
    for tab in TABS:
        part = view.tab(tab)
        pressed = view.part("run") if tab == "run" else None
        if tab in PRESSES:
            pressed = part.get_by_role("button", name=re.compile(f"^{PRESSES[tab]}")).first
        settle(view)
        if filled and pressed is not None and pressed.count() and pressed.is_enabled():
            pressed.click()
            settle(view)
        view.page.mouse.move(1, 1)
        yield tab


def take(view: PanelPage, folder: Path, name: str, schemes: tuple[str, ...] = SCHEMES) -> None:
    """Take a picture of the whole panel in both schemes."""
    for scheme in schemes:
        view.page.emulate_media(color_scheme=scheme)
        view.page.locator(".cutwidgets").screenshot(path=folder / f"{name}-{scheme}.png")


def high_contrast_theme() -> str:
    """The style sheet of JupyterLab's theme of high contrast."""
    themes = Path(sys.prefix) / "share" / "jupyter" / "lab" / "themes" / "@jupyterlab"
    return (themes / "theme-dark-high-contrast-extension" / "index.css").read_text("utf-8")


def take_in_high_contrast(view: PanelPage, folder: Path, name: str) -> None:
    """Take pictures in the system's colours, with more contrast, and in JupyterLab's theme."""
    view.page.emulate_media(forced_colors="active")
    take(view, folder, f"{name}-forced")
    view.page.emulate_media(forced_colors="none", contrast="more")
    take(view, folder, f"{name}-more")
    view.page.add_style_tag(content=high_contrast_theme())
    view.page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    take(view, folder, f"{name}-theme", ("dark",))


def take_all_of(browser: Any, name: str, folder: Path) -> None:
    """All pictures of a model."""
    panel = cw.CutPanel(MODELS[name]())
    view = open_panel(browser.new_page(), panel)
    choose(view)
    take(view, folder, name)
    if name in EVERY_TAB:
        for tab in tabs(view, filled=True):
            take(view, folder, f"{name}-{tab}")
        view.tab("summary")
        begin_slice(view)
        take(view, folder, f"{name}-pending")
        view.page.keyboard.press("Escape")
        for width in WIDTHS:
            view.page.set_viewport_size({"width": width, "height": 1000})
            view.page.wait_for_timeout(300)
            take(view, folder, f"{name}-{width}")
        view.page.set_viewport_size({"width": WIDTH, "height": 1000})
    if name == EVERY_TAB[0]:
        take_in_high_contrast(view, folder, name)
    view.page.close()


def main() -> None:
    """Write the pictures to the folder that the command names."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for name in sys.argv[2:] or MODELS:
            take_all_of(browser, name, folder)
            print(name, flush=True)


if __name__ == "__main__":
    main()
