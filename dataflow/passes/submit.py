"""From a plan to a finished decision: run the pipeline, and close with the manifest."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable

from poolsieve.dataflow import fs, leases, progress
from poolsieve.dataflow.decisions.facts import facts_of
from poolsieve.dataflow.passes import again
from poolsieve.dataflow.passes.artefacts.registered import has_kind
from poolsieve.dataflow.passes.needs import needs_of
from poolsieve.dataflow.passes.plan import Plan
from poolsieve.dataflow.passes.splitting import split_by_workers, split_here
from poolsieve.dataflow.passes.working import clear, working
from poolsieve.dataflow.pools.hub_commits import Pins
from poolsieve.dataflow.recipes.program import ScoreStep
from poolsieve.dataflow.runners.base import import_beam
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.runners.supervise import Watch, supervised
from poolsieve.dataflow.store.artefacts import build, make_once, missing
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import (
    leases_folder,
    retried_url,
    rows_folder,
    run_folder,
    scores_folder,
    summary_url,
)
from poolsieve.dataflow.store.manifest import write_manifest
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.dataflow.store.reports import this_process
from poolsieve.dataflow.store.session import ending
from poolsieve.dataflow.store.summary import Summary, Work, dumps
from poolsieve.scoring_models.base.errors import PlanError

_CLOSE_SECONDS = 900.0
"""Seconds that a run waits while another one writes its report and its manifest."""

BeforeManifest = Callable[[Plan, Summary], None]
"""Called when everything of a decision but the manifest is written: the report first, the manifest last."""


def execute(
    plan: Plan,
    *,
    score: bool = True,
    write: bool = True,
    engine: Engine = Engine(),
    watch: Watch | None = None,
) -> Summary:
    """Runs the pipeline to its end and returns its summary; the manifest is not yet written.

    Args:
        plan: from `prepare` or `prepare_stored`.
        score: compute missing scores (`run`) or refuse to (`decide`).
        write: write ledger and decision, or only make the summary (`--what-if`).
        engine: where it runs.
        watch: called in the calling thread while the job runs; returns once the event is set (progress, Ctrl-C).

    Raises:
        PoolsieveError: whatever stopped the job, as the user should read it.
    """
    import_beam()
    from poolsieve.dataflow.passes import pipeline

    job = dataclasses.replace(plan.job, client=this_process())
    needs = needs_of(job, score=score)
    engine.check_needs(needs)

    def work() -> None:
        for step in job.program.scorers if score else ():
            if missing(step.scorer):
                with progress.loading(step.name):
                    make_once(step.scorer, job.out, functools.partial(_make_artefact, job, step, engine))
        engine.run(
            lambda made: pipeline.build(
                made,
                job,
                plan.shards,
                score=score,
                write=write,
                hints=engine.hints(needs),
                in_memory=engine.in_memory,
            ),
            processes=job.program.wants_processes,
            sign=_Signs(job.out, job.run_id).seen,
        )

    with progress.of(job.run_id).here():
        supervised(work, watch)
    return pipeline.take_result(job)


def hand_over(plan: Plan, *, engine: Engine) -> None:
    """Gives the job to a service that goes on without this process, and returns: nobody waits, or writes the manifest.

    Big files are split here, since a job for that would have to be waited for. Nothing that a scorer needs made first
    can be made so: that takes a job of its own.

    Raises:
        PlanError: for a job that can't run there, or has such a scorer.
    """
    import_beam()
    from poolsieve.dataflow.passes import pipeline

    plan = split_here(plan)
    job, needs = plan.job, needs_of(plan.job)
    engine.check_needs(needs)
    for step in job.program.scorers:
        if missing(step.scorer):
            raise PlanError(
                f"{step.name} needs a file that a job of its own makes from the pool: use `poolsieve run`, which waits"
            )
    hints = engine.hints(needs)
    engine.run(
        lambda made: pipeline.build(made, job, plan.shards, hints=hints, in_memory=engine.in_memory),
        processes=job.program.wants_processes,
    )


class _Signs:
    """Whether workers have left something in OUT since the last look."""

    def __init__(self, out: str, run_id: str) -> None:
        self.folders = (rows_folder(out), scores_folder(out), run_folder(out, run_id))
        self.before = self._names()

    def seen(self) -> bool:
        """Looks again."""
        before, self.before = self.before, self._names()
        return self.before != before

    def _names(self) -> list[int]:
        try:
            return [hash(tuple(fs.names(folder))) for folder in self.folders]  # of many names no more is kept
        except OSError:  # the job will say it
            return []


def _make_artefact(job: Job, step: ScoreStep, engine: Engine) -> None:
    from poolsieve.dataflow.passes.artefacts import making

    if has_kind(step.scorer):
        making.make(job, step, engine)
    else:
        build(step.scorer, Pins.of(job.pins))


def carry_out(
    plan: Plan,
    *,
    score: bool = True,
    engine: Engine = Engine(),
    watch: Watch | None = None,
    before_manifest: BeforeManifest | None = None,
    done: Work | None = None,
) -> OutFolder:
    """A whole run (or, without `score`, a whole decision from stored scores): from its plan to its manifest.

    Arguments and errors as for `execute`; `done` is what parts of the run did before, at times that nobody measured.
    Nothing of the run stays in this process.
    """
    started = time.monotonic()
    plan = split_by_workers(plan, engine)
    what = "poolsieve run" if score else "poolsieve decide"
    if not score:  # a run has tried OUT when it was prepared; a what-if, prepared like a decision, writes nothing
        fs.check_writable(plan.job.out)
    with ending(plan.job.run_id), progress.of(plan.job.run_id).here():
        with working(plan, what):
            if plan.job.options.retry_quarantined:
                fs.write_new(retried_url(plan.job.out), b"")
            found = again.unchanged(plan.job, plan.shards)
            if found is None:
                found = execute(plan, score=score, engine=engine, watch=watch)
                found.files = again.files_of(plan.job, plan.shards, found)
            found.wall_seconds = time.monotonic() - started if done is None else None
            found.work.add(done or Work())
            found.facts = facts_of(plan.job, plan.gaps)
            _close(plan, found, what, before_manifest)
            made = OutFolder(plan.job.out)
        clear(plan.job.out, what)
        return made


def score_part(plan: Plan, what: str, *, engine: Engine = Engine(), watch: Watch | None = None) -> Work:
    """Scores the shards of a plan up to the first cut that it does not know, and decides nothing: a part of a run.

    Args:
        plan: of a job with `part`.
        what: the command, for whoever must wait for it.
        engine, watch: as for `execute`.

    Raises:
        PoolsieveError: whatever stopped the job, as the user should read it.
    """
    with ending(plan.job.run_id), progress.of(plan.job.run_id).here(), working(plan, what):
        if plan.job.options.retry_quarantined:
            fs.write_new(retried_url(plan.job.out), b"")
        return execute(plan, engine=engine, watch=watch).work


def _close(plan: Plan, found: Summary, what: str, before_manifest: BeforeManifest | None) -> None:
    """Makes a decision the current one. Decisions are written side by side; only here one must wait for another."""
    out = plan.job.out
    with leases.held(leases_folder(out), leases.CLOSE, what, patience=_CLOSE_SECONDS) as lease:
        fs.write_bytes(summary_url(out, found.decision), dumps(found.to_json()))
        if before_manifest is not None:
            before_manifest(plan, found)
        if lease is not None:
            lease.check()
        write_manifest(plan.job, found, plan.gaps)


def _as_trial(plan: Plan) -> Plan:
    return dataclasses.replace(plan, job=dataclasses.replace(plan.job, trial=True))


def what_if(plan: Plan, *, engine: Engine = Engine(), watch: Watch | None = None) -> Summary:
    """The summary of a decision that is not written, and its overlap with the current one."""
    what, plan = "poolsieve decide --what-if", _as_trial(plan)
    with ending(plan.job.run_id), progress.of(plan.job.run_id).here(), working(plan, what, read_only=True):
        return execute(plan, score=False, write=False, engine=engine, watch=watch)
