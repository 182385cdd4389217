"""What is done to the shards of a work item, one after the other; what came of them is added up.

Each function does to an item what another module does to a shard, and is one step of the pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from poolsieve.dataflow import fs, progress
from poolsieve.dataflow.decisions import decide, tables
from poolsieve.dataflow.decisions.record import Record
from poolsieve.dataflow.decisions.selection import (
    DigitCounts,
    Searches,
    asked,
    count_state,
    count_stored,
)
from poolsieve.dataflow.decisions.tables import Counts, add_sums
from poolsieve.dataflow.passes.grouped import Source, score_shards
from poolsieve.dataflow.passes.items import Item, shards_of
from poolsieve.dataflow.passes.scoring import score_shard
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.walk import Cuts, walk
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.neighbours import Neighbours, leave, open_neighbours
from poolsieve.dataflow.store.stored import open_stored, unscored
from poolsieve.dataflow.store.summary import Work
from poolsieve.filters.dsl.top import Ranked

Counted = dict[str, DigitCounts]
"""Group -> counts of the shards of an item."""


@progress.for_run
def score_item(
    item: Item, job: Job, cuts: Cuts, *, stop: int | None, label: str, top: Ranked | None
) -> tuple[Item, Work, Counted]:
    """Scores the shards, and counts the first digit of the cut that is searched at `stop`, if one is.

    Counting at once what was just scored saves reading it again; so does leaving it for the steps that follow, where
    the item has several shards. Raises as `score_shard`.
    """
    shards = shards_of(item, job)
    total, found = _scored(shards, job, cuts, stop, label)
    if job.part or (top is None and len(shards) == 1):
        return item, total, Counted()
    # Files of those that are not at hand have got their names by now, and this pass's listing has them.
    whole = Neighbours.of(job, [open_stored(job, one, label) if isinstance(one, Shard) else one for one in found])
    counts = Counted()
    if top is not None and stop is not None:
        counts = count_stored(whole, job, cuts, None, at=stop, top=top)
        progress.add(top.cut, len(whole.rows))
    leave(whole, label)
    return item, total, counts


def _scored(
    shards: Sequence[Shard], job: Job, cuts: Cuts, stop: int | None, label: str
) -> tuple[Work, list[Source | Shard]]:
    """What `score_shards` gives."""
    if len(shards) > 1:
        with fs.together():
            return score_shards(shards, job, cuts, stop=stop, label=label)
    # What a scorer commits piece by piece must not wait; then a shard is by itself.
    work, source = score_shard(shards[0], job, cuts, stop=stop, label=label)
    return work, [source or shards[0]]


@progress.for_run
def unscored_item(
    item: Item, job: Job, cuts: Cuts, *, stop: int | None, label: str, top: Ranked | None
) -> tuple[int, Counted]:
    """Rows that need a score (before step `stop`) which is not stored, and what `score_item` counts besides."""
    progress.check()
    source = open_neighbours(job, shards_of(item, job), label)
    state = walk(job.program, source, cuts, stop)
    missing = unscored(state)
    if missing:
        return missing, Counted()
    leave(source, label)
    if top is None:
        return 0, Counted()
    progress.add(top.cut, len(source.rows))
    return 0, count_state(state, job, None, top)


@progress.for_run
def count_item(
    item: Item, job: Job, cuts: Cuts, searches: Searches | None, *, at: int, top: Ranked, left_by: str
) -> Counted:
    """The counts of the shards, for the next level of a search. Raises as `count_stored`.

    `left_by` is the pass that scored last.
    """
    if searches is not None and all(search.cut for search in searches.values()):
        return Counted()
    shards = shards_of(item, job)
    progress.check()
    if not asked(shards, job, searches, top):
        return Counted()
    source = open_neighbours(job, shards, top.cut, left_by)
    counts = count_stored(source, job, cuts, searches, at=at, top=top)
    progress.add(top.cut, len(source.rows))
    return counts


@progress.for_run
def tally_item(item: Item, job: Job, cuts: Cuts, *, at: int) -> Counts:
    """The sums over the shards for a derived value. Raises as `tables.tally_shard`."""
    sums = Counts()
    for shard in shards_of(item, job):
        add_sums(sums, tables.tally_shard(shard, job, cuts, at=at))
    return sums


@progress.for_run
def gathered_of_items(_: Any, items: Sequence[Item], job: Job, cuts: Cuts, *, at: int) -> Mapping[str, Any]:
    """What `tables.with_gathered` gives of the shards of all items."""
    return tables.with_gathered([shards_of(item, job) for item in items], job, cuts, at=at)


@progress.for_run
def hash_item(item: Item, job: Job, cuts: Cuts, *, label: str) -> int:
    """The sum of the shards' `ledger_hash`."""
    return sum(decide.ledger_hash(shard, job, cuts, label=label) for shard in shards_of(item, job))


@progress.for_run
def decide_item(
    item: Item, job: Job, cuts: Cuts, content: int | None, *, label: str, write: bool, left_by: str = ""
) -> Record:
    """Decides the shards. Raises as `decide_shards`."""
    return decide.decide_shards(shards_of(item, job), job, cuts, content, label=label, write=write, left_by=left_by)
