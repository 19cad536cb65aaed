"""The page's scripts and style sheet, and pages that need no kernel."""

import base64
import json
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from ..drawing import rendering
from ..errors import CutwidgetsError
from ..files import write_whole
from ..structure.anatomy import Anatomy

_STATIC = Path(__file__).parent / "static"

# Parts of one module, in this order: files so short need no bundler.
_SCRIPTS = (
    "helpers",
    "diagram",
    "controls",
    "results",
    "tabs",
    "lab",
    "offline",
    "picture",
    "panel",
)


def _joined(names: tuple[str, ...], ending: str) -> str:
    return "\n".join((_STATIC / f"{name}.{ending}").read_text("utf-8") for name in names)


SCRIPT = _joined(_SCRIPTS, "js")

STYLE = "\n".join([rendering.STYLESHEET, _joined(("panel", "tabs", "lab"), "css")])


def html(title: str, state: Mapping[str, Any]) -> str:
    """A panel as one HTML file, which needs neither a kernel nor a network.

    Args:
        title: Title of the page.
        state: Values of the panel's traits by name: texts, numbers, lists, dictionaries, bytes.

    Example:
        >>> text = html("<b>", {"selection": ()})
        >>> "<title>&lt;b&gt;</title>" in text, "<script src" in text
        (True, False)
    """
    # Names are untrusted: "<" is written so that no name can end the script.
    data = json.dumps(as_text(state)).replace("<", "\\u003c")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<style>
{STYLE}
html {{ color-scheme: light dark; }}
body {{ margin: 12px; background: light-dark(#ffffff, #161b22); }}
</style>
</head>
<body>
<main id="panel"></main>
<script type="module">
{SCRIPT}
widget.render({{ model: offlineModel({data}), el: document.getElementById("panel") }});
</script>
</body>
</html>
"""


def as_text(value: Any) -> Any:
    """The value with all bytes as base64, for JSON; `fromText` of the page is the inverse."""
    if isinstance(value, bytes | memoryview):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {key: as_text(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_text(item) for item in value]
    return value


def picture(anatomy: Anatomy, token: str) -> str:
    """The diagram and a table as HTML, to show below a panel where widgets do not work.

    A notebook that is opened without a kernel, or converted, shows them. Where the panel is drawn,
    `picture.js` hides them.

    Args:
        anatomy: The anatomy of the panel's model.
        token: Names the panel. It is in a class, which is all that sanitizers leave.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> html = picture(cw.anatomy(keras.applications.VGG16(weights=None)), "1a2b")
        >>> html[:50], ">block5</td>" in html
        ('<div class="cutwidgets-static cutwidgets-of-1a2b">', True)
    """
    title = f"The {len(anatomy)} blocks of {escape(anatomy.name)}"
    return (
        f'<div class="cutwidgets-static cutwidgets-of-{token}">'
        f"{rendering.image(anatomy.svg, title)}<details><summary>{title}; in a notebook, run "
        f"the cell for the panel</summary>{anatomy.html_table()}</details></div>"
    )


def file(anatomy: Anatomy, suffix: str, state: Mapping[str, Any]) -> bytes:
    """The content of a file of a panel.

    Args:
        anatomy: The anatomy of its model.
        suffix: `".svg"`, `".png"` or `".dot"` for the diagram; `".html"` for the panel.
        state: As for `html`.

    Raises:
        CutwidgetsError: If the suffix is another one.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> file(cw.anatomy(keras.applications.VGG16(weights=None)), ".dot", {})[:7]
        b'digraph'
    """
    if suffix == ".svg":
        return anatomy.svg.encode()
    if suffix == ".dot":
        return anatomy.dot.encode()
    if suffix == ".png":
        return rendering.draw(anatomy.dot, "png")
    if suffix == ".html":
        return html(f"{anatomy.name}: cutwidgets", state).encode()
    raise CutwidgetsError(
        f"A panel can be saved as .keras, .svg, .png, .dot or .html. Received: {suffix!r}."
    )


def whole(path: Path, save: Callable[[Path], Any]) -> None:
    """Write a new file as a whole or not at all.

    Args:
        path: The file.
        save: Writes the file to the path that it receives.

    Raises:
        CutwidgetsError: If the file exists already or cannot be written.
    """
    try:
        write_whole(path, save)
    except CutwidgetsError:
        raise
    except Exception as error:  # whatever a user's own layer raises as it is saved
        raise CutwidgetsError(f"Cannot save {str(path)!r}: {error}") from error
