"""An export after checking: which rows, from where, into which format, with what beside them."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.export.columns import edited_columns, score_types
from poolsieve.dataflow.export.edited import EditedColumns, EditedRows
from poolsieve.dataflow.export.index import KINDS, MEGATRON, About, ListRecord
from poolsieve.dataflow.export.parts import OutputFile, PartName, ShardExtract
from poolsieve.dataflow.export.recast import source_of, unified
from poolsieve.dataflow.export.rows import Choice
from poolsieve.dataflow.export.target import Target
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.formats import FORMATS
from poolsieve.dataflow.pools.formats.format import Format
from poolsieve.dataflow.pools.formats.outgoing import Added, Build, Copier, EditedTexts, Outgoing, Picked, names
from poolsieve.dataflow.pools.json_types import schema_of_all
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.pools.union import UnionFiles
from poolsieve.dataflow.recipes.recipe import Pool, Recipe
from poolsieve.dataflow.runners.base import threads_for
from poolsieve.dataflow.store.layout import check_export_folder, export_folder
from poolsieve.dataflow.store.manifest import Manifest, versions
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.dataflow.store.shard_lines import ShardLine
from poolsieve.filters.lists import file_sha256, load_list
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.errors import PlanError

_LAYOUT = 3
"""Raised when the same export would give other files, so that none goes on with what an older version began."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the user asked for; see `export`."""

    target: str | os.PathLike[str] | None = None
    format: str = "same"
    select: str | None = None
    uids: str | os.PathLike[str] | None = None
    scores: bool | Sequence[str] = False
    target_bytes: int | None = None
    pool: Pool | None = None
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    recipe: Recipe | None = None
    trust_recipe: bool = False
    tokenizer: str | None = None
    revision: str | None = None
    eos: str | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        self._ids()
        size = self.target_bytes
        if size is not None and (type(size) is not int or size < 1):
            raise PlanError(f"target_bytes={size!r}: a number of at least one byte is needed")
        if self.pool is not None and not isinstance(self.pool, Pool):
            raise PlanError(f"pool={self.pool!r}: give a Pool, as Pool.parquet('data/*.parquet')")
        if self.recipe is not None and not isinstance(self.recipe, Recipe):
            raise PlanError(f"recipe={self.recipe!r}: give a Recipe, as the recipe file makes it")

    def _ids(self) -> None:
        """Refuses what says how texts become ids where they stay texts."""
        names = ("tokenizer", "revision", "eos", "text")
        given = next((name for name in names if getattr(self, name) is not None), None)
        if given is not None and self.format != MEGATRON:
            raise PlanError(f"--{given} is for --format {MEGATRON}, which is made of ids: leave it out for others")


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """Everything that a worker needs to know of an export: small and picklable.

    Attributes:
        choice: which rows leave.
        files: the pool's, where they are now.
        format: name of the format that is written.
        added: what goes along.
        edits: how edited texts are made; None for none.
        build: for another format than the pool's: what is read of a row; None for a copy.
        same_place: whether the pool is where it was when it was scored, so that its files' tags can be compared.
        threads: whether decoding one file may use several threads.
    """

    choice: Choice
    files: PoolFiles
    format: str
    added: Added
    edits: EditedColumns | None = None
    build: Build | None = None
    same_place: bool = True
    threads: bool = True

    @property
    def to(self) -> Format:
        """The format that is written."""
        return FORMATS[self.format]

    @property
    def columns_vary(self) -> bool:
        """Whether only a look at all shards tells which columns another format will have."""
        return self.build is not None and self.files.reader.has_columns

    def check(self, shard: Shard) -> None:
        """Compares a pool file with the one that was scored.

        Raises:
            ShardChanged: if it differs or is gone.
        """
        self.files.check_unchanged(shard, moved=not self.same_place)

    def outgoing(self, part: OutputFile) -> Iterator[Outgoing]:
        """The shards of a file of the export, each checked right before it is read."""
        for item in part.inputs:
            self.check(item.shard)
            yield Outgoing(
                shard=item.shard,
                rows=item.rows,
                whole=item.whole and len(part.inputs) == 1,
                pick=lambda item=item: self.choice.pick(item.shard, item.ledger_sha256),  # type: ignore[misc]
                edited=lambda picked, shard=item.shard: self._edited(picked, shard),  # type: ignore[misc]
            )

    def _edited(self, picked: Picked, shard: Shard) -> EditedTexts | None:
        return None if self.edits is None else EditedRows(self.edits, self.files, shard, picked.row)

    def typed(self, fields: Sequence[bytes], shards: Sequence[Shard]) -> ExportPlan:
        """The plan with the columns of all shards that give rows.

        Args:
            fields: what the shards hold, as serialised schemas, in pool order; empty for those without rows.
            shards: some of the pool's.

        Raises:
            PlanError: if these rows can't be written.
        """
        schemas = [pa.ipc.read_schema(pa.py_buffer(one)) for one in dict.fromkeys(fields) if one]
        one_schema = schema_of_all if self.files.reader.typed_by_rows else unified
        return self.recast(one_schema(schemas), shards) if schemas else self

    def recast(self, fields: pa.Schema, shards: Sequence[Shard]) -> ExportPlan:
        """The plan of writing these fields of the pool in another format.

        Raises:
            PlanError: if the format can't hold them.
        """
        build = self.to.build_with().plan(source_of(self.files, fields, shards), self.added.scores)
        return dataclasses.replace(self, build=build)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """An export that passed every check which can be made before the shards are surveyed.

    Attributes:
        plan: for the workers.
        target: the folder.
        lines: the pool's shards and their counts.
        target_bytes: files close at the first shard boundary past this size.
        about: what tells it from another export.
        warnings: what the user should know before work starts.
    """

    plan: ExportPlan
    target: Target
    lines: Sequence[ShardLine]
    target_bytes: int
    about: About
    warnings: tuple[str, ...] = ()

    @property
    def part_name(self) -> PartName:
        """What its files are called."""
        return self.plan.to.part_name

    @property
    def never_empty(self) -> bool:
        """Whether no rows at all make one file."""
        return self.plan.to.never_empty

    @property
    def write(self) -> WritePart | None:
        """What writes a file, where it is not the format that does."""
        return None

    def sized(self, inputs: Sequence[ShardExtract]) -> Sequence[ShardExtract]:
        """The surveyed shards, each with about the bytes that it gives to a file."""
        return inputs

    def beside(self, name: str) -> tuple[str, ...]:
        """Files that are written along with the one of that name, and have records of their own."""
        return ()

    def side_files(self, rows: Mapping[str, int]) -> Mapping[str, bytes]:
        """Small files that are written in the end, given the files' rows: name -> contents."""
        return self.plan.to.side_files(rows)

    def begin(self) -> None:
        """Done before the first file is written."""

    def versions(self) -> dict[str, str]:
        """Of what the files may depend on."""
        return versions()


