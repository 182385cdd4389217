"""A job in a thread of its own: watched, stopped by Ctrl-C, and its error as the user should read it."""

from __future__ import annotations

import contextlib
import contextvars
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from poolsieve.dataflow import progress
from poolsieve.dataflow.runners.failures import plain_cause_in
from poolsieve.dataflow.storage_errors import chain, explained
from poolsieve.scoring_models.base.errors import PoolsieveError

Watch = Callable[[threading.Event], None]
"""Shows progress in the calling thread; returns once the event, which says that the job has ended, is set."""

_GOODBYE = 60.0
"""Seconds that Ctrl-C gives the worker threads to come to the end of their batches."""

_GOODBYE_ELSEWHERE = 2.0
"""The same for worker processes of this machine: they hear nothing, and end when this process does."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: stops what Ctrl-C stops, in the same way."""


@contextlib.contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """While it lasts, SIGTERM raises `Terminated` in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only a main thread may set handlers
        return

    def stop(signum: int, frame: Any) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def still_at_work() -> bool:
    """Whether a job was left behind whose threads would keep this process from ending."""
    return any(isinstance(thread, _Work) for thread in threading.enumerate())


def supervised(work: Callable[[], None], watch: Watch | None = None) -> None:
    """Runs `work` in a thread while `watch` shows its progress; Ctrl-C stops it between two batches.

    Raises:
        BaseException: what stopped the work, as `root_cause` has it.
    """
    progress.reset()
    thread = _Work(work)
    thread.start()
    try:
        if watch is not None:
            watch(thread.done)
        thread.join()
    except (KeyboardInterrupt, BrokenPipeError):
        progress.ask_to_stop()
        # A job on a cluster is cancelled, and its thread ends then.
        thread.join(timeout=_GOODBYE_ELSEWHERE if progress.is_elsewhere() else _GOODBYE)
        raise
    if thread.error is not None:
        raise root_cause(thread.error)


class _Work(threading.Thread):
    """A thread that keeps what it raised. A daemon, so that a stuck runner can't hold the process."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True, name="poolsieve-job")
        self.work, self.done = work, threading.Event()
        self._context = contextvars.copy_context()  # or it would not know whose progress it makes
        self.error: BaseException | None = None

    def run(self) -> None:
        """Runs the work; sets `done` however it ends."""
        try:
            self._context.run(self.work)
        except BaseException as error:  # noqa: BLE001  (handed to the caller)
            self.error = error
        finally:
            self.done.set()


def root_cause(error: BaseException) -> BaseException:
    """The error that a worker raised, from what Beam makes of it: the same class, without Beam's trace in its text."""
    for seen in chain(error):
        if isinstance(seen, (PoolsieveError, OSError, MemoryError)):
            return _clean(explained(seen) or seen)
    # What a storage's library raises by its own names, as botocore does where there are no credentials.
    if (known := explained(error)) is not None:
        return known
    # An error that crossed a process boundary is text.
    return (plain_cause_in(str(error)) if "\n" in str(error) else None) or error


def _clean(error: BaseException) -> BaseException:
    text = str(error)
    mark = text.find(" [while running ")
    if mark < 0 or not isinstance(error, (PoolsieveError, MemoryError)):
        return error
    return type(error)(text[:mark])
