"""The job as Beam sees it. Only shard records, sparse histograms and cuts pass between its steps, never rows.

    Create(shards) | Reshuffle | score the shard | histograms -> cuts | decide the shard | records -> summary

Everything that is done to a shard is a plain function elsewhere; here it is only wired. Each takes what comes through
the pipe first, and the rest by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsList, AsSingleton

from poolsieve.dataflow import fs
from poolsieve.dataflow.decisions.decide import decide_shard, ledger_hash
from poolsieve.dataflow.decisions.record import Record
from poolsieve.dataflow.decisions.selection import Searches, advance, count_shard, cuts_of, levels
from poolsieve.dataflow.decisions.summary import finish_decision, summary_of
from poolsieve.dataflow.decisions.tables import tally_shard, with_gathered, with_sums
from poolsieve.dataflow.passes.combiners import SumCounts, SumLacks, SumRecords, SumTables, SumWork
from poolsieve.dataflow.passes.lacking import lacks_of, require_whole
from poolsieve.dataflow.passes.needs import score_label
from poolsieve.dataflow.passes.scoring import score_shard
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.program import DeriveStep, RuleStep
from poolsieve.dataflow.recipes.schedule import Schedule
from poolsieve.dataflow.recipes.walk import Cuts
from poolsieve.dataflow.runners.needs import Hints
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import result_url
from poolsieve.dataflow.store.stored import NotScored, unscored
from poolsieve.dataflow.store.summary import Summary, Work, dumps
from poolsieve.filters.dsl.top import Ranked
from poolsieve.scoring_models.base.derived import is_gathered


def build(
    pipeline: beam.Pipeline,
    job: Job,
    shards: Sequence[Shard],
    *,
    score: bool = True,
    write: bool = True,
    hints: Mapping[str, Hints] | None = None,
) -> None:
    """Adds the whole job to a pipeline.

    Args:
        pipeline: where to.
        job: what travels to workers.
        shards: the pool's listing.
        score: read the pool and compute what is missing; else missing scores are an error (`decide`).
        write: write ledger and decision; else only the summary is made (`--what-if`).
        hints: pass -> resource hints of the step that scores there, and of no other.
    """
    todo = pipeline | "Shards" >> beam.Create(list(shards), reshuffle=False) | "Spread" >> beam.Reshuffle()
    cuts = pipeline | "FrozenCuts" >> beam.Create([dict(job.frozen)])
    schedule = Schedule.of(job.program, job.frozen)
    work = []
    for i, stop in enumerate(schedule.stops):
        if schedule.reads(i):
            label = score_label(i)
            todo, done = _score(todo, job, cuts, stop, label, score, (hints or {}).get(label, {}))
            work.append(done)
        if job.part:
            done | "Work" >> beam.CombineGlobally(SumWork()) | "Finish" >> beam.Map(_finish_part, job=job)
            return
        if stop is not None:
            cuts = _marked(pipeline, todo, job, cuts, stop)
    content = _content(pipeline, todo, job, cuts)
    known = {"cuts": AsSingleton(cuts), "content": AsSingleton(content)}
    decide = beam.Map(decide_shard, job=job, label="Decide", write=write, **known)
    total = todo | "Decide" >> decide | "Records" >> beam.CombineGlobally(SumRecords())
    works = work | "Works" >> beam.Flatten() | "Work" >> beam.CombineGlobally(SumWork())
    total | "Finish" >> beam.Map(_finish, job=job, work=AsSingleton(works), write=write, **known)


def _marked(pipeline: beam.Pipeline, todo: Any, job: Job, cuts: Any, stop: int) -> Any:
    """The cuts, with those of the rule at `stop`, or the table of the derived value there."""
    step = job.program.steps[stop]
    if isinstance(step, DeriveStep):
        return _tabled(pipeline, todo, job, cuts, stop, step)
    assert isinstance(step, RuleStep)
    for top in step.tops:
        if top.cut not in job.frozen:
            cuts = _cut(pipeline, todo, job, cuts, stop, top)
    return cuts


def _tabled(pipeline: beam.Pipeline, todo: Any, job: Job, cuts: Any, stop: int, step: DeriveStep) -> Any:
    how, name = {"job": job, "cuts": AsSingleton(cuts), "at": stop}, step.label
    if is_gathered(step.derived):
        # One worker sees all rows, and waits until every shard is scored.
        seed = pipeline | f"{name}/Start" >> beam.Create([None])
        return seed | f"{name}/Gather" >> beam.Map(with_gathered, shards=AsList(todo), **how)
    sums = todo | f"{name}/Tally" >> beam.Map(tally_shard, **how) | f"{name}/Sum" >> beam.CombineGlobally(SumTables())
    return sums | f"{name}/Table" >> beam.Map(with_sums, cuts=AsSingleton(cuts), name=name)


def _content(pipeline: beam.Pipeline, todo: Any, job: Job, cuts: Any) -> Any:
    """What decisions are named after beside their rules, where that does not say everything; else None."""
    if not job.retried:
        return pipeline | "NoContent" >> beam.Create([None])
    hashes = todo | "Content" >> beam.Map(ledger_hash, job=job, cuts=AsSingleton(cuts), label="Content")
    return hashes | "Contents" >> beam.CombineGlobally(sum)


def _score(todo: Any, job: Job, cuts: Any, stop: int | None, label: str, score: bool, hints: Hints) -> tuple[Any, Any]:
    """(shards that are scored, work done): nothing that needs the shards goes on before all of them are scored."""
    how = {"job": job, "cuts": AsSingleton(cuts), "stop": stop, "label": label}
    if not score and job.parts:
        found = (
            todo | f"{label}/Lacks" >> beam.Map(lacks_of, **how) | f"{label}/Sum" >> beam.CombineGlobally(SumLacks())
        )
        gate = found | f"{label}/Gate" >> beam.Map(require_whole, job=job, cuts=AsSingleton(cuts))
        return todo | f"{label}/Wait" >> beam.Map(_after, AsSingleton(gate)), gate
    if not score:
        missing = todo | f"{label}/Missing" >> beam.Map(unscored, **how)
        gate = missing | f"{label}/Sum" >> beam.CombineGlobally(sum) | f"{label}/Gate" >> beam.Map(_require)
        return todo | f"{label}/Wait" >> beam.Map(_after, AsSingleton(gate)), gate
    scored = todo | f"{label}/Score" >> beam.Map(_scored, **how).with_resource_hints(**hints)
    # Without the reshuffle an engine that recomputes a collection for each of its readers would score again.
    done = scored | f"{label}/Commit" >> beam.Reshuffle()
    return done | f"{label}/Shard" >> beam.Keys(), done | f"{label}/Work" >> beam.Values()


def _cut(pipeline: beam.Pipeline, todo: Any, job: Job, cuts: Any, stop: int, top: Ranked) -> Any:
    """One combine for each level of the search; levels that have nothing left to find cost nothing."""
    kind = job.program.types[top.name]
    searches = pipeline | f"{top.cut}/Start" >> beam.Create([None])
    for level in range(levels(kind)):
        label, so_far = f"{top.cut}/Level{level + 1}", AsSingleton(searches)
        count = beam.Map(count_shard, job=job, cuts=AsSingleton(cuts), searches=so_far, at=stop, top=top)
        total = todo | f"{label}/Count" >> count | f"{label}/Sum" >> beam.CombineGlobally(SumCounts())
        how = {"searches": so_far, "top": top, "kind": kind, "cuts": AsSingleton(cuts)}
        searches = total | f"{label}/Advance" >> beam.Map(advance, **how)
    return searches | f"{top.cut}/Cut" >> beam.Map(_with_cut, top=top, cuts=AsSingleton(cuts))


def _scored(shard: Shard, **how: Any) -> tuple[Shard, Work]:
    return shard, score_shard(shard, **how)


def _after(shard: Shard, _: Any) -> Shard:
    """The shard, once the side input is there."""
    return shard


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
    made = summary_of(Record(rows=work.rows), {}, "", work, [])
    fs.write_bytes(result_url(job.out, job.run_id), dumps(made.to_json()))


def take_result(job: Job) -> Summary:
    """A finished pipeline's summary. Its file goes with the run's folder, when the run is closed."""
    return Summary.from_json(json.loads(fs.read_bytes(result_url(job.out, job.run_id))))
