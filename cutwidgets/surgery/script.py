"""Write a section of a model as a plain Keras script, which needs no cutwidgets."""

import builtins
import inspect
import keyword
import re
import textwrap
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

import keras

from ..blocks.blocks import OUTSIDE_STAGES, Block
from ..errors import CutError, CutwidgetsError
from ..graph.callgraph import Call, CallGraph, Tensor, between
from ..graph.keras_internals import functional, maker_of
from ..graph.rebuild import units
from ..structure.anatomy import anatomy
from ..structure.places import PlaceLike, resolve
from .build import Section, build, model_name
from .literals import (
    WIDTH,
    Expression,
    Group,
    Node,
    UnwritableError,
    flat,
    formatted,
    keyword_text,
    node,
    quoted,
    shown,
)
from .removal import without
from .slicing import section

_RESERVED = {"keras", "numpy", "model", "layer", "operation", "x", "inputs", "part", *dir(builtins)}

_SHARED = (
    "It shares its layers with the model: train or freeze one, and you train or freeze the\nother."
)


def to_code(
    model: keras.Model,
    start: PlaceLike | None = None,
    end: PlaceLike | None = None,
    *,
    allow_bypass: bool = False,
    remove: str | Iterable[PlaceLike] = (),
) -> str:
    """Write a slice as a plain Keras script that builds it from the model, without cutwidgets.

    The script loads the model from a file and calls its layers again; as in `cut`, they are shared.
    It looks as `ruff format` and `black` would have it.

    Args:
        model: A built functional or Sequential model.
        start: A place; `None` for the model's own input.
        end: A place; `None` for the model's own output.
        allow_bypass: As for `cut`.
        remove: Blocks or stages to leave out, as `cutwidgets.remove` does; or one name.

    Returns:
        The script. Its last statement makes `part`, a `keras.Model`.

    Raises:
        UnknownPlaceError: If the model has no such place.
        BypassedCutError: If the end also needs a tensor that passes the start by.
        CutError: If there is no such slice, or a layer is called with something that a script
            cannot hold, such as a constant of more than 1,000 elements.
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> vgg = keras.applications.VGG16(weights=None)
        >>> print(cw.to_code(vgg, "block2", "block2_conv2").partition("inputs = ")[2])
        x = keras.Input((112, 112, 64), name="block1_pool")
        <BLANKLINE>
        # block2: plain block, in part
        x = layer["block2_conv1"](x)
        x = layer["block2_conv2"](x)
        <BLANKLINE>
        part = keras.Model(inputs, x, name="vgg16_from_block2_to_block2_conv2")
    """
    found, removed = anatomy(model), (remove,) if isinstance(remove, str) else tuple(remove)
    piece = section(found, start, end, allow_bypass=allow_bypass)
    first, last = (None if p is None else resolve(found, p).name for p in (start, end))
    gone = [resolve(found, place).name for place in removed]
    if removed:
        piece = _without(piece, without(found, removed), gone)
    return script(model, piece, found.blocks, _headline(found.name, first, last, gone))


def _without(piece: Section, graph: CallGraph, gone: Sequence[str]) -> Section:
    """The section in the graph without some blocks."""
    swaps = dict(graph.swaps)

    def swapped(tensors: Iterable[int]) -> tuple[int, ...]:
        # What a slice takes or gives may be made by a block that is gone.
        tensors = list(tensors)
        while swaps.keys() & set(tensors):
            tensors = [swaps.get(tensor, tensor) for tensor in tensors]
        return tuple(tensors)

    inputs, outputs = dict.fromkeys(swapped(piece.inputs)), swapped(piece.outputs)
    calls, reached = between(graph, outputs, inputs)
    left = between(graph, graph.outputs, ())[0]
    if not calls or not set(calls) <= set(left) or not set(reached) <= set(inputs):
        raise CutError(
            f"Cannot write {piece.name!r} without {', '.join(map(repr, gone))}: its start or its "
            "end lies in what is removed. Start before that, and end behind it."
        )
    kept = tuple(tensor for tensor in inputs if tensor in reached)
    names = gone if len(gone) < 4 else [f"{len(gone)}_blocks"]
    return Section(graph, model_name(piece.name, "without", *names), kept, outputs, calls)


