"""What is kept of a shard between runs: its rows, and the scores of every scorer, as immutable Parquet files.

A file's name holds the shard's name, the identity of the shard's contents and (for scores) a hash of the rows inside,
so nothing is ever overwritten by something else, and what belongs to another version of a pool file is not seen.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from poolsieve.dataflow import fs
from poolsieve.dataflow.evaluate import concat
from poolsieve.dataflow.records import Chunk, Shard
from poolsieve.scoring_models.protocol import PoolsieveError, RowError, digest

ROWS_SCHEMA = pa.schema(
    [
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
    """

    def __init__(self, data: bytes) -> None:
        self._file = pq.ParquetFile(pa.BufferReader(data))
        self._columns: dict[str, pa.Array] = {}

    @functools.cached_property
    def row(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """int64 (n,): positions in the file."""
        return np.asarray(self.column("row").to_numpy(), dtype=np.int64)

    def column(self, name: str) -> pa.Array:
        """One column, in one piece."""
        if name not in self._columns:
            self._columns[name] = _one(self._file.read(columns=[name], use_threads=False), name)
        return self._columns[name]

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)


@dataclass(frozen=True)
class Stored:
    """The stored scores of one scorer for all n rows of a shard."""

    present: np.ndarray[Any, np.dtype[np.bool_]]
    columns: Mapping[str, pa.Array]
    errors: pa.Array
    messages: pa.Array


def rows_url(out: str, shard: Shard, reading: str) -> str:
    """Where the rows of a shard are kept; `reading` is the hash of how uids are read from the pool."""
    return fs.join(out, "rows", f"{shard.name}.{digest([shard.identity, reading], 6)}.parquet")


def write_rows(url: str, chunks: Sequence[pa.Table]) -> None:
    """Writes the rows of a shard."""
    table = pa.concat_tables(chunks) if chunks else ROWS_SCHEMA.empty_table()
    write_table(url, table)


def write_table(url: str, table: pa.Table, metadata: Mapping[str, str] | None = None) -> str:
    """Writes a table atomically with settings that never change; returns the file's SHA-256."""
    if metadata:
        table = table.replace_schema_metadata(dict(metadata))
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", compression_level=1, use_dictionary=_dictionaries(table))
    data = sink.getbuffer()
    with fs.atomic_write(url) as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


def _dictionaries(table: pa.Table) -> list[str]:
    """Columns with few values. uids and numbers only lose time and space in a dictionary."""
    few = {"reason", "error", "read_error"}
    return [f.name for f in table.schema if f.name in few or (pa.types.is_string(f.type) and f.name.endswith(".label"))]


