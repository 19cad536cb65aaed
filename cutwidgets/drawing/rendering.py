"""DOT to SVG: in process by pygraphviz, or by a system's `dot`."""

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import close, dup, dup2
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from ..errors import CutwidgetsError

if TYPE_CHECKING:
    pass

STYLESHEET = Path(__file__).with_name("diagram.css").read_text("utf-8")


def render(dot: str) -> str:
    """Draw DOT as SVG.

    The wheel of pygraphviz draws it: alone among the wheels that we tried it holds a whole and real
    Graphviz for Linux, macOS and Windows, so that nobody has to install one, and it does so within
    the process. Where it cannot be imported, the system's `dot` draws instead.

    Args:
        dot: A graph in DOT.

    Returns:
        An `<svg>` element as text, without prolog, comments and tooltips.

    Raises:
        CutwidgetsError: If there is no Graphviz at all.

    Example:
        >>> render('digraph { a [id="first"] }')[:4]
        '<svg'
    """
    svg = draw(dot, "svg").decode()
    element = svg[svg.index("<svg") :].rstrip()
    return re.sub(r"<!--.*?-->\n?|<title>.*?</title>\n?", "", element, flags=re.DOTALL)


def draw(dot: str, form: str) -> bytes:
    """Draw DOT as a file of the form `"svg"` or `"png"`, as `render` does.

    Raises:
        CutwidgetsError: If there is no Graphviz at all.

    Example:
        >>> draw("digraph { a }", "png")[1:4]
        b'PNG'
    """
    try:
        return _draw_in_process(dot, form)
    except ImportError:
        return _draw_by_system(dot, form)


def _draw_in_process(dot: str, form: str) -> bytes:
    import pygraphviz

    with _RENDERING, _without_font_warnings():
        drawn: bytes = pygraphviz.AGraph(string=dot).draw(format=form, prog="dot")
    return drawn


def _draw_by_system(dot: str, form: str) -> bytes:
    import graphviz

    try:
        drawn: bytes = graphviz.Source(dot).pipe(format=form)
    except graphviz.ExecutableNotFound as error:
        raise CutwidgetsError(_NO_GRAPHVIZ) from error
    return drawn


_RENDERING = Lock()  # Graphviz keeps global state, and all threads share one stderr.

_NO_GRAPHVIZ = (
    "The diagram cannot be drawn: neither the Python package pygraphviz nor Graphviz's program "
    "'dot' was found. Install one of them and start Python anew. "
    "Any system: pip install pygraphviz (its wheel carries Graphviz). "
    "Linux: sudo apt install graphviz, or sudo dnf install graphviz. "
    "macOS: brew install graphviz. "
    "Windows: winget install Graphviz.Graphviz. "
    "conda: conda install -c conda-forge graphviz. "
    "All but the picture works without it."
)


@contextmanager
def _without_font_warnings() -> Iterator[None]:
    """Keep what Fontconfig says about the machine's fonts off stderr, and only that.

    Fontconfig writes to the file descriptor, past `sys.stderr`.
    """
    with tempfile.TemporaryFile() as caught:
        try:
            stderr = dup(2)
        except OSError:  # There is no stderr, as in a Windows program without a console.
            yield
            return
        dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            dup2(stderr, 2)
            close(stderr)
            caught.seek(0)
            for line in caught.read().decode(errors="replace").splitlines(keepends=True):
                if not line.startswith("Fontconfig "):
                    sys.stderr.write(line)


def html(svg: str) -> str:
    """The diagram for a page: it follows JupyterLab's theme, or else the browser's.

    Args:
        svg: What `render` gave.

    Returns:
        A `<div>` with its own style sheet, which concerns nothing outside of it.

    Example:
        >>> html("<svg></svg>").startswith('<div class="cutwidgets-diagram">')
        True
    """
    return f'<div class="cutwidgets-diagram"><style>{STYLESHEET}</style>{svg}</div>'
