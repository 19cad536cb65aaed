"""Hashes of code with everything that it reads, of objects, layers and models.

They are the same in every process, and do not depend on names, places in files or addresses.
"""

import copyreg
import dis
import functools
import importlib.util
import sys
import threading
import types
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph
from ..graph.reader import read
from . import layer_state
from .hashing import (
    OF_SOURCE,
    atom,
    class_name,
    hashed,
    instructions,
    library,
    library_name,
    of_library,
    values_hash,
)

_ATOMS = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented))

_CONTAINERS = (list, tuple, dict, types.MappingProxyType, set, frozenset)

_READS_GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")

_JUMPS = {*dis.hasjrel, *dis.hasjabs}

# Attributes of a class that do not determine what it computes.
_OF_CLASSES = {
    *OF_SOURCE,
    *("__dict__", "__weakref__", "__annotations__", "__annotate_func__", "__annotations_cache__"),
    *("__abstractmethods__", "_abc_impl", "__orig_bases__", "__parameters__"),
}

_SLOTS = (types.GetSetDescriptorType, types.MemberDescriptorType)

_LOCKS = (type(threading.Lock()), type(threading.RLock()))


class Identifier:
    """Hashes values, and lists the parts that it could not read.

    Attributes:
        unknown: The parts of values that are not covered by their hashes, in words.

    Example:
        >>> of = lambda value: Identifier().value(value, "preprocess")
        >>> of(lambda x: x / 255) == of(lambda x: x / 255)
        True
        >>> of(lambda x: x / 255) == of(lambda x: x * 100)
        False
    """

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self._states: list[bytes] = []
        self._variables: dict[int, tuple[Any, int]] = {}
        self._hashes: dict[int, tuple[Any, bytes]] = {}  # with the object, which keeps its id
        self._open: list[int] = []  # the objects that are being described, outermost first
        self._path: list[str] = []
        self._with_seeds = True

    def value(self, value: Any, label: str) -> str:
        """The hash of any value; the label names it in `unknown`."""
        try:
            described = self._of(value, label)
        except RecursionError:
            self.unknown.append(label)
            described = b""
        return hashed("value", described, *self._states).hex()

    def model(self, model: keras.Model | CallGraph) -> dict[str, str]:
        """Hashes of a model's layers and of their states, for inference."""
        self._with_seeds = False
        layers = self._of(model, "the model")
        return {"layers": layers.hex(), "weights": hashed("weights", *self._states).hex()}

    @contextmanager
    def _inside(self, value: Any, label: str = "") -> Iterator[None]:
        self._open.append(id(value))
        self._path.append(label)
        try:
            yield
        finally:
            self._open.pop()
            self._path.pop()

    def _of(self, value: Any, label: str = "") -> bytes:
        if type(value) in _ATOMS:
            return atom(value)
        key = id(value)
        if key in self._open:
            return hashed("cycle", len(self._open) - self._open.index(key))
        if key not in self._hashes:
            with self._inside(value, label):
                self._hashes[key] = value, self._described(value)
        return self._hashes[key][1]

    def _described(self, value: Any) -> bytes:
        # Containers of other classes may hold more than their items.
        if type(value) in _CONTAINERS or type(value).__module__.startswith("keras."):
            if isinstance(value, list | tuple):
                return self._sequence(value)
            if isinstance(value, dict | types.MappingProxyType):
                return self._mapping(value)
            if isinstance(value, set | frozenset):
                return hashed("set", *sorted(map(self._of, value)))
        for kind, describe in self._kinds():
            if isinstance(value, kind):
                return describe(value)
        if hasattr(value, "__array__") and hasattr(value, "dtype"):
            return self._array(value)
        if name := library_name(value):
            return hashed("named", name)
        if of_library(type(value)):
            inner = getattr(value, "python_function", None) or getattr(value, "__wrapped__", None)
            if inner is not None:  # as of tf.function, jax.jit and functools.cache
                return hashed("wrapped", self._of(type(value)), self._of(inner))
            if type(value).__module__.startswith("keras.") and hasattr(value, "get_config"):
                return hashed("saved", self._of(type(value)), self._of(value.get_config()))
        return self._object(value)

    def _kinds(self) -> Iterator[tuple[Any, Callable[[Any], bytes]]]:
        """Types and how to describe their values; the first match counts."""
        yield types.FunctionType, self._function
        yield type, self._class
        yield types.MethodType, self._method
        yield types.CodeType, lambda v: self._code(v, {})
        yield types.ModuleType, self._module
        yield CallGraph, self._graph
        yield keras.Layer, self._layer
        yield keras.Operation, self._operation
        yield keras.Variable, self._variable
        yield keras.KerasTensor, lambda v: hashed("symbol", v.dtype, v.shape)
        yield keras.random.SeedGenerator, lambda v: hashed("seeds", self._variable(v.state))
        yield (*layer_state.OF_TRAINING, *_LOCKS), lambda v: b""
        yield np.ndarray, self._array
        yield (staticmethod, classmethod), lambda v: hashed(_kind(v), self._of(v.__func__))
        yield property, lambda v: hashed("property", *map(self._of, (v.fget, v.fset, v.fdel)))
        yield functools.cached_property, lambda v: hashed("property", self._of(v.func))
        yield _SLOTS, lambda v: hashed("slot", v.__name__)
        yield types.BuiltinMethodType, self._builtin

    # Code

    def _function(self, function: types.FunctionType) -> bytes:
        if name := library_name(function):
            return hashed("named", name)
        code = function.__code__
        cells = []
        for variable, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            with suppress(ValueError):  # an empty cell
                cells.append(self._of(cell.cell_contents, f"the variable {variable!r}"))
        more = (function.__defaults__, function.__kwdefaults__, vars(function))
        return hashed(
            "function", self._code(code, function.__globals__), *cells, *map(self._of, more)
        )

    def _method(self, method: types.MethodType) -> bytes:
        return hashed("method", self._of(method.__func__), self._of(method.__self__))

    def _code(self, code: types.CodeType, scope: Mapping[str, Any]) -> bytes:
        """Instructions with the constants and global variables that they read."""
        computing = instructions(code)
        offsets = [instruction.offset for instruction in computing]
        parts: list[Any] = [
            code.co_flags & 0xFFFF,  # higher bits say whether there is a docstring
            code.co_argcount,
            code.co_posonlyargcount,
            code.co_kwonlyargcount,
            *code.co_varnames[: code.co_argcount + code.co_kwonlyargcount],
            code.co_exceptiontable,
        ]
        for i, instruction in enumerate(computing):
            op, value = instruction.opcode, instruction.argval
            parts.append(instruction.opname)
            if isinstance(value, types.CodeType):
                parts.append(self._code(value, scope))
            elif op in dis.hasconst:
                parts.append(self._of(value))
            elif op in _JUMPS:
                parts.append(bisect_left(offsets, value))
            else:
                parts.append(repr(value))
            if instruction.opname in _READS_GLOBAL and value in scope:
                parts.append(self._read(scope[value], f"the variable {value!r}", code.co_names))
            if instruction.opname == "IMPORT_NAME":
                level = computing[i - 2].argval if i > 1 else 0
                parts += self._imported("." * (level or 0) + value, scope, code.co_names)
        return hashed("code", *parts)

    def _read(self, value: Any, label: str, names: tuple[str, ...]) -> bytes:
        """A variable; a module only by those of its members that the code names."""
        if not isinstance(value, types.ModuleType):
            return self._of(value, label)
        if id(value) in self._open:
            return hashed("module")
        with self._inside(value):
            return self._module(value, names)

    def _imported(
        self, name: str, scope: Mapping[str, Any], names: tuple[str, ...]
    ) -> Iterator[bytes]:
        """The modules that an import inside a function loads."""
        with suppress(Exception):  # a branch may import what is not installed
            name = importlib.util.resolve_name(name, scope.get("__package__"))
            version = library(name)
            if version is not None:
                yield hashed("module", name, version)
                return
            parents = name.split(".")
            for end in range(1, len(parents) + 1):
                yield self._read(importlib.import_module(".".join(parents[:end])), "", names)

    def _module(self, module: types.ModuleType, names: tuple[str, ...] = ()) -> bytes:
        """A library by its version; a module of the user by the given members, or by all."""
        version = library(module.__name__)
        if version is not None:
            return hashed("module", module.__name__, version)
        members = vars(module)
        public = [name for name in members if not name.startswith("__")]
        parts = (
            (name, self._read(members[name], f"{module.__name__}.{name}", names))
            for name in sorted(set(names or public) & set(members))
        )
        return hashed("module", *chain.from_iterable(parts))

    def _class(self, kind: type) -> bytes:
        if of_library(kind):
            version = library(kind.__module__)
            return hashed("class", kind.__module__, kind.__qualname__, version)
        own = sorted(name for name in vars(kind) if name not in _OF_CLASSES)
        parts = [(name, self._of(vars(kind)[name], f"{class_name(kind)}.{name}")) for name in own]
        bases = map(self._of, (*kind.__bases__, type(kind)))
        return hashed("class", *bases, *chain.from_iterable(parts))

    # Data

    def _array(self, array: Any) -> bytes:
        try:
            values = np.asarray(array)
        except Exception:  # such as a tensor that holds a resource
            return self._unreadable(array)
        if values.dtype.kind == "O":
            return hashed("array", values.shape, *map(self._of, values.ravel().tolist()))
        return values_hash(values)

    def _sequence(self, values: Any) -> bytes:
        return hashed(_kind(values), *(self._of(v, f"[{i}]") for i, v in enumerate(values)))

    def _mapping(self, values: Any) -> bytes:
        parts = ((self._of(k), self._of(v, f"[{k!r:.50}]")) for k, v in values.items())
        return hashed(_kind(values), *chain.from_iterable(parts))

    def _attributes(self, values: Mapping[str, Any]) -> bytes:
        parts = ((str(k), self._of(v, f"the attribute {k!r}")) for k, v in values.items())
        return hashed("attributes", *chain.from_iterable(sorted(parts)))

    def _object(self, value: Any) -> bytes:
        """An object by everything that `copy.copy` would use to rebuild it."""
        kind = type(value)
        try:
            reduce = copyreg.dispatch_table.get(kind)
            reduced: Any = reduce(value) if reduce else value.__reduce_ex__(4)
            if isinstance(reduced, str):
                member = getattr(sys.modules.get(kind.__module__), reduced, None)
                if not of_library(kind) or member is not value:
                    return self._unreadable(value)
                return hashed("named", kind.__module__, reduced)
            function, arguments, state, items, pairs = [*reduced, None, None, None][:5]
            items, pairs = list(items or ()), list(pairs or ())
        except Exception:  # whatever an object raises that cannot be pickled
            return self._unreadable(value)
        states = state if isinstance(state, tuple) else (state,)
        return hashed(
            "object",
            *map(self._of, (function, arguments, items, pairs)),
            *(self._attributes(s) if isinstance(s, dict) else self._of(s) for s in states),
        )

    def _builtin(self, value: Any) -> bytes:
        name, owner = library_name(value), value.__self__
        if name:
            return hashed("named", name)
        if owner is None or isinstance(owner, types.ModuleType):
            return self._unreadable(value)
        return hashed("method", value.__name__, self._of(owner))

    def _unreadable(self, value: Any) -> bytes:
        path = ": ".join(dict.fromkeys(label for label in self._path if label))
        self.unknown.append(f"{path} (of type {type(value).__name__})")
        return hashed("unknown", class_name(type(value)))

    # Keras

    def _layer(self, layer: keras.Layer) -> bytes:
        if isinstance(layer, keras.Model):
            with suppress(CutwidgetsError):
                return self._graph(read(layer))
        own = {
            key: value
            for key, value in vars(layer).items()
            if key not in layer_state.keras_attributes() and not key.startswith("_self_")
        }
        if of_library(type(layer)):  # mostly identified by its configuration and state
            own = {
                key: value for key, value in own.items() if layer_state.adds_to_configuration(value)
            }
            if self._with_seeds and layer_state.is_random(layer):
                own["seeds"] = [
                    v for v in vars(layer).values() if isinstance(v, keras.random.SeedGenerator)
                ]
        # The configuration only names inner layers.
        own["layers"] = list(vars(layer).get("_layers", ()))
        self._layer_state(layer)
        return hashed("layer", self._of(type(layer)), self._config(layer), self._attributes(own))

    def _operation(self, operation: keras.Operation) -> bytes:
        own = {k: v for k, v in vars(operation).items() if k not in layer_state.keras_attributes()}
        return hashed("operation", self._of(type(operation)), self._attributes(own))

    def _graph(self, graph: CallGraph) -> bytes:
        """A model's calls, by their positions."""
        parts: list[Any] = [graph.inputs, graph.outputs]
        for call in graph.calls:
            arguments = call.fill({tensor: (b"tensor", tensor) for tensor in call.reads})
            label = f"the layer {call.name!r}"
            parts += [self._of(call.layer, label), call.outputs, self._of(arguments, label)]
        return hashed("graph", *parts)

    def _config(self, layer: keras.Layer) -> bytes:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about lambdas, which are not saved here
                config = dict(layer.get_config())
        except Exception:  # whatever a user's own layer raises
            return b""
        left_out = ["name", "trainable"]
        if isinstance(layer, keras.layers.Lambda):
            # Keras writes code with its place in a file, or by its name alone.
            left_out += ["function", "output_shape", "mask"]
        return self._of(
            {k: layer_state.without_inner(v) for k, v in config.items() if k not in left_out}
        )

    def _layer_state(self, layer: keras.Layer) -> None:
        """Add everything to the states that Keras would save of a layer besides its config."""
        for variable in layer.weights:
            self._variable(variable)
        label = f"the state of {layer.name!r}"
        saved: dict[str, Any] = {}
        try:
            if type(layer).save_own_variables is not keras.Layer.save_own_variables:
                layer.save_own_variables(saved)
            if hasattr(layer, "save_assets"):
                saved |= layer_state.assets(layer)
            # The assets leave out a vocabulary that was given to the constructor.
            if hasattr(layer, "get_vocabulary"):
                saved["vocabulary"] = list(map(str, layer.get_vocabulary()))
        except Exception:  # whatever a user's own layer raises
            self.unknown.append(label)
        for key, value in sorted(saved.items()):
            if id(value) not in self._variables:
                self._states.append(hashed(key, self._of(value, label)))

    def _variable(self, variable: keras.Variable) -> bytes:
        """A variable by its number; its value is added to the states."""
        if id(variable) not in self._variables:
            self._variables[id(variable)] = variable, len(self._variables)
            value = np.asarray(keras.ops.convert_to_numpy(variable))
            self._states.append(values_hash(value))
        return hashed("variable", self._variables[id(variable)][1])


def _kind(value: Any) -> str:
    return next(k.__name__ for k in type(value).__mro__ if k.__module__ == "builtins")
