"""Copies of layers: with the same configuration and weights, sharing nothing."""

from collections.abc import Iterator, Sequence
from itertools import chain, count
from types import FunctionType
from typing import Any

import keras
import numpy as np

from ..errors import CutError, CutwidgetsError
from ..graph.callgraph import Call
from ..graph.keras_internals import call as call_layer
from ..graph.keras_internals import functional, maker_name
from ..graph.reader import read
from ..graph.rebuild import RepeatError, repeat, units
from .likeness import state_within
from .states import (
    ShapeError,
    StateError,
    copy_flags,
    copy_state,
    require_equal,
    require_same_config,
)


class Copier:
    """Copies layers, each once however often it is called.

    Args:
        used: Names that no copy may have, with the layer that has each; copies are added.
        prefix: What to put before such a name; `""` for the name of the nested model that the
            layer is inside, `None` for a number after the name instead.
    """

    def __init__(self, used: dict[str, object] | None = None, prefix: str | None = "") -> None:
        self._used = {} if used is None else used
        self._prefix = prefix
        # Shared with the copiers of nested models: layers that these share stay shared.
        self._copies: dict[int, tuple[keras.Operation, keras.Operation]] = {}

    def __call__(self, call: Call) -> keras.Operation:
        """A copy of the layer that is called.

        Raises:
            CutError: If it cannot be copied.
        """
        if any(isinstance(leaf, keras.Variable) for leaf in _constants(call)):
            raise CutError(
                f"The call {call.name!r} ({call.kind}) reads a variable of another layer, which "
                "cannot be copied. Put the call into a layer, or share the layers "
                "with weights='share'."
            )
        return self.of(call.layer, call.scope)

    def of(self, layer: keras.Operation, scope: Sequence[str] = ()) -> keras.Operation:
        """A copy of a layer that is called inside some nested models.

        Raises:
            CutError: If it cannot be copied.
        """
        if id(layer) not in self._copies:
            copy = self._copy(layer, self._name(layer.name, scope))
            self._copies[id(layer)] = layer, copy
            self._used[copy.name] = copy
        return self._copies[id(layer)][1]

    def finish(self) -> None:
        """Copy the states and flags of the layers, once the copies have been called.

        Raises:
            CutError: If a copy differs from its layer.
        """
        pairs = list(self._copies.values())
        for old, new in reversed(pairs):  # outer models first: they set the flags of what is inside
            if isinstance(old, keras.Model) and new.trainable != old.trainable:
                new.trainable = old.trainable
        owners: dict[int, tuple[keras.Operation, object]] = {}
        for old, new in pairs:
            for variable, copied in _finished(old, new):
                owner, first = owners.setdefault(id(variable), (old, copied))
                if first is not copied:
                    raise _tied(owner, old)
        self._require_no_ties(owners)

    def _require_no_ties(self, owners: dict[int, tuple[keras.Operation, object]]) -> None:
        """Refuse to copy a layer that shares a variable with a layer that is not copied."""
        copied = {id(layer) for pair in self._copies.values() for layer in pair}
        for layer in self._used.values():
            if isinstance(layer, keras.Layer) and id(layer) not in copied:
                for variable in layer.variables:
                    if id(variable) in owners:
                        raise _tied(owners[id(variable)][0], layer)

    def _copy(self, layer: keras.Operation, name: str) -> keras.Operation:
        if has_graph(layer):
            return self._copy_model(layer, name)
        try:
            copy = _anew(layer, name)
        except Exception as error:  # whatever a user's own layer raises
            raise CutError(f"{_cannot_copy(layer)}: {error}") from error
        return _built(layer, copy, name) if isinstance(layer, keras.Layer) else copy

    def _copy_model(self, model: keras.Model, name: str) -> keras.Model:
        graph, source = read(model), functional(model)
        symbols = {
            tensor: keras.Input(
                batch_shape=old.shape, dtype=old.dtype, sparse=old.sparse, name=maker_name(old)
            )
            for tensor, old in zip(graph.inputs, source.inputs, strict=True)
        }
        inside = range(len(graph.inputs), len(graph.calls))
        inner = Copier()
        inner._copies = self._copies
        try:
            calls = units(graph, inside, graph.inputs, graph.outputs)
            symbols = repeat(graph, calls, symbols, inner)
        except RepeatError as error:
            raise CutError(f"{_cannot_copy(model)}: {error.__cause__}") from error
        return keras.Model(
            keras.tree.pack_sequence_as(source.input, [symbols[t] for t in graph.inputs]),
            keras.tree.pack_sequence_as(source.output, [symbols[t] for t in graph.outputs]),
            name=name,
        )

    def _name(self, name: str, scope: Sequence[str]) -> str:
        """The layer's own name; with a prefix or a number if another layer has it."""
        if name in self._used and self._prefix is not None:
            prefix = self._prefix or (scope[-1].replace("/", "_") if scope else "copy")
            name = f"{prefix}_{name}"
        numbered = (f"{name}_{number}" for number in count(2))
        return next(n for n in chain([name], numbered) if n not in self._used)


def copy_of(
    layer: keras.Layer, arguments: tuple[Any, ...], used: dict[str, object] | None = None
) -> keras.Layer:
    """A copy of a single layer or model, with equal weights if it has any yet.

    Args:
        layer: The layer.
        arguments: Positional and keyword arguments of a call, with any symbols of the right shapes.
        used: Names that the copy may not have, as for a `Copier`; the copy is added. A number makes
            the copy's name another one.

    Raises:
        CutError: If it cannot be copied.
    """
    copier = Copier(used, prefix=None)
    copy = copier.of(layer)
    assert isinstance(copy, keras.Layer)
    if layer.built and not copy.built:  # some layers get their variables in a call
        call_layer(copy, fresh(arguments))
    copier.finish()
    return copy


