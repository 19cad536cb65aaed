"""What layers and blocks compute, as values that can be compared: their structure without names."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import CodeType, FunctionType
from typing import Any

import keras
import numpy as np

from ..blocks.blocks import Block
from ..graph.callgraph import Call

# What a layer's configuration says of its name, of how its weights begin, of training, and of
# where Keras finds its class: nothing of what it computes.
_IRRELEVANT = frozenset({"name", "trainable", "registered_name", "module", "build_config"})

_REFERENCES = ("inbound", "input_layers", "output_layers")  # how the keys begin


@dataclass(frozen=True, slots=True)
class Signature:
    """What a call computes, apart from the values of its weights.

    Attributes:
        kind: Name of the layer's class.
        config: Its configuration, as pairs of a name and a text.
        shapes: Shapes of its weights.
        constants: The arguments of the call that are no tensors of the graph, as a text.
    """

    kind: str
    config: tuple[tuple[str, str], ...]
    shapes: tuple[tuple[int, ...], ...]
    constants: str


Known = dict[int, tuple[tuple[tuple[str, str], ...], tuple[tuple[int, ...], ...]]]

Source = tuple[str, int, int]  # "inside", position of a call, of its output; "entry", its number, 0
Wiring = tuple[Source, ...]  # what a call reads


@dataclass(frozen=True, slots=True)
class Structure:
    """What a block computes, apart from the values of its weights.

    Attributes:
        kind: The kind of the block.
        calls: The signatures of its calls, in call order.
        wiring: For each call, what it reads.
        exits: What leaves the block.
    """

    kind: str
    calls: tuple[Signature, ...]
    wiring: tuple[Wiring, ...]
    exits: Wiring


def structure_of(block: Block, known: Known) -> Structure:
    """The structure of a block.

    Args:
        block: The block.
        known: See `signature_of`.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> vgg = cw.anatomy(keras.applications.VGG16(weights=None))
        >>> [call.kind for call in structure_of(vgg["block1"], {}).calls]
        ['Conv2D', 'Conv2D', 'MaxPooling2D']
    """
    graph = block.graph
    calls = [graph.calls[index] for index in block.calls]
    sources: dict[int, Source] = {t: ("entry", k, 0) for k, t in enumerate(block.entries)}
    for position, call in enumerate(calls):
        sources |= {t: ("inside", position, number) for number, t in enumerate(call.outputs)}
    return Structure(
        block.kind,
        tuple(signature_of(call, known) for call in calls),
        tuple(tuple(sources.get(t, ("entry", -1, 0)) for t in call.reads) for call in calls),
        tuple(sources.get(t, ("entry", -1, 0)) for t in block.exits),
    )


def signature_of(call: Call, known: Known) -> Signature:
    """The signature of a call.

    Args:
        call: The call.
        known: The configurations that were read so far, by the ids of the layers, and their shapes;
            others are added.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> x = keras.Input((4,))
        >>> layers = [keras.layers.Dense(2, name="one"), keras.layers.Dense(2, name="two")]
        >>> a, b = (read(keras.Model(x, layer(x))).calls[1] for layer in layers)
        >>> signature_of(a, {}) == signature_of(b, {})
        True
    """
    layer = call.layer
    if id(layer) not in known:
        shapes = tuple(tuple(w.shape) for w in getattr(layer, "weights", ()))
        known[id(layer)] = tuple(_config(layer)), shapes
    return Signature(call.kind, *known[id(layer)], _constants(call))


def _config(layer: keras.Operation) -> Iterator[tuple[str, str]]:
    if isinstance(layer, keras.layers.InputLayer):
        yield "batch_shape", str(tuple(layer.batch_shape))
        yield "dtype", str(layer.dtype)
        return
    try:
        config = dict(layer.get_config())
    except Exception:  # a user's own layer may have no configuration, or raise anything
        config = {k: v for k, v in vars(layer).items() if _is_plain(k, v)}
    if isinstance(layer, keras.layers.Lambda):
        # Its configuration has the code with the place where it was written.
        config |= {"function": layer.function, "mask": layer.mask}
        config |= {"output_shape": layer._output_shape}
    if isinstance(layer, keras.Layer):
        config["dtype"] = layer.dtype_policy.name
    if type(layer).__module__.startswith("keras."):
        config.pop("seed", None)  # of a user's own layer, it may be what it computes with
    for key, value in sorted(config.items()):
        if key not in _IRRELEVANT and not key.endswith("_initializer"):
            yield key, _text(_relevant(value, {}))


def _is_plain(name: str, value: Any) -> bool:
    plain = (str, int, float, tuple, np.ndarray)
    return not name.startswith("_") and name not in _IRRELEVANT and isinstance(value, plain)


def _relevant(value: Any, names: dict[str, str]) -> Any:
    """A part of a configuration without what does not matter, at any depth.

    Args:
        value: The part.
        names: A number for each name of a layer so far, by which inner models refer to it.
    """
    if isinstance(value, Mapping):
        if isinstance(value.get("name"), str):
            names.setdefault(value["name"], f"#{len(names)}")
        if value.get("class_name") == "DTypePolicy":
            return value["config"]["name"]
        return {
            str(key): _numbered(part, names)
            if str(key).startswith(_REFERENCES)
            else _relevant(part, names)
            for key, part in value.items()
            if key not in _IRRELEVANT and not str(key).endswith("_initializer")
        }
    if isinstance(value, list | tuple):
        return [_relevant(part, names) for part in value]
    return value


def _numbered(value: Any, names: Mapping[str, str]) -> Any:
    """References to layers, by numbers in place of names."""
    if isinstance(value, Mapping):
        return {key: _numbered(part, names) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_numbered(part, names) for part in value]
    return names.get(value, value) if isinstance(value, str) else value


def _constants(call: Call) -> str:
    args, kwargs = call.fill(dict.fromkeys(call.reads))
    kwargs = {k: v for k, v in kwargs.items() if v is not None and k != "training"}
    flat = keras.tree.flatten((args, kwargs))
    return _text([args, kwargs]) if any(leaf is not None for leaf in flat) else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    """A value that JSON does not know, by what it is and not by where it is."""
    if isinstance(value, FunctionType):
        code = value.__code__
        around = [cell.cell_contents for cell in value.__closure__ or ()]
        return [code.co_code.hex(), code.co_consts, code.co_names, value.__defaults__, around]
    if isinstance(value, CodeType):
        return [value.co_code.hex(), value.co_consts, value.co_names]
    if isinstance(value, keras.Variable) or keras.ops.is_tensor(value):
        value = keras.ops.convert_to_numpy(value)
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        digest = hashlib.blake2b(np.ascontiguousarray(array).tobytes()).hexdigest()
        return [str(array.dtype), array.shape, digest]
    if isinstance(value, bytes | complex | slice | type | range):
        return repr(value)
    if isinstance(value, partial):
        return [value.func, list(value.args), value.keywords]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if callable(getattr(value, "get_config", None)):
        return [type(value).__name__, _relevant(value.get_config(), {})]
    return f"{type(value).__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"
