"""All access to Keras's private graph and seeds.

A model's graph is read from `Functional._nodes_by_depth`, the calls that belong to this model, and
never from a layer's `_inbound_nodes`, which also contain calls from other models.
"""

import inspect
import threading
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import keras

from ..errors import UnsupportedModelError
from ..loading import conversion
from .roles import per_class

try:  # Keras has no public name for these.
    from keras.src.backend.common import global_state
    from keras.src.models.functional import Functional
    from keras.src.ops.node import Node
    from keras.src.ops.symbolic_arguments import SymbolicArguments
    from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR
except ImportError as error:  # pragma: no cover
    raise ImportError(
        f"cutwidgets cannot find the model graph of Keras {keras.__version__}. Please install a "
        "version of Keras that cutwidgets was tested with: 3.11.3 to 3.15."
    ) from error

__all__ = ["Functional", "Node", "SymbolicArguments"]

P = ParamSpec("P")

T = TypeVar("T")

# Keras appends a node to a layer and then looks up its position, so two threads that record calls
# of one layer may permanently give both nodes the same position. Hold this lock while recording.
_lock = threading.RLock()

_recorded: list[Node] | None = None  # `undone_on_failure` removes these; guarded by the lock

# The attributes that Keras's scopes set while they are open, in each thread. An interrupt inside a
# scope's own `__exit__` leaves it open for good: models would then be built without variables.
_SCOPES = (
    *("autocast_scope", "stateless_scope", "symbolic_scope", "name_scope_stack"),
    *("remat_scope_stack", "custom_objects_scope_dict", "safe_mode_saving"),
    *("shared_objects/id_to_obj_map", "shared_objects/id_to_config_map"),
    *("tracking_on", "current_call_ctx", "in_tf_graph_scope", "torch_device"),
)


def alone(function: Callable[P, T]) -> Callable[P, T]:
    """Let only one thread at a time run functions that record calls in Keras's graph.

    Such a function must never wait for another thread, nor run a model on values.
    """

    @wraps(function)
    def locked(*args: P.args, **kwargs: P.kwargs) -> T:
        # A context manager of our own could be interrupted before its body, and keep the lock.
        with _lock:
            scopes = _open_scopes()
            try:
                return function(*args, **kwargs)
            except BaseException:
                _leave_scopes(scopes)
                raise

    return locked


