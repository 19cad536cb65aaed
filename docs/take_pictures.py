"""Take the pictures of the panel for the README: `uv run python docs/take_pictures.py`.

A small network is trained for one of them. With the ImageNet weights where they can be downloaded,
else with random ones. With a folder, `docs/take_pictures.py FOLDER`, also of all tabs, and of many
networks, to look through in there.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras
from keras import layers

import cutwidgets as cw
from cutwidgets import lab

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "tests" / "browser"))

from chromium import chromium  # noqa: E402
from panelpage import PanelPage  # noqa: E402

import networks  # noqa: E402

SCHEMES = ("light", "dark")
HEIGHT = 720
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


def encoder(depth: int = 4) -> keras.Model:
    """The encoder of a transformer."""
    tokens = keras.Input((32,), name="tokens")
    x = layers.Embedding(1000, 64)(tokens)
    for _ in range(depth):
        y = layers.MultiHeadAttention(4, 16)(x, x)
        x = layers.LayerNormalization()(layers.Add()([x, y]))
        y = layers.Dense(64)(layers.Dense(256, "gelu")(x))
        x = layers.LayerNormalization()(layers.Add()([x, y]))
    return keras.Model(tokens, layers.Dense(2, name="classes")(x), name="encoder")


APPLICATIONS = [
    "VGG16",
    "ResNet152",
    "DenseNet201",
    "InceptionResNetV2",
    "EfficientNetB7",
    "NASNetMobile",
]
NETWORKS: dict[str, Callable[[], keras.Model]] = {
    **{name: partial(networks.untrained, name) for name in (*APPLICATIONS, "NASNetMobile")},
    "unet": networks.unet,
    "encoder": encoder,
    "siamese": lambda: networks.siamese(networks.untrained("MobileNetV2")),
    "one-layer": lambda: keras.Sequential([keras.Input((8,)), layers.Dense(3)], name="one_layer"),
    "transfer": lambda: networks.transfer(networks.untrained("ResNet50")),
}


def open_panel(browser: Any, model: keras.Model, width: int, data: Any = None) -> PanelPage:
    """A page of a width with a panel."""
    page = browser.new_page(device_scale_factor=1.5, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": HEIGHT})
    view = PanelPage(page, cw.CutPanel(model, data=data))
    page.add_style_tag(content=BACKGROUND)
    return view


def take(view: PanelPage, folder: Path, name: str) -> None:
    """Take a picture in both schemes."""
    for scheme in SCHEMES:
        view.page.emulate_media(color_scheme=scheme)
        view.page.screenshot(path=folder / f"{name}-{scheme}.png")


def run_resnet(view: PanelPage) -> None:
    """Choose a slice and run it, with both of its ends in sight."""
    view.choose("conv3_block1", "conv4_block6")
    view.part("run").click()
    view.page.wait_for_selector("[data-part=features] img")
    view.page.get_by_role("button", name="Zoom out").click()
    view.block("conv3_block1").evaluate("card => card.scrollIntoView()")
    view.page.locator("[role=listbox]").evaluate("box => (box.scrollTop -= 40)")
    view.page.mouse.move(1, 1)  # nothing is hovered


def run_lesions(view: PanelPage) -> None:
    """Colour the diagram by the error without each block."""
    view.begin("lesions")
    view.finish()
    view.part("legend").wait_for()


def look_at_tabs(view: PanelPage) -> Iterator[str]:
    """Go through all tabs of a ResNet, and then into a block."""
    page = view.page
    run_resnet(view)
    yield "run"
    presses = {"check": "Run the check", "surgery": "Remove"}
    outcomes = {"code": "pre", "surgery": "dl", "save": "button"}
    for tab in ("summary", "check", "code", "costs", "surgery", "save"):
        part = view.tab(tab)
        if tab in presses:
            part.get_by_role("button", name=presses[tab]).click()
        part.locator(outcomes.get(tab, "table")).first.wait_for()
        yield tab
    run_lesions(view)
    yield "lab"
    page.locator("[role=listbox]").press("o")
    page.wait_for_selector("[data-layer]")
    yield "opened"


def look_at_refusals(view: PanelPage) -> Iterator[str]:
    """Try to cut a U-Net across its skip connections."""
    view.block("stage3_block1").click()
    last = view.block("classifier")
    last.hover()
    view.page.wait_for_selector(".cw-hinted")
    yield "greyed"
    last.click(force=True)
    view.page.wait_for_selector("[data-part=error] button")
    view.page.mouse.move(1, 1)
    yield "error"


def main() -> None:
    """Write the pictures of the README beside this file, and the rest to a folder."""
    model = resnet50()
    with chromium() as browser:
        run_resnet(view := open_panel(browser, model, 1120))
        take(view, DOCS, "panel")
        run_lesions(view := open_panel(browser, lab.trained(), 1120, lab.digits().test))
        take(view, DOCS, "lab")
        if len(sys.argv) < 2:
            return
        folder = Path(sys.argv[1])
        for width in (900, 1280):
            for network, look in ((model, look_at_tabs), (networks.unet(), look_at_refusals)):
                view = open_panel(browser, network, width)
                for name in look(view):
                    take(view, folder, f"{name}-{width}")
        for name, make in NETWORKS.items():
            view = open_panel(browser, make(), 1120)
            view.tab("costs").locator("table").wait_for()
            take(view, folder, f"network-{name}")


if __name__ == "__main__":
    main()
