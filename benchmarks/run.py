"""Measure cutwidgets against its peers: `uv run python benchmarks/run.py [--quick]`.

Writes `benchmarks/RESULTS.md`; with `--quick`, which repeats less, it prints only.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is loaded

import argparse
import platform
import subprocess
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

from measure import Row

TOPICS = {
    "imports": "Import",
    "cuts": "Cuts",
    "diagrams": "Anatomy and diagram",
    "passes": "Forward passes",
    "lesions": "Lesions",
}
RESULTS = Path(__file__).with_name("RESULTS.md")
HEADER = ("what", "ours", "peer", "ours / peer", "limit", "")
INTRODUCTION = """# Benchmarks

By `uv run python benchmarks/run.py`, on {machine}.

Each figure is the median, with the quartiles in brackets. Ours and the peer take turns in one
process, and the ratio is that of neighbours in time, so a busy machine slows both.
The panel's latencies, from a click to what it shows, are measured in a browser by
`benchmarks/panel.py`.
"""


def collect(topic: str, quick: bool) -> list[Row]:
    """The rows of a topic; an error becomes a row."""
    try:
        return list(import_module(topic).rows(quick))
    except Exception as error:  # the other topics go on
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return [Row(f"failed: {text:.200}", ok=False)]


def machine() -> str:
    """Versions and platform."""
    found = subprocess.run(["dot", "-V"], capture_output=True, text=True) if _has_dot() else None
    dot = found.stderr.split(" version ")[-1].split()[0] if found else "none"
    names = ("keras", "tensorflow", "graphviz", "pygraphviz", "pydot", "onnx")
    packages = ", ".join(f"{name} {_version(name)}" for name in names)
    cores = f"{os.cpu_count()} cores (load {os.getloadavg()[0]:.1f})"
    return (
        f"{platform.platform()}, {cores}; Python {platform.python_version()}, {packages}; "
        f"Graphviz' dot {dot}"
    )


def _has_dot() -> bool:
    from shutil import which

    return which("dot") is not None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed" if find_spec(name) is None else "of unknown version"


def table(rows: Iterable[Row]) -> str:
    """Rows in Markdown."""
    lines = [HEADER, ("---",) * len(HEADER)]
    for row in rows:
        lines.append((row.what, row.ours, row.peer, row.ratio, row.limit, row.verdict))
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def main() -> None:
    """Measure all, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("topics", nargs="*", choices=[[], *TOPICS], help="all without one")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, nothing is written")
    options = parser.parse_args()
    parts, begun = [INTRODUCTION.format(machine=machine())], perf_counter()
    missed = []
    for topic in options.topics or TOPICS:
        rows = collect(topic, options.quick)
        missed += [row.what for row in rows if row.ok is False]
        parts.append(f"## {TOPICS[topic]}\n\n{table(rows)}\n")
        print(parts[-1], flush=True)
    told = "; ".join(missed) or "none"
    parts.append(f"Limits missed, or failed: {told}.\n\nIt took {perf_counter() - begun:.0f} s.\n")
    print(parts[-1])
    if not options.quick and not options.topics:
        RESULTS.write_text("\n".join(parts), "utf-8")


if __name__ == "__main__":
    main()
