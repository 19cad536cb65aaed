"""What is written: the machine, the tables, and a short one for the README."""

import os
import platform
import re
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import which

import psutil
from measure import Row

PACKAGES = ("keras", "tensorflow", "cutwidgets", "graphviz", "pygraphviz", "pydot")
PEERS = ("torch", "torchvision", "onnx")
HEADER = ("what", "ours", "peer", "ours / peer", "limit", "")
MARKERS = ("<!-- benchmarks -->", "<!-- /benchmarks -->")


def machine() -> str:
    """Versions, and what the machine is; neither its name nor where anything lies."""
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    peers = ", ".join(f"{name} {_version(name)}" for name in PEERS)
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores of {_processor()} (load {os.getloadavg()[0]:.1f} at the start), "
        f"{memory:.0f} GiB of memory, {platform.system()}; Python {platform.python_version()}, "
        f"{versions}, Graphviz' dot {_dot()}; peers: {peers}"
    )


def _processor() -> str:
    """The model of the processor."""
    file = Path("/proc/cpuinfo")
    text = file.read_text() if file.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _dot() -> str:
    if which("dot") is None:
        return "not installed"
    told = subprocess.run(["dot", "-V"], capture_output=True, text=True).stderr
    return told.split(" version ")[-1].split()[0]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def table(rows: Iterable[Row]) -> str:
    """Rows in Markdown."""
    cells = [(row.what, row.ours, row.peer, row.ratio, row.limit, row.verdict) for row in rows]
    return _markdown([HEADER, *cells])


def short_table(rows: Iterable[Row]) -> str:
    """The rows with a limit in Markdown, without their spread."""
    cells = [
        (*map(_median, (row.what, row.ours, row.peer, row.ratio)), row.limit, row.verdict)
        for row in rows
        if row.limit
    ]
    return _markdown([HEADER, *cells])


def _median(text: str) -> str:
    """A text without the quartiles in brackets."""
    return re.sub(r" \([^()]* to [^()]*\)", "", text)


def _markdown(lines: Iterable[tuple[str, ...]]) -> str:
    head, *body = lines
    cells = ([cell.replace("|", "\\|") for cell in line] for line in (head, *body))
    texts = [f"| {' | '.join(line)} |" for line in cells]
    texts.insert(1, f"|{' --- |' * len(head)}")
    return "\n".join(texts)


def write_between_markers(file: Path, text: str) -> bool:
    """Put a text between the markers of a file; whether it has them."""
    old, (begin, end) = file.read_text("utf-8"), MARKERS
    before, found, rest = old.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        return False
    file.write_text(f"{before}{begin}\n{text}\n{end}{after}", "utf-8")
    return True
