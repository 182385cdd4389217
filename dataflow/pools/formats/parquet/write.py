"""Parquet to Parquet: kept rows leave with the schema, types, column order and metadata that they had."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from poolsieve.dataflow import progress
from poolsieve.dataflow.export.edited import EditedRows
from poolsieve.dataflow.export.rows import (
    ExportPlan,
    Ints,
    OutputFile,
    Picked,
    Written,
    check_same,
    count_lost,
    edited_rows,
    pick,
)
from poolsieve.dataflow.export.sink import Sink
from poolsieve.dataflow.fs import is_damage, is_local, open_remote
from poolsieve.dataflow.pools.casts import is_text
from poolsieve.dataflow.pools.formats.base import ShardChanged
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError

WRITER: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 3,
    "write_page_index": True,
    # Chunks that end where the contents say: a subset made anew shares most of its bytes with the one before it.
    "use_content_defined_chunking": True,
}
"""What `datasets` writes with, so that the Hub can show, search and deduplicate the files."""

ROW_GROUP_BYTES = 96 << 20
"""A row group is closed when this much Arrow data is waiting; `datasets` has 100 MB."""

BATCH_ROWS = 65_536
BATCH_BYTES = 16 << 20

_BUFFER = 1 << 20
_REMOTE_BUFFER = 4 << 20
_COPY = 8 << 20


class RowGroups:
    """A Parquet file that is being written, in row groups of about `ROW_GROUP_BYTES` and no more memory than that."""

    def __init__(self, sink: Sink, schema: pa.Schema) -> None:
        self.schema = schema
        self._writer = pq.ParquetWriter(sink, schema, **WRITER)
        self._waiting: list[pa.RecordBatch] = []
        self._bytes = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Takes rows of exactly the file's schema."""
        if self._waiting and self._bytes + batch.nbytes > ROW_GROUP_BYTES:
            self._flush()
        self._waiting.append(batch)
        self._bytes += batch.nbytes

    def close(self) -> None:
        """Writes what is waiting, and the footer."""
        if self._waiting:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._waiting, self._waiting[0].schema)
        self._waiting, self._bytes = [], 0
        self._writer.write_table(table, row_group_size=table.num_rows)


class Opened:
    """A Parquet file and the handle below it, which knows whether a failure is the storage's."""

    def __init__(self, file: pq.ParquetFile, handle: Any, threads: bool) -> None:
        self.file, self.handle, self.threads = file, handle, threads


def write(export: ExportPlan, part: OutputFile, sink: Sink) -> Written:
    """Writes one file.

    Raises:
        ShardChanged: if a pool file is not the one that was scored.
    """
    done = Written()
    if len(part.inputs) == 1 and part.inputs[0].whole and not export.scores and export.edits is None:
        _copy_whole(export, part.inputs[0].shard, sink)
        done.rows = part.inputs[0].rows
        progress.add("export", done.rows)
        return done
    target: RowGroups | None = None
    for item in part.inputs:
        check_same(export, item.shard)
        with contextlib.ExitStack() as stack:
            file = open_shard(export, item.shard, stack)
            target = target or RowGroups(sink, schema_of(export, item.shard, file.file.schema_arrow))
            if item.rows:
                _add(export, item.shard, file, target, done)
    if target is not None:
        target.close()
    return done


def _add(export: ExportPlan, shard: Shard, file: Opened, target: RowGroups, done: Written) -> None:
    picked = pick(export, shard)
    done.unreadable += picked.unreadable
    edited = edited_rows(export, shard, picked)
    for own, rows in selected(file, shard, picked, done):
        batch = own if edited is None else with_edits(own, edited, rows, target.schema)
        target.add(with_scores(batch, picked, rows, target.schema) if export.scores else batch)
        done.rows += batch.num_rows
        progress.add("export", batch.num_rows)
        progress.check()
    count_lost(edited, done)


def open_shard(export: ExportPlan, shard: Shard, stack: contextlib.ExitStack) -> Opened:
    """Opens a shard's file for reading in flat memory, until `stack` closes."""
    system, path = export.files.connect(shard)
    local = is_local(system)
    handle = pa.OSFile(path, "rb") if local else open_remote(system, path, cache_type="none")
    stack.callback(handle.close)
    buffer = _BUFFER if local else _REMOTE_BUFFER
    try:
        file = pq.ParquetFile(handle, pre_buffer=False, buffer_size=buffer, page_checksum_verification=True)
    except pa.ArrowException as error:
        raise PoolsieveError(f"{shard.path} can't be read: {error}") from error
    return Opened(file, handle, export.threads)


def schema_of(export: ExportPlan, shard: Shard, schema: pa.Schema) -> pa.Schema:
    """The schema of the output: the pool's, new columns for edited texts, and the scores after it.

    Raises:
        PlanError: if a score has a column's name, or an edited text is to replace a column of another type.
    """
    for name in export.edits.columns if export.edits is not None else ():
        if name not in schema.names:
            schema = schema.append(pa.field(name, pa.string()))
        elif not is_text(schema.field(name).type):
            raise PlanError(f"--column {name}: the pool's column is {schema.field(name).type}, no text ({shard.path})")
    clash = [name for name in export.scores if name in schema.names]
    if clash:
        raise PlanError(
            f"the pool has a column {clash[0]!r} ({shard.path}), so the score of that name can't stand beside it: name "
            "the scores to export without it"
        )
    for name, kind in export.scores.items():
        schema = schema.append(pa.field(name, kind))
    return schema


