"""What derived values must know of the pool: sums over its shards, or all of its rows at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import progress
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.program import DeriveStep
from poolsieve.dataflow.recipes.walk import Cuts, State, walk
from poolsieve.dataflow.store.gathered import write_gathered
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.stored import StoredScores, open_stored, require_scored
from poolsieve.filters.dsl.cuts import Table
from poolsieve.scoring_models.base.derived import Gathered, Part, Pooled, Sums

Counts = dict[str, dict[str, int]]
"""Group -> name -> sum."""


def add_sums(total: Counts, sums: Counts) -> Counts:
    """Adds another shard's sums."""
    for group, found in sums.items():
        into = total.setdefault(group, {})
        for name, value in found.items():
            into[name] = into.get(name, 0) + value
    return total


def _step(job: Job, at: int) -> DeriveStep:
    step = job.program.steps[at]
    assert isinstance(step, DeriveStep)
    return step


def _walked(shard: Shard, job: Job, cuts: Cuts, at: int) -> tuple[StoredScores, State]:
    source = open_stored(job, shard, _step(job, at).label)
    state = walk(job.program, source, cuts, at)
    require_scored(state.unknown, shard)
    return source, state


def tally_shard(shard: Shard, job: Job, cuts: Cuts, *, at: int) -> Counts:
    """A shard's sums for the derived value at step `at`, over the rows alive there.

    Raises:
        NotScored: if rows of the shard need scores that are not stored.
    """
    progress.check()
    derived = cast("Pooled", _step(job, at).derived)
    _, state = _walked(shard, job, cuts, at)
    found = derived.tally({name: state.scores[name] for name in derived.reads}, state.alive)
    return plain_sums(found)


def plain_sums(found: Sums) -> Counts:
    """Sums as Python's integers, which can't overflow."""
    return {group: {name: int(value) for name, value in sums.items()} for group, sums in found.items()}


def with_sums(sums: Counts, cuts: Cuts, *, name: str) -> Cuts:
    """The cuts, with the sums of a derived value beside them."""
    tables = {group: Table(sums=dict(sorted(found.items()))) for group, found in sorted(sums.items())}
    return {**cuts, name: tables}


def with_gathered(shards: Sequence[Shard], job: Job, cuts: Cuts, *, at: int) -> Cuts:
    """The cuts, with the name of what was gathered of all shards' rows for the derived value at step `at`.

    Raises:
        NotScored: if rows need scores that are not stored.
        PoolsieveError: if a line does not say of which row it is, or is a second one of a row.
    """
    step = _step(job, at)
    parts = _parts(sorted(shards, key=lambda shard: (shard.path.encode(), shard.start)), job, cuts, at)
    made = cast("Gathered", step.derived).gather(parts)
    return {**cuts, step.label: {"": write_gathered(job, step.label, made)}}


def _parts(shards: Sequence[Shard], job: Job, cuts: Cuts, at: int) -> Iterator[Part]:
    reads = _step(job, at).derived.reads
    for shard in shards:
        progress.check()
        source, state = _walked(shard, job, cuts, at)
        alive = np.flatnonzero(state.alive)
        index = pa.array(alive, pa.int64())
        scores = {name: state.scores[name].take(index) for name in reads}
        yield Part(shard.path, source.rows[alive], source.uid.take(index), scores)
