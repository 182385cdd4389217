"""Which rows of a shard an export takes, from the ledger or from somebody's list, and how its files are cut."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.export.edited import EditedColumns, EditedRows
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.store.layout import ledger_url, rows_url
from poolsieve.dataflow.store.rows import ROWS_SCHEMA
from poolsieve.dataflow.store.tables import read_table
from poolsieve.filters.lists import counts_in, load_list, pairs_of
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.errors import PoolsieveError

Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """Everything that a worker needs to know of an export: small and picklable.

    Attributes:
        out: the folder of the run.
        decision: whose ledger is exported.
        target: the folder that is written to.
        files: the pool's, where they are now.
        reading: what `rows/` are named after, beside the shard.
        format: `parquet`, `webdataset` or `jsonl`.
        select: glob over reasons; None for the kept rows.
        uids: a list's path; takes the rows that it names instead.
        scores: score columns that go along, in order, with their types.
        types: for another format than the pool's: the roles (of `files`) that are read, and their types.
        edits: columns that hold edited roles; None for none.
        same_place: whether the pool is where it was when it was scored, so that its files' tags can be compared.
        threads: threads for one file's decoding.
    """

    out: str
    decision: str
    target: str
    files: PoolFiles
    reading: str
    format: str
    select: str | None = None
    uids: str | None = None
    scores: Mapping[str, pa.DataType] = field(default_factory=dict)
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    edits: EditedColumns | None = None
    same_place: bool = True
    threads: bool = True

    @property
    def kept(self) -> bool:
        """Whether this takes what the decision kept, so that its counts are known."""
        return self.select is None and self.uids is None

    @property
    def as_lines(self) -> bool:
        """Whether lines leave as they are, so that even one that is no JSON can."""
        return self.files.format == self.format == "jsonl" and not self.scores and self.edits is None


@dataclass(frozen=True, kw_only=True)
class ShardExtract:
    """What one shard gives to the export.

    Attributes:
        shard: the shard.
        rows: rows that leave, copies counted.
        nbytes: about as many bytes.
        unreadable: rows that were asked for, but could not be read when they were scored.
        first_key: of the first sample that leaves, as it will be named (tar to tar).
        last_key: of the last one.
        schema: a hash; files of different schemas don't go into one (Parquet to Parquet).
        whole: whether the shard is a whole file of which every row leaves once.
    """

    shard: Shard
    rows: int
    nbytes: int = 0
    unreadable: int = 0
    first_key: str | None = None
    last_key: str | None = None
    schema: str = ""
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """One file of the export: its name in the target, and what goes into it, in this order."""

    name: str
    inputs: tuple[ShardExtract, ...]


@dataclass
class Written:
    """What became of one part."""

    rows: int = 0
    unreadable: int = 0
    renamed: int = 0
    empty: dict[str, int] = field(default_factory=dict)


def plan_parts(
    inputs: Sequence[ShardExtract], target_bytes: int, name: Callable[[int, int], str]
) -> tuple[OutputFile, ...]:
    """Cuts the inputs, in their order, into files: each closes at the first boundary past `target_bytes`.

    It also closes where the schema changes, or where two samples of one key would become neighbours.
    """
    runs: list[list[ShardExtract]] = []
    filled = 0
    for item in inputs:
        if not runs or filled >= target_bytes or not _fits(runs[-1][-1], item):
            runs.append([])
            filled = 0
        runs[-1].append(item)
        filled += item.nbytes
    return tuple(OutputFile(name=name(i, len(runs)), inputs=tuple(run)) for i, run in enumerate(runs))


def _fits(last: ShardExtract, item: ShardExtract) -> bool:
    meet = last.last_key is not None and last.last_key == item.first_key
    return last.schema == item.schema and not meet


@dataclass(frozen=True)
class Picked:
    """The rows of one shard that leave: positions in the file (ascending), copies of each, uids, lines, scores."""

    row: Ints
    copies: Ints
    uid: pa.Array
    lines: pa.Table
    scores: pa.Table
    unreadable: int = 0
    found: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def column(self, name: str) -> Ints:
        """A numeric column of the rows' lines."""
        return np.asarray(self.lines.column(name).to_numpy(), dtype=np.int64)


