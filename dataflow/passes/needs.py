"""What a job's scorers ask of the machines that run it."""

from __future__ import annotations

from collections.abc import Sequence

from poolsieve.dataflow.passes.artefacts.registered import has_kind
from poolsieve.dataflow.pools.hub_commits import Pins
from poolsieve.dataflow.recipes.program import ScoreStep
from poolsieve.dataflow.recipes.schedule import Schedule
from poolsieve.dataflow.runners.needs import Need, Needs
from poolsieve.dataflow.store.artefacts import missing, own_pools
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
    read = [*job.pool.all_urls, *_read_first(job), *filter(None, [job.options.models])] if score else []
    return Needs(steps=steps, places=(job.out, *read))


def _read_first(job: Job) -> list[str]:
    """URLs of the pools from which a job makes what a scorer needs, where that is still to be made."""
    steps = [step for step in job.program.scorers if missing(step.scorer) and has_kind(step.scorer)]
    found = [own_pools(step.scorer, Pins.of(job.pins)).values() for step in steps]
    return [url for pools in found for pool in pools for url in pool.absolute().all_urls]


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
        gpus=max(map(_gpus, devices.values()), default=0),
    )


def _gpus(device: str) -> int:
    """How many a machine must have for a device: `cuda:1` is its second."""
    kind, _, number = device.partition(":")
    return 1 + int(number if number.isdecimal() else 0) if kind == "cuda" else 0
