"""Pair the blocks of two models, and the calls of two blocks: by structure, then by identity."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..blocks.blocks import Block
from ..graph.callgraph import Call, has_automatic_name
from ..structure.anatomy import Anatomy
from ..surgery.likeness import to_numpy
from .alignment import Element, Step, align
from .signatures import Known, Signature, Structure, signature_of, structure_of

_SAMPLE = 64  # numbers of a weight that tell it from others


def pair_blocks(one: Anatomy, other: Anatomy, known: Known) -> list[Step]:
    """The shortest list of edits from the blocks of one model to those of another.

    Equal blocks in a row, as in every ResNet, are told apart by what says that a block of one model
    is the very same as one of the other: shared layers; else equal weights; else names, unless
    Keras made them up.

    Args:
        one: The anatomy of the first model.
        other: That of the second.
        known: See `signature_of`.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(include_top=False, weights=None)
        >>> smaller = cw.remove(resnet, "conv3_block2")
        >>> steps = pair_blocks(cw.anatomy(resnet), cw.anatomy(smaller), {})
        >>> [(step.status, step.one) for step in steps if step.status != "same"]
        [('removed', 5)]
    """
    ones, others = (_elements(anatomy, known) for anatomy in (one, other))
    ones, others = _identified(ones, others, _shared(one), _shared(other))
    ones, others = _identified(ones, others, _weights(one, ones), _weights(other, others))
    ones, others = _identified(ones, others, _names(one), _names(other))
    steps = align(ones, others, _likeness(ones, others, _of_blocks))
    others_read = rewired(one, other, steps)
    return [
        replace(step, status="changed")
        if step.status == "same" and step.one in others_read
        else step
        for step in steps
    ]


def pair_calls(one: Block, other: Block, known: Known) -> list[Step]:
    """The shortest list of edits from the calls of one block to those of another.

    Args:
        one: A block.
        other: A block of another model.
        known: See `signature_of`.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> a = cw.anatomy(keras.applications.ResNet50(weights=None))["conv3_block2"]
        >>> b = cw.anatomy(keras.applications.ResNet50V2(weights=None))["conv3_block2"]
        >>> [step.status for step in pair_calls(a, b, {})].count("same") > 3
        True
    """
    ones, others = (
        [Element(signature_of(call, known), name=call.own_name) for call in _calls(block)]
        for block in (one, other)
    )
    keys = ([id(call.layer) for call in _calls(block)] for block in (one, other))
    ones, others = _identified(ones, others, *keys)
    ones, others = _identified(ones, others, *([e.name for e in es] for es in (ones, others)))
    return align(ones, others, _likeness(ones, others, _of_calls))


def _calls(block: Block) -> list[Call]:
    return [block.graph.calls[index] for index in block.calls]


def _elements(anatomy: Anatomy, known: Known) -> list[Element]:
    return [Element(structure_of(block, known), name=block.name) for block in anatomy]


Keys = Sequence[Hashable]  # for each element what tells it from the others; `None` for nothing


def _shared(anatomy: Anatomy) -> Keys:
    return [tuple(id(call.layer) for call in _calls(block)) for block in anatomy]


def _names(anatomy: Anatomy) -> Keys:
    return [
        None
        if all(map(has_automatic_name, _calls(block)))
        else tuple(call.own_name for call in _calls(block))
        for block in anatomy
    ]


def _weights(anatomy: Anatomy, elements: Sequence[Element]) -> Keys:
    """A few numbers of each weight, for blocks that are like others and not identified yet."""
    counts = Counter(element.structure for element in elements)

    def key(block: Block, element: Element) -> Hashable:
        if counts[element.structure] == 1 or element.identity is not None:
            return None
        weights = [w for call in _calls(block) for w in getattr(call.layer, "weights", ())]
        return tuple(_sample(weight) for weight in weights) or None

    return [key(block, element) for block, element in zip(anatomy, elements, strict=True)]


def _sample(weight: Any) -> bytes:
    return np.ascontiguousarray(to_numpy(weight).reshape(-1)[:_SAMPLE]).tobytes()


def _identified(
    ones: list[Element], others: list[Element], keys: Keys, other_keys: Keys
) -> tuple[list[Element], list[Element]]:
    """The elements, identified by keys that exactly one element of each sequence has."""
    ones, others = list(ones), list(others)
    at, other_at = _unique(keys), _unique(other_keys)
    for key in at.keys() & other_at.keys():
        i, j = at[key], other_at[key]
        free = ones[i].identity is None and others[j].identity is None
        if free and ones[i].structure == others[j].structure:
            ones[i], others[j] = replace(ones[i], identity=j), replace(others[j], identity=i)
    return ones, others


def _unique(keys: Keys) -> dict[Hashable, int]:
    counts = Counter(keys)
    return {key: i for i, key in enumerate(keys) if key is not None and counts[key] == 1}


def _likeness(
    ones: Sequence[Element], others: Sequence[Element], like: Callable[[Any, Any], float]
) -> Callable[[int, int], float]:
    def likeness(i: int, j: int) -> float:
        one, other = ones[i], others[j]
        return like(one.structure, other.structure) or 0.1 * (one.name == other.name)

    return likeness


def _of_blocks(one: Structure, other: Structure) -> float:
    """The share of equal calls; a tenth for other blocks of the same kind."""
    a, b = Counter(one.calls), Counter(other.calls)
    equal = (a & b).total() / max(a.total(), b.total(), 1)
    return max(equal, 0.1 * (one.kind == other.kind))


def _of_calls(one: Signature, other: Signature) -> float:
    """The share of equal settings of layers of the same class."""
    if one.kind != other.kind:
        return 0
    a, b = set(one.config), set(other.config)
    return 0.1 + 0.9 * len(a & b) / max(len(a | b), 1)


def rewired(one: Anatomy, other: Anatomy, steps: Sequence[Step]) -> dict[int, tuple[str, str]]:
    """Blocks that read another block than their counterpart does.

    Only where both blocks that are read stay in their order: what is put in, left out or moved
    changes what the next block reads, and is a step of its own.

    Returns:
        By the position of a block in the first model, the name of the block that it reads there,
        and of the one that its counterpart reads.
    """
    stays = {s.one: s.other for s in steps if s.status in ("same", "changed")}
    stay = set(stays.values())
    reads, other_reads = _sources(one), _sources(other)
    found: dict[int, tuple[str, str]] = {}
    for step in steps:
        if step.one is not None and step.other is not None:
            for i, j in zip(reads[step.one], other_reads[step.other], strict=False):
                if i in stays and j in stay and stays[i] != j:
                    found.setdefault(step.one, (one[i].name, other[j].name))
    return found


def _sources(anatomy: Anatomy) -> list[list[int]]:
    """For each block, the positions of the blocks that compute what enters it; -1 for inputs."""
    makers = {tensor: i for i, block in enumerate(anatomy) for tensor in block.exits}
    return [[makers.get(tensor, -1) for tensor in block.entries] for block in anatomy]
