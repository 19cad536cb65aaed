"""A real Chromium and a real JupyterLab for the tests and for `docs/take_pictures.py`."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlparse

PRIVATE_DIRECTORIES = (
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
    "JUPYTERLAB_SETTINGS_DIR",
    "JUPYTERLAB_WORKSPACES_DIR",
    "IPYTHONDIR",
)


class NoBrowserError(Exception):
    """Says why there is no browser to test with."""


@contextlib.contextmanager
def chromium() -> Iterator:
    """A Chromium of Playwright's, with nothing to reach but this machine."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise NoBrowserError("playwright is not installed") from error
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, filter(None, names))), None)
    if path is None:
        raise NoBrowserError("no Chromium on PATH or in the variable CHROMIUM")
    arguments = [
        "--disable-gpu", "--disable-quic", "--disable-sync", "--disable-component-update",
        "--disable-background-networking", "--no-first-run",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
    ]  # fmt: skip
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


def watch(page) -> list[str]:
    """A list that grows with every fault of a page: errors, and requests off this machine."""
    faults: list[str] = []

    def requested(request) -> None:
        url = urlparse(request.url)
        local = url.hostname in ("127.0.0.1", "localhost")
        if url.scheme in ("http", "https", "ws", "wss") and not local:
            faults.append(f"request off this machine: {request.url}")

    page.on("request", requested)
    page.on("pageerror", lambda error: faults.append(f"exception: {error}"))
    page.on(
        "console",
        lambda m: faults.append(f"console: {m.text} {m.location}") if m.type == "error" else None,
    )
    return faults


@contextlib.contextmanager
def jupyterlab(root: Path, state: Path, seconds: float = 90) -> Iterator["Lab"]:
    """A JupyterLab of this Python that shows the notebooks in `root`, with its files in `state`."""
    settings = state / "JUPYTERLAB_SETTINGS_DIR" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    silent = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(silent))
    environment = os.environ | {name: str(state / name) for name in PRIVATE_DIRECTORIES}
    environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    # What else it takes is in jupyter_lab_config.py, and found there as for a user.
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={root}",
        f"--IdentityProvider.token={token}",
        "--LabApp.expose_app_in_browser=True",
    ]
    log_file = state / "jupyterlab.log"
    with log_file.open("wb") as log:
        server = subprocess.Popen(
            command, cwd=root, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for_server(f"{url}/api/status?token={token}", server, log_file, seconds)
        yield Lab(url, token)
    finally:
        end(server)


def wait_for_server(url: str, server: subprocess.Popen, log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=3):
            return
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("JupyterLab does not answer:\n" + log.read_text()[-3000:])
        time.sleep(0.2)


def end(server: subprocess.Popen) -> None:
    """End the server and its kernels, which are the members of its own process group."""
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL) if os.name == "posix" else server.kill()
        server.wait(10)


class Lab:
    """A running JupyterLab; `window.jupyterapp` is its application in the page."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token

    def open(self, page, notebook: str) -> None:
        """Open a notebook and wait until its kernel can be used."""
        page.goto(f"{self.url}/lab/tree/{quote(notebook)}?reset&token={self.token}")
        page.wait_for_function("window.jupyterapp && window.jupyterapp.shell", timeout=90_000)
        page.wait_for_function(
            """() => window.jupyterapp.shell.currentWidget?.context?.sessionContext
                       ?.session?.kernel?.status === "idle" """,
            timeout=90_000,
        )

    def run_all(self, page) -> None:
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => 1)")

    def theme(self, page, name: str) -> None:
        """Choose the theme `"Light"` or `"Dark"`."""
        page.evaluate(
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
            f"JupyterLab {name}",
        )
        light = "true" if name == "Light" else "false"
        page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=light)
