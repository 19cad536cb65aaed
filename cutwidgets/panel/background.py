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
    """Ends a job from within. It is no `Exception`, which a job might handle as a layer's own."""


class BackgroundWidget(anywidget.AnyWidget):
    """A widget that runs one job at a time in a thread.

    The thread writes only `_progress` and, once, the result of the job. Page and thread never write
    at the same time.

    Example:
        >>> results = []
        >>> widget = BackgroundWidget()
        >>> widget._begin(lambda: {"answer": 42}, lambda result: results.append(result()))
        >>> widget._thread.join()
        >>> results
        [{'answer': 42}]
    """

    _progress = traitlets.Dict().tag(sync=True)  # done, total and label of the job
    _lock = threading.RLock()  # one for all, as linked widgets write to each other
    _job: threading.Event | None = None  # the current job; set to stop it
    _thread: threading.Thread | None = None

    def _begin(
        self, work: Callable[[], Answer], ended: Callable[[Callable[[], Answer]], None]
    ) -> None:
        """Begin a job, unless there is one.

        Args:
            work: The job, which reports its progress by `progress.track`.
            ended: Called with a function that returns the result or re-raises the job's exception;
                not called for a job that was dropped.
        """
        with self._lock:
            if self._job is not None:
                return
            job = self._job = threading.Event()
            self._progress = {"done": 0, "total": 0, "label": "Starting"}
            arguments = (self._work, job, self._thread, work, ended)
            try:
                # In a copy of the context, output appears in the cell that began the job.
                self._thread = threading.Thread(
                    target=copy_context().run, args=arguments, daemon=True, name="cutwidgets"
                )
                self._thread.start()
            except BaseException:  # no thread could be started, or an interrupt
                self._drop()
                raise

    def _work(
        self,
        job: threading.Event,
        previous: threading.Thread | None,
        work: Callable[[], Answer],
        ended: Callable[[Callable[[], Answer]], None],
    ) -> None:
        if previous is not None:
            previous.join()  # it was dropped, and may still be in its last step
        outcome: Future[Answer] = Future()
        updated = 0.0

        def listen(done: int, total: int, label: str) -> None:
            nonlocal updated
            if job.is_set():
                raise _Stopped
            if time.monotonic() - updated < _PAUSE:
                return
            updated = time.monotonic()
            with self._lock:
                if self._job is job and not job.is_set():
                    self._progress = {"done": done, "total": total, "label": label}

        try:
            with progress.reporting_to(listen):
                listen(0, 0, "Starting")
                answer = work()
            outcome.set_result({"stopped": True} if job.is_set() else answer)
        except _Stopped:
            outcome.set_result({"stopped": True})
        except BaseException as problem:  # raised again where it can be shown
            outcome.set_exception(problem)
        with self._lock:
            if self._job is not job:
                return
            self._job = None
            with self.hold_sync():
                ended(outcome.result)
                self._progress = {}

    def _stop_job(self) -> None:
        """Stop the job at its next step, and report that it was stopped."""
        with self._lock:
            if self._job is not None:
                self._job.set()
                self._progress = self._progress | {"stopping": True}

    def _drop(self) -> None:
        """Stop the job at its next step, and report nothing."""
        with self._lock:
            if self._job is not None:
                self._job.set()
                self._job = None
                self._progress = {}

    def close(self) -> None:
        """Close the widget; a running job ends at its next step."""
        self._drop()
        super().close()

    @contextmanager
    def hold_sync(self) -> Iterator[None]:
        """Send all changes that are made within this in one message at its end."""
        with self._lock, super().hold_sync():
            yield

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Set what the page has changed."""
        with self._lock:
            super().set_state(sync_data)
