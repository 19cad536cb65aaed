"""Compare any two objects, to verify that a copy of a layer is like its original."""

import functools
import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

SeedGenerator = keras.random.SeedGenerator

STATEFUL = (keras.Variable, keras.Layer, SeedGenerator)


def difference(one: Any, other: Any, path: str = "") -> str | None:
    """Where and how two objects differ; `None` if they are alike.

    Numbers and arrays are alike if their bits are equal, functions if their code and everything in
    their closures is, other objects if their classes and attributes are.

    Example:
        >>> difference({"rate": 0.5}, {"rate": 0.25})
        "['rate']: 0.5 and 0.25"
        >>> difference([1, float("nan")], [1, float("nan")])
    """
    return _difference(one, other, path, set())


def equal_bits(one: Any, other: Any) -> bool:
    """Whether two arrays, tensors or variables have the same dtype, shape and bits.

    Example:
        >>> equal_bits([1.0, float("nan")], [1.0, float("nan")]), equal_bits([0.0], [-0.0])
        (True, False)
    """
    a, b = to_numpy(one), to_numpy(other)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.hasobject:
        return bool(np.array_equal(a, b))
    first, second = (np.ascontiguousarray(x).reshape(-1).view("uint8") for x in (a, b))
    return bool(np.array_equal(first, second))


def to_numpy(value: Any) -> np.ndarray:
    """The value of an array, tensor or variable."""
    if isinstance(value, keras.Variable) or keras.ops.is_tensor(value):
        return np.asarray(keras.ops.convert_to_numpy(value))
    return np.asarray(value)


def state_within(function: Callable[..., Any]) -> str | None:
    """The name of a variable, layer or seed generator that a function reads from outside."""
    try:
        around = inspect.getclosurevars(function)
    except (TypeError, ValueError):  # not a Python function
        return None
    defaults = {"its defaults": (*(function.__defaults__ or ()), function.__kwdefaults__)}
    for name, value in {**around.globals, **around.nonlocals, **defaults}.items():
        if any(isinstance(leaf, STATEFUL) for leaf in keras.tree.flatten(value)):
            return name
    return None


def _difference(one: Any, other: Any, path: str, visited: set[int]) -> str | None:
    if isinstance(one, STATEFUL):
        return _of_states(one, other, path)
    if one is other or id(one) in visited:
        return None
    visited.add(id(one))
    if isinstance(one, list | tuple | Mapping) and isinstance(other, list | tuple | Mapping):
        return _of_containers(one, other, path, visited)
    if type(one) is not type(other):
        return _both(one, other, path)
    if isinstance(one, str | bytes | bool | int | set | frozenset | range | type):
        return None if one == other else _both(one, other, path)
    if isinstance(one, float | complex | np.generic) or _is_array(one):
        return None if equal_bits(one, other) else _both(one, other, path)
    parts = _parts(one), _parts(other)
    return _of_containers(*parts, path, visited)


def _of_states(one: Any, other: Any, path: str) -> str | None:
    if one is other:
        return f"{path}: {one!r:.80} is shared with the original"
    if type(one) is not type(other):
        return _both(one, other, path)
    states = [getattr(each, "variables", None) or [] for each in (one, other)]
    if isinstance(one, keras.Variable):
        states = [[one], [other]]
    elif isinstance(one, SeedGenerator):
        states = [[one.state], [other.state]]
    alike = len(states[0]) == len(states[1]) and all(map(equal_bits, *states))
    return None if alike else f"{path}: other values"


def _of_containers(one: Any, other: Any, path: str, visited: set[int]) -> str | None:
    if isinstance(one, Mapping) is not isinstance(other, Mapping) or len(one) != len(other):
        return _both(one, other, path)
    items = one.items() if isinstance(one, Mapping) else enumerate(one)
    for key, value in items:
        if isinstance(one, Mapping) and key not in other:
            return _both(one, other, path)
        if within := _difference(value, other[key], f"{path}[{key!r}]", visited):
            return within
    return None


def _parts(value: Any) -> dict[str, Any]:
    """The parts of an object that are compared."""
    if isinstance(value, types.FunctionType):
        return dict(_function_parts(value))
    if isinstance(value, types.MethodType):
        return {"function": value.__func__}  # the object is compared where it is an attribute
    if isinstance(value, functools.partial):
        return {"function": value.func, "args": value.args, "keywords": value.keywords}
    if callable(getattr(value, "export", None)):  # a lookup table of TensorFlow
        keys, values = (to_numpy(part) for part in value.export())
        order = np.argsort(keys, kind="stable")
        return {"keys": keys[order], "values": values[order]}
    if callable(getattr(value, "get_config", None)):
        return {"config": value.get_config()}
    return dict(getattr(value, "__dict__", {}))


def _function_parts(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    code = function.__code__
    yield "code", code.co_code
    # Code objects within code do not compare equal by themselves, and constants may be any object.
    yield "constants", [c.co_code if isinstance(c, types.CodeType) else c for c in code.co_consts]
    yield "names", code.co_names
    yield "defaults", function.__defaults__
    yield "keywords", function.__kwdefaults__
    yield "around", [cell.cell_contents for cell in function.__closure__ or ()]
    own = {name: function.__globals__.get(name) for name in code.co_names}
    yield "globals", {n: v for n, v in own.items() if not isinstance(v, types.ModuleType)}


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (
        hasattr(value, "__array__") and hasattr(value, "shape") and hasattr(value, "dtype")
    )


def _both(one: Any, other: Any, path: str) -> str:
    return f"{path}: {one!r:.80} and {other!r:.80}"
