"""Take the pictures of the panel for the README: `uv run python docs/take_pictures.py`.

A small network is trained for one of them. With the ImageNet weights where they can be downloaded,
else with random ones. `tests/browser/take_panel_pictures.py` takes those of all tabs and of many
networks, to look through.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import keras

import cutwidgets as cw
from cutwidgets import lab

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "tests" / "browser"))

from chromium import chromium  # noqa: E402
from panelpage import PanelPage  # noqa: E402

SCHEMES = ("light", "dark")
SIZE = {"width": 1120, "height": 800}
BACKGROUND = ":root { color-scheme: light dark; background: light-dark(#ffffff, #161b22) }"


def resnet50() -> keras.Model:
    """The network of the pictures."""
    build = partial(keras.applications.ResNet50, include_top=False, input_shape=(224, 224, 3))
    try:
        return build(weights="imagenet", name="resnet50")
    except Exception as problem:
        print(f"No ImageNet weights ({problem!r:.80}), so random ones.")
        keras.utils.set_random_seed(0)
        return build(weights=None, name="resnet50")


def open_panel(browser: Any, model: keras.Model, data: Any = None) -> PanelPage:
    """A page with a panel."""
    page = browser.new_page(device_scale_factor=1.5, reduced_motion="reduce", viewport=SIZE)
    view = PanelPage(page, cw.CutPanel(model, data=data))
    page.add_style_tag(content=BACKGROUND)
    return view


def take(view: PanelPage, name: str) -> None:
    """Take a picture in both schemes."""
    view.page.mouse.move(1, 1)  # nothing is hovered
    for scheme in SCHEMES:
        view.page.emulate_media(color_scheme=scheme)
        view.page.locator(".cutwidgets").screenshot(path=DOCS / f"{name}-{scheme}.png")


def run_resnet(view: PanelPage) -> None:
    """Choose a slice and run it, with both of its ends in sight."""
    view.choose("conv3_block1", "conv4_block6")
    view.part("run").click()
    view.page.wait_for_selector("[data-part=features] canvas")
    view.block("conv3_block1").evaluate("card => card.scrollIntoView()")
    view.page.locator("[role=listbox]").evaluate("box => (box.scrollTop -= 60)")


def run_lesions(view: PanelPage) -> None:
    """Colour the diagram by the error without each block."""
    view.begin("lesions")
    view.finish()
    view.part("legend").wait_for()


def main() -> None:
    """Write the pictures of the README beside this file."""
    with chromium() as browser:
        run_resnet(view := open_panel(browser, resnet50()))
        take(view, "panel")
        run_lesions(view := open_panel(browser, lab.trained(), lab.digits().test))
        take(view, "lab")


if __name__ == "__main__":
    main()
