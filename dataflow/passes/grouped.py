"""New small shards of a work item are read one by one, walked as one batch, and committed one by one.

A walk and a scorer's call cost more than the few rows of a small shard do. Scores do not depend on the batch that a row
stands in, and each shard's files say what they would if it had been alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import progress
from poolsieve.dataflow.passes.pieces import Pieces
from poolsieve.dataflow.passes.scoring import (
    SMALL_BYTES,
    FreshScores,
    Made,
    commit,
    roles_read,
    score_batch,
    score_shard,
    timed_reading,
)
from poolsieve.dataflow.pools.shards import BATCH_BYTES, BATCH_ROWS, Batch, Shard
from poolsieve.dataflow.recipes.program import ScoreStep
from poolsieve.dataflow.recipes.walk import Cuts
from poolsieve.dataflow.store.gathered import lines_of
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.neighbours import Neighbours, TableLines
from poolsieve.dataflow.store.rows import read_rows, rows_table
from poolsieve.dataflow.store.scores import Stored, laid_out, score_table
from poolsieve.dataflow.store.stored import StoredScores
from poolsieve.dataflow.store.summary import Work
from poolsieve.filters.dsl.cuts import Table
from poolsieve.scoring_models.base.errors import PoolsieveError, RowError

Source = StoredScores | Neighbours


class _New(NamedTuple):
    """A shard that nothing is stored of, and all its rows."""

    shard: Shard
    batch: Batch


@dataclass(kw_only=True)
class _Pass:
    """What shards of an item are scored with (see `score_shard`), and what has come of it.

    Attributes:
        total: work done.
        found: what is at hand, in the order of the shards; a shard of which nothing is.
        waiting: new shards that are read and not scored, and `rows` and `nbytes` of them.
    """

    job: Job
    cuts: Cuts
    stop: int | None
    label: str
    total: Work = field(default_factory=Work)
    found: list[Source | Shard] = field(default_factory=list)
    waiting: list[_New] = field(default_factory=list)
    rows: int = 0
    nbytes: int = 0

    def add(self, new: _New) -> None:
        """Takes a shard that waits; those before it are scored if all together are more than a batch."""
        rows, nbytes = new.batch.num_rows, new.batch.roles.nbytes
        if self.rows + rows > BATCH_ROWS or self.nbytes + nbytes > BATCH_BYTES:
            self.finish()
        self.waiting.append(new)
        self.rows, self.nbytes = self.rows + rows, self.nbytes + nbytes

    def alone(self, shard: Shard) -> None:
        """Scores a shard by itself, after those before it."""
        self.finish()
        self._singly(shard)

    def _singly(self, shard: Shard) -> None:
        work, source = score_shard(shard, self.job, self.cuts, stop=self.stop, label=self.label)
        self.total.add(work)
        self.found.append(source or shard)

    def finish(self) -> None:
        """Scores what waits: together, or where a scorer fails at one of them so that the run ends, one by one."""
        waiting, self.waiting, self.rows, self.nbytes = self.waiting, [], 0, 0
        if not waiting:
            return
        try:
            self.found.append(_scored(self, waiting))
        except (PoolsieveError, MemoryError):
            for new in waiting:  # those before it are whole, and stay
                self._singly(new.shard)


def score_shards(
    shards: Sequence[Shard], job: Job, cuts: Cuts, *, stop: int | None, label: str
) -> tuple[Work, list[Source | Shard]]:
    """`score_shard` of neighbours; nothing of theirs may be stored in pieces.

    Returns:
        The work done; and in the order of the shards what is at hand of one, or of several, or else the shard itself.
    """
    given = _Pass(job=job, cuts=cuts, stop=stop, label=label)
    for shard in shards:
        try:
            new = _read(given, shard)
        except (PoolsieveError, OSError):
            given.finish()  # what was whole before it is kept
            raise
        if new is None:
            given.alone(shard)
        else:
            given.add(new)
    given.finish()
    return given.total, given.found


def _read(given: _Pass, shard: Shard) -> _New | None:
    """A new shard's only batch; None where something is stored of it, or it is none or several."""
    progress.check()
    job = given.job
    if shard.size > SMALL_BYTES or read_rows(job.rows_url(shard)) is not None or _has_scores(given, shard):
        return None
    job.files.check_unchanged(shard)
    made = Made()
    batches = timed_reading(job.files.pool_batches(shard, *roles_read(job, given.stop)), made)
    found = list(itertools.islice(batches, 2))
    if len(found) != 1:
        return None
    # Nothing more is read of it, so what is compared now is what was read.
    job.files.check_unchanged(shard)
    given.total.add(made.work)
    return _New(shard, found[0])


