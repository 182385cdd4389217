"""Models in memory: as many as there is room for. Whoever wants one that is not there waits for room, not for luck.

A panel has more models than a machine has memory for. All rows of a batch go through one model before the next is
wanted; with several batches under way, a model stays until those that wait for it are through.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from poolsieve.scoring_models.feeding.feed import PAUSE, Check

SHARE = 0.5
"""Of a device's memory that weights may fill; the rest is for what a model computes, for images, and for others."""


@dataclass(eq=False)
class _Place:
    """A model, or the place for it. `wanted` counts those who have it or wait for it."""

    size: int
    model: Any = None
    wanted: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Shelf:
    """The models of one device in this process. Safe to call from several threads.

    Args:
        room: bytes that their weights may fill together. One model is loaded whatever it takes.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self._places: dict[Hashable, _Place] = {}
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def model(self, key: Hashable, size: int, load: Callable[[], Any], check: Check) -> Iterator[Any]:
        """A model for this thread alone, loaded unless it is there.

        Args:
            key: what tells models apart.
            size: bytes of its weights.
            load: loads it; called by one thread at a time.
            check: called twice a second while others have it, or its place; what it raises ends the wait.
        """
        with self._changed:
            place = self._places.setdefault(key, _Place(size))
            place.wanted += 1
        try:
            while not place.lock.acquire(timeout=PAUSE):
                check()
            try:
                self._fill(key, place, load, check)
                yield place.model
            finally:
                place.lock.release()
        finally:
            with self._changed:
                place.wanted -= 1
                self._places[key] = self._places.pop(key)  # the last one used stands last
                self._changed.notify_all()

    def _fill(self, key: Hashable, place: _Place, load: Callable[[], Any], check: Check) -> None:
        if place.model is not None:
            return
        with self._changed:
            while not self._made_room(key, place.size):
                self._changed.wait(PAUSE)
                check()
            place.model = LOADING  # its room is taken
        gc.collect()  # layers refer to one another: those that went would stay in memory until some later time
        try:
            place.model = load()
        except BaseException:
            place.model = None
            raise

    def _made_room(self, key: Hashable, size: int) -> bool:
        """Whether a model of that size may be loaded now; those that nobody wants go, the longest unused first."""
        others = {other: place for other, place in self._places.items() if place.model is not None and other != key}
        taken = sum(place.size for place in others.values())
        for other, place in others.items():
            if taken + size <= self.room:
                break
            if not place.wanted:
                del self._places[other]
                taken -= place.size
        return taken + size <= self.room or not taken


LOADING = object()
"""In the place of a model that is being loaded."""

_shelves: dict[tuple[int, str], Shelf] = {}
_lock = threading.Lock()


def shelf_of(device: Any) -> Shelf:
    """The shelf of a device of torch, in this process."""
    with _lock:
        key = (os.getpid(), str(device))
        if key not in _shelves:
            _shelves[key] = Shelf(int(SHARE * _memory(device)))
        return _shelves[key]


def _memory(device: Any) -> int:
    """Bytes of a device's memory; of a machine, what this process may use of it."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[1])
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 1 << 34
    return min(whole, *_limits(), 1 << 60)


def _limits() -> Iterator[int]:
    """What Linux's control groups allow (version 2 and 1), where they say a number."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            yield int(Path("/sys/fs/cgroup", name).read_text())
