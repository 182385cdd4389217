"""Work items: neighbouring shards that are worked on one after the other, so that small ones are not handed on singly.

An item is what the pipeline's steps take and give: plain tuples, which Beam's coders write without pickling. Of a pool
of very many shards it only says where in a file of OUT its shards are listed, so that the job itself stays small.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Any, cast

import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.program import Program
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import items_url
from poolsieve.dataflow.store.shard_lines import SHARDS_SCHEMA
from poolsieve.scoring_models.base.scorer import in_pieces

MOST_SHARDS, MOST_BYTES = 64, 4 << 20
"""In an item: what is done twice when a worker dies in it."""

LEAST_ITEMS = 64
"""That a pool is cut into if it has as many shards: enough for any machine's cores."""

LISTED = 100_000
"""Shards from which on their list travels in files of OUT. In the job each takes some 31 bytes (benchmarks/shards.py
measured it before there were items), and a job service takes a few megabytes."""

IN_FILE = 256
"""Items of a file of the list: about a megabyte, which a worker keeps while it works on these items."""

Item = tuple[Any, ...]
"""Shards, each as (path, first, extent, start, size, tag); or two numbers, those of a file and a part in it."""

_SHARD = pa.schema([SHARDS_SCHEMA.field(one.name) for one in dataclasses.fields(Shard)])


def items_of(job: Job, shards: Sequence[Shard], listed: int = LISTED) -> list[Item]:
    """The shards in their order, small ones together; from `listed` on their list is written to files of the run.

    Where a model is fed, or answers are paid for, each is by itself: a model takes rows of several shards at a time,
    and what has come is stored shard by shard.
    """
    runs = _runs(shards, _most(job.program, len(shards)))
    if len(shards) < listed:
        return [tuple(map(_plain, run)) for run in runs]
    files = iter(lambda: list(islice(runs, IN_FILE)), [])
    return [item for number, some in zip(count(), files, strict=False) for item in _written(job, number, some)]


def _most(program: Program, shards: int) -> int:
    alone = program.feeds_model or any(in_pieces(step.scorer) for step in program.scorers)
    return 1 if alone else max(1, min(MOST_SHARDS, shards // LEAST_ITEMS))


def shards_in_item(program: Program, shards: int, nbytes: float) -> int:
    """About how many shards an item has, where a pool has so many, of so many bytes each."""
    return max(1, min(_most(program, shards), int(MOST_BYTES // max(nbytes, 1))))


def _runs(shards: Sequence[Shard], most: int) -> Iterator[list[Shard]]:
    run: list[Shard] = []
    nbytes = 0
    for shard in shards:
        if run and (len(run) == most or nbytes + shard.size > MOST_BYTES):
            yield run
            run, nbytes = [], 0
        run.append(shard)
        nbytes += shard.size
    if run:
        yield run


def _plain(shard: Shard) -> tuple[Any, ...]:
    return shard.path, shard.first, shard.extent, shard.start, shard.size, shard.tag


def _written(job: Job, number: int, runs: Sequence[Sequence[Shard]]) -> list[Item]:
    """Writes a file of the list, one batch for each item."""
    with (
        fs.atomic_write(items_url(job.out, job.run_id, number)) as file,
        pa.ipc.new_file(cast(Any, file), _SHARD) as made,
    ):
        for run in runs:
            made.write_batch(pa.RecordBatch.from_pylist([shard.to_dict() for shard in run], schema=_SHARD))
    return [(number, place) for place in range(len(runs))]


def shards_of(item: Item, job: Job) -> list[Shard]:
    """The shards of an item."""
    if item and isinstance(item[0], int):
        number, place = item
        with pa.ipc.open_file(_listed(items_url(job.out, job.run_id, number))) as file:
            return [Shard(**line) for line in file.get_batch(place).to_pylist()]
    return [
        Shard(path=path, first=first, extent=extent, start=start, size=size, tag=tag)
        for path, first, extent, start, size, tag in item
    ]


@functools.lru_cache(maxsize=4)
def _listed(url: str) -> pa.Buffer:
    return pa.py_buffer(fs.read_bytes(url))
