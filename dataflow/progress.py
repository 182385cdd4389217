"""Counters of what a run is doing in this process, and the flag that asks it to stop. Plain, thread-safe; no display.

Which run a thread works for is said where the thread enters: by who starts the run, and by `for_run` for each shard.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import threading
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from poolsieve.scoring_models.base.errors import PoolsieveError
from poolsieve.scoring_models.base.work import ModelWork

P = ParamSpec("P")
R = TypeVar("R")


class Interrupted(PoolsieveError):
    """The user asked to stop. Everything committed so far stays, and the same command goes on from there."""


class Progress:
    """What one run does in this process: its counters, and its flag. Several runs may go on side by side."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, int] = defaultdict(int)
        self._loading: Counter[str] = Counter()
        self._models: dict[str, ModelWork] = defaultdict(ModelWork)
        self._stop, self._elsewhere = threading.Event(), threading.Event()

    def add(self, label: str, rows: int) -> None:
        """Counts rows that a step has just finished."""
        with self._lock:
            self._rows[label] += rows

    def counts(self) -> dict[str, int]:
        """Step label -> rows finished in this process since `reset`."""
        with self._lock:
            return dict(self._rows)

    @contextlib.contextmanager
    def loading(self, label: str) -> Iterator[None]:
        """While a step's model is loaded."""
        with self._lock:
            self._loading[label] += 1
        try:
            yield
        finally:
            with self._lock:
                self._loading[label] = max(self._loading[label] - 1, 0)

    def being_loaded(self) -> list[str]:
        """Labels of the steps whose models are being loaded in this process."""
        with self._lock:
            return [label for label, count in self._loading.items() if count > 0]

    def add_model(self, label: str, work: ModelWork) -> None:
        """Adds up what a step's model did."""
        with self._lock:
            self._models[label].add(work)

    def models(self) -> dict[str, ModelWork]:
        """Step label -> what its model did in this process since `reset`; copies."""
        with self._lock:
            return copy.deepcopy(dict(self._models))

    def reset(self) -> None:
        """Starts counting anew."""
        with self._lock:
            self._rows.clear()
            self._loading.clear()
            self._models.clear()
        self._stop.clear()
        self._elsewhere.clear()

    def ask_to_stop(self) -> None:
        """Makes `check` raise in every worker thread of this process that works for the run."""
        self._stop.set()

    def goes_on_elsewhere(self) -> None:
        """Says that other processes do the work, which `ask_to_stop` does not reach."""
        self._elsewhere.set()

    def is_elsewhere(self) -> bool:
        """Whether other processes do the work."""
        return self._elsewhere.is_set()

    def check(self) -> None:
        """Called between batches.

        Raises:
            Interrupted: if the user asked to stop.
        """
        if self._stop.is_set():
            raise Interrupted("stopped")

    @contextlib.contextmanager
    def here(self) -> Iterator[Progress]:
        """While it lasts, what this thread does is this run's. A thread started meanwhile must be told by itself."""
        token = _here.set(self)
        try:
            yield self
        finally:
            _here.reset(token)


_REMEMBERED = 1000
"""Runs whose flags a process keeps: a thread that a stopped run left behind must go on finding that it is stopped."""

_here: ContextVar[Progress] = ContextVar("progress")
_process = Progress()
"""Of whatever belongs to no run, as an export."""

_runs: OrderedDict[str, Progress] = OrderedDict()
_lock = threading.Lock()


def of(run_id: str) -> Progress:
    """A run's progress in this process."""
    with _lock:
        found = _runs.setdefault(run_id, Progress())
        _runs.move_to_end(run_id)
        if len(_runs) > _REMEMBERED:
            _runs.popitem(last=False)
        return found


def current() -> Progress:
    """That of the run which this thread works for."""
    return _here.get(_process)


def for_run(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator of what works on a shard, `function(shard, job, ...)`: its thread, which Beam started, is the job's."""

    @functools.wraps(function)
    def working(*args: P.args, **kwargs: P.kwargs) -> R:
        job: Any = kwargs["job"] if "job" in kwargs else args[1]
        with of(job.run_id).here():
            made = function(*args, **kwargs)
        if (tell := getattr(job, "tell", None)) is not None:
            tell()
        return made

    return working


def add(label: str, rows: int) -> None:
    """`Progress.add` of the current run."""
    current().add(label, rows)


def counts() -> dict[str, int]:
    """`Progress.counts` of the current run."""
    return current().counts()


def loading(label: str) -> contextlib.AbstractContextManager[None]:
    """`Progress.loading` of the current run."""
    return current().loading(label)


def being_loaded() -> list[str]:
    """`Progress.being_loaded` of the current run."""
    return current().being_loaded()


def add_model(label: str, work: ModelWork) -> None:
    """`Progress.add_model` of the current run."""
    current().add_model(label, work)


def models() -> dict[str, ModelWork]:
    """`Progress.models` of the current run."""
    return current().models()


def reset() -> None:
    """`Progress.reset` of the current run."""
    current().reset()


def ask_to_stop() -> None:
    """`Progress.ask_to_stop` of the current run."""
    current().ask_to_stop()


def goes_on_elsewhere() -> None:
    """`Progress.goes_on_elsewhere` of the current run."""
    current().goes_on_elsewhere()


def is_elsewhere() -> bool:
    """`Progress.is_elsewhere` of the current run."""
    return current().is_elsewhere()


def check() -> None:
    """`Progress.check` of the current run.

    Raises:
        Interrupted: if the user asked to stop it.
    """
    current().check()


@contextlib.contextmanager
def timed(seconds: dict[str, float], label: str) -> Iterator[None]:
    """Adds the block's wall time to `seconds[label]`."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[label] = seconds.get(label, 0.0) + time.perf_counter() - start
