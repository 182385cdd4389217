"""`export`: writes the rows that a decision kept (or dropped, or that a list names) as files for training.

    survey the shards | cut them into files | write the files | export.json

The survey reads listings, footers and, where the decision's own counts don't say it, ledger lines. So the number of
files is known before the first byte, each input is read once and each output has one writer. A file that is whole is
noted beside the export, so that the same export goes on where a killed one stopped.
"""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from poolsieve.dataflow import fs, progress
from poolsieve.dataflow.decisions.record import add_counts
from poolsieve.dataflow.export.columns import edited_columns, score_columns
from poolsieve.dataflow.export.rows import ExportPlan, OutputFile, ShardExtract, Written, plan_parts
from poolsieve.dataflow.export.sink import explain, sink
from poolsieve.dataflow.export.survey import missing
from poolsieve.dataflow.export.target import Target
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.formats.cross import crossing, write_rows, write_samples
from poolsieve.dataflow.pools.formats.jsonl import write as jsonl
from poolsieve.dataflow.pools.formats.parquet import write as parquet
from poolsieve.dataflow.pools.formats.parquet.write import footer_of
from poolsieve.dataflow.pools.formats.webdataset import write as webdataset
from poolsieve.dataflow.recipes.recipe import Pool, Recipe
from poolsieve.dataflow.runners.base import threads_for
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.runners.supervise import Watch, supervised
from poolsieve.dataflow.store.manifest import Manifest, ShardLine, read_manifest, read_shards, versions
from poolsieve.dataflow.store.summary import dumps
from poolsieve.filters.lists import file_sha256, load_list
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError

FORMATS = ("same", "parquet", "webdataset", "jsonl")
"""What `format` may be; `same` is the pool's own."""

TARGET_BYTES: Mapping[str, int] = {"parquet": 500 << 20, "webdataset": 1 << 30, "jsonl": 1 << 30}
"""Usual size of a file: what `datasets` and the Hub's WebDataset page have; of JSON lines before compression."""

_LAYOUT = 1
"""Raised when the same export would give other files, so that none goes on with what an older version began."""

_WRITERS: Mapping[tuple[str, str], Callable[[ExportPlan, OutputFile, Any], Written]] = {
    ("parquet", "parquet"): parquet.write,
    ("parquet", "webdataset"): write_samples,
    ("webdataset", "parquet"): write_rows,
    ("webdataset", "webdataset"): webdataset.write,
    ("jsonl", "jsonl"): jsonl.write,
}