def _headline(model: str, start: str | None, end: str | None, gone: Sequence[str]) -> str:
    to = "up to" if end and not start else "to"
    until = f" {to} {shown(end)}" if end else " to the end" if start else ""
    since = f" from {shown(start)}" if start else ""
    slice_of = f"slice{since}{until} of the " if since or until else ""
    rest = f", without {', '.join(map(shown, gone))}" if gone else ""
    return f"The {slice_of}Keras model {shown(model)}{rest}."


def script(model: keras.Model, piece: Section, blocks: Sequence[Block], headline: str) -> str:
    """The script that builds a section of a model.

    Args:
        model: The model.
        piece: The section, of the model's graph or of that graph rewired.
        blocks: The model's blocks, for comments.
        headline: The first line of the script's docstring.

    Raises:
        CutError: As in `to_code`.
    """
    writer = _Writer(model, piece)
    # What Keras cannot build is refused here, by `build`.
    makers = map(maker_of, functional(build(model, piece)).inputs)
    names = [maker.operation.name for maker in makers if maker is not None]
    begin, body, before = writer.inputs(names), list[str](), None
    for position, call in enumerate(writer.units):
        comment = _comment(piece, blocks, call)
        if comment != before:
            body += ["", f"# {comment}"]
        body.append(writer.call(position, call))
        before = comment
    outputs = writer.structure(piece.outputs, piece.graph.outputs, functional(model).output)
    end = (("", "inputs"), ("", outputs), ("name=", quoted(piece.name)))
    path = quoted(f"{model_name(model.name)}.keras")
    headline = textwrap.fill(
        '"""' + headline.replace('"', '\\"'), WIDTH, break_long_words=False, break_on_hyphens=False
    )
    lines = [
        f'{headline}\n\n{_SHARED}\n"""\n\nimport keras',
        *(["import numpy"] if writer.needs_numpy else []),
        "\n# The model that was cut: load or build it here.",
        formatted(Group("model = keras.models.load_model(", (("", path),), ")")),
        *writer.models,
        "",
        *begin,
        *body,
        "",
        formatted(Group("part = keras.Model(", end, ")")),
    ]
    return "\n".join(lines) + "\n"


def _comment(piece: Section, blocks: Sequence[Block], call: Call) -> str | None:
    """Which block a call belongs to."""
    if call is not piece.graph.calls[call.index]:
        return f"{shown(call.name)[1:-1]}: a model inside the model"
    block = next((block for block in blocks if call.index in block.calls), None)
    if block is None:
        return None
    words = [block.kind] if block.kind in OUTSIDE_STAGES else [f"{block.kind} block"]
    words += [f"{block.shortcut} shortcut"] if block.shortcut else []
    if any(piece.graph.tensors[old].maker in block.calls for old, _ in piece.graph.swaps):
        words.append("without its residual branch")
    elif not set(block.calls) <= set(piece.calls):
        words.append("in part")
    name = shown(block.name)[1:-1]
    return ", ".join(words) if words[0] == name else f"{name}: {', '.join(words)}"


