"""The page's scripts and style sheet, and pages that need no kernel."""

import base64
import json
import re
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from ..drawing import rendering
from ..errors import CutwidgetsError
from ..files import write_whole
from ..structure.anatomy import Anatomy
from . import exports
from .exports import View

_STATIC = Path(__file__).parent / "static"

_IMPORT = re.compile(r'^import [^;]*? from "\./(\w+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?:default \w+;|\{[^}]*\};|)", re.MULTILINE)


def script(name: str = "widget.js") -> str:
    """A module of the page as one script, with all that it imports before it.

    The modules are joined without their lines of import and export, so that a browser needs no
    further request, and neither an editable install nor the wheel needs a bundler. The names that
    a module defines are therefore different from those of all others; a test checks that.

    Args:
        name: File name of the module.

    Example:
        >>> text = script("text.js")
        >>> 'from "./several.js"' in text, script("history.js").index(text)
        (False, 0)
    """
    joined: dict[str, str] = {}

    def add(name: str) -> None:
        if name not in joined:
            joined[name] = ""  # a circle of imports ends here
            source = (_STATIC / name).read_text("utf-8")
            for other in _IMPORT.findall(source):
                add(other)
            del joined[name]
            joined[name] = _EXPORT.sub("", _IMPORT.sub("", source))

    add(name)
    return "\n".join(joined.values())


SCRIPT = script() + "\nexport default widget;\n"

_SHEETS = ("panel", "tabs", "lab", "tensors", "heat")

STYLE = "\n".join(
    [rendering.STYLESHEET, *((_STATIC / f"{name}.css").read_text("utf-8") for name in _SHEETS)]
)


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


def file(
    anatomy: Anatomy, suffix: str, state: Mapping[str, Any], view: View | None = None
) -> bytes:
    """The content of a file of a panel.

    Args:
        anatomy: The anatomy of its model.
        suffix: `".svg"`, `".png"` or `".dot"` for the diagram, with the selected slice; `".html"`
            for the panel.
        state: As for `html`.
        view: What else is shown.

    Raises:
        CutwidgetsError: If the suffix is another one.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> file(cw.anatomy(keras.applications.VGG16(weights=None)), ".dot", {})[:7]
        b'digraph'
    """
    view = view or View()
    if suffix == ".html":
        shown = {**state, "_tab": view.tab, "_coloured": view.colours}
        return html(f"{anatomy.name}: cutwidgets", shown).encode()
    if suffix in (".svg", ".png", ".dot"):
        dot = exports.dot(anatomy, state, view)
        if suffix == ".png":
            return rendering.draw(dot, "png")
        return (rendering.render(dot) if suffix == ".svg" else dot).encode()
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
