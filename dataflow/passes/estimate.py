"""What `poolsieve plan` says: what a run would read and compute, and about how many rows each stage would keep."""

from __future__ import annotations

import functools
import random
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from statistics import NormalDist
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.passes.plan import Plan, pieces_of
from poolsieve.dataflow.passes.projection import Projection
from poolsieve.dataflow.pools.listing import Listing
from poolsieve.dataflow.pools.packed import Shards
from poolsieve.dataflow.pools.shards import Batch, Shard
from poolsieve.dataflow.recipes.derived import RoleValues, scores_read, spread
from poolsieve.dataflow.recipes.program import DeriveStep, RuleStep, ScoreStep
from poolsieve.dataflow.recipes.schedule import Schedule
from poolsieve.dataflow.recipes.walk import Mask
from poolsieve.dataflow.runners.needs import RunnerPlan
from poolsieve.dataflow.store.artefacts import missing, role_of
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import rows_folder
from poolsieve.filters.dsl.env import Env
from poolsieve.filters.dsl.expr import Predicate
from poolsieve.scoring_models.base.scorer import has_model, in_pieces
from poolsieve.scoring_models.feeding.driver import score_rows

SAMPLED_SHARDS = 8
"""Shards whose first rows are read for the estimates."""


class PassEstimate(msgspec.Struct, kw_only=True, frozen=True):
    """One reading of the pool: its score steps, how many shards must be read for them, and about how many bytes."""

    steps: tuple[str, ...]
    shards: int
    nbytes: int


class ScorerState(msgspec.Struct, kw_only=True, frozen=True):
    """A scorer of the recipe, and how many shards have scores of it already.

    Attributes:
        scorer: name of its class.
        columns: score -> Arrow type.
        whole_pool: whether it scores every readable row, not only those alive.
        files: model file -> SHA-256.
    """

    name: str
    scorer: str
    fingerprint: str
    reads: tuple[str, ...]
    columns: dict[str, str]
    whole_pool: bool
    scored_shards: int
    files: dict[str, str]


class PoolState(msgspec.Struct, kw_only=True, frozen=True):
    """Where the pool is."""

    kind: str
    urls: tuple[str, ...]
    root: str


class ArtefactEstimate(msgspec.Struct, kw_only=True, frozen=True):
    """A job that comes before the first pass, since a scorer's file is made from another pool, or of the pool itself.

    Attributes:
        name: of the scorer's step.
        scorer: name of its class.
        pool: where it is.
        role: what is read of it.
        type: Arrow type of that.
        shards: of it.
        bytes: of its files; a tar or compressed lines are read whole, of Parquet one column.
        artefact: path of the file in OUT.
    """

    name: str
    scorer: str
    pool: PoolState
    role: str
    type: str
    shards: int
    bytes: int
    artefact: str


class StageEstimate(msgspec.Struct, kw_only=True, frozen=True):
    """A rule, the share of rows that it would keep, and its 95 % interval; a note where no sample tells."""

    reason: str
    sampled: int
    keeps: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""


class PlanReport(msgspec.Struct, kw_only=True, frozen=True):
    """Everything that `poolsieve plan` prints; `runner` where one was named, `projection` where rows were.

    `artefacts` are what is made of other pools before the first pass. Of `big_files` nobody knows the pieces before a
    run has split them: their share of the numbers of shards is an estimate, their size over that of a piece.
    """

    pool: PoolState
    shards: int
    bytes: int
    gaps: tuple[str, ...]
    warnings: tuple[str, ...]
    passes: tuple[PassEstimate, ...]
    scorers: tuple[ScorerState, ...]
    stages: tuple[StageEstimate, ...]
    runner: RunnerPlan | None = None
    projection: Projection | None = None
    big_files: int = 0
    artefacts: tuple[ArtefactEstimate, ...] = ()


