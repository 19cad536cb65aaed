"""Write values as Python does, in lines as `ruff format` and `black` break them."""

import keyword
import re
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np

WIDTH = 88  # that of ruff and black

MOST = 1_000  # elements of a constant that a script holds


class UnwritableError(Exception):
    """Something cannot be written; the message goes on behind the name of the layer."""


@dataclass(frozen=True, slots=True)
class Expression:
    """The text that stands for a tensor in a script."""

    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """Something in brackets, such as a list or a call: items, each behind a text such as `key=`."""

    open: str
    items: tuple[tuple[str, "Node"], ...]
    close: str


Node: TypeAlias = str | Group


def node(value: Any) -> Node:
    """A value as Python writes it.

    Raises:
        UnwritableError: If it cannot be written.
    """
    if isinstance(value, Expression):
        return value.text
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return Group("[", tuple(("", node(item)) for item in value), "]")
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return Group("(", tuple(("", node(item)) for item in value), ")")
    if isinstance(value, dict):
        items = tuple((f"{flat(node(key))}: ", node(item)) for key, item in value.items())
        return Group("{", items, "}")
    if isinstance(value, slice):
        bounds = (value.start, value.stop, *([] if value.step is None else [value.step]))
        return Group("slice(", tuple(("", node(bound)) for bound in bounds), ")")
    return _atom(value)


def _atom(value: Any) -> Node:
    if value is Ellipsis:
        return "..."
    if isinstance(value, np.dtype) or type(value).__name__ in ("DType", "dtype"):
        return quoted(keras.backend.standardize_dtype(value))
    is_constant = keras.ops.is_tensor(value) and not isinstance(value, keras.Variable)
    if isinstance(value, np.ndarray | np.generic) or is_constant:
        return _array(np.asarray(keras.ops.convert_to_numpy(value)))
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        text = float.__repr__(value)
        return text if np.isfinite(value) else f'float("{text}")'
    raise UnwritableError(
        f"is called with {value!r:.60}, which no script can hold. Put it into the layer."
    )


def _array(array: np.ndarray) -> Node:
    """A constant, exactly."""
    name = array.dtype.name
    if array.size > MOST or (array.dtype.kind not in "biuf" and name != "bfloat16"):
        raise UnwritableError(
            f"is called with a constant of shape {array.shape}, {name}, and a script holds "
            f"numbers, at most {MOST:,} of them. Put the constant into a weight of a layer."
        )
    function = "array" if array.size else "zeros"
    value = _numbers(array) if array.size else node(array.shape)
    return Group(f"numpy.{function}(", (("", value), ("", quoted(name))), ")")


def _numbers(array: np.ndarray) -> Node:
    if array.ndim:
        return Group("[", tuple(("", _numbers(item)) for item in array), "]")
    if array.dtype.kind in "biu":
        return repr(array.item())
    if not np.isfinite(array):
        return {"inf": "numpy.inf", "-inf": "-numpy.inf"}.get(str(array), "numpy.nan")
    short = repr(float(str(array)))
    exact = np.array(float(short), array.dtype) == array
    return short if exact else repr(float(array))


def keyword_text(name: str) -> str:
    """The name of a keyword argument.

    Raises:
        UnwritableError: If it is no name.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise UnwritableError(f"is called with an argument {name!r}, which is no name.")
    return name


def quoted(text: str) -> str:
    """A string literal in double quotes, or in single ones where that takes fewer backslashes."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    escaped = "".join(c if c in "'\"" else repr(c)[1:-1] for c in text)
    return quote + escaped.replace(quote, f"\\{quote}") + quote


def shown(name: str) -> str:
    """A name for comments, safe and not too long."""
    return repr(name if len(name) <= 60 else f"{name[:59]}…")


def formatted(node: Node, before: str = "") -> str:
    """A statement, behind a text such as `x = `, in lines of at most `WIDTH` letters."""
    return "\n".join(_lines(node, "", before, ""))


def _lines(node: Node, indent: str, before: str, after: str) -> list[str]:
    """Lines of code as `ruff format` and `black` would break them."""

    def fits(line: str) -> bool:
        return len(indent) + len(line) <= WIDTH

    line = f"{before}{flat(node, after)}"
    if isinstance(node, str) or fits(line):
        return [indent + line]
    inner, begin, lines = f"{indent}    ", before + node.open, list[str]()
    subscript = re.fullmatch(r"(\w+\[)(.+)(\]\()", node.open)
    if subscript and not fits(begin):
        lines = [f"{indent}{before}{subscript[1]}", f"{inner}{subscript[2]}"]
        rest = Group(subscript[3], node.items, node.close)
        return lines + _lines(rest, indent, "", after)
    lines = [indent + begin]
    within = ", ".join(key + flat(item) for key, item in node.items)
    if node.open[:-1] and len(node.items) == 1:
        lines += _lines(node.items[0][1], inner, node.items[0][0], "")
    elif node.open[:-1] and len(inner) + len(within) <= WIDTH:
        lines.append(inner + within)
    else:
        for key, item in node.items:
            lines += _lines(item, inner, key, ",")
    return [*lines, f"{indent}{node.close}{after}"]


def flat(node: Node, after: str = "") -> str:
    """On one line."""
    if isinstance(node, str):
        return node + after
    items = ", ".join(key + flat(item) for key, item in node.items)
    comma = "," if node.open == "(" and len(node.items) == 1 else ""
    return f"{node.open}{items}{comma}{node.close}{after}"
