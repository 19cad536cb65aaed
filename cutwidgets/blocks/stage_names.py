"""Names for stages."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from itertools import count

from .blocks import Block
from .layer_names import number_in, tokens
from .own_names import Names, Owners, together
from .stages import Levels


def stage_names(
    blocks: Sequence[Block],
    stages: Sequence[Sequence[int]],
    scopes: Sequence[str],
    names: Sequence[str | None],
    several: Sequence[str | None],
    used: Collection[str],
    unet: Levels | None,
) -> list[str]:
    """A name for each stage: what its own layers' names share, or else a number.

    Args:
        blocks: The blocks.
        stages: Positions of the blocks of each stage.
        scopes: For each block, the nested model whose stages it counts among.
        names: The names of the blocks, where they have one.
        several: The names of stages of several blocks, where they have one.
        used: The names of layers.
        unet: The sides of a U-Net, if it is one.
    """
    around = [scopes[members[0]] for members in stages]
    single = _names_of_single(stages, around, names, several)
    own = _once([one or name for one, name in zip(single, several, strict=True)])
    taken = {*used, *filter(None, names), *filter(None, own)}
    words = [f"stage{number}" for number in _numbers(around, own)]
    if unet:
        words = _levels(blocks, stages, own, unet, words)
    result = []
    for scope, name, word in zip(around, own, words, strict=True):
        if name is None:
            name = free(f"{scope}/{word}" if scope else word, taken)
            taken.add(name)
        result.append(name)
    return result


def free(name: str, used: Collection[str]) -> str:
    """The name, with a number appended if it is in use."""
    candidates = (name if number == 1 else f"{name}_{number}" for number in count(1))
    return next(candidate for candidate in candidates if candidate not in used)


def names_of_several(
    stages: Sequence[Sequence[int]], parts: Sequence[Names], used: Collection[str]
) -> list[str | None]:
    """For each stage of several blocks what its layers' names share and those of others do not.

    Args:
        stages: Positions of the blocks of each stage.
        parts: The names of each block's layers.
        used: The names of layers.
    """
    layers = [together(parts[i] for i in members) for members in stages]
    owners = Owners(layers)
    result: list[str | None] = []
    for members, part in zip(stages, layers, strict=True):
        several = len(members) > 1 and _speaks(part)
        candidates = (*part.shared, owners.most_common(part)) if several else ()
        fitting = (_without_series(n, part) for n in candidates if n and owners.owns(part, n))
        result.append(next((name for name in fitting if name not in used), None))
    return _once(result)


def _once(names: Sequence[str | None]) -> list[str | None]:
    times = Counter(names)
    return [name if times[name] == 1 else None for name in names]


def _without_series(name: str, part: Names) -> str:
    """A name without the word that counts the blocks: `stage1` for `stage1_block`."""
    *before, last = tokens(name)
    counts = any(n.startswith(name) and re.match(r"\W?_?\d", n[len(name) :]) for n in part.all)
    shorter = "".join(before)
    return shorter if counts and shorter[-1:].isdigit() and not last[-1].isdigit() else name


def _speaks(part: Names) -> bool:
    """Whether a person named at least half of the layers with weights."""
    return bool(part.all) and part.nameless <= len(part.weighted)


def _names_of_single(
    stages: Sequence[Sequence[int]],
    around: Sequence[str],
    names: Sequence[str | None],
    several: Sequence[str | None],
) -> list[str | None]:
    """For each stage of a single block, that block's name, unless the name only counts blocks.

    It does if stages of several blocks have no name and this block precedes them, or continues the
    numbers of their blocks, as `block_16` does.
    """
    families: defaultdict[str, set[str | None]] = defaultdict(set)
    last: dict[str, int] = {}
    for j, members in enumerate(stages):
        if len(members) > 1 and several[j] is None:
            families[around[j]].update(_family(names[i]) for i in members)
            last[around[j]] = j
    return [
        names[members[0]]
        if len(members) == 1
        and last.get(around[j], -1) < j
        and _family(names[members[0]]) not in families[around[j]]
        else None
        for j, members in enumerate(stages)
    ]


def _family(name: str | None) -> str | None:
    return name and re.sub(r"\d+", "#", name)


def _numbers(around: Sequence[str], own: Sequence[str | None]) -> list[int]:
    """Numbers for stages without a name: they count on where the names before them end."""
    result = [0] * len(around)
    positions: defaultdict[str, list[int]] = defaultdict(list)
    for j, scope in enumerate(around):
        positions[scope].append(j)
    for here in positions.values():
        known = [number_in((own[j] or "").rpartition("/")[2]) for j in here]
        known = [n if n is not None and n <= len(here) + 1 else None for n in known]
        first = next((k for k, number in enumerate(known) if number is not None), 0)
        # What precedes `stage_1` is 0; the network itself counts from 1.
        last = max((known[first] or 0) - first, 0) - 1 if known[first] is not None else 0
        for j, number in zip(here, known, strict=True):
            last = last + 1 if number is None else max(last, number)
            result[j] = last
    return result


def _levels(
    blocks: Sequence[Block],
    stages: Sequence[Sequence[int]],
    own: Sequence[str | None],
    unet: Levels,
    words: Sequence[str],
) -> list[str]:
    """For each stage of a U-Net its side and level: one number for the ways down and up.

    The numbers agree with those in the names of other levels, where these have any. A stage of
    lower resolution than the levels, beside the bridge, keeps its word.
    """
    sides = [unet.side(members[-1]) for members in stages]
    finest = [min(blocks[i].scale for i in members) for members in stages]
    named = [
        number - unet.number(scale)
        for name, side, scale in zip(own, sides, finest, strict=True)
        if side != "bridge" and name and (number := number_in(name)) is not None
    ]
    shift = Counter(named).most_common(1)[0][0] if named else 0

    def word(side: str, scale: float, word: str) -> str:
        if side == "bridge":
            return side
        is_level = scale <= 2 * unet.scales[-1]
        return f"{side}{max(unet.number(scale) + shift, 0)}" if is_level else word

    return list(map(word, sides, finest, words))
