"""One pass over one shard: read it, compute the scores that are missing, commit them. Plain Python, no Beam.

Three ways of counting rows meet here: the position in the *file* (what is stored), the place among the pool's rows of
the *shard* (what `StoredScores` is laid out by) and in the *batch* (what a scorer sees). Names say which: `rows` are
positions in the batch unless they come from a ledger or a score file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import progress
from poolsieve.dataflow.passes.flight import LOOK_AHEAD, in_flight
from poolsieve.dataflow.passes.pieces import Pieces
from poolsieve.dataflow.pools.shards import Batch, Shard
from poolsieve.dataflow.recipes.derived import RoleValues, spread
from poolsieve.dataflow.recipes.program import ScoreStep
from poolsieve.dataflow.recipes.schedule import whole_pool_after
from poolsieve.dataflow.recipes.walk import Cuts, Mask, StepScores, walk
from poolsieve.dataflow.runners.base import own_threads
from poolsieve.dataflow.store.gathered import lines_of
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.rows import Rows, all_rows, error_columns, read_rows, rows_table, write_rows
from poolsieve.dataflow.store.scores import Stored, laid_out, score_table, write_scores
from poolsieve.dataflow.store.stored import EarlierScores, StoredScores
from poolsieve.dataflow.store.summary import Work
from poolsieve.filters.dsl.cuts import Table
from poolsieve.filters.dsl.env import Paths
from poolsieve.scoring_models.base.arrow import nulls
from poolsieve.scoring_models.base.scorer import Scored, fed, in_pieces
from poolsieve.scoring_models.base.work import ModelWork
from poolsieve.scoring_models.feeding.driver import score_rows
from poolsieve.scoring_models.feeding.feed import Check

Ints = np.ndarray[Any, np.dtype[np.int64]]

SMALL_BYTES = 1 << 20
"""Of a shard that is one batch or two: a thread that reads ahead would take longer to start than it saves."""


@dataclass
class Made:
    """What a pass has made of a shard, or of several, so far: score tables by step, and the work that it took."""

    tables: dict[str, list[pa.Table]] = field(default_factory=lambda: defaultdict(list))
    work: Work = field(default_factory=Work)

    def add(self, other: Made) -> None:
        """Adds what was made of the next rows."""
        self.work.add(other.work)
        for name, tables in other.tables.items():
            self.tables[name].extend(tables)


class FreshScores:
    """A walk's source over one batch of a shard: takes what is stored and computes what is missing.

    Args:
        job: what is run.
        shard: the batch's shard.
        batch: rows as the reader gave them.
        kept: the scores that are stored; None for none.
        made: takes what is computed, so that it is committed when the shard is through.
        pieces: takes what comes in pieces, and commits it as it comes.
        check: called while a model works; what it raises ends the walk.
    """

    def __init__(
        self,
        job: Job,
        shard: Shard,
        batch: Batch,
        kept: StoredScores | EarlierScores | None,
        made: Made,
        pieces: Pieces,
        check: Check = progress.check,
    ) -> None:
        self.job, self.batch, self.kept, self.made, self.check = job, batch, kept, made, check
        self.pieces = pieces
        self.shard = shard
        self.path: Paths = shard.path
        self.uid = batch.uid
        self.rows = batch.rows
        self.read_errors = error_columns(batch.read_errors, batch.num_rows)[0]
        self.values = RoleValues(batch.roles, batch.role_errors)

    def gathered(self, table: Table) -> pa.Table:
        """What was gathered of the batch's rows."""
        return lines_of(self.job, table, self.shard.path, self.rows)

    def answer(self, step: ScoreStep, needed: Mask, scores: Mapping[str, pa.Array]) -> StepScores:
        """The step's scores: stored ones, and fresh ones for needed rows that have none."""
        self.values.scores = scores
        stored = self._stored(step)
        missing = needed if stored is None else needed & ~stored.present
        old = self._known(step, stored)
        if not missing.any():
            return old
        fresh = self._computed(step, np.flatnonzero(missing))
        self._keep(step, np.flatnonzero(missing), fresh)
        if missing.all():
            return StepScores(fresh.columns, fresh.errors)
        return self._merged(step, old, missing, fresh)

    def _known(self, step: ScoreStep, stored: Stored | None) -> StepScores:
        n = self.batch.num_rows
        if stored is None:
            return StepScores({name: nulls(n, kind) for name, kind in step.columns.items()})
        return StepScores(stored.columns, stored.errors)

    def _stored(self, step: ScoreStep) -> Stored | None:
        """What is stored of this batch's rows; failures are not, if they are to be tried again."""
        if self.kept is None:
            return None
        found = self.kept.of(step, self.rows)
        return found.without_failures() if found is not None and self.kept.retry else found

    def _computed(self, step: ScoreStep, rows: Ints) -> Stored:
        """Fresh scores of these rows of the batch."""
        inputs, good, failed = self.values.batch(step.inputs, rows)
        result = self._timed(step, inputs, good)
        if failed and in_pieces(step.scorer):
            none = {name: nulls(len(failed), kind) for name, kind in step.scorer.columns.items()}
            self._piece(step, np.array(list(failed)), Scored(none, dict(enumerate(failed.values()))))
        columns = dict(zip(step.columns, result.columns.values(), strict=True))
        # The scorer counts rows of `inputs`; what it says of them belongs to the rows `good` of the batch.
        errors = {int(good[i]): error for i, error in result.errors.items()} | failed
        places = np.searchsorted(rows, list(errors)).tolist()
        kinds, messages = error_columns(dict(zip(places, errors.values(), strict=True)), len(rows))
        return Stored(
            np.ones(len(rows), dtype=bool),
            {name: spread(values, good, rows) for name, values in columns.items()},
            kinds,
            messages,
        )

    def _timed(self, step: ScoreStep, inputs: pa.RecordBatch, good: Ints) -> Scored:
        """The scorer's answer; callers who share a model share the time as well."""
        seconds, took = self.made.work.seconds, dict[str, float]()
        with progress.timed(took, step.name):
            made = self._asked(step, inputs, good)
        seconds[step.name] = seconds.get(step.name, 0.0) + (took[step.name] if made.seconds is None else made.seconds)
        return made

    def _asked(self, step: ScoreStep, inputs: pa.RecordBatch, good: Ints) -> Scored:
        scorer, (name, meter) = self.job.scorer(step), self.job.meter(step) or (step.name, None)
        threads, columns = self.job.options.threads or own_threads(), step.scorer.columns

        def piece(rows: list[int], made: Scored) -> None:
            self._piece(step, good[rows], made)
            self._worked(name, made)

        made = score_rows(scorer, inputs, columns, threads=threads, check=self.check, meter=meter, on_piece=piece)
        self._worked(name, made)
        return made

    def _worked(self, name: str, made: Scored) -> None:
        """Adds up what a model did."""
        if made.work is not None:
            made.work.failed += len(made.errors)
            self.made.work.models.setdefault(name, ModelWork()).add(made.work)
            progress.add_model(name, made.work)

    def _piece(self, step: ScoreStep, places: Ints, made: Scored) -> None:
        """Hands on the scores of some rows of the batch, which are committed before the shard is through."""
        progress.add(step.name, len(places))
        kinds, messages = error_columns(made.errors, len(places))
        columns = dict(zip(step.columns, made.columns.values(), strict=True))
        self.pieces.add(step, score_table(self.rows[places], columns, kinds, messages))

    def _keep(self, step: ScoreStep, rows: Ints, fresh: Stored) -> None:
        """Notes fresh scores for the commit at the end of the shard."""
        self.made.work.scored[step.name] = self.made.work.scored.get(step.name, 0) + len(rows)
        if in_pieces(step.scorer):
            return
        progress.add(step.name, len(rows))
        self.made.tables[step.name].append(self.lines(rows, step, fresh))

    def lines(self, rows: Ints, step: ScoreStep, fresh: Stored) -> pa.Table:
        """Lines of a score file, of these rows of the batch."""
        return score_table(self.rows[rows], fresh.columns, fresh.errors, fresh.messages)

    def _merged(self, step: ScoreStep, old: StepScores, missing: Mask, fresh: Stored) -> StepScores:
        """Old scores, with fresh ones in the place of those that were missing."""
        n = self.batch.num_rows
        index = np.arange(n)
        index[missing] = n + np.arange(int(missing.sum()))
        take = pa.array(index, pa.int64())
        errors = old.errors if old.errors is not None else pa.nulls(n, pa.string())
        merged = {name: pa.concat_arrays([old.columns[name], fresh.columns[name]]).take(take) for name in step.columns}
        return StepScores(merged, pa.concat_arrays([errors, fresh.errors]).take(take))


