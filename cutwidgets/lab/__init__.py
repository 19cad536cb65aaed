"""Studies that show, in one line each, why residual networks are built as they are.

A study is a function of a model and data. Its `Result` has a `.table` (pandas), a `.plot()`
(matplotlib) and a `.finding`. The libraries come with the extra `lab`.
"""

from .alignment import Alignment, alignment
from .controls import untrained
from .digits import Digits, digits
from .early_exits import Exits, exits
from .grad_cam import GradCam, grad_cam
from .gradients import Gradients, gradients
from .lens import Lens, lens
from .lesions import Lesions, RandomLesions, Shuffles, lesions, random_lesions, shuffles
from .linear_probes import Probes, probes
from .networks import residual_network
from .norm_ratios import NormRatios, norm_ratios
from .paths import PathGradients, Paths, path_gradients, paths
from .pruning import Pruned, prune
from .receptive_fields import ReceptiveFields, receptive_fields
from .removals import outputs_without
from .results import Result
from .similarity import Similarity, similarity
from .stitching import Stitching, stitch
from .training import Training, train, trained

__all__ = [
    "Alignment",
    "Digits",
    "Exits",
    "GradCam",
    "Gradients",
    "Lens",
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
    "Stitching",
    "Training",
    "alignment",
    "digits",
    "exits",
    "grad_cam",
    "gradients",
    "lens",
    "lesions",
    "norm_ratios",
    "outputs_without",
    "path_gradients",
    "paths",
    "probes",
    "prune",
    "random_lesions",
    "receptive_fields",
    "residual_network",
    "shuffles",
    "similarity",
    "stitch",
    "train",
    "trained",
    "untrained",
]
