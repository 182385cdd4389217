"""One pass over one shard: read it, compute the scores that are missing, commit them. Plain Python, no Beam."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import progress
from poolsieve.dataflow.pools.shards import Batch, Shard
from poolsieve.dataflow.recipes.derived import RoleValues
from poolsieve.dataflow.recipes.program import ScoreStep
from poolsieve.dataflow.recipes.schedule import whole_pool_after
from poolsieve.dataflow.recipes.walk import Cuts, Mask, StepScores, walk
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.rows import error_columns, read_rows, rows_table, write_rows
from poolsieve.dataflow.store.scores import Stored, score_table, write_scores
from poolsieve.dataflow.store.stored import StoredScores
from poolsieve.dataflow.store.summary import Work
from poolsieve.scoring_models.base.driver import score_rows


@dataclass
class _Scored:
    """Newly computed scores of a shard, by step name."""

    tables: dict[str, list[pa.Table]] = field(default_factory=lambda: defaultdict(list))
    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))


class FreshScores:
    """A walk's source over one chunk of a shard: takes what is stored and computes what is missing."""

    def __init__(self, job: Job, shard: Shard, chunk: Batch, kept: StoredScores | None, made: _Scored) -> None:
        self.job, self.chunk, self.kept, self.made = job, chunk, kept, made
        self.path, self.uid = shard.path, chunk.uid
        self.rows = np.arange(chunk.start, chunk.start + chunk.num_rows, dtype=np.int64)
        self.read_errors = error_columns(chunk.read_errors, chunk.num_rows)[0]
        self.values = RoleValues(chunk.roles, chunk.role_errors)

    def answer(self, step: ScoreStep, needed: Mask) -> StepScores:
        """The step's scores: stored ones, and fresh ones for needed rows that have none."""
        stored = self._stored(step)
        missing = needed if stored is None else needed & ~stored.present
        if not missing.any():
            return self._known(step, stored)
        columns, errors = self._compute(step, missing)
        if missing.all():
            return StepScores(columns, errors)
        return self._merged(step, stored, missing, columns, errors)

    def _known(self, step: ScoreStep, stored: Stored | None) -> StepScores:
        n = self.chunk.num_rows
        if stored is None:
            return StepScores({name: pa.nulls(n, kind) for name, kind in step.columns.items()})
        return StepScores(stored.columns, stored.errors)

    def _stored(self, step: ScoreStep) -> Stored | None:
        if self.kept is None:
            return None
        whole = self.kept.load(step)
        start, n = self.chunk.start - int(self.kept.rows[0]), self.chunk.num_rows
        present = whole.present[start : start + n]
        errors = whole.errors.slice(start, n)
        if self.kept.retry:
            present = present & np.asarray(errors.is_null().to_numpy(zero_copy_only=False), dtype=bool)
        columns = {name: values.slice(start, n) for name, values in whole.columns.items()}
        return Stored(present, columns, errors, whole.messages.slice(start, n))

    def _compute(self, step: ScoreStep, missing: Mask) -> tuple[dict[str, pa.Array], pa.Array]:
        rows = np.flatnonzero(missing)
        batch, good, failed = self.values.batch(step.inputs, rows)
        with progress.timed(self.made.seconds, step.name):
            result = score_rows(self.job.scorer(step), batch, step.scorer.columns, threads=self.job.options.threads)
        progress.add(step.name, len(rows))
        self.made.counts[step.name] += len(rows)
        errors = {int(good[i]): error for i, error in result.errors.items()} | failed
        columns = {
            name: _spread(array, rows, good) for name, array in zip(step.columns, result.columns.values(), strict=True)
        }
        places = np.searchsorted(rows, list(errors)).tolist()
        kinds, messages = error_columns(dict(zip(places, errors.values(), strict=True)), len(rows))
        self.made.tables[step.name].append(score_table(self.rows[rows], columns, kinds, messages))
        return columns, kinds

    def _merged(
        self, step: ScoreStep, stored: Stored | None, missing: Mask, columns: Any, errors: pa.Array
    ) -> StepScores:
        n = self.chunk.num_rows
        index = np.arange(n)
        index[missing] = n + np.arange(int(missing.sum()))
        take = pa.array(index)
        old = self._known(step, stored)
        none = pa.nulls(n, pa.string())
        merged = {name: pa.concat_arrays([old.columns[name], columns[name]]).take(take) for name in step.columns}
        return StepScores(merged, pa.concat_arrays([old.errors if old.errors is not None else none, errors]).take(take))


