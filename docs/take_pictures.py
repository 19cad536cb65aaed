"""Take the pictures of the panel for the README: `uv run python docs/take_pictures.py`.

With the ImageNet weights where they can be downloaded, else with random ones.
"""

import sys
from pathlib import Path

import keras

import cutwidgets as cw

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "tests"))

from browser import chromium  # noqa: E402
from panelpage import PanelPage  # noqa: E402

SIZE = {"width": 1120, "height": 730}
BACKGROUND = {"light": "#ffffff", "dark": "#161b22"}


def resnet50() -> keras.Model:
    """The network of the pictures."""
    arguments = {"include_top": False, "input_shape": (224, 224, 3), "name": "resnet50"}
    try:
        return keras.applications.ResNet50(weights="imagenet", **arguments)
    except Exception as problem:
        print(f"No ImageNet weights ({problem!r:.80}), so random ones.")
        keras.utils.set_random_seed(0)
        return keras.applications.ResNet50(weights=None, **arguments)


def main() -> None:
    """Write `panel-light.png` and `panel-dark.png` beside this file."""
    model = resnet50()
    with chromium() as browser:
        for scheme, background in BACKGROUND.items():
            page = browser.new_page(viewport=SIZE, color_scheme=scheme, device_scale_factor=1.5)
            view = PanelPage(page, cw.CutPanel(model))
            page.add_style_tag(content=f"body {{ background: {background} }}")
            view.choose("conv3_block1", "conv4_block6")
            view.part("run").click()
            page.wait_for_selector("[data-part=features] img")
            # Both ends of the slice are in sight, and nothing is hovered.
            page.get_by_role("button", name="Zoom out").click()
            view.block("conv3_block1").evaluate("card => card.scrollIntoView()")
            page.locator("[role=listbox]").evaluate("box => (box.scrollTop -= 40)")
            page.mouse.move(1, 1)
            page.screenshot(path=DOCS / f"panel-{scheme}.png")


if __name__ == "__main__":
    main()
