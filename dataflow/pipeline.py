"""The job as Beam sees it. Only shard records, sparse histograms and cuts pass between its steps, never rows.

    Create(shards) | Reshuffle | score the shard | histograms -> cuts | decide the shard | records -> summary

Everything that is done to a shard is a plain function elsewhere; here it is only wired.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsSingleton

from poolsieve.dataflow import fs
from poolsieve.dataflow.evaluate import Cuts
from poolsieve.dataflow.finish import dumps, finish_decision
from poolsieve.dataflow.job import Job
from poolsieve.dataflow.ledger import Record, add_counts, decide_shard
from poolsieve.dataflow.program import RuleStep, ScoreStep
from poolsieve.dataflow.records import Shard
from poolsieve.dataflow.scoring import score_shard
from poolsieve.dataflow.selection import Counts, NotScored, Searches, advance, count_shard, found, levels
from poolsieve.dataflow.selection import unscored as unscored_rows
from poolsieve.filters.stages import Ranked


class SumCounts(beam.CombineFn):
    """Adds up group -> counts over shards."""

    def create_accumulator(self) -> dict[str, Counts]:
        """No counts."""
        return {}

    def add_input(self, total: dict[str, Counts], counts: dict[str, Counts]) -> dict[str, Counts]:
        """Adds one shard's."""
        for group, found_counts in counts.items():
            total.setdefault(group, Counts()).add(found_counts)
        return total

    def merge_accumulators(self, totals: Iterable[dict[str, Counts]]) -> dict[str, Counts]:
        """Adds sums."""
        out: dict[str, Counts] = {}
        for total in totals:
            self.add_input(out, total)
        return out

    def extract_output(self, total: dict[str, Counts]) -> dict[str, Counts]:
        """The sum."""
        return total


class SumRecords(beam.CombineFn):
    """Adds up decision records over shards."""

    def create_accumulator(self) -> Record:
        """An empty record."""
        return Record()

    def add_input(self, total: Record, record: Record) -> Record:
        """Adds one shard's."""
        return total.add(record)

    def merge_accumulators(self, totals: Iterable[Record]) -> Record:
        """Adds sums."""
        out = Record()
        for total in totals:
            out.add(total)
        return out

    def extract_output(self, total: Record) -> Record:
        """The sum."""
        return total


class SumWork(beam.CombineFn):
    """Adds up what passes report of their work: bytes read, seconds and rows by step."""

    def create_accumulator(self) -> dict[str, Any]:
        """No work."""
        return {"rows": 0, "read_bytes": 0, "seconds": {}, "scored": {}}

    def add_input(self, total: dict[str, Any], work: dict[str, Any]) -> dict[str, Any]:
        """Adds one shard's."""
        total["rows"] += work["rows"]
        total["read_bytes"] += work["read_bytes"]
        add_counts(total["seconds"], work["seconds"])
        add_counts(total["scored"], work["scored"])
        return total

    def merge_accumulators(self, totals: Iterable[dict[str, Any]]) -> dict[str, Any]:
        """Adds sums."""
        out = self.create_accumulator()
        for total in totals:
            self.add_input(out, total)
        return out

    def extract_output(self, total: dict[str, Any]) -> dict[str, Any]:
        """The sum."""
        return total


@dataclass(frozen=True)
class Plan:
    """Pass i of a job runs the steps before `stops[i]` (None: to the end); then that rule's cuts are found."""

    stops: tuple[int | None, ...]

    @classmethod
    def of(cls, job: Job) -> Plan:
        """A stop at each rule that must see the whole pool and whose cut is not frozen."""
        return cls((*job.program.barriers(job.frozen), None))

    def reads(self, job: Job, i: int) -> bool:
        """Whether pass i has anything to score that an earlier pass had not (the first always reads rows)."""
        if i == 0:
            return True
        start = self.stops[i - 1] or 0
        steps = job.program.steps[start : self.stops[i]]
        return any(isinstance(step, ScoreStep) and not step.whole_pool for step in steps)


def build(
    pipeline: beam.Pipeline, job: Job, shards: Sequence[Shard], *, score: bool = True, write: bool = True
) -> None:
    """Adds the whole job to a pipeline.

    Args:
        pipeline: where to.
        job: what travels to workers.
        shards: the pool's listing.
        score: read the pool and compute what is missing; else missing scores are an error (`decide`).
        write: write ledger and decision; else only the summary is made (`--what-if`).
    """
    todo = pipeline | "Shards" >> beam.Create(list(shards), reshuffle=False) | "Spread" >> beam.Reshuffle()
    cuts = pipeline | "FrozenCuts" >> beam.Create([dict(job.frozen)])
    plan = Plan.of(job)
    work = []
    for i, stop in enumerate(plan.stops):
        if plan.reads(job, i):
            todo, done = _score(todo, job, cuts, stop, f"Pass{i + 1}", score)
            work.append(done)
        if stop is not None:
            step = job.program.steps[stop]
            assert isinstance(step, RuleStep)
            for top in step.tops:
                if top.cut not in job.frozen:
                    cuts = _cut(pipeline, todo, job, cuts, stop, top)
    records = todo | "Decide" >> beam.Map(_decide, job, write, AsSingleton(cuts))
    total = records | "Records" >> beam.CombineGlobally(SumRecords())
    works = work | "Works" >> beam.Flatten() | "Work" >> beam.CombineGlobally(SumWork())
    total | "Finish" >> beam.Map(_finish, job, write, AsSingleton(cuts), AsSingleton(works))


