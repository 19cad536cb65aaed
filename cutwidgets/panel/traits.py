"""Kinds of traits of the panel."""

from collections.abc import Callable
from typing import Any

import traitlets

IN_PAGE = {"sync": True, "in_page": True}  # a page that is saved to a file has these traits too


class Selection(traitlets.Tuple):
    """`()` or a pair of places. `None` clears it, as `()` does."""

    def validate(self, obj: Any, value: Any) -> Any:
        """Check that the value is a pair, and convert it to a tuple."""
        if value is not None and not (isinstance(value, tuple | list) and len(value) in (0, 2)):
            raise traitlets.TraitError(
                f"A selection is () or (start, end), a pair of places. Received: {value!r:.200}"
            )
        return super().validate(obj, tuple(value or ()))


def answers(
    compute: Callable[..., dict[str, Any]] | None, *, until: str | None, in_page: bool = True
) -> Any:
    """A trait with the answer to a question of the page. The question has the trait's name.

    Args:
        compute: The method that computes the answer, from the arguments that the page sends along.
        until: A new `"selection"` or a new `"model"` makes the answer obsolete; `None`: nothing.
        in_page: Whether a page that is saved to a file has the answer.

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
    return traitlets.Dict().tag(sync=True, compute=compute, until=until, in_page=in_page)
