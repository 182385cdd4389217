"""The stored rows and scores of a shard, as the source that a walk reads."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.program import ScoreStep
from poolsieve.dataflow.recipes.walk import Mask, StepScores
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.rows import Rows
from poolsieve.dataflow.store.scores import Stored, read_scores


class StoredScores:
    """A walk's source that only reads what is kept; rows without a stored score are `unknown`."""

    def __init__(self, job: Job, shard: Shard, rows: Rows, phase: str, retry: bool = False) -> None:
        self.job, self.shard, self.phase, self.retry = job, shard, phase, retry
        self.path, self.rows, self.lines = shard.path, rows.row, rows
        self.read_errors = rows.column("read_error")
        self.stored: dict[str, Stored] = {}

    @property
    def uid(self) -> pa.Array:
        """string (n,): read when something asks for it."""
        return self.lines.column("uid")

    def load(self, step: ScoreStep) -> Stored:
        """The step's stored scores for the whole shard."""
        if step.name not in self.stored:
            folder, first = self.job.folder(step), int(self.rows[0]) if len(self.rows) else 0
            phase = self.job.phase(self.phase)
            self.stored[step.name] = read_scores(phase, folder, self.shard, first, len(self.rows), step.columns)
        return self.stored[step.name]

    def answer(self, step: ScoreStep, needed: Mask) -> StepScores:
        """Stored columns; `unknown` where one is needed but not there (or, with `retry`, is a failure)."""
        stored = self.load(step)
        present = stored.present
        if self.retry:
            present = present & np.asarray(stored.errors.is_null().to_numpy(zero_copy_only=False), dtype=bool)
        return StepScores(stored.columns, stored.errors, needed & ~present)
