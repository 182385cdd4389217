"""What a job's scorers ask of the machines that run it."""

from __future__ import annotations

from collections.abc import Sequence

from poolsieve.dataflow.recipes.program import ScoreStep
from poolsieve.dataflow.recipes.schedule import Schedule
from poolsieve.dataflow.runners.needs import Need, Needs
from poolsieve.dataflow.store.job import Job
from poolsieve.scoring_models.base.scorer import has_model


def score_label(i: int) -> str:
    """The name of the step that scores in pass i, from 0: `Pass1`."""
    return f"Pass{i + 1}"


def needs_of(job: Job, *, score: bool = True) -> Needs:
    """What the job's passes ask, and where its workers read and write; a decision (`score=False`) loads no model."""
    schedule = Schedule.of(job.program, job.frozen)
    passes = [i for i in range(len(schedule.stops)) if score and schedule.reads(i)]
    steps = tuple(_need(job, score_label(i), schedule.scored_in(i)) for i in passes)
    read = [*job.pool.all_urls, *filter(None, [job.options.models])] if score else []
    return Needs(steps=steps, places=(job.out, *read))


def _need(job: Job, label: str, steps: Sequence[ScoreStep]) -> Need:
    models = [step for step in steps if has_model(step.scorer)]
    devices = {step.name: str(step.scorer.resources.device) for step in models}
    # Steps that share a model share its one copy.
    copies = {job.fingerprints[step.name]: step.scorer.resources.memory_mb for step in models}
    return Need(
        step=label,
        models=tuple(devices),
        must_gpu=tuple(name for name, device in devices.items() if device.startswith("cuda")),
        may_gpu=tuple(name for name, device in devices.items() if device == "auto"),
        memory_mb=sum(copies.values()),
    )
