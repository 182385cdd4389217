"""What of a job grows with its shards: measured on shards that are scored, and on copies of their records."""

from __future__ import annotations

import hashlib
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import msgspec

from poolsieve.dataflow.decisions.joining import home_of, in_turn, joined_at, rows_of
from poolsieve.dataflow.decisions.selection import Searches, add_counts, advance, levels
from poolsieve.dataflow.decisions.tables import parts_of, step_at
from poolsieve.dataflow.passes.items import IN_FILE, MOST_SHARDS, Item, items_of, shards_of
from poolsieve.dataflow.passes.steps import Counted, count_item, decide_item, tally_item
from poolsieve.dataflow.pools.packed import Shards, check_names
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.program import DeriveStep, RuleStep
from poolsieve.dataflow.recipes.schedule import Schedule
from poolsieve.dataflow.recipes.walk import Cuts
from poolsieve.dataflow.runners.base import import_beam
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import score_prefix
from poolsieve.dataflow.store.scores import FolderListing
from poolsieve.dataflow.store.shard_lines import ShardLine, lines_in, packed
from poolsieve.dataflow.store.summary import Summary
from poolsieve.filters.dsl.top import Ranked
from poolsieve.scoring_models.base.derived import Extent, Gathered, is_gathered, is_joined
from poolsieve.scoring_models.base.groups import in_groups

if TYPE_CHECKING:
    import apache_beam as beam

COPIES = 2000
"""Records of shards that are made to see how much memory they take: enough that what Python keeps for itself is none
of it."""


@dataclass
class Growth:
    """What a shard adds.

    Attributes:
        shuffled: bytes that its steps hand on to others, each shard by itself: groups of shards hand on less.
        decide_seconds: of the processor, for deciding a row.
        request: bytes of the job as it is submitted, with one item.
        item, listed: bytes that another shard adds there, and a file in which shards are listed.
        per_file: bytes there for each file, where trainers number the rows of all files.
        driver: bytes of memory in the submitting process: the listing, and a line of the decision.
        worker: bytes of memory in a worker: the names of its score files, one scorer in one phase.
        gathered: for each row, bytes of memory in the worker that sees all of them for a derived value; 0 for none.
    """

    shuffled: float = 0.0
    decide_seconds: float = 0.0
    request: int = 0
    item: float = 0.0
    listed: float = 0.0
    per_file: float = 0.0
    driver: float = 0.0
    worker: float = 0.0
    gathered: float = 0.0


