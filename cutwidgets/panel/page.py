"""The page's scripts and style, and pages that need no kernel."""

import base64
import json
import os
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from ..drawing import rendering
from ..errors import CutwidgetsError
from ..files import write
from ..structure.anatomy import Anatomy

_STATIC = Path(__file__).parent / "static"

# Parts of one module, in this order: so short files need no bundler.
_SCRIPTS = ("helpers", "diagram", "controls", "results", "studies", "lab", "offline", "panel")


def _joined(names: tuple[str, ...], ending: str) -> str:
    return "\n".join((_STATIC / f"{name}.{ending}").read_text("utf-8") for name in names)


SCRIPT = _joined(_SCRIPTS, "js")

STYLE = "\n".join([rendering.STYLESHEET, _joined(("panel", "tabs", "lab"), "css")])


def html(title: str, state: Mapping[str, Any]) -> str:
    """A panel as one HTML file, which needs neither a kernel nor a network.

    Args:
        title: Title of the page.
        state: What the panel's traits are, by their names; texts, numbers, lists, dictionaries and
            bytes.

    Example:
        >>> text = html("<b>", {"selection": ()})
        >>> "<title>&lt;b&gt;</title>" in text, "<script src" in text
        (True, False)
    """
    # Names are untrusted: "<" is written so that no name can end the script.
    data = json.dumps(_as_text(state)).replace("<", "\\u003c")
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


def _as_text(value: Any) -> Any:
    """The same with bytes as base64, which JSON can hold."""
    if isinstance(value, bytes | memoryview):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {key: _as_text(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_text(item) for item in value]
    return value


def picture(anatomy: Anatomy) -> str:
    """What stands below a panel in the notebook, for where no widget is shown.

    A notebook that is opened without a kernel, or converted, shows the diagram; one that is not
    trusted shows no SVG, but the table behind it. A live panel hides it by its style sheet.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> anatomy = cw.anatomy(keras.applications.VGG16(weights=None))
        >>> ">block5</td>" in picture(anatomy)
        True
    """
    title = f"The {len(anatomy)} blocks of {escape(anatomy.name)}; run this cell for the panel"
    return (
        # Where the SVG is taken out, its texts remain: without a size of their own, unseen.
        f'<div class="cutwidgets-static"><div style="font-size: 0px">{rendering.html(anatomy.svg)}'
        f"</div><details><summary>{title}</summary>{anatomy.html_table()}</details></div>"
    )


def file(anatomy: Anatomy, suffix: str, state: Mapping[str, Any]) -> bytes:
    """What a file of a panel holds.

    Args:
        anatomy: The anatomy of its model.
        suffix: `".svg"`, `".png"` or `".dot"` for the diagram; `".html"` for the panel.
        state: As for `html`.

    Raises:
        CutwidgetsError: If there is no such kind of file.

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
        f"A panel is saved as .keras, .svg, .png, .dot or .html, not as {suffix!r}."
    )


def whole(path: Path, save: Callable[[Path], Any]) -> None:
    """Write a new file, all of it or nothing.

    Args:
        path: The file.
        save: Writes a file at the path that it is given.

    Raises:
        CutwidgetsError: If there is one already, or it cannot be written.

    Example:
        >>> whole(Path("no folder", "a.txt"), lambda unfinished: unfinished.write_text("a"))
        Traceback (most recent call last):
        cutwidgets.errors.CutwidgetsError: Cannot save 'no folder/a.txt': No such file or directory
    """
    taken = CutwidgetsError(f"There is a file {str(path)!r} already, and it is left alone.")
    if os.path.lexists(path):
        raise taken
    try:
        write(path, save)
    except CutwidgetsError:
        raise
    except FileExistsError:
        raise taken from None
    except Exception as error:  # whatever a user's own layer raises as it is saved
        # The whole text of an error of the system would name the file beside it.
        problem = getattr(error, "strerror", None) or error
        raise CutwidgetsError(f"Cannot save {str(path)!r}: {problem}") from error