def wilson(kept: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a share (Wilson 1927, J. Am. Stat. Assoc. 22:209)."""
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = kept / n
    centre = share + z * z / (2 * n)
    half = z * ((share * (1 - share) + z * z / (4 * n)) / n) ** 0.5
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


def describe_plan(plan: Plan, *, sample_rows: int = 2000, seed: int = 0) -> PlanReport:
    """What a run of the plan would do; reads the first rows of a few shards for the estimates.

    Args:
        plan: from `prepare`.
        sample_rows: rows to sample; 0 for no estimates.
        seed: chooses the shards of the sample.
    """
    job, shards = plan.job, plan.shards
    return PlanReport(
        pool=PoolState(kind=job.pool.kind, urls=job.pool.all_urls, root=job.files.root),
        shards=plan.pieces,
        big_files=len(plan.unsplit),
        bytes=Listing(shards).nbytes,
        gaps=plan.gaps,
        warnings=(
            *_replacing(plan),
            *plan.warnings,
            *questions(job, shards),
            *trivial_cuts(job),
            *advice(job),
            *stragglers(job, shards, plan.unsplit),
            *schemas(job, shards),
        ),
        passes=tuple(passes(job, shards, plan.unsplit)),
        artefacts=tuple(_artefacts(plan)),
        scorers=tuple(_scorer_state(job, shards, step) for step in job.program.scorers),
        stages=tuple(estimates(job, shards, sample_rows, seed)) if sample_rows else (),
    )


def _artefacts(plan: Plan) -> Iterator[ArtefactEstimate]:
    for step in plan.job.program.scorers:
        scorer: Any = step.scorer
        for found in plan.pools_to_read.get(step.name, ()):
            located = found.pool.located()
            yield ArtefactEstimate(
                name=step.name,
                scorer=type(scorer).__name__,
                pool=PoolState(kind=found.pool.kind, urls=found.pool.all_urls, root=located.root),
                role=role_of(scorer),
                type=str(found.kind),
                shards=found.shards,
                bytes=found.nbytes,
                artefact=scorer.artefact.removeprefix(f"{plan.job.out}/"),
            )


def _replacing(plan: Plan) -> list[str]:
    return [f"{plan.other_pool}: `run` asks for --replace-pool"] if plan.other_pool else []


def questions(job: Job, shards: Sequence[Shard]) -> list[str]:
    """What is said of scorers that ask somebody who may want to be paid, where a shard has no answers yet."""
    asking = [step for step in job.program.scorers if in_pieces(step.scorer) and not has_model(step.scorer)]
    todo = {step.name: sum(not job.score_files("plan", step).urls(shard) for shard in shards) for step in asking}
    return [
        f"{name!r} asks an endpoint about each row that reaches it: once, and twice where a reply can't be read. "
        f"{count:,} of {len(shards):,} shards have no answers yet"
        for name, count in todo.items()
        if count
    ]


def trivial_cuts(job: Job) -> list[str]:
    """Warnings for cuts that can't drop anything."""
    whole = [top for top in job.program.tops if top.fraction is not None and float(top.fraction) == 1]
    return [f"the cut {top.cut!r} keeps everything (fraction 1)" for top in whole]


def advice(job: Job) -> list[str]:
    """Warnings of rules that know what scores they stand on."""
    program = job.program
    made_by: dict[str, Any] = {name: step.scorer for step in program.scorers for name in step.columns}
    made_by |= {name: step.derived for step in program.derived for name in step.columns}
    rules = (step.predicate for step in program.steps if isinstance(step, RuleStep))
    advisers: list[Any] = [part for rule in rules for part in rule.parts() if hasattr(part, "advise")]
    return [said for part in advisers for said in part.advise(made_by, set(job.pool.roles) | set(job.role_types))]


def schemas(job: Job, shards: Sequence[Shard]) -> list[str]:
    """A warning if the first, the middle and the last file have different schemas."""
    two = job.files.two_schemas(shards)
    if two is None:
        return []
    return [
        f"{two[0]} and {two[1]} have different schemas: an export in the pool's own format writes a folder for each"
    ]


def stragglers(job: Job, shards: Sequence[Shard], unsplit: Sequence[Shard] = ()) -> list[str]:
    """Warnings for files that are too big to be one shard, but can't be split."""
    if len(shards) < 2:
        return []
    unknown = set(unsplit)
    whole = ((shard, job.files.part(shard)) for shard in shards if shard.extent is None and shard not in unknown)
    return [
        f"{shard.path} ({shard.size / 1e9:.3g} GB) {part.reader.unsplit}, so it is one shard and one worker's: "
        "smaller files would finish sooner"
        for shard, part in whole
        if shard.size > part.split_bytes
    ]


def passes(job: Job, shards: Shards, unsplit: Sequence[Shard] = ()) -> list[PassEstimate]:
    """The readings of the pool that are still to be done, with the bytes of the shards that each touches."""
    schedule, out = Schedule.of(job.program, job.frozen), []
    more = sum(pieces_of(job.files, shard) - 1 for shard in unsplit)  # nothing is stored of a piece before it is known
    for i in range(len(schedule.stops)):
        steps = schedule.scored_in(i)
        if schedule.reads(i):
            todo = np.fromiter((not _scored(job, shard, steps, first=i == 0) for shard in shards), bool, len(shards))
            roles = dict.fromkeys(["uid"] * (i == 0) + [role for step in steps for role in step.pool_roles])
            nbytes = needed_bytes(job, todo, shards, tuple(roles))
            out.append(PassEstimate(steps=tuple(s.name for s in steps), shards=int(todo.sum()) + more, nbytes=nbytes))
    return out


def needed_bytes(job: Job, todo: Mask, shards: Shards, roles: tuple[str, ...]) -> int:
    """About how many bytes a reading of `todo`, bool (n,), takes: the share that a few shards need, times all sizes.

    A tar is read whole; of Parquet only the columns of these roles.
    """
    places, sizes = np.flatnonzero(todo).tolist(), shards.shares
    chosen = random.Random(0).sample(places, min(SAMPLED_SHARDS, len(places)))  # noqa: S311
    sampled = float(sizes[chosen].sum())
    needed = sum(job.files.needed_bytes(shards[place], roles) for place in chosen)
    return round(float(sizes[todo].sum()) * needed / sampled) if sampled else 0


def _scored(job: Job, shard: Shard, steps: Iterable[ScoreStep], first: bool) -> bool:
    if first and job.rows_url(shard).rsplit("/", 1)[-1] not in _row_files(job):
        return False
    return all(job.score_files("plan", step).urls(shard) for step in steps)


def _row_files(job: Job) -> frozenset[str]:
    return job.session.once("row files", lambda: frozenset(fs.names(rows_folder(job.out))))


def _scorer_state(job: Job, shards: Sequence[Shard], step: ScoreStep) -> ScorerState:
    return ScorerState(
        name=step.name,
        scorer=type(step.scorer).__name__,
        fingerprint=job.fingerprints[step.name],
        reads=tuple(step.scorer.reads),
        columns={name: str(kind) for name, kind in step.columns.items()},
        whole_pool=step.whole_pool,
        scored_shards=sum(bool(job.score_files("plan", step).urls(shard)) for shard in shards),
        files=dict(job.scorer_parts[step.name].files),
    )


LATER = "needs a model's scores, or what is made of a pool first"


def estimates(job: Job, shards: Sequence[Shard], rows: int, seed: int) -> list[StageEstimate]:
    """For each rule: rows of the sample in and out, and the share that stays with its 95 % interval.

    The sample is the first rows of a few shards chosen by `seed`. Scorers that load a model, or need a file that is
    still to be made, are not run, so a rule on their scores has no estimate; a `Top` keeps what it is asked to.
    """
    chosen = random.Random(seed).sample(shards, min(SAMPLED_SHARDS, len(shards)))  # noqa: S311
    steps = [step for step in job.program.scorers if _costs_little(step)]
    roles = tuple(dict.fromkeys(role for step in steps for role in step.pool_roles))
    types = job.types_of(roles)
    totals = [[0, 0] for _ in job.program.steps]
    for shard in chosen:
        for batch in islice(job.files.pool_batches(shard, roles, types), 1):
            _add_sample(job, shard, batch, max(1, rows // len(chosen)), totals)
    whole = {name for step in job.program.derived if step.sees_pool for name in step.columns}
    return [
        _estimate(step, whole, *total)
        for step, total in zip(job.program.steps, totals, strict=True)
        if isinstance(step, RuleStep)
    ]


def _add_sample(job: Job, shard: Shard, batch: Batch, rows: int, totals: list[list[int]]) -> None:
    """Walks the first rows of a batch through the steps that need no model, and adds to each rule's [in, out]."""
    n = min(rows, batch.num_rows)
    errors = {role: {i: e for i, e in found.items() if i < n} for role, found in batch.role_errors.items()}
    values = RoleValues(batch.roles.slice(0, n), errors)
    alive = np.array([i not in batch.read_errors for i in range(n)], dtype=bool)
    scores: dict[str, pa.Array] = {}
    for step, total in zip(job.program.steps, totals, strict=True):
        env = Env(scores, functools.partial(batch.uid.slice, 0, n), np.arange(n), shard.path, {}, alive)
        if isinstance(step, ScoreStep):
            scores.update(_sampled_scores(step, values, n, env))
        elif isinstance(step, DeriveStep):
            scores.update(_sampled_values(step, scores))
        elif not step.tops and all(name in scores for name in step.predicate.names()):
            kept = alive & _true(step.predicate, env)
            total[0] += int(alive.sum())
            total[1] += int(kept.sum())
            alive = kept


def _true(predicate: Predicate, env: Env) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.array(predicate.truth(env).fill_null(False).to_numpy(zero_copy_only=False), dtype=bool)


def _sampled_values(step: DeriveStep, scores: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """A derived value of the first rows; none if it needs the pool, or scores that no sample has."""
    if step.sees_pool or not all(name in scores for name in step.derived.reads):
        return {}
    made = step.derived.values({name: scores[name] for name in step.derived.reads}, None)
    return dict(zip(step.columns, made.values(), strict=True))


def _costs_little(step: ScoreStep) -> bool:
    """Whether a sample of rows is scored at once: nothing is loaded, asked, or made from a pool first."""
    return not has_model(step.scorer) and not in_pieces(step.scorer) and not missing(step.scorer)


def _sampled_scores(step: ScoreStep, values: RoleValues, n: int, env: Env) -> dict[str, pa.Array]:
    """The step's scores of the first n rows; none of a model (which a plan never asks) or made from one's."""
    plain: Any = step.scorer
    upstream = [source.name for source in scores_read(step.inputs)]
    asked = step.where.names() if step.where is not None else ()
    if not _costs_little(step) or not all(name in env.scores for name in (*upstream, *asked)):
        return {}
    values.scores = env.scores
    rows = np.arange(n) if step.where is None else np.flatnonzero(env.alive & _true(step.where, env))
    inputs, good, _ = values.batch(step.inputs, rows)
    made = score_rows(plain, inputs, plain.columns, threads=1)
    columns = zip(step.columns, made.columns.values(), strict=True)
    return {name: spread(array, good, np.arange(n)) for name, array in columns}


def _estimate(step: RuleStep, whole: Container[str], seen: int, kept: int) -> StageEstimate:
    if not seen:
        needs = "needs a look at all rows" if any(map(whole.__contains__, step.predicate.names())) else LATER
        note = "; ".join(top.asked for top in step.tops) or needs
        return StageEstimate(reason=step.reason, sampled=0, note=note)
    low, high = wilson(kept, seen)
    return StageEstimate(reason=step.reason, sampled=seen, keeps=kept / seen, low=low, high=high)
