"""What a run in parts lacks before it can go on: looked for shard by shard, and left for whoever asked.

`decide` fails at the first shard without scores, since there a run is at fault. Here it is the usual end of a pass, so
that the whole pool is looked at, and the cuts found so far are kept for the parts that come next.
"""

from __future__ import annotations

import dataclasses

from poolsieve.dataflow import fs, progress
from poolsieve.dataflow.passes.items import Item, shards_of
from poolsieve.dataflow.passes.scoring import unscored_rows
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.walk import Cuts
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.lacking import Lacking, Lacks
from poolsieve.dataflow.store.layout import lacking_url
from poolsieve.dataflow.store.rows import read_rows
from poolsieve.dataflow.store.stored import NotScored, StoredScores
from poolsieve.dataflow.store.summary import Work, dumps


@progress.for_run
def lacks_of_item(item: Item, job: Job, cuts: Cuts, *, stop: int | None, label: str) -> Lacks:
    """What the shards of an item lack of the scores that `score_item` would make; its arguments are the same."""
    total = Lacks()
    for shard in shards_of(item, job):
        total.add(_lacks_of(shard, job, cuts, stop=stop, label=label))
    return total


def _lacks_of(shard: Shard, job: Job, cuts: Cuts, *, stop: int | None, label: str) -> Lacks:
    progress.check()
    rows = read_rows(job.rows_url(shard))
    if rows is None:
        return Lacks(shards=1, unread=1, names=[shard.name])
    missing = unscored_rows(job, StoredScores(job, shard, rows, label), cuts, stop)
    found = int(missing.sum())
    return Lacks(shards=1, rows=found, names=[shard.name]) if found else Lacks()


def require_whole(lacks: Lacks, job: Job, cuts: Cuts) -> Work:
    """Lets a pass end to which no shard lacks anything.

    Raises:
        NotScored: if some do; what, and the cuts so far, stands in `lacking_url` then.
    """
    if lacks.shards:
        made = Lacking(run=job.run_id, cuts=cuts, **dataclasses.asdict(lacks))
        fs.write_bytes(lacking_url(job.out, job.parts), dumps(made.to_json()))
        raise NotScored(f"{lacks.shards:,} shards lack scores; `poolsieve run` with the same recipe makes them")
    return Work()
