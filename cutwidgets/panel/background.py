"""A widget that works in a thread, so that a message to stop can reach the kernel meanwhile."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import anywidget
import traitlets

from .. import progress

_PAUSE = 0.1  # seconds between two updates of the page

Answer = dict[str, Any]


class _Stopped(BaseException):
    """Ends a job from within. It is no `Exception`, which a job may catch as a layer's own."""


class BackgroundWidget(anywidget.AnyWidget):
    """A widget with one job at a time in a thread.

    The thread writes nothing but `_progress` and, once, what the job gave; page and thread write by
    turns.

    Example:
        >>> given = []
        >>> widget = BackgroundWidget()
        >>> widget._begin(lambda: {"answer": 42}, lambda result: given.append(result()))
        >>> widget._thread.join()
        >>> given
        [{'answer': 42}]
    """

    _progress = traitlets.Dict().tag(sync=True)  # done, total and label of what is under way
    _lock = threading.RLock()  # one for all, as widgets that are linked write to each other
    _job: threading.Event | None = None  # set where the job shall stop
    _thread: threading.Thread | None = None

    def _begin(
        self, work: Callable[[], Answer], ended: Callable[[Callable[[], Answer]], None]
    ) -> None:
        """Begin a job, unless there is one.

        Args:
            work: The job, which tells how far it is by `lab.progress.track`.
            ended: Is called with a function that gives the answer, or raises what the job raised.
                It is not called where the answer is not wanted any more.
        """
        with self._lock:
            if self._job is not None:
                return
            job = self._job = threading.Event()
            self._progress = {"done": 0, "total": 0, "label": "beginning"}
            work_here = (self._work, job, self._thread, work, ended)
            try:
                # What was printed is shown where the job was begun.
                self._thread = threading.Thread(
                    target=copy_context().run, args=work_here, daemon=True, name="cutwidgets"
                )
                self._thread.start()
            except BaseException:  # no thread can be made, or an interrupt
                self._drop()
                raise

    def _work(
        self,
        job: threading.Event,
        before: threading.Thread | None,
        work: Callable[[], Answer],
        ended: Callable[[Callable[[], Answer]], None],
    ) -> None:
        if before is not None:
            before.join()  # one that was dropped, and is still in its last step
        outcome: Future[Answer] = Future()
        told = 0.0

        def listen(done: int, total: int, label: str) -> None:
            nonlocal told
            if job.is_set():
                raise _Stopped
            if time.monotonic() - told < _PAUSE:
                return
            told = time.monotonic()
            with self._lock:
                if self._job is job and not job.is_set():
                    self._progress = {"done": done, "total": total, "label": label}

        try:
            with progress.reporting_to(listen):
                listen(0, 0, "beginning")
                answer = work()
            outcome.set_result({"stopped": True} if job.is_set() else answer)
        except _Stopped:
            outcome.set_result({"stopped": True})
        except BaseException as problem:  # it is raised again, where it can be shown
            outcome.set_exception(problem)
        with self._lock:
            if self._job is not job:
                return
            self._job = None
            with self.hold_sync():
                ended(outcome.result)
                self._progress = {}

    def _stop(self) -> None:
        """Let the job end at its next step, and say that it was stopped."""
        with self._lock:
            if self._job is not None:
                self._job.set()
                self._progress = self._progress | {"stopping": True}

    def _drop(self) -> None:
        """Let the job end at its next step, and say nothing."""
        with self._lock:
            if self._job is not None:
                self._job.set()
                self._job = None
                self._progress = {}

    def close(self) -> None:
        """Close the widget; a job that is under way ends at its next step."""
        self._drop()
        super().close()

    @contextmanager
    def hold_sync(self) -> Iterator[None]:
        """Send what is set within this at once, when it ends."""
        with self._lock, super().hold_sync():
            yield

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the page has set."""
        with self._lock:
            super().set_state(sync_data)
