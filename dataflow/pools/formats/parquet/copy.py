"""Parquet to Parquet: kept rows leave with the schema, types, column order and metadata that they had."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import progress
from poolsieve.dataflow.pools.casts import is_text
from poolsieve.dataflow.pools.formats.base import Ints, Location, ShardChanged
from poolsieve.dataflow.pools.formats.outgoing import Added, Look, Outgoing, Picked, Sink, Written
from poolsieve.dataflow.pools.formats.parquet.files import Group, Opened, open_file
from poolsieve.dataflow.pools.formats.parquet.writer import RowGroups, holds_bytes, without_note
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError, RowError

BATCH_ROWS = 65_536
BATCH_BYTES = 16 << 20
"""Most of a batch on its way from file to file."""

_COPY = 8 << 20


class ParquetCopier:
    """Copies row groups' kept rows, and whole files as they are."""

    takes_edits = True
    takes_scores = True
    needs_lines = False
    copies_unread = False

    def schema(self, files: Location, shard: Shard) -> str:
        """`schema_hash` of the footer's."""
        with contextlib.ExitStack() as stack:
            return schema_hash(_open(files, shard, stack).file.schema_arrow)

    def look(self, files: Location, shard: Shard, pick: Callable[[], Picked], added: Added) -> Look:
        """The schema, and the rows of a whole file, by the footer alone; see `Copier.look`."""
        with contextlib.ExitStack() as stack:
            file = _open(files, shard, stack).file
            schema_of(shard, file.schema_arrow, added)
            rows = file.metadata.num_rows if shard.extent is None and added.nothing else None
            return Look(schema=schema_hash(file.schema_arrow), rows=rows)

    def copy(
        self, files: Location, shards: Iterable[Outgoing], added: Added, sink: Sink, *, threads: bool = True
    ) -> Written:
        """One file of the shards' rows; a file of which every row stays, alone, is the result itself."""
        done, target = Written(), None
        for item in shards:
            if item.whole and added.nothing:
                return _copy_whole(files, item, sink)
            with contextlib.ExitStack() as stack:
                opened = _open(files, item.shard, stack, threads)
                schema = schema_of(item.shard, opened.file.schema_arrow, added)
                target = target or RowGroups(sink, schema, _images(files, schema))
                if item.rows:
                    _add(item, opened, added, target, done)
        if target is not None:
            target.close()
        return done


def _images(files: Location, schema: pa.Schema) -> list[str]:
    """The column that the role `image` is read from, if it holds images and not their names."""
    source = files.roles.get("image", "image")
    column = source if source in schema.names else source.partition(".")[0]
    return [column] if column in schema.names and holds_bytes(schema.field(column).type) else []


def _open(files: Location, shard: Shard, stack: contextlib.ExitStack, threads: bool = False) -> Opened:
    opened = open_file(files, shard, stack, threads=threads)
    if isinstance(opened, RowError):
        raise PoolsieveError(f"{shard.path} can't be read: {opened.message}")
    return opened


def _add(item: Outgoing, opened: Opened, added: Added, target: RowGroups, done: Written) -> None:
    picked = item.pick()
    done.unreadable += picked.unreadable
    edited = item.edited(picked)
    for own, rows in selected(opened, item.shard, picked, done):
        batch = own if edited is None else with_edits(own, edited.take(rows), target.schema)
        target.add(with_scores(batch, picked, rows, target.schema) if added.scores else batch)
        done.rows += batch.num_rows
        progress.add("export", batch.num_rows)
        progress.check()
    done.count_empty(edited.lost if edited is not None else {})


def schema_of(shard: Shard, schema: pa.Schema, added: Added) -> pa.Schema:
    """The schema of the output: the pool's, new columns for edited texts, and the scores after it.

    Raises:
        PlanError: if a score has a column's name, or an edited text is to replace a column of another type.
    """
    for name in added.edited:
        if name not in schema.names:
            schema = schema.append(pa.field(name, pa.string()))
        elif not is_text(schema.field(name).type):
            raise PlanError(f"--column {name}: the pool's column is {schema.field(name).type}, no text ({shard.path})")
    clash = [name for name in added.scores if name in schema.names]
    if clash:
        raise PlanError(
            f"the pool has a column {clash[0]!r} ({shard.path}), so the score of that name can't stand beside it: name "
            "the scores to export without it"
        )
    for name, kind in added.scores.items():
        schema = schema.append(pa.field(name, kind))
    return schema


def schema_hash(schema: pa.Schema) -> str:
    """A hash of what must be equal for two files to become one: fields, types, order, metadata.

    Pandas notes the length of a plain index in every file, and the Hub's writers how a file was cut into chunks; these
    alone are no reason to keep files apart.
    """
    schema = without_note(schema)
    metadata = dict(schema.metadata or {})
    with contextlib.suppress(ValueError, KeyError, TypeError):
        pandas = json.loads(metadata[b"pandas"])
        index = pandas["index_columns"]
        pandas["index_columns"] = [{"kind": "range"} if isinstance(item, dict) else item for item in index]
        metadata[b"pandas"] = json.dumps(pandas, sort_keys=True).encode()
    fields = schema.remove_metadata().serialize().to_pybytes()
    return hashlib.blake2b(fields + repr(sorted(metadata.items())).encode(), digest_size=8).hexdigest()


def _copy_whole(files: Location, item: Outgoing, sink: Sink) -> Written:
    """Every row stays and nothing is added: the file itself is the result."""
    with files.open(item.shard, ahead=_COPY) as file:
        while data := file.read(_COPY):
            progress.check()
            sink.write(data)
    if sink.tell() != item.shard.size:
        raise ShardChanged(f"{files.url(item.shard)} changed while it was exported; run the export again")
    progress.add("export", item.rows)
    return Written(rows=item.rows)


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
    group, row = Group(opened, index), 0
    for batch in group.batches(_batch_rows(opened.file.metadata.row_group(index))):
        yield from _taken(batch, start + row, copies[row : row + batch.num_rows])
        row += batch.num_rows
    if group.damage is not None:
        done.unreadable += int(copies[row:].sum())


def _batch_rows(group: Any) -> int:
    size, rows = group.total_byte_size, group.num_rows
    return int(max(1, min(BATCH_ROWS, BATCH_BYTES * rows // max(1, size))))


def _taken(batch: pa.RecordBatch, start: int, copies: Ints) -> Iterator[tuple[pa.RecordBatch, Ints]]:
    """The rows of a batch, as often as `copies` says."""
    if not copies.any():
        return
    rows = np.repeat(np.arange(len(copies), dtype=np.int64), copies)
    if copies.max() > 1:
        batch = batch.take(pa.array(rows, pa.int64()))
    elif len(rows) < batch.num_rows:
        batch = batch.filter(pa.array(copies.astype(bool)))
    yield batch, rows + start


def with_edits(batch: pa.RecordBatch, texts: Mapping[str, pa.Array], schema: pa.Schema) -> pa.RecordBatch:
    """The batch with edited texts in the place of its own columns of those names, or after them."""
    for name, values in texts.items():
        item = schema.field(name)
        if name in batch.schema.names:
            batch = batch.set_column(batch.schema.names.index(name), item, values.cast(item.type))
        else:
            batch = batch.append_column(item, values)
    return batch


def with_scores(batch: pa.RecordBatch, picked: Picked, rows: Ints, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with the score columns after its own."""
    index = pa.array(np.searchsorted(picked.row, rows), pa.int64())
    scores = [picked.score(name).take(index) for name in picked.scores.column_names]
    return pa.RecordBatch.from_arrays([*batch.columns, *scores], schema=schema.remove_metadata())
