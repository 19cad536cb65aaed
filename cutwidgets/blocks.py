"""Blocks and stages of a model: pure graph work, no Keras."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, zip_longest
from os.path import commonprefix

from .assembly import assemble
from .chains import ends_a_word, is_automatic
from .graph import CallGraph, Shape, entering, parameters
from .opening import lines, resolutions
from .regions import Region

OUTSIDE_STAGES = frozenset({"stem", "top", "classifier"})


@dataclass(frozen=True, slots=True)
class Block:
    """What a person would name as one unit of a network.

    Attributes:
        name: Its name, unique in the model: what its layers' names have in common, if anything.
        kind: `"residual"`, `"inception"` (branches that are concatenated), `"dense"` (concatenated
            with its own input, as in DenseNet), `"linear"` (a straight chain), `"stem"` (before the
            first of them), `"top"` (features after the last), `"classifier"`, or `"branched"`
            (branches of any other kind).
        shortcut: For a residual block, what its shortcut passes: `"identity"`, `"pooling"` or
            `"projection"`; else `None`.
        stage: Name of the stage that it belongs to, `None` for stem, top and classifier.
        layers: Names of its layers, in call order.
        input_shape: Shape of the tensor that enters, with the batch axis.
        output_shape: Shape of the tensor that leaves, with the batch axis.
        scale: By how much the resolution at its output is smaller than at the model's input.
        entries: Indices of the tensors that enter, in the call graph: one, but where several
            inputs of the model meet.
        exits: Indices of the tensors that leave: one, but where several outputs of the model part.
        calls: Indices of its calls.
        graph: The call graph that it was found in.
    """

    name: str
    kind: str
    shortcut: str | None
    stage: str | None
    layers: tuple[str, ...]
    input_shape: Shape
    output_shape: Shape
    scale: float
    entries: tuple[int, ...]
    exits: tuple[int, ...]
    calls: tuple[int, ...]
    graph: CallGraph = field(repr=False, compare=False)

    @property
    def params(self) -> int:
        """Number of parameters, a shared layer counted once."""
        return parameters(self.graph, self.calls)

    @property
    def start(self) -> str:
        """Name of the first layer."""
        return self.layers[0]

    @property
    def end(self) -> str:
        """Name of the last layer."""
        return self.layers[-1]


@dataclass(frozen=True, slots=True)
class Stage:
    """Neighbouring blocks that share a resolution and a width.

    Attributes:
        name: What the names of its blocks have in common, or a name such as `"stage3"`.
        blocks: Its blocks, in order.
    """

    name: str
    blocks: tuple[Block, ...]

    @property
    def output_shape(self) -> Shape:
        """Shape of the tensor that leaves the stage, with the batch axis."""
        return self.blocks[-1].output_shape


def find(graph: CallGraph) -> tuple[tuple[Block, ...], tuple[Stage, ...]]:
    """Find the blocks and stages of a model.

    Every call but the model's inputs belongs to exactly one block. Stem, top and classifier belong
    to no stage.

    Returns:
        The blocks in order, and the stages in order.

    Example:
        >>> import keras
        >>> from cutwidgets.callgraph import read
        >>> blocks, stages = find(read(keras.applications.MobileNetV2(weights=None)))
        >>> [block.name for block in blocks][:3], len(stages)
        (['stem', 'expanded_conv', 'block_1'], 7)
    """
    scales = resolutions(graph)
    unnamed = [
        _block(graph, kind, parts, scales) for kind, parts in assemble(graph, lines(graph), scales)
    ]
    scopes = _scopes(graph, unnamed)
    stages = _stages(graph, unnamed, scales, scopes)
    return _named(graph, unnamed, stages, scopes)


def _block(graph: CallGraph, kind: str, parts: list[Region], scales: list[float]) -> Block:
    """A block without name and stage."""
    calls = tuple(sorted(index for region in parts for index in region.calls))
    inside = set(calls)
    entries = entering(graph, calls)
    exits = [
        tensor
        for index in calls
        for tensor in graph.calls[index].outputs
        if tensor in graph.outputs or not inside.issuperset(graph.tensors[tensor].users)
    ]
    main = parts[0].entry
    entries = tuple(sorted(entries, key=lambda tensor: tensor != main))
    # What nobody reads: outputs of a nested model that the model leaves unused.
    exits = exits or [
        tensor
        for index in calls
        for tensor in graph.calls[index].outputs
        if not graph.tensors[tensor].users
    ]
    if set(exits) <= set(graph.outputs):
        exits.sort(key=graph.outputs.index)
    else:
        exits.sort(key=lambda tensor: tensor == parts[-1].exit)
    return Block(
        name="",
        kind=kind,
        shortcut=next((region.shortcut for region in parts if region.shortcut), None),
        stage=None,
        layers=tuple(graph.calls[index].name for index in calls),
        input_shape=graph.tensors[entries[0]].shape,
        output_shape=graph.tensors[exits[-1]].shape,
        scale=scales[exits[-1]],
        entries=entries,
        exits=tuple(exits),
        calls=calls,
        graph=graph,
    )


def _scopes(graph: CallGraph, blocks: Sequence[Block]) -> list[str]:
    """For each block the innermost nested model of several blocks that it is inside of, or `""`."""
    held = Counter(
        name
        for block in blocks
        for name in {name for index in block.calls for name in graph.calls[index].scope}
    )

    def scope(block: Block) -> str:
        around = min((graph.calls[index].scope for index in block.calls), key=len)
        return next((name for name in reversed(around) if held[name] > 1), "")

    return list(map(scope, blocks))


def _stages(
    graph: CallGraph, blocks: Sequence[Block], scales: list[float], scopes: Sequence[str]
) -> list[list[int]]:
    """Positions of the blocks of each stage: neighbours of one resolution and one width."""

    def width(block: Block) -> int | None:
        # The width of a dense block grows all the time (Huang et al. 2017).
        return None if block.kind == "dense" else block.output_shape[graph.channel_axis]

    stages: list[list[int]] = []
    body = [i for i, block in enumerate(blocks) if block.kind not in OUTSIDE_STAGES]
    for i, following in zip_longest(body, body[1:]):
        block, before = blocks[i], blocks[stages[-1][-1]] if stages else None
        joins = before is not None and stages[-1][-1] == i - 1
        if joins and before is not None:
            joins = (before.kind == "dense") == (block.kind == "dense")
            joins &= width(before) == width(block) and scopes[i] == scopes[stages[-1][-1]]
            if block.scale != before.scale:
                # A block that lowers the resolution opens a stage. Only where the width goes up
                # right behind it does it close one instead, as in ResNet50V2.
                opens = following is None or width(blocks[following]) == width(block)
                joins &= not opens and scales[before.entries[0]] == before.scale
        if joins:
            stages[-1].append(i)
        else:
            stages.append([i])
    return stages


def _named(
    graph: CallGraph,
    unnamed: Sequence[Block],
    stages: Sequence[Sequence[int]],
    scopes: Sequence[str],
) -> tuple[tuple[Block, ...], tuple[Stage, ...]]:
    """Give blocks and stages the names that their layers suggest, or else numbered ones."""
    nests = {nest.call.name for nest in graph.nests}
    taken = {call.name for call in graph.calls} | nests
    ends = {call.name: (call.inputs, call.outputs) for call in graph.calls}
    common = [_common_name(graph, block, nests) for block in unnamed]
    suggested = [
        own or name
        for own, name in zip(
            _names_of_nests(graph, unnamed), _unique(common, taken, unnamed, ends), strict=True
        )
    ]
    stage_names = _stage_names(stages, suggested, taken, scopes)

    wanted = {
        i: _in(scopes[i], block.kind)
        for i, block in enumerate(unnamed)
        if block.kind in OUTSIDE_STAGES
    }
    for stage_name, members in zip(stage_names, stages, strict=True):
        wanted |= {i: f"{stage_name}_block{number}" for number, i in enumerate(members, 1)}
    names = list(suggested)
    taken |= set(filter(None, names))
    for i, name in wanted.items():
        if names[i] is None:
            names[i] = name = _free(name, taken)
            taken.add(name)

    stage_of = {i: name for name, members in zip(stage_names, stages, strict=True) for i in members}
    blocks = tuple(
        replace(block, name=names[i] or "", stage=stage_of.get(i))
        for i, block in enumerate(unnamed)
    )
    return blocks, tuple(
        Stage(name, tuple(blocks[i] for i in members))
        for name, members in zip(stage_names, stages, strict=True)
    )


def _in(scope: str, name: str) -> str:
    return f"{scope}/{name}" if scope else name


def _names_of_nests(graph: CallGraph, blocks: Sequence[Block]) -> list[str | None]:
    """For each block that is exactly one nested model, the name that a person gave to that."""
    names = {
        tuple(nest.inside): nest.call.name
        for nest in reversed(graph.nests)
        if not is_automatic(nest.call.own_name, nest.call.kind)
    }
    means = {nest.call.name: (nest.call.inputs, nest.call.outputs) for nest in graph.nests}
    found = [names.get(block.calls) for block in blocks]
    return [
        name if name and means[name] == (block.entries, block.exits) else None
        for name, block in zip(found, blocks, strict=True)
    ]


def _common_name(graph: CallGraph, block: Block, nests: set[str]) -> str | None:
    """What the names that a person gave to a block's layers have in common at their begin."""
    given = [
        call.name
        for call in map(graph.calls.__getitem__, block.calls)
        if not is_automatic(call.own_name, call.kind)
    ]
    if not given or block.kind in OUTSIDE_STAGES:
        return None
    begin = _common_begin(given)
    return begin if begin not in nests else None


