"""Our own Parquet files: written atomically, with one layout, and read with a clear error where one is damaged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from poolsieve.dataflow import fs, watched
from poolsieve.dataflow.pools.casts import one_piece
from poolsieve.dataflow.retries import retrying
from poolsieve.scoring_models.base.errors import PoolsieveError


class WrittenFile(NamedTuple):
    """A file's SHA-256, and its size in bytes."""

    sha256: str
    size: int


def write_table(url: str, table: pa.Table, metadata: Mapping[str, str] | None = None) -> WrittenFile:
    """Writes a table atomically with settings that never change."""
    if metadata:
        table = table.replace_schema_metadata(dict(metadata))
    return write_tables(url, table.schema, [table])


def write_tables(url: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> WrittenFile:
    """The same of tables that come one by one: each is a row group."""
    sink = pa.BufferOutputStream()
    few: Any = _dictionaries(schema)  # a list, where `pyarrow-stubs` know of a bool alone
    with pq.ParquetWriter(sink, schema, compression="zstd", compression_level=1, use_dictionary=few) as writer:
        for table in tables:
            writer.write_table(table)
    data = memoryview(sink.getvalue())
    fs.write_bytes(url, data)
    return WrittenFile(hashlib.sha256(data).hexdigest(), len(data))


@retrying
def read_table(url: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Reads one of our own Parquet files, or some columns of it.

    Raises:
        PoolsieveError: if it is damaged, naming it and what to do.
    """
    try:
        if columns is None:
            return whole_table(fs.read_bytes(url))
        system, path = fs.connect(url)
        with system.open(path, "rb") as file:
            return pq.read_table(file, columns=list(columns), use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        if not watched.is_damage(error, None):  # an OSError of Arrow's has no number
            raise
        raise PoolsieveError(damaged(url, error)) from error


def whole_table(data: bytes) -> pa.Table:
    """A table from the bytes of its file. `pq.read_table` plans for many files, which takes five times as long."""
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def read_promised(url: str, columns: Sequence[str] | None = None, *, sha256: str | None = None) -> pa.Table:
    """`read_table` of a file that a whole run has.

    Args:
        url: of the file.
        columns: None for all of them.
        sha256: of the file, if that is known: the whole file is then read and compared.

    Raises:
        PoolsieveError: if it is missing, damaged or another, naming it and what to do.
    """
    try:
        return read_table(url, columns) if sha256 is None else _compared(url, columns, sha256)
    except FileNotFoundError as error:
        raise PoolsieveError(_missing(url)) from error


def read_batches(url: str, rows: int = 1024) -> Iterator[pa.RecordBatch]:
    """`read_promised`, so many rows at a time: no more than the file's bytes are in memory."""
    try:
        data = fs.read_bytes(url)
        yield from pq.ParquetFile(pa.BufferReader(data)).iter_batches(rows, use_threads=False)
    except FileNotFoundError as error:
        raise PoolsieveError(_missing(url)) from error
    except (pa.ArrowInvalid, OSError) as error:
        if not watched.is_damage(error, None):
            raise
        raise PoolsieveError(damaged(url, error)) from error


def _missing(url: str) -> str:
    return f"{url} is missing, so the run is not whole any more: run it again to make it anew"


def _compared(url: str, columns: Sequence[str] | None, sha256: str) -> pa.Table:
    data = fs.read_bytes(url)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise PoolsieveError(
            f"{url} is not the file that the decision was closed with: it was changed, or a run was stopped while it "
            "decided anew. Run it again to make it anew"
        )
    return pq.ParquetFile(pa.BufferReader(data)).read(
        columns=None if columns is None else list(columns), use_threads=False
    )


def damaged(url: str, error: Exception) -> str:
    """What to say of one of our own files that can't be read."""
    return f"{url} is damaged ({error}); remove it, then run again to make it anew"


def one_array(table: pa.Table, name: str) -> pa.Array:
    """One column of a table, in one piece."""
    return one_piece(table.column(name))


def _dictionaries(schema: pa.Schema) -> list[str]:
    """Columns with few values. uids and numbers only lose time and space in a dictionary."""
    few = {"reason", "error", "read_error"}
    return [f.name for f in schema if f.name in few or (pa.types.is_string(f.type) and f.name.endswith(".label"))]