def score_shard(
    shard: Shard, job: Job, cuts: Cuts, *, stop: int | None, label: str
) -> tuple[Work, StoredScores | None]:
    """Makes sure that every score which the steps before `stop` need of this shard is stored.

    In the first pass steps that score the whole pool are run wherever they stand, so that the pool is read once.

    Args:
        shard: of the plan.
        job: what is run.
        cuts: those that are known by now.
        stop: the rule that this pass comes to, whose cut is found next; None for the last pass.
        label: name of the pass.

    Returns:
        The work done, and the shard's rows and scores where they are at hand: what is stored, read already, or will be
        when the files of `fs.together` have their names.

    Raises:
        ShardChanged: if the file is not the one that was planned, before it is read or after; nothing more is stored
            then.
    """
    progress.check()
    rows = read_rows(job.rows_url(shard))
    kept = None if rows is None else StoredScores(job, shard, rows, label, job.options.retry_quarantined)
    wanted = None if kept is None else unscored_rows(job, kept, cuts, stop)
    if wanted is not None and not wanted.any():
        return Work(rows=len(wanted)), None if job.options.retry_quarantined else kept
    job.files.check_unchanged(shard)
    made = Made()
    made.work.read_bytes = shard.size
    known = kept or EarlierScores(job, shard, label, job.options.retry_quarantined)
    pieces = Pieces(job, shard, label)
    with pieces.saved_on_failure():
        lines = all_rows(
            [rows_table(batch) for batch in _scored_batches(job, shard, cuts, stop, known, wanted, made, pieces)]
        )
    # A file that was cut short or replaced meanwhile looks like one with fewer rows.
    job.files.check_unchanged(shard)
    made.work.rows = lines.num_rows if rows is None else len(rows)
    made.tables |= pieces.rest()
    scored = {name: pa.concat_tables(some).combine_chunks() for name, some in made.tables.items()}
    with progress.timed(made.work.seconds, "write"):
        commit(job, shard, label, scored, lines if rows is None else None)
    return made.work, _at_hand(job, shard, label, lines, scored) if _is_new(job, known) else None