def pick(export: ExportPlan, shard: Shard) -> Picked:
    """Which rows of a shard leave, and what is kept about them.

    Raises:
        PoolsieveError: if the run's own files are missing.
    """
    url = ledger_url(export.out, export.decision, shard.name)
    ledger = _own(url, ["row", "uid", "keep", "reason", *export.scores])
    lines = _own(rows_url(export.out, shard, export.reading), _LINES) if _needs_lines(export) else None
    copies, found = _copies(export, ledger)
    if lines is not None:
        bad = np.asarray(lines.column("read_error").is_valid().to_numpy(), dtype=bool)
        if export.as_lines:
            bad &= np.asarray(lines.column("offset").is_null().to_numpy(), dtype=bool)
        unreadable, copies = int(copies[bad].sum()), np.where(bad, 0, copies)
    else:
        unreadable, lines = 0, ROWS_SCHEMA.empty_table()
    index = pa.array(np.flatnonzero(copies))
    taken = ledger.select(["row", "uid", *export.scores]).take(index)
    return Picked(
        row=np.asarray(taken.column("row").to_numpy(), dtype=np.int64),
        copies=copies[copies > 0],
        uid=_one(taken, "uid"),
        lines=lines.take(index) if len(lines) else lines,
        scores=taken.select(list(export.scores)),
        unreadable=unreadable,
        found=found,
    )


def edited_rows(export: ExportPlan, shard: Shard, picked: Picked) -> EditedRows | None:
    """The edited columns of the picked rows; None if the export has none."""
    return EditedRows(export.edits, export.files, shard, picked.row) if export.edits is not None else None


def count_lost(edited: EditedRows | None, done: Written) -> None:
    """Counts the rows without an edited text by column."""
    for name, count in (edited.lost if edited is not None else {}).items():
        done.empty[name] = done.empty.get(name, 0) + count


def _one(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _needs_lines(export: ExportPlan) -> bool:
    """Kept rows of Parquet need no look into `rows/`: they could be read, and their bytes are found by position."""
    return not export.kept or export.files.format != "parquet"


_LINES = ("nbytes", "read_error", "offset", "length", "key")


def _own(url: str, columns: Sequence[str]) -> pa.Table:
    try:
        return read_table(url, columns)
    except FileNotFoundError as error:
        raise PoolsieveError(
            f"{url} is missing, so the run is not whole any more: run it again to make it anew"
        ) from error


def _copies(export: ExportPlan, ledger: pa.Table) -> tuple[Ints, Ints]:
    """How often each row of the ledger leaves; which entries of the list were found (their first positions)."""
    if export.uids is not None:
        listed = load_list(export.uids)
        pairs = pairs_of(_one(ledger, "uid"))
        copies = counts_in(pairs, listed)
        first = np.searchsorted(listed, pairs[copies > 0], side="left")
        return copies, np.unique(first).astype(np.int64)
    if export.select is not None:
        return matching(_one(ledger, "reason"), export.select).astype(np.int64), np.zeros(0, np.int64)
    keep = np.asarray(ledger.column("keep").to_numpy(), dtype=bool)
    return keep.astype(np.int64), np.zeros(0, np.int64)


def matching(reasons: pa.Array, glob: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which reasons match a glob; null (a kept row) never does."""
    coded = reasons.dictionary_encode()
    match = [fnmatch.fnmatchcase(reason, glob) for reason in coded.dictionary.to_pylist()]
    table = np.array([*match, False], dtype=bool)
    codes = coded.indices.fill_null(len(match)).to_numpy(zero_copy_only=False)
    return np.asarray(table[codes], dtype=bool)


def check_same(export: ExportPlan, shard: Shard) -> None:
    """Compares a pool file with the one that was scored: size and tag, or the size alone if the pool has moved.

    Raises:
        ShardChanged: if it differs or is gone.
    """
    export.files.check_unchanged(shard, moved=not export.same_place)


def safe_key(uid: str) -> str:
    """A uid as a WebDataset key: dots and slashes would end it early. What was changed gets a hash of the original."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in uid)[:120]
    return safe if safe == uid and not safe.startswith("__") and safe else f"{safe.strip('_')}-{digest(uid, 4)}"


def copy_keys(uid: str, copies: int) -> list[str]:
    """The keys of a sample that a list names several times, as DataComp's resharder has them: `{uid}-{j}`."""
    return [f"{safe_key(uid)}-{j}" for j in range(copies)]


def distinct(key: str, previous: str | None) -> str:
    """`key`, or `key-1` beside a neighbour of the same key: the two would be read as one sample."""
    return key if key != previous else f"{key}-1"
