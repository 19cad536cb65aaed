"""The end of a selection: a place, or several in a tuple or in a dictionary."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def each(end: Any) -> list[Any]:
    """All places of an end.

    Example:
        >>> each("conv3"), each(("conv3", "conv4")), each({"C3": "conv3"})
        (['conv3'], ['conv3', 'conv4'], ['conv3'])
    """
    if isinstance(end, Mapping):
        return list(end.values())
    return list(end) if isinstance(end, list | tuple) else [end]


def mapped(function: Callable[[Any], Any], end: Any) -> Any:
    """An end with a function applied to each of its places.

    Example:
        >>> mapped(str.upper, "a"), mapped(str.upper, ["a", "b"]), mapped(str.upper, {"k": "a"})
        ('A', ('A', 'B'), {'k': 'A'})
    """
    if isinstance(end, Mapping):
        return {key: function(place) for key, place in end.items()}
    return tuple(map(function, end)) if isinstance(end, list | tuple) else function(end)


def without(end: Any, position: int) -> Any:
    """Several ends without one of them; `None` if that is the only one.

    Example:
        >>> without(("a", "b"), 0), without({"k": "a", "l": "b"}, 1), without(("a",), 0)
        ('b', {'k': 'a'}, None)
    """
    if isinstance(end, Mapping):
        return {key: place for i, (key, place) in enumerate(end.items()) if i != position} or None
    rest = tuple(place for i, place in enumerate(end) if i != position)
    return rest[0] if len(rest) == 1 else rest or None


def title(selection: Sequence[Any]) -> str:
    """A selection in words.

    Example:
        >>> title(("a", "a")), title(("a", "b")), title(("a", {"k": "a", "l": "c"}))
        ('a', 'a to b', 'a to a and c')
    """
    start, end = selection
    return str(start) if start == end else f"{start} to {joined(list(map(str, each(end))))}"


def joined(names: Sequence[str]) -> str:
    """Names for a sentence.

    Example:
        >>> joined(["a"]), joined(["a", "b", "c"])
        ('a', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
