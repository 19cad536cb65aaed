"""Replace and join parts of models. Nothing here changes the models that are passed in."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from ..errors import CutError, alternatives
from ..graph.callgraph import Call, CallGraph, between
from ..graph.keras_internals import call as call_layer
from ..graph.keras_internals import functional, maker_name, undone_on_failure
from ..graph.reader import read
from ..graph.rebuild import RepeatError, repeat, specs, units
from ..structure.anatomy import Anatomy, anatomy
from ..structure.places import Place, PlaceLike, resolve
from .build import model_name, model_of
from .copies import Copier, has_graph

Symbols = dict[int, keras.KerasTensor]  # by the indices of tensors


@undone_on_failure
def replace(model: keras.Model, place: PlaceLike, other: keras.Layer) -> keras.Model:
    """The model with another layer or model in place of a block, stage or layer.

    Shapes must stay the same except at the model's ends. The last layer, or one followed only by
    layers without weights, may be replaced by a layer with another output shape, for example for
    another number of classes. The first layer, or one preceded only by layers without weights, may
    be replaced by one with another input shape, for example for photographs of one channel: that of
    a model's `Input`, or the shape that a layer was built for. The new model's input then has it.

    Args:
        model: A built functional or Sequential model.
        place: A block, a stage or a layer that has one input and one output.
        other: A layer or model with the same input and output shape as the place, except at the
            model's ends. The layers of a model are put in one by one.

    Returns:
        A flat `keras.Model` that shares its layers with the model and with `other`. A layer of
        `other` whose name is taken is copied with its weights, and the name of the copy gets the
        name of `other` as a prefix.

    Raises:
        UnknownPlaceError: If the model has no such place.
        CutError: If shapes or dtypes do not fit, or something outside the place reads a tensor from
            inside it.
        UnsupportedModelError: If a model is subclassed, not built or not a Keras model.

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
    model_anatomy = anatomy(model)
    graph, where = model_anatomy.graph, resolve(model_anatomy, place)
    if not where.calls or len(where.entries) != 1 or len(where.exits) != 1:
        raise CutError(
            f"Cannot replace {place!r:.200}: it has {len(where.entries)} inputs and "
            f"{len(where.exits)} outputs. Choose a block, stage or layer that has one of each."
        )
    (entry,), (out,) = where.entries, where.exits
    _require_alone(model_anatomy, where, place)
    source = functional(model)
    inputs, entering = _entering(graph, source.inputs, where, other)
    piece = _as_model(other, [entering])
    _require_fit(where.name, "accepts", [entering], piece.name, "accepts", functional(piece).inputs)
    outputs = _output_specs(piece, [entering])
    if len(outputs) != 1 or not _is_free_after(graph, out):
        own = [graph.tensors[out].symbol]
        _require_fit(where.name, "returns", own, piece.name, "returns", outputs)

    upstream = between(graph, [entry], ())[0]
    computed = {*graph.inputs, out, *(t for i in upstream for t in graph.calls[i].outputs)}
    before = _calls_to(graph, [entry], graph.inputs)
    after = _calls_to(graph, graph.outputs, computed)
    with _refusing(graph):  # before anything is built
        specs(graph, after, {**{t: graph.tensors[t].symbol for t in computed}, out: outputs[0]})
    assembly = _Assembly(source, inputs)
    # The model's own layers keep their names, so these are reserved first.
    assembly.reserve([*before, *after])
    symbols = dict(zip(graph.inputs, assembly.inputs, strict=True))
    symbols = assembly.add(graph, before, symbols)
    (symbols[out],) = assembly.attach(piece, [symbols[entry]])
    symbols = assembly.add(graph, after, symbols)
    name = model_name(model_anatomy.name, "with", piece.name)
    return assembly.finish([symbols[tensor] for tensor in graph.outputs], source.output, name)


def _calls_to(graph: CallGraph, ends: Sequence[int], starts: Iterable[int]) -> list[Call]:
    """The calls that compute some tensors from others; a nested model is one call if it can be."""
    return units(graph, between(graph, ends, starts)[0], starts, ends)


@contextmanager
def _refusing(graph: CallGraph) -> Iterator[None]:
    """Explain which layer of a graph does not accept its new input.

    Raises:
        CutError: If there is one.
    """
    try:
        yield
    except RepeatError as error:
        shapes = ", ".join(map(str, error.shapes))
        raise CutError(
            f"The layer {error.call.name!r} of {graph.name!r} does not accept {shapes}, which it "
            f"would get: {error.__cause__}"
        ) from error


