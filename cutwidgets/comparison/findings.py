"""How two models differ, in words."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from ..structure.places import first_and_last
from ..text import percent_text
from .rows import Difference


def finding(one: str, other: str, rows: Sequence[Difference]) -> str:
    """The difference of two models in a few sentences.

    Args:
        one: Name of the first model.
        other: Name of the second model.
        rows: The rows of the comparison.

    Example:
        >>> rows = [Difference("same", "stem", "stem"), Difference("removed", "block1", "")]
        >>> print(finding("a", "b", rows))
        b lacks 1 block of a: 'block1'. All other blocks are the same.
    """
    blocks = [row for row in rows if not row.layer]
    inputs = [f"{_end(row.layer)}: {row.details}." for row in rows if not row.block + row.other]
    if one == other:
        one, other = f"{one} (1)", f"{other} (2)"
    return " ".join(
        [*inputs, *_structure(one, other, blocks), *_weights(blocks), *_outputs(blocks)]
    )


def _structure(one: str, other: str, blocks: Sequence[Difference]) -> Iterator[str]:
    same = [row for row in blocks if row.status == "same"]
    if len(same) == len(blocks):
        yield f"{one} and {other} have the same structure: {_count(len(blocks))}."
        return
    for status in ("added", "removed", "changed", "moved"):
        rows = [row for row in blocks if row.status == status]
        for stage, several in groupby(rows, key=lambda row: row.stage):
            names = [row.block or row.other for row in several]
            where = f" in {stage}" if stage else ""
            listed = first_and_last(names)
            yield _change(status, one, other, _count(len(names)), where) + f": {listed}."
    if same:
        yield "All other blocks are the same."


def _change(status: str, one: str, other: str, count: str, where: str) -> str:
    if status == "added":
        return f"{other} has {count} more{where}"
    if status == "removed":
        return f"{other} lacks {count} of {one}{where}"
    return f"{count}{where} {'is' if count.startswith('1 ') else 'are'} {status}"


def _weights(blocks: Sequence[Difference]) -> Iterator[str]:
    changes = {row.block: row.weight_change for row in blocks if row.weight_change is not None}
    moved = {block: change for block, change in changes.items() if change}
    if not changes:
        return
    if not moved:
        yield "Their weights are equal."
        return
    most = max(moved, key=lambda block: moved[block])
    equal = [block for block, change in changes.items() if not change]
    yield (
        f"The weights of {_count(len(moved))} differ, most in {most!r} "
        f"({percent_text(moved[most])}); "
        + (f"those of {first_and_last(equal)} are equal." if equal else "none are equal.")
    )


def _outputs(blocks: Sequence[Difference]) -> Iterator[str]:
    differences = [
        (r.block, r.output_difference) for r in blocks if r.output_difference is not None
    ]
    if not differences:
        return
    differ = [(block, difference) for block, difference in differences if difference]
    if not differ:
        yield "On the input, all outputs are equal."
        return
    yield (
        f"On the input, outputs differ from {differ[0][0]!r} on ({percent_text(differ[0][1])}); at "
        f"the end, by {percent_text(differences[-1][1])}."
    )


def _end(layer: str) -> str:
    if layer == "outputs":
        return "The outputs differ"
    return f"The {layer if layer.startswith('output ') else f'input {layer!r}'} differs"


def _count(number: int) -> str:
    return f"{number} block{'s' * (number != 1)}"
