"""What worker processes have done of a run, left in OUT for whoever shows its progress: counters cross no process.

Each process writes one small file, again after some seconds; it goes with the run's folder. Nothing depends on it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping

import msgspec

from poolsieve.dataflow import fs
from poolsieve.dataflow.store.layout import reports_folder

EVERY, EVERY_REMOTE = 5.0, 15.0
"""Seconds between two reports of a process: on local disks, elsewhere."""


def this_process() -> str:
    """A name by which a process knows itself, on whatever machine."""
    return f"{platform.node()} {os.getpid()}"


class Reporter:
    """One process' reports of one run."""

    def __init__(self, out: str, run_id: str) -> None:
        self.url = fs.join(reports_folder(out, run_id), f"{uuid.uuid4().hex}.json")
        self.every = EVERY if fs.is_local(fs.connect(out)[0]) else EVERY_REMOTE
        self._lock, self._last = threading.Lock(), -self.every

    def tell(self, counts: Mapping[str, int]) -> None:
        """Reports, unless it has a moment ago. What goes wrong here is no trouble of the run's."""
        with self._lock:
            if time.monotonic() - self._last < self.every:
                return
            self._last = time.monotonic()
        with contextlib.suppress(Exception):
            fs.write_bytes(self.url, msgspec.json.encode(dict(counts)))


def reported(out: str, run_id: str) -> dict[str, int]:
    """Step label -> rows finished, over all worker processes that have reported.

    Raises:
        OSError: if the storage can't be read.
    """
    total: Counter[str] = Counter()
    folder = reports_folder(out, run_id)
    for name in fs.names(folder):
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            total.update(msgspec.json.decode(fs.read_bytes(fs.join(folder, name)), type=dict[str, int]))
    return dict(total)
