"""Experiments that show why residual networks are built as they are, in a line each.

Each takes a model and data, and gives a result with a `.table` (pandas), a `.plot()` (matplotlib)
and a `.finding`.
"""

from .deleting import Lesions, RandomLesions, Shuffles, lesions, random_lesions, shuffles
from .results import Result
from .teaching import Digits, Training, digits, residual_network, train, trained

__all__ = [
    "Digits",
    "Lesions",
    "RandomLesions",
    "Result",
    "Shuffles",
    "Training",
    "digits",
    "lesions",
    "random_lesions",
    "residual_network",
    "shuffles",
    "train",
    "trained",
]