@fs.retrying
def read_table(url: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Reads one of our own Parquet files, or some columns of it.

    Raises:
        PoolsieveError: if it is damaged, naming it and what to do.
    """
    system, path = fs.connect(url)
    try:
        with system.open(path, "rb") as file:
            return pq.read_table(file, columns=None if columns is None else list(columns), use_threads=False)
    except pa.ArrowInvalid as error:
        raise PoolsieveError(damaged(url, error)) from error


def read_rows(url: str) -> Rows | None:
    """The rows of a shard, or None if it has not been read yet.

    Raises:
        PoolsieveError: if the file is damaged.
    """
    try:
        return Rows(fs.read_bytes(url))
    except FileNotFoundError:
        return None
    except pa.ArrowInvalid as error:
        raise PoolsieveError(damaged(url, error)) from error


def damaged(url: str, error: Exception) -> str:
    """What to say of one of our own files that can't be read."""
    return f"{url} is damaged ({error}); remove it, then run again to make it anew"


def chunk_rows(chunk: Chunk) -> pa.Table:
    """A reader's chunk as lines of `rows/`."""
    n = chunk.num_rows
    arrays = [
        pa.array(np.arange(chunk.start, chunk.start + n, dtype=np.int64)),
        chunk.uid,
        pa.array(np.asarray(chunk.nbytes, dtype=np.int64)),
        *error_columns(chunk.read_errors, n),
        pa.nulls(n, pa.int64()) if chunk.offset is None else pa.array(chunk.offset),
        pa.nulls(n, pa.int64()) if chunk.length is None else pa.array(chunk.length),
        pa.nulls(n, pa.string()) if chunk.key is None else chunk.key,
    ]
    return pa.Table.from_arrays(arrays, schema=ROWS_SCHEMA)


def error_columns(errors: Mapping[int, RowError], n: int) -> tuple[pa.Array, pa.Array]:
    """(kinds, messages): string arrays of length n, null where there is no error."""
    if not errors:
        return _none(n), _none(n)
    found = [errors.get(i, (None, None)) for i in range(n)]
    return pa.array([kind for kind, _ in found], pa.string()), pa.array([text for _, text in found], pa.string())


def scorer_folder(out: str, name: str, fingerprint: str) -> str:
    """The folder of one scorer's scores."""
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    return fs.join(out, "scores", f"{safe}-{fingerprint}")


class Listings:
    """Names of score files by shard, from one listing of each folder for each phase of a job in each process.

    A listing for each shard would cost the square of the number of shards. A phase only reads what earlier phases
    committed, or what this process committed itself and added here.
    """

    _lock = threading.Lock()
    _cache: ClassVar[dict[tuple[str, str], dict[str, list[str]]]] = {}

    @classmethod
    def files(cls, phase: str, folder: str, prefix: str) -> list[str]:
        """Score files in `folder` whose name begins with `prefix` (shard name and identity)."""
        with cls._lock:
            listing = cls._cache.get((phase, folder))
            if listing is None:
                listing = cls._listed(folder)
                cls._forget(phase)
                cls._cache[(phase, folder)] = listing
            return list(listing.get(prefix, ()))

    @staticmethod
    def _listed(folder: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in fs.names(folder):
            if name.endswith(".parquet"):
                found.setdefault(name.rsplit("-", 1)[0], []).append(name)
        return found

    @classmethod
    def _forget(cls, phase: str) -> None:
        run = phase.split("/", 1)[0]
        for key in [key for key in cls._cache if key[0].split("/", 1)[0] != run]:
            del cls._cache[key]

    @classmethod
    def add(cls, phase: str, folder: str, prefix: str, name: str) -> None:
        """Notes a file that this process has just committed."""
        with cls._lock:
            listing = cls._cache.get((phase, folder))
            if listing is not None and name not in listing.setdefault(prefix, []):
                listing[prefix].append(name)


def score_prefix(shard: Shard) -> str:
    """What the names of a shard's score files begin with."""
    return f"{shard.name}.{digest(shard.identity, 6)}"


def read_scores(
    phase: str, folder: str, shard: Shard, first_row: int, n: int, columns: Mapping[str, pa.DataType]
) -> Stored:
    """The union of a scorer's files for one shard, laid out by row."""
    prefix = score_prefix(shard)
    tables = [read_table(fs.join(folder, name)) for name in sorted(Listings.files(phase, folder, prefix))]
    present = np.zeros(n, dtype=bool)
    if not tables:
        return Stored(present, {c: pa.nulls(n, k) for c, k in columns.items()}, _none(n), _none(n))
    table = _failures_first(tables) if len(tables) > 1 else tables[0]
    position = table.column("row").to_numpy() - first_row
    present[position] = True
    if len(position) == n and (len(tables) == 1) and bool((position == np.arange(n)).all()):
        return Stored(present, {c: _one(table, c) for c in columns}, _one(table, "error"), _one(table, "message"))
    take = np.zeros(n, dtype=np.int64)
    take[position] = np.arange(len(position))
    index = pa.array(take, mask=~present)
    laid = table.take(index)
    return Stored(present, {c: _one(laid, c) for c in columns}, _one(laid, "error"), _one(laid, "message"))


def _failures_first(tables: Sequence[pa.Table]) -> pa.Table:
    """All lines, failures before scores: a row that was tried again and succeeded has both, and the last one counts."""
    table = pa.concat_tables(tables)
    failed = table.column("error").is_valid()
    return pa.concat_tables([table.filter(failed), table.filter(pc.invert(failed))])


def _none(n: int) -> pa.Array:
    return pa.nulls(n, pa.string())


def _one(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else concat(column.chunks, column.type)


def score_table(
    rows: np.ndarray[Any, Any], columns: Mapping[str, pa.Array], errors: pa.Array, messages: pa.Array
) -> pa.Table:
    """Lines of a score file."""
    arrays = [pa.array(rows, pa.int64()), *columns.values(), errors, messages]
    return pa.Table.from_arrays(arrays, names=["row", *columns, "error", "message"])


def write_scores(phase: str, folder: str, shard: Shard, tables: Sequence[pa.Table]) -> str:
    """Commits newly computed scores of a shard as one file; returns its name. Same rows, same name, same bytes."""
    table = pa.concat_tables(tables).combine_chunks()
    rows = np.ascontiguousarray(table.column("row").to_numpy())
    failed = np.packbits(table.column("error").is_valid().to_numpy())
    prefix = score_prefix(shard)
    name = f"{prefix}-{hashlib.blake2b(rows.tobytes() + failed.tobytes(), digest_size=6).hexdigest()}.parquet"
    write_table(fs.join(folder, name), table)
    Listings.add(phase, folder, prefix, name)
    return name


class SettingsChanged(PoolsieveError):
    """A worker can't honour the dtype, shapes, threads or device that a scorer's stored scores were made with."""


def settle(folder: str, parts: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Writes `scorer.json` at first use, and checks later workers against it.

    Raises:
        SettingsChanged: naming the settings that differ.
    """
    url = fs.join(folder, "scorer.json")
    wanted = json.loads(json.dumps({**parts, "settings": dict(settings)}, sort_keys=True, default=str))
    if not fs.exists(url):
        fs.write_bytes(url, (json.dumps(wanted, indent=1, sort_keys=True) + "\n").encode())
        return
    found = json.loads(fs.read_bytes(url)).get("settings", {})
    mine = wanted["settings"]
    changed = sorted(key for key in {*found, *mine} if found.get(key) != mine.get(key))
    if changed:
        detail = "; ".join(f"{key}: stored {found.get(key)!r}, here {mine.get(key)!r}" for key in changed)
        raise SettingsChanged(
            f"{folder} was scored with other settings ({detail}), so scores would not compare. Score on the same kind "
            "of device and with the same options, or name the scorer's options in the recipe so that it is scored anew."
        )


def stored_scorers(out: str) -> list[dict[str, Any]]:
    """`scorer.json` of every scorer in OUT, with its folder's name under `folder`."""
    found = []
    for folder in fs.names(fs.join(out, "scores")):
        url = fs.join(out, "scores", folder, "scorer.json")
        if fs.exists(url):
            found.append({**json.loads(fs.read_bytes(url)), "folder": folder})
    return found