def _has_scores(given: _Pass, shard: Shard) -> bool:
    job = given.job
    return any(job.score_files(given.label, step).names(shard) for step in job.program.scorers)


def _scored(given: _Pass, news: Sequence[_New]) -> Neighbours:
    """Walks shards as one, and commits each; what is stored of them from now on."""
    job, shards = given.job, [new.shard for new in news]
    lines, made = pa.concat_tables([rows_table(new.batch) for new in news]).combine_chunks(), Made()
    source = _Fresh(job, news, made, given.label)
    score_batch(job, source, given.cuts, given.stop)
    made.work.read_bytes, made.work.rows = sum(shard.size for shard in shards), len(source.rows)
    tables = {name: pa.concat_tables(some).combine_chunks() for name, some in made.tables.items()}
    with progress.timed(made.work.seconds, "write"):
        for shard, here in zip(shards, source.places, strict=True):
            own = {name: _of_shard(table, source, here) for name, table in tables.items()}
            kept = {name: table for name, table in own.items() if table.num_rows}
            commit(job, shard, given.label, kept, lines.slice(here.start, here.stop - here.start))
    given.total.add(made.work)
    lengths = [new.batch.num_rows for new in news]
    return Neighbours(job, shards, given.label, TableLines(lines), lengths, _stored(job, tables, source))


def _of_shard(table: pa.Table, source: _Fresh, here: slice) -> pa.Table:
    """The lines of one shard among those of all, by the positions in its file."""
    places = table.column("row").to_numpy()
    low, high = np.searchsorted(places, (here.start, here.stop))
    rows = pa.array(source.rows[places[low:high]], pa.int64())
    return table.slice(low, high - low).set_column(0, "row", rows)


def _stored(job: Job, tables: Mapping[str, pa.Table], source: _Fresh) -> dict[str, Stored]:
    steps, places = {step.name: step for step in job.program.scorers}, np.arange(len(source.rows))
    return {name: laid_out(table, places, steps[name].columns) for name, table in tables.items()}


class _Fresh(FreshScores):
    """Rows of several new shards, one behind the other; lines of score files are noted by their place among them."""

    def __init__(self, job: Job, news: Sequence[_New], made: Made, label: str) -> None:
        shards = [new.shard for new in news]
        super().__init__(
            job, shards[0], _joined([new.batch for new in news]), None, made, Pieces(job, shards[0], label)
        )
        lengths = [new.batch.num_rows for new in news]
        self.path = np.repeat(np.array([shard.path for shard in shards], dtype=object), lengths)
        ends = [0, *itertools.accumulate(lengths)]
        self.places = [slice(*pair) for pair in itertools.pairwise(ends)]
        self.shards = shards

    def gathered(self, table: Table) -> pa.Table:
        """What was gathered of the rows."""
        parts = zip(self.shards, self.places, strict=True)
        found = [lines_of(self.job, table, shard.path, self.rows[here]) for shard, here in parts]
        return pa.concat_tables(found).combine_chunks()

    def lines(self, rows: np.ndarray[Any, np.dtype[np.int64]], step: ScoreStep, fresh: Stored) -> pa.Table:
        """Lines of these rows, whose positions are set when they are sorted by shard."""
        return score_table(rows, fresh.columns, fresh.errors, fresh.messages)


def _joined(batches: Sequence[Batch]) -> Batch:
    """One batch of the rows of several; its positions are those in their files."""
    starts = [0, *itertools.accumulate(batch.num_rows for batch in batches)]
    roles = sorted({role for batch in batches for role in batch.role_errors})
    return Batch(
        start=0,
        uid=pa.concat_arrays([batch.uid for batch in batches]),
        nbytes=np.concatenate([np.asarray(batch.nbytes, dtype=np.int64) for batch in batches]),
        roles=pa.concat_batches([batch.roles for batch in batches]),  # type: ignore[attr-defined]  # of pyarrow-stubs
        role_errors={role: _shifted([batch.role_errors.get(role, {}) for batch in batches], starts) for role in roles},
        read_errors=_shifted([batch.read_errors for batch in batches], starts),
        positions=np.concatenate([batch.rows for batch in batches]),
    )


def _shifted(errors: Sequence[Mapping[int, RowError]], starts: Sequence[int]) -> dict[int, RowError]:
    pairs = zip(errors, starts, strict=False)
    return {start + row: error for found, start in pairs for row, error in found.items()}
