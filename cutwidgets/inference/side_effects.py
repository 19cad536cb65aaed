"""What a forward pass may change, and how it is put back.

Keras does not list all of it: `layer.non_trainable_variables` lacks the states of a stateful
recurrent layer, and whatever a layer keeps in a closure or a tuple. So a layer's own attributes are
searched.
"""

import inspect
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import CellType, FunctionType
from typing import Any

import keras
import numpy as np

from ..graph.callgraph import Call
from ..graph.keras_internals import seed_all_layers_by, seeds_of_all_layers


@dataclass(frozen=True, slots=True)
class States:
    """The states of some layers, and of the random generators that all layers share.

    Attributes:
        variables: Each variable with its value.
        generator: Keras's global seed generator, if there is one yet.
        python: State of Python's `random`.
        numpy: State of NumPy's global generator.
    """

    variables: tuple[tuple[Any, np.ndarray], ...]
    generator: Any
    python: Any
    numpy: Any

    def put_back(self) -> None:
        """Give every variable and generator the state that it had."""
        seed_all_layers_by(self.generator)
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        for variable, value in self.variables:
            if not np.array_equal(value, _value(variable), equal_nan=value.dtype.kind in "fc"):
                variable.assign(value)


def states(variables: Iterable[Any]) -> States:
    """The present states of variables, and of the generators that all layers share.

    Example:
        >>> import keras
        >>> normalise = keras.layers.BatchNormalization()
        >>> before = states(variables_of([normalise]))
        >>> _ = normalise(keras.ops.ones((2, 3)), training=True)
        >>> before.put_back()
    """
    generator = seeds_of_all_layers()
    found = [*variables, *([] if generator is None else [generator.state])]
    return States(
        tuple((variable, _value(variable)) for variable in found),
        generator,
        random.getstate(),
        np.random.get_state(),
    )


def variables_of(layers: Iterable[keras.Operation]) -> list[Any]:
    """All variables of layers that no optimizer trains, those inside of other layers too.

    Example:
        >>> import keras
        >>> lstm = keras.layers.LSTM(4, stateful=True)
        >>> _ = lstm(keras.Input(batch_shape=(2, 5, 3)))
        >>> [variable.name for variable in variables_of([lstm])].count("rnn_state")
        2
    """
    found: dict[int, Any] = {}
    seen: dict[int, Any] = {}
    trained: set[int] = set()
    ahead: list[Any] = list(layers)
    while ahead:
        one = ahead.pop()
        if id(one) in seen or isinstance(one, str | bytes | int | float | np.ndarray | type(None)):
            continue
        seen[id(one)] = one
        if _is_variable(one):
            found[id(one)] = one
        elif isinstance(one, keras.Operation | keras.random.SeedGenerator):
            # Not `trainable_variables`: a frozen layer has none, and its weights need no copy.
            trained |= {id(variable) for variable in getattr(one, "_trainable_variables", ())}
            ahead += (*vars(one).values(), type(one).__dict__.get("call"))
        elif isinstance(one, Mapping):
            ahead += one.values()
        elif isinstance(one, list | tuple | set | frozenset):
            ahead += one
        elif inspect.ismethod(one):
            ahead += (one.__self__, one.__func__)
        elif inspect.isfunction(one):
            ahead += _outside(one)
    return [variable for key, variable in found.items() if key not in trained]


def _is_variable(one: Any) -> bool:
    own = isinstance(one, keras.Variable)
    of_backend = type(one).__module__.startswith("tensorflow.") and hasattr(one, "assign")
    return own or of_backend


def _outside(function: FunctionType) -> list[Any]:
    """What a user's function reads from around it, such as a seed generator."""
    if (function.__module__ or "").partition(".")[0] in ("keras", "tensorflow", "jax"):
        return []
    known = function.__globals__
    cells = [_content(cell) for cell in function.__closure__ or ()]
    return [*cells, *(known[name] for name in function.__code__.co_names if name in known)]


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # the variable is not assigned yet
        return None


def _value(variable: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable))


@contextmanager
def put_back_after(layers: Iterable[keras.Operation]) -> Iterator[None]:
    """Put all states of layers back in the end, also after an error or an interrupt.

    Example:
        >>> import keras

        >>> seeds = keras.random.SeedGenerator(1)
        >>> drop = keras.layers.Dropout(0.5, seed=1)
        >>> with put_back_after([drop]):
        ...     _ = drop(keras.ops.ones((2, 3)), training=True)
        >>> print(keras.ops.convert_to_numpy(drop.seed_generator.state))
        [1 0]
    """
    before = states(variables_of(layers))
    try:
        yield
    finally:
        before.put_back()


class Record:
    """The states before each call of one run of a model, for other runs to begin each call from.

    Head, slice and tail may run calls in another order than the model does. Where two calls share
    a state, as calls of one stateful layer or layers of one seed generator do, each call must find
    what it found in the model's own run.
    """

    def __init__(self) -> None:
        self._variables: dict[int, list[Any]] = {}
        self._before: dict[int, States] = {}

    def keep(self, call: Call) -> None:
        """Remember the states before a call."""
        key = id(call.layer)
        if key not in self._variables:
            self._variables[key] = variables_of([call.layer])
        self._before[call.index] = states(self._variables[key])

    def begin(self, call: Call) -> None:
        """Put the states of a call's layer to what they were before that call."""
        if call.index in self._before:
            self._before[call.index].put_back()

    def begin_all(self, calls: Iterable[int]) -> None:
        """Put the states to what they were before the first of some calls, for each layer."""
        for index in sorted(calls, reverse=True):
            if index in self._before:
                self._before[index].put_back()
