"""The stored rows and scores of a shard, as the source that a walk reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.program import ScoreStep
from poolsieve.dataflow.recipes.walk import Mask, State, StepScores
from poolsieve.dataflow.store.gathered import lines_of
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.rows import Rows, read_rows
from poolsieve.dataflow.store.scores import Stored, by_row, laid_out, read_scores, score_lines
from poolsieve.filters.dsl.cuts import Table
from poolsieve.scoring_models.base.errors import PoolsieveError

Ints = np.ndarray[Any, np.dtype[np.int64]]


class NotScored(PoolsieveError):
    """Rows need scores that nobody has computed yet."""


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

    @property
    def shards(self) -> list[Shard]:
        """The shard, as sources of several have theirs."""
        return [self.shard]

    @property
    def lengths(self) -> list[int]:
        """Rows of the shard, likewise."""
        return [len(self.rows)]

    def load(self, step: ScoreStep) -> Stored:
        """The step's stored scores for the whole shard."""
        if step.name not in self.stored:
            files = self.job.score_files(self.phase, step)
            self.stored[step.name] = read_scores(files, self.shard, self.rows, step.columns)
        return self.stored[step.name]

    def of(self, step: ScoreStep, rows: Ints) -> Stored | None:
        """The step's stored scores of neighbours among the shard's rows: int64 (n,), positions in the file."""
        return self.load(step).slice(int(np.searchsorted(self.rows, rows[0])), len(rows))

    def answer(self, step: ScoreStep, needed: Mask, scores: Mapping[str, pa.Array]) -> StepScores:
        """Stored columns; `unknown` where one is needed but not there (or, with `retry`, is a failure)."""
        stored = self.load(step)
        present = stored.without_failures().present if self.retry else stored.present
        return StepScores(stored.columns, stored.errors, needed & ~present)

    def gathered(self, table: Table) -> pa.Table:
        """What was gathered of the shard's rows."""
        return lines_of(self.job, table, self.path, self.rows)


class EarlierScores:
    """Scores of a shard whose rows are read for the first time: of another sample of the pool, or of other uids."""

    def __init__(self, job: Job, shard: Shard, phase: str, retry: bool = False) -> None:
        self.job, self.shard, self.phase, self.retry = job, shard, phase, retry
        self._lines: dict[str, pa.Table | None] = {}

    @property
    def found_any(self) -> bool:
        """Whether a step that was asked for had any."""
        return any(table is not None for table in self._lines.values())

    def of(self, step: ScoreStep, rows: Ints) -> Stored | None:
        """The step's stored scores of some rows: int64 (n,), ascending positions in the file; None if it has none."""
        if step.name not in self._lines:
            table = score_lines(self.job.score_files(self.phase, step), self.shard)
            self._lines[step.name] = None if table is None else by_row(table)
        table = self._lines[step.name]
        if table is None:
            return None
        low, high = np.searchsorted(table.column("row").to_numpy(), (rows[0], rows[-1] + 1))
        return laid_out(table.slice(low, high - low), rows, step.columns)


def open_stored(job: Job, shard: Shard, label: str) -> StoredScores:
    """The stored rows and scores of a shard.

    Raises:
        NotScored: if the shard has never been read.
    """
    rows = read_rows(job.rows_url(shard))
    if rows is None:
        raise NotScored(f"shard {shard.path} has not been read yet; `poolsieve run` reads it")
    return StoredScores(job, shard, rows, label)


def require_scored(unknown: Mask | None, shard: Shard) -> None:
    """Raises `NotScored` if some rows need scores that are not stored."""
    if unknown is not None and unknown.any():
        raise NotScored(
            f"{int(unknown.sum())} rows of {shard.path} need scores that have not been computed; "
            "`poolsieve run` with the same recipe computes just those"
        )


def unscored(state: State) -> int:
    """Rows that a walk found to need a score which is not stored."""
    return 0 if state.unknown is None else int(state.unknown.sum())
