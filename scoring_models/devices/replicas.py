"""Several devices: a copy of a model on each, and one feed that serves them all. No torch at load."""

from __future__ import annotations

import dataclasses
import queue
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError, RowError
from poolsieve.scoring_models.base.packages import need
from poolsieve.scoring_models.base.scorer import LoadedByRow, ModelBatch, ModelRow, Scores

ALL = "all"
"""The word for every GPU of this machine."""


class Replicas:
    """Copies of one model as one loaded model: a batch goes to a copy that is free. See `LoadedByRow`.

    Rows are decoded by the first. Each copy fills its own batches, in memory that its device can copy from.

    Args:
        copies: at least one.

    Raises:
        PoolsieveError: if scores of one copy would not be those of another: their settings differ.
    """

    def __init__(self, copies: Sequence[LoadedByRow]) -> None:
        self._first, self.devices = copies[0], len(copies)
        for other in copies[1:]:
            _check_alike(self._first.settings, other.settings)
        rounds = max(getattr(copy, "at_once", None) or 1 for copy in copies)
        places = [c for turn in range(rounds) for c in copies if turn < (getattr(c, "at_once", None) or 1)]
        self.at_once = len(places)
        self._free: queue.SimpleQueue[LoadedByRow] = queue.SimpleQueue()
        for copy in places:
            self._free.put(copy)

    @property
    def settings(self) -> JsonObject:
        """Those of every copy."""
        return self._first.settings

    def __getattr__(self, name: str) -> Any:
        """What a class may have beside the protocol is the first copy's."""
        if name.startswith("_"):
            raise AttributeError(name)  # asked for before `__init__` has run
        return getattr(self._first, name)

    def pieces(self, batch: pa.RecordBatch) -> Iterator[Sequence[int]]:
        """See `LoadedByRow`."""
        return self._first.pieces(batch)

    def decode(self, batch: pa.RecordBatch, rows: Sequence[int]) -> tuple[list[ModelRow], dict[int, RowError]]:
        """See `LoadedByRow`."""
        return self._first.decode(batch, rows)

    def room(self, shape: str) -> int:
        """See `LoadedByRow`."""
        return self._first.room(shape)

    def filled(self, shape: str, inputs: Sequence[tuple[np.ndarray[Any, Any], ...]]) -> Any:
        """The rows as they are: which copy's batch they fill, `infer` knows."""
        return inputs

    def infer(self, prepared: ModelBatch) -> Scores:
        """Scores by a copy that is free; with `at_once` batches here, each finds one at once."""
        copy = self._free.get()
        try:
            return copy.infer(prepared._replace(inputs=copy.filled(prepared.shape, prepared.inputs)))
        finally:
            self._free.put(copy)


def _check_alike(one: JsonObject, other: JsonObject) -> None:
    differ = sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
    if differ:
        detail = "; ".join(f"{key}: {one.get(key)!r} and {other.get(key)!r}" for key in differ)
        raise PoolsieveError(
            f"the devices would give other scores ({detail}): choose devices of one kind by --devices, or run on one"
        )


def load_on(scorer: Any, devices: Sequence[str]) -> Any:
    """A model, loaded; on each of `devices`, if its scorer leaves the device open.

    Args:
        scorer: of a model.
        devices: of torch, as "cuda:0"; none: wherever the scorer's own `device` leads.

    Raises:
        PoolsieveError: if the devices are not of one kind.
    """
    if not devices or not takes_devices(scorer):
        return scorer.load()
    first = dataclasses.replace(scorer, device=devices[0]).load()
    if len(devices) == 1:
        return first
    # The others take the batches that the first had room for.
    alike = scorer.as_recorded(first.settings) if hasattr(scorer, "as_recorded") else scorer
    return Replicas([first, *(dataclasses.replace(alike, device=device).load() for device in devices[1:])])


def takes_devices(scorer: Any) -> bool:
    """Whether a scorer has a model and leaves to others where it runs; one that names its device keeps it."""
    return hasattr(scorer, "load") and dataclasses.is_dataclass(scorer) and getattr(scorer, "device", None) == "auto"


def devices_of(wanted: str | int | Sequence[int]) -> tuple[str, ...]:
    """`"0,1"`, a number, some numbers, or `"all"` -> torch's names of these GPUs of this machine.

    Raises:
        PlanError: for anything else, and for a GPU that torch does not find here.
    """
    text = ",".join(map(str, wanted)) if isinstance(wanted, Sequence) and not isinstance(wanted, str) else str(wanted)
    if text != ALL and not re.fullmatch(r"[0-9]{1,4}(,[0-9]{1,4})*", text):
        raise PlanError(f"devices {text[:80]!r}: write numbers of GPUs, as 0 or 0,1, or {ALL}")
    need("--devices", "torch", extra="clip")
    import torch

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not there:
        raise PlanError(f"devices {text!r}: this machine has no GPU that torch can use")
    found = list(range(there)) if text == ALL else [int(number) for number in text.split(",")]
    if max(found) >= there or len(set(found)) < len(found):
        last = f" to {there - 1}" if there > 1 else " alone"
        raise PlanError(f"devices {text!r}: torch finds GPU 0{last} here; name each once")
    return tuple(f"cuda:{number}" for number in found)
