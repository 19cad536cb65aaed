"""The outputs of a model without some of its blocks, for pictures of one's own."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..progress import track
from .interventions import gated
from .subjects import lesionable, subject


def outputs_without(model: keras.Model, x: Any, removals: Sequence[Sequence[str]]) -> np.ndarray:
    """Compute the output of a model without each of several sets of blocks.

    The outputs are the same as those of `cutwidgets.remove(model, *names)`, but no model is built:
    a single compiled graph answers for all of them.

    Args:
        model: A built functional or Sequential model with one output. It is not changed.
        x: Input of the model, with the batch axis.
        removals: Sets of names of blocks. An empty set is the whole model.

    Returns:
        The outputs, (number of sets, batch, …).

    Raises:
        CutwidgetsError: If there are no sets, a block cannot be removed, or the data do not fit.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> model = lab.residual_network(blocks=(2, 1))
        >>> x = lab.digits().test[0][:5]
        >>> lab.outputs_without(model, x, [[], ["stage1_block1", "stage1_block2"]]).shape
        (2, 5, 10)
    """
    case = subject(model, x)
    blocks = {block.name: block for block in lesionable(case.anatomy)}
    if isinstance(removals, str) or any(isinstance(names, str) for names in removals):
        raise CutwidgetsError(
            "removals is a list of lists of names, such as [['stage1_block2']]. "
            f"Received: {removals!r:.200}."
        )
    if not removals:
        raise CutwidgetsError("removals is empty. Pass at least one list of names: [[]].")
    named = dict.fromkeys(chain(*removals))
    unknown = [name for name in named if name not in blocks]
    if unknown:
        raise CutwidgetsError(
            f"The model {case.anatomy.name!r} has no blocks that can be removed with the names "
            f"{', '.join(map(repr, unknown[:5]))}. There are: {', '.join(map(repr, blocks))}."
        )
    without = gated(case, [blocks[name] for name in named])
    return np.stack([without(names) for names in track(removals, "removing blocks")])
