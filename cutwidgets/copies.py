"""Copies of layers: of the same configuration and weights, sharing nothing."""

from itertools import count

import keras

from .callgraph import read
from .errors import CutError
from .graph import Call
from .kerasgraph import functional, maker_name
from .repeating import RepeatError, repeat, units


class Copier:
    """Copies layers, each once however often it is called.

    Args:
        taken: Names that no copy may have, with what has them; copies are added.
        prefix: What to put before names that are taken; `""` for the names of the nested models
            that a layer is inside of.
    """

    def __init__(self, taken: dict[str, object] | None = None, prefix: str = "") -> None:
        self._taken = {} if taken is None else taken
        self._prefix = prefix
        self._copies: dict[int, tuple[keras.Operation, keras.Operation]] = {}

    def __call__(self, call: Call) -> keras.Operation:
        """A copy of the layer that is called.

        Raises:
            CutError: If it cannot be copied.
        """
        if id(call.layer) not in self._copies:
            copy = self._copy(call)
            self._copies[id(call.layer)] = call.layer, copy
            self._taken[copy.name] = copy
        return self._copies[id(call.layer)][1]

    def finish(self) -> None:
        """Give the copies the weights and flags of the layers, once they have been called.

        Raises:
            CutError: If a copy has not the same weights.
        """
        for layer, copy in self._copies.values():
            if not isinstance(layer, keras.Layer):
                continue
            old, new = layer.variables, copy.variables
            if [tuple(v.shape) for v in old] != [tuple(v.shape) for v in new]:
                raise CutError(
                    f"{_cannot_copy(layer)}: what its get_config() says makes a layer of other "
                    "weights."
                )
            for variable, value in zip(new, old, strict=True):
                variable.assign(value)
            copy.trainable = layer.trainable

    def _copy(self, call: Call) -> keras.Operation:
        layer, name = call.layer, self._name(call)
        try:
            source = functional(layer)
        except CutError:
            pass
        else:
            return self._copy_model(call, name, source)
        # Keras takes no Python lambda from a file of unknown origin; this one is in memory already.
        trusted = {"safe_mode": False} if isinstance(layer, keras.layers.Lambda) else {}
        try:
            return type(layer).from_config({**layer.get_config(), "name": name}, **trusted)
        except Exception as error:  # whatever a user's own layer raises
            raise CutError(f"{_cannot_copy(layer)}: {error}") from error

    def _copy_model(self, call: Call, name: str, source: keras.Model) -> keras.Model:
        graph = read(call.layer)
        symbols = {
            tensor: keras.Input(
                batch_shape=old.shape, dtype=old.dtype, sparse=old.sparse, name=maker_name(old)
            )
            for tensor, old in zip(graph.inputs, source.inputs, strict=True)
        }
        inside = range(len(graph.inputs), len(graph.calls))
        inner = Copier()
        try:
            calls = units(graph, inside, graph.inputs, graph.outputs)
            symbols = repeat(graph, calls, symbols, inner)
        except RepeatError as error:
            raise CutError(f"{_cannot_copy(call.layer)}: {error.__cause__}") from error
        copy = keras.Model(
            keras.tree.pack_sequence_as(source.input, [symbols[t] for t in graph.inputs]),
            keras.tree.pack_sequence_as(source.output, [symbols[t] for t in graph.outputs]),
            name=name,
        )
        inner.finish()
        return copy

    def _name(self, call: Call) -> str:
        """The layer's own name; where it is taken, behind a prefix."""
        prefix = self._prefix or (call.scope[-1].replace("/", "_") if call.scope else "copy")
        names = [call.own_name, f"{prefix}_{call.own_name}"]
        numbered = (f"{names[-1]}_{number}" for number in count(2))
        name = next((n for n in names if n not in self._taken), None) or next(
            n for n in numbered if n not in self._taken
        )
        return name


def _cannot_copy(layer: keras.Operation) -> str:
    return (
        f"The layer {layer.name!r} ({type(layer).__name__}) cannot be copied. Give it a "
        "get_config() method that returns all arguments of its constructor, or share the layers "
        "with weights='share'. The reason"
    )