WritePart = Callable[[OutputFile, ExportPlan, Target], None]
"""Writes one file of an export, and leaves a note of what it wrote."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Where an export happens: the run, its pool where it is now, and the folder to write to."""

    run: OutFolder
    place: PoolFiles
    url: str


def scene(out: str, wishes: Wishes) -> Scene:
    """Opens a run, and checks where its rows are to go.

    Raises:
        PlanError: if there is no whole run, or the folder is not to be written to.
    """
    run = OutFolder(out)
    place = _place(run.manifest.pool.pool().located(), wishes.pool)
    url = export_folder(run.url) if wishes.target is None else fs.absolute(wishes.target)
    _outside(place, run.shards, url)
    check_export_folder(run.url, url)
    return Scene(run=run, place=place, url=url)


def prepare(out: str, wishes: Wishes, workers: int) -> Prepared:
    """Checks an export.

    Raises:
        PlanError: for anything that can't work.
    """
    found = scene(out, wishes)
    run, place, url = found.run, found.place, found.url
    made = _plan(run, wishes, place, threads=threads_for(workers) > 1)
    size = wishes.target_bytes or made.to.target_bytes
    if not _is_copy(wishes.format, made.to, place):
        made = _recast(made, [line.shard for line in run.shards])
    about = about_of(made, run.manifest, size)
    return Prepared(
        plan=made,
        target=Target(url, digest([_LAYOUT, about.to_json()], 8)),
        lines=run.shards,
        target_bytes=size,
        about=about,
        warnings=_warnings(made),
    )


def _plan(run: OutFolder, wishes: Wishes, place: PoolFiles, *, threads: bool) -> ExportPlan:
    """The plan of a copy; what another format takes of a row is still to be said."""
    format = _format(wishes.format, place)
    check_selection(wishes, run.manifest)
    edits = edited_columns(run, place, format, wishes.columns, wishes.recipe, trust=wishes.trust_recipe)
    types = score_types(run, wishes.scores, beside=format.scores_are_columns)
    if types and not format.copier.takes_scores:
        raise PlanError(
            f"{format.title} have no place for scores: add --format parquet, where each is a column, or export without "
            "them"
        )
    added = Added(scores=types, edited=tuple(wishes.columns))
    return ExportPlan(
        choice=choice_of(run, wishes, added, format.copier if _is_copy(wishes.format, format, place) else None),
        files=place,
        format=format.name,
        added=added,
        edits=edits,
        same_place=is_same_place(run, place),
        threads=threads,
    )