def schema_hash(schema: pa.Schema) -> str:
    """A hash of what must be equal for two files to become one: fields, types, order, metadata.

    Pandas notes the length of a plain index in every file; that alone is no reason to keep files apart.
    """
    metadata = dict(schema.metadata or {})
    with contextlib.suppress(ValueError, KeyError, TypeError):
        pandas = json.loads(metadata[b"pandas"])
        index = pandas["index_columns"]
        pandas["index_columns"] = [{"kind": "range"} if isinstance(item, dict) else item for item in index]
        metadata[b"pandas"] = json.dumps(pandas, sort_keys=True).encode()
    fields = schema.remove_metadata().serialize().to_pybytes()
    return hashlib.blake2b(fields + repr(sorted(metadata.items())).encode(), digest_size=8).hexdigest()


def _copy_whole(export: ExportPlan, shard: Shard, sink: Sink) -> None:
    """Every row stays and nothing is added: the file itself is the result."""
    check_same(export, shard)
    system, path = export.files.connect(shard)
    local = is_local(system)
    with open(path, "rb", buffering=0) if local else open_remote(system, path) as file:
        while data := file.read(_COPY):
            progress.check()
            sink.write(data)
    if sink.tell() != shard.size:
        raise ShardChanged(f"{export.files.url(shard)} changed while it was exported; run the export again")


def selected(opened: Opened, shard: Shard, picked: Picked, done: Written) -> Iterator[tuple[pa.RecordBatch, Ints]]:
    """The picked rows as batches, copies beside one another, each with its rows' positions in the file.

    Row groups without a picked row are not read. A picked row that can't be read any more is counted and left out.
    """
    footer, start = opened.file.metadata, shard.start
    count = footer.num_row_groups if shard.extent is None else shard.extent
    for index in range(shard.first, shard.first + count):
        n = footer.row_group(index).num_rows
        low, high = np.searchsorted(picked.row, (start, start + n))
        if high > low:
            copies = np.zeros(n, dtype=np.int64)
            copies[picked.row[low:high] - start] = picked.copies[low:high]
            yield from _group(opened, index, start, copies, done)
        start += n
    if len(picked.row) and picked.row[-1] >= start:
        raise ShardChanged(f"{shard.path} has {start} rows, but its ledger more: run `poolsieve run` again")


def _group(
    opened: Opened, index: int, start: int, copies: Ints, done: Written
) -> Iterator[tuple[pa.RecordBatch, Ints]]:
    row = 0
    try:
        for batch in _batches(opened, index, _batch_rows(opened.file.metadata.row_group(index))):
            yield from _taken(batch, start + row, copies[row : row + batch.num_rows])
            row += batch.num_rows
        return
    except Exception as error:
        if not is_damage(error, opened.handle):
            raise
    yield from _salvaged(opened, index, start, row, copies, done)


def _salvaged(
    opened: Opened, index: int, start: int, skip: int, copies: Ints, done: Written
) -> Iterator[tuple[pa.RecordBatch, Ints]]:
    """What follows a damage: row by row, up to the first that can't be read; the rest is lost."""
    row = 0
    try:
        for batch in _batches(opened, index, 1):
            if row >= skip:
                yield from _taken(batch, start + row, copies[row : row + 1])
            row += 1
    except Exception as error:
        if not is_damage(error, opened.handle):
            raise
    done.unreadable += int(copies[max(row, skip) :].sum())


def _batches(opened: Opened, index: int, rows: int) -> Iterator[pa.RecordBatch]:
    yield from opened.file.iter_batches(batch_size=rows, row_groups=[index], use_threads=opened.threads)


def _batch_rows(group: Any) -> int:
    size, rows = group.total_byte_size, group.num_rows
    return int(max(1, min(BATCH_ROWS, BATCH_BYTES * rows // max(1, size))))


def _taken(batch: pa.RecordBatch, start: int, copies: Ints) -> Iterator[tuple[pa.RecordBatch, Ints]]:
    """The rows of a batch, as often as `copies` says."""
    if not copies.any():
        return
    rows = np.repeat(np.arange(len(copies), dtype=np.int64), copies)
    if copies.max() > 1:
        batch = batch.take(pa.array(rows))
    elif len(rows) < batch.num_rows:
        batch = batch.filter(pa.array(copies.astype(bool)))
    yield batch, rows + start


def with_edits(batch: pa.RecordBatch, edited: EditedRows, rows: Ints, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with edited texts in the place of its own columns of those names, or after them."""
    for name, values in zip(edited.derived, edited.take(rows), strict=True):
        item = schema.field(name)
        if name in batch.schema.names:
            batch = batch.set_column(batch.schema.names.index(name), item, values.cast(item.type))
        else:
            batch = batch.append_column(item, values)
    return batch


def with_scores(batch: pa.RecordBatch, picked: Picked, rows: Ints, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with the score columns after its own."""
    index = pa.array(np.searchsorted(picked.row, rows))
    scores = [column(picked.scores, name).take(index) for name in picked.scores.column_names]
    return pa.RecordBatch.from_arrays([*batch.columns, *scores], schema=schema.remove_metadata())


def column(table: pa.Table, name: str) -> pa.Array:
    """One column, in one piece."""
    found = table.column(name)
    return found.chunk(0) if found.num_chunks == 1 else pa.concat_arrays(found.chunks or [pa.array([], found.type)])


def footer_of(export: ExportPlan, shard: Shard) -> tuple[str, bool, int]:
    """(hash of the schema, whether the shard is the whole file, rows of the shard), from the footer alone.

    Raises:
        PlanError: if a score has a column's name.
    """
    with contextlib.ExitStack() as stack:
        file = open_shard(export, shard, stack).file
        schema_of(export, shard, file.schema_arrow)
        whole = shard.extent is None
        groups = range(shard.first, shard.first + (shard.extent or 0))
        rows = file.metadata.num_rows if whole else sum(file.metadata.row_group(i).num_rows for i in groups)
        return schema_hash(file.schema_arrow), whole, rows
