"""Opening a Parquet file, and the rows of a row group up to its first damage: one way for reading and for copying.

Footers are not trusted. `row_group(i).column(j)` ends the process where a chunk's metadata contradicts the schema (one
flipped bit is enough): the exception of the C++ library meets Cython code that declares none. Reading a row group meets
the same exception where it is caught. So `Opened.sizes` starts to read each row group from a file that has no data
before it asks for columns, and nothing else here asks for them.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from poolsieve.dataflow.pools.formats.base import Location
from poolsieve.dataflow.pools.shards import BATCH_BYTES, BATCH_ROWS, Shard
from poolsieve.dataflow.watched import is_damage
from poolsieve.scoring_models.base.errors import RowError

_BUFFER = 1 << 20
_REMOTE_BUFFER = 4 << 20
"""Bytes that one column fetches at a time."""

_MAGIC = b"PAR1"


@dataclass(frozen=True)
class Sizes:
    """Bytes of each column chunk of a row group, by the number of the leaf."""

    compressed: tuple[int, ...]
    plain: tuple[int, ...]


class Opened:
    """A Parquet file whose footer could be read, and the handle below it, which knows a failure of the storage."""

    def __init__(self, file: pq.ParquetFile, handle: Any, threads: bool = False) -> None:
        self.file, self.handle, self.threads = file, handle, threads

    def sizes(self, index: int) -> Sizes | RowError:
        """The sizes of a row group's chunks, or what is wrong with its part of the footer. Reads nothing."""
        group, columns = self.file.metadata.row_group(index), len(self.file.schema)
        if group.num_columns != columns:
            return RowError("row_group", f"row group {index} has {group.num_columns} columns, the schema {columns}")
        if (damage := self._damage(index)) is not None:
            return RowError("row_group", f"row group {index}: {damage}")
        chunks = [group.column(leaf) for leaf in range(columns)]
        return Sizes(
            compressed=tuple(chunk.total_compressed_size for chunk in chunks),
            plain=tuple(chunk.total_uncompressed_size for chunk in chunks),
        )

    def _damage(self, index: int) -> Exception | None:
        """What the library says when it is to read a row group; None if that is nothing but missing data."""
        self._empty.asked = False
        try:
            next(self._dry.iter_batches(batch_size=1, row_groups=[index], use_threads=False), None)
        except (OSError, pa.ArrowException) as error:
            if isinstance(error, MemoryError):
                raise
            return None if self._empty.asked else error
        return None

    @cached_property
    def _empty(self) -> _NoData:
        return _NoData(self.handle)

    @cached_property
    def _dry(self) -> pq.ParquetFile:
        # A buffer, without which whole chunks would be asked for before the metadata of all columns was looked at.
        source = pa.PythonFile(self._empty, mode="r")
        return pq.ParquetFile(source, metadata=self.file.metadata, pre_buffer=False, buffer_size=_BUFFER)


class _NoData(io.RawIOBase):
    """A file of the size of another that ends wherever it is read, and remembers that it was asked to.

    An error in its place would come back with the text of its trace, which takes longer than all the rest.
    """

    def __init__(self, handle: Any) -> None:
        self.asked, self._at = False, 0
        place = handle.tell()
        self._size = handle.seek(0, io.SEEK_END)
        handle.seek(place)

    def read(self, size: int = -1, /) -> bytes:
        """Never gives anything."""
        self.asked = True
        return b""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Moves to a position; returns it."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        """The position."""
        return self._at

    def readable(self) -> bool:
        """It says so, or nobody would try."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True


def open_file(
    files: Location, shard: Shard, stack: contextlib.ExitStack, *, threads: bool = False
) -> Opened | RowError:
    """A shard's file for reading in flat memory, until `stack` closes; or what is wrong with it."""
    handle, buffer = _handle(files, shard)
    stack.callback(handle.close)
    try:
        file = pq.ParquetFile(handle, pre_buffer=False, buffer_size=buffer, page_checksum_verification=True)
    except UnicodeDecodeError as error:
        return RowError("footer", f"a column's name is no UTF-8: {error.reason}")
    except Exception as error:
        if not is_damage(error, handle):
            raise
        return _diagnosis(handle, error)
    return _contradiction(file) or Opened(file, handle, threads)


def _contradiction(file: pq.ParquetFile) -> RowError | None:
    """Numbers of rows that can't be: as many lines of a ledger would be made of them as they say."""
    footer = file.metadata
    rows = [footer.row_group(index).num_rows for index in range(footer.num_row_groups)]
    if min(rows, default=0) >= 0 and sum(rows) == footer.num_rows:
        return None
    return RowError("footer", f"the footer says {footer.num_rows:,} rows, its row groups {sum(rows):,}")


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
        self._end = opened.file.metadata.row_group(index).num_rows
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
            self._check_whole()
        except Exception as error:
            if not is_damage(error, self._opened.handle):
                raise
            self.damage = error
        if self.damage is not None:
            yield from self._salvaged()

    def _check_whole(self) -> None:
        """A column chunk that claims fewer rows than its row group ends early, and nobody else says so."""
        if self.rows < self._end:
            self.damage = pa.ArrowInvalid(f"it has {self.rows:,} rows, and {self._end:,} by its footer")

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
        left = self._end
        for batch in self._opened.file.iter_batches(
            batch_size=rows, row_groups=[self._index], columns=columns, use_threads=self._opened.threads
        ):
            # A row more than the footer says would have the next group's number.
            yield batch.slice(0, left)
            left -= min(left, batch.num_rows)
            del batch
            if not left:
                return