def _recast(made: ExportPlan, shards: Sequence[Shard]) -> ExportPlan:
    """With what a look at the first rows says; where only rows tell the types, the survey corrects it."""
    reader = made.files.reader
    fields = reader.fields(made.files, shards, None)
    return made.recast(schema_of_all([fields]) if reader.typed_by_rows else fields, shards)


def _warnings(made: ExportPlan) -> tuple[str, ...]:
    left = made.build.left_out if made.build is not None else ()
    return (f"{names(left)} hold bytes that have no place in {made.to.title}, and stay behind",) if left else ()


def _place(scored: PoolFiles, now: Pool | None) -> PoolFiles:
    """The scored pool where it is now."""
    if now is None:
        return scored
    if now.kind != scored.format:
        raise PlanError(f"the run was made from a {scored.format} pool, but pool= is {now.kind}")
    there = now.located()
    moved = dataclasses.replace(scored, root=there.root, patterns=there.patterns, storage_options=there.storage_options)
    return _parts_placed(moved, now) if isinstance(moved, UnionFiles) else moved


def _parts_placed(moved: UnionFiles, now: Pool) -> PoolFiles:
    if now.parts.keys() != moved.parts.keys():
        raise PlanError(f"the run's pool has the parts {', '.join(moved.parts)}, but pool= has {', '.join(now.parts)}")
    parts = {name: _place(part, now.parts[name]) for name, part in moved.parts.items()}
    return dataclasses.replace(moved, parts=parts)


def _format(name: str, files: PoolFiles) -> Format:
    if name != "same" and name not in FORMATS:
        raise PlanError(f"--format {name!r} is not one of {', '.join(['same', *FORMATS, *KINDS])}")
    found = files.copied if name == "same" else FORMATS[name]
    if not _is_copy(name, found, files):
        found.build_with()
    return found


def _outside(files: PoolFiles, lines: Sequence[ShardLine], target: str) -> None:
    inside = next((line.path for line in lines if files.url(line.shard).startswith(target.rstrip("/") + "/")), None)
    if inside is not None:
        raise PlanError(f"{target} holds the pool ({inside}), which an export must not touch: choose another folder")


def _is_copy(asked: str, format: Format, files: PoolFiles) -> bool:
    """Whether rows leave as they are: the parts of a union have one table only where they are copied."""
    return format is files.own or asked == "same"


def is_same_place(run: OutFolder, place: PoolFiles) -> bool:
    """Whether the pool is where it was scored, so that files have their tags still."""
    return place.root == run.manifest.pool.pool().located().root


def choice_of(run: OutFolder, wishes: Wishes, added: Added, copier: Copier | None) -> Choice:
    """Which rows leave, and what has to be known of them; `copier` if they leave as they are."""
    return Choice(
        out=run.url,
        decision=run.decision,
        scored=run.manifest.pool.pool().located(),
        select=wishes.select,
        uids=None if wishes.uids is None else fs.absolute(wishes.uids),
        scores=tuple(added.scores),
        repeats=wishes.select is None and wishes.uids is None and bool(run.counts.repeated),
        lines=copier is not None and copier.needs_lines,
        unread=copier is not None and copier.copies_unread and added.nothing,
    )


def check_selection(wishes: Wishes, manifest: Manifest) -> None:
    """Refuses a choice of rows that can't be.

    Raises:
        PlanError: for two choices, a list that can't be read, or a glob that matches no reason.
    """
    select, uids = wishes.select, wishes.uids
    if select is not None and uids is not None:
        raise PlanError("--reason and --uids each say which rows to export: give one of them")
    if uids is not None:
        load_list(fs.absolute(uids))
    reasons = list(manifest.reasons)
    if select is not None and not isinstance(select, str):
        raise PlanError(f"reason={select!r}: give one glob of reasons, as 'text.*'")
    if select is not None and not fnmatch.filter(reasons, select):
        near = difflib.get_close_matches(select, reasons, n=3, cutoff=0.3)
        guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        there = ", ".join(sorted(reasons)[:20]) or "none: every row was kept"
        raise PlanError(f"no row was dropped for a reason that {select!r} matches.{guess} The reasons are: {there}")


def about_of(made: ExportPlan, manifest: Manifest, size: int) -> About:
    """What tells an export from another; `size` as in `Prepared.target_bytes`."""
    choice = made.choice
    listed = None
    if choice.uids is not None:
        listed = ListRecord(sha256=file_sha256(choice.uids), entries=len(load_list(choice.uids)))
    about = About(
        decision=choice.decision,
        pool=manifest.pool.id,
        format=made.format,
        select=choice.select,
        uids=listed,
        scores=choice.scores,
        target_bytes=size,
    )
    if made.build is not None and isinstance(made.files, UnionFiles):
        about = msgspec.structs.replace(about, roles=True)
    return about if made.edits is None else about.with_columns(made.edits.about(made.files))
