"""A device of known rate, which computes nothing: what is measured in front of it is the host.

For benchmarks only. It stands behind CLIP's own decoding (`LoadedClip.decode` and `filled` of real JPEGs and captions), so
that a job with it reads, decodes, fills batches, commits and decides as any other, and is pickled as any other scorer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models import Clip
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import RowError
from poolsieve.scoring_models.base.scorer import ModelBatch, ModelRow, Resources, ScorerConfig, Scores


class Device:
    """One queue of batches: each takes its time, and begins when the one before it ends, as kernels on a GPU do.

    Args:
        rate: rows/s; 0 for a device that takes no time.
    """

    def __init__(self, rate: float) -> None:
        self.rate, self.busy = rate, 0.0
        self._lock, self._free_at = threading.Lock(), 0.0

    def compute(self, rows: int) -> None:
        """Returns when a batch of so many rows, handed in now, is through."""
        if not self.rate:
            return
        with self._lock:
            self._free_at = max(self._free_at, time.perf_counter()) + rows / self.rate
            self.busy += rows / self.rate
            until = self._free_at
        time.sleep(max(0.0, until - time.perf_counter()))


@dataclass(frozen=True, eq=False)
class StandIn(ScorerConfig):
    """CLIP's decoding in front of a `Device`; every score is zero.

    Args:
        model: as `Clip` takes it: whose image size, tokenizer and batch size are used.
        rate: pairs/s of the device; 0: it takes no time.
        batch_size: pairs of a batch.
    """

    model: str
    rate: float = 0.0
    batch_size: int = 32
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """Image and caption."""
        return ("image", "text")

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """One number."""
        return {"": pa.float32()}

    @property
    def resources(self) -> Resources:
        """As of a model on a device."""
        return Resources(memory_mb=1000)

    def clip(self) -> Clip:
        """The scorer whose host's side this has."""
        return Clip(self.model, precision="fp32", batch_size=self.batch_size, device="cpu")

    def files(self) -> Mapping[str, Path]:
        """CLIP's."""
        return self.clip().files()

    def load(self) -> LoadedStandIn:
        """Loads CLIP for its decoding."""
        return LoadedStandIn(self)


class LoadedStandIn:
    """`LoadedByRow`: all but `infer` is CLIP's own."""

    at_once = 2

    def __init__(self, config: StandIn) -> None:
        self.host, self.device = config.clip().load(), Device(config.rate)
        self.settings: JsonObject = {"device": f"stand-in of {config.rate} pairs/s"}

    def pieces(self, batch: pa.RecordBatch) -> Iterator[Sequence[int]]:
        """CLIP's."""
        return self.host.pieces(batch)

    def decode(self, batch: pa.RecordBatch, rows: Sequence[int]) -> tuple[list[ModelRow], dict[int, RowError]]:
        """CLIP's."""
        return self.host.decode(batch, rows)

    def room(self, shape: str) -> int:
        """CLIP's."""
        return self.host.room(shape)

    def filled(self, shape: str, inputs: Sequence[tuple[np.ndarray[Any, Any], ...]]) -> Any:
        """CLIP's."""
        return self.host.filled(shape, inputs)

    def infer(self, prepared: ModelBatch) -> Scores:
        """Zeros, float32 (room,), once the device has done a whole batch: one that is not full takes as long."""
        room = self.room(prepared.shape)
        self.device.compute(room)
        return {"": np.zeros(room, dtype=np.float32)}
