"""Restore what a forward pass changes: states, statistics and seeds.

Keras does not list them all: `layer.non_trainable_variables` lacks the states of stateful recurrent
layers, and variables in a closure or a tuple. Therefore we search the attributes of each layer.
"""

import inspect
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from types import CellType, FunctionType
from typing import Any

import keras
import numpy as np

from ..graph.callgraph import Call
from ..graph.keras_internals import seed_all_layers_by, seeds_of_all_layers

# Of two passes at once, each would take the other's changes for the model's own states.
_one_pass_at_a_time = threading.RLock()

# Entered for each pass. Threads beside the user's keep their passes and the user's own code apart.
apart: ContextVar[Callable[[], AbstractContextManager[None]]] = ContextVar(
    "apart", default=nullcontext
)

_LEAVES = str | bytes | int | float | np.ndarray | None  # values that hold no variables


@dataclass(frozen=True, slots=True)
class States:
    """A snapshot of some layers' variables, and of the random generators that all layers share.

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
        """Restore every variable and generator."""
        seed_all_layers_by(self.generator)
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        for variable, value in self.variables:
            if not np.array_equal(value, _value(variable), equal_nan=value.dtype.kind in "fc"):
                variable.assign(value)


def states(variables: Iterable[Any]) -> States:
    """Take a snapshot of variables, and of the random generators that all layers share.

    Example:
        >>> import keras
        >>> normalise = keras.layers.BatchNormalization()
        >>> before = states(variables_of([normalise]))
        >>> _ = normalise(keras.ops.ones((2, 3)), training=True)
        >>> before.put_back()
    """
    generator = seeds_of_all_layers()
    seeds = [] if generator is None else [generator.state]
    return States(
        tuple((variable, _value(variable)) for variable in (*variables, *seeds)),
        generator,
        random.getstate(),
        np.random.get_state(),
    )


def variables_of(layers: Iterable[keras.Operation]) -> list[Any]:
    """All variables of layers that no optimizer trains, including those of inner layers.

    Example:
        >>> import keras
        >>> lstm = keras.layers.LSTM(4, stateful=True)
        >>> _ = lstm(keras.Input(batch_shape=(2, 5, 3)))
        >>> [variable.name for variable in variables_of([lstm])].count("rnn_state")
        2
    """
    variables: dict[int, Any] = {}
    visited: dict[int, Any] = {}  # with the objects, so that no id is used again
    trained: set[int] = set()
    queue: list[Any] = list(layers)
    while queue:
        value = queue.pop()
        if id(value) in visited or isinstance(value, _LEAVES):
            continue
        visited[id(value)] = value
        if _is_variable(value):
            variables[id(value)] = value
        elif isinstance(value, keras.Operation | keras.random.SeedGenerator):
            # Not `trainable_variables`: a frozen layer has none, and its weights need no copy.
            trained |= {id(variable) for variable in getattr(value, "_trainable_variables", ())}
            queue += (*vars(value).values(), type(value).__dict__.get("call"))
        elif isinstance(value, Mapping):
            queue += value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            queue += value
        elif inspect.ismethod(value):
            queue += (value.__self__, value.__func__)
        elif inspect.isfunction(value):
            queue += _captured(value)
    return [variable for key, variable in variables.items() if key not in trained]


def _is_variable(value: Any) -> bool:
    of_backend = type(value).__module__.startswith("tensorflow.") and hasattr(value, "assign")
    return isinstance(value, keras.Variable) or of_backend


def _captured(function: FunctionType) -> list[Any]:
    """What a user's function reads from its closure and its module, such as a seed generator."""
    if (function.__module__ or "").partition(".")[0] in ("keras", "tensorflow", "jax"):
        return []
    module = function.__globals__
    cells = [_content(cell) for cell in function.__closure__ or ()]
    return [*cells, *(module[name] for name in function.__code__.co_names if name in module)]


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # the variable is not assigned yet
        return None


def _value(variable: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable))


@contextmanager
def put_back_after(layers: Iterable[keras.Operation]) -> Iterator[None]:
    """Restore the states of layers at the end, also after an error or an interrupt.

    Only one thread at a time is within this context.

    Example:
        >>> import keras

        >>> seeds = keras.random.SeedGenerator(1)
        >>> drop = keras.layers.Dropout(0.5, seed=1)
        >>> with put_back_after([drop]):
        ...     _ = drop(keras.ops.ones((2, 3)), training=True)
        >>> print(keras.ops.convert_to_numpy(drop.seed_generator.state))
        [1 0]
    """
    with apart.get()(), _one_pass_at_a_time:
        before = states(variables_of(layers))
        try:
            yield
        finally:
            before.put_back()


class Record:
    """The states before each call in one run of a model, from which other runs can start each call.

    Head, slice and tail may run calls in another order than the model does. Calls of one stateful
    layer, or of layers that share a seed generator, share a state. Each of them must start from the
    state that it had in the model's own run.
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
        """Restore the states of a call's layer from before that call."""
        if call.index in self._before:
            self._before[call.index].put_back()

    def begin_all(self, calls: Iterable[int]) -> None:
        """Restore, for each layer, the states from before the first of some calls."""
        for index in sorted(calls, reverse=True):
            if index in self._before:
                self._before[index].put_back()