def export(
    out: str,
    *,
    target: str | None = None,
    format: str = "same",
    select: str | None = None,
    uids: str | None = None,
    scores: bool | Sequence[str] = False,
    target_bytes: int | None = None,
    replace: bool = False,
    engine: Engine = Engine(),
    pool: Pool | None = None,
    columns: Mapping[str, str] | None = None,
    recipe: Recipe | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Exports the rows that a run's current decision kept, in pool order.

    Args:
        out: the folder of a whole run.
        target: the folder to write to; `OUT/export` if not given.
        format: `parquet`, `webdataset`, `jsonl`, or `same` as the pool.
        select: export what was dropped for the reasons that this glob matches, instead of the kept rows.
        uids: path of a list (`.npy` `u8,u8`, Parquet or text); export the rows that it names instead, each as often as
            it is listed.
        scores: add every score (in Parquet: but the pool's own columns), or those named.
        target_bytes: a file closes at the first shard boundary past this size.
        replace: remove the files of another export in `target` first.
        engine: where it runs, and how many files at a time.
        pool: where the pool is now, if it has moved, and how to reach it (`storage_options`).
        columns: column (Parquet) or key (JSON lines) -> role: texts that the recipe's edits made of the role, in the
            place of the pool's own value of that name.
        recipe: for `columns`, of a run that was made from Python and not from a recipe file.
        watch: called in the calling thread while the export runs; returns once the event is set.

    Returns:
        What `export.json` says.

    Raises:
        PlanError: for anything that can't work, before a byte is written.
        PoolsieveError: whatever stopped the export, as the user should read it.
    """

    made = _prepare(out, target, format, select, uids, scores, target_bytes, pool, engine.workers, columns, recipe)
    made.target.check(replace)
    work = _Work(made, engine)
    try:
        supervised(work, watch)
    except OSError as error:
        raise explain(error, made.target.url) or error from error
    return work.index


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Prepared:
    """An export that passed every check which needs no pool."""

    export: ExportPlan
    target: Target
    lines: Sequence[ShardLine]
    target_bytes: int
    about: Mapping[str, Any]


def _prepare(
    out: str,
    target: str | None,
    format: str,
    select: str | None,
    uids: str | None,
    scores: bool | Sequence[str],
    target_bytes: int | None,
    pool: Pool | None,
    workers: int,
    columns: Mapping[str, str] | None,
    recipe: Recipe | None,
) -> _Prepared:
    out = fs.absolute(out)
    manifest = read_manifest(out)
    lines = read_shards(out, manifest.decision)
    scored = manifest.pool.pool().located()
    place = _place(scored, pool)
    kind = _format(format, place)
    _selection(select, uids, manifest)
    url = fs.absolute(target) if target else fs.join(out, "export")
    _outside(place, lines, url)
    made = ExportPlan(
        out=out,
        decision=manifest.decision,
        target=url,
        files=place,
        reading=digest([scored.format, scored.roles.get("uid")]),
        format=kind,
        select=select,
        uids=fs.absolute(uids) if uids else None,
        scores=score_columns(out, manifest, lines, scores, (place.format, kind)),
        same_place=place.root == scored.root,
        threads=threads_for(workers) > 1,
    )
    if columns:
        made = dataclasses.replace(made, edits=edited_columns(made, manifest, lines, columns, recipe))
    size = target_bytes or TARGET_BYTES[kind]
    about = _about(made, manifest, size)
    claim = Target(url, digest([_LAYOUT, about], 8))
    if kind != place.format:
        crossed, types = crossing(place, [line.shard for line in lines], kind)
        made = dataclasses.replace(made, files=crossed, types=types)
    return _Prepared(export=made, target=claim, lines=lines, target_bytes=size, about=about)


def _place(scored: PoolFiles, now: Pool | None) -> PoolFiles:
    """The scored pool where it is now."""
    if now is None:
        return scored
    if now.kind != scored.format:
        raise PlanError(f"the run was made from a {scored.format} pool, but pool= is {now.kind}")
    there = now.located()
    return dataclasses.replace(scored, root=there.root, patterns=there.patterns, storage_options=there.storage_options)


def _format(format: str, files: PoolFiles) -> str:
    if format not in FORMATS:
        raise PlanError(f"--format {format!r} is not one of {', '.join(FORMATS)}")
    kind = files.format if format == "same" else format
    if (files.format, kind) not in _WRITERS:
        there = ", ".join(to for own, to in _WRITERS if own == files.format)
        raise PlanError(f"a {files.format} pool can't be exported as {kind}; there is {there}")
    return kind


def _outside(files: PoolFiles, lines: Sequence[ShardLine], target: str) -> None:
    inside = next((line.path for line in lines if files.url(line.shard).startswith(target.rstrip("/") + "/")), None)
    if inside is not None:
        raise PlanError(f"{target} holds the pool ({inside}), which an export must not touch: choose another folder")


def _selection(select: str | None, uids: str | None, manifest: Manifest) -> None:
    if select is not None and uids is not None:
        raise PlanError("--reason and --uids each say which rows to export: give one of them")
    if uids is not None:
        load_list(fs.absolute(uids))
    reasons = list(manifest.reasons)
    if select is not None and not fnmatch.filter(reasons, select):
        near = difflib.get_close_matches(select, reasons, n=3, cutoff=0.3)
        guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        there = ", ".join(sorted(reasons)[:20]) or "none: every row was kept"
        raise PlanError(f"no row was dropped for a reason that {select!r} matches.{guess} The reasons are: {there}")


def _about(made: ExportPlan, manifest: Manifest, size: int) -> dict[str, Any]:
    """What tells this export from another one: the same text, the same files."""
    listed = None
    if made.uids is not None:
        listed = {"sha256": file_sha256(made.uids), "entries": len(load_list(made.uids))}
    return {
        "decision": made.decision,
        "pool": manifest.pool.id,
        "format": made.format,
        "select": made.select,
        "uids": listed,
        "scores": list(made.scores),
        "target_bytes": size,
        **({"columns": made.edits.about(made.files)} if made.edits is not None else {}),
    }


class _Work:
    """The export itself; `index` is what `export.json` says, once it is called."""

    def __init__(self, made: _Prepared, engine: Any) -> None:
        self.made, self.engine = made, engine
        self.index: dict[str, Any] = {}

    def __call__(self) -> None:
        """Surveys, cuts, writes, and closes with the index."""
        # Here, since it loads Beam, which reports and plans do without.
        from poolsieve.dataflow.export.pipeline import survey_all, write_all

        made, target = self.made, self.made.target
        inputs = survey_all(self.engine, made.lines, made.export, target.work())
        parts = plan_parts(_taken(made.export, inputs), made.target_bytes, _namer(made.export.format))
        target.claim([*(part.name for part in parts), *_also(made.export)])
        todo = [part for part in parts if part.name not in target.whole(parts)]
        if todo:
            write_all(self.engine, todo, write_part, made.export, target)
        self.index = self._finish(inputs, parts)

    def _finish(self, inputs: Sequence[ShardExtract], parts: Sequence[OutputFile]) -> dict[str, Any]:
        target, export = self.made.target, self.made.export
        records = target.whole(parts)
        lost = [part.name for part in parts if part.name not in records]
        if lost:
            raise PoolsieveError(f"{target.url}/{lost[0]} vanished while the export went on: run the same export again")
        files = [records[part.name] for part in parts]
        if export.format == "webdataset":
            sizes = {record["name"]: record["rows"] for record in files}
            fs.write_bytes(target.path("sizes.json"), dumps(sizes))
        index = self._index(files, sum(item.unreadable for item in inputs if not item.rows))
        target.finish(index)
        return index

    def _index(self, files: Sequence[Mapping[str, Any]], unreadable: int) -> dict[str, Any]:
        export, target = self.made.export, self.made.target
        unreadable += sum(record["unreadable"] for record in files)
        listed = self.made.about["uids"]
        absent = _missing(export, target) if listed else 0
        renamed = sum(record["renamed"] for record in files)
        return {
            "export": target.id,
            "out": export.out,
            "target": target.url,
            **self.made.about,
            "rows": sum(record["rows"] for record in files),
            "bytes": sum(record["bytes"] for record in files),
            "unreadable": unreadable,
            "renamed": renamed,
            "missing": absent,
            "warnings": _warnings(files, unreadable, renamed, absent, listed),
            "files": list(files),
            "also": _also(export),
            "versions": versions(),
        }


def _also(export: ExportPlan) -> list[str]:
    return ["sizes.json"] if export.format == "webdataset" else []


def _missing(export: ExportPlan, target: Target) -> int:
    assert export.uids is not None
    notes = [target.work("found", name) for name in fs.names(target.work("found"))]
    return missing(load_list(export.uids), notes)


def _warnings(
    files: Sequence[Mapping[str, Any]], unreadable: int, renamed: int, absent: int, listed: Mapping[str, Any] | None
) -> list[str]:
    out = []
    if not any(record["rows"] for record in files):
        out.append("no row was exported")
    if absent and listed:
        out.append(f"{absent} of the list's uids are not in the pool")
    if unreadable:
        out.append(f"{unreadable} rows could not be read and were left out")
    if renamed:
        out.append(f"{renamed} samples got a new key: they would have stood beside another sample of the same key")
    empty: dict[str, int] = {}
    for record in files:
        add_counts(empty, record["empty"])
    out += [f"{count} values of {role!r} could not be read and were left out" for role, count in sorted(empty.items())]
    return out


def _taken(export: ExportPlan, inputs: Sequence[ShardExtract]) -> list[ShardExtract]:
    """Inputs that give rows. Nothing at all still makes one empty Parquet file, so that its readers find a schema."""
    taken = [item for item in inputs if item.rows]
    if taken or export.format != "parquet":
        return taken
    return [item for item in inputs if _readable(export, item)][:1]


def _readable(export: ExportPlan, item: ShardExtract) -> bool:
    if export.files.format != "parquet":
        return True
    try:
        footer_of(export, item.shard)
    except PoolsieveError:
        return False
    return True


def _namer(format: str) -> Callable[[int, int], str]:
    if format == "parquet":
        return lambda i, n: f"data/train-{i:05d}-of-{n:05d}.parquet"
    if format == "jsonl":
        return lambda i, n: f"part-{i:05d}.jsonl.zst"
    return lambda i, n: f"{i:08d}.tar"


def write_part(part: OutputFile, export: ExportPlan, target: Target) -> None:
    """Writes one file of an export, and then notes that it is whole."""
    progress.check()
    with sink(target.path(part.name)) as file:
        written = _WRITERS[export.files.format, export.format](export, part, file)
    inputs = [{**item.shard.to_dict(), "rows": item.rows} for item in part.inputs]
    about = {"name": part.name, "bytes": file.tell(), "sha256": file.sha256, "inputs": inputs}
    target.done({**about, **dataclasses.asdict(written)})
