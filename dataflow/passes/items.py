"""Work items: neighbouring shards that are worked on one after the other, so that small ones are not handed on singly.

An item is what the pipeline's steps take and give: plain tuples, which Beam's coders write without pickling. Of a pool
of very many shards it only says where in a file of OUT its shards are listed; and the job that is submitted only names
these files (`handed`), so that it stays small.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.pools.packed import SHARD_SCHEMA, Shards
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.program import Program
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import items_url
from poolsieve.scoring_models.base.scorer import in_pieces

MOST_SHARDS, MOST_BYTES = 64, 4 << 20
"""In an item: what is done twice when a worker dies in it."""

LEAST_ITEMS = 64
"""That a pool is cut into if it has as many shards: enough for any machine's cores."""

LISTED = 2048
"""Shards from which on their list travels in files of OUT: a job service takes a few megabytes, and the local runner
holds what passes between steps, several times over."""

IN_FILE = 2048
"""Shards of a file of the list: some 200 kB, which a worker keeps while it works on their items."""

Item = tuple[Any, ...]
"""Shards, each as (path, first, extent, start, size, tag); or numbers: a file, the first shard there, how many."""


class Listed(NamedTuple):
    """A file of the list.

    Attributes:
        number: of the file.
        before: items of the files before it.
        most: shards of an item.
    """

    number: int
    before: int
    most: int


def items_of(job: Job, given: Sequence[Shard]) -> list[Item]:
    """The shards in their order, small ones together.

    Where a model is fed, or answers are paid for, each is by itself: a model takes rows of several shards at a time,
    and what has come is stored shard by shard.
    """
    shards = Shards.of(given)
    return [tuple(map(_plain, shards[run])) for run in _runs(shards.sizes, _most(job.program, len(shards)))]


def listed_of(job: Job, shards: Shards) -> list[Listed]:
    """Writes the list of the shards to files of the run, whole items to each."""
    most, made = _most(job.program, len(shards)), list[Listed]()
    first = before = items = end = 0
    for run in _runs(shards.sizes, most):
        if run.stop - first > IN_FILE and run.start > first:
            made.append(_written(job, shards[first : run.start], Listed(len(made), before, most)))
            first, before = run.start, items
        items, end = items + 1, run.stop
    return [*made, _written(job, shards[first:end], Listed(len(made), before, most))]


def items_in(file: Sequence[int], job: Job) -> Iterator[tuple[int, Item]]:
    """The items of a file of the list, each with its number in the pool."""
    number, before, most = file
    sizes = _shards_in(items_url(job.out, job.run_id, number)).sizes
    for i, run in enumerate(_runs(sizes, most), before):
        yield i, (number, run.start, run.stop - run.start)


def _most(program: Program, shards: int) -> int:
    alone = program.feeds_model or any(in_pieces(step.scorer) for step in program.scorers)
    return 1 if alone else max(1, min(MOST_SHARDS, shards // LEAST_ITEMS))


def shards_in_item(program: Program, shards: int, nbytes: float) -> int:
    """About how many shards an item has, where a pool has so many, of so many bytes each."""
    return max(1, min(_most(program, shards), int(MOST_BYTES // max(nbytes, 1))))


def _runs(sizes: Iterable[int], most: int) -> Iterator[slice]:
    """Where the shards of each item are."""
    start = end = nbytes = 0
    for size in map(int, sizes):
        if end > start and (end - start == most or nbytes + size > MOST_BYTES):
            yield slice(start, end)
            start, nbytes = end, 0
        nbytes += size
        end += 1
    if end > start:
        yield slice(start, end)


def _plain(shard: Shard) -> tuple[Any, ...]:
    return shard.path, shard.first, shard.extent, shard.start, shard.size, shard.tag


def _written(job: Job, shards: Shards, file: Listed) -> Listed:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, SHARD_SCHEMA) as made:
        made.write_table(shards.table)
    fs.write_bytes(items_url(job.out, job.run_id, file.number), sink.getvalue().to_pybytes())
    return file


def shards_of(item: Item, job: Job) -> Sequence[Shard]:
    """The shards of an item."""
    if item and isinstance(item[0], int):
        number, first, n = item
        return list(_shards_in(items_url(job.out, job.run_id, number))[first : first + n])
    return [
        Shard(path=path, first=first, extent=extent, start=start, size=size, tag=tag)
        for path, first, extent, start, size, tag in item
    ]


@functools.lru_cache(maxsize=8)
def _shards_in(url: str) -> Shards:
    with pa.ipc.open_file(pa.py_buffer(fs.read_bytes(url))) as file:
        return Shards(file.read_all())
