"""Hashes of plain values and arrays, and what identifies code and libraries.

All of it is the same in every process.
"""

import dis
import functools
import sys
import sysconfig
from contextlib import suppress
from hashlib import blake2b
from importlib import metadata, util
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

# Instructions that depend on the layout of the source.
_LAYOUT = ("NOP", "CACHE", "EXTENDED_ARG", "RESUME")

# Attributes of a class that say where its source is, and not what it computes.
OF_SOURCE = ("__doc__", "__firstlineno__", "__static_attributes__", "__module__", "__qualname__")

# Another version of these libraries is not expected to compute other values.
_UNVERSIONED = ("builtins", "cutwidgets", "keras", "tensorflow", "jax", "torch")


def hashed(*parts: Any) -> bytes:
    """The hash of bytes, and of values with a `repr` that is complete."""
    total = blake2b(digest_size=16)
    for part in parts:
        content = part if isinstance(part, bytes) else repr(part).encode("utf-8", "surrogatepass")
        total.update(f"{type(part).__name__} {len(content)} ".encode() + content)
    return total.digest()


def atom(value: Any) -> bytes:
    """The hash of a number, a text, bytes or a constant of Python."""
    return hashed(type(value).__name__, hex(value) if isinstance(value, int) else value)


def values_hash(values: np.ndarray) -> bytes:
    """The hash of all values of an array; those of objects must be plain values."""
    if values.dtype.kind == "O":
        return hashed(values.shape, *map(atom, values.ravel().tolist()))
    total = blake2b(f"{values.dtype!r} {values.shape} ".encode(), digest_size=16)
    rows = np.atleast_1d(values)
    step = max(1, 2**24 // max(1, rows[:1].nbytes))  # a copy of 16 MB at a time
    for first in range(0, len(rows), step):
        total.update(np.ascontiguousarray(rows[first : first + step]).tobytes())
    return total.digest()


def class_name(kind: type) -> str:
    """The name of a class, without the function in which it is defined."""
    return kind.__qualname__.rpartition("<locals>.")[2]


def instructions(code: CodeType) -> list[dis.Instruction]:
    """The instructions of code that compute, without those that say where the source is."""
    computing = [i for i in dis.get_instructions(code) if i.opname not in _LAYOUT]
    left_out = set()
    for index, instruction in enumerate(computing):
        if instruction.opname == "STORE_NAME" and instruction.argval in OF_SOURCE:
            left_out |= {index - 1, index}  # the value and where it is stored
    return [instruction for i, instruction in enumerate(computing) if i not in left_out]


def library_name(value: Any) -> str:
    """The name and version under which a library has a function or constant; else `""`."""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not isinstance(name, str):
        return ""
    for module in (getattr(value, "__module__", None), type(value).__module__):
        version = library(module) if isinstance(module, str) else None
        if version is not None and module in sys.modules:
            member: Any = sys.modules[module]
            for part in name.split("."):
                member = getattr(member, part, None)
            if member is value:
                return f"{module}.{name} {version}"
    return ""


def of_library(kind: type) -> bool:
    """Whether a class belongs to a library, so that its name and version identify it."""
    defined_in_python = bool(kind.__flags__ & 2**9)
    return library(kind.__module__) is not None and (
        not defined_in_python or bool(library_name(kind))
    )


@functools.cache
def library(module: str) -> str | None:
    """The version of the library that a module belongs to; `None` for the user's own module."""
    top = module.partition(".")[0]
    if top == "__main__":
        return None
    if top in _UNVERSIONED:
        return ""
    if top in sys.stdlib_module_names:
        return sysconfig.get_python_version()
    spec = None
    with suppress(ImportError, ValueError):
        spec = util.find_spec(top)
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    parts = {part for place in places if place for part in Path(place).parts}
    if not parts & {"site-packages", "dist-packages"}:
        return None
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(top)
    return str(getattr(sys.modules.get(top), "__version__", ""))
