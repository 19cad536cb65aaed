"""Measure cutwidgets against its peers: `uv run python benchmarks/run.py [--quick] [topic...]`.

A full run writes `benchmarks/RESULTS.md`, the picture `benchmarks/anatomy-time.png`, and a short
table between the markers of the README, if it has them. With `--quick`, which repeats less, or
with topics it prints only. `--peers` finds PyTorch and ONNX: `benchmarks/peers.py` says how to
install these.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is loaded

import argparse
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from time import perf_counter

from measure import Row, attempt
from report import machine, short_table, table, write_between_markers

TOPICS = {
    "imports": "Import",
    "cuts": "Cuts",
    "changes": "Several ends, exchanges, folding and comparing",
    "peers": "Cuts and folding, against PyTorch and ONNX",
    "diagrams": "Anatomy and diagram",
    "passes": "Forward passes",
    "lesions": "Lesions",
    "panel": "The panel, in JupyterLab in Chromium",
}
HERE = Path(__file__).parent
RESULTS, PICTURE = HERE / "RESULTS.md", HERE / "anatomy-time.png"
README = HERE.parent / "README.md"
INTRODUCTION = """# Benchmarks

By `uv run python benchmarks/run.py`, on {machine}.

Each figure is the median, with the quartiles in brackets. Ours and the peer take turns in one
process, and the ratio is that of neighbours in time, so a busy machine slows both.
"""


def collect(topic: str, quick: bool) -> Iterator[Row]:
    """The rows of a topic; an error becomes a row."""
    try:
        parts = import_module(topic).parts(quick)
    except ImportError as error:
        parts = {topic: lambda error=error: _fail(error)}
    for what, part in parts.items():
        yield from attempt(what, part)


def _fail(error: Exception) -> Row:
    raise error


def measured(topics: list[str], quick: bool) -> Iterator[tuple[str, list[Row]]]:
    """Section by section, as it is measured: its text, and its rows."""
    begun, missed = perf_counter(), []
    import_module("keras")  # takes long, and is of no topic
    spent = {"loading Keras": perf_counter() - begun}
    for topic in topics:
        start = perf_counter()
        rows = list(collect(topic, quick))
        spent[topic] = perf_counter() - start
        missed += [row.what for row in rows if row.ok is False]
        yield f"## {TOPICS[topic]}\n\n{table(rows)}\n\nIt took {spent[topic]:.0f} s.\n", rows
    each = ", ".join(f"{topic} {seconds:.0f} s" for topic, seconds in spent.items())
    yield (
        f"Limits missed, or failed: {'; '.join(missed) or 'none'}.\n\n"
        f"It took {perf_counter() - begun:.0f} s: {each}.\n",
        [],
    )


def main() -> None:
    """Measure, print, and after a full run write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("topics", nargs="*", choices=[[], *TOPICS], help="all without one")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, nothing is written")
    parser.add_argument("--peers", type=Path, help="site-packages with PyTorch and ONNX")
    options = parser.parse_args()
    if options.peers:
        import_module("peers").look_in(options.peers)
    full = not options.quick and not options.topics
    sections, found = [INTRODUCTION.format(machine=machine())], []
    print(sections[0], flush=True)
    for section, rows in measured(options.topics or list(TOPICS), options.quick):
        sections.append(section)
        found += rows
        print(section, flush=True)
        if full:  # also what there is so far, should a later topic be stopped
            RESULTS.write_text("\n".join(sections), "utf-8")
    if full:
        import_module("diagrams").draw_curves(PICTURE)
        write_between_markers(README, short_table(found))


if __name__ == "__main__":
    main()
