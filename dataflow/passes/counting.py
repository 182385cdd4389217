"""Artefacts that are sums over pools of their own, made by a job before the first pass.

    Create(shards of all pools) | Reshuffle | tally of the shard | sums -> artefact

Only counts pass between its steps, whole numbers that come to the same in any order.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa

from poolsieve.dataflow import progress
from poolsieve.dataflow.decisions.record import add_counts
from poolsieve.dataflow.passes.combiners import Sum
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.hub_commits import Pins
from poolsieve.dataflow.pools.shards import Batch, Shard
from poolsieve.dataflow.recipes.program import ScoreStep
from poolsieve.dataflow.recipes.recipe import Pool
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.store.artefacts import TEXT, own_pools
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.tables import write_table

Ints = np.ndarray[Any, np.dtype[np.int64]]

_log = logging.getLogger(__name__)


class Located(NamedTuple):
    """A pool's files, and the types of its roles."""

    files: PoolFiles
    types: Mapping[str, pa.DataType]


@dataclass
class Tallies:
    """Name of a pool -> sum over some of its rows, and how many rows could not be read."""

    sums: dict[str, Ints] = field(default_factory=dict)
    unreadable: dict[str, int] = field(default_factory=dict)

    def add(self, other: Tallies) -> Tallies:
        """Adds up."""
        for name, found in other.sums.items():
            self.sums[name] = self.sums[name] + found if name in self.sums else found
        add_counts(self.unreadable, other.unreadable)
        return self


class SumTallies(Sum):
    """Adds up tallies over shards."""

    empty = Tallies


def count(job: Job, step: ScoreStep, engine: Engine) -> None:
    """Makes the artefact of a step's scorer: the sums of its `tally` over each of its pools.

    Raises:
        PoolsieveError: if a shard can't be read, or nothing can be made of the sums.
    """
    pools = located_pools(job, step)
    shards = [(name, shard) for name, pool in pools.items() for shard in pool.files.listing().shards]

    def build(made: beam.Pipeline) -> None:
        todo = made | "Shards" >> beam.Create(shards, reshuffle=False) | "Spread" >> beam.Reshuffle()
        found = todo | "Tally" >> beam.Map(tally_shard, job=job, step=step.name, pools=pools)
        total = found | "Sum" >> beam.CombineGlobally(SumTallies())
        total | "Artefact" >> beam.Map(_write, job=job, step=step.name)

    engine.run(build, processes=step.scorer.resources.holds_gil)


def located_pools(job: Job, step: ScoreStep) -> dict[str, Located]:
    """The pools that a step's scorer is made from."""
    return {name: _located(pool) for name, pool in own_pools(step.scorer, Pins.of(job.pins)).items()}


def _located(pool: Pool) -> Located:
    files = pool.located()
    return Located(files, files.role_types(files.listing().shards))


@progress.for_run
def tally_shard(item: tuple[str, Shard], job: Job, *, step: str, pools: Mapping[str, Located]) -> Tallies:
    """The sum over one shard of a pool of the scorer's.

    Raises:
        ShardChanged: if the file is not the one that was listed, before it is read or after.
    """
    (name, shard), scorer = item, scorer_of(job, step)
    files, types = pools[name]
    made = Tallies({}, {name: 0})
    files.check_unchanged(shard)
    for batch in files.pool_batches(shard, (TEXT,), types):
        progress.check()
        made.add(Tallies({name: scorer.tally(batch.roles)}, {name: len(unreadable(batch, TEXT))}))
    files.check_unchanged(shard)
    return made


def unreadable(batch: Batch, role: str) -> set[int]:
    """Rows of a batch whose value of a role can't be read."""
    return batch.read_errors.keys() | batch.role_errors.get(role, {}).keys()


def scorer_of(job: Job, step: str) -> Any:
    """The scorer of a step."""
    return next(one.scorer for one in job.program.scorers if one.name == step)


def _write(total: Tallies, job: Job, step: str) -> None:
    scorer = scorer_of(job, step)
    for name, rows in total.unreadable.items():
        if rows:
            _log.warning("%s: %d rows of the pool %r can't be read and are left out of its counts", step, rows, name)
    write_table(scorer.artefact, scorer.counted(total.sums))