def growth_of(job: Job, shards: Sequence[Shard], found: Summary, in_memory: bool = True) -> Growth:
    """Measured on a few shards of a run that is there; nothing is written to its folder.

    Args:
        job: whose OUT has the rows of these shards, and every score that they need.
        shards: a few.
        found: the summary of the decision that the run came to.
        in_memory: see `joining.by_rounds`.
    """
    import_beam()
    made = Growth()
    items = [item for shard in shards for item in items_of(job, [shard])]
    lines = _decided(made, job, items, found)
    made.gathered = max((_gathered(job, shards, found.cuts, at) for at in _seen_whole(job, in_memory)), default=0.0)
    many = [_like(shard, i) for i in range(-(-COPIES // len(shards))) for shard in shards]
    made.item = _in_request([item for shard in many for item in items_of(job, [shard])])
    made.listed = _in_request([(i, i * IN_FILE, MOST_SHARDS) for i in range(COPIES)])
    made.request = _request(job, shards[:1])
    if job.files.firsts:
        bare = replace(job, files=replace(job.files, firsts={}))
        made.per_file = (_request(job, shards[:1]) - _request(bare, shards[:1])) / len(job.files.firsts)
    made.driver = _peak(lambda: _driver(many, lines[0])) / len(many)
    made.worker = _names(many) / len(many)
    return made


def _like(shard: Shard, i: int) -> Shard:
    """Another shard, with a path and a tag as long as this one's."""
    hashed = hashlib.blake2b(f"{shard.path} {i}".encode(), digest_size=32).hexdigest()
    path = f"{shard.path[:-8]}{hashed[:8]}" if len(shard.path) > 8 else f"{hashed[:8]}{shard.path}"
    return replace(shard, path=path, tag=str(int(hashed, 16))[: len(shard.tag)])


def _decided(made: Growth, job: Job, items: Sequence[Item], found: Summary) -> list[ShardLine]:
    """Does what comes after scoring once more, and notes what goes through a shuffle and how long deciding takes."""
    cuts, schedule = found.cuts, Schedule.of(job.program, job.frozen)
    sent = _size(items)
    for i, stop in enumerate(schedule.stops):
        if schedule.reads(i):
            sent += _size([(item, found.work, Counted()) for item in items])
        if stop is not None:
            sent += _searched(job, items, cuts, stop)
    begun = time.process_time()
    records = [decide_item(item, job, cuts, None, label="Growth", write=False) for item in items]
    made.decide_seconds = (time.process_time() - begun) / max(sum(record.rows for record in records), 1)
    made.shuffled = (sent + _size(records)) / len(items)
    return [line for record in records for line in lines_in(record.shards)]


def _searched(job: Job, items: Sequence[Item], cuts: Cuts, stop: int) -> int:
    """Bytes that all levels of the cuts at `stop` hand on, or the sums of a derived value, or the rounds of one."""
    step = job.program.steps[stop]
    if isinstance(step, RuleStep):
        return sum(_levels(job, items, cuts, stop, top) for top in step.tops if top.cut not in job.frozen)
    if isinstance(step, DeriveStep) and is_joined(step.derived):
        return _met(job, items, cuts, stop)
    if isinstance(step, DeriveStep) and is_gathered(step.derived):
        return _size(items)
    return _size([tally_item(item, job, cuts, at=stop) for item in items])


def _seen_whole(job: Job, in_memory: bool) -> list[int]:
    """Steps whose derived values one worker finds that sees all rows, however many."""
    steps = [(at, step.derived) for at, step in enumerate(job.program.steps) if isinstance(step, DeriveStep)]
    return [at for at, derived in steps if is_gathered(derived) and (in_memory or not is_joined(derived))]


def _gathered(job: Job, shards: Sequence[Shard], cuts: Cuts, at: int) -> float:
    """Bytes of memory for a row of the pool, alive or not: what is read of it, and what Python holds beside."""
    parts = [part for _, part in parts_of([[shard] for shard in shards], job, cuts, at)]
    read = sum(values.nbytes for part in parts for values in part.scores.values())
    derived = cast("Gathered", step_at(job, at).derived)
    return (read + _peak(lambda: derived.gather(iter(parts)))) / max(rows_of(shards, job, at=at), 1)


def _met(job: Job, items: Sequence[Item], cuts: Cuts, stop: int) -> int:
    """Bytes that the rounds of the joined value at `stop` hand on, where a large pool has them held."""
    homes = {i: home_of(i, shards_of(item, job), job, cuts, at=stop) for i, item in enumerate(items)}
    extent = Extent(
        sum(len(home.row) for home in homes.values()), sum(s.size for item in items for s in shards_of(item, job))
    )
    sent = in_turn(joined_at(job, stop), homes, extent)
    blocks = ((to, place, *one) for to, places in sent.items() for place, some in places.items() for one in some)
    return _size(list(enumerate(items))) + _size(list(blocks))


def _levels(job: Job, items: Sequence[Item], cuts: Cuts, stop: int, top: Ranked) -> int:
    kind, sent = job.program.types[top.name], 0
    searches: Searches | None = None
    for _ in range(levels(kind)):
        counts = [count_item(item, job, cuts, searches, at=stop, top=top, left_by="") for item in items]
        sent += _size(counts)
        total = Counted()
        for one in counts:
            add_counts(total, one)
        searches = advance(total, searches, top=top, kind=kind, cuts=cuts)
    return sent


def _size(values: Sequence[Any]) -> int:
    """Bytes of some values as Beam's coder writes them."""
    from apache_beam.coders import FastPrimitivesCoder

    coder = FastPrimitivesCoder()
    return sum(len(coder.encode(value)) for value in values)


def _in_request(items: Sequence[Item]) -> float:
    """Bytes that an item adds to a request, where it stands among many: Beam packs them."""
    import apache_beam as beam

    sizes = []
    for some in (items, items[: len(items) // 2]):
        made = _empty()
        _ = made | "Shards" >> beam.Create(some, reshuffle=False)
        sizes.append(_sent(made))
    return (sizes[0] - sizes[1]) / (len(items) - len(items) // 2)


def _request(job: Job, shards: Sequence[Shard]) -> int:
    """Bytes of the job as it is submitted."""
    from poolsieve.dataflow.passes import pipeline

    made = _empty()
    pipeline.build(made, job, Shards.of(shards))
    return _sent(made)


def _empty() -> beam.Pipeline:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import PipelineRunner

    return beam.Pipeline(runner=PipelineRunner(), options=PipelineOptions([]))


def _sent(made: beam.Pipeline) -> int:
    return len(made.to_runner_api().SerializeToString())


def _peak(make: Callable[[], object]) -> int:
    """The most bytes of memory that Python holds for what a function makes, while it makes it."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        made = make()
        peak = tracemalloc.get_traced_memory()[1]
        del made
        return peak - before
    finally:
        tracemalloc.stop()


def _driver(shards: Sequence[Shard], line: ShardLine) -> object:
    """What the submitting process and the last step hold of each shard, in the order in which they do."""
    listing = Shards.of(iter(shards)).in_order()
    check_names(listing)
    lines = (msgspec.structs.replace(line, **shard.to_dict(), name=shard.name) for shard in listing)
    blocks = [packed(some) for some in in_groups(lines, MOST_SHARDS)]
    return listing, blocks


def _names(shards: Sequence[Shard]) -> int:
    """Bytes that a worker keeps of the names of the score files of one scorer."""
    return FolderListing("", (f"{score_prefix(shard)}-{i:016x}.parquet" for i, shard in enumerate(shards))).nbytes
