"""Which calls make probabilities of scores, and which leave values as they are."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from ..graph.callgraph import Call

# What turns scores into probabilities.
_SQUASHING = ("softmax", "sigmoid", "log_softmax", "log_sigmoid", "hard_sigmoid")

_OPERATIONS = {name.replace("_", ""): name for name in _SQUASHING}

# What only moves or copies values, or does nothing in inference mode.
_CARRYING_ROLES = ("flatten", "reordering", "dropout")
_CARRYING = (
    "Cast", "Copy", "ExpandDims", "GetItem", "Identity", "Ravel", "Squeeze", "StopGradient",
)  # fmt: skip

# Layers that apply their activation last, if Keras's own code runs them.
_ACTIVATED_ROLES = ("activation", "fully connected", "convolution", "depthwise")


def carries(call: Call) -> bool:
    """Whether a call only moves or copies the values of a single tensor."""
    if len(call.inputs) != 1:
        return False
    if call.role in _CARRYING_ROLES or call.kind in _CARRYING:
        return True
    return call.role == "activation" and not is_curved(call) and ending_of(call) is None


def is_curved(call: Call) -> bool:
    """Whether a layer applies an activation other than the identity, or may do so."""
    if call.role == "activation" and not hasattr(call.layer, "activation"):
        return True
    activation = getattr(call.layer, "activation", None)
    return activation is not None and activation is not keras.activations.linear


def ending_of(call: Call) -> str | None:
    """The softmax or sigmoid that a call applies last; `None` if there is none."""
    if not isinstance(call.layer, keras.Layer):
        return _OPERATIONS.get(call.kind.lower())
    if type(call.layer).call.__module__.partition(".")[0] != "keras":
        return None
    if isinstance(call.layer, keras.layers.Softmax):
        return "softmax"
    activation = getattr(call.layer, "activation", None)
    if call.role not in _ACTIVATED_ROLES or not callable(activation):
        return None
    return squashing_of(activation)


def squashing_of(activation: Callable[[Any], Any]) -> str | None:
    """Which of the functions a function is, judged by a value: a user's own has any name.

    Example:
        >>> squashing_of(lambda x: keras.ops.softmax(x)), squashing_of(keras.activations.relu)
        ('softmax', None)
    """
    probe = keras.ops.convert_to_tensor([[-2.0, 0.5, 1.0]])
    try:
        value = keras.ops.convert_to_numpy(activation(probe))
    except Exception:  # whatever a user's own function raises on another shape
        return None
    for name in _SQUASHING:
        expected = keras.ops.convert_to_numpy(getattr(keras.ops, name)(probe))
        if value.shape == expected.shape and np.allclose(value, expected, atol=1e-6):
            return name
    return None