def fresh(arguments: Any) -> Any:
    """Arguments of a call with new inputs in place of all symbols, so that nothing refers to them.

    Example:
        >>> import keras
        >>> fresh(((keras.KerasTensor((2, 3)),), {"training": False}))[0][0].shape
        (2, 3)
    """

    def new(value: Any) -> Any:
        if not isinstance(value, keras.KerasTensor):
            return value
        return keras.Input(batch_shape=value.shape, dtype=value.dtype, sparse=value.sparse)

    return keras.tree.map_structure(new, arguments)


def anew(layer: keras.Layer) -> keras.Layer:
    """A layer of the same name and configuration, without state.

    Raises:
        Exception: Whatever the layer raises, if it cannot be made from its configuration.
    """
    copy = _anew(layer, layer.name)
    assert isinstance(copy, keras.Layer)
    return copy


def _constants(call: Call) -> Iterator[Any]:
    """The arguments of a call that are no tensors of the graph."""
    args, kwargs = call.fill(dict.fromkeys(call.reads))
    yield from keras.tree.flatten((args, kwargs))


def has_graph(layer: keras.Operation) -> bool:
    """Whether a layer is a model whose graph can be read."""
    if not isinstance(layer, keras.Model):
        return False
    try:
        functional(layer)
    except CutwidgetsError:
        return False
    return True


def _anew(layer: keras.Operation, name: str) -> keras.Operation:
    """A layer of the same configuration, without its state."""
    kind: Any = type(layer)
    if kind is keras.layers.Lambda:
        # A function that goes through the configuration loses the globals that it reads.
        for function in filter(callable, (layer.function, layer.mask, layer._output_shape)):
            if state := state_within(function):
                raise ValueError(
                    f"its function reads {state!r} from outside, which the copy would share"
                )
        return kind(
            layer.function,
            output_shape=layer._output_shape,
            mask=layer.mask,
            arguments=dict(layer.arguments),
            name=name,
            dtype=layer.dtype_policy,
            trainable=layer.trainable,
        )
    # Keras takes no Python lambda from a file of unknown origin; this one is in memory already.
    trusted = {"safe_mode": False} if isinstance(layer, keras.layers.Lambda) else {}
    with keras.saving.custom_object_scope(_own_objects(layer)):
        return kind.from_config({**_unshared(layer.get_config()), "name": name}, **trusted)


def _unshared(config: Any) -> Any:
    """A copy of a configuration, with its containers and arrays."""
    if isinstance(config, dict):
        return {key: _unshared(value) for key, value in config.items()}
    if type(config) in (list, tuple):
        return type(config)(map(_unshared, config))
    return config.copy() if isinstance(config, np.ndarray) else config


def _own_objects(layer: keras.Operation) -> dict[str, Any]:
    """The user's own classes and functions in a layer, by the names that Keras looks up."""
    if not isinstance(layer, keras.Layer):
        return {}
    inside = [layer, *layer._flatten_layers(include_self=False)]
    functions = {
        value.__name__: value
        for each in inside
        for value in vars(each).values()
        if isinstance(value, FunctionType)
    }
    objects = functions | {type(each).__name__: type(each) for each in inside}
    return {n: o for n, o in objects.items() if not o.__module__.startswith("keras.")}


def _built(layer: keras.Layer, copy: keras.Layer, name: str) -> keras.Layer:
    """A copy with variables and state, where Keras can build it before it is called."""
    try:
        config = layer.get_build_config()
        if config and not copy.built:
            copy.build_from_config(config)
            copy.built = True
        if copy.built:
            copy_state(layer, copy)
    except ShapeError as error:
        raise _differs(layer, error) from error
    except Exception:  # it may need a call first; a real error shows in `finish`
        return _anew(layer, name)
    return copy


def _finished(old: keras.Operation, new: keras.Operation) -> list[tuple[Any, Any]]:
    """Complete a copy and compare it; returns each variable with its copy."""
    if has_graph(old):
        return []
    try:
        if not isinstance(old, keras.Layer):
            require_same_config(old, new)
            return []
        try:  # most copies have their state since `_built`
            copy_flags(old, new)
            matches = require_equal(old, new)
        except Exception:  # as for tables that are still empty; a real error is raised below
            copy_state(old, new)
            copy_flags(old, new)
            matches = require_equal(old, new)
        return [(match.old, match.new) for match in matches]
    except StateError as error:
        raise _differs(old, error) from error


def _differs(layer: keras.Operation, error: StateError) -> CutError:
    return CutError(
        f"{_cannot_copy(layer)}: the layer that its configuration builds differs; {error}."
    )


def _tied(one: keras.Operation, other: keras.Operation) -> CutError:
    return CutError(
        f"The layers {one.name!r} and {other.name!r} hold the same variable, and copies would not. "
        "Share the layers with weights='share', or put both into one layer."
    )


def _cannot_copy(layer: keras.Operation) -> str:
    return (
        f"The layer {layer.name!r} ({type(layer).__name__}) cannot be copied. Give it a "
        "get_config() method that returns all arguments of its constructor, or share the layers "
        "with weights='share'. The reason"
    )
