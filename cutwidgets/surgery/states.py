"""The state of layers: everything that Keras saves and loads, and the trainable flags.

A layer's state is copied by Keras's own protocol (`save_own_variables`, `save_assets` and their
counterparts), with a store in memory. Inner layers and variables are matched by the attributes that
they are in, as Keras does, and never by their position among all variables.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

import keras
import numpy as np

from .likeness import STATEFUL, SeedGenerator, difference, equal_bits, to_numpy

# Attributes that Keras neither saves nor rebuilds: the scale of LoRA, which saving merges into the
# kernel, and the summary of the data from which Discretization computes its boundaries.
FORGOTTEN = ("lora_alpha", "summary")


class StateError(Exception):
    """The state of a layer cannot be copied; the message is the reason."""


class ShapeError(StateError):
    """A variable of the copy has another shape or dtype, which no call will change."""


@dataclass(frozen=True, slots=True)
class Match:
    """A layer or variable of the original, and its counterpart in the copy.

    Attributes:
        path: The attributes that lead to it, as `".cell.kernel"`; `""` for the layer itself.
        old: The original.
        new: The copy.
    """

    path: str
    old: Any
    new: Any


def copy_state(layer: keras.Layer, copy: keras.Layer) -> None:
    """Copy the state of a layer to its copy: variables, seeds, vocabularies.

    Raises:
        StateError: If the copy cannot have this state.
    """
    for match in layers_of(layer, copy):
        for name in FORGOTTEN:
            if hasattr(match.old, name) and hasattr(match.new, name):
                setattr(match.new, name, getattr(match.old, name))
        _load(match)
        _copy_data(match)
    # Loading may make inner layers and variables that were not there before.
    for match in variables_of(layers_of(layer, copy)):
        if not equal_bits(match.old, match.new):
            # The array itself must not be shared: JAX reuses the memory of what it trains.
            match.new.assign(keras.ops.copy(match.old))


def copy_flags(layer: keras.Layer, copy: keras.Layer) -> None:
    """Copy the `trainable` flags of a layer, its inner layers and all variables."""
    matches = layers_of(layer, copy)
    for match in matches:  # outer ones first: they set the flags of what is inside
        if match.new.trainable != match.old.trainable:
            match.new.trainable = match.old.trainable
    for match in variables_of(matches):
        if match.new.trainable != match.old.trainable:
            match.new.trainable = match.old.trainable


def require_equal(layer: keras.Layer, copy: keras.Layer) -> list[Match]:
    """Compare a layer with its copy: configuration, states, flags and attributes.

    Returns:
        All their variables.

    Raises:
        StateError: If they differ.
    """
    require_same_config(layer, copy)
    matches = layers_of(layer, copy)
    variables = variables_of(matches)
    compared = {id(match.old) for match in variables}, {id(match.new) for match in variables}
    for match in matches:
        own = {"trainable": match.old.trainable, **_plain(match.old)}
        other = {"trainable": match.new.trainable, **_plain(match.new)}
        for name, value in own.items():
            if name not in other:
                raise StateError(f"{match.path}.{name} is set in the original alone")
            _require(difference(value, other[name], f"{match.path}.{name}"))
        if _overrides(match.old, "save_own_variables"):
            # Variables are compared below, without copying each to NumPy here.
            old, new = (
                {
                    key: to_numpy(value)
                    for key, value in _store(each).items()
                    if id(value) not in ids
                }
                for each, ids in zip((match.old, match.new), compared, strict=True)
            )
            _require(difference(old, new, f"{match.path}.save_own_variables()"))
    for match in variables:
        if match.old.trainable != match.new.trainable or not equal_bits(match.old, match.new):
            raise StateError(f"{match.path} has another value or another trainable flag")
        for name in ("constraint", "regularizer"):
            values = getattr(match.old, name, None), getattr(match.new, name, None)
            _require(difference(*values, f"{match.path}.{name}"))
    return variables


def require_same_config(one: keras.Operation, other: keras.Operation) -> None:
    """Compare the configurations of two layers or operations, except for the names.

    Raises:
        StateError: If they differ.
    """
    config, others = ({**each.get_config(), "name": None} for each in (one, other))
    _require(difference(config, others, "its configuration"))


def layers_of(layer: keras.Layer, copy: keras.Layer) -> list[Match]:
    """A layer and all layers inside it, with their copies; outer ones first.

    Raises:
        StateError: If the copy has other layers inside, or shares one.
    """
    matches: dict[int, Match] = {}
    waiting = [Match("", layer, copy)]
    while waiting:
        match = waiting.pop(0)
        first = matches.setdefault(id(match.old), match)
        if first is not match:
            if first.new is not match.new:
                raise StateError(f"{first.path} and {match.path} are one layer in the original")
            continue
        if match.old is match.new:
            raise StateError(f"{match.path} is the original's own layer")
        if type(match.old) is not type(match.new):
            raise StateError(f"{match.path} is a {type(match.new).__name__}")
        waiting += _paired(match, keras.Layer)
    return list(matches.values())


def variables_of(matches: Sequence[Match]) -> list[Match]:
    """The variables of layers, and the states of their seed generators.

    Raises:
        StateError: If a copy has other variables, or shares one.
    """
    variables: dict[int, Match] = {}
    for layer in matches:
        pairs = _paired(layer, keras.Variable)
        pairs += [
            Match(f"{m.path}.state", m.old.state, m.new.state)
            for m in _paired(layer, SeedGenerator)
        ]
        for match in pairs:
            first = variables.setdefault(id(match.old), match)
            if first.new is not match.new:
                raise StateError(f"{first.path} and {match.path} are one variable in the original")
            if match.old is match.new:
                raise StateError(f"{match.path} is the original's own variable")
            old, new = (
                (tuple(v.shape), keras.backend.standardize_dtype(v.dtype))
                for v in (match.old, match.new)
            )
            if old != new:
                raise ShapeError(f"{match.path} has the shape and dtype {old}, its copy {new}")
    return list(variables.values())


def _paired(match: Match, kind: type) -> list[Match]:
    """The variables, layers or seed generators in two layers' own attributes, paired by these."""
    old, new = _own_parts(match.old, kind), _own_parts(match.new, kind)
    if old.keys() != new.keys():
        other = sorted(old.keys() ^ new.keys())
        raise StateError(f"of the two, only one has {match.path}{other[0]}")
    return [Match(match.path + path, old[path], new[path]) for path in old]


