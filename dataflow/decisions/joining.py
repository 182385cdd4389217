"""Joined derived values: what rows at home send, what comes together at a place, and the lines that are left of it.

A home is a work item, known by its number in the pool's order. A place of a round takes its blocks sorted, so that they
may come in any order; `in_turn` holds all rounds in one process, one after the other, as any runner would.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import cast

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import progress
from poolsieve.dataflow.decisions.tables import step_at
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.walk import Cuts, walk
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.leaves import Leaf, write_leaf
from poolsieve.dataflow.store.neighbours import open_neighbours
from poolsieve.dataflow.store.stored import open_stored
from poolsieve.scoring_models.base.derived import HOME_BITS, PATH, Block, Extent, Home, Joined, Round
from poolsieve.scoring_models.base.errors import PoolsieveError

Sent = tuple[str, bytes]
"""Round that sent, and its block."""

MOST_ROWS = 1 << HOME_BITS
"""Of a home."""


def rows_of(shards: Sequence[Shard], job: Job, *, at: int) -> int:
    """Rows of some shards that are read. Raises `NotScored` if one of them is not."""
    return sum(len(open_stored(job, shard, step_at(job, at).label).rows) for shard in shards)


def home_of(number: int, shards: Sequence[Shard], job: Job, cuts: Cuts, *, at: int) -> Home:
    """The rows of a home that are alive at step `at`.

    Raises:
        NotScored: if rows need scores that are not stored.
        PoolsieveError: if there are more of them than have keys.
    """
    progress.check()
    step = step_at(job, at)
    source = open_neighbours(job, shards, step.label)
    if len(source.rows) > MOST_ROWS:
        raise PoolsieveError(
            f"{shards[0].path} has more than {MOST_ROWS} rows in one shard, too many for {step.label}: split its file"
        )
    state = walk(job.program, source, cuts, at)
    source.require_scored(state.unknown)
    alive = np.flatnonzero(state.alive)
    index = pa.array(alive, pa.int64())
    files = np.repeat(np.arange(len(shards)), source.lengths)[alive]
    path = pa.array([shard.path for shard in shards], pa.string()).take(pa.array(files, pa.int64()))
    keys = np.uint64(number << HOME_BITS) + alive.astype(np.uint64)
    scores = {name: state.scores[name].take(index) for name in step.derived.reads}
    return Home(number, keys, path, source.rows[alive], scores)


def begun(home: Home, derived: Joined, extent: Extent) -> Iterator[Block]:
    """What a home sends before the first round."""
    return derived.begin(home, extent)


def met(
    held: Round, sent: Iterable[Sent], home: Callable[[], Home] | None, derived: Joined, extent: Extent
) -> Iterator[Block]:
    """What is sent on from one place of a round; `home` gives its rows where it is held at home."""
    heard: Mapping[str, list[bytes]] = defaultdict(list)
    for sender, data in sent:
        heard[sender].append(data)
    for blocks in heard.values():
        blocks.sort()
    if heard:
        yield from derived.join(held.name, dict(heard), home() if held.at_home and home is not None else None, extent)


def lines_in(blocks: Iterable[bytes]) -> pa.Table:
    """The lines that were sent to a home; there is at least one block."""
    whole = pa.concat_tables([pa.ipc.open_stream(data).read_all() for data in sorted(blocks)])
    at = whole.column_names.index(PATH)
    return whole.set_column(at, PATH, whole.column(PATH).cast(pa.string()))


def leaf_of(blocks: Iterable[bytes], job: Job, *, at: int) -> Leaf:
    """The file of the lines that were sent to a home. Raises as `write_leaf`."""
    return write_leaf(job.derived_in, step_at(job, at).label, lines_in(blocks))


def in_turn(derived: Joined, homes: Mapping[int, Home], extent: Extent) -> dict[str, dict[int, list[Sent]]]:
    """All that is sent, held in one process: round -> place -> blocks and who sent them; lines are under `LINES`."""
    sent: dict[str, dict[int, list[Sent]]] = defaultdict(lambda: defaultdict(list))

    def send(sender: str, blocks: Iterable[Block]) -> None:
        for to, place, data in blocks:
            sent[to][place].append((sender, data))

    for home in homes.values():
        send("", begun(home, derived, extent))
    for held in derived.rounds(extent.size):
        for place, found in sent[held.name].items():
            send(held.name, met(held, found, functools.partial(homes.__getitem__, place), derived, extent))
    return sent


def joined_at(job: Job, at: int) -> Joined:
    """The derived value at step `at`."""
    return cast("Joined", step_at(job, at).derived)
