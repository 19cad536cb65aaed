"""Studies that show, in one line each, why residual networks are built as they are.

A study is a function of a model and data. Its `Result` has a `.table` (pandas), a `.plot()`
(matplotlib) and a `.finding`. The libraries come with the extra `lab`.
"""

from .controls import untrained
from .digits import Digits, digits
from .early_exits import Exits, exits
from .gradients import Gradients, gradients
from .lesions import Lesions, RandomLesions, Shuffles, lesions, random_lesions, shuffles
from .linear_probes import Probes, probes
from .networks import residual_network
from .norm_ratios import NormRatios, norm_ratios
from .paths import PathGradients, Paths, path_gradients, paths
from .pruning import Pruned, prune
from .receptive_fields import ReceptiveFields, receptive_fields
from .results import Result
from .similarity import Similarity, similarity
from .training import Training, train, trained

__all__ = [
    "Digits",
    "Exits",
    "Gradients",
    "Lesions",
    "NormRatios",
    "PathGradients",
    "Paths",
    "Probes",
    "Pruned",
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
    "prune",
    "random_lesions",
    "receptive_fields",
    "residual_network",
    "shuffles",
    "similarity",
    "train",
    "trained",
    "untrained",
]
