"""Cut and split models. Nothing here changes the model that it is given."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Any
from weakref import WeakKeyDictionary

import keras
import networkx

from ._anatomy import Anatomy, anatomy
from .blocks import Block
from .callgraph import CallGraph, between, functional, rebuild
from .errors import BypassedCutError, CutError
from .places import Place, PlaceLike, resolve

# For each model and start, the calls behind the start, repeated on a new input. Keras keeps a node
# in a layer for each repeated call, for good; as every slice from that start shares them, it is one
# node however often is cut.
_clones: WeakKeyDictionary[Any, dict[tuple[int, ...], dict[int, keras.KerasTensor]]]
_clones = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Section:
    """What a slice consists of, in the call graph of the whole model.

    Attributes:
        graph: The call graph of the whole model.
        name: The slice's name.
        inputs: Indices of the tensors that the slice takes.
        outputs: Indices of the tensors that it gives.
        calls: Indices of its calls, ascending.
    """

    graph: CallGraph
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    calls: tuple[int, ...]

    @property
    def carried(self) -> tuple[int, ...]:
        """Indices of the tensors that bypass the end: the tail needs them besides the outputs.

        None where the end is a cut point: then head, slice and tail make up the model.
        """
        before = _made_before(self.graph, self.outputs)
        _, reached = between(self.graph, self.graph.outputs, before | set(self.outputs))
        return tuple(tensor for tensor in reached if tensor not in self.outputs)


def cut(
    model: keras.Model, start: PlaceLike | None = None, end: PlaceLike | None = None
) -> keras.Model:
    """Cut the slice from start to end, both inclusive, out of a model.

    The slice shares its layers with the model: train or freeze one, and you train or freeze the
    other. It keeps the layers' names; its input is named after the layer that makes that tensor in
    the model. Where a layer is the start or the end, what enters or leaves that layer is the input
    or output. Inputs of the model that the end needs besides the start become further inputs.

    Args:
        model: A built functional or Sequential model.
        start: A place; `None` for the model's own input.
        end: A place; `None` for the model's own output.

    Returns:
        A plain `keras.Model`: it trains, saves, loads without cutwidgets and can be cut again.

    Raises:
        UnknownPlaceError: If the model has no such place.
        BypassedCutError: If the end also needs a tensor that passes the start by.
        CutError: If the start comes after the end, or has nothing to do with it.
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(include_top=False, weights=None)
        >>> part = cw.cut(resnet, "conv3", "conv4")
        >>> part.input.name, part.output_shape
        ('conv2_block3_out', (None, None, None, 1024))
    """
    return build(model, section(anatomy(model), start, end))


def split(model: keras.Model, *ends: PlaceLike) -> list[keras.Model]:
    """Split a model behind each of the given places, into pieces that make up the model again.

    Args:
        model: A built functional or Sequential model.
        ends: Places in the order of computation; a piece ends with each.

    Returns:
        One piece more than places. Each takes what the one before it gives, and shares its layers
        with the model, as slices do.

    Raises:
        UnknownPlaceError: If the model has no such place.
        BypassedCutError: If a skip connection passes one of the places by.
        CutError: If the places are not in order, or nothing lies behind the last.
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(include_top=False, weights=None)
        >>> [piece.output_shape[-1] for piece in cw.split(resnet, "conv2", "conv4_block6")]
        [256, 1024, 2048]
    """
    found = anatomy(model)
    graph = found.graph
    places = [resolve(found, end) for end in ends]
    for asked, place in zip(ends, places, strict=True):
        _require_cut_point(found, asked, place)
    borders = [graph.inputs, *(place.exits for place in places), graph.outputs]
    names = [None, *(place.name for place in places), None]
    sections = []
    for i, (entries, exits) in enumerate(pairwise(borders)):
        calls, reached = between(graph, exits, entries)
        if not calls or not set(reached) <= set(entries):
            if i and names[i + 1]:
                reason = "the places are not in the order of computation."
            else:
                reason = _no_way(graph, entries, exits, names[i], names[i + 1])
            raise CutError(f"Cannot split {found.name!r} at {', '.join(map(repr, ends))}: {reason}")
        sections.append(
            Section(graph, _name(found, names[i], names[i + 1]), tuple(entries), exits, calls)
        )
    return [build(model, piece) for piece in sections]


def section(
    anatomy: Anatomy, start: PlaceLike | None = None, end: PlaceLike | None = None
) -> Section:
    """What `cut` would cut out, without making a model of it; the arguments and errors are its.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> inside = section(anatomy, "conv3_block1", "conv4_block2_1_relu")
        >>> [anatomy.graph.maker(tensor).name for tensor in inside.carried]
        ['conv4_block1_out']
    """
    graph = anatomy.graph
    first = None if start is None else resolve(anatomy, start)
    last = None if end is None else resolve(anatomy, end)
    entries = graph.inputs if first is None else first.entries
    exits = graph.outputs if last is None else last.exits
    names = (first.name if first else None, last.name if last else None)

    calls, reached, bypassing = _needs(graph, entries, exits)
    begins = first is None or (
        set(first.calls) & set(calls) if first.calls else set(entries) & set(reached)
    )
    if not calls or not begins:
        reason = _no_way(graph, entries, exits, *names)
        raise CutError(f"Cannot cut {anatomy.name!r} from {start!r} to {end!r}: {reason}")
    if bypassing and first is not None:
        _raise_bypassed(anatomy, start, first, exits, calls, bypassing)
    inputs = tuple(tensor for tensor in dict.fromkeys((*entries, *reached)) if tensor in reached)
    return Section(graph, _name(anatomy, *names), inputs, exits, calls)


def build(model: keras.Model, section: Section) -> keras.Model:
    """Make a Keras model of a section of a model; the layers are shared.

    Raises:
        CutError: If Keras itself gives up, as on a chain too long for Python's recursion limit.
    """
    graph, source = section.graph, functional(model)
    symbols: dict[int, keras.KerasTensor]
    if set(section.inputs) <= set(graph.inputs):
        # The model's own tensors serve: nothing is repeated, and no node is added.
        symbols = {tensor.index: tensor.symbol for tensor in graph.tensors}
    else:
        symbols = _clones.setdefault(source, {}).setdefault(section.inputs, {})
        if not symbols:
            symbols.update(_inputs(graph, section.inputs))
        missing = [i for i in section.calls if graph.calls[i].outputs[0] not in symbols]
        symbols.update(rebuild(graph, missing, symbols))
    inputs = _arranged(section.inputs, graph.inputs, source.input, symbols)
    outputs = _arranged(section.outputs, graph.outputs, source.output, symbols)
    try:
        return keras.Model(inputs, outputs, name=section.name)
    except RecursionError as error:
        raise CutError(
            f"Keras builds a model by recursion, and {len(section.calls)} calls go too deep for "
            "Python's limit. Raise it with sys.setrecursionlimit, and cut again."
        ) from error
    except ValueError as error:
        raise CutError(f"Keras cannot build the slice {section.name!r}: {error}") from error


def _arranged(
    tensors: Sequence[int],
    own: Sequence[int],
    structure: Any,
    symbols: dict[int, keras.KerasTensor],
) -> Any:
    """Symbols in the model's own structure where they are its own inputs or outputs."""
    flat = [symbols[tensor] for tensor in tensors]
    if tuple(tensors) == tuple(own):
        return keras.tree.pack_sequence_as(structure, flat)
    return flat[0] if len(flat) == 1 else flat


