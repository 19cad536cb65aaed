"""Write a section of a model as a plain Keras script, which does not need cutwidgets."""

import builtins
import inspect
import keyword
import re
import textwrap
from collections.abc import Iterable, Sequence
from itertools import chain, count
from typing import Any

import keras

from ..blocks.blocks import OUTSIDE_STAGES, Block
from ..errors import CutError
from ..graph.callgraph import Call, CallGraph, Shape, Tensor, between
from ..graph.keras_internals import functional, maker_of
from ..graph.rebuild import units
from ..structure.anatomy import anatomy
from ..structure.places import EndLike, PlaceLike, are_several, resolve, resolve_each
from .build import Section, Weights, arranged, build, model_name, require_weights, returned
from .copies import has_graph
from .literals import WIDTH, Code, UnwritableError, in_lines, keyword_text, shown, written
from .removal import without
from .slicing import section

_RESERVED = {"keras", "numpy", "model", "layer", "op", "x", "inputs", "part", *dir(builtins)}

_LAYERS = {
    "share": (
        "It shares its layers with the model: train or freeze one, and you train or freeze the\n"
        "other."
    ),
    "copy": "It has layers of its own: to train or freeze them does not change the model.",
}

_COPY = """
# A saved and loaded slice has layers of its own, with equal weights.
with tempfile.TemporaryDirectory() as folder:
    part.save(f"{folder}/part.keras")
    part = keras.models.load_model(f"{folder}/part.keras")"""


def to_code(
    model: keras.Model,
    start: PlaceLike | None = None,
    end: EndLike | None = None,
    *,
    weights: Weights = "share",
    allow_bypass: bool = False,
    input_shape: Any = None,
    remove: str | Iterable[PlaceLike] = (),
) -> str:
    """Write a slice as a plain Keras script that builds it from the model, without cutwidgets.

    The script loads the model from a file and calls its layers again. It builds what `cut`
    returns for the same arguments.

    Args:
        model: A built functional or Sequential model.
        start: A place; `None` for the model's own input.
        end: A place; `None` for the model's own output; several as for `cut`.
        weights: As for `cut`. With `"share"`, the slice has the layers of the script's `model`;
            with `"copy"`, the script saves the slice to a temporary file and loads it again, so
            that it has layers of its own.
        allow_bypass: As for `cut`.
        input_shape: As for `cut`: the shape that the slice accepts.
        remove: Blocks or stages to leave out, as `cutwidgets.remove` does; or one name.

    Returns:
        The script. It assigns the slice, a `keras.Model`, to `part`.

    Raises:
        UnknownPlaceError: If the model has no such place.
        BypassedCutError: If the end also needs a tensor that bypasses the start.
        CutError: If the slice cannot be cut (see `cut`), or a layer is called with something that
            cannot be written as code, such as a constant of more than 1,000 elements.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> vgg = keras.applications.VGG16(weights=None)
        >>> print(cw.to_code(vgg, "block2", "block2_conv2").partition("inputs = ")[2])
        x = keras.Input((112, 112, 64), name='block1_pool')
        <BLANKLINE>
        # block2: plain block, in part
        x = layer['block2_conv1'](x)
        x = layer['block2_conv2'](x)
        <BLANKLINE>
        part = keras.Model(inputs, x, name='vgg16_from_block2_to_block2_conv2')
    """
    require_weights(weights)
    model_anatomy = anatomy(model)
    places = (remove,) if isinstance(remove, str) else tuple(remove)
    piece = section(model_anatomy, start, end, allow_bypass=allow_bypass, input_shape=input_shape)
    first = None if start is None else resolve(model_anatomy, start).name
    if are_several(end):
        lasts = [place.name for place in resolve_each(model_anatomy, end).values()]
    else:
        lasts = [] if end is None else [resolve(model_anatomy, end).name]
    removed = [resolve(model_anatomy, place).name for place in places]
    if removed:
        piece = _without(piece, without(model_anatomy, places), removed)
    headline = _headline(model_anatomy.name, first, lasts, removed)
    return _script(model, piece, model_anatomy.blocks, headline, weights)


def _without(piece: Section, graph: CallGraph, removed: Sequence[str]) -> Section:
    """The section in the graph without some blocks."""
    swaps = dict(graph.swaps)

    def swapped(tensors: Iterable[int]) -> tuple[int, ...]:
        # A removed block may compute what a slice accepts or returns.
        tensors = list(tensors)
        while swaps.keys() & set(tensors):
            tensors = [swaps.get(tensor, tensor) for tensor in tensors]
        return tuple(tensors)

    shapes = dict(zip(swapped(piece.inputs), piece.shapes, strict=True))
    outputs = swapped(piece.outputs)
    ends = piece.ends and keras.tree.pack_sequence_as(dict(piece.ends), outputs)
    calls, reached = between(graph, outputs, shapes)
    kept = between(graph, graph.outputs, ())[0]
    if not calls or not set(calls) <= set(kept) or not set(reached) <= set(shapes):
        raise CutError(
            f"Cannot write {piece.name!r} without {', '.join(map(repr, removed))}: its start or "
            "its end lies in what is removed. Start before that, and end after it."
        )
    inputs = tuple(tensor for tensor in shapes if tensor in reached)
    new_shapes = piece.new_shapes and tuple(shapes[tensor] for tensor in inputs)
    name = model_name(piece.name, "without", *_short_list(removed))
    return Section(graph, name, inputs, outputs, calls, new_shapes, ends)


