"""Token files as batches: where a chunk stands is arithmetic, so rows that nobody wants are never read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.pools.casts import Errors, to_type
from poolsieve.dataflow.pools.formats.base import (
    INSTANCE,
    SKIP_ROWS,
    UID,
    Ints,
    Location,
    NoneReadable,
    Want,
    batch_of,
    uids,
    unreadable_rows,
)
from poolsieve.dataflow.pools.formats.tokens.chunks import Chunks
from poolsieve.dataflow.pools.formats.tokens.layout import MAGIC, ROLE, Layout, layout_of, parse
from poolsieve.dataflow.pools.shards import BATCH_BYTES, BATCH_ROWS, Batch, Shard
from poolsieve.scoring_models.base.errors import PlanError, RowError, unknown_name

_TRIES = 16
"""Shards to look at before a plan gives up."""


class TokensReader:
    """Reads pools of token files. The role `tokens` has the layout for its source (`uint16[512]`); no other exists.

    Another role may have `tokens` for its source, which is how exports read a chunk.
    """

    has_columns = False
    typed_by_rows = False
    unsplit = "has no place between chunks to split it at"

    def split_reads(self, path: str) -> bool:
        """Nothing is to be read for it."""
        return False

    def source(self, role: str, source: str) -> str:
        """`chunk`: what a chunk is stands in the pool's limits, since it settles the rows of every role.

        Raises:
            PlanError: for a layout that can't be, and for any other source.
        """
        if role == ROLE:
            parse(source)
        elif role == UID or source != ROLE:
            raise PlanError(f"role {role!r}: token files hold nothing but {ROLE!r}; uids are made of path and row")
        return "chunk"

    def split(self, files: Location, shard: Shard) -> list[Shard]:
        """Byte ranges of whole chunks, of at most `files.split_bytes` (or one chunk); the last one has the tail too."""
        layout = layout_of(files)
        step = max(1, layout.chunks(files.split_bytes)) * layout.chunk_bytes
        edges = [*range(0, layout.chunks(shard.size) * layout.chunk_bytes, step), shard.size]
        if len(edges) <= 2:
            return [shard]
        return [
            Shard(
                path=shard.path,
                first=first,
                extent=end - first,
                start=layout.chunks(first),
                size=shard.size,
                tag=shard.tag,
            )
            for first, end in pairwise(edges)
        ]

    def needed_bytes(self, files: Location, shard: Shard, roles: Sequence[str]) -> int:
        """All of them, and next to none for uids alone."""
        if not _read(roles):
            return 0
        return shard.size if shard.extent is None else shard.extent

    def columns(self, files: Location, shards: Sequence[Shard]) -> dict[str, pa.DataType]:
        """The rows' numbers: there are ids, and nothing else."""
        return {INSTANCE: pa.int64()}

    def fields(self, files: Location, shards: Sequence[Shard], rows: Ints | None) -> pa.Schema:
        """`uid` and `tokens`, a list of ids."""
        return pa.schema([pa.field(UID, pa.string()), pa.field(ROLE, pa.list_(layout_of(files).item))])

    def role_types(self, files: Location, shards: Sequence[Shard], extra: Sequence[str]) -> dict[str, pa.DataType]:
        """A list of fixed length for every role but the uid.

        Raises:
            NoneReadable: if each of the first shards has a NumPy header or ends within an id.
            PlanError: for a column, since there are none.
        """
        for name in extra:
            if name not in (UID, INSTANCE):
                raise unknown_name(f"the pool has no role {name!r}: token files hold ids alone", name, files.roles)
        layout = layout_of(files)
        _check(files, layout, shards[:_TRIES])
        made: dict[str, pa.DataType] = {UID: pa.string(), INSTANCE: pa.int64()}
        return {**{name: made[name] for name in extra}, **dict.fromkeys(files.roles, layout.type)}

    def batches(
        self, files: Location, shard: Shard, roles: Sequence[str], types: Mapping[str, pa.DataType], want: Want | None
    ) -> Iterator[Batch]:
        """The shard's chunks, in file order; see `PoolFiles.batches`.

        Raises:
            ShardChanged: if the file ends before the size that it was listed with.
        """
        layout = layout_of(files)
        end = shard.size if shard.extent is None else shard.first + shard.extent
        last = shard.start + layout.chunks(end - shard.first)
        with contextlib.closing(Chunks(files, shard, layout)) as chunks:
            if (damage := chunks.damage()) is not None:
                yield from unreadable_rows(shard, shard.start, roles, types, damage)
                return
            for start, count in _pieces(shard.start, last, _batch_rows(layout), want):
                data = chunks.take(start, count) if _read(roles) else None
                yield _batch(files, shard, start, count, data, roles, types)
        if end == shard.size and (odd := layout.odd(shard)) is not None:
            yield from unreadable_rows(shard, last, roles, types, odd)


def _read(roles: Sequence[str]) -> list[str]:
    """The roles for which the file is read."""
    return [role for role in roles if role not in (UID, INSTANCE)]


def _batch_rows(layout: Layout) -> int:
    return max(1, min(BATCH_ROWS, BATCH_BYTES // layout.chunk_bytes))


def _pieces(start: int, end: int, most: int, want: Want | None) -> Iterator[tuple[int, int]]:
    """(first row, rows) of what is read at once: neighbours that somebody wants, at most `most`."""
    step = most if want is None else min(most, SKIP_ROWS)
    first = start
    for row in range(start, end, step):
        stop = min(row + step, end)
        wanted = want is None or want(row, stop - row)
        if first < row and (not wanted or stop - first > most):
            yield first, row - first
            first = row
        first = first if wanted else stop
    if first < end:
        yield first, end - first


def _batch(
    files: Location,
    shard: Shard,
    start: int,
    count: int,
    data: bytes | None,
    roles: Sequence[str],
    types: Mapping[str, pa.DataType],
) -> Batch:
    layout, labels = layout_of(files), uids(shard.path, start, count)
    made: dict[str, pa.Array] = {UID: labels}
    if INSTANCE in roles:
        first = files.firsts[shard.path] + start
        made[INSTANCE] = pa.array(np.arange(first, first + count, dtype=np.int64))
    columns, errors = [], dict[str, Errors]()
    for role in roles:
        # Without data no role holds ids.
        values, wrong = (made[role], {}) if role in made or data is None else to_type(layout.array(data), types[role])
        columns.append(values)
        errors |= {role: wrong} if wrong else {}
    return Batch(
        start=start,
        uid=labels,
        nbytes=np.full(count, layout.chunk_bytes, dtype=np.int64),
        roles=batch_of(roles, types, columns, count),
        role_errors=errors,
    )


def _check(files: Location, layout: Layout, shards: Sequence[Shard]) -> None:
    """Refuses a pool of which no shard that was looked at could be one of token files."""
    found = [wrong for shard in shards if (wrong := _wrong(files, layout, shard)) is not None]
    if found and len(found) == len(shards):
        raise NoneReadable(f"none of the pool's first {len(shards)} shards is a file of raw ids: {found[0].message}")


def _wrong(files: Location, layout: Layout, shard: Shard) -> RowError | None:
    if shard.size < len(MAGIC):
        return layout.odd(shard)
    with contextlib.closing(Chunks(files, shard, layout)) as chunks:
        return chunks.damage() or layout.odd(shard)
