"""Cut Keras models between their blocks.

`anatomy` finds the blocks, `cut` and `split` give plain Keras models, `check` proves them, and
`CutPanel` does all of it with two clicks in a notebook.
"""

from ._anatomy import Anatomy, anatomy
from .blocks import Block, Stage
from .errors import BypassedCutError, CutError, UnknownPlaceError, UnsupportedModelError
from .panel import CutPanel
from .proof import Proof, check
from .slicing import cut, split

__all__ = [
    "Anatomy",
    "Block",
    "BypassedCutError",
    "CutError",
    "CutPanel",
    "Proof",
    "Stage",
    "UnknownPlaceError",
    "UnsupportedModelError",
    "anatomy",
    "check",
    "cut",
    "split",
]
