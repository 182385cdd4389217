"""The job as Beam sees it. Only shard records, sparse histograms and cuts pass between its steps, never rows.

    Create(items) | Reshuffle | score its shards | histograms -> cuts | decide its shards | records -> summary

Everything that is done to a shard is a plain function elsewhere; here it is only wired. Each takes what comes through
the pipe first, and the rest by name. An item is a few neighbouring shards (`items`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsList, AsSingleton

from poolsieve.dataflow import fs
from poolsieve.dataflow.decisions.record import Record
from poolsieve.dataflow.decisions.selection import Searches, advance, cuts_of, levels
from poolsieve.dataflow.decisions.summary import finish_decision, summary_of
from poolsieve.dataflow.decisions.tables import with_sums
from poolsieve.dataflow.passes.combiners import SumCounts, SumLacks, SumRecords, SumTables, SumWork
from poolsieve.dataflow.passes.handed import given_of, items
from poolsieve.dataflow.passes.items import Item
from poolsieve.dataflow.passes.joining import by_rounds, joined
from poolsieve.dataflow.passes.lacking import lacks_of_item, require_whole
from poolsieve.dataflow.passes.needs import score_label
from poolsieve.dataflow.passes.steps import (
    Counted,
    count_item,
    decide_item,
    gathered_of_items,
    hash_item,
    score_item,
    tally_item,
    unscored_item,
)
from poolsieve.dataflow.pools.packed import Shards
from poolsieve.dataflow.recipes.program import DeriveStep, RuleStep
from poolsieve.dataflow.recipes.schedule import Schedule
from poolsieve.dataflow.recipes.walk import Cuts
from poolsieve.dataflow.runners.needs import Hints
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import result_url
from poolsieve.dataflow.store.stored import NotScored
from poolsieve.dataflow.store.summary import Summary, Work, dumps
from poolsieve.filters.dsl.top import Ranked
from poolsieve.scoring_models.base.derived import is_gathered


def build(
    pipeline: beam.Pipeline,
    job: Job,
    shards: Shards,
    *,
    score: bool = True,
    write: bool = True,
    hints: Mapping[str, Hints] | None = None,
    in_memory: bool = True,
) -> None:
    """Adds the whole job to a pipeline.

    Args:
        pipeline: where to.
        job: what travels to workers.
        shards: the pool's listing.
        score: read the pool and compute what is missing; else missing scores are an error (`decide`).
        write: write ledger and decision; else only the summary is made (`--what-if`).
        hints: pass -> resource hints of the step that scores there, and of no other.
        in_memory: whether what passes between steps lies in the memory of one process; see `joining.by_rounds`.
    """
    given = given_of(job, shards)
    todo = items(pipeline, given, job, "Shards", "Spread")
    cuts = pipeline | "FrozenCuts" >> beam.Create([dict(job.frozen)])
    schedule = Schedule.of(job.program, job.frozen)
    work, left_by = [], ""
    for i, stop in enumerate(schedule.stops):
        first = None
        if schedule.reads(i):
            label = score_label(i)
            todo, done, first = _score(todo, job, cuts, stop, label, score, (hints or {}).get(label, {}))
            work.append(done)
            left_by = label
        if job.part:
            done | "Work" >> beam.CombineGlobally(SumWork()) | "Finish" >> beam.Map(_finish_part, job=job)
            return
        if stop is not None:
            step = job.program.steps[stop]
            if isinstance(step, DeriveStep) and by_rounds(job, step, shards, in_memory):
                cuts = joined(pipeline, todo, given, job, cuts, stop, int(shards.sizes.sum()))
            else:
                cuts = _marked(pipeline, todo, job, cuts, stop, first, left_by)
    content = _content(pipeline, todo, job, cuts)
    known = {"cuts": AsSingleton(cuts), "content": AsSingleton(content)}
    decide = beam.Map(decide_item, job=job, label="Decide", write=write, left_by=left_by, **known)
    total = todo | "Decide" >> decide | "Records" >> _summed(SumRecords())
    works = work | "Works" >> beam.Flatten() | "Work" >> _summed(SumWork())
    total | "Finish" >> beam.Map(_finish, job=job, work=AsSingleton(works), write=write, **known)


def _marked(pipeline: beam.Pipeline, todo: Any, job: Job, cuts: Any, stop: int, first: Any, left_by: str) -> Any:
    """The cuts, with those of the rule at `stop`, or the table of the derived value there.

    `first` are counts for the first of these cuts that were made with the scores; None for none. `left_by` is the pass
    that scored last.
    """
    step = job.program.steps[stop]
    if isinstance(step, DeriveStep):
        return _tabled(pipeline, todo, job, cuts, stop, step)
    for top in _tops(job, stop):
        cuts = _cut(pipeline, todo, job, cuts, stop, top, first, left_by)
        first = None
    return cuts


def _tops(job: Job, stop: int | None) -> list[Ranked]:
    """The cuts of the rule at `stop` that are to be searched, in order."""
    step = None if stop is None else job.program.steps[stop]
    return [top for top in step.tops if top.cut not in job.frozen] if isinstance(step, RuleStep) else []


def _tabled(pipeline: beam.Pipeline, todo: Any, job: Job, cuts: Any, stop: int, step: DeriveStep) -> Any:
    how, name = {"job": job, "cuts": AsSingleton(cuts), "at": stop}, step.label
    if is_gathered(step.derived):
        # One worker sees all rows, and waits until every shard is scored.
        seed = pipeline | f"{name}/Start" >> beam.Create([None])
        return seed | f"{name}/Gather" >> beam.Map(gathered_of_items, items=AsList(todo), **how)
    sums = todo | f"{name}/Tally" >> beam.Map(tally_item, **how) | f"{name}/Sum" >> _summed(SumTables())
    return sums | f"{name}/Table" >> beam.Map(with_sums, cuts=AsSingleton(cuts), name=name)


def _content(pipeline: beam.Pipeline, todo: Any, job: Job, cuts: Any) -> Any:
    """What decisions are named after beside their rules, where that does not say everything; else None."""
    if not job.retried:
        return pipeline | "NoContent" >> beam.Create([None])
    hashes = todo | "Content" >> beam.Map(hash_item, job=job, cuts=AsSingleton(cuts), label="Content")
    return hashes | "Contents" >> _summed(sum)


def _score(
    todo: Any, job: Job, cuts: Any, stop: int | None, label: str, score: bool, hints: Hints
) -> tuple[Any, Any, Any]:
    """(items that are scored, work done, first counts of the first cut, if one is searched at `stop`).

    Nothing that needs the items goes on before all of them are scored.
    """
    how: dict[str, Any] = {"job": job, "cuts": AsSingleton(cuts), "stop": stop, "label": label}
    if not score and job.parts:
        lacks = todo | f"{label}/Lacks" >> beam.Map(lacks_of_item, **how)
        found = lacks | f"{label}/Sum" >> _summed(SumLacks())
        gate = found | f"{label}/Gate" >> beam.Map(require_whole, job=job, cuts=AsSingleton(cuts))
        return todo | f"{label}/Wait" >> beam.Map(_after, AsSingleton(gate)), gate, None
    how["top"] = None if job.part else next(iter(_tops(job, stop)), None)  # a part leaves before it is counted
    if not score:
        missing = todo | f"{label}/Missing" >> beam.Map(unscored_item, **how) | f"{label}/Found" >> beam.Reshuffle()
        rows = missing | f"{label}/Rows" >> beam.Map(_first) | f"{label}/Sum" >> _summed(sum)
        gate = rows | f"{label}/Gate" >> beam.Map(_require)
        first = missing | f"{label}/Counts" >> beam.Map(_last)
        return todo | f"{label}/Wait" >> beam.Map(_after, AsSingleton(gate)), gate, first
    scored = todo | f"{label}/Score" >> beam.Map(score_item, **how).with_resource_hints(**hints)
    # Without the reshuffle an engine that recomputes a collection for each of its readers would score again.
    done = scored | f"{label}/Commit" >> beam.Reshuffle()
    work, first = done | f"{label}/Work" >> beam.Map(_work), done | f"{label}/Counts" >> beam.Map(_last)
    return done | f"{label}/Shard" >> beam.Map(_first), work, first


def _summed(sums: Any) -> Any:
    """One sum over all items. There are some: a pool without shards was refused, and only a part may have none.

    What Beam would give for no items costs a search as many steps again.
    """
    return beam.CombineGlobally(sums).without_defaults()


def _first(found: Sequence[Any]) -> Any:
    return found[0]


def _last(found: Sequence[Any]) -> Any:
    return found[-1]


def _work(scored: tuple[Item, Work, Counted]) -> Work:
    return scored[1]


def _cut(
    pipeline: beam.Pipeline, todo: Any, job: Job, cuts: Any, stop: int, top: Ranked, first: Any, left_by: str
) -> Any:
    """One combine for each level of the search; levels that have nothing left to find cost nothing.

    `first` are the counts of the first level, if they are made already; `left_by` is the pass that scored last.
    """
    kind, given = job.program.types[top.name], {"job": job, "at": stop, "top": top, "left_by": left_by}
    searches = pipeline | f"{top.cut}/Start" >> beam.Create([None])
    for level in range(levels(kind)):
        label, so_far = f"{top.cut}/Level{level + 1}", AsSingleton(searches)
        count = beam.Map(count_item, cuts=AsSingleton(cuts), searches=so_far, **given)
        counts = first if level == 0 and first is not None else todo | f"{label}/Count" >> count
        total = counts | f"{label}/Sum" >> _summed(SumCounts())
        how = {"searches": so_far, "top": top, "kind": kind, "cuts": AsSingleton(cuts)}
        searches = total | f"{label}/Advance" >> beam.Map(advance, **how)
    return searches | f"{top.cut}/Cut" >> beam.Map(_with_cut, top=top, cuts=AsSingleton(cuts))


def _after(item: Item, _: Any) -> Item:
    """The item, once the side input is there."""
    return item


def _require(missing: int) -> Work:
    if missing:
        raise NotScored(
            f"{missing} rows need scores that have not been computed; `poolsieve run` with the same recipe and --out "
            "computes just those"
        )
    return Work()


def _with_cut(searches: Searches, top: Ranked, cuts: Cuts) -> Cuts:
    return {**cuts, top.cut: cuts_of(searches)}


def _finish(record: Record, job: Job, cuts: Cuts, content: int | None, work: Work, write: bool) -> None:
    """Leaves the summary where whoever submitted the job finds it: runners have no other way to give it back."""
    made = finish_decision(record, job, cuts, content, work, write=write)
    fs.write_bytes(result_url(job.out, job.run_id), dumps(made.to_json()))


def _finish_part(work: Work, job: Job) -> None:
    """Leaves what was done, as a summary of no decision."""
    made = summary_of(Record(rows=work.rows), 0, {}, "", work, [])
    fs.write_bytes(result_url(job.out, job.run_id), dumps(made.to_json()))


def take_result(job: Job) -> Summary:
    """A finished pipeline's summary. Its file goes with the run's folder, when the run is closed."""
    return Summary.from_json(json.loads(fs.read_bytes(result_url(job.out, job.run_id))))
