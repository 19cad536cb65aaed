"""Hashes of plain values and arrays, the code of a function, and what a library is.

All of it is the same in every process.
"""

import dis
import functools
import importlib.util
import sys
import sysconfig
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

_LEFT_OUT = ("NOP", "CACHE", "EXTENDED_ARG", "RESUME")  # they differ with the lines of the source

SAYS_WHERE = ("__doc__", "__firstlineno__", "__static_attributes__", "__module__", "__qualname__")

# What these libraries compute is not expected to change with their version.
_UNVERSIONED = ("builtins", "cutwidgets", "keras", "tensorflow", "jax", "torch")


def hashed(*parts: Any) -> bytes:
    """The hash of parts that are bytes or have a `repr` that tells all."""
    found = blake2b(digest_size=16)
    for part in parts:
        content = part if isinstance(part, bytes) else repr(part).encode("utf-8", "surrogatepass")
        found.update(f"{type(part).__name__} {len(content)} ".encode() + content)
    return found.digest()


def atom(value: Any) -> bytes:
    """The hash of a number, a text, bytes or a constant of Python."""
    return hashed(type(value).__name__, hex(value) if isinstance(value, int) else value)


def array_hash(values: np.ndarray) -> bytes:
    """The hash of all bytes of an array, a block at a time."""
    found = blake2b(f"{values.dtype!r} {values.shape} ".encode(), digest_size=16)
    rows = np.atleast_1d(values)
    step = max(1, 2**24 // max(1, rows[:1].nbytes))
    for first in range(0, len(rows), step):
        found.update(np.ascontiguousarray(rows[first : first + step]).tobytes())
    return found.digest()


def kind_name(kind: type) -> str:
    """The name of a class, without the function that it is made in."""
    return kind.__qualname__.rpartition("<locals>.")[2]


def readable(value: Any) -> bool:
    """Whether something is an array of plain values."""
    try:
        return np.asarray(value).dtype.kind != "O"
    except Exception:  # such as a tensor that holds a resource
        return False


def instructions(code: CodeType) -> list[dis.Instruction]:
    """The instructions of code that compute; not those that say where it stands in a file."""
    found = [i for i in dis.get_instructions(code) if i.opname not in _LEFT_OUT]
    says = [
        at
        for at, instruction in enumerate(found)
        if instruction.opname == "STORE_NAME" and instruction.argval in SAYS_WHERE
    ]
    left_out = {at - back for at in says for back in (0, 1)}
    return [instruction for at, instruction in enumerate(found) if at not in left_out]


def named(value: Any) -> str:
    """The name under which a library has a function or constant, with its version; else `""`."""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not isinstance(name, str):
        return ""
    for module in (getattr(value, "__module__", None), type(value).__module__):
        version = library(module) if isinstance(module, str) else None
        if version is not None and module in sys.modules:
            found: Any = sys.modules[module]
            for part in name.split("."):
                found = getattr(found, part, None)
            if found is value:
                return f"{module}.{name} {version}"
    return ""


def of_library(kind: type) -> bool:
    """Whether a library has a class, so that its name says what it does."""
    made_by_python = kind.__flags__ & 2**9
    return library(kind.__module__) is not None and bool(not made_by_python or named(kind))


@functools.cache
def library(module: str) -> str | None:
    """The version of the library that a module belongs to; `None` for the user's own."""
    top = module.partition(".")[0]
    if top == "__main__":
        return None
    if top in sys.stdlib_module_names:
        return "" if top in _UNVERSIONED else sysconfig.get_python_version()
    loaded = sys.modules.get(top)
    places = [getattr(loaded, "__file__", None), *getattr(loaded, "__path__", ())]
    if loaded is None:
        with suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(top)
            places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    parts = {part for place in places if place for part in Path(place).parts}
    if top not in _UNVERSIONED and not parts & {"site-packages", "dist-packages"}:
        return None
    if top in _UNVERSIONED:
        return ""
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(top)
    return str(getattr(loaded, "__version__", ""))
