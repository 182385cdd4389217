"""An export in another format than the pool's: rows become samples, or samples rows. Values stay, containers change.

Parquet to WebDataset: `{key}.jpg` (or what the bytes are), `{key}.txt`, and `{key}.json` with every other column that
JSON can hold. WebDataset to Parquet: `__key__`, `uid`, and one column for each member extension that the pool's roles
name (by the roles' names in order); what no role names stays behind, so that every file has one and the same schema.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import progress
from poolsieve.dataflow.export.rows import (
    ExportPlan,
    Ints,
    OutputFile,
    Picked,
    Written,
    check_same,
    copy_keys,
    distinct,
    pick,
    safe_key,
)
from poolsieve.dataflow.export.sink import Sink
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.formats.base import UID
from poolsieve.dataflow.pools.formats.parquet.write import RowGroups, column
from poolsieve.dataflow.pools.formats.webdataset.read import parse_source
from poolsieve.dataflow.pools.formats.webdataset.write import dump, end_archive, member, plain, score_member
from poolsieve.dataflow.pools.shards import Batch, Shard
from poolsieve.scoring_models.base.errors import PlanError

_OTHER = "column "
"""Prefix of the roles that stand for a column or a member, so that none has the name of a role of the pool."""

_TEXTS = {"txt", "text", "html", "md", "json"}

_MAGIC = ((b"\xff\xd8\xff", "jpg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"GIF8", "gif"))


def crossing(files: PoolFiles, shards: Sequence[Shard], format: str) -> tuple[PoolFiles, dict[str, pa.DataType]]:
    """The pool as it is read for another format, and the type of each role that is read.

    Raises:
        PlanError: if the pool's roles don't say what a sample or a row should be made of.
    """
    return _to_samples(files, shards) if format == "webdataset" else _to_rows(files)


def _to_samples(files: PoolFiles, shards: Sequence[Shard]) -> tuple[PoolFiles, dict[str, pa.DataType]]:
    main = {role: files.roles[role] for role in ("image", "text") if role in files.roles}
    if not main:
        raise PlanError(
            "samples need an image or a text, and the pool declares neither role: declare image= or text= in the "
            "recipe's pool, or export as parquet"
        )
    used = {source.split(".")[0] for source in main.values()} | set(main.values())
    others = {name: kind for name, kind in files.columns(shards).items() if name not in used and _json_able(kind)}
    uid = {UID: files.roles[UID]} if UID in files.roles else {}
    roles = {**uid, **main, **{_OTHER + name: name for name in others}}
    made = dataclasses.replace(files, roles=roles)
    return made, {role: kind for role, kind in made.role_types(shards).items() if role != UID}


def _json_able(kind: pa.DataType) -> bool:
    types = pa.types
    if types.is_nested(kind):
        return all(_json_able(kind.field(i).type) for i in range(kind.num_fields))
    binary = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return not any(check(kind) for check in binary)


def _to_rows(files: PoolFiles) -> tuple[PoolFiles, dict[str, pa.DataType]]:
    named = [
        extension for role, source in sorted(files.roles.items()) for extension in parse_source(role, source).extensions
    ]
    extensions = [extension for extension in dict.fromkeys(named) if extension not in (UID, "__key__")]
    if not extensions:
        raise PlanError("the pool's roles name no member, so there is nothing to make columns of: export as webdataset")
    uid = {UID: files.roles[UID]} if UID in files.roles else {}
    roles = {**uid, **{_OTHER + extension: extension for extension in extensions}}
    types = {_OTHER + name: pa.string() if _is_text(name) else pa.binary() for name in extensions}
    return dataclasses.replace(files, roles=roles), types


def _is_text(extension: str) -> bool:
    return extension in _TEXTS or extension.endswith(".json")


def _chunks(export: ExportPlan, shard: Shard, picked: Picked, done: Written) -> Iterator[tuple[Batch, Ints, Ints]]:
    """Chunks that hold picked rows, with the rows' positions in the chunk and in `picked`."""

    def want(start: int, n: int) -> bool:
        low, high = np.searchsorted(picked.row, (start, start + n))
        return bool(high > low)

    for chunk in export.files.batches(shard, tuple(export.types), export.types, want):
        low, high = np.searchsorted(picked.row, (chunk.start, chunk.start + chunk.num_rows))
        index = np.arange(low, high)
        local = picked.row[low:high] - chunk.start
        lost = np.array([int(i) in chunk.read_errors for i in local], dtype=bool)
        done.unreadable += int(picked.copies[index[lost]].sum())
        _count_empty(chunk, local, done)
        yield chunk, local[~lost], index[~lost]
        progress.check()


