"""`poolsieve plan --pool-rows N`: what a run over N rows would take, from rates that OUT has or a trial gives."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from poolsieve.dataflow import fs
from poolsieve.dataflow.decisions.facts import facts_of
from poolsieve.dataflow.passes.growth import Growth, growth_of
from poolsieve.dataflow.passes.plan import Plan
from poolsieve.dataflow.passes.projection import (
    MOST_ROWS,
    Kind,
    Machine,
    Projection,
    Rates,
    StageRate,
    project,
)
from poolsieve.dataflow.passes.trial import TRIED_SHARDS, counted, tried
from poolsieve.dataflow.pools.listing import Listing
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import decisions_folder
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.dataflow.store.shard_lines import read_shards
from poolsieve.dataflow.store.summary import Summary
from poolsieve.jobs.report.throughput import READ, WRITE, Stage, Throughput, measured, throughput_of
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError

KINDS: tuple[Kind, ...] = ("cpu", "gpu")


def rows_of(value: float | str) -> int:
    """A number of rows as people write it: 12800000000, 12.8e9.

    Raises:
        PlanError: for what is no whole number above 0.
    """
    try:
        number = Decimal(str(value))
        if number.is_finite() and 1 <= number <= MOST_ROWS and number == int(number):
            return int(number)
    except (InvalidOperation, ValueError):
        pass
    raise PlanError(f"--pool-rows {str(value)[:80]}: a whole number of rows is wanted, as 12.8e9")


def prices_of(given: Sequence[str]) -> dict[str, float]:
    """`("cpu=0.05", "gpu=2.5")` -> price of an hour of each; a bare number is that of both.

    Raises:
        PlanError: for what is no price, and for a kind that is given twice.
    """
    made: dict[str, float] = {}
    for item in given:
        kind, equals, value = item.rpartition("=")
        for one in [kind] if equals else KINDS:
            if one not in KINDS or one in made:
                twice = "is given twice" if one in made else "write NUMBER, cpu=NUMBER or gpu=NUMBER"
                raise PlanError(f"--price-per-hour {item[:80]}: {twice}")
            made[one] = _price(item, value)
    return made


def _price(item: str, value: str) -> float:
    try:
        price = float(value)
    except ValueError:
        price = -1.0
    if not 0 <= price < 1e9:  # NaN is refused too
        raise PlanError(f"--price-per-hour {item[:80]}: a price of at least 0 is wanted")
    return price


class Basis(NamedTuple):
    """What a projection stands on: a run that is there, and what it took."""

    job: Job
    shards: Sequence[Shard]
    found: Summary
    rates: Rates


def projected(
    plan: Plan, rows: int, priced: Mapping[str, float], sample_rows: int, in_memory: bool = True
) -> Projection:
    """What a run of the plan over so many rows would take.

    Args:
        plan: from `prepare`.
        rows: of the pool that is asked about.
        priced: kind of device -> price of an hour.
        sample_rows: rows that are worked on where OUT has no rates of this recipe.
        in_memory: of the engine, see `Engine.in_memory`.

    Raises:
        PlanError: where nothing can be measured.
    """
    with _basis(plan, sample_rows) as basis:
        growth = growth_of(basis.job, basis.shards, basis.found, in_memory)
        rates = _with_decide(basis.rates, basis.found, growth)
        return project(rows, rates, growth, plan.job.program, _machine(), priced)


@contextlib.contextmanager
def _basis(plan: Plan, sample_rows: int) -> Iterator[Basis]:
    recorded = _recorded(plan)
    if recorded is not None:
        yield recorded
        return
    one = counted(plan)
    with tried(plan, sample_rows) as trial:
        found = trial.summary
        took = measured(facts_of(trial.plan.job, ()), found.work)
        source = f"a trial of {found.rows:,} rows on this machine, the first ones of {found.shard_count:,} shards"
        size = Listing(plan.shards).nbytes / plan.pieces
        rates = Rates(
            source=source,
            rows_per_shard=max(one.rows * size / max(one.nbytes, 1), 1.0),
            shard_bytes=size,
            stages=tuple(_stages(trial.plan.job, found, took)),
        )
        yield Basis(trial.plan.job, trial.plan.shards, found, rates)


def _recorded(plan: Plan) -> Basis | None:
    """The run of this recipe in OUT that scored the most; None for none that has a rate for each of its scorers."""
    try:
        there = OutFolder(plan.job.out)
    except PoolsieveError:
        return None
    found = [one for name in fs.names(decisions_folder(there.url)) if (one := _decision(plan, there, name))]
    return max(found, key=lambda one: sum(stage.rows for stage in one.rates.stages), default=None)


def _decision(plan: Plan, there: OutFolder, name: str) -> Basis | None:
    """One decision of OUT, if it is of the same scores by steps of the same names, and says what they took."""
    job = plan.job
    try:
        found = there.summary_of(name)
        lines = [line for line in read_shards(there.url, name) if line.rows]
    except (PoolsieveError, OSError):
        return None
    facts = found.facts
    if facts is None or not lines or [line.step for line in found.funnel] != [step.label for step in job.program.steps]:
        return None
    if {one.name: one.fingerprint for one in facts.scorers} != dict(job.fingerprints):
        return None
    took = throughput_of(there.url, found, facts)
    if not {step.name for step in job.program.scorers} <= {stage.step for stage in took.stages}:
        return None
    shards = [line.shard for line in lines]
    rates = Rates(
        source=f"{there.url}, decision {name}, over {found.rows:,} rows",
        rows_per_shard=found.rows / len(lines),
        shard_bytes=_mean_bytes(shards),
        stages=tuple(_stages(job, found, took)),
    )
    return Basis(job, shards[:TRIED_SHARDS], found, rates)


def _mean_bytes(shards: Sequence[Shard]) -> float:
    parts = Counter(shard.path for shard in shards)
    return sum(shard.size / parts[shard.path] for shard in shards) / len(shards)


def _stages(job: Job, found: Summary, took: Throughput) -> Iterator[StageRate]:
    """Rates from what a run took; where it had a part of the scores already, of the part that it made."""
    coming = _coming(job, found)
    devices = {line.step: line.device for line in took.models}
    costs = {line.step: (line.cost or 0.0) / max(line.rows, 1) for line in took.asked}
    made = [stage.rows / coming[stage.step] for stage in took.stages if coming.get(stage.step)]
    done = min(max(made, default=1.0), 1.0)
    for stage in took.stages:
        if stage.step in (READ, WRITE):
            yield _every_row(stage, found.rows * done)
        elif stage.rows:
            yield StageRate(
                step=stage.step,
                rows=stage.rows,
                seconds=stage.seconds / stage.rows,
                share=coming.get(stage.step, stage.rows / done) / max(found.rows, 1),
                device=devices.get(stage.step, "cpu"),
                cost=costs.get(stage.step, 0.0),
            )


def _coming(job: Job, found: Summary) -> dict[str, int]:
    """Scorer -> rows that come to it, where the funnel tells: of those alive a condition may leave some out."""
    lines = {line.step: line.rows_in for line in found.funnel}
    steps = [step for step in job.program.scorers if step.where is None]
    return {step.name: found.rows if step.whole_pool else lines[step.name] for step in steps}


def _every_row(stage: Stage, rows: float) -> StageRate:
    """Reading or writing, all passes together."""
    return StageRate(step=stage.step, rows=round(rows), seconds=stage.seconds / max(rows, 1))


def _with_decide(rates: Rates, found: Summary, growth: Growth) -> Rates:
    decide = StageRate(step="decide", rows=found.rows, seconds=growth.decide_seconds)
    return Rates(
        source=rates.source,
        rows_per_shard=rates.rows_per_shard,
        shard_bytes=rates.shard_bytes,
        stages=(*rates.stages, decide),
    )


def _machine() -> Machine:
    return Machine(
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        resident=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        open_files=len(os.listdir("/dev/fd")),
    )
