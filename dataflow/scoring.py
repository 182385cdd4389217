"""One pass over one shard: read it, compute the scores that are missing, commit them. Plain Python, no Beam."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import fs, progress
from poolsieve.dataflow.edits import Values
from poolsieve.dataflow.evaluate import Answer, Cuts, Mask, walk
from poolsieve.dataflow.job import Job
from poolsieve.dataflow.pool import open_chunks
from poolsieve.dataflow.program import ScoreStep
from poolsieve.dataflow.records import Chunk, Shard
from poolsieve.dataflow.store import (
    Rows,
    Stored,
    chunk_rows,
    error_columns,
    read_rows,
    read_scores,
    rows_url,
    score_table,
    settle,
    write_rows,
    write_scores,
)
from poolsieve.scoring_models.driver import load_shared, score_rows
from poolsieve.scoring_models.protocol import PoolsieveError


class ShardChanged(PoolsieveError):
    """A pool file is not the one that the run (or the plan) saw."""


class StoredSource:
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

    def answer(self, step: ScoreStep, needed: Mask) -> Answer:
        """Stored columns; `unknown` where one is needed but not there (or, with `retry`, is a failure)."""
        stored = self.load(step)
        present = stored.present
        if self.retry:
            present = present & np.asarray(stored.errors.is_null().to_numpy(zero_copy_only=False), dtype=bool)
        return Answer(stored.columns, stored.errors, needed & ~present)


@dataclass
class _Scored:
    """Newly computed scores of a shard, by step name."""

    tables: dict[str, list[pa.Table]] = field(default_factory=lambda: defaultdict(list))
    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))


class ChunkSource:
    """A walk's source over one chunk of a shard: takes what is stored and computes what is missing."""

    def __init__(self, job: Job, shard: Shard, chunk: Chunk, kept: StoredSource | None, made: _Scored) -> None:
        self.job, self.chunk, self.kept, self.made = job, chunk, kept, made
        self.path, self.uid = shard.path, chunk.uid
        self.rows = np.arange(chunk.start, chunk.start + chunk.num_rows, dtype=np.int64)
        self.read_errors = error_columns(chunk.read_errors, chunk.num_rows)[0]
        self.values = Values(chunk.roles, chunk.role_errors)

    def answer(self, step: ScoreStep, needed: Mask) -> Answer:
        """The step's scores: stored ones, and fresh ones for needed rows that have none."""
        stored = self._stored(step)
        missing = needed if stored is None else needed & ~stored.present
        if not missing.any():
            return self._known(step, stored)
        columns, errors = self._compute(step, missing)
        if missing.all():
            return Answer(columns, errors)
        return self._merged(step, stored, missing, columns, errors)

    def _known(self, step: ScoreStep, stored: Stored | None) -> Answer:
        n = self.chunk.num_rows
        if stored is None:
            return Answer({name: pa.nulls(n, kind) for name, kind in step.columns.items()})
        return Answer(stored.columns, stored.errors)

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
            result = score_rows(self._scorer(step), batch, step.scorer.columns, threads=self.job.options.threads)
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

    def _scorer(self, step: ScoreStep) -> Any:
        folder = self.job.folder(step)
        loaded: Any = step.scorer
        if hasattr(step.scorer, "load"):
            loaded = load_shared(loaded, self.job.fingerprints[step.name])
        settle_once(folder, self.job.parts[step.name], getattr(loaded, "settings", {}))
        return loaded

    def _merged(self, step: ScoreStep, stored: Stored | None, missing: Mask, columns: Any, errors: pa.Array) -> Answer:
        n = self.chunk.num_rows
        index = np.arange(n)
        index[missing] = n + np.arange(int(missing.sum()))
        take = pa.array(index)
        old = self._known(step, stored)
        none = pa.nulls(n, pa.string())
        merged = {name: pa.concat_arrays([old.columns[name], columns[name]]).take(take) for name in step.columns}
        return Answer(merged, pa.concat_arrays([old.errors if old.errors is not None else none, errors]).take(take))


_settled: set[str] = set()


def settle_once(folder: str, parts: Any, settings: Any) -> None:
    """`store.settle`, once a process and folder."""
    if folder not in _settled:
        settle(folder, parts, settings)
        _settled.add(folder)


def _spread(values: pa.Array, rows: np.ndarray[Any, Any], good: np.ndarray[Any, Any]) -> pa.Array:
    """Scores of the rows that could be scored, laid out over all rows asked for (null elsewhere)."""
    if len(rows) == len(good):
        return values
    position = np.searchsorted(good, rows)
    lost = ~np.isin(rows, good)
    return values.take(pa.array(np.where(lost, 0, position), mask=lost))


