"""What a loaded model does with its time: it computes, waits for decoding, or waits for rows. No Beam, no torch.

A feed tells its model's meter whenever something begins or ends; the meter adds up the seconds that passed in each
state. What has been added up is handed out in parts, each second once, so that sums over callers, shards and processes
stay true however the work was spread.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from typing import NamedTuple, Protocol

from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.work import ModelWork
from poolsieve.scoring_models.devices.peaks import peak_of

CPU = "cpu"


class State(NamedTuple):
    """How things stand in a feed: pieces that wait to be decoded, threads that decode, threads that are in the model,
    and how many there are for both (on a device: beside those that wait for it)."""

    queued: int = 0
    decoding: int = 0
    inferring: int = 0
    threads: int = 0


class HasSettings(Protocol):
    """A loaded model, as far as a meter knows it."""

    settings: JsonObject


class Meter:
    """The meter of a loaded model. Safe to call from several threads.

    Args:
        device: as the model's settings name it.
        devices: how many of them it runs on; batches are taken to be spread over them.
        peak: TFLOP/s of one device at the model's precision; None where that is not known.
        flops: shape -> floating-point operations of a full batch, or None; called once for each shape, and only where
            there is a peak to compare them with. May be slow, and may fail: then no share of the peak is known.
        load_seconds: that loading took on all devices together; None if nobody measured it.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        device: str = CPU,
        peak: float | None = None,
        flops: Callable[[str], float | None] | None = None,
        load_seconds: float | None = None,
        devices: int = 1,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.devices = devices if type(devices) is int and devices > 0 else 1
        self.device, self._peak, self._flops, self._clock = device, peak, flops, clock
        self._lock, self._counting = threading.Lock(), threading.Lock()
        self._work = ModelWork()
        if load_seconds is not None:
            self._work = ModelWork(loads=self.devices, load_seconds=load_seconds)
        self._ran: Counter[str] = Counter()
        self._known: dict[str, float | None] = {}
        self._states: dict[Hashable, State] = {}
        self._threads = 0
        self._since: float | None = None

    @classmethod
    def of(cls, loaded: HasSettings, load_seconds: float | None = None) -> Meter:
        """The meter of a model whose settings name `device` and `dtype`, and that may have `flops(shape)`."""
        settings: JsonObject = getattr(loaded, "settings", {})
        # A model that says how many batches it takes at once is on a device, be it one that it does not name.
        device = str(settings.get("device", CPU if getattr(loaded, "at_once", None) is None else "device"))
        peak = peak_of(device, str(settings.get("dtype", "")))
        return cls(device, peak, getattr(loaded, "flops", None), load_seconds, getattr(loaded, "devices", 1))

    def note(self, feed: Hashable, state: State) -> None:
        """How things stand in a feed from now on. An old one may end while a new one has begun: both count."""
        with self._lock:
            self._elapse()
            self._states[feed] = state
            # Between two callers the cores are still the model's to use, if only there were rows.
            self._threads = sum(one.threads for one in self._states.values()) or self._threads

    def forget(self, feed: Hashable) -> None:
        """A feed that has ended."""
        with self._lock:
            self._elapse()
            self._states.pop(feed, None)

    def scored(self, rows: int) -> None:
        """A caller has the scores of so many rows."""
        with self._lock:
            self._work.rows += rows

    def ran(self, shape: str, taken: int, places: int) -> None:
        """A batch has gone through the model, with so many of its places taken."""
        with self._lock:
            self._work.taken += taken
            self._work.places += max(taken, places)
            self._work.batches += 1
            self._ran[shape] += 1

    def take(self) -> ModelWork:
        """What was done since this was last called: whoever calls has it to add up, and nobody else."""
        with self._lock:
            self._elapse()
            made, self._work = self._work, ModelWork()
            ran, self._ran = self._ran, Counter()
        made.devices = {self.device: made.seconds} if made.seconds else {}
        if self._peak is not None and self._flops is not None:
            self._compare(made, ran, self._peak)
        return made

    def _elapse(self) -> None:
        """Adds the time since the last change to what it was spent on."""
        now = self._clock()
        passed = 0.0 if self._since is None else max(now - self._since, 0.0)
        self._since = now
        if not passed:
            return
        states, work = list(self._states.values()), self._work
        decoding, inferring = sum(one.decoding for one in states), sum(one.inferring for one in states)
        computing = min(inferring, self.devices)
        work.seconds += passed * self.devices
        work.busy += passed * computing
        work.core_seconds += passed * self._threads
        work.decode_seconds += passed * decoding
        work.infer_seconds += passed * inferring
        if any(one.queued for one in states) or decoding >= self._threads > 0:
            # Else more cores would not help: there is nothing for them to do.
            work.decoding += passed * (self.devices - computing)

    def _compare(self, made: ModelWork, ran: Counter[str], peak: float) -> None:
        with self._counting:
            counted = [(batches, self._flops_of(shape)) for shape, batches in ran.items()]
        if None not in self._known.values():
            made.tflop = sum(batches * (flops or 0.0) for batches, flops in counted) / 1e12
            made.peak_tflop = peak * made.seconds

    def _flops_of(self, shape: str) -> float | None:
        if shape not in self._known and self._flops is not None:
            try:
                found = self._flops(shape)
                self._known[shape] = None if found is None or not 0 < found < math.inf else float(found)
            except Exception:  # noqa: BLE001  (a figure for the report must end no run, whatever the model's code says)
                self._known[shape] = None
        return self._known.get(shape)
