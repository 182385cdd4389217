"""What `run`, its parts, `finish` and `decide` have in common: the plan, where it runs, progress, the report."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from poolsieve.dataflow.fs import absolute
from poolsieve.dataflow.passes.flight import shards_in_flight
from poolsieve.dataflow.passes.plan import Plan, prepare, settled
from poolsieve.dataflow.passes.splitting import split_by_workers
from poolsieve.dataflow.runners.base import threads_for
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.runners.supervise import Watch
from poolsieve.dataflow.store.job import Options
from poolsieve.dataflow.store.manifest import read_cuts
from poolsieve.dataflow.store.summary import Summary
from poolsieve.jobs.display import Display
from poolsieve.jobs.display_splitting import SplittingDisplay
from poolsieve.jobs.given import AnyRecipe, Params, given
from poolsieve.jobs.report.page import write_report
from poolsieve.jobs.report.truth import read_truth
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.devices.replicas import devices_of


def planned(
    recipe: AnyRecipe,
    out: str,
    *,
    params: Params | None = None,
    include: Sequence[str] = (),
    workers: int | None = None,
    runner: str = "local",
    beam_flags: Sequence[str] = (),
    cuts: str | os.PathLike[str] | None = None,
    max_error_rate: float | None = None,
    retry_quarantined: bool = False,
    replace_pool: bool = False,
    newest: bool = False,
    devices: str | int | Sequence[int] | None = None,
    models: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> tuple[Plan, Engine]:
    """A run that passed every check, and where it runs; arguments and errors as for `api.run`."""
    chosen = _devices(devices, runner)
    engine = Engine(runner, one_unless_given(workers), beam_flags)
    # On this machine a model's feed keeps all shards together within the cores; elsewhere a worker knows its own.
    options = Options(
        threads=threads_for(1) if runner == "local" else 0,
        retry_quarantined=retry_quarantined,
        max_error_rate=max_error_rate,
        devices=chosen,
        models=models_folder(models),
    )
    frozen = None if cuts is None else read_cuts(cuts)

    def checked() -> Plan:
        made = prepare(given(recipe, params, include), out, options=options, frozen=frozen, newest=newest)
        made.check_devices()
        if not replace_pool:
            made.check_pool()
        return made

    made = settled(checked, newest=newest)
    watch = SplittingDisplay(made).watch if progress and made.unsplit else None
    made = split_by_workers(made, _splitting(engine, workers, made), watch)
    if workers is None and runner == "local":
        engine = replace(engine, workers=shards_in_flight(made.job.program, made.shards))
    return made, engine


def _splitting(engine: Engine, workers: int | None, made: Plan) -> Engine:
    """Where big files are split: with a thread for each core here, if nobody said how many."""
    here = workers is None and engine.runner == "local"
    return replace(engine, workers=min(threads_for(1), max(len(made.unsplit), 1))) if here else engine


def models_folder(url: str | os.PathLike[str] | None) -> str:
    """Where models of the Hub are looked for first; empty for nowhere."""
    return "" if url is None else absolute(url)


def one_unless_given(workers: int | None) -> int:
    """Workers where nobody said how many."""
    return 1 if workers is None else workers


def _devices(wanted: str | int | Sequence[int] | None, runner: str) -> tuple[str, ...]:
    if wanted is None:
        return ()
    if runner != "local":
        raise PlanError(
            f"--devices is for --runner local, where this machine's GPUs are; with --runner {runner} give each worker "
            "its own by CUDA_VISIBLE_DEVICES"
        )
    return devices_of(wanted)


def gap_warnings(made: Plan) -> list[str]:
    """What to tell the user of names that have no file."""
    if not made.gaps:
        return []
    return [f"names of the range without a file: {len(made.gaps):,}, the first {made.gaps[0]}"]


def watch_of(made: Plan, progress: bool) -> Watch | None:
    """What shows the progress of a plan, if it is asked for."""
    if not progress:
        return None
    only = frozenset(shard.name for shard in made.shards) if made.job.part else None
    return Display(made.job, len(made.shards), only=only).watch


def report_writer(*, samples: bool, truth: str | os.PathLike[str] | None) -> Callable[[Plan, Summary], None]:
    """What writes the report of a decision before its manifest.

    Raises:
        PlanError: for a truth that can't be read.
    """
    if truth is not None:
        read_truth(truth)  # a mistake in its name would show after the work else

    def write(made: Plan, found: Summary) -> None:
        options = made.job.files.storage_options
        write_report(made.job.out, found, truth=truth, samples=samples, storage_options=options)

    return write