def _entering(
    graph: CallGraph, inputs: Sequence[keras.KerasTensor], where: Place, other: keras.Layer
) -> tuple[list[keras.KerasTensor], keras.KerasTensor]:
    """The inputs of the new model, and the tensor that enters the layer in place of another.

    These are the old ones, unless the new layer was built for another shape and only layers without
    weights come between the model's input and the place.
    """
    (entry,) = where.entries
    own = graph.tensors[entry].symbol
    unchanged = list(inputs), own
    expected, way = _expected(other, own), _way_in(graph, where)
    if expected is None or way is None or _fits(expected, own):
        return unchanged
    source = graph.calls[way[0]].inputs[0] if way else entry
    position = graph.inputs.index(source)
    old = inputs[position]
    shape = list(old.shape)
    for axis, (length, usual) in enumerate(zip(expected.shape, own.shape, strict=True)):
        if length != usual:
            shape[axis] = length
    dtype = old.dtype if way else expected.dtype
    new = keras.KerasTensor(tuple(shape), dtype=dtype, sparse=old.sparse)
    try:
        reached = specs(graph, units(graph, way, [source], [entry]), {source: new})[entry]
    except RepeatError:
        return unchanged
    if not _fits(reached, expected):
        return unchanged
    return [*inputs[:position], new, *inputs[position + 1 :]], reached


def _expected(other: keras.Layer, usual: keras.KerasTensor) -> keras.KerasTensor | None:
    """What a model or a built layer accepts, free lengths as usual; `None` for another rank."""
    shape, dtype = list(usual.shape), usual.dtype
    if isinstance(other, keras.Model):
        inputs = functional(other).inputs if has_graph(other) else []
        if len(inputs) != 1 or len(inputs[0].shape) != len(shape):
            return None
        lengths = zip(inputs[0].shape, shape, strict=True)
        shape, dtype = [b if a is None else a for a, b in lengths], inputs[0].dtype
    else:
        spec = getattr(other, "input_spec", None)
        axes = (spec.axes or {}) if isinstance(spec, keras.InputSpec) else {}
        if not all(-len(shape) <= axis < len(shape) for axis in axes):
            return None
        for axis, length in axes.items():
            shape[axis] = length
    return keras.KerasTensor(tuple(shape), dtype=dtype)


def _way_in(graph: CallGraph, where: Place) -> list[int] | None:
    """The calls from an input of the model to a place, if all their outputs go there alone.

    `None` if anything else reads one, or if one of the layers has weights or several inputs.
    """
    (tensor,) = where.entries
    readers, way = set(where.calls), list[int]()
    while readers.issuperset(graph.tensors[tensor].users) and tensor not in graph.outputs:
        if tensor in graph.inputs:
            return way
        call = graph.maker(tensor)
        if not _accepts_any_shape(call) or len(call.outputs) > 1:
            return None
        way.insert(0, call.index)
        readers, (tensor,) = {call.index}, call.inputs
    return None


def _is_free_after(graph: CallGraph, out: int) -> bool:
    """Whether only layers without weights come between a tensor and the model's outputs."""
    pending = [out]
    while pending:
        for user in graph.tensors[pending.pop()].users:
            if not _accepts_any_shape(graph.calls[user]):
                return False
            pending += graph.calls[user].outputs
    return True


def _accepts_any_shape(call: Call) -> bool:
    """Whether a call reads one tensor, and has no weights of a shape that depends on it."""
    return len(call.inputs) == 1 and not getattr(call.layer, "weights", ())


