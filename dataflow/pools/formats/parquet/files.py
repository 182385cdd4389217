"""Opening a Parquet file, and the rows of a row group up to its first damage: one way for reading and for copying."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from poolsieve.dataflow.fs import is_damage
from poolsieve.dataflow.pools.formats.base import Location
from poolsieve.dataflow.pools.shards import BATCH_BYTES, BATCH_ROWS, Shard
from poolsieve.scoring_models.base.errors import RowError

_BUFFER = 1 << 20
_REMOTE_BUFFER = 4 << 20
"""Bytes that one column fetches at a time."""

_MAGIC = b"PAR1"


class Opened:
    """A Parquet file whose footer could be read, and the handle below it, which knows a failure of the storage."""

    def __init__(self, file: pq.ParquetFile, handle: Any, threads: bool = False) -> None:
        self.file, self.handle, self.threads = file, handle, threads


def open_file(
    files: Location, shard: Shard, stack: contextlib.ExitStack, *, threads: bool = False
) -> Opened | RowError:
    """A shard's file for reading in flat memory, until `stack` closes; or what is wrong with it."""
    handle, buffer = _handle(files, shard)
    stack.callback(handle.close)
    try:
        file = pq.ParquetFile(handle, pre_buffer=False, buffer_size=buffer, page_checksum_verification=True)
    except Exception as error:
        if not is_damage(error, handle):
            raise
        return _diagnosis(handle, error)
    return Opened(file, handle, threads)


def _handle(files: Location, shard: Shard) -> tuple[Any, int]:
    if (path := files.local_path(shard)) is not None:
        return pa.OSFile(path, "rb"), _BUFFER
    # Columns are fetched in turns, so that a read-ahead cache would throw away what the next one needs.
    return files.open(shard, ahead=0), _REMOTE_BUFFER


def _diagnosis(handle: Any, error: BaseException) -> RowError:
    handle.seek(0, 2)
    size = handle.tell()
    if size == 0:
        return RowError("empty_file", "the file has no bytes")
    handle.seek(0)
    if handle.read(4) == _MAGIC:
        return RowError("truncated", f"Parquet file of {size:,} bytes without a readable footer: {error}")
    return RowError("not_parquet", f"no Parquet file: {error}")


class Group:
    """The rows of one row group, in order. `damage` says why they ended before the group's end, `rows` how many came.

    Which row is the first that can't be read does not depend on the size of a batch: after a failure the rows of the
    batch that failed are read one by one.
    """

    def __init__(self, opened: Opened, index: int, columns: Sequence[str] | None = None) -> None:
        self._opened, self._index, self._columns = opened, index, columns
        self.rows = 0
        self.damage: Exception | None = None

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        """The rows, in batches of at most `size`, or what a salvage makes of them."""
        try:
            for batch in self._read(size):
                # Counted before it is given away: a consumer may fail with an error that looks like damage.
                self.rows += batch.num_rows
                yield batch
                del batch  # the next one is decoded while this name lasts
        except Exception as error:
            if not is_damage(error, self._opened.handle):
                raise
            self.damage = error
        if self.damage is not None:
            yield from self._salvaged()

    def _salvaged(self) -> Iterator[pa.RecordBatch]:
        """What follows a failure, row by row up to the first that can't be read, in batches of a usual size."""
        kept: list[pa.RecordBatch] = []
        nbytes = 0
        try:
            for row in itertools.islice(self._read(1), self.rows, None):
                kept.append(row)
                nbytes += row.nbytes
                if len(kept) == BATCH_ROWS or nbytes > BATCH_BYTES:
                    yield self._together(kept)
                    kept, nbytes = [], 0
        except Exception as error:
            if not is_damage(error, self._opened.handle):
                raise
        if kept:
            yield self._together(kept)

    def _together(self, kept: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
        self.rows += len(kept)
        return pa.concat_batches(kept)  # type: ignore[attr-defined]  # pyarrow-stubs: not named in its `__init__`

    def _read(self, rows: int) -> Iterator[pa.RecordBatch]:
        columns = None if self._columns is None else list(self._columns)
        yield from self._opened.file.iter_batches(
            batch_size=rows, row_groups=[self._index], columns=columns, use_threads=self._opened.threads
        )
