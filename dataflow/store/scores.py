"""The scores of every scorer, as immutable Parquet files.

A file's name holds the shard's name, the identity of the shard's contents and a hash of the rows inside, so nothing is
ever overwritten by something else, and what belongs to another version of a pool file is not seen.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.dataflow import fs
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.store.layout import score_prefix
from poolsieve.dataflow.store.names import GrowingNames
from poolsieve.dataflow.store.rows import no_texts
from poolsieve.dataflow.store.tables import one_array, read_table, write_table
from poolsieve.scoring_models.base.arrow import nulls
from poolsieve.scoring_models.base.errors import PoolsieveError

MANY_FILES = 8
"""Score files of a shard above which `prune` makes one of them."""


@dataclass(frozen=True)
class Stored:
    """The stored scores of one scorer for all n rows of a shard."""

    present: np.ndarray[Any, np.dtype[np.bool_]]
    columns: Mapping[str, pa.Array]
    errors: pa.Array
    messages: pa.Array

    def slice(self, start: int, n: int) -> Stored:
        """Rows start ... start + n - 1 of the shard."""
        columns = {name: values.slice(start, n) for name, values in self.columns.items()}
        errors, messages = self.errors.slice(start, n), self.messages.slice(start, n)
        return Stored(self.present[start : start + n], columns, errors, messages)

    def without_failures(self) -> Stored:
        """The same, as if rows that failed had never been tried."""
        fine = np.asarray(self.errors.is_null().to_numpy(zero_copy_only=False), dtype=bool)
        return Stored(self.present & fine, self.columns, self.errors, self.messages)


class FolderListing:
    """Names of the score files in one folder; for one phase of one run in one process.

    A listing for each shard would cost the square of the number of shards. A phase only reads what earlier phases
    committed, or what this process committed itself and added here.
    """

    def __init__(self, folder: str, names: Iterable[str], readings: Mapping[str, str] = {}) -> None:
        self.folder = folder
        self._readings = readings
        self._names = GrowingNames(name for name in names if name.endswith(".parquet"))
        self._lock = threading.Lock()

    @classmethod
    def of(cls, folder: str, readings: Mapping[str, str] = {}) -> FolderListing:
        """One look at a folder; `readings` are the pool's (`PoolFiles.readings`), of the roles that are scored."""
        return cls(folder, fs.bases(folder), readings)

    @property
    def nbytes(self) -> int:
        """Of memory that the names take."""
        return self._names.nbytes

    def prefix(self, shard: Shard) -> str:
        """What the names of a shard's files begin with."""
        return score_prefix(shard, self._readings.get(shard.path.partition("/")[0], "") if self._readings else "")

    def names(self, shard: Shard) -> list[str]:
        """Names of a shard's score files, sorted."""
        prefix = self.prefix(shard)
        with self._lock:
            found = set(self._names.starting(f"{prefix}-"))
        return sorted(name for name in found if prefix_of(name) == prefix)

    def urls(self, shard: Shard) -> list[str]:
        """A shard's score files, sorted by name."""
        return [fs.join(self.folder, name) for name in self.names(shard)]

    def groups(self) -> list[tuple[str, list[str]]]:
        """What the names of a shard's files begin with, and the names that were listed, both sorted."""
        return [(prefix, list(names)) for prefix, names in itertools.groupby(self._names, prefix_of)]

    def add(self, shard: Shard, name: str) -> None:
        """Notes a file that this process has just committed."""
        with self._lock:
            self._names.add(f"{self.prefix(shard)}-", name)


def prefix_of(name: str) -> str:
    """What the names of a shard's score files begin with, of one of them."""
    return name.rsplit("-", 1)[0]


def read_scores(
    files: FolderListing,
    shard: Shard,
    rows: np.ndarray[Any, np.dtype[np.int64]],
    columns: Mapping[str, pa.DataType],
) -> Stored:
    """The union of a scorer's files for one shard, laid out by its `rows`: int64 (n,), ascending positions.

    Scores of other rows of the file, which are not in this sample of the pool, are left out.
    """
    table = score_lines(files, shard)
    if table is None:
        n = len(rows)
        missing = {c: nulls(n, k) for c, k in columns.items()}
        return Stored(np.zeros(n, dtype=bool), missing, no_texts(n), no_texts(n))
    return laid_out(table, rows, columns)


def score_lines(files: FolderListing, shard: Shard) -> pa.Table | None:
    """All lines that a scorer has of a shard, the last one of a row counts; None where it has no file."""
    tables = [read_table(url) for url in files.urls(shard)]
    return (_failures_first(tables) if len(tables) > 1 else tables[0]) if tables else None


