"""What every format must do: a format that is registered is tested. Pools are made with the format's own builder.

A format whose rows are chunks of ids has none: its files are made here, and its rows have `tokens` in place of a text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.export.sink import sink
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.formats.format import Format
from poolsieve.dataflow.pools.formats.outgoing import Added, Build, Outgoing, Picked, Rows, Source, Written
from poolsieve.dataflow.pools.shards import Batch, Shard

FIELDS = {"uid": pa.string(), "text": pa.string(), "n": pa.float64()}
TYPES = {"uid": pa.string(), "text": pa.string(), "n": pa.float64()}

SOURCES = {"uid": "uid", "text": "text", "n": "n", "score": "score"}
"""Where the columns are found in a format that calls them by their names."""

OTHERS = {
    "jsonl": {"score": "poolsieve.score"},
    "tokens": {"tokens": "uint16[8]"},
    "webdataset": {"uid": "json:uid", "text": "txt", "n": "json:n", "score": "poolsieve.json:scores.score"},
}
"""Where a format has them in another place."""


CHUNK = 8
"""Ids of a row, where rows are chunks."""


def columns_of(format: Format) -> tuple[str, ...]:
    """The columns of `table` that are in its files."""
    return (format.row_role,) if format.row_role else ("uid", "text", "n")


def sources(format: Format, *names: str) -> dict[str, str]:
    """Role -> source, for the pools that are made here."""
    there = {**SOURCES, **OTHERS.get(format.name, {})}
    return {name: there[name] for name in names}


def table(n: int, first: int = 0) -> pa.Table:
    """n rows with a text of every kind of character, a number, null in some places, and a chunk of ids."""
    rows = range(first, first + n)
    ids = np.arange(first * CHUNK, (first + n) * CHUNK, dtype=np.uint16).reshape(n, CHUNK)
    texts = [None if i % 11 == 3 else f'{i} "quoted" \\ é 字 \u2028 line\nend' for i in rows]
    numbers = [None if i % 7 == 2 else i / 4 for i in rows]
    tokens = pa.array(ids.tolist(), pa.list_(pa.uint16()))
    return pa.table({"uid": [f"r{i}" for i in rows], "text": texts, "n": numbers, "tokens": tokens})


def plan(format: Format, scores: dict[str, pa.DataType] | None = None) -> Build:
    """What the builder makes of the rows of `table`."""
    source = Source(fields=FIELDS, text="text", types={"text": pa.string()}, format="rows")
    return format.build_with().plan(source, scores or {})


def rows_of(made: Build, rows: pa.Table, step: int, copies: Sequence[int] | None = None) -> Iterator[Rows]:
    """The rows as a builder takes them, in batches of `step`."""
    times = np.ones(len(rows), np.int64) if copies is None else np.array(copies, np.int64)
    for start in range(0, len(rows), step):
        some = rows.slice(start, step).combine_chunks()
        columns = [some.column(source).combine_chunks() for source in made.columns.values()]
        uid = some.column("uid").combine_chunks()
        yield Rows(
            values=pa.RecordBatch.from_arrays(columns, names=list(made.columns)),
            uid=uid,
            key=pa.nulls(len(some), pa.string()),
            copies=times[start : start + step],
            scores=some.select(list(made.scores)),
        )


def build(format: Format, path: Path, rows: pa.Table, step: int = 50) -> None:
    """A file of the rows."""
    if format.builder is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.array(rows["tokens"].to_pylist(), "<u2").tofile(path)
        return
    made = plan(format)
    with sink(str(path)) as file:
        format.builder.build(made, rows_of(made, rows, step), file)


def pool(format: Format, folder: Path, *names: str, **options: Any) -> PoolFiles:
    """All files of a folder, with these roles."""
    return PoolFiles(
        root=str(folder),
        format=format.name,
        patterns=(f"{folder}/*",),
        roles=sources(format, *(names or columns_of(format))),
        **options,
    )


def batches(files: PoolFiles, shard: Shard, **options: Any) -> list[Batch]:
    """Everything that a reader gives of the roles."""
    types = {**TYPES, "tokens": pa.list_(pa.uint16(), CHUNK)}
    types = {role: types.get(role, pa.float64()) for role in files.roles}
    return list(files.batches(shard, tuple(files.roles), types, **options))


def values(found: Sequence[Batch]) -> list[dict[str, Any]]:
    """The rows of batches that could be read, with their positions."""
    return [
        {"row": batch.start + i, **row}
        for batch in found
        for i, row in enumerate(batch.roles.to_pylist())
        if i not in batch.read_errors
    ]


def whole(files: PoolFiles) -> list[dict[str, Any]]:
    """All rows of a pool, positions left out."""
    shards = files.listing().shards
    rows = [row for shard in shards for row in values(batches(files, shard))]
    return [{name: value for name, value in row.items() if name != "row"} for row in rows]


def picked(files: PoolFiles, shard: Shard, copies: Sequence[int], scores: pa.Table | None = None) -> Picked:
    """The rows of a shard, each as often as `copies` says."""
    found = batches(files, shard)
    times = np.array(copies, dtype=np.int64)
    index = pa.array(np.flatnonzero(times))
    lines = {
        name: pa.chunked_array([getattr(batch, name) for batch in found]).take(index)
        for name in ("offset", "length", "key")
        if found and getattr(found[0], name) is not None
    }
    return Picked(
        row=np.flatnonzero(times) + shard.start,
        copies=times[times > 0],
        uid=pa.concat_arrays([batch.uid for batch in found]).take(index),
        lines=pa.table(lines),
        scores=pa.table({}) if scores is None else scores.take(index),
    )


def copy(
    files: PoolFiles, path: Path, copies: Sequence[Sequence[int]], scores: Sequence[pa.Table] | None = None
) -> Written:
    """A file of the rows of all the pool's shards, each as often as `copies` says."""
    shards = files.listing().shards
    tables = scores or [None] * len(shards)
    items = [
        Outgoing(shard=shard, rows=sum(times), pick=lambda args=(shard, times, some): picked(files, *args))  # type: ignore[misc]
        for shard, times, some in zip(shards, copies, tables, strict=True)
    ]
    added = Added(scores={item.name: item.type for item in scores[0].schema} if scores else {})
    with sink(str(path)) as file:
        return files.own.copier.copy(files, items, added, file)


def moved(files: PoolFiles, folder: Path, *names: str) -> PoolFiles:
    """The same kind of pool in another folder."""
    made = pool(files.own, folder, *names)
    return dataclasses.replace(made, split_bytes=files.split_bytes)
