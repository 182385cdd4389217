"""What a report says of the recipe, noted once, when the decision is made: from then on no recipe is needed for it.

A report of somebody else's OUT must run nothing that it finds there. So what steps, cuts and limits there are is
written down here as plain values, by the process that has the recipe anyway.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.recipes.program import DeriveStep, Program, RuleStep, Step
from poolsieve.dataflow.recipes.recipe import UNSAID_SPLIT_BYTES, Pool
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import check_pool_url
from poolsieve.dataflow.store.manifest import versions
from poolsieve.dataflow.store.summary import (
    Facts,
    LimitFacts,
    Pairs,
    PoolFacts,
    PoolPart,
    ScorerFacts,
    SourceFacts,
    StepFacts,
    TopFacts,
)
from poolsieve.filters.dsl.expr import Column, Compare

FARTHEST = 1e308
"""Limits beyond are in no drawing."""

SHOWN = ("text", "question", "answer", "image", "tokens")
"""Roles that a report shows of a row although no scorer may read them."""


def facts_of(job: Job, gaps: Sequence[str] = ()) -> Facts:
    """What a report says of a job; `gaps` are names of the pool's range that have no file."""
    program = job.program
    return Facts(
        steps=tuple(_step(step) for step in program.steps),
        tops=tuple(_tops(program)),
        limits=tuple(_limits(program)),
        scorers=tuple(_scorers(job)),
        derived=_pairs({name: kind for step in program.derived for name, kind in step.columns.items()}),
        read=program.roles(),
        role_types=_role_types(job.role_types, program.roles()),
        pool=_pool(job),
        gaps=tuple(gaps),
        recipe=json.dumps(job.recipe.to_dict(), default=str),
        source=_source(job.source),
        versions=_pairs(versions(program)),
    )


def _step(step: Step) -> StepFacts:
    if isinstance(step, RuleStep):
        return StepFacts(kind="rule", label=step.label, cuts=tuple(top.cut for top in step.tops))
    return StepFacts(kind="derived" if isinstance(step, DeriveStep) else "score", label=step.label)


def _tops(program: Program) -> Iterator[TopFacts]:
    for top in program.tops:
        yield TopFacts(cut=top.cut, score=top.name, by=top.by, rank=top.rank, lowest=top.lowest)


def _limits(program: Program) -> Iterator[LimitFacts]:
    """Comparisons of a score, and nothing made from it, with a number: those can be drawn beside its histogram."""
    rules = [step.predicate for step in program.steps if isinstance(step, RuleStep)]
    for part in (part for rule in rules for part in rule.parts()):
        if isinstance(part, Compare) and isinstance(part.left, Column) and _is_drawn(part.limit):
            op: Any = part.op
            yield LimitFacts(score=part.left.name, op=op, limit=float(part.limit))
    yield from (limit for step in program.derived for limit in _threshold(step))


def _threshold(step: DeriveStep) -> Iterator[LimitFacts]:
    """The similarity from which rows are near duplicates, where such are looked for."""
    made: Any = step.derived
    if "similarity" in made.columns and getattr(made, "sketch", None) is not None and hasattr(made, "threshold"):
        score = f"{step.label.rpartition('.')[0]}.similarity"
        yield LimitFacts(score=score, op="greater_equal", limit=float(made.threshold))


def _is_drawn(limit: object) -> bool:
    return isinstance(limit, (int, float)) and not isinstance(limit, bool) and abs(limit) < FARTHEST


def _scorers(job: Job) -> Iterator[ScorerFacts]:
    for step in job.program.scorers:
        yield ScorerFacts(
            name=step.name,
            fingerprint=job.fingerprints[step.name],
            scores=tuple((name, str(kind)) for name, kind in step.columns.items()),
            files=_pairs(job.scorer_parts[step.name].files),
            readings=_pairs(job.readings(step)),
        )


def _role_types(types: Mapping[str, pa.DataType], read: Sequence[str]) -> dict[str, str]:
    """Not of every column: a wide pool has thousands."""
    return {role: str(types[role]) for role in dict.fromkeys([*SHOWN, *read]) if role in types}


def _pool(job: Job) -> PoolFacts:
    pool = job.pool
    return PoolFacts(
        kind=pool.kind,
        urls=pool.urls,
        root=job.files.root,
        id=job.pool_id,
        roles=_pairs(pool.roles),
        split_bytes=pool.split_bytes or UNSAID_SPLIT_BYTES,
        max_document_bytes=pool.max_document_bytes,
        fraction=pool.fraction,
        seed=pool.seed,
        parts=msgspec.convert({name: part.to_dict() for name, part in pool.parts.items()}, dict[str, PoolPart]),
    )


def _source(source: RecipeSource | None) -> SourceFacts | None:
    return None if source is None else SourceFacts(path=source.path, parameters=_pairs(source.parameters))


def _pairs(values: Mapping[str, Any]) -> Pairs:
    return tuple((str(name), str(value)) for name, value in values.items())


def pool_files(facts: Facts, storage_options: fs.StorageOptions | None = None) -> PoolFiles:
    """The pool's files, where the facts say that they are; nothing is opened yet.

    Args:
        facts: of a decision.
        storage_options: how the pool is reached, where that takes more than its URLs.

    Raises:
        PoolsieveError: for a pool that can't be, and for URLs that are not of plain files.
    """
    pool = facts.pool
    for url in pool.urls:
        check_pool_url(url)
    made = Pool(
        kind=pool.kind,
        urls=pool.urls,
        roles=dict(pool.roles),
        allow_gaps=True,
        split_bytes=pool.split_bytes,
        max_document_bytes=pool.max_document_bytes,
        fraction=pool.fraction,
        seed=pool.seed,
        parts={name: dataclasses.replace(part.pool(), allow_gaps=True) for name, part in pool.parts.items()},
    )
    return made.with_options(storage_options or {}).located()
