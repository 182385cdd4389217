"""Counters of what this process is doing, and the flag that asks it to stop. Plain and thread-safe; no display here."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator

from poolsieve.scoring_models.base.errors import PoolsieveError


class Interrupted(PoolsieveError):
    """The user asked to stop. Everything committed so far stays, and the same command goes on from there."""


_lock = threading.Lock()
_rows: dict[str, int] = defaultdict(int)
_stop = threading.Event()
_elsewhere = threading.Event()


def add(label: str, rows: int) -> None:
    """Counts rows that a step has just finished."""
    with _lock:
        _rows[label] += rows


def counts() -> dict[str, int]:
    """Step label -> rows finished in this process since `reset`."""
    with _lock:
        return dict(_rows)


def reset() -> None:
    """Starts counting anew, for a new run in the same process."""
    with _lock:
        _rows.clear()
    _stop.clear()
    _elsewhere.clear()


def ask_to_stop() -> None:
    """Makes `check` raise in every worker thread of this process."""
    _stop.set()


def goes_on_elsewhere() -> None:
    """Says that other processes do the work, which `ask_to_stop` does not reach."""
    _elsewhere.set()


def is_elsewhere() -> bool:
    """Whether other processes do the work."""
    return _elsewhere.is_set()


def check() -> None:
    """Called between batches.

    Raises:
        Interrupted: if the user asked to stop.
    """
    if _stop.is_set():
        raise Interrupted("stopped")


@contextlib.contextmanager
def timed(seconds: dict[str, float], label: str) -> Iterator[None]:
    """Adds the block's wall time to `seconds[label]`."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[label] = seconds.get(label, 0.0) + time.perf_counter() - start
