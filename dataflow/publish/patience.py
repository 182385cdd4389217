"""How calls to the Hub are made again: as it asks (`Retry-After`), for a limited time, and never a commit blindly."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import TypeVar

import tenacity

from poolsieve.dataflow.retries import LONGEST_PAUSE, PATIENCE_SECONDS, sleep
from poolsieve.dataflow.storage_errors import chain, is_away, retry_after, transient
from poolsieve.scoring_models.base.errors import PoolsieveError

T = TypeVar("T")

ATTEMPTS = 10
"""Times that a call is made before it has failed."""

AWAY_SECONDS = 30.0
"""The same where nothing answers at all."""

FIRST_PAUSE = 1.0
"""Seconds before the second attempt, where the Hub asks for nothing."""

CONFLICT, STALE = 409, 412
"""Another commit is being made; the branch has moved on since it was looked at."""


def status(error: BaseException) -> int | None:
    """The HTTP status of an answer that an error came of; None where there was none."""
    for one in chain(error):
        code = getattr(getattr(one, "response", None), "status_code", None)
        if isinstance(code, int):
            return code
    return None


def passes(error: BaseException) -> bool:
    """Whether trying again may help: busy, broken, a lost connection, or somebody else's commit."""
    if isinstance(error, PoolsieveError):
        return False
    if any(isinstance(one, json.JSONDecodeError) for one in chain(error)):
        return True  # the client asks an answer for its JSON before its status, and a gateway's is HTML
    return status(error) in (CONFLICT, STALE) or transient(error)


def _pause(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = retry_after(error) if error is not None else None
    if asked is not None:
        return min(asked, LONGEST_PAUSE) + random.uniform(0.0, FIRST_PAUSE)  # noqa: S311
    return min(FIRST_PAUSE * 2.0 ** (state.attempt_number - 1), 60.0) * random.uniform(0.5, 1.5)  # noqa: S311


def _stop(state: tenacity.RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    limit = AWAY_SECONDS if error is not None and is_away(error, None) else PATIENCE_SECONDS
    return state.attempt_number >= ATTEMPTS or (state.seconds_since_start or 0.0) >= limit


def attempts(say: Callable[[str], None]) -> Iterator[tenacity.AttemptManager]:
    """`for attempt in attempts(say): with attempt: ...`: the block again, after what may pass.

    Args:
        say: is told what is waited for, when that is long.
    """

    def tell(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.upcoming_sleep
        if error is not None and pause >= 5.0:
            said = status(error)
            say(f"the Hub answered {said}: waiting {pause:.0f} s" if said else f"no answer: waiting {pause:.0f} s")

    yield from tenacity.Retrying(
        retry=tenacity.retry_if_exception(passes),
        wait=_pause,
        stop=_stop,
        sleep=sleep,
        before_sleep=tell,
        reraise=True,
    )


def patiently(call: Callable[[], T], say: Callable[[str], None]) -> T:
    """What a call gives that may be made any number of times."""
    for attempt in attempts(say):
        with attempt:
            return call()
    raise AssertionError("the last attempt returns or raises")