def score_shard(job: Job, shard: Shard, cuts: Cuts, stop: int | None, label: str) -> dict[str, Any]:
    """Makes sure that every score which the steps before `stop` need of this shard is stored.

    In the first pass steps that score the whole pool are run wherever they stand, so that the pool is read once.

    Returns:
        `{"rows": n, "read_bytes": b, "seconds": {step: s}, "scored": {step: rows}}`.

    Raises:
        ShardChanged: if the file is not the one that was planned.
    """
    progress.check()
    url = rows_url(job.out, shard, job.reading)
    rows = read_rows(url)
    kept = None if rows is None else StoredSource(job, shard, rows, label, job.options.retry_quarantined)
    candidates = None if kept is None else _candidates(job, kept, cuts, stop)
    if candidates is not None and not candidates.any():
        return {"rows": len(candidates), "read_bytes": 0, "seconds": {}, "scored": {}}
    check_unchanged(job, shard)
    made = _Scored()
    lines = [chunk_rows(chunk) for chunk in _scored_chunks(job, shard, cuts, stop, kept, candidates, made)]
    n = sum(line.num_rows for line in lines) if rows is None else len(rows)
    with progress.timed(made.seconds, "write"):
        _commit(job, shard, label, made, lines if rows is None else None, url)
    return {"rows": n, "read_bytes": shard.size, "seconds": made.seconds, "scored": dict(made.counts)}


def _candidates(job: Job, kept: StoredSource, cuts: Cuts, stop: int | None) -> Mask:
    """Rows that need something which is not stored."""
    state = walk(job.program, kept, cuts, stop)
    unknown = np.zeros(len(kept.rows), dtype=bool) if state.unknown is None else state.unknown.copy()
    for step in _later(job, stop):
        unknown |= np.asarray(kept.answer(step, _readable(kept.read_errors)).unknown, dtype=bool)
    return unknown


def _later(job: Job, stop: int | None) -> Iterator[ScoreStep]:
    """Steps at or after `stop` that score the whole pool."""
    later = job.program.steps[stop:] if stop is not None else ()
    return (step for step in later if isinstance(step, ScoreStep) and step.whole_pool)


def _readable(errors: pa.Array) -> Mask:
    return np.array(errors.is_null().to_numpy(zero_copy_only=False), dtype=bool)


def _scored_chunks(
    job: Job, shard: Shard, cuts: Cuts, stop: int | None, kept: StoredSource | None, wanted: Mask | None, made: _Scored
) -> Iterator[Chunk]:
    steps = [step for step in job.program.steps[:stop] if isinstance(step, ScoreStep)] + list(_later(job, stop))
    roles = tuple(dict.fromkeys(role for step in steps for role in step.pool_roles))
    types = {role: job.role_types[role] for role in roles}
    first = shard.start

    def want(start: int, n: int) -> bool:
        return wanted is None or bool(wanted[start - first : start - first + n].any())

    chunks = read_ahead(open_chunks(job.pool, shard, roles, types, want))
    while True:
        progress.check()
        with progress.timed(made.seconds, "read"):
            chunk = next(chunks, None)
        if chunk is None:
            return
        _score_chunk(job, shard, cuts, stop, kept, made, chunk)
        yield chunk


def read_ahead(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """The same chunks, each being read while the one before it is worked on."""
    with ThreadPoolExecutor(1, thread_name_prefix="poolsieve-read") as reader:
        coming = reader.submit(next, chunks, None)
        while (chunk := coming.result()) is not None:
            coming = reader.submit(next, chunks, None)
            yield chunk


def _score_chunk(
    job: Job, shard: Shard, cuts: Cuts, stop: int | None, kept: StoredSource | None, made: _Scored, chunk: Chunk
) -> None:
    source = ChunkSource(job, shard, chunk, kept, made)
    walk(job.program, source, cuts, stop)
    for step in _later(job, stop):
        source.answer(step, _readable(source.read_errors))
    progress.add("read", chunk.num_rows)


def _commit(job: Job, shard: Shard, label: str, made: _Scored, lines: list[pa.Table] | None, url: str) -> None:
    """Scores first, rows last: rows that are there say that the shard has been read once to its end."""
    steps = {step.name: step for step in job.program.scorers}
    for name, tables in made.tables.items():
        write_scores(job.phase(label), job.folder(steps[name]), shard, tables)
    if lines is not None:
        write_rows(url, lines)


def check_unchanged(job: Job, shard: Shard) -> None:
    """Compares a pool file with what the listing said.

    Raises:
        ShardChanged: if it differs.
        FileNotFoundError: if it is gone.
    """
    system, path = fs.connect(job.pool.url(shard), dict(job.pool.storage_options))
    found = fs.stat(system, path)
    if (found.size, found.tag) != (shard.size, shard.tag):
        raise ShardChanged(
            f"{path} has changed: {shard.size} bytes, tag {shard.tag} when it was listed, now {found.size} bytes, "
            f"tag {found.tag}. Run again to score the new contents (only changed files are read anew)."
        )