class _Writer:
    """Writes statements, and knows what stands for each tensor.

    Attributes:
        units: The calls to write, in order.
        models: Statements that look up the layers of the model and of models inside of it.
        needs_numpy: Whether a constant has been written.
    """

    def __init__(self, model: keras.Model, piece: Section) -> None:
        self.units = units(piece.graph, piece.calls, piece.inputs, piece.outputs)
        self.models: list[str] = []
        self.needs_numpy = False
        self._model, self._piece = model, piece
        self._taken = set(_RESERVED)
        self._owners = _owners(model)
        self._tables: dict[int, str] = {}
        self._table(model, "model", "layer")
        self._written: dict[int, Expression] = {}
        self._readers: dict[int, set[int]] = {tensor: {len(self.units)} for tensor in piece.outputs}
        for position, call in enumerate(self.units):
            for tensor in call.reads:
                self._readers.setdefault(tensor, set()).add(position)

    def inputs(self, names: Sequence[str]) -> list[str]:
        """Statements that make the inputs, under these names."""
        graph, tensors = self._piece.graph, self._piece.inputs
        own = functional(self._model).input
        alone = len(names) == 1 and not (tensors == graph.inputs and keras.tree.is_nested(own))
        lines = []
        for tensor, name in zip(tensors, names, strict=True):
            variable = self._variable(tensor, name, -1 if alone else None)
            begin = f"inputs = {variable}" if alone else variable
            items = _input(graph.tensors[tensor], name)
            lines.append(formatted(Group(f"{begin} = keras.Input(", items, ")")))
        structure = None if alone else self.structure(tensors, graph.inputs, own)
        return lines if structure is None else [*lines, formatted(structure, before="inputs = ")]

    def structure(self, tensors: Sequence[int], own: Sequence[int], structure: Any) -> "Node":
        """Tensors in the structure of the model's own inputs or outputs, where they are these."""
        flat = [self._written[tensor] for tensor in tensors]
        if tuple(tensors) == tuple(own):
            return node(keras.tree.pack_sequence_as(structure, flat))
        return node(flat[0] if len(flat) == 1 else flat)

    def call(self, position: int, call: Call) -> str:
        """The statement of a call."""
        args, kwargs = call.fill({tensor: self._written[tensor] for tensor in call.reads})
        try:
            callee, more = self._callee(call.layer)
            kwargs = {k: v for k, v in kwargs.items() if not _is_usual(call.layer, k, v)}
            items = [("", node(value)) for value in args]
            items += [
                (f"{keyword_text(key)}=", node(value)) for key, value in (kwargs | more).items()
            ]
        except UnwritableError as error:
            raise CutError(
                f"Cannot write {self._piece.name!r} as a script: the layer {call.name!r} "
                f"({call.kind}) {error}"
            ) from None
        self.needs_numpy |= any("numpy." in flat(node) for _, node in items)
        target = self._target(position, call)
        return formatted(Group(f"{callee}(", tuple(items), ")"), before=f"{target} = ")

    def _callee(self, operation: keras.Operation) -> tuple[str, dict[str, Any]]:
        """What to call, and keyword arguments besides those of the call."""
        if id(operation) in self._owners:
            return self._lookup(operation), {}
        # What a nested model does to its inputs, and what masks are made by, is in no model.
        kind = type(operation)
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
        function = getattr(keras.ops, name, None)
        if isinstance(operation, keras.Layer) or not kind.__module__.startswith("keras."):
            function = None
        if function is None:
            raise UnwritableError("is not among the layers of the model.")
        usual = {name: p.default for name, p in inspect.signature(function).parameters.items()}
        try:
            config = {key: v for key, v in operation.get_config().items() if key != "name"}
            return f"keras.ops.{name}", {k: v for k, v in config.items() if v != usual[k]}
        except (KeyError, NotImplementedError):
            raise UnwritableError(f"is not what keras.ops.{name} makes.") from None

    def _lookup(self, operation: keras.Operation) -> str:
        owner = self._owners[id(operation)]
        if id(owner) not in self._tables:
            variable = self._identifier(owner.name[:24])
            path, name = self._lookup(owner)[:-1].split("[", 1)
            self.models.append(formatted(Group(f"{variable} = {path}[", (("", name),), "]")))
            self._table(owner, variable, self._identifier(f"{variable}_layer"))
        return f"{self._tables[id(owner)]}[{quoted(operation.name)}]"

    def _table(self, owner: keras.Model, variable: str, table: str) -> None:
        self._tables[id(owner)] = table
        # A Sequential model has no `operations`.
        parts = "layers" if isinstance(owner, keras.Sequential) else "operations"
        text = f"operation.name: operation for operation in {variable}.{parts}"
        self.models.append(formatted(Group(f"{table} = {{", (("", text),), "}")))

    def _target(self, position: int, call: Call) -> str:
        """What the result of a call is assigned to."""
        paths = _paths(self._piece.graph, call)
        name, wanted = call.own_name, [t for t in call.outputs if self._is_wanted(t)]
        if paths == [()]:
            return self._variable(call.outputs[0], name, position)
        if len(paths) > 1 and paths == [(number,) for number in range(len(paths))]:
            alone = position if len(wanted) == 1 else None
            targets = []
            for number, tensor in enumerate(call.outputs, 1):
                suffix = f"_{number}" if alone is None else ""
                variable = self._variable(tensor, f"{name}{suffix}", alone)
                targets.append(variable)
            return ", ".join(targets)
        variable = self._identifier(name)
        for tensor, path in zip(call.outputs, paths, strict=True):
            keys = "".join(f"[{flat(node(key))}]" for key in path)
            self._written.setdefault(tensor, Expression(variable + keys))
        return variable

    def _is_wanted(self, tensor: int) -> bool:
        return tensor in self._readers and tensor not in self._written

    def _variable(self, tensor: int, name: str, position: int | None) -> str:
        """A name for a tensor; `x` where only the statement behind its position reads it."""
        if not self._is_wanted(tensor):
            return "_"
        brief = position is not None and self._readers[tensor] == {position + 1}
        variable = "x" if brief else self._identifier(name)
        self._written[tensor] = Expression(variable)
        return variable

    def _identifier(self, name: str) -> str:
        """A new name for a variable."""
        words = re.sub(r"[^0-9A-Za-z]+", "_", name)[:40].strip("_")
        words = words if words[:1].isalpha() else f"tensor_{words}".rstrip("_")
        words += "_" if keyword.iskeyword(words) or words in _RESERVED else ""
        found, numbers = words, count(2)
        while found in self._taken:
            found = f"{words}_{next(numbers)}"
        self._taken.add(found)
        return found