def _inputs(graph: CallGraph, tensors: Sequence[int]) -> dict[int, keras.KerasTensor]:
    """New inputs in place of tensors, each named after the layer that makes it."""
    inputs: dict[int, keras.KerasTensor] = {}
    # A layer may be called again behind this place, and names are unique in a model.
    called = Counter(call.name for call in graph.calls)
    taken = set(called)
    for tensor in tensors:
        maker, symbol = graph.maker(tensor), graph.tensors[tensor].symbol
        free = called[maker.name] == 1 and maker.name not in {i.name for i in inputs.values()}
        name = maker.name if free else next(n for n in _numbered(maker.name) if n not in taken)
        taken.add(name)
        inputs[tensor] = keras.Input(
            batch_shape=symbol.shape, dtype=symbol.dtype, sparse=symbol.sparse, name=name
        )
    return inputs


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield f"{name}_input"
    yield from (f"{name}_input_{number}" for number in count(2))


def _name(anatomy: Anatomy, start: str | None, end: str | None) -> str:
    parts = [anatomy.name, start and f"from_{start}", end and f"to_{end}"]
    # Names of models become name scopes of TensorFlow, which allows these characters only.
    return re.sub(r"[^A-Za-z0-9_.-]", "_", "_".join(filter(None, parts)))


def _made_before(graph: CallGraph, entries: Sequence[int]) -> set[int]:
    """All tensors that the head makes on its way to the given ones, these excluded."""
    calls, reached = between(graph, entries, ())
    made = {tensor for index in calls for tensor in graph.calls[index].outputs}
    return (made | set(reached)) - set(entries)


def _needs(
    graph: CallGraph, entries: Sequence[int], exits: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...], list[int]]:
    """Calls from entries to exits, tensors that they start from, and those that pass by."""
    before = _made_before(graph, entries)
    calls, reached = between(graph, exits, before | set(entries))
    return calls, reached, [tensor for tensor in reached if tensor in before]


