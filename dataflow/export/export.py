"""`export`: writes the rows that a decision kept (or dropped, or that a list names) as files for training.

    survey the shards | cut them into files | write the files | _export.json

The survey reads listings, footers and, where the decision's own counts don't say it, ledger lines. Where only the rows
tell what columns another format will have, it reads those that leave. So the number of files and their
schema are known before the first byte, each output has one writer, and a copied input is read once. A file that is
whole is noted beside the export, so that the same export goes on where a killed one stopped.

Files are `data/train-00000-of-000NN.<ending>` in every format (see `pools.formats` for who reads them as they stand).
Where a copied pool has files of several schemas, those of each further one go to a folder of their own (`data-2`, ...),
since readers take one folder for one table; a warning says so.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from poolsieve.dataflow import fs, leases, progress
from poolsieve.dataflow.export.carry import carried_out
from poolsieve.dataflow.export.index import INDICES, MEGATRON, About, ExportIndex, FileRecord, InputRecord
from poolsieve.dataflow.export.indices import IndicesPlan, IndicesWork, prepare_indices
from poolsieve.dataflow.export.megatron.plan import prepare_megatron
from poolsieve.dataflow.export.parts import OutputFile, ShardExtract, plan_parts
from poolsieve.dataflow.export.plan import ExportPlan, Prepared, Wishes, prepare
from poolsieve.dataflow.export.recast import rows_of
from poolsieve.dataflow.export.sink import Sink, sink
from poolsieve.dataflow.export.survey import missing
from poolsieve.dataflow.export.target import LEASES, Target
from poolsieve.dataflow.pools.formats.outgoing import Written, names
from poolsieve.dataflow.pools.json_types import json_texts
from poolsieve.dataflow.recipes.recipe import Pool, Recipe
from poolsieve.dataflow.runners.base import import_beam
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.runners.supervise import Watch
from poolsieve.dataflow.store.layout import leases_folder
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.filters.lists import load_list
from poolsieve.scoring_models.base.errors import PoolsieveError


def _quiet(text: str) -> None:
    """Says nothing."""


def export(
    out: str,
    *,
    target: str | os.PathLike[str] | None = None,
    format: str = "same",
    select: str | None = None,
    uids: str | os.PathLike[str] | None = None,
    scores: bool | Sequence[str] = False,
    target_bytes: int | None = None,
    replace: bool = False,
    engine: Engine = Engine(),
    pool: Pool | None = None,
    columns: Mapping[str, str] | None = None,
    recipe: Recipe | None = None,
    trust_recipe: bool = False,
    tokenizer: str | None = None,
    revision: str | None = None,
    eos: str | None = None,
    text: str | None = None,
    watch: Watch | None = None,
    say: Callable[[str], None] = _quiet,
) -> ExportIndex:
    """Exports the rows that a run's current decision kept, in pool order.

    Args:
        out: the folder of a whole run.
        target: the folder to write to; `OUT/export` if not given.
        format: a name of `pools.formats.FORMATS`, `same` as the pool, or one of `export.index.KINDS`.
        select: export what was dropped for the reasons that this glob matches, instead of the kept rows.
        uids: path of a list (see `filters.lists.load_list`); export the rows that it names instead, each as often as
            it is listed.
        scores: add every score (as columns: but the pool's own), or those named.
        target_bytes: a file closes at the first shard boundary past this size.
        replace: remove the files of another export in `target` first.
        engine: where it runs, and how many files at a time.
        pool: where the pool is now, if it has moved, and how to reach it (`storage_options`).
        columns: column or key -> role: texts that the recipe's edits made of the role, in the place of the pool's own
            value of that name.
        recipe: for `columns`, of a run that was made from Python and not from a recipe file.
        trust_recipe: for `columns`, run the recipe that OUT holds whatever its file says on this machine.
        tokenizer, revision, eos, text: for `megatron`, as `tokenize` takes them.
        watch: called in the calling thread while the export runs; returns once the event is set.
        say: is told what should be known before work starts: what the format can't hold.

    Returns:
        What `_export.json` says.

    Raises:
        PlanError: for anything that can't work, before a byte is written.
        InUse: while another export writes to the folder, or `prune` removes something from OUT.
        PoolsieveError: whatever stopped the export, as the user should read it.
    """
    wishes = Wishes(
        target=target,
        format=format,
        select=select,
        uids=uids,
        scores=scores,
        target_bytes=target_bytes,
        pool=pool,
        columns=columns or {},
        recipe=recipe,
        trust_recipe=trust_recipe,
        tokenizer=tokenizer,
        revision=revision,
        eos=eos,
        text=text,
    )
    folder = leases_folder(OutFolder(out).url)
    with leases.held(folder, leases.WORK, "poolsieve export", patience=leases.PRUNE_SECONDS, read_only=True):
        made = _KINDS.get(wishes.format, prepare)(out, wishes, engine.workers)
        fs.check_writable(made.target.url)
        with leases.held(made.target.path(LEASES), leases.SOLE, "poolsieve export") as lease:
            made.target.check(replace)
            for warning in made.warnings:
                say(warning)
            work = IndicesWork(made, lease) if isinstance(made, IndicesPlan) else _Work(made, engine, lease)
            return carried_out(work, made.target.url, watch)


_KINDS: Mapping[str, Callable[[str, Wishes, int], Prepared | IndicesPlan]] = {
    INDICES: lambda out, wishes, workers: prepare_indices(out, wishes),
    MEGATRON: prepare_megatron,
}
"""How a kind of export that is no format is checked."""


class _Work:
    """The export itself; `index` is what `_export.json` says, once it is called."""

    def __init__(self, made: Prepared, engine: Engine, lease: leases.Lease | None) -> None:
        self.made, self.engine, self.plan, self.lease = made, engine, made.plan, lease
        self.index: ExportIndex | None = None

    def __call__(self) -> None:
        """Surveys, cuts, writes, and closes with the index."""
        # Here, since it loads Beam, which reports and plans do without.
        import_beam()
        from poolsieve.dataflow.export.pipeline import survey_all, write_all

        made, target = self.made, self.made.target
        inputs = survey_all(self.engine, made.lines, self.plan, target.work())
        if self.plan.columns_vary:
            self.plan = self.plan.typed([item.fields for item in inputs], [line.shard for line in made.lines])
        taken = _taken(self.plan, inputs, never_empty=made.never_empty)
        parts = plan_parts(made.sized(taken), made.target_bytes, made.part_name)
        self._still_ours()
        files = self._files(parts)
        target.claim([*(file.name for file in files), *made.side_files({part.name: 0 for part in parts})])
        there = target.whole(files)
        todo = [part for part in parts if any(file.name not in there for file in self._files([part]))]
        if todo:
            made.begin()
            write_all(self.engine, todo, made.write or write_part, self.plan, target)
        self.index = self._finish(inputs, parts)

    def _finish(self, inputs: Sequence[ShardExtract], parts: Sequence[OutputFile]) -> ExportIndex:
        target, expected = self.made.target, self._files(parts)
        records = target.whole(expected)
        lost = [file.name for file in expected if file.name not in records]
        if lost:
            raise PoolsieveError(f"{target.url}/{lost[0]} vanished while the export went on: run the same export again")
        files = tuple(records[file.name] for file in expected)
        also = self.made.side_files({record.name: record.rows for record in files})
        self._still_ours()
        for name, data in also.items():
            fs.write_bytes(target.path(name), data)
        index = self._index(files, tuple(also), inputs)
        target.finish(index)
        return index

    def _files(self, parts: Sequence[OutputFile]) -> list[OutputFile]:
        """All files that have records, in order."""
        some = ((part, *(OutputFile(name=name, inputs=()) for name in self.made.beside(part.name))) for part in parts)
        return list(itertools.chain.from_iterable(some))

    def _still_ours(self) -> None:
        """Before what would undo another export: this process may have been stopped for longer than a lease lasts."""
        if self.lease is not None:
            self.lease.check()

    def _index(
        self, files: tuple[FileRecord, ...], also: tuple[str, ...], inputs: Sequence[ShardExtract]
    ) -> ExportIndex:
        made, plan = self.made, self.plan
        absent = _missing(plan, made.target)
        unreadable = sum(item.unreadable for item in inputs if not item.rows)
        unreadable += sum(record.unreadable for record in files)
        schemas = {item.schema for item in inputs if item.schema}
        return ExportIndex(
            **{name: getattr(made.about, name) for name in About.__struct_fields__},
            export=made.target.id,
            out=plan.choice.out,
            target=made.target.url,
            rows=sum(record.rows for record in files),
            bytes=sum(record.bytes for record in files),
            unreadable=unreadable,
            renamed=sum(record.renamed for record in files),
            missing=absent,
            warnings=(*made.warnings, *_warnings(files, unreadable, absent), *_of_schemas(plan, len(schemas))),
            files=files,
            also=also,
            left_out=plan.build.left_out if plan.build is not None else (),
            versions=made.versions(),
        )


def _missing(plan: ExportPlan, target: Target) -> int:
    if plan.choice.uids is None:
        return 0
    notes = [target.work("found", name) for name in fs.names(target.work("found"))]
    return missing(load_list(plan.choice.uids), notes)


def _warnings(files: Sequence[FileRecord], unreadable: int, absent: int) -> list[str]:
    out = []
    if not any(record.rows for record in files):
        out.append("no row was exported")
    if absent:
        out.append(f"{absent} of the list's uids are not in the pool")
    if unreadable:
        out.append(f"{unreadable} rows could not be read and were left out")
    if blank := sum(record.blank or 0 for record in files):
        out.append(f"{blank} documents gave no token and were left out")
    if renamed := sum(record.renamed for record in files):
        out.append(f"{renamed} samples got a new key: they would have stood beside another sample of the same key")
    total = Written()
    for record in files:
        total.count_empty(record.empty)
    empty = sorted(total.empty.items())
    return out + [f"{count} values of {name!r} could not be read and were left out" for name, count in empty]


def _of_schemas(plan: ExportPlan, schemas: int) -> list[str]:
    """What the user should know of the files' columns."""
    out = []
    if schemas > 1:
        out.append(
            f"the pool's files have {schemas} different schemas: the first one's rows are in data, each further one's "
            f"in a folder of its own (up to data-{schemas}), to be loaded alone"
        )
    if plan.build is not None and plan.files.reader.typed_by_rows:
        texts = list(
            json_texts(pa.schema([(plan.build.columns[name], kind) for name, kind in plan.build.types.items()]))
        )
        if texts:
            out.append(f"values that have no one type are JSON text: {names(texts)}")
    return out


def _taken(plan: ExportPlan, inputs: Sequence[ShardExtract], *, never_empty: bool) -> list[ShardExtract]:
    """Inputs that give rows. Nothing at all still makes one file where its readers need a schema."""
    taken = [item for item in inputs if item.rows]
    if taken or not never_empty:
        return taken
    return [item for item in inputs if plan.build is not None or _readable(plan, item)][:1]


def _readable(plan: ExportPlan, item: ShardExtract) -> bool:
    try:
        plan.to.copier.schema(plan.files, item.shard)
    except PoolsieveError:
        return False
    return True


def write_part(part: OutputFile, plan: ExportPlan, target: Target) -> None:
    """Writes one file of an export, and then notes that it is whole.

    Raises:
        ShardChanged: if a pool file is not the one that was scored, before it is read or after; no file appears then.
    """
    progress.check()
    with sink(target.path(part.name)) as file:
        written = _write(part, plan, file)
        # Rows of a file that was cut short meanwhile would count as unreadable, or be another file's.
        for item in part.inputs:
            plan.check(item.shard)
    target.done(
        FileRecord(
            name=part.name,
            bytes=file.tell(),
            sha256=file.sha256,
            inputs=tuple(InputRecord(**item.shard.to_dict(), rows=item.rows) for item in part.inputs),
            **dataclasses.asdict(written),
        )
    )


def _write(part: OutputFile, plan: ExportPlan, file: Sink) -> Written:
    if plan.build is None:
        return plan.to.copier.copy(plan.files, plan.outgoing(part), plan.added, file, threads=plan.threads)
    read = Written()
    shards = (item for item in plan.outgoing(part) if item.rows)
    done = plan.to.build_with().build(plan.build, rows_of(plan.files, plan.build, shards, read), file)
    done.unreadable += read.unreadable
    done.count_empty(read.empty)
    return done
