"""The names of layers: which ones Keras chose, and where their words end."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from itertools import accumulate
from os.path import commonprefix

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


def common_begin(names: Sequence[str]) -> str | None:
    """The longest common beginning of names that ends at the end of a word in each.

    Example:
        >>> common_begin(["conv3_block1_1_conv", "conv3_block1_out"]), common_begin(["a1", "b1"])
        ('conv3_block1', None)
    """
    begin = commonprefix(names)  # noqa: RUF071 (characters are meant)
    while begin and not all(ends_a_word(name, len(begin)) for name in names):
        begin = begin[:-1]
    return begin or None


def beginnings(names: Iterable[str]) -> Counter[str]:
    """How many names begin with the same words, for each of their beginnings.

    Example:
        >>> beginnings(["conv1_bn", "conv1_out"])
        Counter({'conv1': 2, 'conv1_bn': 1, 'conv1_out': 1})
    """
    return Counter(begin for name in names for begin in _beginnings_of(name))


@lru_cache(maxsize=1 << 16)
def _beginnings_of(name: str) -> tuple[str, ...]:
    return tuple(accumulate(tokens(name)))


def number_in(name: str) -> int | None:
    """The last number in a name.

    Example:
        >>> number_in("net1_stage_3"), number_in("bridge")
        (3, None)
    """
    numbers = re.findall(r"\d+", name)
    return int(numbers[-1]) if numbers else None
