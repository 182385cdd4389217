"""What every format shares when it is read: the reader's protocol, uids, batches of what can't be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import IO, Any, Protocol, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.dataflow import fs, watched
from poolsieve.dataflow.pools.casts import storage
from poolsieve.dataflow.pools.listing import url_of
from poolsieve.dataflow.pools.shards import BATCH_ROWS, DOCUMENT_BYTES, Batch, Shard
from poolsieve.scoring_models.base.arrow import nulls, without_columns
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError, RowError

Ints = np.ndarray[Any, np.dtype[np.int64]]

Want = Callable[[int, int], bool]
"""`want(start, n)`: False when nobody needs any of the rows start ... start + n - 1 of the file."""

SKIP_ROWS = 256
"""Rows that are read or skipped together, where rows are found one after the other."""

UID = "uid"
"""The role that labels a row. It is always a string, and derived where the pool has none."""

INSTANCE = "instance"
"""A role that needs no declaration where trainers number the rows of a format's files: a row's number, int64."""


class NoneReadable(PlanError):
    """None of the shards that were looked at tells what the pool's columns are."""


class ShardChanged(PoolsieveError):
    """A pool file is not the one that the run (or the plan) saw."""


class ShardGone(ShardChanged):
    """A pool file is not there any more."""


@dataclass(frozen=True, kw_only=True)
class Location:
    """What a reader needs of a pool: where its files are and where in them the roles are found.

    Attributes:
        root: absolute URL of the folder that shards' paths are relative to.
        prefix: what shards' paths begin with before that: the name of a part of a union, with a slash.
        roles: role -> source.
        split_bytes: files above this are several shards, where the format allows it.
        max_document_bytes: a longer line, or text of a role, is not looked at; its row is quarantined (`too_large`).
        storage_options: for fsspec. Never stored: it may hold secrets.
        firsts: path of a file -> the number of its first instance, where trainers number the rows of all files.
    """

    root: str
    prefix: str = ""
    roles: Mapping[str, str] = field(default_factory=dict)
    split_bytes: int = 1 << 30
    max_document_bytes: int = DOCUMENT_BYTES
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    firsts: Mapping[str, int] = field(default_factory=dict, repr=False)

    @property
    def limits(self) -> tuple[str, ...]:
        """What rows and scores are looked up by beside their sources: limits that are not the usual ones."""
        usual = self.max_document_bytes == DOCUMENT_BYTES
        return () if usual else (f"max_document_bytes={self.max_document_bytes}",)

    def url(self, shard: Shard) -> str:
        """The absolute URL of a shard's file."""
        return url_of(self.root, shard.path.removeprefix(self.prefix))

    def connect(self, shard: Shard) -> tuple[Any, str]:
        """The file system that holds a shard, and the shard's path in it."""
        return fs.connect(self.url(shard), dict(self.storage_options))

    def local_path(self, shard: Shard) -> str | None:
        """The shard's path, where the operating system itself can open it."""
        system, path = self.connect(shard)
        return path if fs.is_local(system) else None

    def open(self, shard: Shard, *, ahead: int = 4 << 20) -> IO[bytes]:
        """The shard's file for reading, without a buffer; on remote storage a request fetches `ahead` bytes or more.

        Args:
            shard: whose file.
            ahead: reading ahead turns small gaps into one request; 0 where reads jump, and would throw it away.
        """
        system, path = self.connect(shard)
        if fs.is_local(system):
            return open(path, "rb", buffering=0)
        return cast(IO[bytes], watched.open_remote(system, path, **_cache(ahead)))

    def check_unchanged(self, shard: Shard, *, moved: bool = False) -> None:
        """Compares a file with what the listing said: size and tag, or the size alone where the pool has moved.

        Raises:
            ShardChanged: if it differs or is gone.
        """
        system, path = self.connect(shard)
        # What a listing of this process said is what the file is compared with, not what it is now.
        system.invalidate_cache(path)
        try:
            found = fs.stat(system, path)
        except FileNotFoundError as error:
            raise ShardGone(
                f"{self.url(shard)} is gone. Bring it back, or name the folder where the pool is now"
            ) from error
        if found.size != shard.size or (found.tag != shard.tag and not moved):
            raise ShardChanged(
                f"{self.url(shard)} has changed: {shard.size} bytes, tag {shard.tag} when it was listed, now "
                f"{found.size} bytes, tag {found.tag}. Nothing of it was taken. Run `poolsieve run` again to score the "
                "new contents (only changed files are read anew)"
            )


def _cache(ahead: int) -> dict[str, Any]:
    return {"cache_type": "readahead", "block_size": ahead} if ahead else {"cache_type": "none"}


