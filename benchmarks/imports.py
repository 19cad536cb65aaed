"""How much `import cutwidgets` adds to `import keras`, in fresh interpreters."""

import json
import subprocess
import sys
from functools import partial

from measure import Part, Row, Times, duration, number, spread

HEAVY = [
    "IPython", "anywidget", "graphviz", "h5py", "ipywidgets", "jax", "matplotlib", "networkx",
    "pandas", "platformdirs", "pyarrow", "pygraphviz", "ray", "scipy", "skimage", "sklearn",
    "torch", "tqdm",
]  # fmt: skip
# Both are timed in the same interpreter: the peer first, as we import Keras anyway. Objects of
# Keras and TensorFlow are many, and a full garbage collection that falls into our share goes
# through all of them: it is told apart.
SCRIPT = f"""
import gc, json, sys
from time import perf_counter as now
begun = now()
import keras
peer, before, spent = now() - begun, set(sys.modules), [0.0]
def watch(phase, info):
    spent[0] += -now() if phase == "start" else now()
gc.callbacks.append(watch)
begun = now()
import cutwidgets
ours = now() - begun
new = [name for name in {HEAVY} if name in set(sys.modules) - before]
print(json.dumps([peer, ours, spent[0], new]))
"""


def importing(repeats: int) -> list[Row]:
    """The share that is added, and what heavy libraries it loads."""
    found = []
    for _ in range(repeats):
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
        )
        found.append(json.loads(run.stdout.splitlines()[-1]))
    peer, ours, collecting, new = ([*column] for column in zip(*found, strict=True))
    own = [one - other for one, other in zip(ours, collecting, strict=True)]
    shares = Times(own, peer).ratios
    return [
        Times(ours, peer).row("import cutwidgets, after import keras", 0.05, "import keras"),
        Row(
            "of it, without Python's garbage collection of what Keras left",
            spread(own, duration),
            ratio=spread(shares, number),
        ),
        Row(f"heavy libraries that it loads besides Keras': {', '.join(new[0]) or 'none'}"),
    ]


def parts(quick: bool) -> dict[str, Part]:
    """What this topic measures."""
    return {"import cutwidgets": partial(importing, 1 if quick else 3)}
