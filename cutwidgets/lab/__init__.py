"""Experiments that show why residual networks are built as they are, in a line each.

Each takes a model and data, and gives a result with a `.table` (pandas), a `.plot()` (matplotlib)
and a `.finding`.
"""

from .backprop import Gradients, gradients
from .comparing import Similarity, similarity
from .deleting import Lesions, RandomLesions, Shuffles, lesions, random_lesions, shuffles
from .exiting import Exits, exits
from .fields import ReceptiveFields, receptive_fields
from .pathways import PathGradients, Paths, path_gradients, paths
from .probing import Probes, probes
from .ratios import NormRatios, norm_ratios
from .results import Result
from .teaching import Digits, Training, digits, residual_network, train, trained

__all__ = [
    "Digits",
    "Exits",
    "Gradients",
    "Lesions",
    "NormRatios",
    "PathGradients",
    "Paths",
    "Probes",
    "RandomLesions",
    "ReceptiveFields",
    "Result",
    "Shuffles",
    "Similarity",
    "Training",
    "digits",
    "exits",
    "gradients",
    "lesions",
    "norm_ratios",
    "path_gradients",
    "paths",
    "probes",
    "random_lesions",
    "receptive_fields",
    "residual_network",
    "shuffles",
    "similarity",
    "train",
    "trained",
]