def _count_empty(chunk: Batch, local: Ints, done: Written) -> None:
    """Values that can't stand in the new format (a caption that is no UTF-8): left out, and counted by role."""
    inside = {int(i) for i in local}
    for role, errors in chunk.role_errors.items():
        if count := len(inside.intersection(errors)):
            name = role.removeprefix(_OTHER)
            done.empty[name] = done.empty.get(name, 0) + count


def write_samples(export: ExportPlan, part: OutputFile, sink: Sink) -> Written:
    """Writes one tar from Parquet rows."""
    done = Written()
    previous: str | None = None
    for item in part.inputs:
        check_same(export, item.shard)
        picked = pick(export, item.shard)
        done.unreadable += picked.unreadable
        for chunk, local, index in _chunks(export, item.shard, picked, done):
            for i, k in zip(local.tolist(), index.tolist(), strict=True):
                uid, copies = picked.uid[k].as_py(), int(picked.copies[k])
                keys = copy_keys(uid, copies) if copies > 1 else [distinct(safe_key(uid), previous)]
                for key in keys:
                    sink.write(_sample(export, chunk, i, key, uid))
                    if export.scores:
                        sink.write(score_member(key, uid, picked.scores.slice(k, 1).to_pylist()[0]))
                previous = keys[-1]
                done.rows += copies
            progress.add("export", int(picked.copies[index].sum()))
    end_archive(sink)
    return done


def _sample(export: ExportPlan, chunk: Batch, i: int, key: str, uid: str) -> bytes:
    values = {role: chunk.roles.column(role)[i].as_py() for role in export.types}
    image, text = values.pop("image", None), values.pop("text", None)
    made = []
    if image is not None:
        made.append(member(f"{key}.{extension_of(image)}", image))
    if text is not None:
        made.append(member(f"{key}.txt", str(text).encode()))
    other = {role.removeprefix(_OTHER): plain(value) for role, value in values.items()}
    made.append(member(f"{key}.json", dump({**other, "uid": uid})))
    return b"".join(made)


def extension_of(image: bytes) -> str:
    """The usual extension of an image's format, from its first bytes; `bin` for what none of them begins with."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "webp"
    return next((extension for magic, extension in _MAGIC if image.startswith(magic)), "bin")


def rows_schema(types: Mapping[str, pa.DataType], scores: Mapping[str, pa.DataType]) -> pa.Schema:
    """The schema of tars exported as Parquet.

    Raises:
        PlanError: if a score has the name of a member's column.
    """
    own = {"__key__": pa.string(), UID: pa.string(), **{role.removeprefix(_OTHER): t for role, t in types.items()}}
    clash = sorted(set(own) & set(scores))
    if clash:
        raise PlanError(
            f"the score {clash[0]!r} has the name of a member's column: name the scores to export without it"
        )
    return pa.schema([pa.field(name, kind) for name, kind in {**own, **scores}.items()])


def write_rows(export: ExportPlan, part: OutputFile, sink: Sink) -> Written:
    """Writes one Parquet file from samples."""
    done = Written()
    target = RowGroups(sink, rows_schema(export.types, export.scores))
    for item in part.inputs:
        check_same(export, item.shard)
        if not item.rows:
            continue
        picked = pick(export, item.shard)
        done.unreadable += picked.unreadable
        for chunk, local, index in _chunks(export, item.shard, picked, done):
            batch = _rows(chunk, local, index, picked, target.schema)
            target.add(batch)
            done.rows += batch.num_rows
            progress.add("export", batch.num_rows)
    target.close()
    return done


def _rows(chunk: Batch, local: Ints, index: Ints, picked: Picked, schema: pa.Schema) -> pa.RecordBatch:
    copies = picked.copies[index]
    here, there = pa.array(np.repeat(local, copies)), pa.array(np.repeat(index, copies))
    keys = chunk.key if chunk.key is not None else pa.nulls(chunk.num_rows, pa.string())
    columns = [keys.take(here), picked.uid.take(there), *(values.take(here) for values in chunk.roles.columns)]
    scores = [column(picked.scores, name).take(there) for name in picked.scores.column_names]
    return pa.RecordBatch.from_arrays([*columns, *scores], schema=schema)