def _common_begin(names: Sequence[str]) -> str | None:
    """The longest common begin of names that ends where a word of each ends.

    Example:
        >>> _common_begin(["conv3_block1_1_conv", "conv3_block1_out"]), _common_begin(["a1", "b1"])
        ('conv3_block1', None)
    """
    begin = commonprefix(names)  # noqa: RUF071 (characters are meant)
    while begin and not all(ends_a_word(name, len(begin)) for name in names):
        begin = begin[:-1]
    return begin or None


def _unique(
    suggested: Sequence[str | None],
    taken: set[str],
    blocks: Sequence[Block],
    ends: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
) -> list[str | None]:
    """Drop suggestions that two blocks share, or that mean a layer of other inputs or outputs."""
    times = Counter(suggested)

    def is_clear(name: str, block: Block) -> bool:
        means_a_layer = name in taken and ends.get(name) != (block.entries, block.exits)
        return times[name] == 1 and not means_a_layer

    return [
        name if name and is_clear(name, block) else None
        for name, block in zip(suggested, blocks, strict=True)
    ]


def _stage_names(
    stages: Sequence[Sequence[int]],
    names: Sequence[str | None],
    taken: set[str],
    scopes: Sequence[str],
) -> list[str]:
    """What the blocks of each stage have in common; numbers for all if that is unclear for one.

    All of a nested model is what that concerns, or all outside of such.
    """
    found = []
    for members in stages:
        given = [names[i] or "" for i in members]
        found.append((given[0] if len(given) == 1 else _common_begin(given)) or "")
    around = [scopes[members[0]] for members in stages]
    clashes = taken | set(filter(None, names))
    for scope in dict.fromkeys(around):
        here = [j for j, name in enumerate(around) if name == scope]
        own = [found[j] for j in here]
        several = {found[j] for j in here if len(stages[j]) > 1}
        if not all(own) or len(set(own)) < len(own) or clashes & several:
            for number, j in enumerate(here, 1):
                found[j] = _free(_in(scope, f"stage{number}"), clashes)
    return found


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number behind it where it is taken."""
    candidates = (name if number == 1 else f"{name}_{number}" for number in count(1))
    return next(candidate for candidate in candidates if candidate not in taken)


def shape_text(shape: Shape, scale: float = 1) -> str:
    """A shape as people write it, without the batch axis.

    Args:
        shape: A shape with the batch axis.
        scale: By how much the resolution is smaller than at the model's input, to say something
            where the lengths are not fixed.

    Example:
        >>> shape_text((None, 28, 28, 512)), shape_text((None, None, None, 512), scale=8)
        ('28×28×512', 'H/8×W/8×512')
    """
    letters = iter({4: "HW", 5: "DHW", 3: "L"}.get(len(shape), ""))
    ratio = "" if scale == 1 else f"/{scale:g}" if scale > 1 else f"·{1 / scale:g}"
    lengths = []
    for length in shape[1:]:
        letter = next(letters, "?") if length is None else ""
        lengths.append(f"{letter}{ratio}" if letter and letter != "?" else letter or str(length))
    return "×".join(lengths) or "scalar"
