"""A widget that works in threads, so that messages can reach the kernel meanwhile."""

import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anywidget
import traitlets

from .. import progress
from ..inference.side_effects import apart
from .cells import between_cells, watch_cells

_PAUSE = 0.1  # seconds between two updates of the page

Answer = dict[str, Any]
Work = Callable[[], Answer]
Ended = Callable[[Work], None]


class _Stopped(BaseException):
    """Ends a job from within. It is no `Exception`, which a job might handle as a layer's own."""


@dataclass(eq=False)
class _Job:
    """Work for the answer to a question, which waits for its turn or runs.

    Attributes:
        question: The question.
        ended: See `BackgroundWidget._begin`.
        number: Likewise.
        stop: Set to end the job at its next step.
        begun: Whether it runs.
        label: What the page was last told that it does.
        updated: When the page was last told of it.
    """

    question: str
    ended: Ended
    number: int | None
    stop: threading.Event = field(default_factory=threading.Event)
    begun: bool = False
    label: str = ""
    updated: float = 0.0


class BackgroundWidget(anywidget.AnyWidget):
    """A widget that runs jobs in threads, one after another: at most one for each question.

    A thread writes only `_progress` and, once, the result of its job. Page and threads never write
    at the same time.

    Example:
        >>> results = []
        >>> widget = BackgroundWidget()
        >>> widget._begin("sum", lambda: {"sum": 42}, lambda result: results.append(result()))
        >>> widget._thread.join()
        >>> results
        [{'sum': 42}]
    """

    # For each question with a job, and for long work that blocks the kernel: "done", "total" and
    # "label", and "stopping" if the job is to stop.
    _progress = traitlets.Dict().tag(sync=True)
    _jobs = traitlets.Dict()  # by their questions: those that wait or run, and were not dropped
    _lock = threading.RLock()  # one for all, as linked widgets write to each other
    _thread: threading.Thread | None = None  # that of the last job

    def _begin(self, question: str, work: Work, ended: Ended, number: int | None = None) -> None:
        """Begin a job once those before it have ended, unless there is one for this question.

        Args:
            question: The question that it answers.
            work: The job, which reports its progress by `cutwidgets.progress`.
            ended: Called with a function that returns the result or re-raises the job's exception;
                not called for a job that was dropped. The result of a job that was stopped is
                {"stopped": True}.
            number: The page's own number of the question.
        """
        watch_cells()
        with self._lock:
            if question in self._jobs:
                return
            job = self._jobs[question] = _Job(question, ended, number)
            is_first = len(self._jobs) == 1
            self._report(question, 0, 0, "Starting" if is_first else "Waiting")
            arguments = (self._work, job, self._thread, work)
            try:
                # In a copy of the context, output appears in the cell that began the job.
                self._thread = threading.Thread(
                    target=copy_context().run, args=arguments, daemon=True, name="cutwidgets"
                )
                self._thread.start()
            except BaseException:  # no thread could be started, or an interrupt
                self._drop([question])
                raise

    def _work(self, job: _Job, previous: threading.Thread | None, work: Work) -> None:
        if previous is not None:
            previous.join()
        with self._lock:
            if self._jobs.get(job.question) is not job:  # it was stopped or dropped as it waited
                return
            job.begun = True
        outcome: Future[Answer] = Future()
        try:
            wait = partial(self._listen, job, 0, 0, "Waiting for the running cell")
            apart.set(partial(between_cells, wait))  # in this thread's own context
            with progress.reporting_to(partial(self._listen, job)):
                self._listen(job, 0, 0, "Starting")
                answer = work()
            outcome.set_result({"stopped": True} if job.stop.is_set() else answer)
        except _Stopped:
            outcome.set_result({"stopped": True})
        except BaseException as problem:  # raised again where it can be shown
            outcome.set_exception(problem)
        self._end(job, outcome.result)

    def _listen(self, job: _Job, done: int, total: int, label: str) -> None:
        """Tell the page how far a job is, now and then, and always what it does."""
        if job.stop.is_set():
            raise _Stopped
        if label == job.label and time.monotonic() - job.updated < _PAUSE:
            return
        # Work never waits for the page: it may hold what the thread that has the lock waits for.
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._jobs.get(job.question) is job and not job.stop.is_set():
                self._report(job.question, done, total, label)
                job.label, job.updated = label, time.monotonic()
        finally:
            self._lock.release()

    def _report(self, question: str, done: int, total: int, label: str) -> None:
        state = {"done": done, "total": total, "label": label}
        with self._lock:
            self._progress = self._progress | {question: state}

    def _end(self, job: _Job, result: Work) -> None:
        with self._lock:
            if self._jobs.get(job.question) is not job:
                return
            with self.hold_sync():
                self._forget(job.question)
                job.ended(result)

    @contextmanager
    def _telling(self, question: str, label: str) -> Iterator[None]:
        """Tell the page what the kernel does within this context, while no message reaches it."""
        if not label:
            yield
            return
        self._report(question, 0, 0, label)
        try:
            yield
        finally:
            self._untell(question)

    def _untell(self, question: str) -> None:
        with self._lock:
            self._progress = {name: job for name, job in self._progress.items() if name != question}

    def _forget(self, question: str) -> None:
        del self._jobs[question]
        self._untell(question)

    def _stop_jobs(self, question: str | None = None) -> list[str]:
        """Stop the job for a question, or all, at the next step, and report that they are stopped.

        Returns:
            The questions whose jobs are stopped.
        """
        with self._lock, self.hold_sync():
            jobs = [job for name, job in self._jobs.items() if question in (None, name)]
            for job in jobs:
                job.stop.set()
                state = self._progress.get(job.question, {}) | {"stopping": True}
                self._progress = self._progress | {job.question: state}
                if not job.begun:  # the job before it may take long
                    self._end(job, lambda: {"stopped": True})
            return [job.question for job in jobs]

    def _drop(self, questions: Collection[str] | None = None) -> dict[str, int | None]:
        """Stop the jobs for some questions, or all, at their next step, and report no result.

        Returns:
            The questions whose jobs are dropped, and their numbers.
        """
        with self._lock, self.hold_sync():
            dropped = {
                name: job.number
                for name, job in self._jobs.items()
                if questions is None or name in questions
            }
            for question in dropped:
                self._jobs[question].stop.set()
                self._forget(question)
            return dropped

    def close(self) -> None:
        """Close the widget; running jobs end at their next step."""
        self._drop()
        super().close()

    @contextmanager
    def hold_sync(self) -> Iterator[None]:
        """Send all changes that are made within this in one message at its end."""
        with self._lock, super().hold_sync():
            yield

    def notify_change(self, change: Any) -> None:
        """Tell the page and all observers of a change."""
        with self._lock:
            super().notify_change(change)

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Set what the page has changed."""
        with self._lock:
            super().set_state(sync_data)
