"""How much is under way at a time: batches of a shard, and shards, so that a model has rows over the end of either."""

from __future__ import annotations

import contextvars
import statistics
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from poolsieve.dataflow import progress
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.program import Program
from poolsieve.scoring_models.feeding.feed import Check

T = TypeVar("T")
R = TypeVar("R")

LOOK_AHEAD, MOST_AHEAD = 2, 8
"""Batches of a shard that are walked at a time where a model scores: more than the first while they have few rows."""

FEW_ROWS = 2048
"""Rows of a shard under way from which on no third batch is begun: a thread walks each, and a model waits for none."""

LEAST_SHARDS, MOST_SHARDS = 2, 16
"""Shards under way at a time where a model scores. Each is a thread that waits, and rows in memory."""

ENOUGH_BYTES = 32 * 2**20
"""Of shards under way: some 300 images, so that batches get full where a shard has three rows."""

SHARE_BYTES = 4 * 2**20
"""Of the pool for each of them at least: Beam takes a quarter of a second of a core to start a worker, in which a model
scores tens of images."""


def shards_in_flight(program: Program, shards: Sequence[Shard]) -> int:
    """How many shards to work on at a time on this machine, if nobody says: one, unless a model waits for rows."""
    if not program.feeds_model or not shards:
        return 1
    sizes = [shard.size for shard in shards]
    wanted = min(ENOUGH_BYTES // max(statistics.median(sizes), 1), sum(sizes) // SHARE_BYTES, MOST_SHARDS)
    return int(min(max(wanted, LEAST_SHARDS), len(shards)))


def in_flight(
    batches: Iterator[T], work: Callable[[T, Check], R], n: int, rows_of: Callable[[T], int] | None = None
) -> Iterator[R]:
    """`work(batch, check)` of each batch, in order; up to `n` are worked on at a time, in threads if n is above one.

    With `rows_of`, up to `MOST_AHEAD` as long as they have fewer than `FEW_ROWS` rows: big rows come few in a batch.

    Once one has failed, or whoever wanted the results has gone, `check` raises in the others.
    """
    if n == 1:
        yield from (work(batch, progress.check) for batch in batches)
        return
    group = _Group()
    most = n if rows_of is None else max(n, MOST_AHEAD)
    with ThreadPoolExecutor(most, thread_name_prefix="poolsieve-walk") as pool:
        coming: deque[tuple[int, Future[R]]] = deque()
        try:
            for batch in batches:
                rows = FEW_ROWS if rows_of is None else rows_of(batch)
                coming.append((rows, pool.submit(contextvars.copy_context().run, group.guarded, work, batch)))
                del batch  # or it would stay in memory while the next is read
                if len(coming) >= n and (len(coming) == most or sum(rows for rows, _ in coming) >= FEW_ROWS):
                    yield coming.popleft()[1].result()
            while coming:
                yield coming.popleft()[1].result()
        except _Stopped:
            raise group.failures[0] from None
        finally:
            group.stopped.set()
            for _, later in coming:
                later.cancel()


class _Stopped(Exception):
    """Another batch of the shard has failed, or nobody waits for it any more."""


class _Group:
    """Batches of a shard that are worked on at a time: when one fails, the others stop."""

    def __init__(self) -> None:
        self.stopped, self.failures = threading.Event(), list[BaseException]()

    def guarded(self, work: Callable[[T, Check], R], batch: T) -> R:
        """`work` of a batch; its failure is noted."""
        try:
            return work(batch, self.check)
        except _Stopped:
            raise
        except BaseException as error:
            self.failures.append(error)
            self.stopped.set()
            raise

    def check(self) -> None:
        """Raises in the other batches, and when the user asks to stop."""
        progress.check()
        if self.stopped.is_set():
            raise _Stopped
