"""Progress of what takes long: a bar, or whoever listens."""

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
def told(listener: Listener) -> Iterator[None]:
    """Within this, `track` shows no bar but calls a function, which may raise to stop the work.

    Args:
        listener: A function of what is done, of how many there are, and of the label.

    Example:
        >>> heard = []
        >>> with told(lambda *progress: heard.append(progress)):
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