def _short_list(names: Sequence[str]) -> Sequence[str]:
    """Up to three names, or how many there are, for the name of a model."""
    return names if len(names) < 4 else [f"{len(names)}_blocks"]


def _headline(model: str, start: str | None, ends: Sequence[str], removed: Sequence[str]) -> str:
    to = "to" if start else "up to"
    until = f" {to} {', '.join(map(shown, ends))}" if ends else " to the end" if start else ""
    since = f" from {shown(start)}" if start else ""
    slice_of = f"slice{since}{until} of the " if since or until else ""
    rest = f", without {', '.join(map(shown, removed))}" if removed else ""
    return f"The {slice_of}Keras model {shown(model)}{rest}."


def _script(
    model: keras.Model, piece: Section, blocks: Sequence[Block], headline: str, weights: Weights
) -> str:
    """The script that builds a section of a model, or of the model's graph rewired."""
    writer = _Writer(model, piece)
    # `build` refuses what Keras cannot build.
    makers = map(maker_of, functional(build(model, piece)).inputs)
    names = [maker.operation.name for maker in makers if maker is not None]
    begin, body, before = writer.inputs(names), list[str](), None
    for position, call in enumerate(writer.units):
        comment = _comment(piece, blocks, call)
        if comment != before:
            body += ["", f"# {comment}"]
        body.append(writer.call(position, call))
        before = comment
    outputs = writer.outputs()
    path = f"{model_name(model.name)}.keras"
    headline = textwrap.fill(
        '"""' + headline.replace('"', '\\"'), WIDTH, break_long_words=False, break_on_hyphens=False
    )
    lines = [
        f'{headline}\n\n{_LAYERS[weights]}\n"""\n',
        *(["import tempfile\n"] if weights == "copy" else []),
        "import keras",
        *(["import numpy"] if any("numpy." in line for line in body) else []),
        "\n# The model that was cut: load or build it here.",
        in_lines(f"model = keras.models.load_model({path!r})"),
        *writer.models,
        "",
        *begin,
        *body,
        "",
        in_lines(f"part = keras.Model(inputs, {outputs}, name={piece.name!r})"),
        *([_COPY] if weights == "copy" else []),
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
    """Writes statements, and knows which code stands for each tensor.

    Attributes:
        units: The calls to write, in order.
        models: Statements that look up the layers of the model and of models inside it.
    """

    def __init__(self, model: keras.Model, piece: Section) -> None:
        self.units = units(piece.graph, piece.calls, piece.inputs, piece.outputs)
        self.models: list[str] = []
        self._model, self._piece = model, piece
        self._names = set(_RESERVED)
        self._owners = _owners(model)
        self._tables: dict[int, str] = {}
        self._table(model, "model", "layer")
        self._code: dict[int, Code] = {}
        # For each tensor, the positions of the statements that read it.
        self._readers: dict[int, set[int]] = {tensor: {len(self.units)} for tensor in piece.outputs}
        for position, call in enumerate(self.units):
            for tensor in call.reads:
                self._readers.setdefault(tensor, set()).add(position)

    def inputs(self, names: Sequence[str]) -> list[str]:
        """Statements that make the inputs, with these names."""
        graph, tensors = self._piece.graph, self._piece.inputs
        own = functional(self._model).input
        alone = len(names) == 1 and not (tensors == graph.inputs and keras.tree.is_nested(own))
        lines = []
        for tensor, shape, name in zip(tensors, self._piece.shapes, names, strict=True):
            variable = self._variable(tensor, name, -1 if alone else None)
            target = f"inputs = {variable}" if alone else variable
            arguments = _input(graph.tensors[tensor], shape, name)
            lines.append(in_lines(f"{target} = keras.Input({', '.join(arguments)})"))
        structure = written(arranged(tensors, graph.inputs, own, self._code))
        return lines if alone else [*lines, in_lines(f"inputs = {structure}")]

    def outputs(self) -> str:
        """The outputs, in the structure that the slice returns."""
        return written(returned(self._piece, functional(self._model).output, self._code))

    def call(self, position: int, call: Call) -> str:
        """The statement of a call."""
        args, kwargs = call.fill({tensor: self._code[tensor] for tensor in call.reads})
        try:
            callee, more = self._callee(call.layer)
            kwargs = {k: v for k, v in kwargs.items() if not _is_usual(call.layer, k, v)}
            items = [written(value) for value in args]
            items += [f"{keyword_text(k)}={written(v)}" for k, v in (kwargs | more).items()]
        except UnwritableError as error:
            raise CutError(
                f"Cannot write {self._piece.name!r} as a script: the layer {call.name!r} "
                f"({call.kind}) {error}"
            ) from None
        return in_lines(f"{self._target(position, call)} = {callee}({', '.join(items)})")

    def _callee(self, operation: keras.Operation) -> tuple[str, dict[str, Any]]:
        """What to call, and keyword arguments in addition to those of the call."""
        if id(operation) in self._owners:
            return self._lookup(operation), {}
        # Operations that adapt a nested model's inputs, or make masks, belong to no model.
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
            raise UnwritableError(f"is not what keras.ops.{name} returns.") from None

    def _lookup(self, operation: keras.Operation) -> str:
        owner = self._owners[id(operation)]
        if id(owner) not in self._tables:
            variable = self._identifier(owner.name[:24])
            self.models.append(in_lines(f"{variable} = {self._lookup(owner)}"))
            self._table(owner, variable, self._identifier(f"{variable}_layer"))
        return f"{self._tables[id(owner)]}[{str(operation.name)!r}]"

    def _table(self, owner: keras.Model, variable: str, table: str) -> None:
        self._tables[id(owner)] = table
        # A Sequential model has no `operations`.
        parts = "layers" if isinstance(owner, keras.Sequential) else "operations"
        self.models.append(f"{table} = {{op.name: op for op in {variable}.{parts}}}")

    def _target(self, position: int, call: Call) -> str:
        """The variables that the results of a call are assigned to."""
        paths = _paths(self._piece.graph, call)
        name = call.own_name
        if paths == [()]:
            return self._variable(call.outputs[0], name, position)
        if len(paths) > 1 and paths == [(number,) for number in range(len(paths))]:
            if sum(map(self._is_needed, call.outputs)) == 1:
                return ", ".join(self._variable(t, name, position) for t in call.outputs)
            targets = enumerate(call.outputs, 1)
            return ", ".join(self._variable(t, f"{name}_{number}", None) for number, t in targets)
        variable = self._identifier(name)
        for tensor, path in zip(call.outputs, paths, strict=True):
            keys = "".join(f"[{written(key)}]" for key in path)
            self._code.setdefault(tensor, Code(variable + keys))
        return variable

    def _is_needed(self, tensor: int) -> bool:
        return tensor in self._readers and tensor not in self._code

    def _variable(self, tensor: int, name: str, position: int | None) -> str:
        """A name for a tensor; `x` where only the statement after its position reads it."""
        if not self._is_needed(tensor):
            return "_"
        brief = position is not None and self._readers[tensor] == {position + 1}
        variable = "x" if brief else self._identifier(name)
        self._code[tensor] = Code(variable)
        return variable

    def _identifier(self, name: str) -> str:
        """A new name for a variable."""
        words = re.sub(r"[^0-9A-Za-z]+", "_", name)[:40].strip("_")
        words = words if words[:1].isalpha() else f"tensor_{words}".rstrip("_")
        words += "_" if keyword.iskeyword(words) or words in _RESERVED else ""
        numbered = (f"{words}_{number}" for number in count(2))
        name = next(n for n in chain([words], numbered) if n not in self._names)
        self._names.add(name)
        return name


def _owners(model: keras.Model) -> dict[int, keras.Model]:
    """For the id of each layer and operation, the model that has it; the outermost if several."""
    owners: dict[int, keras.Model] = {}
    models = [model]
    for owner in models:
        parts = owner.layers if isinstance(owner, keras.Sequential) else owner.operations
        for part in parts:
            if id(part) not in owners:
                owners[id(part)] = owner
                models += [part] if has_graph(part) else []
    return owners


def _is_usual(layer: keras.Operation, argument: str, value: Any) -> bool:
    """Whether an argument need not be written: Keras records defaults, too."""
    parameter = inspect.signature(layer.call).parameters.get(argument)
    usual = None if parameter is None else parameter.default
    if argument.endswith("mask") and all(part is None for part in keras.tree.flatten(value)):
        value = None  # for several tensors, Keras records one `None` for each
    return (value is None or isinstance(value, bool)) and value is usual


def _paths(graph: CallGraph, call: Call) -> list[tuple[Any, ...]]:
    """Where the output tensors are in the structure that a call returns."""
    if has_graph(call.layer):
        structure = functional(call.layer).output
    else:
        args, kwargs = call.fill({tensor: graph.tensors[tensor].symbol for tensor in call.reads})
        structure = call.layer.compute_output_spec(*args, **kwargs)
    return [path for path, _ in keras.tree.flatten_with_path(structure)]


def _input(tensor: Tensor, shape: Shape, name: str) -> list[str]:
    """Arguments of `keras.Input`."""
    arguments = [repr(shape[1:])] if shape else ["batch_shape=()"]
    if shape and shape[0] is not None:
        arguments.append(f"batch_size={shape[0]}")
    arguments += [f"dtype={tensor.dtype!r}"] if tensor.dtype != "float32" else []
    arguments += ["sparse=True"] if tensor.symbol.sparse else []
    return [*arguments, f"name={str(name)!r}"]