def _is_new(job: Job, known: StoredScores | EarlierScores) -> bool:
    """Whether all that is stored of a shard is what this pass made of it, at once."""
    return (
        isinstance(known, EarlierScores)
        and not known.found_any
        and not any(in_pieces(step.scorer) for step in job.program.scorers)
    )


def _at_hand(job: Job, shard: Shard, label: str, lines: pa.Table, scored: Mapping[str, pa.Table]) -> StoredScores:
    """What would be read from the files of a shard that is new."""
    made = StoredScores(job, shard, Rows(lines), label)
    steps = {step.name: step for step in job.program.scorers}
    made.stored = {name: laid_out(table, made.rows, steps[name].columns) for name, table in scored.items()}
    return made


def unscored_rows(job: Job, kept: StoredScores, cuts: Cuts, stop: int | None) -> Mask:
    """Rows of the shard that need something which is not stored."""
    state = walk(job.program, kept, cuts, stop)
    unknown = np.zeros(len(kept.rows), dtype=bool) if state.unknown is None else state.unknown.copy()
    for step in whole_pool_after(job.program, stop):
        unknown |= np.asarray(kept.answer(step, _readable(kept.read_errors), {}).unknown, dtype=bool)
    return unknown


def _readable(errors: pa.Array) -> Mask:
    return np.array(errors.is_null().to_numpy(zero_copy_only=False), dtype=bool)


def _steps(job: Job, stop: int | None) -> list[ScoreStep]:
    """Those that a pass up to `stop` scores."""
    program = job.program
    return [step for step in program.steps[:stop] if isinstance(step, ScoreStep)] + whole_pool_after(program, stop)


def roles_read(job: Job, stop: int | None) -> tuple[tuple[str, ...], dict[str, pa.DataType]]:
    """The pool's roles that a pass up to `stop` reads, and their types."""
    roles = tuple(dict.fromkeys(role for step in _steps(job, stop) for role in step.pool_roles))
    return roles, job.types_of(roles)


def _scored_batches(
    job: Job,
    shard: Shard,
    cuts: Cuts,
    stop: int | None,
    known: StoredScores | EarlierScores,
    wanted: Mask | None,
    made: Made,
    pieces: Pieces,
) -> Iterator[Batch]:
    """The shard's batches, each once its scores are in `made`. Only where rows are `wanted`, if that is known."""
    steps, (roles, types) = _steps(job, stop), roles_read(job, stop)

    def want(start: int, n: int) -> bool:
        if wanted is None or isinstance(known, EarlierScores):
            return True
        low, high = np.searchsorted(known.rows, (start, start + n))
        return bool(wanted[low:high].any())

    plain = job.files.pool_batches(shard, roles, types, want)
    batches = timed_reading(plain if shard.size <= SMALL_BYTES else read_ahead(plain), made)
    ahead = LOOK_AHEAD if any(fed(step.scorer) for step in steps) else 1

    def work(batch: Batch, check: Check) -> tuple[Batch, Made]:
        part = Made()
        score_batch(job, FreshScores(job, shard, batch, known, part, pieces, check), cuts, stop)
        return batch, part

    for batch, part in in_flight(batches, work, ahead, lambda batch: batch.num_rows):
        made.add(part)
        yield batch


def timed_reading(batches: Iterator[Batch], made: Made) -> Iterator[Batch]:
    """The same batches; what was waited for them is noted, and the user may stop between two."""
    while True:
        progress.check()
        with progress.timed(made.work.seconds, "read"):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def read_ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, each being read while the one before it is worked on."""
    with ThreadPoolExecutor(1, thread_name_prefix="poolsieve-read") as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch


def score_batch(job: Job, source: FreshScores, cuts: Cuts, stop: int | None) -> None:
    """Walks a batch, so that what it needs before `stop` is scored."""
    walk(job.program, source, cuts, stop)
    for step in whole_pool_after(job.program, stop):
        source.answer(step, _readable(source.read_errors), {})
    progress.add("read", source.batch.num_rows)


def commit(job: Job, shard: Shard, label: str, tables: Mapping[str, pa.Table], lines: pa.Table | None) -> None:
    """Stores what was made of a shard: lines of each step's file, and its rows if they are new.

    Scores first, rows last: rows that are there say that the shard has been read once to its end.
    """
    steps = {step.name: step for step in job.program.scorers}
    for name, table in tables.items():
        write_scores(job.score_files(label, steps[name]), shard, [table])
    if lines is not None:
        write_rows(job.rows_url(shard), lines)
