"""Blocks and stages of a model: pure graph work, no Keras."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, zip_longest

from .callgraph import CallGraph, Shape, entering, parameters
from .chains import Signature, branch_signature, is_automatic, pieces, tokens
from .regions import WEIGHTED, Region, regions

BRANCHED = frozenset({"residual", "inception", "dense", "branched"})
OUTSIDE_STAGES = frozenset({"stem", "top", "classifier"})

Part = tuple[str, list[Region]]


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
        params: Number of parameters, a shared layer counted once.
        entries: Indices of the tensors that enter, in the call graph: one, but where several
            inputs of the model meet.
        exits: Indices of the tensors that leave: one, but where several outputs of the model part.
        calls: Indices of its calls.
    """

    name: str
    kind: str
    shortcut: str | None
    stage: str | None
    layers: tuple[str, ...]
    input_shape: Shape
    output_shape: Shape
    scale: float
    params: int
    entries: tuple[int, ...]
    exits: tuple[int, ...]
    calls: tuple[int, ...]

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
    inputs = {graph.tensors[tensor].maker for tensor in graph.inputs}
    calls = [call.index for call in graph.calls if call.index not in inputs]
    found = regions(graph, calls, graph.inputs, graph.outputs)
    scales = _scales(graph)
    unnamed = [_block(graph, kind, parts, scales) for kind, parts in _assemble(graph, found)]
    stages = _stages(graph, unnamed, scales)
    return _named(graph, unnamed, stages)


def _scales(graph: CallGraph) -> list[float]:
    """By how much each tensor's resolution is smaller than that of the model's input."""
    scales = [1.0] * len(graph.tensors)
    for call in graph.calls:
        for tensor in call.outputs:
            scales[tensor] = (scales[call.inputs[0]] if call.inputs else 1.0) * call.stride
    return scales


def _assemble(graph: CallGraph, found: Sequence[Region]) -> Iterator[Part]:
    """Join regions into blocks: each branched region, and what the chains around it hold."""
    branched = [region for region in found if region.role in BRANCHED]
    chains: list[list[Region]] = [[]]
    for region in found:
        if region.role in BRANCHED:
            chains.append([])
        else:
            chains[-1].append(region)
    patterns = {
        region: branch_signature(graph, region) for region in found if region.role == "residual"
    }
    opening = _opening_lengths(chains, branched, patterns)
    closing = _closing_lengths(chains, branched)

    for i, chain in enumerate(chains):
        if i:
            before = chains[i - 1][len(chains[i - 1]) - opening[i - 1] :]
            yield branched[i - 1].role, [*before, branched[i - 1], *chain[: closing[i]]]
        middle = chain[closing[i] : len(chain) - opening[i]]
        yield from _chain_parts(graph, middle, set(patterns.values()), i, len(branched))


def _opening_lengths(
    chains: list[list[Region]], branched: list[Region], patterns: dict[Region, Signature]
) -> list[int]:
    """How many calls at the end of each chain are the pre-activation of the block behind it.

    In networks with pre-activation, normalisation and activation stand before the branch, and where
    the shortcut is a projection, before that too (He et al. 2016, "Identity mappings in deep
    residual networks", figure 1b).
    """
    first_words = [signature[:1] for signature in patterns.values()]
    preactivated = first_words.count(("normalization",)) * 2 > len(first_words)
    lengths = [0] * len(chains)
    for i, (chain, region) in enumerate(zip(chains, branched, strict=False)):
        if region.role == "residual" and _roles(chain[-2:]) == ["normalization", "activation"]:
            # Behind a convolution it is the convolution's own, unless the network tells otherwise.
            follows_weights = len(chain) > 2 and chain[-3].role in WEIGHTED
            lengths[i] = 0 if follows_weights and not preactivated else 2
    return lengths


def _closing_lengths(chains: list[list[Region]], branched: list[Region]) -> list[int]:
    """How many calls at the begin of each chain belong to the block before it.

    That is the activation behind the addition (ResNet), or a normalisation where it stands alone
    behind every addition (post-normalisation: Vaswani et al. 2017).
    """
    inner = [_roles(chain) for chain in chains[1:-1]]
    postnormalized = bool(inner) and all(roles == ["normalization"] for roles in inner)
    lengths = [0] * len(chains)
    for i, (chain, region) in enumerate(zip(chains[1:], branched, strict=True), 1):
        if region.role == "residual" and chain:
            closes = chain[0].role == "activation"
            closes |= postnormalized and chain[0].role == "normalization"
            lengths[i] = int(closes)
    return lengths


def _roles(chain: Sequence[Region]) -> list[str]:
    return [region.role for region in chain]