class Reader(Protocol):
    """How one kind of pool is read. Has no state: everything it needs is in the pool and the shard."""

    @property
    def has_columns(self) -> bool:
        """Whether a name that is no role may be a column of the files."""
        ...

    @property
    def typed_by_rows(self) -> bool:
        """Whether only the rows tell what types `fields` have (JSON lines), so that all that leave are looked at."""
        ...

    def split_reads(self, path: str) -> bool:
        """Whether `split` opens a file of that name: workers do that then, and what they find is kept."""
        ...

    @property
    def unsplit(self) -> str:
        """What to say of a file above `split_bytes` that is one shard all the same: "is compressed"."""
        ...

    def source(self, role: str, source: str) -> str:
        """The source of a role in its one spelling (`column:text`), for fingerprints.

        Raises:
            PlanError: when no such source can exist in this kind of pool.
        """
        ...

    def split(self, files: Location, shard: Shard) -> list[Shard]:
        """A file above `files.split_bytes` as several shards, by what the file itself says; else the shard alone."""
        ...

    def columns(self, files: Location, shards: Sequence[Shard]) -> dict[str, pa.DataType]:
        """Columns that can be used without declaring a role; empty where this kind has none."""
        ...

    def role_types(self, files: Location, shards: Sequence[Shard], extra: Sequence[str]) -> dict[str, pa.DataType]:
        """The Arrow type of every declared role and of the undeclared columns `extra`."""
        ...

    def fields(self, files: Location, shards: Sequence[Shard], rows: Ints | None) -> pa.Schema:
        """What the rows of a shard hold, for an export in another format: each name a source, with its type.

        Text that is JSON is `pa.json_()`. A format without columns names its label `uid`. A field with the metadata
        `{role: image}` holds images as bytes.

        Args:
            files: where the pool is.
            shards: of which the first readable one is looked at.
            rows: ascending positions of the rows that leave of one shard; None for a look at the first ones.

        Raises:
            NoneReadable: if no shard can be read.
            PlanError: if the pool does not say what its rows hold.
        """
        ...

    def needed_bytes(self, files: Location, shard: Shard, roles: Sequence[str]) -> int:
        """About how many bytes of a shard have to be read for these roles; for the estimates of a plan."""
        ...

    def batches(
        self, files: Location, shard: Shard, roles: Sequence[str], types: Mapping[str, pa.DataType], want: Want | None
    ) -> Iterator[Batch]:
        """The rows of a shard, in file order (see `PoolFiles.batches`)."""
        ...


def wanted(rows: Ints) -> Want:
    """A `Want` for ascending positions in the file."""

    def want(start: int, n: int) -> bool:
        low, high = np.searchsorted(rows, (start, start + n))
        return bool(high > low)

    return want


class Skip:
    """Asks `want` once for each block of rows."""

    def __init__(self, want: Want) -> None:
        self._want = want
        self._answers: dict[int, bool] = {}

    def __call__(self, row: int) -> bool:
        """Whether nobody needs a row."""
        block = row // SKIP_ROWS
        if block not in self._answers:
            self._answers[block] = not self._want(block * SKIP_ROWS, SKIP_ROWS)
        return self._answers[block]


def uids(path: str, start: int, count: int) -> pa.Array:
    """Derived uids of `count` rows from `start`: 128-bit hexadecimal blake2b of the path, a zero byte and the row.

    Hot where a pool has no uids.
    """
    # A copy of a state that has the path in it already is 1.7 times as fast as a new state for each row.
    fresh = blake2b(path.encode("utf-8", "surrogateescape") + b"\0", digest_size=16).copy
    digests = []
    for row in range(start, start + count):
        state = fresh()
        state.update(b"%d" % row)
        digests.append(state.digest())
    # One hexadecimal text for the whole batch and even offsets: no string object for each row.
    text = b"".join(digests).hex().encode()
    offsets = np.arange(0, 32 * count + 1, 32, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets.data), pa.py_buffer(text))


def fill_uids(values: pa.Array | None, path: str, start: int, count: int) -> pa.Array:
    """The uids of a batch: the pool's own, and derived ones for rows that have none."""
    if values is None:
        return uids(path, start, count)
    if values.null_count == 0:
        return values
    missing = pc.is_null(values)
    return pc.replace_with_mask(values, missing, uids(path, start, count).filter(missing))


def unreadable_rows(
    shard: Shard,
    start: int,
    roles: Sequence[str],
    types: Mapping[str, pa.DataType],
    error: RowError,
    rows: int = 1,
    nbytes: int = 0,
) -> Iterator[Batch]:
    """Batches of rows that can't be read at all: derived uids, nulls in every role, and `error` for each."""
    for first in range(start, start + rows, BATCH_ROWS):
        count = min(BATCH_ROWS, start + rows - first)
        labels = uids(shard.path, first, count)
        columns = [labels if role == UID else nulls(count, storage(types[role])) for role in roles]
        yield Batch(
            start=first,
            uid=labels,
            nbytes=np.full(count, nbytes, dtype=np.int64),
            roles=batch_of(roles, types, columns, count),
            read_errors=dict.fromkeys(range(count), error),
        )


def batch_of(
    roles: Sequence[str], types: Mapping[str, pa.DataType], columns: Sequence[pa.Array], count: int
) -> pa.RecordBatch:
    """A batch of exactly `roles` with exactly `types` (JSON text as strings); has `count` rows even without columns."""
    if not roles:
        return without_columns(count)
    kinds = [pa.string() if role == UID else storage(types[role]) for role in roles]
    return pa.RecordBatch.from_arrays(list(columns), schema=pa.schema(list(zip(roles, kinds, strict=True))))
