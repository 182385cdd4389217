"""Where the time went: seconds and rows a second of each stage, and which one is the bottleneck."""

from __future__ import annotations

import json

import msgspec

from poolsieve.dataflow import fs
from poolsieve.dataflow.store.layout import report_url
from poolsieve.dataflow.store.summary import Facts, Summary, Work
from poolsieve.jobs.report.asked import AskedLine, asked_line
from poolsieve.jobs.report.models import ModelLine, model_line, remedy
from poolsieve.jobs.report.numbers import percent_text, rate_text
from poolsieve.scoring_models.base.work import Amount, Count

READ, WRITE = "read", "write"
"""What work is called that belongs to no step: reading the pool, committing scores."""

NOTHING = "Nothing was read or scored: every score was stored already."


class Stage(msgspec.Struct, kw_only=True, frozen=True):
    """One stage of the work: a scorer, or reading or writing.

    Attributes:
        seconds: added up over workers.
        rows_per_second: of one worker; None for a stage that took no time.
        share: of the work of all stages.
    """

    step: str
    rows: Count
    seconds: Amount
    rows_per_second: Amount | None
    share: Amount


class Throughput(msgspec.Struct, kw_only=True, frozen=True):
    """The stages in the order of the job.

    Attributes:
        seconds: of all stages, added up over workers; `wall_seconds` is what a clock on the wall says, if it is known.
        rows, read_bytes: read from the pool.
        bottleneck: the stage that took longest; None if nothing was done.
        text: the same in a sentence.
        models: what each loaded model did.
        asked: what endpoints were asked.
        earlier: these are the figures of an earlier run, the one that did the work.
    """

    stages: list[Stage]
    seconds: Amount
    wall_seconds: Amount | None
    rows: Count
    read_bytes: Count
    bottleneck: str | None
    text: str
    models: list[ModelLine] = []
    asked: list[AskedLine] = []
    earlier: bool = False


def throughput_of(out: str, summary: Summary, facts: Facts) -> Throughput:
    """What the decision's run did; a report made anew keeps the figures of the run that did the work."""
    made = measured(facts, summary.work, summary.wall_seconds)
    if made.stages:
        return made
    # Nothing was read or scored this time: the report that stands there still knows who did.
    found = _earlier(out, summary.decision)
    return msgspec.structs.replace(found, earlier=True) if found is not None and found.stages else made


def _earlier(out: str, decision: str) -> Throughput | None:
    try:
        found = json.loads(fs.read_bytes(report_url(out, decision, "json")))
        return msgspec.convert(found["throughput"], Throughput)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def measured(facts: Facts, work: Work, wall_seconds: float | None = None) -> Throughput:
    """Work as stages, with the slowest named."""
    busy = sum(work.seconds.values())
    steps = [READ, *(scorer.name for scorer in facts.scorers), WRITE]
    # Only scorers count rows of their own: reading and writing see all that were read.
    stages = [
        _stage(name, work.seconds[name], work.scored.get(name, work.rows), busy)
        for name in steps
        if name in work.seconds
    ]
    slowest = max(stages, key=lambda stage: stage.seconds, default=None)
    done = [(name, work.models[name]) for name in steps if name in work.models]
    models = [model_line(name, made) for name, made in done if not made.requests]
    asked = [asked_line(name, made) for name, made in done if made.requests]
    return Throughput(
        stages=stages,
        seconds=busy,
        wall_seconds=wall_seconds,
        rows=work.rows,
        read_bytes=work.read_bytes,
        bottleneck=slowest.step if slowest else None,
        models=models,
        asked=asked,
        text=_bottleneck(slowest, stages, models, asked) if slowest else NOTHING,
    )


def _stage(name: str, seconds: float, rows: int, busy: float) -> Stage:
    return Stage(
        step=name,
        rows=rows,
        seconds=seconds,
        rows_per_second=rows / seconds if seconds > 0 else None,
        share=seconds / busy if busy > 0 else 0.0,
    )


def _bottleneck(stage: Stage, stages: list[Stage], models: list[ModelLine], asked: list[AskedLine]) -> str:
    """The slowest stage, and what would help. What a model's own time went to says more than how long it took."""
    rate = f" at {rate_text(stage.rows_per_second)} rows/s" if stage.rows_per_second else ""
    said = f"{_doing(stage)} is the bottleneck: {percent_text(stage.share)} of the work time{rate}"
    own = next((line for line in models if line.step == stage.step and line.cores), None)
    if own is not None:
        return f"{said}. {remedy(own, _waits_for(stage, stages))}"
    if any(line.step == stage.step for line in asked):
        return f"{said}. It waits for its endpoint: a larger concurrency would help, if the server has room for it."
    if stage.step == READ and (idle := max(models, key=lambda line: line.waiting, default=None)) and idle.waiting:
        said += f", and the model of {idle.step} waits for rows {percent_text(idle.waiting)} of its time"
    return f"{said}. Twice as fast, it would save {percent_text(stage.share / 2)} of all work."


def _doing(stage: Stage) -> str:
    return {READ: "Reading the pool", WRITE: "Writing scores"}.get(stage.step, f"Scoring {stage.step}")


def _waits_for(stage: Stage, stages: list[Stage]) -> str:
    """What goes on while a model has no rows: most likely what took the most time beside it."""
    other = max((one for one in stages if one is not stage), key=lambda one: one.seconds, default=None)
    if other is None or other.seconds < stage.seconds / 10:
        return "its shards are too small or too few to keep it busy, so more shards in flight (--workers) would help"
    doing = _doing(other)
    return f"{doing[0].lower()}{doing[1:]} is what it waits for"
