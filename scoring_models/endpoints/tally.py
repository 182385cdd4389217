"""What was asked of an endpoint, added up by the thread that asks and handed out in parts."""

from __future__ import annotations

import threading

from poolsieve.scoring_models.base.work import ModelWork
from poolsieve.scoring_models.endpoints.reply import Reply


class Tally:
    """Requests, retries, tokens and cost. Safe to call from several threads.

    Args:
        price: of a million tokens in, and of a million out; None where nobody knows it.
    """

    def __init__(self, price: tuple[float, float] | None = None) -> None:
        self._price, self._lock, self._work = price, threading.Lock(), ModelWork()

    def asked(self, again: bool) -> None:
        """One request, which repeats one that failed or not."""
        with self._lock:
            self._work.requests += 1
            self._work.retries += again

    def answered(self, reply: Reply) -> None:
        """One answer, with the counts that the server gave."""
        tokens_in, tokens_out = reply.tokens_in or 0, reply.tokens_out or 0
        with self._lock:
            self._work.uncounted += reply.tokens_in is None or reply.tokens_out is None
            self._work.tokens_in += tokens_in
            self._work.tokens_out += tokens_out
            if self._price is not None:
                self._work.cost += (tokens_in * self._price[0] + tokens_out * self._price[1]) / 1e6

    def take(self, rows: int = 0) -> ModelWork | None:
        """What was added since this was last called, and so many rows; None for nothing. The caller adds it up."""
        with self._lock:
            made, self._work = self._work, ModelWork()
        made.rows = rows
        return made if rows or made.requests else None
