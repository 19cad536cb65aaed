"""Hashes of what determines values: code with all that it reads, objects, layers and models.

They are the same in every process, and do not depend on names, places in files or addresses.
"""

import copyreg
import dis
import functools
import importlib.util
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import (
    BuiltinMethodType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph
from ..graph.reader import read
from .hashing import (
    SAYS_WHERE,
    array_hash,
    atom,
    hashed,
    instructions,
    kind_name,
    library,
    named,
    of_library,
)
from .layer_state import OF_TRAINING, assets, internal, is_random, nameless, tells

_ATOMS = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented))

_READS_GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")

_HOLDERS = (list, tuple, dict, MappingProxyType, set, frozenset)

_OF_CLASSES = {
    *SAYS_WHERE,
    *("__dict__", "__weakref__", "__annotations__", "__annotate_func__", "__annotations_cache__"),
    *("__abstractmethods__", "_abc_impl", "__orig_bases__", "__parameters__"),
}

_LOCKS = (type(threading.Lock()), type(threading.RLock()))


class Identifier:
    """Hashes of values, and a list of what could not be read.

    Attributes:
        unknown: What has a part that no hash can tell from another, in words.

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
        self._numbers: dict[int, tuple[Any, int]] = {}
        self._known: dict[int, tuple[Any, bytes]] = {}  # with the object, which keeps its id
        self._open: list[int] = []
        self._path: list[str] = []
        self._with_seeds = True

    def value(self, value: Any, what: str) -> str:
        """The hash of a value.

        Args:
            value: Anything.
            what: What it is, for `unknown`.
        """
        try:
            found = self._of(value, what)
        except RecursionError:
            self.unknown.append(what)
            found = b""
        return hashed("value", found, *self._states).hex()

    def model(self, model: keras.Model) -> dict[str, str]:
        """Hashes of a model's layers and of their states, for inference."""
        self._with_seeds = False
        layers = self._of(model, "the model")
        return {"layers": layers.hex(), "weights": hashed("weights", *self._states).hex()}

    def _of(self, value: Any, label: str = "") -> bytes:
        if type(value) in _ATOMS:
            return atom(value)
        key = id(value)
        if key in self._open:
            return hashed("cycle", len(self._open) - self._open.index(key))
        if key not in self._known:
            self._open.append(key)
            self._path.append(label)
            try:
                self._known[key] = value, self._described(value)
            finally:
                self._open.pop()
                self._path.pop()
        return self._known[key][1]

    def _described(self, value: Any) -> bytes:
        # Of other classes than Keras's own, those that hold values may hold more than these.
        if type(value) in _HOLDERS or type(value).__module__.startswith("keras."):
            if isinstance(value, list | tuple):
                return self._sequence(value)
            if isinstance(value, dict | MappingProxyType):
                return self._mapping(value)
            if isinstance(value, set | frozenset):
                return hashed("set", *sorted(map(self._of, value)))
        for kind, describe in self._kinds():
            if isinstance(value, kind):
                return describe(value)
        if hasattr(value, "__array__") and hasattr(value, "dtype"):
            return self._array(value)
        name = named(value)
        if name:
            return hashed("named", name)
        if of_library(type(value)):
            inner = getattr(value, "python_function", None) or getattr(value, "__wrapped__", None)
            if inner is not None:  # as of tf.function, jax.jit and functools.cache
                return hashed("wrapped", self._of(type(value)), self._of(inner))
            if type(value).__module__.startswith("keras.") and hasattr(value, "get_config"):
                return hashed("saved", self._of(type(value)), self._of(value.get_config()))
        return self._object(value)

    def _kinds(self) -> Iterator[tuple[Any, Callable[[Any], bytes]]]:
        """How to describe which types; the first that fits counts."""
        yield FunctionType, self._function
        yield type, self._class
        yield MethodType, lambda v: hashed("method", self._of(v.__func__), self._of(v.__self__))
        yield CodeType, lambda v: self._code(v, {})
        yield ModuleType, self._module
        yield keras.Layer, self._layer
        yield keras.Operation, self._operation
        yield keras.Variable, self._variable
        yield keras.KerasTensor, lambda v: hashed("symbol", v.dtype, v.shape)
        yield keras.random.SeedGenerator, self._seeds
        yield OF_TRAINING, lambda v: b""
        yield _LOCKS, lambda v: b""
        yield np.ndarray, self._array
        yield (staticmethod, classmethod), lambda v: hashed(_kind(v), self._of(v.__func__))
        yield property, lambda v: hashed("property", *map(self._of, (v.fget, v.fset, v.fdel)))
        yield functools.cached_property, lambda v: hashed("property", self._of(v.func))
        yield (GetSetDescriptorType, MemberDescriptorType), lambda v: hashed("slot", v.__name__)
        yield BuiltinMethodType, self._builtin

    # Code

    def _function(self, function: FunctionType) -> bytes:
        name = named(function)
        if name:
            return hashed("named", name)
        cells = []
        for variable, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            with suppress(ValueError):  # nothing is in it yet
                cells.append(self._of(cell.cell_contents, f"the variable {variable!r}"))
        more = (function.__defaults__, function.__kwdefaults__, vars(function))
        code = self._code(function.__code__, function.__globals__)
        return hashed("function", code, *cells, *(self._of(part) for part in more))

    def _code(self, code: CodeType, scope: Mapping[str, Any]) -> bytes:
        """Instructions by what they do, with the constants and global variables that they read."""
        done = instructions(code)
        places = {instruction.offset: i for i, instruction in enumerate(done)}
        parts: list[Any] = [
            code.co_flags & 0xFFFF,  # beyond is whether there is a docstring
            code.co_argcount,
            code.co_posonlyargcount,
            code.co_kwonlyargcount,
            *code.co_varnames[: code.co_argcount + code.co_kwonlyargcount],
            code.co_exceptiontable,
        ]
        for i, instruction in enumerate(done):
            op, value = instruction.opcode, instruction.argval
            parts.append(instruction.opname)
            if op in dis.hasconst:
                inner = isinstance(value, CodeType)
                parts.append(self._code(value, scope) if inner else self._of(value))
            elif op in dis.hasjrel or op in dis.hasjabs:
                after = (place for at, place in places.items() if at >= value)
                parts.append(next(after, len(done)))
            elif op in dis.hasname or op in dis.haslocal or op in dis.hasfree:
                parts.append(repr(value))
            else:
                parts.append(repr(value if op in dis.hascompare else instruction.arg))
            if instruction.opname in _READS_GLOBAL and value in scope:
                parts.append(self._read(scope[value], f"the variable {value!r}", code.co_names))
            if instruction.opname == "IMPORT_NAME":
                level = done[i - 2].argval if i > 1 else 0
                parts += self._imported("." * (level or 0) + value, scope, code.co_names)
        return hashed("code", *parts)

    def _read(self, value: Any, label: str, names: tuple[str, ...]) -> bytes:
        if not isinstance(value, ModuleType):
            return self._of(value, label)
        if id(value) in self._open:
            return hashed("module")
        self._open.append(id(value))
        try:
            return self._module(value, names)
        finally:
            self._open.pop()

    def _imported(
        self, name: str, scope: Mapping[str, Any], names: tuple[str, ...]
    ) -> Iterator[bytes]:
        """The modules that an import in a function gives it."""
        with suppress(Exception):  # a branch may import what is not installed
            name = importlib.util.resolve_name(name, scope.get("__package__"))
            version = library(name)
            if version is not None:
                yield hashed("module", name, version)
                return
            parents = name.split(".")
            for end in range(1, len(parents) + 1):
                yield self._read(importlib.import_module(".".join(parents[:end])), "", names)

    def _module(self, module: ModuleType, names: tuple[str, ...] = ()) -> bytes:
        """A library by its version; a module of the user by what is read of it, else by all."""
        version = library(module.__name__)
        if version is not None:
            return hashed("module", module.__name__, version)
        public = (name for name in vars(module) if not name.startswith("__"))
        parts = [
            (name, self._read(vars(module)[name], f"{module.__name__}.{name}", names))
            for name in sorted(set(names or public) & set(vars(module)))
        ]
        return hashed("module", *(part for pair in parts for part in pair))

    def _class(self, kind: type) -> bytes:
        if of_library(kind):
            version = library(kind.__module__)
            return hashed("class", kind.__module__, kind.__qualname__, version)
        own = sorted(name for name in vars(kind) if name not in _OF_CLASSES)
        parts = [(name, self._of(vars(kind)[name], f"{kind_name(kind)}.{name}")) for name in own]
        bases = [self._of(base) for base in (*kind.__bases__, type(kind))]
        return hashed("class", *bases, *(part for pair in parts for part in pair))

    # Data

    def _array(self, array: Any) -> bytes:
        try:
            values = np.asarray(array)
        except Exception:  # such as a tensor that holds a resource
            return self._unreadable(array)
        if values.dtype.kind == "O":
            return hashed("array", values.shape, *map(self._of, values.ravel().tolist()))
        return array_hash(values)

    def _sequence(self, values: Any) -> bytes:
        return hashed(_kind(values), *(self._of(v, f"[{i}]") for i, v in enumerate(values)))

    def _mapping(self, values: Any) -> bytes:
        parts = ((self._of(k), self._of(v, f"[{k!r:.50}]")) for k, v in values.items())
        return hashed(_kind(values), *(part for pair in parts for part in pair))

    def _attributes(self, values: Mapping[str, Any]) -> bytes:
        parts = ((str(k), self._of(v, f"the attribute {k!r}")) for k, v in values.items())
        return hashed("attributes", *(part for pair in sorted(parts) for part in pair))

    def _object(self, value: Any) -> bytes:
        """An object by all that a copy of it would be made of."""
        try:
            reduce = copyreg.dispatch_table.get(type(value))
            made: Any = reduce(value) if reduce else value.__reduce_ex__(4)
            if isinstance(made, str):
                home = type(value).__module__
                found = getattr(sys.modules.get(home), made, None)
                if not of_library(type(value)) or found is not value:
                    return self._unreadable(value)
                return hashed("named", home, made)
            parts = [*made, None, None, None][:5]
            parts[3:] = [list(part or ()) for part in parts[3:]]
        except Exception:  # whatever an object raises that cannot be pickled
            return self._unreadable(value)
        state = parts.pop(2)
        states = state if isinstance(state, tuple) else (state,)
        return hashed(
            "object",
            *map(self._of, parts),
            *(self._attributes(s) if isinstance(s, dict) else self._of(s) for s in states),
        )

    def _builtin(self, value: Any) -> bytes:
        name, owner = named(value), value.__self__
        if name:
            return hashed("named", name)
        if owner is None or isinstance(owner, ModuleType):
            return self._unreadable(value)
        return hashed("method", value.__name__, self._of(owner))

    def _unreadable(self, value: Any) -> bytes:
        path = ": ".join(dict.fromkeys(label for label in self._path if label))
        self.unknown.append(f"{path} (of type {type(value).__name__})")
        return hashed("unknown", kind_name(type(value)))

    # Keras

    def _layer(self, layer: keras.Layer) -> bytes:
        if isinstance(layer, keras.Model):
            with suppress(CutwidgetsError):
                return self._graph(read(layer))
        own = {k: v for k, v in vars(layer).items() if k not in internal()}
        own = {k: v for k, v in own.items() if not k.startswith("_self_")}
        if of_library(type(layer)):  # its configuration and state are all
            own = {k: v for k, v in own.items() if tells(v)}
            if self._with_seeds and is_random(layer):
                own["seeds"] = [
                    v for v in vars(layer).values() if isinstance(v, keras.random.SeedGenerator)
                ]
        own["layers"] = list(vars(layer).get("_layers", ()))  # which the configuration names only
        self._layer_state(layer)
        return hashed("layer", self._of(type(layer)), self._config(layer), self._attributes(own))

    def _operation(self, operation: keras.Operation) -> bytes:
        own = {k: v for k, v in vars(operation).items() if k not in internal()}
        return hashed("operation", self._of(type(operation)), self._attributes(own))

    def _graph(self, graph: CallGraph) -> bytes:
        """A model's calls, by their positions."""
        lines: list[Any] = [graph.inputs, graph.outputs]
        for call in graph.calls:
            given = call.fill({tensor: (b"tensor", tensor) for tensor in call.reads})
            label = f"the layer {call.name!r}"
            lines += [self._of(call.layer, label), call.outputs, self._of(given, label)]
        return hashed("graph", *lines)

    def _config(self, layer: keras.Layer) -> bytes:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of lambdas, which are not written to a file here
                config = dict(layer.get_config())
        except Exception:  # whatever a user's own layer raises
            return b""
        # Keras writes code with its place in a file, or by its name alone.
        of_code = ["function", "output_shape", "mask"]
        left_out = ["name", "trainable", *of_code * isinstance(layer, keras.layers.Lambda)]
        return self._of({key: nameless(v) for key, v in config.items() if key not in left_out})

    def _layer_state(self, layer: keras.Layer) -> None:
        """Note all that Keras would save of a layer besides its configuration."""
        for variable in layer.weights:
            self._variable(variable)
        label = f"the state of {layer.name!r}"
        saved: dict[str, Any] = {}
        try:
            if type(layer).save_own_variables is not keras.Layer.save_own_variables:
                layer.save_own_variables(saved)
            if hasattr(layer, "save_assets"):
                saved |= assets(layer)
            if hasattr(layer, "get_vocabulary"):  # a given one is not among the assets
                saved["vocabulary"] = list(map(str, layer.get_vocabulary()))
        except Exception:  # whatever a user's own layer raises
            self.unknown.append(label)
        for key, value in sorted(saved.items()):
            if id(value) not in self._numbers:  # a variable
                self._states.append(hashed(key, self._of(value, label)))

    def _variable(self, variable: keras.Variable) -> bytes:
        """A variable by its number; its value is a state."""
        if id(variable) not in self._numbers:
            self._numbers[id(variable)] = variable, len(self._numbers)
            value = np.asarray(keras.ops.convert_to_numpy(variable))
            self._states.append(array_hash(value))
        return hashed("variable", self._numbers[id(variable)][1])

    def _seeds(self, seeds: keras.random.SeedGenerator) -> bytes:
        return hashed("seeds", self._variable(seeds.state))


def _kind(value: Any) -> str:
    return next(k.__name__ for k in type(value).__mro__ if k.__module__ == "builtins")