def _owners(model: keras.Model) -> dict[int, keras.Model]:
    """For the id of each layer and operation, the model that has it; the outermost if several."""
    owners: dict[int, keras.Model] = {}
    models = [model]
    for owner in models:
        parts = owner.layers if isinstance(owner, keras.Sequential) else owner.operations
        for part in parts:
            if id(part) not in owners:
                owners[id(part)] = owner
                models += [part] if _is_opened(part) else []
    return owners


def _is_opened(part: keras.Operation) -> bool:
    try:
        return functional(part) is not None
    except CutwidgetsError:
        return False


def _is_usual(layer: keras.Operation, argument: str, value: Any) -> bool:
    """Whether an argument need not be written: Keras notes down defaults, too."""
    parameter = inspect.signature(layer.call).parameters.get(argument)
    usual = None if parameter is None else parameter.default
    if argument.endswith("mask") and all(part is None for part in keras.tree.flatten(value)):
        value = None  # for several tensors, Keras notes down several masks that are not there
    return (value is None or isinstance(value, bool)) and value is usual


def _paths(graph: CallGraph, call: Call) -> list[tuple[Any, ...]]:
    """Where in what a call gives its output tensors are."""
    if _is_opened(call.layer):
        structure = functional(call.layer).output
    else:
        args, kwargs = call.fill({tensor: graph.tensors[tensor].symbol for tensor in call.reads})
        structure = call.layer.compute_output_spec(*args, **kwargs)
    return [path for path, _ in keras.tree.flatten_with_path(structure)]


def _input(tensor: Tensor, name: str) -> tuple[tuple[str, "Node"], ...]:
    """Arguments of `keras.Input`."""
    items: list[tuple[str, Node]] = [("", node(tensor.shape[1:]))]
    if not tensor.shape:
        items = [("batch_shape=", "()")]
    elif tensor.shape[0] is not None:
        items.append(("batch_size=", repr(tensor.shape[0])))
    items += [("dtype=", quoted(tensor.dtype))] if tensor.dtype != "float32" else []
    items += [("sparse=", "True")] if tensor.symbol.sparse else []
    return (*items, ("name=", quoted(name)))
