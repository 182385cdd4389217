"""From a recipe to a finished decision: resolve, check, run the pipeline, and collect its summary."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.formats.base import NoneReadable
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.compile import compile_recipe
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.recipes.walk import Cuts
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.runners.supervise import Watch, supervised
from poolsieve.dataflow.store.artefacts import build_missing
from poolsieve.dataflow.store.fingerprints import fingerprints, source_hash, stored_fingerprints
from poolsieve.dataflow.store.job import Job, Options
from poolsieve.dataflow.store.manifest import pool_id, read_manifest, read_shards, recipe_in_manifest, shard_of
from poolsieve.dataflow.store.settings import stored_scorers
from poolsieve.scoring_models.base.errors import PlanError


@dataclass(frozen=True)
class Plan:
    """A job that passed every check, its shards, and what the user should be told before it starts."""

    job: Job
    shards: tuple[Shard, ...]
    gaps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def prepare(
    recipe: Recipe | RecipeSource, out: str, *, options: Options = Options(), frozen: Cuts | None = None
) -> Plan:
    """Lists the pool and checks the recipe against it; loads no model and reads no payload.

    Raises:
        PlanError: for anything that can't work, before any work starts.
    """
    given, source = _given(recipe)
    files = given.pool.located()
    out = fs.absolute(out)
    _look_ahead(given, files)
    listing = files.listing()
    _outside(files, listing.shards, out)
    types = files.all_types(listing.shards)
    program = compile_recipe(given.stages, files.roles, types)
    _known_cuts(frozen or {}, {top.cut for top in program.tops})
    prints, parts = fingerprints(program, files)
    warnings = _changed_sources(program, parts, out)
    job = Job(
        out=out,
        role_types=types,
        fingerprints=prints,
        parts={step.name: {**parts[step.name], "source": source_hash(step)} for step in program.scorers},
        pool_id=pool_id(listing.shards),
        pool=given.pool.absolute(),
        files=files,
        source=source,
        given=None if source else given,
        frozen=frozen or {},
        options=options,
    )
    return Plan(job, listing.shards, listing.gaps, warnings)


def _look_ahead(recipe: Recipe, files: PoolFiles) -> None:
    """Refuses what a few files show to be wrong, before a listing that may take minutes."""
    shards = files.look_ahead()
    with contextlib.suppress(NoneReadable):
        if shards:
            compile_recipe(recipe.stages, files.roles, files.all_types(shards))


def _given(recipe: Recipe | RecipeSource) -> tuple[Recipe, RecipeSource | None]:
    return (recipe.recipe(), recipe) if isinstance(recipe, RecipeSource) else (recipe, None)


def _outside(files: PoolFiles, shards: Sequence[Shard], out: str) -> None:
    inside = [shard.path for shard in shards if files.url(shard).startswith(out.rstrip("/") + "/")]
    if inside:
        raise PlanError(f"--out {out} lies inside the pool ({inside[0]}): its own files would be read as rows")


def _known_cuts(frozen: Cuts, tops: set[str]) -> None:
    unknown = sorted(set(frozen) - tops)
    if unknown and not set(frozen) & tops:
        raise PlanError(f"--cuts names {unknown}, but the recipe's cuts are {sorted(tops) or 'none'}")


def _changed_sources(program: Any, parts: Mapping[str, Any], out: str) -> tuple[str, ...]:
    stored = {(found["name"], found["version"]): found for found in stored_scorers(out)}
    warnings = []
    for step in program.scorers:
        found, mine = stored.get((step.name, step.scorer.version)), source_hash(step)
        if mine and found and found.get("source") not in (None, mine) and found["scorer"] == parts[step.name]["scorer"]:
            warnings.append(
                f"the code of scorer {step.name!r} has changed but its version is still {step.scorer.version}: stored "
                f"scores are used. Say version={step.scorer.version + 1} in scorer(...) to score anew"
            )
    return tuple(warnings)


def prepare_stored(
    recipe: Recipe | RecipeSource | None, out: str, *, options: Options = Options(), frozen: Cuts | None = None
) -> Plan:
    """Like `prepare`, from what OUT keeps alone: the pool and the models may be gone.

    Args:
        recipe: the new rules; None takes the recipe that OUT's manifest holds.
        out: a folder with a whole run.
        options: how to run.
        frozen: cuts to use instead of searching for them.

    Raises:
        PlanError: if OUT has no whole run, or the recipe needs scores that were never made there.
    """
    out = fs.absolute(out)
    found = read_manifest(out)
    if recipe is None:
        recipe = recipe_in_manifest(found, out)
    given, source = _given(recipe)
    types = {name: pa.type_for_alias(kind) for name, kind in found["role_types"].items() if _simple(kind)}
    files = given.pool.located()
    for role in found["role_types"]:
        types.setdefault(role, pa.binary())
    program = compile_recipe(given.stages, files.roles, types)
    _known_cuts(frozen or {}, {top.cut for top in program.tops})
    prints, parts = stored_fingerprints(program, files, stored_scorers(out), found["fingerprints"])
    shards = tuple(shard_of(line) for line in read_shards(out, found["decision"]))
    job = Job(
        out=out,
        role_types=types,
        fingerprints=prints,
        parts=parts,
        pool_id=pool_id(shards),
        pool=given.pool.absolute(),
        files=files,
        source=source,
        given=None if source else given,
        frozen=frozen or {},
        options=options,
        compare=found["decision"],
    )
    return Plan(job, shards, tuple(found["pool"]["gaps"]))


def _simple(kind: str) -> bool:
    try:
        pa.type_for_alias(kind)
    except ValueError:
        return False
    return True


def execute(
    plan: Plan,
    *,
    score: bool = True,
    write: bool = True,
    engine: Engine = Engine(),
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Runs the pipeline to its end and returns its summary.

    Args:
        plan: from `prepare` or `prepare_stored`.
        score: compute missing scores (`run`) or refuse to (`decide`).
        write: write ledger and decision, or only make the summary (`--what-if`).
        engine: where it runs.
        watch: called in the calling thread while the job runs; returns once the event is set (progress, Ctrl-C).

    Raises:
        PoolsieveError: whatever stopped the job, as the user should read it.
    """
    from poolsieve.dataflow.passes import pipeline

    job = plan.job

    def work() -> None:
        for step in job.program.scorers if score else ():
            build_missing(step.scorer)
        made = engine.pipeline(processes=job.program.wants_processes)
        pipeline.build(made, job, plan.shards, score=score, write=write)
        made.run().wait_until_finish()

    supervised(work, watch)
    return pipeline.take_result(job)
