"""Interleaved timing of two functions, and rows of the table.

The machine may be busy: peer and ours take turns, in alternating order, and the ratio is that of
neighbours in time. Python's garbage collector runs between the repeats, never within them.
"""

import gc
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter
from typing import Any


@dataclass(frozen=True)
class Row:
    """A line of the table. `ok` is `None` where there is no limit."""

    what: str
    ours: str = ""
    peer: str = ""
    ratio: str = ""
    limit: str = ""
    ok: bool | None = None

    @property
    def verdict(self) -> str:
        """In words."""
        if self.ok is None:
            return ""
        return "kept" if self.ok else "**limit missed**" if self.limit else "**failed**"


Part = Callable[[], Row | Iterable[Row]]  # what measures one thing, in one row or some


@dataclass(frozen=True)
class Times:
    """Seconds of ours and of the peer, pair by pair."""

    ours: list[float]
    peer: list[float]

    @property
    def ratios(self) -> list[float]:
        """Ours divided by the peer, pair by pair."""
        return [one / other for one, other in zip(self.ours, self.peer, strict=True)]

    def row(self, what: str, limit: float | None = None, peer: str = "") -> Row:
        """The row; `limit` is what the median ratio may be at most, `peer` what the peer is."""
        return Row(
            what,
            spread(self.ours, duration),
            f"{peer + ': ' if peer else ''}{spread(self.peer, duration)}",
            spread(self.ratios, number),
            "" if limit is None else f"≤ {number(limit)}",
            None if limit is None else median(self.ratios) <= limit,
        )


def attempt(what: str, part: Part) -> Iterator[Row]:
    """The rows of a part; an error becomes a row, after those that there are."""
    try:
        found = part()
        yield from [found] if isinstance(found, Row) else found
    except Exception as error:  # the other parts go on
        yield Row(what, reason(error), ok=False)


def reason(error: Exception) -> str:
    """An error in one short line, without the paths of this machine."""
    lines = str(error).strip().splitlines() or [""]
    text = re.sub(r"(/[^/\s'\"]+){2,}", "…", lines[0])
    return f"fails: {type(error).__name__}: {text:.120}"


def interleaved(
    ours: Callable[..., Any],
    peer: Callable[..., Any],
    repeats: int,
    fresh: Callable[[], Any] | None = None,
    warm: int = 1,
) -> Times:
    """Time two functions in turns.

    Args:
        ours: The one function.
        peer: The other.
        repeats: How often each is timed.
        fresh: What to make anew for each pair, not timed; both functions take it.
        warm: How many pairs come before, and do not count.
    """
    times: dict[Any, list[float]] = {ours: [], peer: []}
    for i in range(-warm, repeats):
        args = [] if fresh is None else [fresh()]
        for function in (peer, ours) if i % 2 else (ours, peer):
            times[function].append(timed(function, *args))
    return Times(times[ours][warm:], times[peer][warm:])


def timed(function: Callable[..., Any], *args: Any) -> float:
    """Seconds that a call takes, without garbage collection."""
    gc.collect(1)
    gc.disable()
    try:
        begun = perf_counter()
        function(*args)
        return perf_counter() - begun
    finally:
        gc.enable()


def against(seconds: Sequence[float], limit: float, what: str) -> Row:
    """The row of something that has a limit in seconds instead of a peer."""
    ratios = [value / limit for value in seconds]
    return Row(
        what,
        spread(seconds, duration),
        f"the limit: {duration(limit)}",
        spread(ratios, number),
        "≤ 1",
        median(ratios) <= 1,
    )


def spread(values: Sequence[float], text: Callable[[float], str]) -> str:
    """The median and, in brackets, the quartiles."""
    if len(values) < 2:
        return text(values[0])
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return f"{text(middle)} ({text(low)} to {text(high)})"


def duration(seconds: float) -> str:
    """Seconds or milliseconds, with three digits."""
    return f"{number(seconds)} s" if seconds >= 1 else f"{number(1000 * seconds)} ms"


def number(value: float) -> str:
    """Three digits."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