def _own_parts(layer: Any, kind: type) -> dict[str, Any]:
    """The parts of some kind in a layer's own attributes, by the path to each."""
    if isinstance(layer, keras.Model) and _has_graph(layer):
        # Names are unique in a model, and its configuration keeps them.
        own = {f".{inner.name}": inner for inner in layer.layers}
        return own if kind is keras.Layer else {}
    parts = {
        path: value
        for name, value in _own_attributes(layer).items()
        for path, value in _leaves(value, f".{name}")
        if isinstance(value, kind)
    }
    # Keras also tracks parts that are in no attribute.
    tracked = {
        keras.Variable: ("_trainable_variables", "_non_trainable_variables"),
        keras.Layer: ("_layers",),
    }.get(kind, ("_seed_generators",))
    ids = {id(value) for value in parts.values()}
    for name in tracked:
        rest = [value for value in getattr(layer, name, ()) if id(value) not in ids]
        parts |= {f".{name}[{number}]": value for number, value in enumerate(rest)}
    return parts


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from _leaves(part, f"{path}[{number}]")
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(part, f"{path}[{key!r}]")
    else:
        yield path, value


def _has_graph(model: keras.Model) -> bool:
    return isinstance(model, keras.Sequential) or bool(getattr(model, "inputs", None))


def _own_attributes(layer: Any) -> dict[str, Any]:
    """The attributes that a layer's class or user has set, without Keras's bookkeeping."""
    usual = _usual(isinstance(layer, keras.Model))
    return {
        name: value
        for name, value in vars(layer).items()
        # TensorFlow uses these prefixes to track checkpoints.
        if name not in usual and not name.startswith(("_self_", "_tf_"))
    }


@cache
def _usual(of_model: bool) -> frozenset[str]:
    names = set(vars(keras.layers.Layer())) | (set(vars(keras.Model())) if of_model else set())
    return frozenset(names | {"_self_setattr_tracking", "_jax_state", "_build_shapes_dict"})


def _plain(layer: Any) -> dict[str, Any]:
    """The attributes to compare: those that contain no state."""
    if isinstance(layer, keras.Model) and _has_graph(layer):
        return {}
    own = {
        name: value
        for name, value in _own_attributes(layer).items()
        if not any(isinstance(leaf, STATEFUL) for _, leaf in _leaves(value, ""))
    }
    return own | {"supports_masking": layer.supports_masking}


def _copy_data(match: Match) -> None:
    """Copy plain data that the class has set since: a counter, a random mask."""
    other = _plain(match.new)
    for name, value in _plain(match.old).items():
        same = name in other and difference(value, other[name]) is None
        if not same and all(_is_data(leaf) for _, leaf in _leaves(value, "")):
            with suppress(AttributeError):  # a property; `require_equal` finds out if it matters
                setattr(match.new, name, deepcopy(value))


def _is_data(value: Any) -> bool:
    plain = (str, bytes, bool, int, float, complex, np.generic, np.ndarray, type(None))
    return isinstance(value, plain) or keras.ops.is_tensor(value)


def _overrides(layer: Any, method: str) -> bool:
    return getattr(type(layer), method, None) is not getattr(keras.Layer, method, None)


def _load(match: Match) -> None:
    """Copy state by Keras's own protocol, where the layer's class overrides it."""
    old, new = match.old, match.new
    if _overrides(old, "save_own_variables") or _overrides(old, "load_own_variables"):
        saved = {key: to_numpy(value) for key, value in _store(old).items()}
        _try(match, new.load_own_variables, saved)
    if hasattr(old, "save_assets") and hasattr(old, "load_assets"):
        with tempfile.TemporaryDirectory() as folder:
            _try(match, old.save_assets, folder)
            _try(match, new.load_assets, folder)


def _try(match: Match, method: Any, argument: Any) -> None:
    try:
        method(argument)
    except Exception as error:  # whatever a user's own layer raises
        raise StateError(f"{match.path}.{method.__name__}() failed: {error}") from error


def _store(layer: Any) -> dict[str, Any]:
    store: dict[str, Any] = {}
    layer.save_own_variables(store)
    return store


def _require(difference: str | None) -> None:
    if difference:
        raise StateError(f"they differ in {difference}")
