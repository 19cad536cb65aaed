"""Replace and join parts of models. Nothing here changes the models that it is given."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras

from ..errors import CutError, CutwidgetsError, alternatives
from ..graph.callgraph import Call, CallGraph, between
from ..graph.keras_internals import call as call_layer
from ..graph.keras_internals import functional, maker_name, undone_on_failure
from ..graph.reader import read
from ..graph.rebuild import RepeatError, repeat, specs, units
from ..structure.anatomy import Anatomy, anatomy
from ..structure.places import Place, PlaceLike, resolve
from .build import model_name, model_of
from .copies import Copier

Symbols = dict[int, keras.KerasTensor]


@undone_on_failure
def replace(model: keras.Model, place: PlaceLike, other: keras.Layer) -> keras.Model:
    """The model with another layer or model in place of a block, stage or layer.

    At the model's own ends the shape is free. The last layer, or one that only layers without
    weights follow, may give another: another number of classes. The first, or one that only layers
    without weights come before, may take another: what a model's `Input` says, or what a layer was
    built for, such as a photograph of one channel. The new model's input has that shape.

    Args:
        model: A built functional or Sequential model.
        place: A block, a stage or a layer that has one input and one output.
        other: A layer, or a model whose layers are put in, of the same input and output shape, but
            at the model's ends.

    Returns:
        A flat `keras.Model` that shares the layers of both. Layers of `other` whose name is taken
        are copied, with their weights, under a name behind that of `other`.

    Raises:
        UnknownPlaceError: If the model has no such place.
        CutError: If shapes or dtypes do not fit, or something else reads from within the place.
        UnsupportedModelError: If a model is subclassed, not built or no Keras model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(include_top=False, weights=None)
        >>> convolution = keras.layers.Conv2D(512, 3, padding="same", name="simple")
        >>> changed = cw.replace(resnet, "conv3_block2", convolution)
        >>> [layer.name for layer in changed.layers if "conv3_block2" in layer.name]
        []
        >>> changed.get_layer("simple") is convolution
        True

        For grey photographs, the first kernel is summed over its three colours:

        >>> kernel, bias = resnet.get_layer("conv1_conv").get_weights()
        >>> grey = keras.layers.Conv2D(64, 7, strides=2, name="grey_conv")
        >>> grey.build((None, None, None, 1))
        >>> grey.set_weights([kernel.sum(axis=2, keepdims=True), bias])
        >>> cw.replace(resnet, "conv1_conv", grey).input_shape
        (None, None, None, 1)
    """
    found = anatomy(model)
    graph, where = found.graph, resolve(found, place)
    if not where.calls or len(where.entries) != 1 or len(where.exits) != 1:
        raise CutError(
            f"Cannot replace {place!r:.200}: it has {len(where.entries)} inputs and "
            f"{len(where.exits)} outputs, and what can be replaced is a block, stage or layer that "
            "has one of each."
        )
    (entry,), (out,) = where.entries, where.exits
    _require_alone(found, where, place)
    source = functional(model)
    inputs, entering = _entering(graph, source.inputs, where, other)
    piece = _as_model(other, entering)
    _require_fit(where.name, [entering], piece.name, functional(piece).inputs, "takes")
    gives = _given(piece, [entering])
    if len(gives) != 1 or not _is_free_behind(graph, out):
        _require_fit(where.name, [graph.tensors[out].symbol], piece.name, gives, "gives")

    first = between(graph, [entry], ())[0]
    known = {*graph.inputs, out, *(t for index in first for t in graph.calls[index].outputs)}
    before = units(graph, first, graph.inputs, [entry])
    behind = units(graph, between(graph, graph.outputs, known)[0], known, graph.outputs)
    _require_repeatable(graph, behind, known, {out: gives[0]})
    assembly = _Assembly(source, inputs)
    # The model's own layers keep their names, so these are taken first.
    assembly.reserve([*before, *behind])
    symbols = dict(zip(graph.inputs, assembly.inputs, strict=True))
    symbols = assembly.add(graph, before, symbols)
    (symbols[out],) = assembly.attach(piece, [symbols[entry]])
    symbols = assembly.add(graph, behind, symbols)
    outputs = [symbols[tensor] for tensor in graph.outputs]
    name = model_name(found.name, "with", piece.name)
    return assembly.finish(outputs, source.output, name)


def _entering(
    graph: CallGraph, inputs: Sequence[keras.KerasTensor], where: Place, other: keras.Layer
) -> tuple[list[keras.KerasTensor], keras.KerasTensor]:
    """What the model will take, and what then enters another layer in place of one.

    That is what it took and what entered before, unless the other layer was built for another shape
    and nothing but layers without weights stands between the place and the model's input.
    """
    (entry,) = where.entries
    own = graph.tensors[entry].symbol
    wanted, way = _wanted(other, own), _way_in(graph, where)
    if wanted is None or way is None or _fits(wanted, own):
        return list(inputs), own
    source = graph.calls[way[0]].inputs[0] if way else entry
    position = graph.inputs.index(source)
    shape = list(inputs[position].shape)
    for axis, (length, usual) in enumerate(zip(wanted.shape, own.shape, strict=True)):
        if length != usual:
            shape[axis] = length
    dtype = inputs[position].dtype if way else wanted.dtype
    taken = keras.KerasTensor(tuple(shape), dtype=dtype, sparse=inputs[position].sparse)
    try:
        made = specs(graph, units(graph, way, [source], [entry]), {source: taken})
    except RepeatError:
        return list(inputs), own
    if not _fits(made[entry], wanted):
        return list(inputs), own
    return [*inputs[:position], taken, *inputs[position + 1 :]], made[entry]


def _wanted(other: keras.Layer, usual: keras.KerasTensor) -> keras.KerasTensor | None:
    """What a model or a built layer takes, its free lengths as usual; `None` for another rank."""
    shape: list[int | None]
    if isinstance(other, keras.Model):
        try:
            inputs = functional(other).inputs
        except CutwidgetsError:
            return None
        if len(inputs) != 1 or len(inputs[0].shape) != len(usual.shape):
            return None
        lengths = zip(inputs[0].shape, usual.shape, strict=True)
        shape = [b if a is None else a for a, b in lengths]
        return keras.KerasTensor(tuple(shape), dtype=inputs[0].dtype)
    spec = getattr(other, "input_spec", None)
    if not isinstance(spec, keras.InputSpec):
        return None
    shape = list(usual.shape)
    for axis, length in (spec.axes or {}).items():
        if not -len(shape) <= axis < len(shape):
            return None
        shape[axis] = length
    return keras.KerasTensor(tuple(shape), dtype=usual.dtype)


def _way_in(graph: CallGraph, where: Place) -> list[int] | None:
    """The calls from an input of the model to a place, where all that they give goes there.

    `None` if anything else reads it, or if one of the layers has weights or several inputs.
    """
    (tensor,) = where.entries
    readers, way = set(where.calls), list[int]()
    while readers.issuperset(graph.tensors[tensor].users) and tensor not in graph.outputs:
        if tensor in graph.inputs:
            return way
        call = graph.maker(tensor)
        if not _takes_any(call) or len(call.outputs) > 1:
            return None
        way.insert(0, call.index)
        readers, (tensor,) = {call.index}, call.inputs
    return None


def _is_free_behind(graph: CallGraph, out: int) -> bool:
    """Whether a tensor goes to the model's outputs by layers without weights only."""
    pending = [out]
    while pending:
        for user in graph.tensors[pending.pop()].users:
            if not _takes_any(graph.calls[user]):
                return False
            pending += graph.calls[user].outputs
    return True


