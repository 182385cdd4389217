"""How a joined derived value is found in Beam: numbered homes, and a grouping by place for each of its rounds.

What passes from one round to the next are blocks of bytes, to places whose number follows from the pool alone. Where a
pool is small, or all that is shuffled would lie in one process, one worker gathers the same lines with less work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsList, AsSingleton

from poolsieve.dataflow import progress
from poolsieve.dataflow.decisions import joining, tables
from poolsieve.dataflow.decisions.joining import Sent
from poolsieve.dataflow.passes.handed import Given, numbered
from poolsieve.dataflow.passes.items import Item, shards_of
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.program import DeriveStep
from poolsieve.dataflow.recipes.walk import Cuts
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.leaves import Leaf
from poolsieve.scoring_models.base.derived import LINES, Extent, Home, Round, is_joined

Addressed = tuple[str, int, str, bytes]
"""Round, place, sender, block."""


AT_ONCE = 256 << 20
"""Bytes of a pool up to which one worker sees all rows: a few hundred thousand documents, or some millions of captions,
of which duplicates take a kilobyte of memory each."""


def by_rounds(job: Job, step: DeriveStep, shards: Sequence[Shard], in_memory: bool) -> bool:
    """Whether the rounds are held, and not all rows gathered by one worker.

    Args:
        job: what is run.
        step: a derived value.
        shards: the pool's listing.
        in_memory: whether what passes between steps lies in the memory of one process, whoever works on it.
    """
    most = job.options.at_once if job.options.at_once is not None else None if in_memory else AT_ONCE
    return is_joined(step.derived) and most is not None and sum(shard.size for shard in shards) > most


def joined(pipeline: beam.Pipeline, todo: Any, items: Given, job: Job, cuts: Any, at: int, size: int) -> Any:
    """The cuts, with the list of what the rounds of the derived value at step `at` came to.

    Args:
        pipeline: where to.
        todo: the items, once all that the value reads is scored.
        items: the same as they were given to the pipeline.
        job: what travels to workers.
        cuts: those known.
        at: a step.
        size: bytes of the pool.
    """
    step, how = tables.step_at(job, at), {"job": job, "cuts": AsSingleton(cuts), "at": at}
    name, given = step.label, job.options.extent
    rounds = joining.joined_at(job, at).rounds(size if given is None else given.size)
    rows = todo | f"{name}/Rows" >> beam.Map(rows_of_item, job=job, at=at) | f"{name}/All" >> _sum()
    rows |= f"{name}/Extent" >> beam.Map(_extent, size=size, given=given)
    how["extent"] = AsSingleton(rows)  # whose rows nobody knows before all shards are scored
    homes = numbered(pipeline, items, job, f"{name}/Homes", f"{name}/Spread")
    sent = {"": homes | f"{name}/Begin" >> beam.FlatMap(sent_by_item, **how)}
    for held in rounds:
        heard = [sent[one] | f"{name}/{one}To{held.name}" >> beam.FlatMap(_to, to=held.name) for one in held.hears]
        if held.at_home:
            heard.append(homes | f"{name}/Home{held.name}" >> beam.Map(_at_home))
        together = heard | f"{name}/All{held.name}" >> beam.Flatten() | f"{name}/Meet{held.name}" >> beam.GroupByKey()
        sent[held.name] = together | f"{name}/Join{held.name}" >> beam.FlatMap(sent_by_place, held=held, **how)
    return _listed(pipeline, sent[rounds[-1].name], job, cuts, at, name)


def _listed(pipeline: beam.Pipeline, sent: Any, job: Job, cuts: Any, at: int, name: str) -> Any:
    lines = sent | f"{name}/To{LINES}" >> beam.FlatMap(_to, to=LINES) | f"{name}/Meet{LINES}" >> beam.GroupByKey()
    leaves = lines | f"{name}/Write" >> beam.Map(leaf_at_place, job=job, at=at)
    seed = pipeline | f"{name}/Start" >> beam.Create([None])
    how = {"job": job, "cuts": AsSingleton(cuts), "at": at}
    return seed | f"{name}/List" >> beam.Map(list_of_leaves, leaves=AsList(leaves), **how)


def _extent(rows: int, size: int, given: Extent | None) -> Extent:
    return Extent(rows, size) if given is None else given


def _sum() -> Any:
    return beam.CombineGlobally(sum).without_defaults()


def _to(block: Addressed, to: str) -> Iterator[tuple[int, tuple[str, bytes]]]:
    """What is for one round, by its place."""
    if block[0] == to:
        yield block[1], block[2:]


def _at_home(numbered: tuple[int, Item]) -> tuple[int, tuple[None, Item]]:
    """A home, as it stands among what is sent to it: by nobody."""
    return numbered[0], (None, numbered[1])


@progress.for_run
def rows_of_item(item: Item, job: Job, *, at: int) -> int:
    """Rows of an item's shards."""
    return joining.rows_of(shards_of(item, job), job, at=at)


@progress.for_run
def sent_by_item(numbered: tuple[int, Item], job: Job, cuts: Cuts, extent: Extent, *, at: int) -> list[Addressed]:
    """What the rows of an item send at the beginning."""
    home = _home(*numbered, job, cuts, at)
    return [(to, place, "", data) for to, place, data in joining.begun(home, joining.joined_at(job, at), extent)]


@progress.for_run
def sent_by_place(
    together: tuple[int, Iterable[Any]], job: Job, cuts: Cuts, extent: Extent, *, at: int, held: Round
) -> list[Addressed]:
    """What one place of a round sends on."""
    number, found = together
    item, sent = None, list[Sent]()
    for sender, what in found:
        if sender is None:
            item = what
        else:
            sent.append((sender, what))
    home = None if item is None else partial(_home, number, item, job, cuts, at)
    made = joining.met(held, sent, home, joining.joined_at(job, at), extent)
    return [(to, place, held.name, data) for to, place, data in made]


def _home(number: int, item: Item, job: Job, cuts: Cuts, at: int) -> Home:
    return joining.home_of(number, shards_of(item, job), job, cuts, at=at)


@progress.for_run
def leaf_at_place(together: tuple[int, Iterable[tuple[str, bytes]]], job: Job, *, at: int) -> Leaf:
    """The file of a home's lines."""
    return joining.leaf_of((data for _, data in together[1]), job, at=at)


@progress.for_run
def list_of_leaves(_: Any, job: Job, cuts: Cuts, leaves: Sequence[Leaf], *, at: int) -> Cuts:
    """The cuts, with the list of all homes' files."""
    return tables.with_joined([Leaf(*leaf) for leaf in leaves], job, cuts, at=at)
