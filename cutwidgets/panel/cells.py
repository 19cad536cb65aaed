"""Jobs of a panel compute while no cell of the notebook runs.

A forward pass puts back the states that it changes. If a cell trained the model meanwhile, the pass
would put back what the training has changed.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

_PAUSE = 0.1  # seconds

_cell = threading.RLock()  # held by a cell, or by a job during a forward pass
_wanted = threading.Event()  # a cell waits: the next pass lets it go first
_held: list[object] = []  # one item while a cell runs that was announced


@contextmanager
def between_cells(waiting: Callable[[], None]) -> Iterator[None]:
    """Wait until no cell runs; a cell that is started then waits for the end of this context.

    Args:
        waiting: Called again and again while a cell runs. It may raise, to wait no longer.

    Example:
        >>> with between_cells(lambda: None):
        ...     pass
    """
    while _wanted.is_set() or not _cell.acquire(timeout=_PAUSE):
        waiting()
        time.sleep(0.01)
    try:
        yield
    finally:
        _cell.release()


@cache
def watch_cells() -> None:
    """Be told of cells that begin and end, if this is a notebook's kernel."""
    ipython = sys.modules.get("IPython")  # not imported: there is no kernel without it
    shell = ipython.get_ipython() if ipython else None
    if shell is not None:
        shell.events.register("pre_run_cell", _begin)
        shell.events.register("post_run_cell", _end)


def _begin(*_: object) -> None:
    _wanted.set()
    try:
        _cell.acquire()
        _held.append(_cell)
    finally:  # also after an interrupt, after which the cell runs at once
        _wanted.clear()


def _end(*_: object) -> None:
    if _held:  # not in the cell that began to watch
        _held.pop()
        _cell.release()