def _chain_parts(
    graph: CallGraph, chain: list[Region], patterns: set[Signature], position: int, last: int
) -> Iterator[Part]:
    """Name the kinds of a chain's pieces by where it stands in the network."""
    found = pieces(graph, chain, patterns, alone=last == 0)
    rests = [i for i, (kind, _) in enumerate(found) if kind == "rest"]
    for i, (kind, parts) in enumerate(found):
        if i in rests:
            behind = {kind for kind, _ in found[i + 1 :]}
            is_top = position == last and behind <= {"classifier"}
            is_stem = position == 0 and i == 0
            kind = "stem" if is_stem else "top" if is_top else "linear"
        yield kind, parts


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
    if set(exits) <= set(graph.outputs):
        exits.sort(key=graph.outputs.index)
    return Block(
        name="",
        kind=kind,
        shortcut=next((region.shortcut for region in parts if region.shortcut), None),
        stage=None,
        layers=tuple(graph.calls[index].name for index in calls),
        input_shape=graph.tensors[entries[0]].shape,
        output_shape=graph.tensors[exits[-1]].shape,
        scale=scales[exits[-1]],
        params=parameters(graph, calls),
        entries=entries,
        exits=tuple(exits),
        calls=calls,
    )


def _stages(graph: CallGraph, blocks: Sequence[Block], scales: list[float]) -> list[list[int]]:
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
            joins &= width(before) == width(block)
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
    graph: CallGraph, unnamed: Sequence[Block], stages: Sequence[Sequence[int]]
) -> tuple[tuple[Block, ...], tuple[Stage, ...]]:
    """Give blocks and stages the names that their layers suggest, or else numbered ones."""
    taken = {call.name for call in graph.calls}
    suggested = _unique([_common_name(graph, block) for block in unnamed], taken, unnamed)
    stage_names = _stage_names(stages, suggested, taken)

    names = list(suggested)
    for i, block in enumerate(unnamed):
        if block.kind in OUTSIDE_STAGES:
            names[i] = _free(block.kind, taken | set(filter(None, names)))
    for stage_name, members in zip(stage_names, stages, strict=True):
        for number, i in enumerate(members, 1):
            if names[i] is None:
                names[i] = _free(f"{stage_name}_block{number}", taken | set(filter(None, names)))

    stage_of = {i: name for name, members in zip(stage_names, stages, strict=True) for i in members}
    blocks = tuple(
        replace(block, name=name or "", stage=stage_of.get(i))
        for i, (block, name) in enumerate(zip(unnamed, names, strict=True))
    )
    return blocks, tuple(
        Stage(name, tuple(blocks[i] for i in members))
        for name, members in zip(stage_names, stages, strict=True)
    )


def _common_name(graph: CallGraph, block: Block) -> str | None:
    """What the names that a person gave to a block's layers have in common at their begin."""
    given = [
        call.name
        for call in map(graph.calls.__getitem__, block.calls)
        if not is_automatic(call.name, call.kind)
    ]
    if not given or block.kind in OUTSIDE_STAGES:
        return None
    return _common_begin(given)


def _common_begin(names: Sequence[str]) -> str | None:
    """The longest common begin of names that ends where a word of each ends.

    Example:
        >>> _common_begin(["conv3_block1_1_conv", "conv3_block1_out"]), _common_begin(["a1", "b1"])
        ('conv3_block1', None)
    """
    columns = zip(*map(tokens, names), strict=False)
    words = [column[0] for column in columns if len(set(column)) == 1]
    # zip goes on behind a difference, so only the unbroken begin counts.
    begin = ""
    for word in words:
        if not all(name.startswith(begin + word) for name in names):
            break
        begin += word
    return begin or None


def _unique(
    suggested: Sequence[str | None], taken: set[str], blocks: Sequence[Block]
) -> list[str | None]:
    """Drop suggestions that two blocks share, or that are the name of some other layer."""

    def is_clear(name: str, block: Block) -> bool:
        means_a_layer = name in taken and block.layers != (name,)
        return suggested.count(name) == 1 and not means_a_layer

    return [
        name if name and is_clear(name, block) else None
        for name, block in zip(suggested, blocks, strict=True)
    ]


def _stage_names(
    stages: Sequence[Sequence[int]], names: Sequence[str | None], taken: set[str]
) -> list[str]:
    """What the blocks of each stage have in common; numbers for all if that is unclear for one."""
    found = []
    for members in stages:
        given = [names[i] or "" for i in members]
        found.append((given[0] if len(given) == 1 else _common_begin(given)) or "")
    several = [name for name, members in zip(found, stages, strict=True) if len(members) > 1]
    clashes = taken | set(filter(None, names))
    if all(found) and len(set(found)) == len(found) and not clashes & set(several):
        return found
    return [_free(f"stage{number}", clashes) for number in range(1, len(stages) + 1)]


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
