"""Stored rows and scores of neighbouring shards as one source, so that a small shard costs no walk of its own.

Within a run they also stand in one file, `OUT/runs/<run>/at-hand/`, by the pass that left them: what comes after opens
one file for up to 64 shards in the place of some for each. The file is a copy: without it the shards' own are read.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.program import ScoreStep
from poolsieve.dataflow.recipes.walk import Mask, StepScores
from poolsieve.dataflow.store.gathered import lines_of
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import at_hand_url
from poolsieve.dataflow.store.scores import Stored, read_scores
from poolsieve.dataflow.store.stored import StoredScores, open_stored, require_scored
from poolsieve.dataflow.store.tables import one_array
from poolsieve.filters.dsl.cuts import Table
from poolsieve.filters.dsl.env import Paths

Ints = np.ndarray[Any, np.dtype[np.int64]]

_LINES = ("row", "uid", "nbytes", "read_error", "key")
"""Columns of rows that decisions read."""


class Lines(Protocol):
    """Rows of shards, by column."""

    def column(self, name: str) -> pa.Array:
        """One column, in one piece."""
        ...


class Neighbours:
    """A walk's source over the rows of some shards, one behind the other; it only reads what is kept.

    Args:
        job: what is run.
        shards: in their order; at least one.
        phase: of the run, for the listings of score files.
        lines: of all rows.
        lengths: rows of each shard.
        stored: name of a step -> its scores of all rows, as far as they are at hand; others are read when asked for.
    """

    def __init__(
        self,
        job: Job,
        shards: Sequence[Shard],
        phase: str,
        lines: Lines,
        lengths: Sequence[int],
        stored: Mapping[str, Stored],
    ) -> None:
        self.job, self.shards, self.phase, self.lines = job, shards, phase, lines
        self.starts: Ints = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        self.stored = dict(stored)
        self.rows = np.asarray(lines.column("row").to_numpy(zero_copy_only=False), dtype=np.int64)
        self.read_errors = lines.column("read_error")

    @classmethod
    def of(cls, job: Job, sources: Sequence[StoredScores | Neighbours]) -> Neighbours:
        """Shards that are open, with the scores that any of them has been asked for."""
        if len(sources) == 1 and isinstance(sources[0], Neighbours):
            return sources[0]
        names = {name for source in sources for name in source.stored}
        steps = [step for step in job.program.scorers if step.name in names]
        return cls(
            job,
            [shard for source in sources for shard in source.shards],
            sources[0].phase,
            sources[0].lines if len(sources) == 1 else _Joined([source.lines for source in sources]),
            [n for source in sources for n in source.lengths],
            {step.name: _joined([source.load(step) for source in sources]) for step in steps},
        )

    @property
    def lengths(self) -> list[int]:
        """Rows of each shard."""
        return [int(n) for n in np.diff(self.starts)]

    @property
    def uid(self) -> pa.Array:
        """string (n,): read when something asks for it."""
        return self.lines.column("uid")

    @functools.cached_property
    def path(self) -> Paths:
        """The file, or object (n,), that of each row."""
        if len(self.shards) == 1:
            return self.shards[0].path
        return np.repeat(np.array([shard.path for shard in self.shards], dtype=object), self.lengths)

    def load(self, step: ScoreStep) -> Stored:
        """The step's stored scores of all rows."""
        if step.name not in self.stored:
            files = self.job.score_files(self.phase, step)
            parts = [read_scores(files, shard, self.rows[here], step.columns) for shard, here in self.parts()]
            self.stored[step.name] = _joined(parts)
        return self.stored[step.name]

    def parts(self) -> list[tuple[Shard, slice]]:
        """Each shard, and where its rows are."""
        ends = self.starts.tolist()
        return [(shard, slice(*ends[i : i + 2])) for i, shard in enumerate(self.shards)]

    def answer(self, step: ScoreStep, needed: Mask, scores: Mapping[str, pa.Array]) -> StepScores:
        """Stored columns; `unknown` where one is needed but not there."""
        stored = self.load(step)
        return StepScores(stored.columns, stored.errors, needed & ~stored.present)

    def gathered(self, table: Table) -> pa.Table:
        """What was gathered of the rows."""
        parts = [lines_of(self.job, table, shard.path, self.rows[here]) for shard, here in self.parts()]
        return pa.concat_tables(parts).combine_chunks()

    def require_scored(self, unknown: Mask | None) -> None:
        """Raises `NotScored`, naming the first shard of which rows need scores that are not stored."""
        for shard, here in self.parts() if unknown is not None and unknown.any() else ():
            assert unknown is not None
            require_scored(unknown[here], shard)


