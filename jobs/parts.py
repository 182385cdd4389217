"""A run in parts, from Python: `poolsieve.run(..., part="3/100")` in many processes, then `poolsieve.finish`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict, Unpack, overload

from poolsieve.dataflow.decisions.summary import empty_budgets
from poolsieve.dataflow.parts.finish import PartsLacking
from poolsieve.dataflow.parts.finish import finish as finish_parts
from poolsieve.dataflow.parts.notes import kept_source
from poolsieve.dataflow.parts.numbers import share_of
from poolsieve.dataflow.parts.score import part_of, score
from poolsieve.dataflow.passes.flight import shards_in_flight
from poolsieve.dataflow.store.session import ending
from poolsieve.dataflow.store.summary import Work
from poolsieve.jobs import api
from poolsieve.jobs.given import AnyRecipe, Params
from poolsieve.jobs.submitting import gap_warnings, planned, report_writer, watch_of
from poolsieve.scoring_models.base.errors import PlanError, unknown_name

__all__ = ["PartDone", "PartsLacking", "finish", "run"]


@dataclass(frozen=True)
class PartDone:
    """What a part of a run did; it decides nothing.

    Attributes:
        part: as `--part` takes it.
        pass_number, passes: the pass that it scored, from 1, and how many there are.
        shards: that the part has.
        work: rows read, rows scored by step, seconds.
    """

    part: str
    pass_number: int
    passes: int
    shards: int
    work: Work


class RunOptions(TypedDict, total=False):
    """Keywords of `run`; see `poolsieve.jobs.api.run`."""

    params: Params | None
    include: Sequence[str]
    workers: int | None
    runner: str
    beam_flags: Sequence[str]
    cuts: str | os.PathLike[str] | None
    max_error_rate: float | None
    retry_quarantined: bool
    replace_pool: bool
    newest: bool
    devices: str | int | Sequence[int] | None
    models: str | os.PathLike[str] | None
    samples: bool
    truth: str | os.PathLike[str] | None
    progress: bool
    say: api.Say


@overload
def run(recipe: AnyRecipe, out: str | os.PathLike[str], *, part: None = None, **how: Unpack[RunOptions]) -> api.Run: ...


@overload
def run(recipe: AnyRecipe, out: str | os.PathLike[str], *, part: str, **how: Unpack[RunOptions]) -> PartDone: ...


def run(
    recipe: AnyRecipe, out: str | os.PathLike[str], *, part: str | None = None, **how: Unpack[RunOptions]
) -> api.Run | PartDone:
    """Scores what has no scores yet, decides every row, and writes ledger, report and manifest to `out`.

    Stopped or killed, the same call goes on from where it was. When only rules changed, nothing is read or scored.

    Args:
        recipe: an object, or a file.
        out: OUT, on any fsspec storage.
        part: score this part of the pool and decide nothing; `finish` does when all parts are through. "3/100" is one
            of the parts 0 to 99, "3,17-19/100" are several, "slurm" is the one of this task of a Slurm array, and
            "slurm/5000" the task's share of so many. Parts may overlap, be killed, be repeated, and run at once.
        how: `params`, `include`, `workers`, `runner`, `beam_flags`, `cuts`, `max_error_rate`, `retry_quarantined`,
            `replace_pool`, `newest`, `devices`, `models`, `samples`, `truth`, `progress`,
            `say`: see `poolsieve.jobs.api.run`.

    Raises:
        PlanError: for anything that can't work, before any work starts.
        PoolsieveError: whatever stopped the run.
    """
    return api.run(recipe, out, **how) if part is None else _run_part(recipe, os.fspath(out), part, how)


def _run_part(recipe: AnyRecipe, out: str, text: str, how: RunOptions) -> PartDone:
    _check(how, RunOptions, "run")
    _no_decision(how)
    _here(how.get("runner", "local"))
    share = share_of(text, os.environ)
    made, engine = planned(recipe, out, **_planning(how))
    with ending(made.job.run_id):
        part = part_of(made, share)
        if how.get("workers") is None and engine.runner == "local":
            engine = replace(engine, workers=shards_in_flight(part.plan.job.program, part.plan.shards))
        for warning in [*made.warnings, *part.warnings]:
            how.get("say", api.warn)(warning)
        work = score(part, engine=engine, watch=watch_of(part.plan, how.get("progress", False)))
        return PartDone(str(share), part.number, part.passes, len(part.plan.shards), work)


def _no_decision(how: RunOptions) -> None:
    """Refuses what is for decisions: a part that passed it over would let rows into a report, say, that must not."""
    given = {"--max-error-rate": how.get("max_error_rate"), "--truth": how.get("truth")}
    given["--no-samples"] = None if how.get("samples", True) else True
    for option, value in given.items():
        if value is not None:
            raise PlanError(f"{option} is for `poolsieve finish`, which decides; a part decides nothing")


def _here(runner: str) -> None:
    """A part is of one process, which a cluster would share out again."""
    if runner != "local":
        raise PlanError(
            f"--part goes with --runner local: --runner {runner} shares the shards out by itself: leave one of them out"
        )


_OF_REPORTS = ("samples", "truth", "say", "trust_recipe")


def _planning(how: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of `planned`."""
    return {name: value for name, value in how.items() if name not in _OF_REPORTS}


def _check(how: Mapping[str, Any], kind: Any, function: str) -> None:
    known = kind.__annotations__
    for name in how:
        if name not in known:
            raise TypeError(str(unknown_name(f"{function}() takes no {name!r}", name, known)))


class FinishOptions(TypedDict, total=False):
    """Keywords of `finish`."""

    params: Params | None
    include: Sequence[str]
    workers: int | None
    runner: str
    beam_flags: Sequence[str]
    cuts: str | os.PathLike[str] | None
    max_error_rate: float | None
    replace_pool: bool
    samples: bool
    truth: str | os.PathLike[str] | None
    trust_recipe: bool
    progress: bool
    say: api.Say


def finish(recipe: AnyRecipe | None, out: str | os.PathLike[str], **how: Unpack[FinishOptions]) -> api.Run:
    """Ends a run whose parts have been scored: combines, finds cuts, decides; the same files as a run of one piece.

    Args:
        recipe: the one of the parts; None takes what they left in OUT, if it is what its file on this machine says.
        out: OUT of the parts.
        how: `params`, `include`, `workers`, `runner`, `beam_flags`, `cuts`, `max_error_rate`, `replace_pool`,
            `samples`, `truth`, `progress`, `say`: see `poolsieve.jobs.api.run`; `trust_recipe`: without a recipe, run
            the text that OUT holds whatever its file says. It is code: somebody else's does what it likes.

    Raises:
        PlanError: for anything that can't work.
        PartsLacking: if scores are lacking: which parts to run, and whether it is for a further pass over the pool.
        PoolsieveError: whatever stopped it.
    """
    _check(how, FinishOptions, "finish")
    out = os.fspath(out)
    source = kept_source(out, trust=how.get("trust_recipe", False)) if recipe is None else recipe
    report = report_writer(samples=how.get("samples", True), truth=how.get("truth"))
    made, engine = planned(source, out, **_planning(how))
    with ending(made.job.run_id):
        for warning in [*made.warnings, *gap_warnings(made)]:
            how.get("say", api.warn)(warning)
        watch = watch_of(made, how.get("progress", False))
        found = finish_parts(made, engine=engine, watch=watch, before_manifest=report)
        for warning in empty_budgets(found.cuts):
            how.get("say", api.warn)(warning)
        return api.Run(found.url, made.job.source or made.job.recipe_object)
