"""Kinds of traits of the panel."""

from collections.abc import Callable, Mapping
from typing import Any, get_args

import traitlets

from ..surgery.build import Weights
from .ends import each
from .questions import shown

IN_PAGE = {"sync": True, "in_page": True}  # a page that is saved to a file has these traits too


class Selection(traitlets.Tuple):
    """`()` or a pair of start and end, which may be several. `None` clears it, as `()` does."""

    def validate(self, obj: Any, value: Any) -> Any:
        """Check that the value is a pair, and convert it to a tuple."""
        if value is not None and not (isinstance(value, tuple | list) and len(value) in (0, 2)):
            raise traitlets.TraitError(
                f"A selection is () or (start, end), a pair of places. Received: {value!r:.200}"
            )
        if value and not _are_ends(value[1], object):
            raise traitlets.TraitError(
                "The end of a selection is a place, a list of places, or a dictionary of places by "
                f"texts; not an empty one. Received: {value[1]!r:.200}"
            )
        return super().validate(obj, tuple(value or ()))


def _are_ends(end: Any, *kinds: type) -> bool:
    """Whether an end is a place or several, all of some kinds."""
    keys = list(end) if isinstance(end, Mapping) else []
    is_keyed = all(isinstance(key, str) and key for key in keys)
    return bool(each(end)) and is_keyed and all(_is_of(place, kinds) for place in each(end))


def _is_of(place: Any, kinds: tuple[type, ...]) -> bool:
    return object in kinds or type(place) in kinds


# The traits that the page may set, and to what.
_SETTABLE: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "selection": (
        "[] or [start, end], a pair of names or positions of blocks; or several ends, as a list or "
        "a dictionary",
        lambda value: (
            isinstance(value, list | tuple)
            and len(value) in (0, 2)
            and (not value or (type(value[0]) in (str, int) and _are_ends(value[1], str, int)))
        ),
    ),
    "allow_bypass": ("true or false", lambda value: type(value) is bool),
    "weights": (
        " or ".join(map(repr, get_args(Weights))),
        lambda value: isinstance(value, str) and value in get_args(Weights),
    ),
}


def problems(state: Mapping[str, Any]) -> dict[str, str]:
    """For each value that the page may not set, why not.

    Example:
        >>> problems({"selection": ["stem", "top"], "weights": "own", "_network": {}})
        {'weights': "The page set weights to 'own'; it must be 'share' or 'copy'.",
        '_network': "The page may not set '_network': it may set selection, allow_bypass, weights."}
    """
    found = {}
    for name, value in state.items():
        words, is_valid = _SETTABLE.get(name, ("", None))
        if is_valid is None:
            allowed = ", ".join(_SETTABLE)
            found[name] = f"The page may not set {shown(name)}: it may set {allowed}."
        elif not is_valid(value):
            found[name] = f"The page set {name} to {shown(value)}; it must be {words}."
    return found


def answers(
    compute: Callable[..., Any],
    *,
    until: str | None,
    in_page: bool = True,
    job: bool = False,
    label: str = "",
    keep: Callable[..., dict[str, Any]] | None = None,
) -> Any:
    """A trait with the answer to a question of the page. The question has the trait's name.

    Args:
        compute: The method that computes the answer, from the arguments that the page sends along;
            for a job, the method that returns the work, bound to all that it needs.
        until: A new `"selection"` or a new `"model"` makes the answer obsolete; `None`: nothing.
        in_page: Whether a page that is saved to a file has the answer.
        job: Whether the answer is computed in a thread.
        label: What the kernel does, to tell the page before; for what may take seconds, but is no
            job.
        keep: The method that keeps the result of a job, and returns what the page gets of it.

    Example:
        >>> class Adder(traitlets.HasTraits):
        ...     def add(self, a, b):
        ...         return {"sum": a + b}
        ...
        ...     _sum = answers(add, until=None)
        >>> adder = Adder()
        >>> adder.traits(compute=callable)["_sum"].metadata["compute"](adder, a=1, b=2)
        {'sum': 3}
    """
    return traitlets.Dict().tag(
        sync=True,
        compute=compute,
        until=until,
        in_page=in_page,
        job=job,
        label=label,
        keep=keep,
    )