def _takes_any(call: Call) -> bool:
    """Whether a call reads one tensor, and has no weights that were made for its shape."""
    return len(call.inputs) == 1 and not getattr(call.layer, "weights", ())


def _require_repeatable(
    graph: CallGraph, calls: Sequence[Call], known: Iterable[int], given: Symbols
) -> None:
    """Refuse, before anything is built, what the calls behind a place would not take."""
    try:
        specs(graph, calls, {t: graph.tensors[t].symbol for t in known} | given)
    except RepeatError as error:
        raise _refusal(graph, error) from error


@undone_on_failure
def join(*models: keras.Layer) -> keras.Model:
    """One flat model of several, each of which takes what the one before it gives.

    With `split`, this inserts (`join(head, new, tail)`) and reorders blocks of equal shape.

    Args:
        models: Models, or layers behind the first one. The outputs of each are the inputs of the
            next, in order.

    Returns:
        A flat `keras.Model` that shares the layers of all. A layer whose name is taken by another
        one before it is copied, with its weights, under a name behind that of its model.

    Raises:
        CutError: If a model does not take what the one before it gives.
        UnsupportedModelError: If the first model is subclassed, not built or no Keras model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(include_top=False, weights=None)
        >>> head, tail = cw.split(resnet, "conv3")
        >>> new = keras.layers.SpatialDropout2D(0.1, name="new")
        >>> [layer.name for layer in cw.join(head, new, tail).layers[80:83]]
        ['conv3_block4_out', 'new', 'conv4_block1_1_conv']
    """
    if not models:
        raise CutError("There is nothing to join. Give models, such as those that split gives.")
    assembly = _Assembly(functional(models[0]))
    symbols = assembly.inputs
    pieces: list[keras.Model] = []
    for layer in models:
        piece = _as_model(layer, *symbols)
        giver = pieces[-1].name if pieces else piece.name
        _require_fit(giver, symbols, piece.name, functional(piece).inputs)
        symbols = _given(piece, symbols)
        pieces.append(piece)
    symbols = assembly.inputs
    for piece in pieces:
        symbols = assembly.attach(piece, symbols)
    name = model_name(pieces[0].name, "joined_to" if pieces[1:] else None, pieces[-1].name)
    return assembly.finish(symbols, functional(pieces[-1]).output, name)