class _Joined:
    """Rows of shards, one behind the other; a column is joined when it is asked for."""

    def __init__(self, rows: Sequence[Lines]) -> None:
        self.rows = rows

    def column(self, name: str) -> pa.Array:
        """One column, in one piece."""
        return pa.concat_arrays([rows.column(name) for rows in self.rows])


class TableLines:
    """Rows as a table has them."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def column(self, name: str) -> pa.Array:
        """One column, in one piece."""
        return one_array(self.table, name)


def _joined(parts: Sequence[Stored]) -> Stored:
    if len(parts) == 1:
        return parts[0]
    return Stored(
        np.concatenate([part.present for part in parts]),
        {name: pa.concat_arrays([part.columns[name] for part in parts]) for name in parts[0].columns},
        pa.concat_arrays([part.errors for part in parts]),
        pa.concat_arrays([part.messages for part in parts]),
    )


def open_neighbours(job: Job, shards: Sequence[Shard], phase: str, left_by: str = "") -> Neighbours:
    """The stored rows and scores of some shards.

    Args:
        job: what is run.
        shards: in their order; at least one.
        phase: of the run.
        left_by: the pass whose copies may be read; since then no score was made.

    Raises:
        NotScored: if a shard has never been read.
    """
    found = _left(job, shards, phase, left_by) if left_by and len(shards) > 1 else None
    return found or Neighbours.of(job, [open_stored(job, shard, phase) for shard in shards])


def leave(source: Neighbours, left_by: str) -> None:
    """Keeps what is at hand of several shards for what comes after pass `left_by`; of a single one nothing."""
    if len(source.shards) == 1:
        return
    columns = {f"lines.{name}": source.lines.column(name) for name in _LINES}
    for step in source.job.program.scorers:
        if step.name in source.stored and not any(pa.types.is_nested(kind) for kind in step.columns.values()):
            columns |= _columns_of(step, source.stored[step.name])
    table = pa.table(columns).replace_schema_metadata({"lengths": json.dumps(source.lengths)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as made:
        made.write_table(table)
    fs.write_bytes(_url(source.job, source.shards, left_by), sink.getvalue().to_pybytes())


def _columns_of(step: ScoreStep, stored: Stored) -> dict[str, pa.Array]:
    own = {f"{step.name}.column.{name}": values for name, values in stored.columns.items()}
    ours = {"present": pa.array(stored.present), "error": stored.errors, "message": stored.messages}
    return {**own, **{f"{step.name}.{name}": values for name, values in ours.items()}}


def _left(job: Job, shards: Sequence[Shard], phase: str, left_by: str) -> Neighbours | None:
    try:
        data = fs.read_bytes(_url(job, shards, left_by))
    except FileNotFoundError:
        return None
    with pa.ipc.open_stream(pa.py_buffer(data)) as file:
        table = file.read_all().combine_chunks()
    lengths = json.loads(table.schema.metadata[b"lengths"])
    there = set(table.schema.names)
    stored = {step.name: _stored(step, table) for step in job.program.scorers if f"{step.name}.present" in there}
    lines = table.select([f"lines.{name}" for name in _LINES]).rename_columns(list(_LINES))
    return Neighbours(job, shards, phase, TableLines(lines), lengths, stored)


def _stored(step: ScoreStep, table: pa.Table) -> Stored:
    return Stored(
        np.array(one_array(table, f"{step.name}.present").to_numpy(zero_copy_only=False), dtype=bool),
        {name: one_array(table, f"{step.name}.column.{name}") for name in step.columns},
        one_array(table, f"{step.name}.error"),
        one_array(table, f"{step.name}.message"),
    )


def _url(job: Job, shards: Sequence[Shard], left_by: str) -> str:
    return at_hand_url(job.out, job.run_id, left_by, shards[0].name)
