"""Items of a pool in DatBench's layout, from Python: `poolsieve.items("r.yaml", to="DIR", layout="generative")`."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from poolsieve.dataflow import fs, leases
from poolsieve.dataflow.export.carry import carried_out
from poolsieve.dataflow.export.target import LEASES
from poolsieve.dataflow.pools.casts import is_bytes, is_text
from poolsieve.dataflow.pools.formats import FORMATS
from poolsieve.dataflow.pools.formats.base import UID
from poolsieve.dataflow.recipes.recipe import Pool, Recipe
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.runners.base import import_beam
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.runners.supervise import Watch
from poolsieve.dataflow.store.manifest import versions
from poolsieve.dataflow.store.shard_lines import pool_id
from poolsieve.jobs.api import Say, warn
from poolsieve.jobs.given import Params, given
from poolsieve.jobs.items_folder import ItemsFile, ItemsIndex, ItemsTarget
from poolsieve.jobs.items_layout import HOWS, PLAIN, READ, TEXTS
from poolsieve.jobs.items_write import ItemsPlan, Part, write_part
from poolsieve.jobs.train.fasttext import kind_of
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError, unknown_name

AnyPool = Pool | Recipe | str | os.PathLike[str]

_VERSION = 1
"""Raised when the same pool would give other items."""

_NEEDED = ("question", "answer")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Items that passed every check which can be made before a row is read."""

    pool: Pool
    pool_id: str
    plan: ItemsPlan
    target: ItemsTarget
    parts: tuple[Part, ...]
    gaps: tuple[str, ...] = ()


def items(
    *pools: AnyPool,
    to: str | os.PathLike[str],
    layout: str = PLAIN,
    params: Params | None = None,
    replace: bool = False,
    workers: int | None = None,
    runner: str = "local",
    beam_flags: Sequence[str] = (),
    watch: Watch | None = None,
    say: Say = warn,
) -> ItemsIndex:
    """Writes the items of a pool as Parquet in DatBench's layout, a file for each shard.

    Read are the roles `uid`, `image`, `question`, `answer`, `answers`, `options`, `source`, `capability`, `prefix`,
    `suffix`, `eval_mode`, `judge_prompt`, `is_circular`, `metadata` and `discrimination`; a question and an answer must
    be there. `source_info` has the row's source (in a union without one, its part) and its uid. Rows that are no items
    (no answer, no image where the pool has images, an answer that is no option, an option twice ...) are counted by
    reason and listed in `_left_out`. Stopped or killed, the same call goes on from where it was.

    Args:
        pools: a pool, a recipe, the path of a recipe file (whose pool is taken), or a glob of files whose names tell
            their kind; several become a union.
        to: folder to write to.
        layout: `datbench` (rows as they are), `generative` (questions of multiple choice without their options), or
            `circular` (all rotations of their options).
        params: of a recipe file.
        replace: remove other items in the folder first.
        workers: shards at a time (local runner); one if not given.
        runner: a name of `runners.engine.RUNNERS`.
        beam_flags: further Beam options.
        watch: called in the calling thread while it runs; returns once the event is set.
        say: is told warnings; Python's `warnings` if not given.

    Returns:
        What `_items.json` says.

    Raises:
        PlanError: for anything that can't work, before work starts.
        PoolsieveError: whatever stopped it.
    """
    engine = Engine(runner, 1 if workers is None else workers, beam_flags)
    made = prepare(_pool_of(pools, params), to, layout)
    fs.check_writable(made.target.url)
    with leases.held(made.target.path(LEASES), leases.SOLE, "poolsieve items") as lease:
        made.target.check(replace)
        if made.gaps:
            say(f"names of the range without a file: {len(made.gaps):,}, the first {made.gaps[0]}")
        found: ItemsIndex = carried_out(_Work(made, engine, lease), made.target.url, watch)
    for warning in found.warnings:
        say(warning)
    return found


def _pool_of(pools: Sequence[AnyPool], params: Params | None) -> Pool:
    if not pools:
        raise PlanError("items() needs a pool: a recipe file, or a glob of files")
    if params and len(pools) > 1:
        raise PlanError("parameters are for one recipe file: write the union into it")
    found = [_one_pool(pool, params) for pool in pools]
    return found[0] if len(found) == 1 else Pool.union(*found)


def _one_pool(pool: AnyPool, params: Params | None) -> Pool:
    if isinstance(pool, Pool):
        return pool
    if isinstance(pool, Recipe):
        return pool.pool
    url = os.fspath(pool)
    if not url.endswith((".py", ".yaml", ".yml")):
        kind = kind_of(url)
        if not kind.reader.has_columns:
            raise PlanError(f"{kind.title} have no columns: say in a recipe file which members are question and answer")
        return Pool(kind.name, (url,))
    source = given(url, params)
    return (source.recipe() if isinstance(source, RecipeSource) else source).pool


