"""What every kind of pool shares when it is read: the reader's protocol, opening files, uids, and careful casts.

A new kind of pool is one module with a class that follows `Reader`, and one line in `pool.READERS`.
"""

from __future__ import annotations

import difflib
import io
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fsspec.implementations.local import LocalFileSystem

from poolsieve.dataflow import fs
from poolsieve.dataflow.records import BATCH_ROWS, Chunk, Shard
from poolsieve.scoring_models.protocol import PlanError, RowError

if TYPE_CHECKING:
    from poolsieve.dataflow.pool import Pool

Want = Callable[[int, int], bool]
"""`want(start, n)`: False when nobody needs any of the rows start ... start + n - 1 of the file."""

SKIP_ROWS = 256
"""Rows that are read or skipped together, where rows are found one after the other."""

Errors = dict[int, RowError]
"""Row index in a chunk -> what is wrong with one value of it."""

UID = "uid"
"""The role that labels a row. It is always a string, and derived where the pool has none."""


class NoneReadable(PlanError):
    """None of the shards that were looked at tells what the pool's columns are."""


class Reader(Protocol):
    """How one kind of pool is read. Has no state: everything it needs is in the pool and the shard."""

    @property
    def has_columns(self) -> bool:
        """Whether a name that is no role may be a column of the files."""
        ...

    def source(self, role: str, source: str) -> str:
        """The source of a role in its one spelling (`column:text`), for fingerprints.

        Raises:
            PlanError: when no such source can exist in this kind of pool.
        """
        ...

    def split(self, pool: Pool, shard: Shard) -> list[Shard]:
        """A file above `pool.split_bytes` as several shards, by what the file itself says; else the shard alone."""
        ...

    def columns(self, pool: Pool, shards: Sequence[Shard]) -> dict[str, pa.DataType]:
        """Columns that can be used without declaring a role; empty where this kind has none."""
        ...

    def role_types(self, pool: Pool, shards: Sequence[Shard], extra: Sequence[str]) -> dict[str, pa.DataType]:
        """The Arrow type of every declared role and of the undeclared columns `extra`."""
        ...

    def needed_bytes(self, pool: Pool, shard: Shard, roles: Sequence[str]) -> int:
        """About how many bytes of a shard have to be read for these roles; for the estimates of a plan."""
        ...

    def chunks(
        self, pool: Pool, shard: Shard, roles: Sequence[str], types: Mapping[str, pa.DataType], want: Want | None
    ) -> Iterator[Chunk]:
        """The rows of a shard, in file order (see `pool.open_chunks`)."""
        ...


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


class Watched(io.RawIOBase):
    """A file on remote storage: reads are tried again, and what the storage refuses for good is remembered.

    A decoder reports a broken connection and a broken file alike. `failure` tells them apart: only the second is a
    verdict on the rows.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self.failure: BaseException | None = None

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; all that is left for -1."""
        try:
            return bytes(fs.retrying(self._file.read)(size))
        except Exception as error:
            self.failure = error
            raise

    def readinto(self, buffer: Any, /) -> int:
        """Fills `buffer` as far as the file goes; the number of bytes that were read."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Moves to a position; returns it."""
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        """The position of the next byte."""
        return int(self._file.tell())

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always: object stores serve ranges."""
        return True

    def close(self) -> None:
        """Closes the storage's file as well."""
        if not self.closed:
            self._file.close()
        super().close()


def connect(pool: Pool, shard: Shard) -> tuple[Any, str]:
    """The file system that holds a shard, and the shard's path in it."""
    return fs.connect(pool.url(shard), dict(pool.storage_options))


def open_remote(system: Any, path: str, **cache: Any) -> Watched:
    """A shard on remote storage, for reading; `cache` goes to fsspec's `open`."""
    return Watched(fs.retrying(system.open)(path, "rb", **cache))


def is_local(system: Any) -> bool:
    """Whether files can be opened by the operating system itself."""
    return isinstance(system, LocalFileSystem)


def is_damage(error: BaseException, file: Any) -> bool:
    """Whether `error` is about the contents of `file` (a verdict on its rows) and not about reaching them."""
    if getattr(file, "failure", None) is not None or isinstance(error, MemoryError):
        return False
    arrow = isinstance(error, pa.ArrowException) and not isinstance(error, pa.ArrowCancelled)
    # Arrow's own decoders raise a bare OSError without a number; the operating system's have one.
    return arrow or (type(error) is OSError and error.errno is None)


def uids(path: str, start: int, count: int) -> pa.Array:
    """`derived_uid(path, row)` of `count` rows from `start`, as a string array. Hot where a pool has no uids."""
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
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))


def label(values: pa.Array | None, path: str, start: int, count: int) -> pa.Array:
    """The uids of a chunk: the pool's own, and derived ones for rows that have none."""
    if values is None:
        return uids(path, start, count)
    if values.null_count == 0:
        return values
    missing = pc.is_null(values)
    return pc.replace_with_mask(values, missing, uids(path, start, count).filter(missing))


