"""What one process keeps of one run: compiled program, listings of score files, checked settings, loaded models.

Kept by run, since a run must not see what another one found in the same OUT: a notebook runs, removes OUT, runs again.
The process that started a run ends its session; a worker, which nobody tells, remembers only the last few.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar, cast

T = TypeVar("T")

REMEMBERED = 4
"""Runs that a process may work for in turns without making things anew."""


PHASES = 2
"""Phases of a run that a process may work for in turns: two of them meet where one gives way to the next."""


class _Slot:
    """One value and the lock under which it is made: loading a model must not hold up whoever wants something else."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.values: list[Any] = []


class Session:
    """Values of one run, each made once a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: dict[Hashable, _Slot] = {}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gave the first time that this key was asked for."""
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
        with slot.lock:
            if not slot.values:
                slot.values.append(make())
            return cast(T, slot.values[0])

    def recent(self, key: Hashable, phase: Hashable, make: Callable[[], T]) -> T:
        """What `make` gave the first time in this phase of the run; of each key the last `PHASES` phases are kept."""
        kept: OrderedDict[Hashable, _Slot] = self.once(key, OrderedDict)
        with self._lock:
            slot = kept.setdefault(phase, _Slot())
            kept.move_to_end(phase)
            while len(kept) > PHASES:
                kept.popitem(last=False)
        with slot.lock:
            if not slot.values:
                slot.values.append(make())
            return cast(T, slot.values[0])


_sessions: OrderedDict[str, Session] = OrderedDict()
_running: Counter[str] = Counter()
"""Runs of this process that have not ended: theirs are never forgotten, however many there are."""

_lock = threading.Lock()


def session_of(run_id: str) -> Session:
    """The session of a run in this process."""
    with _lock:
        found = _sessions.get(run_id)
        if found is not None:
            _sessions.move_to_end(run_id)
            return found
        found = _sessions[run_id] = Session()
        idle = [run for run in _sessions if not _running[run] and run != run_id]
        for run in idle[: max(0, len(_sessions) - REMEMBERED)]:
            del _sessions[run]
        return found


@contextlib.contextmanager
def ending(run_id: str) -> Iterator[Session]:
    """The session of a run, forgotten at the end of the (outermost) block with all that it holds."""
    with _lock:
        _running[run_id] += 1
    try:
        yield session_of(run_id)
    finally:
        with _lock:
            _running[run_id] -= 1
            if _running[run_id] <= 0:
                del _running[run_id]
                _sessions.pop(run_id, None)