def undone_on_failure(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function run alone, and remove the calls that it recorded if it raises.

    This also removes a call that an interrupt left half recorded.
    """

    @wraps(function)
    def undoing(*args: P.args, **kwargs: P.kwargs) -> T:
        global _recorded
        with _lock:
            outer, _recorded = _recorded, []
            recorded, scopes = _recorded, _open_scopes()
            try:
                return function(*args, **kwargs)
            except BaseException:
                _leave_scopes(scopes)
                _take_back(recorded)
                raise
            finally:
                _recorded = outer

    return undoing


def _open_scopes() -> dict[str, Any]:
    values = {name: global_state.get_global_attribute(name) for name in _SCOPES}
    return {k: v.copy() if isinstance(v, list | dict) else v for k, v in values.items()}


def _leave_scopes(scopes: dict[str, Any]) -> None:
    """Leave the scopes of Keras that were entered after `_open_scopes`."""
    for name, value in scopes.items():
        global_state.set_global_attribute(name, value)


def _take_back(nodes: Sequence[Node]) -> None:
    """Remove calls from Keras's graph. Nothing refers to their tensors, as the function failed."""
    for node in reversed(nodes):
        inbound = node.operation._inbound_nodes if hasattr(node, "operation") else []
        if not inbound or inbound[-1] is not node:
            continue  # not recorded yet, or followed by others, whose positions must not change
        for symbol in node.arguments.keras_tensors:
            maker = symbol._keras_history.operation if hasattr(symbol, "_keras_history") else None
            if maker is not None and node in maker._outbound_nodes:
                maker._outbound_nodes.remove(node)
        inbound.pop()


def memory_of(source: Functional) -> dict[str, Any]:
    """A cache for a model, which lives as long as the model.

    Cached values refer to the model's layers, which may refer back to the model. In a dictionary of
    ours, even a weak one, they would keep it alive. So the model itself stores the cache, where
    Keras neither saves, pickles nor copies it.
    """
    memory: dict[str, Any] = vars(source._tracker).setdefault("_cutwidgets", {})
    return memory


def functional(model: keras.Model) -> Functional:
    """The object that has a model's graph: the model itself, or the one inside a Sequential.

    Args:
        model: A built functional or Sequential model.

    Raises:
        UnsupportedModelError: If the model has no graph to read.

    Example:
        >>> import keras
        >>> functional(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])).inputs[0].shape
        (None, 2)
    """
    if isinstance(model, Functional | keras.Sequential) and type(model).call not in (
        Functional.call,
        keras.Sequential.call,
    ):
        raise UnsupportedModelError(
            f"The model {model.name!r} is a {type(model).__name__} with its own call() method, and "
            "cutwidgets cannot read what that adds to the graph of layers. Move it into a layer."
        )
    if isinstance(model, Functional):
        return model
    if isinstance(model, keras.Sequential):
        if model._functional is not None:
            return model._functional
        raise UnsupportedModelError(
            f"The Sequential model {model.name!r} is not built, so it has no graph to read yet. "
            "Call model.build(input_shape), or start it with keras.Input(shape)."
        )
    if isinstance(model, keras.Model):
        raise UnsupportedModelError(
            f"The model {model.name!r} is a subclassed {type(model).__name__}: its call() method "
            "defines what it does, so there is no graph of layers to read. Build the same network "
            "with the functional API, keras.Model(inputs, outputs); often "
            "keras.Model(x, model.call(x)) with x = keras.Input(shape) works."
        )
    if any(kind.__module__.partition(".")[0] == "tf_keras" for kind in type(model).__mro__):
        raise UnsupportedModelError(
            "This is a tf_keras (Keras 2) model, and cutwidgets reads Keras 3 models. These lines "
            f"convert it, where `old` is your model:\n{conversion('old', 'converted.h5')}"
        )
    raise UnsupportedModelError(
        f"Expected a keras.Model, functional or Sequential. Received: {model!r:.200} "
        f"(of type {type(model).__name__})."
    )


def nodes_of(source: Functional) -> list[Node]:
    """The calls of a model, inputs first, each after those that it depends on."""
    by_depth = source._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in reversed(by_depth[depth])]
    return sorted(nodes, key=lambda node: not node.is_input)


def state_of(source: Functional) -> list[object]:
    """The mutable parts of a model's graph; equal states mean that nothing changed.

    These are the names of layers, and the graphs of nested models. Only states of one model are
    comparable, while its layers live, as calls are identified by their ids.
    """
    state: list[object] = []
    for node in nodes_of(source):
        operation = node.operation
        state += (id(node), operation.name)
        if isinstance(operation, keras.Sequential):
            operation = operation._functional
        if isinstance(operation, Functional):
            state.append(state_of(operation))
    return state


def maker_of(symbol: keras.KerasTensor) -> Node | None:
    """The call that computes a tensor; `None` if there is none."""
    history = getattr(symbol, "_keras_history", None)
    if history is None or history.operation is None:
        return None
    return history.operation._inbound_nodes[history.node_index]


def maker_name(symbol: keras.KerasTensor) -> str:
    """Name of the layer that computes a tensor; the tensor's own name may differ."""
    return str(symbol._keras_history.operation.name)


def position_of(node: Node) -> int:
    """Index of a call among all calls of its layer, in all models."""
    return int(node.operation._inbound_nodes.index(node))