def nothing(kind: pa.DataType, count: int, error: RowError) -> tuple[pa.Array, Errors]:
    """A column of nulls, every row for the same reason."""
    return pa.nulls(count, kind), dict.fromkeys(range(count), error)


def to_type(values: pa.Array, kind: pa.DataType) -> tuple[pa.Array, Errors]:
    """`values` as `kind`, with nulls and the reasons (`text_utf8`, `cast`) where a value can't be that.

    A number that would lose digits can't; a string that spells a number can.
    """
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if is_text(kind):
        return _to_text(values, kind)
    if values.type == kind:
        return values, {}
    try:
        return values.cast(kind), {}
    except pa.ArrowNotImplementedError:
        return _drop(pa.nulls(len(values), kind), _cast_errors(values, kind, _valid(values)))
    except pa.ArrowInvalid:
        return _cast_each(values, kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are characters."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _to_text(values: pa.Array, kind: pa.DataType) -> tuple[pa.Array, Errors]:
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    try:
        text = values if values.type == kind else values.cast(kind, safe=False)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return _drop(pa.nulls(len(values), kind), _cast_errors(values, kind, _valid(values)))
    try:
        # Arrow reads and casts bytes to text unseen; what is no UTF-8 would fail anywhere later.
        text.validate(full=True)
    except pa.ArrowInvalid:
        return _drop(text, _utf8_errors(text))
    return text, {}


def _utf8_errors(text: pa.Array) -> Errors:
    found: Errors = {}
    for row, value in enumerate(text.cast(pa.large_binary())):
        try:
            if value.is_valid:
                str(value.as_buffer(), "utf-8")
        except UnicodeDecodeError as error:
            found[row] = RowError("text_utf8", f"byte {error.start}: {error.reason}")
    return found


def _drop(values: pa.Array, errors: Errors) -> tuple[pa.Array, Errors]:
    bad = np.zeros(len(values), dtype=bool)
    bad[list(errors)] = True
    return pc.if_else(pa.array(bad), pa.scalar(None, values.type), values), errors


def _cast_each(values: pa.Array, kind: pa.DataType) -> tuple[pa.Array, Errors]:
    bad: list[int] = []
    parts = []
    for row in range(len(values)):
        try:
            parts.append(values.slice(row, 1).cast(kind))
        except pa.ArrowInvalid:
            bad.append(row)
            parts.append(pa.nulls(1, kind))
    return pa.concat_arrays(parts), _cast_errors(values, kind, bad)


def _cast_errors(values: pa.Array, kind: pa.DataType, rows: Iterable[int]) -> Errors:
    return {row: RowError("cast", f"{_short(values[row])} ({values.type}) can't be {kind}") for row in rows}


def _valid(values: pa.Array) -> list[int]:
    return [int(row) for row in np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False))]


def _short(value: pa.Scalar) -> str:
    try:
        text = repr(value.as_py())
    except ValueError:
        return "a value"
    return text if len(text) <= 60 else text[:57] + "..."


def lost(
    shard: Shard,
    start: int,
    roles: Sequence[str],
    types: Mapping[str, pa.DataType],
    error: RowError,
    rows: int = 1,
    nbytes: int = 0,
) -> Iterator[Chunk]:
    """Chunks of rows that can't be read at all: derived uids, nulls in every role, and `error` for each."""
    for first in range(start, start + rows, BATCH_ROWS):
        count = min(BATCH_ROWS, start + rows - first)
        labels = uids(shard.path, first, count)
        columns = [labels if role == UID else pa.nulls(count, types[role]) for role in roles]
        yield Chunk(
            start=first,
            uid=labels,
            nbytes=np.full(count, nbytes, dtype=np.int64),
            roles=batch_of(roles, types, columns, count),
            read_errors=dict.fromkeys(range(count), error),
        )


def batch_of(
    roles: Sequence[str], types: Mapping[str, pa.DataType], columns: Sequence[pa.Array], count: int
) -> pa.RecordBatch:
    """A batch of exactly `roles` with exactly `types`; has `count` rows even when it has no columns."""
    if not roles:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * count, pa.struct([])))
    kinds = [pa.string() if role == UID else types[role] for role in roles]
    return pa.RecordBatch.from_arrays(list(columns), schema=pa.schema(list(zip(roles, kinds, strict=True))))


def refuse(what: str, wrong: str, known: Collection[str], hint: str = "") -> NoReturn:
    """Raises a `PlanError` that names the nearest of the `known` names.

    Raises:
        PlanError: always.
    """
    near = difflib.get_close_matches(wrong, list(known), n=3, cutoff=0.5)
    guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    listed = ", ".join(sorted(known)[:20]) + (", ..." if len(known) > 20 else "")
    raise PlanError(
        f"{what}.{guess} There {'are' if known else 'is nothing'}: {listed}.{hint}" if known else what + "."
    )
