"""Progress of slow work: bars, or a callback."""

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")

Listener = Callable[[int, int, str], None]


@dataclass
class _Report:
    """Where progress is reported, and what is under way.

    Attributes:
        listener: See `reporting_to`.
        label: What is done, as `doing` says.
        outer: What was last reported by the outermost loop that reports; `None` outside of loops.
    """

    listener: Listener
    label: str = ""
    outer: tuple[int, int, str] | None = None


_report: ContextVar[_Report | None] = ContextVar("report", default=None)


def track(items: Iterable[Item], label: str) -> Iterator[Item]:
    """Iterate over items, and show a progress bar of tqdm, if that is installed, after a second.

    Args:
        items: The items.
        label: What is done with them, in a few words.

    Example:
        >>> list(track("ab", "reading"))
        ['a', 'b']
    """
    items = items if isinstance(items, Sized) else list(items)
    report = _report.get()
    yield from _with_bar(items, label) if report is None else _reported(items, label, report)


def steps(items: Iterable[Item]) -> Iterable[Item]:
    """Iterate over small steps of a piece of work, which `doing` names. There is never a bar.

    Example:
        >>> heard = []
        >>> with reporting_to(lambda *progress: heard.append(progress)), doing("reading"):
        ...     for letter in steps("ab"):
        ...         pass
        >>> heard
        [(0, 0, 'reading'), (0, 2, 'reading'), (1, 2, 'reading'), (2, 2, 'reading')]
    """
    report = _report.get()
    if report is None:
        return items
    items = items if isinstance(items, Sized) else list(items)
    return _reported(items, report.label or "Running the model", report)


@contextmanager
def doing(label: str) -> Iterator[None]:
    """Name the work within this context, for `steps`, and report that it begins.

    Args:
        label: What is done, in a few words.
    """
    report = _report.get()
    if report is None:
        yield
        return
    before = report.label, report.outer
    report.label = label
    try:
        report.listener(*(report.outer or (0, 0, label)))
        yield
    finally:  # also where a loop was left by an error
        report.label, report.outer = before


def _reported(items: Iterable[Item], label: str, report: _Report) -> Iterator[Item]:
    """Iterate over items, and report each; within another loop, report how far that one is."""
    outer, total = report.outer, len(items) if isinstance(items, Sized) else 0
    try:
        for done, item in enumerate(items):
            report.outer = outer or (done, total, label)
            report.listener(*report.outer)
            yield item
        if outer is None:
            report.listener(total, total, label)
    finally:
        report.outer = outer


def _with_bar(items: Iterable[Item], label: str) -> Iterable[Item]:
    try:
        from tqdm.auto import tqdm
    except ModuleNotFoundError:
        return items
    bar: Iterable[Item] = tqdm(items, desc=label, delay=1, leave=False)
    return bar


@contextmanager
def reporting_to(listener: Listener) -> Iterator[None]:
    """Within this context, `track` and `steps` call a function, and there are no bars.

    Within a loop of `track` or `steps`, inner loops report how far the outer one is, so that a
    function that raises stops the work at the next inner step.

    Args:
        listener: A function of the number of items done, the number of all items, and the label.
            It may raise to stop the work.

    Example:
        >>> heard = []
        >>> with reporting_to(lambda *progress: heard.append(progress)):
        ...     for letter in track("ab", "reading"):
        ...         pass
        >>> heard
        [(0, 2, 'reading'), (1, 2, 'reading'), (2, 2, 'reading')]
    """
    token = _report.set(_Report(listener))
    try:
        yield
    finally:
        _report.reset(token)