def origin_of(symbol: keras.KerasTensor) -> tuple[keras.Operation, int, int] | None:
    """The layer that computes a tensor, the index of the call, and the index among its outputs.

    Two `KerasTensor`s of equal origin stand for the same value.
    """
    history = getattr(symbol, "_keras_history", None)
    return None if history is None else tuple(history)


def travelling_masks(node: Node) -> dict[str, Any]:
    """The masks that `Layer.__call__` fills in for mask arguments that were not passed.

    These are the masks of the tensor arguments: `mask` if there is one such argument, `query_mask`
    for `query` if there are several.
    """
    if all(getattr(s, "_keras_mask", None) is None for s in node.input_tensors):
        return {}
    kind: Any = type(node.operation)
    names = parameters_of(kind)
    arguments = dict(zip(names, node.arguments.args, strict=False)) | node.arguments.kwargs
    masks = {
        name: keras.tree.map_structure(lambda s: getattr(s, "_keras_mask", None), value)
        for name, value in arguments.items()
        if any(isinstance(s, keras.KerasTensor) for s in keras.tree.flatten(value))
    }
    named = {"mask" if len(masks) == 1 else f"{name}_mask": mask for name, mask in masks.items()}
    return {
        name: mask
        for name, mask in named.items()
        if name in names
        and arguments.get(name) is None
        and any(m is not None for m in keras.tree.flatten(mask))
    }


@per_class
def parameters_of(kind: Any) -> list[str]:
    """Names of the arguments of a layer class's `call`."""
    return list(inspect.signature(kind.call).parameters)[1:]


@per_class
def needs_one(kind: Any) -> bool:
    """Whether a layer class's `call` has one argument without default."""
    parameters = list(inspect.signature(kind.call).parameters.values())[1:]
    return sum(p.default is p.empty and p.kind <= p.POSITIONAL_OR_KEYWORD for p in parameters) == 1


def takes_training(operation: keras.Operation) -> bool:
    """Whether a layer's `call` has the argument `training`."""
    kind: Any = type(operation)
    return "training" in parameters_of(kind)


def specify(layer: keras.Operation, arguments: Any) -> list[keras.KerasTensor]:
    """The shapes and dtypes that a call would return, without changing the layer.

    Raises:
        Exception: Whatever the layer raises, if it does not accept these arguments.
    """
    args, kwargs = arguments
    if isinstance(layer, keras.Layer):
        args, kwargs = keras.tree.map_structure(partial(_autocast, layer), (args, kwargs))
        layer._assert_input_compatibility(args[0] if args else next(iter(kwargs.values())))
    return list(keras.tree.flatten(layer.compute_output_spec(*args, **kwargs)))


def _autocast(layer: keras.Layer, value: Any) -> Any:
    """A symbol of the dtype to which a layer casts it before it is called."""
    if (
        isinstance(value, keras.KerasTensor)
        and layer.autocast
        and layer._convert_input_args
        and value.dtype != layer.input_dtype
        and keras.backend.is_float_dtype(value.dtype)
    ):
        return keras.KerasTensor(value.shape, dtype=layer.input_dtype, sparse=value.sparse)
    return value


def trace(layer: keras.Operation, arguments: Any) -> None:
    """Run a layer's `call` on shapes alone, even if it has its own `compute_output_spec`.

    Raises:
        Exception: Whatever the layer raises, if it does not accept these arguments.
    """
    args, kwargs = arguments
    keras.Operation.compute_output_spec(layer, *args, **kwargs)


def layers_inside(layer: keras.Operation) -> list[keras.Layer]:
    """A layer and all layers inside it, at any depth; none for an operation."""
    return list(layer._flatten_layers()) if isinstance(layer, keras.Layer) else []


def mask_of(symbol: keras.KerasTensor) -> Any:
    """The mask that Keras attached to a tensor; `None` if there is none."""
    return getattr(symbol, "_keras_mask", None)


def takes_mask(operation: keras.Operation) -> bool:
    """Whether a layer's `call` has an argument for a mask."""
    kind: Any = type(operation)
    return isinstance(operation, keras.Layer) and any(
        name == "mask" or name.endswith("_mask") for name in parameters_of(kind)
    )


