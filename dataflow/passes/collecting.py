"""Artefacts that hold a line for each row of pools of their own, made by a job before the first pass.

    Create(shards of all pools) | Reshuffle | lines of the shard -> file | names -> artefact

Names alone pass between its steps; the files are of this run, and go with it. One worker puts them together.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import apache_beam as beam
import pyarrow as pa

from poolsieve.dataflow import progress
from poolsieve.dataflow.decisions.record import add_counts
from poolsieve.dataflow.passes.combiners import Sum
from poolsieve.dataflow.passes.counting import Located, located_pools, scorer_of, unreadable
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.program import ScoreStep
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.store.artefacts import role_of
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import lines_url
from poolsieve.dataflow.store.tables import read_table, write_table
from poolsieve.scoring_models.base.config import digest

_log = logging.getLogger(__name__)


@dataclass
class Collected:
    """URLs of files of lines, and name of a pool -> rows of it that could not be read."""

    files: list[str] = field(default_factory=list)
    unreadable: dict[str, int] = field(default_factory=dict)

    def add(self, other: Collected) -> Collected:
        """Adds up."""
        self.files += other.files
        add_counts(self.unreadable, other.unreadable)
        return self


class SumCollected(Sum):
    """Adds up what shards gave."""

    empty = Collected


def collect(job: Job, step: ScoreStep, engine: Engine) -> None:
    """Makes the artefact of a step's scorer: its `collected` of the `lines` of all rows of its pools.

    Raises:
        PlanError: for a pool whose texts are none.
        ShardChanged: if a file changes meanwhile.
    """
    pools = located_pools(job, step)
    for name, pool in pools.items():
        step.scorer.check_pool(f"pool {name!r}", pool.types[role_of(step.scorer)])  # type: ignore[attr-defined]
    shards = [(name, shard) for name, pool in pools.items() for shard in pool.files.listing().shards]

    def build(made: beam.Pipeline) -> None:
        todo = made | "Shards" >> beam.Create(shards, reshuffle=False) | "Spread" >> beam.Reshuffle()
        found = todo | "Lines" >> beam.Map(collect_shard, job=job, step=step.name, pools=pools)
        total = found | "Sum" >> beam.CombineGlobally(SumCollected())
        total | "Artefact" >> beam.Map(_write, job=job, step=step.name)

    engine.run(build, processes=step.scorer.resources.holds_gil)


@progress.for_run
def collect_shard(item: tuple[str, Shard], job: Job, *, step: str, pools: Mapping[str, Located]) -> Collected:
    """Writes the lines of one shard of a pool of the scorer's, if it has any.

    Raises:
        ShardChanged: if the file is not the one that was listed, before it is read or after.
    """
    (name, shard), scorer, lines = item, scorer_of(job, step), list[pa.Table]()
    files, types = pools[name]
    made = Collected([], {name: 0})
    files.check_unchanged(shard)
    for batch in files.pool_batches(shard, (role_of(scorer),), types):
        progress.check()
        bad = unreadable(batch, role_of(scorer))
        good = [i for i in range(batch.num_rows) if i not in bad]
        made.unreadable[name] += len(bad)
        lines.append(scorer.lines(batch.roles.take(pa.array(good, pa.int64())), shard.path, batch.rows[good]))
    files.check_unchanged(shard)
    if any(len(some) for some in lines):
        made.files.append(lines_url(job.out, job.run_id, digest([step, name, shard.name])))
        write_table(made.files[-1], pa.concat_tables(lines))
    return made


def _write(total: Collected, job: Job, step: str) -> None:
    scorer = scorer_of(job, step)
    for name, rows in total.unreadable.items():
        if rows:
            _log.warning("%s: %d rows of the pool %r can't be read and are left out", step, rows, name)
    write_table(scorer.artefact, scorer.collected(map(read_table, sorted(total.files))))
