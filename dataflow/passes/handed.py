"""Items of a pool as a pipeline begins with them: they stand in the job, or in files of OUT that it names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam

from poolsieve.dataflow.passes.items import LISTED, Item, Listed, items_in, items_of, listed_of
from poolsieve.dataflow.pools.packed import Shards
from poolsieve.dataflow.store.job import Job

Given = Sequence[Item] | Sequence[Listed]
"""Items in the pool's order, or the files that list them."""


def given_of(job: Job, shards: Shards, least: int = LISTED) -> Given:
    """The items of a pool; from `least` shards on files that list them, which are written here."""
    return items_of(job, shards) if len(shards) < least else listed_of(job, shards)


def items(pipeline: beam.Pipeline, given: Given, job: Job, name: str, spread: str) -> Any:
    """All items, spread over the workers by steps of these names."""
    made = pipeline | name >> beam.Create(_plain(given), reshuffle=False)
    if _in_files(given):
        made = made | f"{name}/Items" >> beam.FlatMap(_items, job=job)
    return made | spread >> beam.Reshuffle()


def numbered(pipeline: beam.Pipeline, given: Given, job: Job, name: str, spread: str) -> Any:
    """The same, each with its number in the pool's order."""
    if _in_files(given):
        made = pipeline | name >> beam.Create(_plain(given), reshuffle=False)
        made = made | f"{name}/Items" >> beam.FlatMap(items_in, job=job)
    else:
        made = pipeline | name >> beam.Create(list(enumerate(given)), reshuffle=False)
    return made | spread >> beam.Reshuffle()


def _in_files(given: Given) -> bool:
    return isinstance(given[0], Listed) if given else False


def _plain(given: Given) -> list[tuple[Any, ...]]:
    """Beam's coders write tuples without pickling, but not their subclasses."""
    return list(map(tuple, given))


def _items(file: Sequence[int], job: Job) -> Iterator[Item]:
    return (item for _, item in items_in(file, job))