def _spread(values: pa.Array, rows: np.ndarray[Any, Any], good: np.ndarray[Any, Any]) -> pa.Array:
    """Scores of the rows that could be scored, laid out over all rows asked for (null elsewhere)."""
    if len(rows) == len(good):
        return values
    position = np.searchsorted(good, rows)
    lost = ~np.isin(rows, good)
    return values.take(pa.array(np.where(lost, 0, position), mask=lost))


def score_shard(job: Job, shard: Shard, cuts: Cuts, stop: int | None, label: str) -> Work:
    """Makes sure that every score which the steps before `stop` need of this shard is stored.

    In the first pass steps that score the whole pool are run wherever they stand, so that the pool is read once.

    Raises:
        ShardChanged: if the file is not the one that was planned.
    """
    progress.check()
    url = job.rows_url(shard)
    rows = read_rows(url)
    kept = None if rows is None else StoredScores(job, shard, rows, label, job.options.retry_quarantined)
    candidates = None if kept is None else _candidates(job, kept, cuts, stop)
    if candidates is not None and not candidates.any():
        return Work(rows=len(candidates))
    job.files.check_unchanged(shard)
    made = _Scored()
    lines = [rows_table(chunk) for chunk in _scored_chunks(job, shard, cuts, stop, kept, candidates, made)]
    n = sum(line.num_rows for line in lines) if rows is None else len(rows)
    with progress.timed(made.seconds, "write"):
        _commit(job, shard, label, made, lines if rows is None else None, url)
    return Work(rows=n, read_bytes=shard.size, seconds=made.seconds, scored=dict(made.counts))


def _candidates(job: Job, kept: StoredScores, cuts: Cuts, stop: int | None) -> Mask:
    """Rows that need something which is not stored."""
    state = walk(job.program, kept, cuts, stop)
    unknown = np.zeros(len(kept.rows), dtype=bool) if state.unknown is None else state.unknown.copy()
    for step in whole_pool_after(job.program, stop):
        unknown |= np.asarray(kept.answer(step, _readable(kept.read_errors)).unknown, dtype=bool)
    return unknown


def _readable(errors: pa.Array) -> Mask:
    return np.array(errors.is_null().to_numpy(zero_copy_only=False), dtype=bool)


def _scored_chunks(
    job: Job, shard: Shard, cuts: Cuts, stop: int | None, kept: StoredScores | None, wanted: Mask | None, made: _Scored
) -> Iterator[Batch]:
    steps = [step for step in job.program.steps[:stop] if isinstance(step, ScoreStep)] + whole_pool_after(
        job.program, stop
    )
    roles = tuple(dict.fromkeys(role for step in steps for role in step.pool_roles))
    types = {role: job.role_types[role] for role in roles}
    first = shard.start

    def want(start: int, n: int) -> bool:
        return wanted is None or bool(wanted[start - first : start - first + n].any())

    chunks = read_ahead(job.files.batches(shard, roles, types, want))
    while True:
        progress.check()
        with progress.timed(made.seconds, "read"):
            chunk = next(chunks, None)
        if chunk is None:
            return
        _score_chunk(job, shard, cuts, stop, kept, made, chunk)
        yield chunk


def read_ahead(chunks: Iterator[Batch]) -> Iterator[Batch]:
    """The same chunks, each being read while the one before it is worked on."""
    with ThreadPoolExecutor(1, thread_name_prefix="poolsieve-read") as reader:
        coming = reader.submit(next, chunks, None)
        while (chunk := coming.result()) is not None:
            coming = reader.submit(next, chunks, None)
            yield chunk


def _score_chunk(
    job: Job, shard: Shard, cuts: Cuts, stop: int | None, kept: StoredScores | None, made: _Scored, chunk: Batch
) -> None:
    source = FreshScores(job, shard, chunk, kept, made)
    walk(job.program, source, cuts, stop)
    for step in whole_pool_after(job.program, stop):
        source.answer(step, _readable(source.read_errors))
    progress.add("read", chunk.num_rows)


def _commit(job: Job, shard: Shard, label: str, made: _Scored, lines: list[pa.Table] | None, url: str) -> None:
    """Scores first, rows last: rows that are there say that the shard has been read once to its end."""
    steps = {step.name: step for step in job.program.scorers}
    for name, tables in made.tables.items():
        write_scores(job.score_files(label, steps[name]), shard, tables)
    if lines is not None:
        write_rows(url, lines)
