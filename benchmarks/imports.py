"""How much `import cutwidgets` adds to `import keras`, in fresh interpreters."""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from measure import Part, Row, Times

HEAVY = [
    "IPython", "anywidget", "graphviz", "h5py", "ipywidgets", "jax", "matplotlib", "networkx",
    "pandas", "platformdirs", "pyarrow", "pygraphviz", "ray", "scipy", "skimage", "sklearn",
    "torch", "tqdm",
]  # fmt: skip
# What is imported when it is used is timed as it is used: one after another, in one interpreter
# with the peer, which comes first as we import Keras anyway.
STATEMENTS = (
    "import cutwidgets",
    "from cutwidgets import cut",
    "from cutwidgets import CutPanel",
)
SCRIPT = f"""
import json, sys
from time import perf_counter as now
begun = now()
import keras
found, before = [now() - begun], set(sys.modules)
for statement in {STATEMENTS}:
    exec(statement)
    new = [name for name in {HEAVY} if name in set(sys.modules) - before]
    found.append((now() - begun - found[0], new))
print(json.dumps(found))
"""


def importing(repeats: int) -> Iterator[Row]:
    """The shares that are added, and what heavy libraries are loaded."""
    found = []
    for _ in range(repeats):
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
        )
        found.append(json.loads(run.stdout.splitlines()[-1]))
    peer, *ours = zip(*found, strict=True)
    for statement, runs in zip(STATEMENTS, ours, strict=True):
        seconds, new = zip(*runs, strict=True)
        text = f"{statement} (loads {', '.join(new[0]) or 'nothing'} besides)"
        yield Times(list(seconds), list(peer)).row(text, 0.05, "import keras")


def parts(quick: bool) -> dict[str, Part]:
    """What this topic measures."""
    return {"import cutwidgets": partial(importing, 1 if quick else 3)}
