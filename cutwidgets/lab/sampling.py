"""Random choices without repetition; all of them where there are no more than are wanted."""

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np


def subsets(
    size: int, count: int, draws: int, random: np.random.Generator
) -> list[tuple[int, ...]]:
    """Different subsets of the numbers below a size, each equally likely.

    Args:
        size: How many numbers there are to choose from.
        count: How many belong to a subset.
        draws: How many subsets to return, or fewer if there are no more.
        random: The source of chance.

    Example:
        >>> subsets(3, 2, 10, np.random.default_rng(0))
        [(0, 1), (0, 2), (1, 2)]
        >>> len(set(subsets(20, 5, 10, np.random.default_rng(0))))
        10
    """
    if comb(size, count) <= draws:
        return list(combinations(range(size), count))
    chosen: dict[tuple[int, ...], None] = {}
    while len(chosen) < draws:
        drawn = random.choice(size, count, replace=False)
        chosen[tuple(sorted(drawn.tolist()))] = None
    return list(chosen)


def orders(
    rows: Sequence[Sequence[int]], swaps: int, draws: int, random: np.random.Generator
) -> list[tuple[int, ...]]:
    """Different orders that arise when pairs change places, one pair after the other.

    Args:
        rows: The numbers that are ordered; a pair comes from one row.
        swaps: How many pairs change places.
        draws: How many orders to return, or fewer if there are no more.
        random: The source of chance.

    Returns:
        Orders of all numbers, those of the first row first.

    Example:
        >>> orders([[1, 2, 3]], 1, 10, np.random.default_rng(0))
        [(1, 3, 2), (2, 1, 3), (3, 2, 1)]
    """
    original, first = tuple(n for row in rows for n in row), 0
    pairs: list[tuple[int, int]] = []
    for row in rows:
        pairs += combinations(range(first, first + len(row)), 2)
        first += len(row)
    reached = {original}
    for _ in range(swaps):
        reached = {_swapped(order, pair) for order in reached for pair in pairs}
        # One more swap leads to at least as many orders.
        if len(reached) > draws:
            break
    else:
        return sorted(reached)
    chosen: dict[tuple[int, ...], None] = {}
    while len(chosen) < draws:
        order = original
        for pair in random.choice(len(pairs), swaps):
            order = _swapped(order, pairs[pair])
        chosen[order] = None
    return list(chosen)


def _swapped(order: tuple[int, ...], pair: tuple[int, int]) -> tuple[int, ...]:
    swapped, (one, other) = list(order), pair
    swapped[one], swapped[other] = order[other], order[one]
    return tuple(swapped)
