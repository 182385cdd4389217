"""Makes an artefact of any kind, shard by shard, by a job of its own.

    Create(shards of all pools) | Reshuffle | what a shard sends | meet by place | joined -> part | parts -> list

A worker has what one shard sends before it is cut into blocks, and then the blocks of one place, which
`kinds.place_bits` keeps to some 64 MB; only names of parts come together. What is written depends on the rows of the
pools alone. A job that was killed is begun anew: until its last file, the artefact's own, there is no artefact, and
each part is written again with the same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsList, TaggedOutput

from poolsieve.dataflow import progress
from poolsieve.dataflow.passes.artefacts.kinds import Good, Kind, place_bits
from poolsieve.dataflow.passes.artefacts.registered import kind_of
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.hub_commits import Pins
from poolsieve.dataflow.pools.shards import Batch, Shard
from poolsieve.dataflow.recipes.program import ScoreStep
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.store.artefacts import Part, own_pools, role_of, write_part, write_parts
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.tables import write_table

_UNREADABLE = "unreadable"

_log = logging.getLogger(__name__)


class Located(NamedTuple):
    """A pool's files, and the types of its roles."""

    files: PoolFiles
    types: Mapping[str, pa.DataType]


class Making(NamedTuple):
    """What workers are told: whose artefact, from which pools, in how many places."""

    job: Job
    step: str
    pools: Mapping[str, Located]
    bits: int

    @property
    def scorer(self) -> Any:
        """Whose artefact it is."""
        return next(one.scorer for one in self.job.program.scorers if one.name == self.step)

    @property
    def kind(self) -> Kind:
        """How it is made."""
        scorer = self.scorer
        return kind_of(scorer)(scorer, self.bits)


def make(job: Job, step: ScoreStep, engine: Engine) -> None:
    """Makes the artefact of a step's scorer.

    Raises:
        PlanError: for a pool that the scorer refuses.
        PoolsieveError: if a shard can't be read (`ShardChanged`: if it changes meanwhile), or nothing can be made.
    """
    pools, shards = dict[str, Located](), list[tuple[str, Shard]]()
    for name, pool in own_pools(step.scorer, Pins.of(job.pins)).items():
        files = pool.located()
        listed = files.listing().shards
        pools[name] = Located(files, files.role_types(listed))
        shards += [(name, shard) for shard in listed]
    making = Making(job, step.name, pools, place_bits(sum(shard.size for _, shard in shards)))
    making.kind.check({name: pool.types[role_of(step.scorer)] for name, pool in pools.items()})

    def build(made: beam.Pipeline) -> None:
        todo = made | "Shards" >> beam.Create(shards, reshuffle=False) | "Spread" >> beam.Reshuffle()
        found = todo | "Send" >> beam.FlatMap(_sent, making=making).with_outputs(_UNREADABLE, main="blocks")
        joined = _met(found["blocks"], making) | "Join" >> beam.Map(_joined, making=making)
        seed = made | "Start" >> beam.Create([None])
        seed | "Artefact" >> beam.Map(_closed, AsList(joined), making=making)
        lost = found[_UNREADABLE] | "Lost" >> beam.CombinePerKey(sum)
        lost | "Say" >> beam.Map(_say, step=step.name)

    engine.run(build, processes=step.scorer.resources.holds_gil)


def _met(blocks: Any, making: Making) -> Any:
    """(place, blocks); blocks that can be added up before they meet are."""
    adds = kind_of(making.scorer).adds
    if adds is None:
        return blocks | "Meet" >> beam.GroupByKey()
    return blocks | "Add" >> beam.CombinePerKey(adds) | "Alone" >> beam.MapTuple(_alone)


def _alone(place: int, block: Any) -> tuple[int, list[Any]]:
    return place, [block]


def _sent(item: tuple[str, Shard], making: Making) -> Iterator[Any]:
    """What a shard sends, one after the other: Beam takes each on before the next is made."""
    found, end = _of_shard(item, making), object()
    while (one := _next(found, making.job, end=end)) is not end:
        yield one


@progress.for_run
def _next(found: Iterator[Any], job: Job, *, end: object) -> Any:
    """The next of an iterator, made in the run: a generator of its own would leave it at its first `yield`."""
    return next(found, end)


def _of_shard(item: tuple[str, Shard], making: Making) -> Iterator[Any]:
    """(place, block) of a shard; and (pool, rows that could not be read), under a tag of their own.

    Raises:
        ShardChanged: if the file is not the one that was listed, before it is read or after.
    """
    (name, shard), lost = item, [0]
    files = making.pools[name].files
    files.check_unchanged(shard)
    yield from making.kind.sent(_good(item, making, lost))
    files.check_unchanged(shard)
    yield TaggedOutput(_UNREADABLE, (name, lost[0]))


def _good(item: tuple[str, Shard], making: Making, lost: list[int]) -> Iterator[Good]:
    (name, shard), role = item, role_of(making.scorer)
    files, types = making.pools[name]
    for batch in files.pool_batches(shard, (role,), types):
        progress.check()
        bad = _unreadable(batch, role)
        lost[0] += len(bad)
        good = np.array([i for i in range(batch.num_rows) if i not in bad], dtype=np.int64)
        roles = batch.roles.take(pa.array(good, pa.int64())) if bad else batch.roles
        yield Good(name, shard.path, roles, batch.rows[good])


def _unreadable(batch: Batch, role: str) -> set[int]:
    return batch.read_errors.keys() | batch.role_errors.get(role, {}).keys()


def _joined(item: tuple[int, Iterable[Any]], making: Making) -> Part | pa.Table:
    place, blocks = item
    table = making.kind.joined(blocks)
    return table if kind_of(making.scorer).adds else write_part(making.scorer.artefact, place, table)


def _closed(_: None, found: list[Any], making: Making) -> None:
    """Writes the file that says that the artefact is there."""
    scorer = making.scorer
    if kind_of(scorer).adds is None:
        write_parts(scorer.artefact, making.bits, found)
    else:
        write_table(scorer.artefact, found[0] if found else making.kind.joined([]))


def _say(item: tuple[str, int], step: str) -> None:
    name, rows = item
    if rows:
        _log.warning("%s: %d rows of the pool %r can't be read and are left out", step, rows, name)