def _score(todo: Any, job: Job, cuts: Any, stop: int | None, label: str, score: bool) -> tuple[Any, Any]:
    """(shards that are scored, work done): nothing that needs the shards goes on before all of them are scored."""
    if not score:
        missing = todo | f"{label}/Missing" >> beam.Map(_missing, job, stop, label, AsSingleton(cuts))
        gate = missing | f"{label}/Sum" >> beam.CombineGlobally(sum) | f"{label}/Gate" >> beam.Map(_require)
        return todo | f"{label}/Wait" >> beam.Map(_first, AsSingleton(gate)), gate
    scored = todo | f"{label}/Score" >> beam.Map(_score_shard, job, stop, label, AsSingleton(cuts))
    # Without the reshuffle an engine that recomputes a collection for each of its readers would score again.
    done = scored | f"{label}/Commit" >> beam.Reshuffle()
    return done | f"{label}/Shard" >> beam.Map(_shard), done | f"{label}/Work" >> beam.Map(_work)


def _cut(pipeline: beam.Pipeline, todo: Any, job: Job, cuts: Any, stop: int, top: Ranked) -> Any:
    """One combine for each level of the search; levels that have nothing left to find cost nothing."""
    kind = job.program.types[top.name]
    searches = pipeline | f"{top.cut}/Start" >> beam.Create([None])
    for level in range(levels(kind)):
        label = f"{top.cut}/Level{level + 1}"
        counts = todo | f"{label}/Count" >> beam.Map(
            _count, job, stop, top, top.cut, AsSingleton(cuts), AsSingleton(searches)
        )
        total = counts | f"{label}/Sum" >> beam.CombineGlobally(SumCounts())
        searches = total | f"{label}/Advance" >> beam.Map(_advance, top, kind, AsSingleton(searches))
    return searches | f"{top.cut}/Cut" >> beam.Map(_with_cut, top, AsSingleton(cuts))


def _score_shard(shard: Shard, job: Job, stop: int | None, label: str, cuts: Cuts) -> tuple[Shard, dict[str, Any]]:
    return shard, score_shard(job, shard, cuts, stop, label)


def _shard(pair: tuple[Shard, dict[str, Any]]) -> Shard:
    return pair[0]


def _work(pair: tuple[Shard, dict[str, Any]]) -> dict[str, Any]:
    return pair[1]


def _first(shard: Shard, _: Any) -> Shard:
    return shard


def _missing(shard: Shard, job: Job, stop: int | None, label: str, cuts: Cuts) -> int:
    return unscored_rows(job, shard, cuts, stop, label)


def _require(missing: int) -> dict[str, Any]:
    if missing:
        raise NotScored(
            f"{missing} rows need scores that have not been computed; `poolsieve run` with the same recipe and --out "
            "computes just those"
        )
    return SumWork().create_accumulator()


def _count(
    shard: Shard, job: Job, stop: int, top: Ranked, label: str, cuts: Cuts, searches: Searches
) -> dict[str, Counts]:
    return count_shard(job, shard, cuts, stop, top, searches, label)


def _advance(counts: dict[str, Counts], top: Ranked, kind: Any, searches: Searches | None) -> Searches:
    return advance(top, kind, searches, counts)


def _with_cut(searches: Searches, top: Ranked, cuts: Cuts) -> Cuts:
    return {**cuts, top.cut: found(searches)}


def _decide(shard: Shard, job: Job, write: bool, cuts: Cuts) -> Record:
    return decide_shard(job, shard, cuts, "Decide", write)


def _finish(record: Record, job: Job, write: bool, cuts: Cuts, work: dict[str, Any]) -> None:
    """Leaves the summary where whoever submitted the job finds it: runners have no other way to give it back."""
    made = finish_decision(job, record, cuts, write)
    fs.write_bytes(result_url(job), dumps({**made, "work": work}))


def result_url(job: Job) -> str:
    """Where a finished pipeline leaves its summary."""
    return fs.join(job.out, "runs", f"{job.run_id}.json")


def take_result(job: Job) -> dict[str, Any]:
    """Reads and removes a finished pipeline's summary."""
    url = result_url(job)
    result: dict[str, Any] = json.loads(fs.read_bytes(url))
    fs.remove(url)
    return result
