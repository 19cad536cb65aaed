"""Write values as Python code, and break long statements into lines."""

import ast
import keyword
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

WIDTH = 88  # that of ruff and black

MAX_ELEMENTS = 1_000  # of a constant in a script


class UnwritableError(Exception):
    """A value cannot be written as code; the message continues a sentence about its layer."""


@dataclass(frozen=True, slots=True, repr=False)
class Code:
    """Python code, such as the variable of a tensor, that prints as it is in any container."""

    text: str

    def __repr__(self) -> str:
        return self.text


def written(value: Any) -> str:
    """A value as Python code.

    Raises:
        UnwritableError: If it has no such form.

    Example:
        >>> written({"axis": (1, ...), "scale": np.array([0.5, np.inf], "float16")})
        "{'axis': (1, ...), 'scale': numpy.array([0.5, numpy.inf], 'float16')}"
    """
    return repr(_printable(value))


def _printable(value: Any) -> Any:
    """The same value, of objects whose `repr` is their code."""
    if value is None or isinstance(value, Code | bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # without the `repr` of a subclass, as of an enumeration
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(_printable(item) for item in value)
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, slice):
        return slice(*map(_printable, (value.start, value.stop, value.step)))
    if isinstance(value, np.dtype) or type(value).__name__ in ("DType", "dtype"):
        return keras.backend.standardize_dtype(value)
    is_constant = keras.ops.is_tensor(value) and not isinstance(value, keras.Variable)
    if isinstance(value, np.ndarray | np.generic) or is_constant:
        return _array(np.asarray(keras.ops.convert_to_numpy(value)))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else Code(f"float('{float(value)}')")
    if value is Ellipsis:
        return Code("...")
    raise UnwritableError(
        f"is called with {value!r:.60}, which cannot be written as code. Put it into the layer."
    )


def _array(array: np.ndarray) -> Code:
    """A constant, exactly."""
    name = array.dtype.name
    if array.size > MAX_ELEMENTS or (array.dtype.kind not in "biuf" and name != "bfloat16"):
        raise UnwritableError(
            f"is called with a constant of shape {array.shape} and dtype {name}; a script can hold "
            f"numbers, at most {MAX_ELEMENTS:,} of them. Put the constant into a weight of a layer."
        )
    if not array.size:
        return Code(f"numpy.zeros({array.shape}, {name!r})")
    return Code(f"numpy.array({_numbers(array)}, {name!r})")


def _numbers(array: np.ndarray) -> Any:
    if array.ndim:
        return [_numbers(item) for item in array]
    if array.dtype.kind in "biu":
        return array.item()
    if not np.isfinite(array):
        return Code({"inf": "numpy.inf", "-inf": "-numpy.inf"}.get(str(array), "numpy.nan"))
    short = float(str(array))
    return short if np.array(short, array.dtype) == array else float(array)


def keyword_text(name: str) -> str:
    """The name of a keyword argument.

    Raises:
        UnwritableError: If Python does not accept the name.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise UnwritableError(f"is called with an argument {name!r}, which is no name in Python.")
    return name


def shown(name: str) -> str:
    """A name for comments, safe and not too long."""
    return repr(name if len(name) <= 60 else f"{name[:59]}…")


def in_lines(assignment: str) -> str:
    """An assignment; if it is longer than `WIDTH`, with one item of its brackets per line.

    Example:
        >>> print(in_lines(f"x = keras.Input({tuple(range(1, 9))}, name={'y' * 60!r})"))
        x = keras.Input(
            (1, 2, 3, 4, 5, 6, 7, 8),
            name='yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy',
        )
    """
    if len(assignment) <= WIDTH:
        return assignment
    statement = ast.parse(assignment).body[0]
    assert isinstance(statement, ast.Assign)
    target = assignment[: statement.value.col_offset]
    return "\n".join(_lines(statement.value, "", target, ""))


def _lines(node: ast.expr, indent: str, before: str, after: str) -> list[str]:
    line = f"{indent}{before}{ast.unparse(node)}{after}"
    items: list[tuple[str, ast.expr]] = []
    brackets = "[]" if isinstance(node, ast.List) else "()"
    match node:
        case ast.Call():
            before += ast.unparse(node.func)
            items = [("", item) for item in node.args]
            items += [(f"{item.arg}=", item.value) for item in node.keywords]
        case ast.List() | ast.Tuple():
            items = [("", item) for item in node.elts]
        case ast.Dict():
            brackets = "{}"
            keys = [ast.unparse(key) for key in node.keys if key]
            items = [(f"{key}: ", item) for key, item in zip(keys, node.values, strict=True)]
    if len(line) <= WIDTH or not items:
        return [line]
    inner = [line for key, item in items for line in _lines(item, f"{indent}    ", key, ",")]
    return [f"{indent}{before}{brackets[0]}", *inner, f"{indent}{brackets[1]}{after}"]
