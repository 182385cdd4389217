"""What is kept of a shard's rows: positions, uids, bytes, read errors, places in the file."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from poolsieve.dataflow import fs, watched
from poolsieve.dataflow.pools.shards import Batch
from poolsieve.dataflow.store.tables import damaged, one_array, write_table
from poolsieve.scoring_models.base.errors import PoolsieveError, RowError

ROWS_SCHEMA = pa.schema(
    [  # type: ignore[arg-type]  # pyarrow-stubs: pairs with types of one class alone
        ("row", pa.int64()),
        ("uid", pa.string()),
        ("nbytes", pa.int64()),
        ("read_error", pa.string()),
        ("read_message", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("key", pa.string()),
    ]
)
"""`rows/<shard>.parquet`: one line a row. offset, length and key are null for pools that are not tars."""


class Rows:
    """The rows of one shard, as `rows/<shard>.parquet` has them; columns are decoded when they are asked for.

    Most phases need positions and read errors only, and uids are most of the bytes.

    Args:
        data: the file's; or the table that it was, or will be, written from.
    """

    def __init__(self, data: bytes | pa.Table) -> None:
        self._file = data if isinstance(data, pa.Table) else pq.ParquetFile(pa.BufferReader(data))
        self._columns: dict[str, pa.Array] = {}

    @functools.cached_property
    def row(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """int64 (n,): positions in the file."""
        return np.asarray(self.column("row").to_numpy(), dtype=np.int64)

    def column(self, name: str) -> pa.Array:
        """One column, in one piece."""
        if name not in self._columns:
            names = next(some for some in _TOGETHER if name in some)
            table = self._file
            if not isinstance(table, pa.Table):
                table = table.read(columns=list(names), use_threads=False)
            self._columns |= {one: one_array(table, one) for one in names}
        return self._columns[name]

    def __len__(self) -> int:
        return int(self._file.num_rows if isinstance(self._file, pa.Table) else self._file.metadata.num_rows)


_TOGETHER = (("row", "read_error"), ("uid", "nbytes", "key"), ("read_message",), ("offset", "length"))
"""Columns that are read at once: each reading costs as much as thousands of rows."""


def all_rows(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of a shard, from those of its batches."""
    return pa.concat_tables(tables) if tables else ROWS_SCHEMA.empty_table()


def write_rows(url: str, table: pa.Table) -> None:
    """Writes the rows of a shard."""
    write_table(url, table)


def read_rows(url: str) -> Rows | None:
    """The rows of a shard, or None if it has not been read yet.

    Raises:
        PoolsieveError: if the file is damaged.
    """
    try:
        return Rows(fs.read_bytes(url))
    except FileNotFoundError:
        return None
    except (pa.ArrowInvalid, OSError) as error:
        if not watched.is_damage(error, None):  # an OSError of Arrow's has no number
            raise
        raise PoolsieveError(damaged(url, error)) from error


def rows_table(batch: Batch) -> pa.Table:
    """A reader's batch as lines of `rows/`."""
    n = batch.num_rows
    arrays = [
        pa.array(batch.rows),
        batch.uid,
        pa.array(np.asarray(batch.nbytes, dtype=np.int64)),
        *error_columns(batch.read_errors, n),
        pa.nulls(n, pa.int64()) if batch.offset is None else pa.array(batch.offset),
        pa.nulls(n, pa.int64()) if batch.length is None else pa.array(batch.length),
        pa.nulls(n, pa.string()) if batch.key is None else batch.key,
    ]
    return pa.Table.from_arrays(arrays, schema=ROWS_SCHEMA)


def error_columns(errors: Mapping[int, RowError], n: int) -> tuple[pa.Array, pa.Array]:
    """(kinds, messages): string arrays of length n, null where there is no error."""
    if not errors:
        return no_texts(n), no_texts(n)
    found = [errors.get(i, (None, None)) for i in range(n)]
    return pa.array([kind for kind, _ in found], pa.string()), pa.array([text for _, text in found], pa.string())


def no_texts(n: int) -> pa.Array:
    """string (n,): null everywhere."""
    return pa.nulls(n, pa.string())
