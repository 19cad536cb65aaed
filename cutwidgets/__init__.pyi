from . import lab
from ._anatomy import Anatomy, anatomy
from ._costs import Cost, Costs, costs
from ._features import Features, features
from .blocks import Block, Stage
from .code import to_code
from .errors import BypassedCutError, CutError, UnknownPlaceError, UnsupportedModelError
from .loading import load
from .panel import CutPanel
from .proof import Proof, check
from .removal import remove
from .running import activations
from .slicing import cut, split
from .surgery import join, replace

__all__ = [
    "Anatomy",
    "Block",
    "BypassedCutError",
    "Cost",
    "Costs",
    "CutError",
    "CutPanel",
    "Features",
    "Proof",
    "Stage",
    "UnknownPlaceError",
    "UnsupportedModelError",
    "activations",
    "anatomy",
    "check",
    "costs",
    "cut",
    "features",
    "join",
    "lab",
    "load",
    "remove",
    "replace",
    "split",
    "to_code",
]
