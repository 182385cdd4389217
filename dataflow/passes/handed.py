"""Items of a pool as a pipeline begins with them: they stand in the job, or in files of OUT that it names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam

from poolsieve.dataflow.passes.items import LISTED, Item, Listed, items_in, items_of, listed_of
from poolsieve.dataflow.pools.packed import Shards
from poolsieve.dataflow.store.job import Job

Given = Sequence[Item] | Sequence[Listed]
"""Items in the pool's order, or the files that list them."""

Inside = Callable[[Sequence[int], Job], Iterable[Any]]
"""What stands in a file of the list."""


def given_of(job: Job, shards: Shards, least: int = LISTED) -> Given:
    """The items of a pool; from `least` shards on files that list them, which are written here."""
    return items_of(job, shards) if len(shards) < least else listed_of(job, shards)


def items(pipeline: beam.Pipeline, given: Given, job: Job, name: str, spread: str) -> Any:
    """All items, spread over the workers by steps of these names."""
    return _begun(pipeline, given, given, _items, job, name, spread)


def numbered(pipeline: beam.Pipeline, given: Given, job: Job, name: str, spread: str) -> Any:
    """The same, each with its number in the pool's order."""
    return _begun(pipeline, given, list(enumerate(given)), items_in, job, name, spread)


def _begun(
    pipeline: beam.Pipeline, given: Given, plain: Sequence[Any], inside: Inside, job: Job, name: str, spread: str
) -> Any:
    in_files = bool(given) and isinstance(given[0], Listed)
    # Beam's coders write tuples without pickling, but not their subclasses.
    made = pipeline | name >> beam.Create([tuple(one) for one in given] if in_files else plain, reshuffle=False)
    if in_files:
        made = made | f"{name}/Items" >> beam.FlatMap(inside, job=job)
    return made | spread >> beam.Reshuffle()


def _items(file: Sequence[int], job: Job) -> Iterator[Item]:
    return (item for _, item in items_in(file, job))