@undone_on_failure
def join(*models: keras.Layer) -> keras.Model:
    """Join several models into a flat one; each must accept what the previous one returns.

    With `split`, this inserts layers (`join(head, new, tail)`) and reorders blocks of equal shape.

    Args:
        models: Models; all but the first may be layers. The outputs of each are the inputs of the
            next, in order.

    Returns:
        A flat `keras.Model` that shares its layers with all of them. A layer whose name an earlier
        model uses is copied with its weights, and the name of the copy gets the name of its model
        as a prefix.

    Raises:
        CutError: If a model does not accept what the one before it returns.
        UnsupportedModelError: If the first model is subclassed, not built or not a Keras model.

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
        raise CutError("There is nothing to join. Pass models, such as those that split returns.")
    assembly = _Assembly(functional(models[0]))
    symbols = assembly.inputs
    pieces: list[keras.Model] = []
    for layer in models:
        piece = _as_model(layer, symbols)
        giver = pieces[-1].name if pieces else piece.name
        _require_fit(giver, "returns", symbols, piece.name, "accepts", functional(piece).inputs)
        symbols = _output_specs(piece, symbols)
        pieces.append(piece)
    symbols = assembly.inputs
    for piece in pieces:
        symbols = assembly.attach(piece, symbols)
    name = model_name(pieces[0].name, "joined_to" if pieces[1:] else None, pieces[-1].name)
    return assembly.finish(symbols, functional(pieces[-1]).output, name)


class _Assembly:
    """A model under construction, from calls of several graphs.

    Args:
        like: A model whose inputs and their names it has.
        inputs: What its inputs look like, if they differ from those of that model.

    Attributes:
        inputs: The inputs, flat.
    """

    def __init__(
        self, like: keras.Model, inputs: Sequence[keras.KerasTensor] | None = None
    ) -> None:
        self.inputs = [
            keras.Input(batch_shape=s.shape, dtype=s.dtype, sparse=s.sparse, name=maker_name(own))
            for own, s in zip(like.inputs, inputs or like.inputs, strict=True)
        ]
        self._structure = like.input
        self._names: dict[str, object] = {symbol.name: symbol for symbol in self.inputs}

    def reserve(self, calls: Iterable[Call]) -> None:
        """Let layers keep their names, unless others have them already."""
        for call in calls:
            self._names.setdefault(call.own_name, call.layer)

    def add(
        self, graph: CallGraph, calls: Sequence[Call], symbols: Symbols, prefix: str = ""
    ) -> Symbols:
        """Repeat calls of a graph, with copies of layers whose names others have."""
        self.reserve(calls)
        copier = Copier(self._names, prefix)

        def layer_of(call: Call) -> keras.Operation:
            own = self._names[call.own_name] is call.layer
            return call.layer if own else copier(call)

        with _refusing(graph):
            repeated = repeat(graph, calls, symbols, layer_of)
        copier.finish()
        return repeated

    def attach(
        self, piece: keras.Model, symbols: Sequence[keras.KerasTensor]
    ) -> list[keras.KerasTensor]:
        """Call all layers of a model on symbols; returns its outputs."""
        graph = read(piece)
        inputs = dict(zip(graph.inputs, symbols, strict=True))
        calls = _calls_to(graph, graph.outputs, inputs)
        repeated = self.add(graph, calls, inputs, model_name(piece.name))
        return [repeated[tensor] for tensor in graph.outputs]

    def finish(
        self, outputs: Sequence[keras.KerasTensor], structure: Any, name: str
    ) -> keras.Model:
        """Build the model."""
        inputs = keras.tree.pack_sequence_as(self._structure, self.inputs)
        return model_of(inputs, keras.tree.pack_sequence_as(structure, list(outputs)), name)


def _as_model(layer: keras.Layer, symbols: Sequence[keras.KerasTensor]) -> keras.Model:
    """A model itself; a single layer as a model of it."""
    if isinstance(layer, keras.Model) and has_graph(layer):
        return layer
    if not isinstance(layer, keras.Layer):
        raise CutError(f"Expected a Keras layer or model. Received: {layer!r:.200}")
    inputs = [keras.Input(batch_shape=s.shape, dtype=s.dtype, sparse=s.sparse) for s in symbols]
    try:
        outputs = call_layer(layer, ((inputs[0] if len(inputs) == 1 else inputs,), {}))
    except Exception as error:  # whatever a layer raises
        shapes = ", ".join(str(tuple(symbol.shape)) for symbol in symbols)
        raise CutError(f"The layer {layer.name!r} does not accept {shapes}: {error}") from error
    return model_of(inputs, outputs, model_name(layer.name))


def _output_specs(
    piece: keras.Model, symbols: Sequence[keras.KerasTensor]
) -> list[keras.KerasTensor]:
    """The shapes and dtypes a model would return for these inputs; its layers do not change."""
    graph = read(piece)
    inputs = dict(zip(graph.inputs, symbols, strict=True))
    with _refusing(graph):
        outputs = specs(graph, _calls_to(graph, graph.outputs, inputs), inputs)
    return [outputs[tensor] for tensor in graph.outputs]


def _require_fit(
    one: str,
    its_verb: str,
    its: Sequence[keras.KerasTensor],
    other: str,
    other_verb: str,
    others: Sequence[keras.KerasTensor],
) -> None:
    """Refuse to put models together whose tensors differ in number, shape or dtype."""
    if len(its) != len(others) or not all(map(_fits, its, others)):
        ours, theirs = (
            " and ".join(f"{tuple(symbol.shape)} {symbol.dtype}" for symbol in symbols)
            for symbols in (its, others)
        )
        raise CutError(f"{one!r} {its_verb} {ours}, but {other!r} {other_verb} {theirs}.")


def _fits(one: keras.KerasTensor, other: keras.KerasTensor) -> bool:
    lengths = zip(one.shape, other.shape, strict=False)
    equal = all(None in (a, b) or a == b for a, b in lengths)
    return one.dtype == other.dtype and len(one.shape) == len(other.shape) and equal


def _require_alone(anatomy: Anatomy, where: Place, place: PlaceLike) -> None:
    """Refuse to replace a place if something outside reads a tensor from inside it."""
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
            f"Cannot replace {place!r:.200} in {anatomy.name!r}: the output of "
            f"{alternatives(read_from or [where.name])}, inside it, is also used further down. "
            "Replace a block, or a layer that nothing bypasses."
        )
