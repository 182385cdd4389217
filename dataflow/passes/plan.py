"""A plan: a recipe resolved and checked against its pool, or against what OUT keeps, before any work starts."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from poolsieve.dataflow import fs, leases
from poolsieve.dataflow.pools import hub
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.formats.base import NoneReadable
from poolsieve.dataflow.pools.listing import url_of
from poolsieve.dataflow.pools.packed import Shards
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.pools.union import UNION
from poolsieve.dataflow.recipes.compile import Facts, check_frozen, compile_recipe
from poolsieve.dataflow.recipes.program import Program
from poolsieve.dataflow.recipes.recipe import Pool, Recipe
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.recipes.walk import Cuts
from poolsieve.dataflow.store.artefacts import OwnPool, pools_to_read
from poolsieve.dataflow.store.fingerprints import changed_functions, scorer_parts, stored_facts, stored_parts
from poolsieve.dataflow.store.job import Job, Options
from poolsieve.dataflow.store.layout import derived_url, retried_url
from poolsieve.dataflow.store.manifest import Manifest, read_manifest
from poolsieve.dataflow.store.models import use_models
from poolsieve.dataflow.store.pins import keep, pins_of
from poolsieve.dataflow.store.settings import stored_scorers
from poolsieve.dataflow.store.shard_lines import pool_id, shard_lines
from poolsieve.dataflow.store.splits import StoredSplits
from poolsieve.filters.dsl.cuts import Table
from poolsieve.scoring_models.base.arrow import type_named
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from poolsieve.scoring_models.devices.replicas import takes_devices
from poolsieve.scoring_models.hub.cache import commits

_FEW = 64
"""Shards that are looked at before all are, to see whether a pool is that of an earlier decision."""


@dataclass(frozen=True)
class Plan:
    """A job that passed every check, its shards, and what the user should be told before it starts.

    Attributes:
        job: for the workers.
        shards: the pool's listing.
        gaps: names of the pool's ranges that have no file.
        warnings: for people.
        unsplit: those of the shards that are big files whose pieces nobody knows yet; `splitting` finds them.
        other_pool: what to say if the current decision in OUT is of another pool; else empty.
        pools_to_read: name of a scorer -> the pools that its artefact is made from first; of those that have none yet.
    """

    job: Job
    shards: Shards
    gaps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    other_pool: str = ""
    unsplit: tuple[Shard, ...] = ()
    pools_to_read: Mapping[str, tuple[OwnPool, ...]] = field(default_factory=dict)

    @property
    def pieces(self) -> int:
        """How many shards there are, or will be: a big file that is not split yet has about so many of its size."""
        return len(self.shards) + sum(pieces_of(self.job.files, shard) - 1 for shard in self.unsplit)

    def check_pool(self) -> None:
        """Called before a run, which would take the place of another pool's.

        Raises:
            PlanError: if the current decision in OUT is of another pool.
        """
        if self.other_pool:
            raise PlanError(
                f"{self.other_pool}. Choose another --out, or add --replace-pool: the scores stay, and the current "
                "decision goes with the next `prune`"
            )

    def check_devices(self) -> None:
        """Called before a run.

        Raises:
            PlanError: if devices were named, and no model of the recipe would go there.
        """
        if self.job.options.devices and not any(takes_devices(step.scorer) for step in self.job.program.scorers):
            raise PlanError(
                "--devices: no scorer of this recipe has a model that leaves its device open (device='auto')"
            )


_PLANS = 3
"""Times that a run is planned: once more where another one kept commits first, and where those were replaced then."""


def prepare(
    recipe: Recipe | RecipeSource,
    out: str,
    *,
    options: Options = Options(),
    frozen: Cuts | None = None,
    newest: bool = False,
) -> Plan:
    """Lists the pool and checks the recipe against it; loads no model and reads no payload.

    Args:
        recipe: an object, or its source.
        out: OUT, on any fsspec storage.
        options: how to run.
        frozen: cuts to use instead of searching for them.
        newest: read the Hub's revisions at the commits that they are now, not at those that OUT has kept.

    Raises:
        PlanError: for anything that can't work, before any work starts.
    """
    use_models(options.models)
    given, source = _given(recipe)
    out = fs.absolute(out)
    pins = pins_of(out, newest=newest)
    given = Recipe(given.pool.pinned(pins).with_split(_scored_pool(out)), given.stages)
    files = given.pool.located()
    _look_ahead(given, files)
    fs.check_writable(out)
    listing = files.listing(StoredSplits(out))
    _outside(files, listing.shards, out)
    files = files.numbered(listing.shards)
    types = files.all_types(listing.shards)
    program = _compiled(given, files, types, frozen)
    parts = scorer_parts(program, files, pins)
    job = Job(
        out=out,
        role_types=types,
        fingerprints={name: found.fingerprint() for name, found in parts.items()},
        scorer_parts=parts,
        pool_id=pool_id(listing.shards, files.marks),
        pool=given.pool.absolute(),
        files=files,
        source=source,
        recipe_object=None if source else given,
        frozen=frozen or {},
        options=options,
        retried=options.retry_quarantined or fs.exists(retried_url(out)),
        pins=pins.commits,
        commits=commits(),
    )
    _check_access(job, listing.shards)
    _check_tables(job)
    return Plan(
        job,
        listing.shards,
        listing.gaps,
        (*changed_functions(parts, stored_scorers(out)), *pins.moved()),
        _other_pool(out, files, listing.shards),
        listing.unsplit,
        {step.name: found for step in job.program.scorers if (found := tuple(pools_to_read(step.scorer, pins)))},
    )


def settled(planned: Callable[[], Plan], *, newest: bool = False) -> Plan:
    """A plan whose commits are those that OUT has kept: of runs that begin at once, the first to keep any says which.

    Args:
        planned: makes a plan, that passed every check.
        newest: its commits take the place of those that are kept.

    Raises:
        PlanError: whatever `planned` raises.
        InUse: if others go on keeping other ones.
    """
    for _ in range(_PLANS):
        plan = planned()
        if keep(plan.job.out, plan.job.pins, newest=newest):
            return plan
    raise leases.InUse(f"other runs in {plan.job.out} go on taking other commits of the Hub: try again when they ended")


def pieces_of(files: PoolFiles, shard: Shard) -> int:
    """About how many pieces a big file has: its size over that of a piece."""
    return -(-shard.size // files.part(shard).split_bytes)


def _scored_pool(out: str) -> Pool | None:
    """The pool of the current decision in OUT, which says how big its pieces are; None for none."""
    with contextlib.suppress(PoolsieveError):
        return read_manifest(out).pool.pool()
    return None


def _check_access(job: Job, shards: Sequence[Shard]) -> None:
    """Refuses a plan that would ask somebody without the key for it."""
    for step in job.program.scorers:
        check = getattr(step.scorer, "check_access", None)
        if check and (job.options.retry_quarantined or not all(map(job.score_files("plan", step).urls, shards))):
            check()


def _check_tables(job: Job) -> None:
    """Refuses frozen cuts whose gathered lines are in another OUT."""
    for step in job.program.derived:
        for table in job.frozen.get(step.label, {}).values():
            if isinstance(table, Table) and table.file and not fs.exists(derived_url(job.out, table.file)):
                raise PlanError(
                    f"--cuts: {step.label!r} names {table.file}, which is not in {job.out}. What an earlier run "
                    "gathered is good in its own OUT alone: take this name out of the cuts, and it is gathered anew"
                )


def _other_pool(out: str, files: PoolFiles, shards: Sequence[Shard]) -> str:
    """What to say if the current decision in OUT is of another pool.

    A pool that grew, lost files, was written anew in its place or moved with its files as they are stays the same.
    """
    with contextlib.suppress(PoolsieveError):  # there is nothing whole in OUT that could be replaced
        return _other(read_manifest(out), out, files, shards)
    return ""


def _other(found: Manifest, out: str, files: PoolFiles, shards: Sequence[Shard]) -> str:
    then = f"{out} holds a decision over the {found.pool.kind} pool in {found.pool.root}"
    if found.pool.kind != files.format:
        return f"{then}, and this one is {files.format} in {files.root}"
    if _share_a_file(files.root, shards, found.pool.root, (line.shard for line in shard_lines(out, found.decision))):
        return ""
    return f"{then}, and no file of that is in the pool in {files.root}"


def _share_a_file(root: str, shards: Sequence[Shard], root_then: str, then: Iterator[Shard]) -> bool:
    """Usually among the first few, and then no more are looked at."""
    known = [_marks(root_then, shard) for shard in itertools.islice(then, _FEW)]
    for some in (shards[:_FEW], shards):
        here = {name for shard in some for name in _marks(root, shard)}
        if not all(here.isdisjoint(marks) for marks in known):
            return True
    return any(not here.isdisjoint(_marks(root_then, shard)) for shard in then)


def _marks(root: str, shard: Shard) -> tuple[str, str]:
    """What a file is known by: where it stands, or else its name in the pool and its size."""
    return url_of(root, shard.path), f"{shard.size} {shard.path}"


def _given(recipe: Recipe | RecipeSource) -> tuple[Recipe, RecipeSource | None]:
    return (recipe.recipe(), recipe) if isinstance(recipe, RecipeSource) else (recipe, None)


def _look_ahead(recipe: Recipe, files: PoolFiles) -> None:
    """Refuses what a few files show to be wrong, before a listing that may take minutes."""
    shards = files.look_ahead()
    with contextlib.suppress(NoneReadable):
        if shards:
            compile_recipe(recipe.stages, files.roles, files.all_types(shards))


def _outside(files: PoolFiles, shards: Sequence[Shard], out: str) -> None:
    inside = [shard.path for shard in shards if files.url(shard).startswith(out.rstrip("/") + "/")]
    system, folder = fs.connect(out)
    for part in files.places if fs.is_local(system) else ():
        if "://" not in part.root:  # either may be reached through a link
            real = dataclasses.replace(part, root=os.path.realpath(part.root))
            own = (shard for shard in shards if shard.path.startswith(part.prefix))
            below = os.path.realpath(folder).rstrip("/") + "/"
            inside += [shard.path for shard in own if real.url(shard).startswith(below)]
    if inside:
        raise PlanError(f"--out {out} lies inside the pool ({inside[0]}): its own files would be read as rows")


def _compiled(
    recipe: Recipe, files: PoolFiles, types: dict[str, pa.DataType], frozen: Cuts | None, *facts: Facts
) -> Program:
    program = compile_recipe(recipe.stages, files.roles, types, *facts)
    check_frozen(program, frozen or {})
    known = set(program.marks)
    unknown = sorted(set(frozen or {}) - known)
    if unknown and not set(frozen or {}) & known:
        raise PlanError(f"--cuts names {unknown}, but the recipe's cuts are {sorted(known) or 'none'}")
    return program


def prepare_stored(
    recipe: Recipe | RecipeSource | None,
    out: str,
    *,
    options: Options = Options(),
    frozen: Cuts | None = None,
    trust_recipe: bool = False,
) -> Plan:
    """Like `prepare`, from what OUT keeps alone: the pool and the models may be gone.

    Args:
        recipe: the new rules; None takes the recipe that OUT's manifest holds.
        out: a folder with a whole run.
        options: how to run.
        frozen: cuts to use instead of searching for them.
        trust_recipe: run the recipe that OUT's manifest holds whatever the file that it was read from says now.

    Raises:
        PlanError: if OUT has no whole run, its recipe is not to be trusted, or the recipe needs scores that were never
            made there.
    """
    out = fs.absolute(out)
    found = read_manifest(out)
    given, source = _given(recipe or found.recipe_source(out, trust=trust_recipe))
    pool = _where_scored(given.pool, found)
    shards = Shards.of(line.shard for line in shard_lines(out, found.decision))
    files, types = pool.located().numbered(shards), _stored_types(found)
    scorers = stored_scorers(out)
    program = _compiled(given, files, types, frozen, stored_facts(scorers, found.fingerprints))
    parts = stored_parts(program, files, scorers, found.fingerprints)
    job = Job(
        out=out,
        role_types=types,
        fingerprints={name: kept.fingerprint() for name, kept in parts.items()},
        scorer_parts=parts,
        pool_id=pool_id(shards, files.marks),
        pool=pool.absolute(),
        files=files,
        source=source,
        recipe_object=None if source else given,
        frozen=frozen or {},
        options=options,
        compare=found.decision,
        retried=fs.exists(retried_url(out)),
    )
    _check_tables(job)
    return Plan(job, shards, found.pool.gaps, _elsewhere(out, given.pool, pool))


def _where_scored(pool: Pool, found: Manifest) -> Pool:
    """A recipe's pool, where the rows of OUT are: a decision is over these, wherever the recipe looks from here.

    Storage options stay behind if that is another place: OUT may be anybody's, and must not say who gets keys.
    """
    there = found.pool.pool()
    return dataclasses.replace(_at(pool, there), fraction=there.fraction, seed=there.seed)


def _at(pool: Pool, there: Pool) -> Pool:
    """A pool as the recipe reads it, in another place; of a union, each part that the recipe has too."""
    if UNION in (pool.kind, there.kind):
        parts = {name: _at(pool.parts.get(name, part), part) for name, part in there.parts.items()}
        return dataclasses.replace(there, parts=parts)
    if pool.absolute().urls == there.urls:
        return dataclasses.replace(pool, split_bytes=there.split_bytes)
    if _is_pin(pool, there):  # the same Hub: its token may go there
        return dataclasses.replace(pool, kind=there.kind, urls=there.urls, split_bytes=there.split_bytes)
    return dataclasses.replace(
        pool, urls=there.urls, allow_gaps=there.allow_gaps, storage_options={}, split_bytes=there.split_bytes
    )


def _is_pin(pool: Pool, there: Pool) -> bool:
    """Whether a pool names on the Hub what OUT has at a commit."""
    if pool.kind == hub.HUB:
        return bool(there.urls) and all(hub.is_pin(pool.urls[0], url) for url in there.urls)
    same = pool.kind == there.kind and len(pool.urls) == len(there.urls)
    urls = zip(pool.absolute().urls, there.urls, strict=False)
    return same and all(url == pinned or hub.is_pin(url, pinned) for url, pinned in urls)


def _elsewhere(out: str, named: Pool, scored: Pool) -> tuple[str, ...]:
    if (named.fraction, named.seed) == (scored.fraction, scored.seed) and _is_pin(named, scored):
        return ()
    places = [_place(pool) for pool in (named, scored)]
    if places[0] == places[1]:
        return ()
    return (f"the recipe's pool is {places[0]}, but {out} holds rows of {places[1]}: the decision is over those",)


def _place(pool: Pool) -> str:
    part = f" (a sample of {pool.fraction}, seed {pool.seed})" if pool.fraction else ""
    return ", ".join(pool.absolute().all_urls[:3]) + part


def _stored_types(found: Manifest) -> dict[str, pa.DataType]:
    """Arrow type of each role, as the manifest spells it; null, which is "not known", for what is no plain type."""
    types = {}
    for name, kind in found.role_types.items():
        try:
            types[name] = type_named(kind)
        except ValueError:
            types[name] = pa.null()
    return types