def prepare(pool: Pool, to: str | os.PathLike[str], layout: str) -> Prepared:
    """Checks a wish and lists the pool.

    Raises:
        PlanError: for anything that can't work.
    """
    if layout not in HOWS:
        raise unknown_name(f"items have no layout {layout!r}", layout, HOWS)
    url, pool = fs.absolute(to), pool.pinned()
    files = pool.located()
    listing = files.listing()
    inside = next((one.path for one in listing.shards if files.url(one).startswith(url.rstrip("/") + "/")), None)
    if inside is not None:
        raise PlanError(f"{url} holds the pool ({inside}): write items to another folder with --to")
    types = _types(files.all_types(listing.shards))
    names = FORMATS["parquet"].part_name
    parts = tuple(Part(names(i, len(listing.shards)), shard) for i, shard in enumerate(listing.shards))
    made = pool_id(listing.shards, files.marks)
    sources = files.sources([*types, UID])
    mark = digest([_VERSION, layout, made, sources, {role: str(kind) for role, kind in types.items()}], 8)
    plan = ItemsPlan(files=files, types=types, how=layout)
    return Prepared(
        pool=pool.absolute(), pool_id=made, plan=plan, target=ItemsTarget(url, mark), parts=parts, gaps=listing.gaps
    )


def _types(there: dict[str, pa.DataType]) -> dict[str, pa.DataType]:
    """The roles that items are made of.

    Raises:
        PlanError: if one is missing, or of a type that it can't have.
    """
    for role in _NEEDED:
        if role not in there:
            raise unknown_name(f"the pool has no role {role!r}, without which a row is no item", role, there)
    found = {role: there[role] for role in READ if role in there and role != UID}
    for role, kind in found.items():
        wanted = _wanted(role, kind)
        if wanted:
            raise PlanError(f"role {role!r} of the pool holds {kind}, and an item's is {wanted}: name another source")
    return found


def _wanted(role: str, kind: pa.DataType) -> str:
    """What a role should hold, if it does not."""
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    texts = pa.types.is_list(kind) and is_text(kind.value_type)
    if role == "image":
        return "" if is_bytes(kind) else "bytes"
    if role == "answers":
        return "" if texts else "a list of texts"
    if role == "options":
        return "" if texts or pa.types.is_integer(kind) else "a list of texts, or a whole number"
    if role == "discrimination":
        return "" if number else "a number"
    if role == "is_circular":
        return "" if pa.types.is_boolean(kind) else "true or false"
    return "" if role not in TEXTS or number or is_text(kind) else "a text"


class _Work:
    """The job itself; `index` is what `_items.json` says, once it is called."""

    def __init__(self, made: Prepared, engine: Engine, lease: leases.Lease | None) -> None:
        self.made, self.engine, self.lease = made, engine, lease
        self.index: ItemsIndex | None = None

    def __call__(self) -> None:
        """Claims the folder, writes what is missing, and closes with the index."""
        made, target = self.made, self.made.target
        names = [part.name for part in made.parts]
        there, index = target.records(names), target.index()
        todo = [part for part in made.parts if part.name not in there]
        if not todo and index is not None and index.id == target.id:
            self.index = index
            return
        self._still_ours()
        target.claim([*names, *(part.left_out for part in made.parts)])
        if todo:
            # Here, since it loads Beam, which plans do without.
            import_beam()
            from poolsieve.dataflow.tokenize.pipeline import write_all

            write_all(self.engine, todo, write_part, made.plan, target)
        self.index = self._finish(names)

    def _finish(self, names: Sequence[str]) -> ItemsIndex:
        records = self.made.target.records(names)
        lost = [name for name in names if name not in records]
        if lost:
            raise PoolsieveError(f"{self.made.target.url}/{lost[0]} vanished meanwhile: run the same command again")
        index = _index(self.made, tuple(records[name] for name in names))
        self._still_ours()
        self.made.target.finish(index)
        return index

    def _still_ours(self) -> None:
        """Before what would undo another command: this process may have been stopped for longer than a lease lasts."""
        if self.lease is not None:
            self.lease.check()


def _index(made: Prepared, files: tuple[ItemsFile, ...]) -> ItemsIndex:
    left = collections.Counter[str]()
    for one in files:
        left.update(one.left_out)
    return ItemsIndex(
        id=made.target.id,
        layout=made.plan.how,
        pool=made.pool.to_dict(),
        pool_id=made.pool_id,
        rows=sum(one.rows for one in files),
        items=sum(one.items for one in files),
        unchanged=sum(one.unchanged for one in files),
        left_out=dict(sorted(left.items())),
        warnings=tuple(_warnings(made, files, left)),
        files=files,
        versions=versions(),
    )


def _warnings(made: Prepared, files: Sequence[ItemsFile], left: collections.Counter[str]) -> Iterable[str]:
    if left:
        said = ", ".join(f"{count:,} {reason}" for reason, count in left.most_common())
        yield f"{left.total():,} rows are no items and were left out ({said}): _left_out lists them"
    if not any(one.items for one in files):
        yield "no item was written"
    if twice := _doubled(made.target, files):
        yield f"{len(twice):,} ids are those of several items, the first {twice[0]!r}: evaluations tell items by them"


def _doubled(target: ItemsTarget, files: Sequence[ItemsFile]) -> list[str]:
    columns = []
    for one in files:
        system, path = fs.connect(target.path(one.name))
        with system.open(path, "rb") as file:
            columns.append(pq.read_table(file, columns=["id"]).column("id"))
    ids = pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string())
    counts = pc.value_counts(ids)
    several = pc.greater(counts.field("counts"), pa.scalar(1))
    return sorted(str(one) for one in counts.field("values").filter(several).to_pylist())
