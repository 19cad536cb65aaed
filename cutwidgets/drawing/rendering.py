"""DOT to SVG: by pygraphviz, or by a system's `dot`. And the SVG in a page."""

import base64
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from ..errors import CutwidgetsError

STYLESHEET = Path(__file__).with_name("diagram.css").read_text("utf-8")


def render(dot: str) -> str:
    """Draw DOT as SVG.

    Args:
        dot: A graph in DOT.

    Returns:
        An `<svg>` element as text, without prolog, comments and tooltips.

    Raises:
        CutwidgetsError: If there is no Graphviz at all, or it cannot draw the graph.

    Example:
        >>> render('digraph { a [id="first"] }')[:4]
        '<svg'
    """
    svg = draw(dot, "svg").decode()
    element = svg[svg.index("<svg") :].rstrip()
    return re.sub(r"<!--.*?-->\n?|<title>.*?</title>\n?", "", element, flags=re.DOTALL)


def draw(dot: str, form: str) -> bytes:
    """Draw DOT as a file of the form `"svg"` or `"png"`, as `render` does.

    The wheels of pygraphviz contain a complete Graphviz for Linux, macOS and Windows, so that
    nobody has to install one. Without pygraphviz, the system's `dot` draws.

    Raises:
        CutwidgetsError: If there is no Graphviz at all, or it cannot draw the graph.

    Example:
        >>> draw("digraph { a }", "png")[1:4]
        b'PNG'
    """
    wheel = find_spec("pygraphviz")
    if wheel is None or wheel.origin is None:
        return _draw_by_system(dot, form)
    # In a process of its own: the Fontconfig of the wheel writes warnings about newer settings of
    # the system to the file descriptor of stderr, whatever the environment says. Graphviz is not
    # thread-safe either.
    folder = Path(wheel.origin).parents[1]
    command = [sys.executable, "-P", "-c", _DRAW, form, str(folder)]
    process = subprocess.run(command, input=dot.encode(), capture_output=True, check=False)
    if process.returncode:
        lines = process.stderr.decode(errors="replace").splitlines()
        problem = [line for line in lines if not line.startswith("Fontconfig")][:1]
        raise CutwidgetsError(f"Graphviz cannot draw the diagram. {''.join(problem)}")
    return process.stdout


_DRAW = """
import sys
sys.path.append(sys.argv[2])
import pygraphviz
graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode())
sys.stdout.buffer.write(graph.draw(format=sys.argv[1], prog="dot"))
"""


def _draw_by_system(dot: str, form: str) -> bytes:
    import graphviz

    try:
        drawn: bytes = graphviz.Source(dot).pipe(format=form)
    except graphviz.ExecutableNotFound as error:
        raise CutwidgetsError(_NO_GRAPHVIZ) from error
    return drawn


_NO_GRAPHVIZ = (
    "The diagram cannot be drawn: neither the Python package pygraphviz nor Graphviz's program "
    "'dot' was found. Install one of them and restart Python. "
    "Any system: pip install pygraphviz (its wheel contains Graphviz). "
    "Linux: sudo apt install graphviz, or sudo dnf install graphviz. "
    "macOS: brew install graphviz. "
    "Windows: winget install Graphviz.Graphviz. "
    "conda: conda install -c conda-forge graphviz. "
    "Everything but the picture works without it."
)


def html(svg: str) -> str:
    """The diagram for a page, in the colours of JupyterLab's theme or else of the browser's.

    Args:
        svg: An SVG from `render`.

    Returns:
        A `<div>` with its own style sheet, which affects nothing outside it.

    Example:
        >>> html("<svg></svg>").startswith('<div class="cutwidgets-diagram">')
        True
    """
    return f'<div class="cutwidgets-diagram"><style>{STYLESHEET}</style>{svg}</div>'


def image(svg: str, text: str) -> str:
    """The diagram as an `<img>`, in colours for a light or dark page, whichever this one is.

    What removes or escapes SVG in HTML, as notebooks do that are not trusted, leaves images.

    Args:
        svg: An SVG from `render`.
        text: What the image shows, in words. Not escaped.

    Example:
        >>> image(render("digraph { a }"), "a graph")[:61]
        '<img alt="a graph" style="max-width: 100%" src="data:image/sv'
    """
    size, view_box = re.findall(r'width="[^"]*" height="[^"]*"|viewBox="[^"]*"', svg)[:2]
    whole = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="cutwidgets-diagram" {size} {view_box}>'
        f"<style><![CDATA[{STYLESHEET}{_BACKGROUND}]]></style>{svg.replace(size, '', 1)}</svg>"
    )
    data = base64.b64encode(whole.encode()).decode()
    return f'<img alt="{text}" style="max-width: 100%" src="data:image/svg+xml;base64,{data}">'


# An image has one of its own: what is around it may be of any colour.
_BACKGROUND = ".cutwidgets-diagram { background: var(--cw-card); }"
