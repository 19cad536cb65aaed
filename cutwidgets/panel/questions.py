"""Messages of the page: what they ask, and whether they ask it as the kernel understands it."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from reprlib import Repr
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import CutwidgetsError

_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 60, 60


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of the page.

    Attributes:
        question: What is asked.
        number: The page's own number of the question, which the answer carries too; or `None`.
        arguments: The rest of the message.
    """

    question: str
    number: int | None
    arguments: dict[str, Any]


def number_of(message: Any) -> int | None:
    """The number of a message of any form; `None` if it has none.

    Example:
        >>> number_of({"ask": "run", "id": 7}), number_of(["id"]), number_of({"id": float("nan")})
        (7, None, None)
    """
    number = message.get("id") if isinstance(message, Mapping) else None
    return number if type(number) is int else None


def read(message: Any, questions: Collection[str]) -> Asked:
    """Read a message of any form: {"ask": a question, "id": its number, and its arguments}.

    Raises:
        CutwidgetsError: If it asks none of the questions.

    Example:
        >>> read({"ask": "open", "id": 1, "block": "stem"}, ["open"]).arguments
        {'block': 'stem'}
        >>> read(["open"], ["open"])
        Traceback (most recent call last):
        cutwidgets.errors.CutwidgetsError: The page sent ['open'], which asks nothing...
    """
    if not isinstance(message, Mapping) or "ask" not in message:
        raise CutwidgetsError(
            f"The page sent {shown(message)}, which asks nothing: a message is a dictionary with "
            '"ask".'
        )
    question, number = message["ask"], message.get("id")
    if not isinstance(question, str) or question not in questions:
        raise CutwidgetsError(
            f"The page asked {shown(question)}, which is no question. It may ask: "
            f"{', '.join(sorted(questions))}."
        )
    if number is not None and number_of(message) is None:
        raise CutwidgetsError(
            f"The page asked {question!r} with the id {shown(number)}; it must be an integer."
        )
    arguments = {name: value for name, value in message.items() if name not in ("ask", "id")}
    return Asked(question, number, arguments)


def bind(
    method: Callable[..., Any], widget: Any, asked: Asked, buffers: Sequence[Any]
) -> Callable[[], Any]:
    """The call of a method that answers a question.

    Args:
        method: A function of the widget and of the arguments. Their annotations say what they are.
        widget: The widget.
        asked: The question.
        buffers: The bytes that came with it, for the parameter `buffers`.

    Raises:
        CutwidgetsError: If the arguments are not those of the method.

    Example:
        >>> def double(self, number: int) -> int:
        ...     return 2 * number
        >>> bind(double, None, Asked("double", None, {"number": 4}), [])()
        8
        >>> bind(double, None, Asked("double", None, {"number": "4"}), [])
        Traceback (most recent call last):
        cutwidgets.errors.CutwidgetsError: The page asked 'double' with number='4'; it must be an
        integer.
    """
    question, arguments = asked.question, dict(asked.arguments)
    if "buffers" in arguments:
        raise CutwidgetsError(f"The page asked {question!r} with 'buffers' in the message itself.")
    if buffers:
        arguments["buffers"] = list(buffers)
    try:
        inspect.signature(method).bind(widget, **arguments)
    except TypeError as problem:
        raise CutwidgetsError(f"The page asked {question!r} in a wrong way: {problem}.") from None
    hints = get_type_hints(method)
    for name, value in arguments.items():
        if not _fits(value, hints[name]):
            raise CutwidgetsError(
                f"The page asked {question!r} with {name}={shown(value)}; it must be "
                f"{_words(hints[name])}."
            )
    return lambda: method(widget, **arguments)


def shown(value: Any) -> str:
    """A value of any form and size as a short text.

    Example:
        >>> shown([[[[]]]]), shown(10**50)
        ('[[[...]]]', '100000000000000000...0000000000000000000')
    """
    try:
        return _SHORT.repr(value)
    except Exception:  # as of an integer with too many digits
        return f"a value of type {type(value).__name__}"


def _fits(value: Any, hint: Any) -> bool:
    origin, options = get_origin(hint), get_args(hint)
    if origin is Literal:
        return isinstance(value, str) and value in options
    if origin in (Union, UnionType):
        return any(_fits(value, option) for option in options)
    if origin is not None:  # a sequence
        return isinstance(value, list | tuple) and all(_fits(item, options[0]) for item in value)
    return hint is Any or type(value) is hint  # exactly: True is no integer


def _words(hint: Any) -> str:
    origin, options = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(repr, options))}"
    if origin in (Union, UnionType):
        return " or ".join(map(_words, options))
    if origin is not None:
        return f"a list, each item {_words(options[0])}"
    words = {int: "an integer", str: "a text", bool: "true or false", type(None): "null"}
    return words.get(hint, "bytes")