def _no_way(
    graph: CallGraph,
    entries: Sequence[int],
    exits: Sequence[int],
    start: str | None,
    end: str | None,
) -> str:
    """Why no call leads from a start to an end, for a sentence."""
    if start is None or end is None:
        if start == end:
            return "it has no layers."
        where = "before" if start is None else "behind"
        return f"nothing lies {where} {start or end!r}. Leave that place out."
    if set(exits) <= _made_before(graph, entries) | set(entries):
        return (
            f"the start {start!r} comes after the end {end!r}. Both are inclusive, and the start "
            "comes first. The other way round it may work."
        )
    return f"{end!r} is not computed from {start!r}: they lie on different branches."


def _raise_bypassed(
    anatomy: Anatomy,
    asked: object,
    start: Place,
    exits: Sequence[int],
    calls: Sequence[int],
    bypassing: Sequence[int],
) -> None:
    def works(block: Block) -> bool:
        needed, _, passing = _needs(anatomy.graph, block.entries, exits)
        return bool(needed) and not passing

    position = min(start.calls, default=anatomy.graph.tensors[start.entries[0]].maker + 1)
    raise BypassedCutError(
        asked,
        f"Cannot start at {asked!r}: {_skips(anatomy.graph, start.entries, calls, bypassing)} it, "
        "so the end cannot be computed from there alone.",
        _makers(anatomy.graph, bypassing),
        _nearest(anatomy, position, lambda block: min(block.calls), works),
    )


def _require_cut_point(anatomy: Anatomy, asked: object, place: Place) -> None:
    """Refuse a place to split at unless all outputs can be computed from its exits alone."""
    graph = anatomy.graph

    def passing(exits: Sequence[int]) -> tuple[tuple[int, ...], list[int]]:
        calls, reached = between(graph, graph.outputs, _made_before(graph, exits) | set(exits))
        return calls, [tensor for tensor in reached if tensor not in exits]

    calls, bypassing = passing(place.exits)
    if bypassing:
        raise BypassedCutError(
            asked,
            f"Cannot split behind {asked!r}: {_skips(graph, place.exits, calls, bypassing)} it, so "
            "what comes behind cannot be computed from there alone.",
            _makers(graph, bypassing),
            _nearest(
                anatomy,
                graph.tensors[place.exits[0]].maker,
                lambda block: graph.tensors[block.exits[0]].maker,
                lambda block: block is not anatomy.blocks[-1] and not passing(block.exits)[1],
            ),
        )


def _makers(graph: CallGraph, tensors: Iterable[int]) -> list[str]:
    return list(dict.fromkeys(graph.maker(tensor).name for tensor in tensors))


def _skips(
    graph: CallGraph, entries: Sequence[int], calls: Sequence[int], bypassing: Sequence[int]
) -> str:
    """Say which skip connections pass by, each from where to where, for a sentence."""
    behind = set(entries)
    for index in calls:
        if behind & set(graph.calls[index].inputs):
            behind |= set(graph.calls[index].outputs)
    texts = []
    for tensor in bypassing:
        way, merge = _way(graph, tensor, set(calls), behind)
        through = f" through {', '.join(map(repr, way))}" if way else ""
        target = f"to {merge!r}" if merge else "to an output of the model"
        texts.append(f"from {graph.maker(tensor).name!r}{through} {target}")
    noun, verb = ("connection", "bypasses") if len(texts) == 1 else ("connections", "bypass")
    return f"the skip {noun} {' and '.join(texts)} {verb}"


def _way(
    graph: CallGraph, tensor: int, calls: set[int], behind: set[int]
) -> tuple[list[str], str | None]:
    """The shortest way of a tensor to a call that also depends on the place that it passes."""
    source = graph.tensors[tensor].maker
    ways = networkx.DiGraph((source, user) for user in graph.tensors[tensor].users if user in calls)
    for index in calls:
        users = {user for made in graph.calls[index].outputs for user in graph.tensors[made].users}
        ways.add_edges_from((index, user) for user in users & calls)
    ways.add_node(source)
    paths = networkx.single_source_shortest_path(ways, source).values()
    merging = [path for path in paths if path[1:] and behind & set(graph.calls[path[-1]].outputs)]
    if not merging:
        return [], None
    *through, merge = (graph.calls[index].name for index in min(merging, key=len)[1:])
    return through, merge


def _nearest(
    anatomy: Anatomy, position: int, where: Callable[[Block], int], works: Callable[[Block], bool]
) -> list[str]:
    """The nearest block that works before a position, and the nearest behind it."""
    before = [block for block in reversed(anatomy.blocks) if where(block) < position]
    behind = [block for block in anatomy.blocks if where(block) >= position]
    nearest = (next(filter(works, side), None) for side in (before, behind))
    return [block.name for block in nearest if block is not None]
