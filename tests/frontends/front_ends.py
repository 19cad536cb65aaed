"""The front ends that show a panel: each opens one, of the same small model, in a page."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import anywidget
import nbformat
from chromium import PRIVATE_DIRECTORIES, end, jupyterlab

MODEL = "from cutwidgets import lab\nmodel = lab.residual_network(blocks=(2, 2), width=4)"
PANEL = "import cutwidgets as cw\npanel = cw.CutPanel(model)"
RUN_ALL = "window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => 1)"


@dataclass(frozen=True)
class FrontEnd:
    """One of them.

    Attributes:
        open: Leads a page to a panel; the second argument is an empty folder.
        needs: The package that brings it.
        has_kernel: Whether Python answers.
        is_notebook: Whether there is a cell that can be run again.
        known: Texts of faults that are the front end's own, with or without a panel.
    """

    open: Callable[..., AbstractContextManager[None]]
    needs: str
    has_kernel: bool = True
    is_notebook: bool = True
    known: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------- notebooks


def notebook(*cells: str) -> nbformat.NotebookNode:
    """A notebook of code cells."""
    kernel = {"name": "python3", "display_name": "Python 3"}  # otherwise JupyterLab asks for one
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata={"kernelspec": kernel}
    )


def executed(with_state: bool = True) -> nbformat.NotebookNode:
    """A notebook with the outputs of its cells, and with the state of its widgets or without."""
    made = deepcopy(_executed())
    if not with_state:
        del made.metadata["widgets"]
    return made


@cache
def _executed() -> nbformat.NotebookNode:
    from nbclient import NotebookClient

    made = notebook(MODEL, f"{PANEL}\npanel")
    with _environment({"TF_CPP_MIN_LOG_LEVEL": "3"}):
        NotebookClient(made, timeout=240, store_widget_state=True).execute()
    return made


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = os.environ.copy()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# --------------------------------------------------------------------------------------- servers


@contextlib.contextmanager
def _served(folder: Path, *command: str) -> Iterator[str]:
    """The URL of a server of this Python; `PORT` in the command is its port."""
    state = folder / "state"
    state.mkdir()
    environment = os.environ | {name: str(state / name) for name in PRIVATE_DIRECTORIES}
    environment |= {"XDG_CONFIG_HOME": str(state), "XDG_STATE_HOME": str(state)}
    environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", *(word.replace("PORT", str(port)) for word in command)]
    log_file = folder / "server.log"
    with log_file.open("wb") as log:
        server = subprocess.Popen(
            words, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_for_port(port, server, log_file)
        yield f"http://127.0.0.1:{port}"
    finally:
        end(server)


def _wait_for_port(port: int, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 90
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 3):
            return
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("The server does not answer:\n" + log.read_text()[-3000:])
        time.sleep(0.2)


@contextlib.contextmanager
def in_jupyterlab(page, folder: Path, shown: nbformat.NotebookNode | None = None) -> Iterator[None]:
    """A notebook in JupyterLab; without one, a new one is run."""
    root, state = folder / "notebooks", folder / "lab"
    root.mkdir()
    state.mkdir()
    nbformat.write(shown or notebook(MODEL, f"{PANEL}\npanel"), root / "test.ipynb")
    with jupyterlab(root, state) as lab:
        lab.open(page, "test.ipynb")
        if shown is None:
            lab.run_all(page)
        yield


@contextlib.contextmanager
def in_notebook_7(page, folder: Path, shown: nbformat.NotebookNode | None = None) -> Iterator[None]:
    """A notebook in Jupyter Notebook; without one, a new one is run."""
    nbformat.write(shown or notebook(MODEL, f"{PANEL}\npanel"), folder / "test.ipynb")
    options = ("--no-browser", "--ip=127.0.0.1", "--port=PORT", "--ServerApp.port_retries=0")
    options += ("--allow-root", "--IdentityProvider.token=", "--LabApp.extension_manager=readonly")
    options += ("--JupyterNotebookApp.expose_app_in_browser=True",)
    with _served(folder, "notebook", *options) as url:
        page.goto(f"{url}/notebooks/test.ipynb")
        page.wait_for_function(
            """() => window.jupyterapp?.shell?.currentWidget?.context?.sessionContext
                       ?.session?.kernel?.status === "idle" """,
            timeout=90_000,
        )
        if shown is None:
            page.evaluate(RUN_ALL)
        yield


@contextlib.contextmanager
def in_voila(page, folder: Path) -> Iterator[None]:
    """The panel in a dashboard of Voila."""
    nbformat.write(notebook(MODEL, f"{PANEL}\npanel"), folder / "test.ipynb")
    options = ("--no-browser", "--port=PORT", "--Voila.ip=127.0.0.1")
    with _served(folder, "voila", "test.ipynb", *options) as url:
        page.goto(url, timeout=240_000)
        yield


def in_marimo(shown: str) -> Callable[..., AbstractContextManager[None]]:
    """The panel in an app of marimo, as an expression shows it."""

    @contextlib.contextmanager
    def opened(page, folder: Path) -> Iterator[None]:
        cells = [f"import marimo as mo\n{MODEL}\n{PANEL}\nshown = {shown}", "shown"]
        text = "import marimo\n\napp = marimo.App()\n"
        for cell, names in zip(cells, ("", "shown"), strict=True):
            lines = [*cell.splitlines(), "return (shown,)" if not names else "return"]
            text += f"\n\n@app.cell\ndef _({names}):\n" + "\n".join(f"    {one}" for one in lines)
        (folder / "app.py").write_text(f"{text}\n")
        options = ("--headless", "--port", "PORT", "--no-token")
        with _served(folder, "marimo", "run", "app.py", *options) as url:
            page.goto(url)
            yield

    return opened


# ---------------------------------------------------------------------------------- files of HTML


@contextlib.contextmanager
def in_saved_page(page, folder: Path) -> Iterator[None]:
    """The HTML file that the panel saves."""
    page.goto(_panel().save(folder / "panel.html").as_uri())
    yield


@contextlib.contextmanager
def in_embedding(page, folder: Path) -> Iterator[None]:
    """The HTML file that ipywidgets writes."""
    from ipywidgets.embed import embed_minimal_html

    panel = _panel()
    serve_scripts(page)
    embed_minimal_html(folder / "panel.html", [panel], drop_defaults=False)
    _open(page, folder / "panel.html")
    yield


def in_nbconvert(
    with_state: bool = True, with_network: bool = True, **options: object
) -> Callable[..., AbstractContextManager[None]]:
    """The HTML file that nbconvert makes of a notebook that was run."""

    @contextlib.contextmanager
    def opened(page, folder: Path) -> Iterator[None]:
        from nbconvert import HTMLExporter

        text, _ = HTMLExporter(**options).from_notebook_node(executed(with_state))
        (folder / "notebook.html").write_text(text, "utf-8")
        if with_network:
            serve_scripts(page)
        _open(page, folder / "notebook.html")
        yield

    return opened


def _panel():
    import cutwidgets as cw
    from cutwidgets import lab

    return cw.CutPanel(lab.residual_network(blocks=(2, 2), width=4))


def _open(page, file: Path) -> None:
    # Our copies of the scripts have other bytes: the development builds of the same versions.
    text = re.sub(r' integrity="[^"]*"', "", file.read_text("utf-8"))
    file.write_text(text, "utf-8")
    page.goto(file.as_uri())


# ----------------------------------------------------------- scripts that pages load from the web

# Where pages ask for scripts; the npm package that has them; the file in it.
SCRIPTS = {
    r"/@jupyter-widgets/html-manager@[^/]*/(dist/.*)": ("@jupyter-widgets/html-manager@1", r"\1"),
    r"/anywidget@[^/]*/(dist/.*)": (f"anywidget@{anywidget.__version__}", r"\1"),
    r"/require\.js/[^/]*/require\.min\.js": ("requirejs@2", "require.js"),
}


class UnreachableError(Exception):
    """Says why npm does not give a package."""


def serve_scripts(page) -> None:
    """Answer a page's requests for scripts on the web by files of npm packages.

    What else it asks for, it gets empty.

    Raises:
        UnreachableError: If npm cannot be reached.
    """
    for name, _ in SCRIPTS.values():
        _package(name)

    def answer(route) -> None:
        url = route.request.url.partition("?")[0]
        body = b""
        for pattern, (name, file) in SCRIPTS.items():
            if match := re.search(f"{pattern}$", url):
                path = _package(name) / match.expand(file)
                if not path.suffix:
                    path = path.with_suffix(".js")
                body = path.read_bytes() if path.is_file() else b""
        kind = "text/css" if url.endswith(".css") else "text/javascript"
        allowed = {"access-control-allow-origin": "*"}
        route.fulfill(body=body, content_type=kind, headers=allowed)

    page.route(re.compile(r"^https?://(?!127\.0\.0\.1|localhost)"), answer)


@cache
def _package(name: str) -> Path:
    """The folder of an npm package, from the registry that npm is configured for."""
    npm = shutil.which("npm")
    if npm is None:
        raise UnreachableError("npm is not installed")
    folder = Path(tempfile.mkdtemp(prefix="cutwidgets-npm-"))
    asked = subprocess.run(
        [npm, "pack", "--silent", name], cwd=folder, capture_output=True, text=True, timeout=120
    )
    if asked.returncode:
        raise UnreachableError(f"npm does not give {name}: {asked.stderr.strip()[-200:]}")
    shutil.unpack_archive(next(folder.glob("*.tgz")), folder, filter="data")
    return folder / "package"
