"""Counters of what this process is doing, and the flag that asks it to stop. Plain and thread-safe; no display here."""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator

from poolsieve.scoring_models.base.errors import PoolsieveError
from poolsieve.scoring_models.base.meter import ModelWork


class Interrupted(PoolsieveError):
    """The user asked to stop. Everything committed so far stays, and the same command goes on from there."""


_lock = threading.Lock()
_rows: dict[str, int] = defaultdict(int)
_loading: Counter[str] = Counter()
_models: dict[str, ModelWork] = defaultdict(ModelWork)
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


@contextlib.contextmanager
def loading(label: str) -> Iterator[None]:
    """While a step's model is loaded."""
    with _lock:
        _loading[label] += 1
    try:
        yield
    finally:
        with _lock:
            _loading[label] = max(_loading[label] - 1, 0)


def being_loaded() -> list[str]:
    """Labels of the steps whose models are being loaded in this process."""
    with _lock:
        return [label for label, count in _loading.items() if count > 0]


def add_model(label: str, work: ModelWork) -> None:
    """Adds up what a step's model did."""
    with _lock:
        _models[label].add(work)


def models() -> dict[str, ModelWork]:
    """Step label -> what its model did in this process since `reset`; copies."""
    with _lock:
        return copy.deepcopy(dict(_models))


def reset() -> None:
    """Starts counting anew, for a new run in the same process."""
    with _lock:
        _rows.clear()
        _loading.clear()
        _models.clear()
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