def by_row(table: pa.Table) -> pa.Table:
    """The lines in the order of their rows; those of one row stay in theirs."""
    there = table.column("row").to_numpy()
    ordered = bool((there[1:] >= there[:-1]).all())
    return table if ordered else table.take(pa.array(np.argsort(there, kind="stable"), pa.int64()))


def laid_out(table: pa.Table, rows: np.ndarray[Any, np.dtype[np.int64]], columns: Mapping[str, pa.DataType]) -> Stored:
    """Lines laid out by `rows`: int64 (n,), ascending positions; lines of other rows are left out."""
    n = len(rows)
    present = np.zeros(n, dtype=bool)
    table, position = _placed(table, rows)
    present[position] = True
    if len(position) == n and bool((position == np.arange(n)).all()):
        return Stored(
            present, {c: one_array(table, c) for c in columns}, one_array(table, "error"), one_array(table, "message")
        )
    take = np.zeros(n, dtype=np.int64)
    take[position] = np.arange(len(position))
    index = pa.array(take, pa.int64(), mask=~present)
    laid = table.take(index)
    return Stored(
        present, {c: one_array(laid, c) for c in columns}, one_array(laid, "error"), one_array(laid, "message")
    )


def _placed(
    table: pa.Table, rows: np.ndarray[Any, np.dtype[np.int64]]
) -> tuple[pa.Table, np.ndarray[Any, np.dtype[np.int64]]]:
    """The lines of a table that are of these rows, and the place of each among them."""
    there = table.column("row").to_numpy()
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows) and (there >= rows[0]).all() and (there <= rows[-1]).all():
        return table, there - rows[0]
    position = np.searchsorted(rows, there)
    known = position < len(rows)
    known[known] = rows[position[known]] == there[known]
    return table.filter(pa.array(known)), position[known]


def _failures_first(tables: Sequence[pa.Table]) -> pa.Table:
    """All lines, failures before scores: a row that was tried again and succeeded has both, and the last one counts."""
    table = pa.concat_tables(tables)
    failed = table.column("error").is_valid()
    return pa.concat_tables([table.filter(failed), table.filter(pc.invert(failed))])


def score_table(
    rows: np.ndarray[Any, Any], columns: Mapping[str, pa.Array], errors: pa.Array, messages: pa.Array
) -> pa.Table:
    """Lines of a score file."""
    arrays = [pa.array(rows, pa.int64()), *columns.values(), errors, messages]
    return pa.Table.from_arrays(arrays, names=["row", *columns, "error", "message"])


def write_scores(files: FolderListing, shard: Shard, tables: Sequence[pa.Table]) -> str:
    """Commits newly computed scores of a shard as one file; returns its name. Same rows, same name, same bytes."""
    table = pa.concat_tables(tables).combine_chunks()
    name = _file_name(files.prefix(shard), table)
    write_table(fs.join(files.folder, name), table)
    files.add(shard, name)
    return name


def _file_name(prefix: str, table: pa.Table) -> str:
    rows = np.ascontiguousarray(table.column("row").to_numpy())
    failed = np.packbits(table.column("error").is_valid().to_numpy())
    return f"{prefix}-{hashlib.blake2b(rows.tobytes() + failed.tobytes(), digest_size=6).hexdigest()}.parquet"


def merge_files(folder: str) -> list[str]:
    """Makes one file of a shard's many, as answers that were committed in pieces leave them; names those that go.

    The same lines are read from it. Shards with up to `MANY_FILES` stay as they are, and so does what can't be read:
    who needs it is told. Nobody else may work in OUT meanwhile.
    """
    gone = []
    for prefix, names in FolderListing.of(folder).groups():
        if len(names) > MANY_FILES:
            with contextlib.suppress(PoolsieveError, pa.ArrowException, KeyError):
                gone += _merged(folder, prefix, names)
    return gone


def _merged(folder: str, prefix: str, names: Sequence[str]) -> list[str]:
    lines = by_row(_failures_first([read_table(fs.join(folder, name)) for name in names])).combine_chunks()
    rows = lines.column("row").to_numpy()
    table = lines.filter(pa.array(np.append(rows[1:] != rows[:-1], True)))  # the last line of a row counts
    made = _file_name(prefix, table)
    write_table(fs.join(folder, made), table)
    old = [name for name in names if name != made]
    for name in old:
        fs.remove(fs.join(folder, name))
    return old