class _Assembly:
    """A model that is put together from calls of several graphs, on inputs like those of a model.

    Attributes:
        inputs: The inputs, flat.
    """

    def __init__(self, like: keras.Model, specs: Sequence[keras.KerasTensor] | None = None) -> None:
        self.inputs = [
            keras.Input(batch_shape=s.shape, dtype=s.dtype, sparse=s.sparse, name=maker_name(own))
            for own, s in zip(like.inputs, specs or like.inputs, strict=True)
        ]
        self._structure = like.input
        self._taken: dict[str, object] = {symbol.name: symbol for symbol in self.inputs}

    def reserve(self, calls: Iterable[Call]) -> None:
        """Let layers keep their names, unless others have them already."""
        for call in calls:
            self._taken.setdefault(call.own_name, call.layer)

    def add(
        self, graph: CallGraph, calls: Sequence[Call], symbols: Symbols, prefix: str = ""
    ) -> Symbols:
        """Repeat calls of a graph, with copies of layers whose names others have."""
        self.reserve(calls)
        copier = Copier(self._taken, prefix)

        def layer_of(call: Call) -> keras.Operation:
            own = self._taken[call.own_name] is call.layer
            return call.layer if own else copier(call)

        try:
            made = repeat(graph, calls, symbols, layer_of)
        except RepeatError as error:
            raise _refusal(graph, error) from error
        copier.finish()
        return made

    def attach(
        self, piece: keras.Model, symbols: Sequence[keras.KerasTensor]
    ) -> list[keras.KerasTensor]:
        """Call all layers of a model on symbols; what it gives."""
        graph = read(piece)
        given = dict(zip(graph.inputs, symbols, strict=True))
        calls = units(graph, between(graph, graph.outputs, given)[0], given, graph.outputs)
        made = self.add(graph, calls, given, model_name(piece.name))
        return [made[tensor] for tensor in graph.outputs]

    def finish(
        self, outputs: Sequence[keras.KerasTensor], structure: Any, name: str
    ) -> keras.Model:
        """The model."""
        inputs = keras.tree.pack_sequence_as(self._structure, self.inputs)
        return model_of(inputs, keras.tree.pack_sequence_as(structure, list(outputs)), name)


