"""From a recipe to a finished decision: resolve, check, run the pipeline, and collect its summary."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from poolsieve.dataflow import fs, progress
from poolsieve.dataflow.artefacts import build_missing
from poolsieve.dataflow.evaluate import Cuts
from poolsieve.dataflow.fingerprints import fingerprints, source_hash, stored_fingerprints
from poolsieve.dataflow.finish import pool_id, read_manifest, read_shards, shard_of
from poolsieve.dataflow.job import Job, Options, RecipeSource
from poolsieve.dataflow.pool import Pool
from poolsieve.dataflow.program import compile_recipe
from poolsieve.dataflow.reader import NoneReadable
from poolsieve.dataflow.recipe import Recipe
from poolsieve.dataflow.records import Shard
from poolsieve.dataflow.store import stored_scorers
from poolsieve.filters.cuts import Cut
from poolsieve.scoring_models.protocol import PlanError, PoolsieveError


@dataclass(frozen=True)
class Prepared:
    """A job that passed every check, its shards, and what the user should be told before it starts."""

    job: Job
    shards: tuple[Shard, ...]
    gaps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def prepare(
    recipe: Recipe | RecipeSource, out: str, *, options: Options = Options(), frozen: Cuts | None = None
) -> Prepared:
    """Lists the pool and checks the recipe against it; loads no model and reads no payload.

    Raises:
        PlanError: for anything that can't work, before any work starts.
    """
    given, source = _given(recipe)
    pool = given.pool.absolute()
    out = fs.absolute(out)
    _look_ahead(Recipe(pool, given.stages))
    listing = pool.listing()
    _outside(pool, listing.shards, out)
    types = role_types(pool, listing.shards)
    program = compile_recipe(Recipe(pool, given.stages), types)
    _known_cuts(frozen or {}, {top.cut for top in program.tops})
    prints, parts = fingerprints(program, pool)
    warnings = _changed_sources(program, parts, out)
    job = Job(
        out=out,
        role_types=types,
        fingerprints=prints,
        parts={step.name: {**parts[step.name], "source": source_hash(step)} for step in program.scorers},
        pool_id=pool_id(listing.shards),
        pool=pool,
        source=source,
        given=None if source else given,
        frozen=frozen or {},
        options=options,
    )
    return Prepared(job, listing.shards, listing.gaps, warnings)


def _look_ahead(recipe: Recipe) -> None:
    """Refuses what a few files show to be wrong, before a listing that may take minutes."""
    shards = recipe.pool.look_ahead()
    with contextlib.suppress(NoneReadable):
        if shards:
            compile_recipe(recipe, role_types(recipe.pool, shards))


def _given(recipe: Recipe | RecipeSource) -> tuple[Recipe, RecipeSource | None]:
    return (recipe.recipe(), recipe) if isinstance(recipe, RecipeSource) else (recipe, None)


def role_types(pool: Pool, shards: Sequence[Shard]) -> dict[str, pa.DataType]:
    """Arrow type of every role, and of every pool column that a rule could name without declaring it."""
    return {**pool.columns(shards), **pool.role_types(shards)}


def _outside(pool: Pool, shards: Sequence[Shard], out: str) -> None:
    inside = [shard.path for shard in shards if pool.url(shard).startswith(out.rstrip("/") + "/")]
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
) -> Prepared:
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
        recipe = stored_source(found, out)
    given, source = _given(recipe)
    types = {name: pa.type_for_alias(kind) for name, kind in found["role_types"].items() if _simple(kind)}
    pool = given.pool.absolute()
    for role in found["role_types"]:
        types.setdefault(role, pa.binary())
    program = compile_recipe(Recipe(pool, given.stages), types)
    _known_cuts(frozen or {}, {top.cut for top in program.tops})
    prints, parts = stored_fingerprints(program, pool, stored_scorers(out), found["fingerprints"])
    shards = tuple(shard_of(line) for line in read_shards(out, found["decision"]))
    job = Job(
        out=out,
        role_types=types,
        fingerprints=prints,
        parts=parts,
        pool_id=pool_id(shards),
        pool=pool,
        source=source,
        given=None if source else given,
        frozen=frozen or {},
        options=options,
        compare=found["decision"],
    )
    return Prepared(job, shards, tuple(found["pool"]["gaps"]))


def stored_source(manifest: Mapping[str, Any], out: str) -> RecipeSource:
    """The recipe file that a manifest holds.

    Raises:
        PlanError: if the run was made from Python objects, not from a file.
    """
    source = manifest.get("source")
    if not source:
        raise PlanError(f"the run in {out} was made from Python, not from a recipe file: name the recipe to decide by")
    return RecipeSource(source["path"], source["text"], source["parameters"], source["includes"], source["base"])


def _simple(kind: str) -> bool:
    try:
        pa.type_for_alias(kind)
    except ValueError:
        return False
    return True


def read_cuts(url: str) -> dict[str, dict[str, Cut]]:
    """Cuts frozen by an earlier run, from its `cuts.json` (or its OUT).

    Raises:
        PlanError: if there is no such file or it is something else.
    """
    try:
        data = json.loads(fs.read_bytes(fs.absolute(url)))
        return {name: {group: Cut.from_dict(cut) for group, cut in groups.items()} for name, groups in data.items()}
    except FileNotFoundError as error:
        raise PlanError(f"no cuts file {url}: give OUT/decisions/<id>/cuts.json of an earlier run") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise PlanError(f"{url} is not a cuts.json: {error}") from error


def execute(
    prepared: Prepared,
    *,
    score: bool = True,
    write: bool = True,
    runner: str = "local",
    workers: int = 1,
    beam_flags: Sequence[str] = (),
    watch: Callable[[threading.Event], None] | None = None,
) -> dict[str, Any]:
    """Runs the pipeline to its end and returns its summary.

    Args:
        prepared: from `prepare` or `prepare_stored`.
        score: compute missing scores (`run`) or refuse to (`decide`).
        write: write ledger and decision, or only make the summary (`--what-if`).
        runner: see `runners.Engine`.
        workers: shards at a time.
        beam_flags: further Beam options.
        watch: called in the calling thread while the job runs; returns once the event is set (progress, Ctrl-C).

    Raises:
        PoolsieveError: whatever stopped the job, as the user should read it.
    """
    from poolsieve.dataflow import pipeline, runners

    job = prepared.job
    engine = runners.Engine(runner, workers, job.program, beam_flags)
    progress.reset()
    work = _Background(lambda: _run(pipeline, job, prepared.shards, engine, score, write))
    work.start()
    try:
        if watch is not None:
            watch(work.done)
        work.join()
    except KeyboardInterrupt:
        progress.ask_to_stop()
        work.join(timeout=60)
        raise
    if work.error is not None:
        raise root_cause(work.error)
    return pipeline.take_result(job)


def _run(pipeline: Any, job: Job, shards: Sequence[Shard], engine: Any, score: bool, write: bool) -> None:
    for step in job.program.scorers if score else ():
        build_missing(step.scorer)
    made = engine.pipeline()
    pipeline.build(made, job, shards, score=score, write=write)
    made.run().wait_until_finish()


class _Background(threading.Thread):
    """A thread that keeps what it raised. A daemon, so that a stuck runner can't hold the process."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True, name="poolsieve-job")
        self.work, self.done = work, threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        """Runs the work; sets `done` however it ends."""
        try:
            self.work()
        except BaseException as error:  # noqa: BLE001  (handed to the caller)
            self.error = error
        finally:
            self.done.set()


def root_cause(error: BaseException) -> BaseException:
    """The error that a worker raised, from what Beam makes of it: the same class, without Beam's trace in its text."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (PoolsieveError, OSError, MemoryError)):
            return _clean(seen)
        seen = seen.__cause__ or seen.__context__
    return _named(error)


def _clean(error: BaseException) -> BaseException:
    text = str(error)
    mark = text.find(" [while running ")
    if mark < 0 or isinstance(error, OSError):
        return error
    return type(error)(text[:mark])


def _named(error: BaseException) -> BaseException:
    """An error that crossed a process boundary as text: its last line that names one of ours."""
    lines = [
        line.strip() for line in str(error).splitlines() if ("poolsieve." in line and "Error" in line) or ": " in line
    ]
    ours = [line for line in lines if line.startswith("poolsieve.")]
    if ours:
        return PoolsieveError(ours[-1].partition(": ")[2].partition(" [while running ")[0])
    return error
