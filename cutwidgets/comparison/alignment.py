"""Align two sequences: the shortest list of edits that turns one into the other.

An edit changes, adds, removes or moves one element. Without moves, the shortest list is found by
dynamic programming (Wagner, Fischer 1974, "The string-to-string correction problem"). An element
that is removed at one place and added at another was moved.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["same", "changed", "added", "removed", "moved"]

_NEVER = 1e9
_HINT = 1e-6  # what decides between lists of equal length


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a sequence.

    Attributes:
        structure: What it is; elements of equal structure are the same, unless their identities say
            otherwise.
        identity: The position of the very same element in the other sequence; `None` if unknown.
        name: A name, which decides where the rest is equal.
    """

    structure: Hashable
    identity: int | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the list of edits.

    Attributes:
        status: `"same"`, `"changed"`, `"added"`, `"removed"` or `"moved"`.
        one: Position in the first sequence; `None` for what was added.
        other: Position in the second sequence; `None` for what was removed.
    """

    status: Status
    one: int | None
    other: int | None


def align(
    ones: Sequence[Element],
    others: Sequence[Element],
    likeness: Callable[[int, int], float],
) -> list[Step]:
    """The shortest list of edits from one sequence to another.

    Args:
        ones: The first sequence.
        others: The second sequence.
        likeness: For two positions, 0 if one element cannot be the other one changed; otherwise how
            like they are, up to 1.

    Returns:
        The steps in the order of the second sequence; what was removed stands where it was.

    Example:
        >>> a, b = ([Element(letter) for letter in word] for word in ("abcde", "acbxe"))
        >>> [(step.status, step.one, step.other) for step in align(a, b, lambda i, j: 1)][1:4]
        [('same', 2, 1), ('moved', 1, 2), ('changed', 3, 3)]
    """
    # An element that is in both sequences, but not in the same place, leaves two gaps for one edit.
    elsewhere = Counter(o.structure for o in others), Counter(o.structure for o in ones)
    plans = []
    for moving in (1.0, 0.5):
        gaps = [
            [moving if element.structure in there else 1.0 for element in elements]
            for elements, there in zip((ones, others), elsewhere, strict=True)
        ]
        pairs = _aligned(ones, others, gaps, likeness)
        plans.append(_with_moves(ones, others, pairs))
    return min(plans, key=lambda steps: sum(step.status != "same" for step in steps))


def are_same(ones: Sequence[Element], others: Sequence[Element], i: int, j: int) -> bool:
    """Whether two elements have the same structure, and nothing says that one is another one."""
    one, other = ones[i], others[j]
    return (
        one.structure == other.structure
        and one.identity in (None, j)
        and other.identity in (None, i)
    )


def _aligned(
    ones: Sequence[Element],
    others: Sequence[Element],
    gaps: Sequence[Sequence[float]],
    likeness: Callable[[int, int], float],
) -> list[tuple[int | None, int | None]]:
    """Pairs of positions in both orders, by dynamic programming between the equal ends."""

    def cost(i: int, j: int) -> float:
        # If an element that is elsewhere too becomes another one, its counterpart is left alone.
        lonely = (1 - gaps[0][i]) + (1 - gaps[1][j])
        return _cost(ones, others, i, j, likeness, lonely)

    first, last = _equal_ends(ones, others)
    a, b = range(first, len(ones) - last), range(first, len(others) - last)
    costs = [[0.0]]
    for j in b:
        costs[0].append(costs[0][-1] + gaps[1][j])
    for i in a:
        above, row = costs[-1], [costs[-1][0] + gaps[0][i]]
        for k, j in enumerate(b):
            pair = above[k] + cost(i, j)
            row.append(min(pair, above[k + 1] + gaps[0][i], row[-1] + gaps[1][j]))
        costs.append(row)
    pairs: list[tuple[int | None, int | None]] = []
    m, k = len(a), len(b)
    while m or k:
        i, j = a[m - 1] if m else -1, b[k - 1] if k else -1
        here = costs[m][k]
        if m and k and here == costs[m - 1][k - 1] + cost(i, j):
            pairs.append((i, j))
            m, k = m - 1, k - 1
        elif k and here == costs[m][k - 1] + gaps[1][j]:
            pairs.append((None, j))
            k -= 1
        else:
            pairs.append((i, None))
            m -= 1
    ends = zip(
        range(len(ones) - last, len(ones)), range(len(others) - last, len(others)), strict=True
    )
    return [*zip(range(first), range(first), strict=True), *reversed(pairs), *ends]


def _equal_ends(ones: Sequence[Element], others: Sequence[Element]) -> tuple[int, int]:
    """How many elements are the same at the beginning, and how many of the rest at the end."""
    shorter = min(len(ones), len(others))
    first = next((i for i in range(shorter) if not are_same(ones, others, i, i)), shorter)
    last = 0
    while last < shorter - first and are_same(
        ones, others, len(ones) - 1 - last, len(others) - 1 - last
    ):
        last += 1
    return first, last


def _cost(
    ones: Sequence[Element],
    others: Sequence[Element],
    i: int,
    j: int,
    likeness: Callable[[int, int], float],
    lonely: float,
) -> float:
    one, other = ones[i], others[j]
    same_name = _HINT * (one.name != other.name)
    if one.structure == other.structure:
        return same_name if are_same(ones, others, i, j) else _NEVER
    if one.identity is not None or other.identity is not None:
        return _NEVER
    like = likeness(i, j)
    return 1 + lonely + same_name + _HINT * (1 - like) if like else _NEVER


def _with_moves(
    ones: Sequence[Element],
    others: Sequence[Element],
    pairs: Sequence[tuple[int | None, int | None]],
) -> list[Step]:
    """The steps, with what was removed and added again as moved."""
    added = defaultdict[Hashable, list[int]](list)
    for i, j in pairs:
        if i is None and j is not None:
            added[others[j].structure].append(j)
    moved: dict[int, int] = {}
    for i, j in pairs:
        if j is None and i is not None:
            one, like = ones[i], added[ones[i].structure]
            places = [k for k in like if are_same(ones, others, i, k)]
            named = [k for k in places if others[k].name == one.name]
            for place in (named or places)[:1]:
                like.remove(place)
                moved[place] = i
    gone = set(moved.values())
    steps = []
    for i, j in pairs:
        if i is not None and j is not None:
            equal = ones[i].structure == others[j].structure
            steps.append(Step("same" if equal else "changed", i, j))
        elif j is not None:
            steps.append(Step("moved" if j in moved else "added", moved.get(j), j))
        elif i not in gone:
            steps.append(Step("removed", i, None))
    return steps