def _as_model(layer: keras.Layer, *symbols: keras.KerasTensor) -> keras.Model:
    """A model itself; a single layer as a model of it."""
    if isinstance(layer, keras.Model):
        try:
            functional(layer)
        except CutwidgetsError:
            pass
        else:
            return layer
    if not isinstance(layer, keras.Layer):
        raise CutError(f"Expected a Keras layer or model. Received: {layer!r:.200}")
    inputs = [keras.Input(batch_shape=s.shape, dtype=s.dtype, sparse=s.sparse) for s in symbols]
    try:
        outputs = call_layer(layer, ((inputs[0] if len(inputs) == 1 else inputs,), {}))
    except Exception as error:  # whatever a layer raises
        shapes = ", ".join(str(tuple(symbol.shape)) for symbol in symbols)
        raise CutError(f"The layer {layer.name!r} does not take {shapes}: {error}") from error
    return model_of(inputs, outputs, model_name(layer.name))


def _given(piece: keras.Model, symbols: Sequence[keras.KerasTensor]) -> list[keras.KerasTensor]:
    """What a model will give for such symbols, without a trace on its layers."""
    graph = read(piece)
    given = dict(zip(graph.inputs, symbols, strict=True))
    calls = units(graph, between(graph, graph.outputs, given)[0], given, graph.outputs)
    try:
        made = specs(graph, calls, given)
    except RepeatError as error:
        raise _refusal(graph, error) from error
    return [made[tensor] for tensor in graph.outputs]


def _refusal(graph: CallGraph, error: RepeatError) -> CutError:
    shapes = ", ".join(map(str, error.shapes))
    return CutError(
        f"The layer {error.call.name!r} of {graph.name!r} does not take {shapes}, which it would "
        f"get: {error.__cause__}"
    )


def _require_fit(
    one: str,
    given: Sequence[keras.KerasTensor],
    other: str,
    wanted: Sequence[keras.KerasTensor],
    verb: str = "",
) -> None:
    """Refuse to put one model behind another that gives other shapes or dtypes, or in its place."""
    if len(given) != len(wanted) or not all(map(_fits, given, wanted)):
        raise CutError(
            f"{one!r} {verb or 'gives'} {_specs_text(given)}, but {other!r} {verb or 'takes'} "
            f"{_specs_text(wanted)}."
        )


def _fits(one: keras.KerasTensor, other: keras.KerasTensor) -> bool:
    lengths = zip(one.shape, other.shape, strict=False)
    equal = all(None in (a, b) or a == b for a, b in lengths)
    return one.dtype == other.dtype and len(one.shape) == len(other.shape) and equal


def _specs_text(symbols: Sequence[keras.KerasTensor]) -> str:
    return " and ".join(f"{tuple(symbol.shape)} {symbol.dtype}" for symbol in symbols)


def _require_alone(anatomy: Anatomy, where: Place, asked: object) -> None:
    """Refuse to replace what something else reads from within."""
    graph = anatomy.graph
    needed = set(between(graph, graph.outputs, where.exits)[0])
    inside = set(where.calls)
    read_from = [
        graph.calls[index].name
        for index in sorted(needed & inside)
        if any(not inside.issuperset(graph.tensors[t].users) for t in graph.calls[index].outputs)
    ]
    if needed & inside:
        raise CutError(
            f"Cannot replace {asked!r:.200} in {anatomy.name!r}: the output of "
            f"{alternatives(read_from or [where.name])}, which lies within, is also used past its "
            "end. Replace a block, or a layer that nothing bypasses."
        )
