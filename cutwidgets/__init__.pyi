from . import lab
from .analysis.costs import Cost, Costs, costs
from .blocks.blocks import Block, Stage
from .comparison.comparison import Comparison, compare
from .errors import (
    BypassedCutError,
    CutError,
    CutwidgetsError,
    UnknownPlaceError,
    UnsupportedModelError,
)
from .extraction.features import Features, features
from .inference.activations import activations
from .loading import load
from .panel.panel import CutPanel
from .structure.anatomy import Anatomy, anatomy
from .surgery.checking import Check, check
from .surgery.folding import fold
from .surgery.joining import join
from .surgery.removal import remove
from .surgery.replacement import insert, replace
from .surgery.script import to_code
from .surgery.slicing import cut, split

__version__: str

__all__ = [
    "Anatomy",
    "Block",
    "BypassedCutError",
    "Check",
    "Comparison",
    "Cost",
    "Costs",
    "CutError",
    "CutPanel",
    "CutwidgetsError",
    "Features",
    "Stage",
    "UnknownPlaceError",
    "UnsupportedModelError",
    "activations",
    "anatomy",
    "check",
    "compare",
    "costs",
    "cut",
    "features",
    "fold",
    "insert",
    "join",
    "lab",
    "load",
    "remove",
    "replace",
    "split",
    "to_code",
]
