"""A plain page in Chromium with views of tensors, without a panel around them."""

import json

import numpy as np

from cutwidgets.panel import page as panel_page
from cutwidgets.panel.page import as_text
from cutwidgets.panel.tensor_views import maps

STATIC = panel_page._STATIC
SHEETS = ("panel", "tabs", "tensors")

SHOW = """
async ({ script, views }) => {
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const { createTensorView } = await import(url);
  const bytes = (data) => data.picture
    ? { ...data, picture: Uint8Array.from(atob(data.picture.base64), (c) => c.charCodeAt(0)) }
    : data;
  window.slides = [];
  window.views = views.map(({ which, data, offline }) => {
    const view = createTensorView(which, bytes(data), {
      slide: (first) => window.slides.push(first), offline,
    });
    document.querySelector(".cw-panel").append(view.element);
    return { ...view, update: (now) => view.update(bytes(now)) };
  });
}
"""


def script() -> str:
    """The module `tensors.js` with what it imports, as one script."""
    return panel_page.script("tensors.js") + "\nexport { createTensorView };\n"


def data_of(array, first: int = 0, channel_axis: int = -1, padding: bool = False) -> dict:
    """What the kernel sends for a tensor, as JSON."""
    return json.loads(json.dumps(as_text(maps(np.asarray(array), first, channel_axis, padding))))


class TensorPage:
    """A page with views of tensors."""

    def __init__(self, page, *data: dict, which: str = "output", offline: bool = False) -> None:
        self.page = page
        style = "\n".join((STATIC / f"{name}.css").read_text("utf-8") for name in SHEETS)
        page.set_content(
            f'<!doctype html><html lang="en"><title>tensors</title><style>{style} html {{ '
            "color-scheme: light dark; } body { background: light-dark(#fff, #161b22); }</style>"
            '<body><main class="cw-panel" style="width: 560px"><h1 hidden>tensors</h1></main>'
        )
        views = [{"which": which, "data": one, "offline": offline} for one in data]
        page.evaluate(SHOW, {"script": script(), "views": views})
        self.wait()

    def wait(self) -> None:
        """Wait until all pictures are drawn."""
        page = self.page
        page.wait_for_function(
            """() => [...document.querySelectorAll(".cw-tiles, .cw-plot:has(> .cw-area > canvas)")]
              .every((one) => one.dataset.drawn !== undefined || one.closest("dialog"))"""
        )

    def update(self, data: dict, view: int = 0) -> None:
        self.page.evaluate("([i, data]) => window.views[i].update(data)", [view, data])

    def figure(self, view: int = 0):
        return self.page.locator("figure.cw-tensor").nth(view)

    def pixels(self, canvas) -> np.ndarray:
        """What is on a canvas, as an array (height, width, 4)."""
        width, height, values = canvas.evaluate(
            """(one) => [one.width, one.height, [...one.getContext("2d")
              .getImageData(0, 0, one.width, one.height).data]]"""
        )
        return np.array(values).reshape(height, width, 4)

    def colour(self, scheme: str) -> None:
        """Show the page in the scheme `"light"` or `"dark"`."""
        self.page.emulate_media(color_scheme=scheme)