def was_called(layer: keras.Layer) -> bool:
    """Whether a layer has been called on symbols, in any model."""
    return bool(layer._inbound_nodes)


def seeds_of_all_layers() -> keras.random.SeedGenerator | None:
    """The seed generator of layers without their own, if any such layer has drawn yet."""
    return global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)


def seed_all_layers_by(generator: keras.random.SeedGenerator | None) -> None:
    """Replace the generator that `seeds_of_all_layers` returns."""
    global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, generator)


def adapters_of(
    spec: keras.KerasTensor, model: Functional, own: keras.KerasTensor
) -> list[tuple[keras.Operation, keras.KerasTensor]]:
    """The operations by which a model adapts an input, each with its output.

    `Functional._standardize_inputs` casts to the dtype of its input, and adds or drops a last axis
    of length 1.
    """
    steps: list[tuple[keras.Operation, keras.KerasTensor]] = []
    symbol = keras.KerasTensor(spec.shape, dtype=spec.dtype, sparse=spec.sparse)

    def step(symbol: keras.KerasTensor, name: str) -> keras.KerasTensor:
        operation = symbol._keras_history.operation
        operation.name = f"{model.name}_{name}_{own.name}"  # the automatic one differs each time
        steps.append((operation, symbol))
        return symbol

    if symbol.dtype != own.dtype:
        symbol = step(keras.ops.cast(symbol, own.dtype), "cast")
    if len(symbol.shape) == len(own.shape) + 1:
        step(keras.ops.squeeze(symbol, axis=-1), "squeeze")
    elif len(symbol.shape) == len(own.shape) - 1:
        step(keras.ops.expand_dims(symbol, axis=-1), "expand")
    return steps


def specs_inside(
    source: Functional, inputs: Sequence[keras.KerasTensor]
) -> dict[int, keras.KerasTensor]:
    """By their ids, the tensors of a nested model for other input shapes than it was built for."""
    specs = {id(own): spec for own, spec in zip(source.inputs, inputs, strict=True)}
    for node in nodes_of(source):
        if not node.is_input:
            args, kwargs = node.arguments.fill_in(specs)
            outputs = keras.tree.flatten(node.operation.compute_output_spec(*args, **kwargs))
            specs |= {id(old): new for old, new in zip(node.outputs, outputs, strict=True)}
    return specs


@alone
def record(
    layer: keras.Operation, arguments: Any, outputs: Sequence[keras.KerasTensor]
) -> list[keras.KerasTensor]:
    """Record a call in Keras's own graph, without computing shapes again.

    This permanently adds a node to the layer: Keras finds a tensor's node by its position in the
    layer's list, so the node cannot be removed later.

    Args:
        layer: The layer or operation that is called.
        arguments: Positional and keyword arguments.
        outputs: Tensors of the shapes and dtypes that the call returns.

    Returns:
        New tensors, the outputs of the call.
    """
    args, kwargs = arguments
    symbols = [
        keras.KerasTensor(old.shape, dtype=old.dtype, sparse=old.sparse, name=old.name)
        for old in outputs
    ]
    node = Node.__new__(Node)
    if _recorded is not None:
        _recorded.append(node)
    Node.__init__(node, operation=layer, call_args=args, call_kwargs=kwargs, outputs=symbols)
    return symbols


@alone
def call(layer: keras.Operation, arguments: Any) -> list[keras.KerasTensor]:
    """Call a layer on symbols, as Keras does.

    Raises:
        Exception: Whatever the layer raises, if it does not accept these arguments.
    """
    args, kwargs = arguments
    before = len(layer._inbound_nodes)
    try:
        return list(keras.tree.flatten(layer(*args, **kwargs)))
    finally:
        if _recorded is not None:
            _recorded.extend(layer._inbound_nodes[before:])
