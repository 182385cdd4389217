"""What derived values must know of the pool: sums over its shards, or all of its rows at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import progress
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.program import DeriveStep
from poolsieve.dataflow.recipes.walk import Cuts, State, walk
from poolsieve.dataflow.store.gathered import write_gathered, write_joined
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.leaves import Leaf, places_by_path, sorted_lines, write_leaf
from poolsieve.dataflow.store.stored import StoredScores, open_stored, require_scored
from poolsieve.filters.dsl.cuts import Table
from poolsieve.scoring_models.base.derived import ROW, Gathered, Part, Pooled, Sums, is_joined

Counts = dict[str, dict[str, int]]
"""Group -> name -> sum."""


def add_sums(total: Counts, sums: Counts) -> Counts:
    """Adds another shard's sums."""
    for group, found in sums.items():
        into = total.setdefault(group, {})
        for name, value in found.items():
            into[name] = into.get(name, 0) + value
    return total


def step_at(job: Job, at: int) -> DeriveStep:
    """The derived value that is step `at`."""
    step = job.program.steps[at]
    assert isinstance(step, DeriveStep)
    return step


def _walked(shard: Shard, job: Job, cuts: Cuts, at: int) -> tuple[StoredScores, State]:
    source = open_stored(job, shard, step_at(job, at).label)
    state = walk(job.program, source, cuts, at)
    require_scored(state.unknown, shard)
    return source, state


def tally_shard(shard: Shard, job: Job, cuts: Cuts, *, at: int) -> Counts:
    """A shard's sums for the derived value at step `at`, over the rows alive there.

    Raises:
        NotScored: if rows of the shard need scores that are not stored.
    """
    progress.check()
    derived = cast("Pooled", step_at(job, at).derived)
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


def with_gathered(homes: Sequence[Sequence[Shard]], job: Job, cuts: Cuts, *, at: int) -> Cuts:
    """The cuts, with the name of what was gathered of all shards' rows for the derived value at step `at`.

    Args:
        homes: neighbouring shards together, in any order; the lines of a joined value are kept by them.
        job: what is run.
        cuts: those known.
        at: a step.

    Raises:
        NotScored: if rows need scores that are not stored.
        PoolsieveError: if a line does not say of which row it is, or is a second one of a row.
    """
    step, homes = step_at(job, at), sorted(homes, key=tuple)
    derived, seen = cast("Gathered", step.derived), _Seen()
    made = derived.gather(seen.through(parts_of(homes, job, cuts, at)))
    if not is_joined(derived):
        return {**cuts, step.label: {"": write_gathered(job, step.label, made)}}
    made = sorted_lines(step.label, made)
    leaves = [write_leaf(job.derived_in, step.label, lines) for lines in seen.parted(made)]
    return with_joined(leaves, job, cuts, at=at)


def with_joined(leaves: Sequence[Leaf], job: Job, cuts: Cuts, *, at: int) -> Cuts:
    """The cuts, with the name of the list of what was joined for the derived value at step `at`."""
    step = step_at(job, at)
    return {**cuts, step.label: {"": write_joined(job, step.label, step.derived.columns, leaves)}}


def parts_of(homes: Sequence[Sequence[Shard]], job: Job, cuts: Cuts, at: int) -> Iterator[tuple[int, Part]]:
    """Each shard's rows, with the number of its home."""
    reads = step_at(job, at).derived.reads
    for number, shards in enumerate(homes):
        for shard in shards:
            progress.check()
            source, state = _walked(shard, job, cuts, at)
            alive = np.flatnonzero(state.alive)
            index = pa.array(alive, pa.int64())
            scores = {name: state.scores[name].take(index) for name in reads}
            yield number, Part(shard.path, source.rows[alive], source.uid.take(index), scores)


class _Seen:
    """Where the parts that were seen begin and end, so that lines are laid where they came from."""

    def __init__(self) -> None:
        self.ends: list[tuple[int, str, int]] = []

    def through(self, parts: Iterator[tuple[int, Part]]) -> Iterator[Part]:
        """The parts, each noted."""
        for number, part in parts:
            if len(part.rows):
                self.ends.append((number, part.path, int(part.rows[-1])))
            yield part

    def parted(self, lines: pa.Table) -> Iterator[pa.Table]:
        """The lines of each home that has any; they are sorted by (path, row)."""
        places, rows, begin, end = places_by_path(lines), lines.column(ROW).to_numpy(), 0, 0
        for _, ends in itertools.groupby(self.ends, key=lambda one: one[0]):
            for _, path, last in ends:
                if path in places:
                    there = places[path]
                    end = there.start + int(np.searchsorted(rows[there], last, side="right"))
            if end > begin:
                yield lines.slice(begin, end - begin)
            begin = end
