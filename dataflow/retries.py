"""Calls to storage are made again when they fail for a reason that may pass, and for a limited time."""

from __future__ import annotations

import functools
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import fsspec
import tenacity

from poolsieve.dataflow import progress
from poolsieve.dataflow.storage_errors import explained, is_answer, is_away, retry_after, transient

ATTEMPTS = 10
"""Times that a call to storage is made before it has failed."""
RETRY_SECONDS = 180.0
"""After so many seconds a call that goes on failing is not made again: a run must not wait without end."""
AWAY_SECONDS = 20.0
"""The same where nothing answers (refused, no such host)."""
FIRST_PAUSE = 0.5
"""Seconds between the first attempt and the second."""

LONGEST_PAUSE = 330.0
"""Seconds up to which a pause that a service asks for is kept: the Hub's windows ("Rate limits") are of 300 s."""
PATIENCE_SECONDS = 900.0
"""After so long nothing is tried again, whatever a service asks for: three of the Hub's windows."""
_LONG = 45.0
"""Seconds: above our own longest pause."""

P = ParamSpec("P")
T = TypeVar("T")


class _Patience:
    """How one call is made again; its errors come from it, and not from what was being handled when it began.

    Time that a service asked to wait is none in which it failed: it counts for `PATIENCE_SECONDS` alone.

    Args:
        before: what was being handled.
        spent: seconds that the first attempt took.
    """

    def __init__(self, before: BaseException | None, spent: float) -> None:
        self.before, self.spent, self.asked = before, spent, 0.0

    def passing(self, error: BaseException) -> bool:
        return transient(error, self.before)

    def pause(self, state: tenacity.RetryCallState) -> float:
        """As asked for; else twice as long each time, up to half a minute. Never in step with other workers."""
        error = _error(state)
        asked = retry_after(error, self.before) if error is not None else None
        if asked is None:
            return min(FIRST_PAUSE * 2.0 ** (state.attempt_number - 1), 30.0) * random.uniform(1.0, 1.5)  # noqa: S311
        pause = min(asked, LONGEST_PAUSE) + random.uniform(0.0, FIRST_PAUSE)  # noqa: S311
        self.asked += pause
        return pause

    def stop(self, state: tenacity.RetryCallState) -> bool:
        error, passed = _error(state), self.spent + (state.seconds_since_start or 0.0)
        limit = AWAY_SECONDS if error is not None and is_away(error, self.before) else RETRY_SECONDS
        return state.attempt_number >= ATTEMPTS or passed - self.asked >= limit or passed >= PATIENCE_SECONDS

    def __call__(self, function: Callable[[], T]) -> T:
        passing = tenacity.retry_if_exception(self.passing)
        again = tenacity.Retrying(retry=passing, wait=self.pause, stop=self.stop, sleep=sleep, reraise=True)
        return again(function)


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def sleep(seconds: float) -> None:
    """Waits; a long pause ends when the run is asked to stop.

    Raises:
        Interrupted: then.
    """
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if seconds > _LONG:  # in a short one, who stops may be giving back what it holds
            progress.check()
        time.sleep(min(left, 0.2))


def retrying(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator: tries again, with growing pauses, what failed for a reason that may pass.

    It gives up after `ATTEMPTS` or `RETRY_SECONDS`, after `AWAY_SECONDS` where nothing answers at all; a pause that the
    service asks for (`Retry-After`) is kept, up to `LONGEST_PAUSE`, and `PATIENCE_SECONDS` in all. How long one
    attempt may take is the client's to say: s3fs waits 5 s for a connection and 15 s for the next bytes and tries
    again by itself, aiohttp (http, gcsfs) gives a request 300 s, azure-core 300 s. Called while another error is being
    handled (in a `finally`), it judges its own errors alone.

    Raises:
        StorageError: what the trouble was, where, and what to do; errors that are no storage's as they were.
    """

    @functools.wraps(function)
    def repeated(*args: P.args, **kwargs: P.kwargs) -> T:
        before, start = sys.exception(), time.monotonic()
        try:
            return function(*args, **kwargs)  # by itself: what works at once needs no count of attempts
        except Exception as error:  # noqa: BLE001  (judged below)
            failed = [(error, error.__context__)]

        def attempt() -> T:
            if failed:
                error, context = failed.pop()
                try:
                    raise error
                finally:
                    error.__context__ = context  # in whose place the raise puts what is being handled here
            return function(*args, **kwargs)

        try:
            return _Patience(before, time.monotonic() - start)(attempt)
        except Exception as error:
            place, options = _place(function, args)
            found = None if is_answer(error, before) else explained(error, place, options, before)
            if found is None or found is error:
                raise
            raise found from error

    return repeated


def _place(function: Any, args: Sequence[Any]) -> tuple[str, Mapping[str, Any]]:
    """Where a call to storage reads or writes: its first text, else its file's path; with the options of the system."""
    owner = getattr(function, "__self__", None)
    path = next((arg for arg in args if isinstance(arg, str)), str(getattr(owner, "path", "")))
    near = (*args[:1], owner, getattr(owner, "fs", None))
    system = next((one for one in near if isinstance(one, fsspec.AbstractFileSystem)), None)
    if system is None:
        return path, {}
    return str(system.unstrip_protocol(path)).removeprefix("file://"), system.storage_options
