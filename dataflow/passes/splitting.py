"""Big files are split by workers, in a job before the first pass: whoever plans opens none of them.

    Create(big files) | Reshuffle | split one and keep its pieces in OUT

A file is one worker's. Killed, the next run goes on with the files that have no pieces yet.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from poolsieve.dataflow import progress
from poolsieve.dataflow.passes.items import Item, items_of, shards_of
from poolsieve.dataflow.passes.needs import needs_of
from poolsieve.dataflow.passes.plan import Plan
from poolsieve.dataflow.passes.working import working
from poolsieve.dataflow.pools.packed import Shards, check_names
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.runners.base import import_beam
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.runners.supervise import Watch, supervised
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.shard_lines import pool_id
from poolsieve.dataflow.store.splits import StoredSplits, is_split, split
from poolsieve.scoring_models.base.errors import PoolsieveError

if TYPE_CHECKING:
    import apache_beam as beam

_THREADS = 8


def split_by_workers(plan: Plan, engine: Engine, watch: Watch | None = None) -> Plan:
    """The plan with every big file in pieces: a job finds those that OUT has not.

    Args:
        plan: from `prepare`.
        engine: where the job runs.
        watch: shows the progress.

    Raises:
        ShardChanged: if a file is not the one that was listed.
        PoolsieveError: whatever stopped the job.
    """
    if not plan.unsplit:
        return plan
    import_beam()
    engine.check_needs(needs_of(plan.job))
    job, files = plan.job, list(plan.unsplit)
    # Parts of a run that begin at once each begin elsewhere, and pass over what another one did meanwhile.
    random.Random(job.run_id).shuffle(files)  # noqa: S311

    def build(made: beam.Pipeline) -> None:
        import apache_beam as beam

        todo = made | "BigFiles" >> beam.Create(items_of(job, files), reshuffle=False) | "Spread" >> beam.Reshuffle()
        _ = todo | "Split" >> beam.Map(split_item, job=job)

    with progress.of(job.run_id).here(), working(plan, "poolsieve run, which splits big files"):
        supervised(lambda: engine.run(build), watch)
    return _in_pieces(plan)


def split_here(plan: Plan) -> Plan:
    """The same in this process, where no job can go before the one that is handed over."""
    if not plan.unsplit:
        return plan
    with working(plan, "poolsieve run, which splits big files"), ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(lambda shard: _split(plan.job, shard), plan.unsplit))
    return _in_pieces(plan)


@progress.for_run
def split_item(item: Item, job: Job) -> None:
    """Splits the files of an item that have no pieces yet. Raises as `split`."""
    for shard in shards_of(item, job):
        progress.check()
        _split(job, shard)


def _split(job: Job, shard: Shard) -> None:
    files = job.files.part(shard)
    if not is_split(job.out, files, shard):
        split(job.out, files, shard)


def _in_pieces(plan: Plan) -> Plan:
    job, known = plan.job, StoredSplits(plan.job.out)
    whole = set(plan.unsplit)
    pieces = [piece for shard in plan.unsplit for piece in _pieces(job, known, shard)]
    shards = Shards.of([*(shard for shard in plan.shards if shard not in whole), *pieces]).in_order()
    check_names(shards)
    return replace(plan, job=replace(job, pool_id=pool_id(shards, job.files.marks)), shards=shards, unsplit=())


def _pieces(job: Job, known: StoredSplits, shard: Shard) -> Sequence[Shard]:
    found = known(job.files.part(shard), shard)
    if found is None:
        raise PoolsieveError(f"{job.files.url(shard)} was split, but {job.out}/splits has not its pieces: run again")
    return found
