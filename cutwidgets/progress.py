"""Progress of slow work: bars, or a callback."""

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")

Listener = Callable[[int, int, str], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


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
    listener = _listener.get()
    if listener is None:
        yield from _with_bar(items, label)
        return
    for done, item in enumerate(items):
        listener(done, len(items), label)
        yield item
    listener(len(items), len(items), label)


def _with_bar(items: Iterable[Item], label: str) -> Iterable[Item]:
    try:
        from tqdm.auto import tqdm
    except ModuleNotFoundError:
        return items
    bar: Iterable[Item] = tqdm(items, desc=label, delay=1, leave=False)
    return bar


@contextmanager
def reporting_to(listener: Listener) -> Iterator[None]:
    """Within this context, `track` calls a function instead of showing a bar.

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
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
