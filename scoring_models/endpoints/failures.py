"""What goes wrong with a question to an endpoint: it may pass, it is the row's, or nobody can be asked at all."""

from __future__ import annotations

import math
import time
from email.utils import parsedate_to_datetime

from poolsieve.scoring_models.base.errors import PoolsieveError, RowError

LONGEST_PAUSE = 120.0
"""Seconds that a `Retry-After` may ask for; one that asks for more is asked again after these."""

SAID = 200
"""Characters of a server's own words that a message repeats."""

PASSING = frozenset({408, 409, 425, 429})
"""Statuses below 500 that another attempt may cure (RFC 9110, 8470, 6585; 409 is a lock's time-out at OpenAI)."""

OF_ROW = frozenset({400, 413, 415, 422, 451})
"""Statuses that may be about the question: too long a context, an image that is none, a policy of contents."""

LIMITED = 429


class EndpointError(PoolsieveError):
    """An endpoint that can't be asked: what it says, and what to do. Ends the run; committed answers stay."""


class Unanswered(Exception):
    """One question that has no answer, which no repeating cures."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.row_error = RowError(kind, message)


class Passing(Exception):
    """A failure that another attempt may cure.

    Args:
        message: what happened.
        pause: seconds after which the server wants to be asked again; None if it does not say.
        limited: whether the server limits the rate, which is no fault of the question.
    """

    def __init__(self, message: str, pause: float | None = None, limited: bool = False) -> None:
        super().__init__(message)
        self.pause, self.limited = pause, limited


def retry_after(value: str | None, now: float | None = None) -> float | None:
    """Seconds that a header `Retry-After` asks for, 0 to `LONGEST_PAUSE`; None without one that can be read.

    Args:
        value: seconds, or a date (RFC 9110, section 10.2.3).
        now: seconds since 1970; the clock's unless given.

    >>> retry_after("3"), retry_after("Thu, 01 Jan 1970 00:01:00 GMT", now=50.0), retry_after("soon")
    (3.0, 10.0, None)
    """
    if value is None:
        return None
    seconds = _number(value)
    if seconds is None:
        seconds = _until(value, time.time() if now is None else now)
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_PAUSE)


def _number(value: str) -> float | None:
    try:
        found = float(value)
    except ValueError:
        return None
    return None if math.isnan(found) else found


def _until(value: str, now: float) -> float | None:
    try:
        return parsedate_to_datetime(value).timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def shown(text: str, *secrets: str | None) -> str:
    """The start of a server's words on one line, without what must not be repeated."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return " ".join(text[: 20 * SAID].split())[:SAID]
