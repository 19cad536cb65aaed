"""The names of layers: which ones Keras chose, and where their words end."""

import re
from functools import cache

# Where a word of a layer's name ends.
_BORDER = re.compile(r"(?<=[^_\-./ ])(?=[_\-./ ]|$)|(?<=\d)(?=[^_\-./ \d])")


def is_automatic(name: str, kind: str) -> bool:
    """Whether Keras derived a layer's name from its class.

    Example:
        >>> is_automatic("batch_normalization_3", "BatchNormalization"), is_automatic("bn3", "Add")
        (True, False)
    """
    return re.fullmatch(rf"{_snake(kind)}(_\d+)?", name) is not None


@cache
def _snake(kind: str) -> str:
    """The name of a class as Keras writes it in the names of layers."""
    snake = re.sub(r"\W+", "", re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", kind))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", snake).lower()


def tokens(name: str) -> list[str]:
    """The words of a layer's name, each with the separator in front of it.

    A word ends before `_`, `-`, `.`, `/` or a blank, and between a digit and a letter.

    Example:
        >>> tokens("block2a_expand_conv")
        ['block2', 'a', '_expand', '_conv']
    """
    return [word for word in _BORDER.split(name) if word] or [name]


def ends_a_word(name: str, position: int) -> bool:
    """Whether a word of a name ends right before a position.

    Example:
        >>> [name[:i] for i in range(13) if ends_a_word(name := "block2a_conv", i)]
        ['block2', 'block2a', 'block2a_conv']
    """
    return _BORDER.match(name, position) is not None
