"""Artefacts that say which hashes come again in a pool, made by a job before the first pass.

    Create(shards) | Reshuffle | hashes of the shard, counted -> packed blocks | GroupByKey | added up -> artefact

A block is the hashes of a shard with one prefix, sorted, with their counts: 16 bytes each. Memory: a worker holds the
distinct hashes of one shard, and then those of all shards with one prefix (`block_bits` keeps them to some 64 MB); the
one that writes the artefact holds what comes twice or more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsList, TaggedOutput

from poolsieve.dataflow import progress
from poolsieve.dataflow.passes.counting import Located, located_pools, scorer_of, unreadable
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.program import ScoreStep
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.store.artefacts import TEXT
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.tables import write_table

RECORD = np.dtype([("hash", "<u8"), ("count", "<i8")])
"""A hash and how often it was seen."""

Records = np.ndarray[Any, Any]

PENDING = 1 << 21
"""Hashes of a shard that are gathered before they are counted together, at least."""

BLOCK_BYTES = 64 << 20
"""Of the records of one prefix, if each byte of the pool made as many bytes of records as lines of 60 characters do."""

_UNREADABLE = "unreadable"
_MOST_BITS = 16

_log = logging.getLogger(__name__)


def count_repeats(job: Job, step: ScoreStep, engine: Engine) -> None:
    """Makes the artefact of a step's scorer: the hashes that come twice or more in its pool, ascending, and how often.

    Raises:
        PoolsieveError: if a shard can't be read.
    """
    pools = located_pools(job, step)
    shards = [(name, shard) for name, pool in pools.items() for shard in pool.files.listing().shards]
    bits = block_bits(sum(shard.size for _, shard in shards))

    def build(made: beam.Pipeline) -> None:
        todo = made | "Shards" >> beam.Create(shards, reshuffle=False) | "Spread" >> beam.Reshuffle()
        how = {"job": job, "step": step.name, "pools": pools, "bits": bits}
        found = todo | "Hashes" >> beam.FlatMap(blocks_of_shard, **how).with_outputs(_UNREADABLE, main="blocks")
        blocks = found["blocks"] | "Meet" >> beam.GroupByKey() | "Repeats" >> beam.Map(_repeats)
        lost = found[_UNREADABLE] | "Lost" >> beam.CombineGlobally(sum)
        seed = made | "Start" >> beam.Create([None])
        seed | "Artefact" >> beam.Map(_write, AsList(blocks), AsList(lost), job=job, step=step.name)

    engine.run(build, processes=step.scorer.resources.holds_gil)


def block_bits(nbytes: int) -> int:
    """Bits of a prefix, for a pool of so many bytes; the artefact does not depend on them.

    >>> [block_bits(nbytes) for nbytes in (0, 10**9, 10**13)]
    [0, 2, 16]
    """
    return min(_MOST_BITS, max(0, (nbytes // 4 // BLOCK_BYTES).bit_length()))


@progress.for_run
def blocks_of_shard(
    item: tuple[str, Shard], job: Job, *, step: str, pools: Mapping[str, Located], bits: int
) -> Iterator[Any]:
    """(prefix, records) of a shard's hashes; and how many rows could not be read, under a tag of their own.

    Raises:
        ShardChanged: if the file is not the one that was listed, before it is read or after.
    """
    (name, shard), scorer = item, scorer_of(job, step)
    files, types = pools[name]
    files.check_unchanged(shard)
    made, lost, pending = np.empty(0, dtype=RECORD), 0, Pending()
    for batch in files.pool_batches(shard, (TEXT,), types):
        progress.check()
        lost += len(unreadable(batch, TEXT))
        for hashes in scorer.hashes(batch.roles):
            pending.add(hashes)
            if pending.count >= max(PENDING, len(made)):  # so that adding up takes no square of the shard's length
                made = added(made, pending.take())
    files.check_unchanged(shard)
    yield from packed(added(made, pending.take()), bits)
    yield TaggedOutput(_UNREADABLE, lost)


class Pending:
    """Hashes that wait to be counted together."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray[Any, Any]] = []
        self.count = 0

    def add(self, hashes: np.ndarray[Any, Any]) -> None:
        """Some more: uint64 (n,)."""
        self.parts.append(hashes)
        self.count += len(hashes)

    def take(self) -> Records:
        """All of them, once each, with their counts; none are left."""
        found, counts = np.unique(np.concatenate([np.empty(0, np.uint64), *self.parts]), return_counts=True)
        self.parts, self.count = [], 0
        made = np.empty(len(found), dtype=RECORD)
        made["hash"], made["count"] = found, counts
        return made


def added(*records: Records) -> Records:
    """`RECORD` (n,): each hash once, ascending, with the sum of its counts."""
    whole = np.concatenate([np.empty(0, dtype=RECORD), *records])
    whole = whole[np.argsort(whole["hash"], kind="stable")]
    if not len(whole):
        return whole
    firsts = np.flatnonzero(np.concatenate([[True], whole["hash"][1:] != whole["hash"][:-1]]))
    made = whole[firsts]
    made["count"] = np.add.reduceat(whole["count"], firsts)
    return made


def packed(records: Records, bits: int) -> Iterator[tuple[int, bytes]]:
    """(first bits of the hash, records with them); `records` are ascending, and each block is too."""
    prefix = records["hash"] >> np.uint64(64 - bits) if bits else np.zeros(len(records), dtype=np.uint64)
    values, firsts = np.unique(prefix, return_index=True)
    for value, part in zip(values.tolist(), np.split(records, firsts[1:]), strict=False):
        yield value, part.tobytes()


def _repeats(item: tuple[int, Iterable[bytes]]) -> tuple[int, bytes]:
    prefix, blocks = item
    whole = added(*(np.frombuffer(block, dtype=RECORD) for block in blocks))
    return prefix, whole[whole["count"] > 1].tobytes()


def _write(_: None, blocks: list[tuple[int, bytes]], lost: list[int], job: Job, step: str) -> None:
    if sum(lost):
        _log.warning("%s: %d rows of the pool can't be read and are left out of its counts", step, sum(lost))
    whole = np.concatenate([np.empty(0, RECORD), *(np.frombuffer(block, RECORD) for _, block in sorted(blocks))])
    write_table(scorer_of(job, step).artefact, pa.table({"hash": whole["hash"], "count": whole["count"]}))
