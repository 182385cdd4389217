"""Parquet shards as batches: row group by row group, the needed columns alone, in flat memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.dataflow.pools.casts import Errors, is_bytes, is_text, null_column, to_type, within
from poolsieve.dataflow.pools.formats.base import (
    UID,
    Ints,
    Location,
    NoneReadable,
    Want,
    batch_of,
    fill_uids,
    unreadable_rows,
)
from poolsieve.dataflow.pools.formats.parquet.files import Group, Opened, Sizes, open_file
from poolsieve.dataflow.pools.shards import BATCH_BYTES, BATCH_ROWS, Batch, Shard
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError, RowError, unknown_name

_TRIES = 16
"""Shards to look at for a schema before a plan gives up."""

Path = tuple[str, ...]
"""A column, or the way to a field nested in one: `("meta", "width")`."""


class ParquetReader:
    """Reads pools of Parquet files. A source is a top-level column, or else a nested field written with dots."""

    has_columns = True
    typed_by_rows = False
    unsplit = "has one row group, or no readable footer"

    def split_reads(self, path: str) -> bool:
        """Footers say where."""
        return True

    def source(self, role: str, source: str) -> str:
        """`column:<source>`.

        Raises:
            PlanError: for an empty name.
        """
        if not source:
            raise PlanError(f"role {role!r} needs the name of a column, like {role}='caption'")
        return f"column:{source}"

    def split(self, files: Location, shard: Shard) -> list[Shard]:
        """Runs of row groups of at most `files.split_bytes` (or one group); the file alone if its footer is broken."""
        with contextlib.ExitStack() as stack:
            opened = open_file(files, shard, stack)
            if isinstance(opened, RowError):
                return [shard]
            footer = opened.file.metadata
            sizes = [_compressed(opened.sizes(index)) for index in range(footer.num_row_groups)]
            starts = [0, *accumulate(footer.row_group(index).num_rows for index in range(footer.num_row_groups))]
        return _runs(shard, sizes, starts, files.split_bytes)

    def needed_bytes(self, files: Location, shard: Shard, roles: Sequence[str]) -> int:
        """The compressed column chunks that hold these roles, in the shard's row groups, by the footer."""
        with contextlib.ExitStack() as stack:
            opened = open_file(files, shard, stack)
            if isinstance(opened, RowError):
                return 0
            reading = _Pass(opened, files, shard, tuple(roles), {})
            return sum(_compressed(opened.sizes(index), reading.leaves) for index in reading.groups)

    def columns(self, files: Location, shards: Sequence[Shard]) -> dict[str, pa.DataType]:
        """The top-level columns of the first readable shard, with the types that they have as roles."""
        schema = _first_schema(files, shards)
        return {name: _role_type(schema, name, name) for name in schema.names}

    def fields(self, files: Location, shards: Sequence[Shard], rows: Ints | None) -> pa.Schema:
        """The columns of the first readable shard, with the types that they have as roles; by its footer alone."""
        return pa.schema(list(self.columns(files, shards).items()))

    def role_types(self, files: Location, shards: Sequence[Shard], extra: Sequence[str]) -> dict[str, pa.DataType]:
        """The types of the roles and of `extra` columns, by the first readable shard's schema."""
        schema = _first_schema(files, shards)
        wanted = {**files.roles, **{name: name for name in extra if name != UID}}
        types = {role: _role_type(schema, role, source) for role, source in wanted.items()}
        return {**({UID: pa.string()} if UID in extra else {}), **types}

    def batches(
        self, files: Location, shard: Shard, roles: Sequence[str], types: Mapping[str, pa.DataType], want: Want | None
    ) -> Iterator[Batch]:
        """The shard's rows, in file order; see `PoolFiles.batches`."""
        with contextlib.ExitStack() as stack:
            opened = open_file(files, shard, stack)
            if isinstance(opened, RowError):
                yield from unreadable_rows(shard, shard.start, roles, types, opened)
                return
            yield from _Pass(opened, files, shard, tuple(roles), types).batches(want)


def _runs(shard: Shard, sizes: Sequence[int], starts: Sequence[int], limit: int) -> list[Shard]:
    runs: list[list[int]] = []
    filled = 0
    for index, size in enumerate(sizes):
        if runs and filled + size <= limit:
            runs[-1][1] += 1
            filled += size
        else:
            runs.append([index, 1])
            filled = size
    if len(runs) <= 1:
        return [shard]
    return [
        Shard(path=shard.path, first=first, extent=count, start=starts[first], size=shard.size, tag=shard.tag)
        for first, count in runs
    ]


def _compressed(sizes: Sizes | RowError, leaves: Sequence[int] | None = None) -> int:
    """Bytes of a row group, or of some of its columns; none where its part of the footer is broken."""
    if isinstance(sizes, RowError):
        return 0
    return sum(sizes.compressed if leaves is None else (sizes.compressed[leaf] for leaf in leaves))


def _first_schema(files: Location, shards: Sequence[Shard]) -> pa.Schema:
    reasons = []
    for shard in shards[:_TRIES]:
        with contextlib.ExitStack() as stack:
            opened = open_file(files, shard, stack)
            if not isinstance(opened, RowError):
                return opened.file.schema_arrow
            reasons.append(f"{shard.path}: {opened.kind}")
    first = reasons[0] if reasons else "no shard was given"
    raise NoneReadable(f"none of the pool's first {len(reasons)} shards is a readable Parquet file ({first})")


def _role_type(schema: pa.Schema, role: str, source: str) -> pa.DataType:
    path = _resolve(schema, source)
    if path is None:
        asked = f"role {role!r} reads column {source!r}, which" if role != source else f"column {source!r}"
        raise unknown_name(f"{asked} is not in the pool", source, _names(schema))
    found = _plain(_type_at(schema, path))
    if role == UID or (role == "text" and is_bytes(found)):
        return pa.string()
    return pa.binary() if _is_image(found) else found


def _names(schema: pa.Schema) -> list[str]:
    names = list(schema.names)
    for item in schema:
        if pa.types.is_struct(item.type) and not _is_image(item.type):
            names += [f"{item.name}.{child.name}" for child in item.type]
    return names


def _resolve(fields: Any, source: str) -> Path | None:
    """The column of exactly that name, else the field that the dots lead to, in a schema or struct type."""
    names = fields.names
    if source in names:
        return (source,)
    parts = source.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        name, rest = ".".join(parts[:cut]), ".".join(parts[cut:])
        if name in names:
            kind = _child(fields, name)
            tail = _resolve(kind, rest) if pa.types.is_struct(kind) else None
            if tail:
                return (name, *tail)
    return None


def _child(fields: Any, name: str) -> pa.DataType:
    # A name may stand twice in a schema, and then only positions are clear: the first one counts.
    return fields.field(fields.names.index(name)).type


def _type_at(schema: pa.Schema, path: Path) -> pa.DataType:
    kind: Any = schema
    for name in path:
        kind = _child(kind, name)
    return kind


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type that a role has: without dictionaries, extensions, views and 64-bit offsets."""
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if is_text(kind):
        return pa.string()
    return pa.binary() if is_bytes(kind) and not pa.types.is_fixed_size_binary(kind) else kind


def _is_image(kind: pa.DataType) -> bool:
    """Whether this is the Hub's `{bytes, path}`."""
    return pa.types.is_struct(kind) and "bytes" in kind.names and "path" in kind.names


class _Pass:
    """One reading of one shard."""

    def __init__(
        self, opened: Opened, files: Location, shard: Shard, roles: tuple[str, ...], types: Mapping[str, pa.DataType]
    ) -> None:
        self._opened, self._file = opened, opened.file
        self._shard, self._roles, self._types, self._most = shard, roles, types, files.max_document_bytes
        schema = self._file.schema_arrow
        sources = {role: files.roles.get(role, role) for role in roles if role != UID}
        if UID in files.roles:
            sources[UID] = files.roles[UID]
        self._sources = sources
        self._paths = {role: _resolve(schema, source) for role, source in sources.items()}
        self._columns = sorted({".".join(path) for path in self._paths.values() if path})
        leaves = [self._file.schema.column(index).path for index in range(len(self._file.schema))]
        prefixes = tuple(f"{name}." for name in self._columns)
        self.leaves = [index for index, leaf in enumerate(leaves) if f"{leaf}.".startswith(prefixes)]

    @property
    def groups(self) -> range:
        """The shard's row groups.

        Raises:
            PoolsieveError: when the file has fewer.
        """
        there, first = self._file.metadata.num_row_groups, self._shard.first
        end = there if self._shard.extent is None else first + self._shard.extent
        if end > there:
            raise PoolsieveError(f"{self._shard.path} has changed since it was listed; start the run again")
        return range(first, end)

    def batches(self, want: Want | None) -> Iterator[Batch]:
        """The rows of the shard's row groups."""
        footer, start = self._file.metadata, self._shard.start
        for index in self.groups:
            group = footer.row_group(index)
            if group.num_rows and (want is None or want(start, group.num_rows)):
                yield from self._group(index, group.num_rows, start)
            start += group.num_rows

    def _group(self, index: int, count: int, start: int) -> Iterator[Batch]:
        sizes = self._opened.sizes(index)
        if isinstance(sizes, RowError):
            yield from unreadable_rows(self._shard, start, self._roles, self._types, sizes, count)
            return
        nbytes = round(_compressed(sizes) / count)
        row, end = start, start + count
        rows = Group(self._opened, index, self._columns)
        for batch in rows.batches(self._batch_rows(sizes, count)):
            for part in _parts(batch):
                yield self._batch(part, row, nbytes)
                row += part.num_rows
            del batch, part  # the next one is decoded while these names last
        if rows.damage is not None:
            problem = RowError("row_group", f"row group {index}: {rows.damage}")
            yield from unreadable_rows(self._shard, row, self._roles, self._types, problem, end - row, nbytes)

    def _batch_rows(self, sizes: Sizes, rows: int) -> int:
        size = sum(sizes.plain[leaf] for leaf in self.leaves)
        return max(1, min(BATCH_ROWS, BATCH_BYTES * rows // max(1, size)))

    def _batch(self, batch: pa.RecordBatch, start: int, nbytes: int) -> Batch:
        errors: dict[str, Errors] = {}
        values: dict[str, pa.Array] = {}
        for role, path in self._paths.items():
            values[role], errors[role] = self._role(batch, role, path)
        count = batch.num_rows
        labels = values[UID] = fill_uids(values.get(UID), self._shard.path, start, count)
        return Batch(
            start=start,
            uid=labels,
            nbytes=np.full(count, nbytes, dtype=np.int64),
            roles=batch_of(self._roles, self._types, [values[role] for role in self._roles], count),
            role_errors={role: errors[role] for role in self._roles if errors.get(role)},
        )

    def _role(self, batch: pa.RecordBatch, role: str, path: Path | None) -> tuple[pa.Array, Errors]:
        kind = pa.string() if role == UID else self._types[role]
        if path is None:
            missing = RowError("missing_column", f"{self._shard.path} has no column {self._sources[role]!r}")
            return null_column(kind, batch.num_rows, missing)
        values = batch.column(batch.schema.names.index(path[0]))
        for name in path[1:]:
            values = pc.struct_field(values, [name])
        if not _is_image(values.type) or pa.types.is_struct(kind):
            found, errors = to_type(values, kind)
            found, large = within(found, self._most) if is_text(kind) else (found, {})
            return found, {**errors, **large}
        found, errors = to_type(pc.struct_field(values, ["bytes"]), kind)
        return found, {**_no_bytes(values), **errors}


def _no_bytes(values: pa.Array) -> Errors:
    data, path = pc.struct_field(values, ["bytes"]), pc.struct_field(values, ["path"])
    rows = np.flatnonzero(pc.and_(data.is_null(), path.is_valid()).to_numpy(zero_copy_only=False))
    text = "the image is a path, not bytes; embed it with datasets' push_to_hub(embed_external_files=True)"
    return dict.fromkeys((int(row) for row in rows), RowError("no_bytes", text))


def _parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch, or copies of halves of it where its values turned out larger than the footer's average."""
    if batch.num_rows <= 1 or batch.nbytes <= 2 * BATCH_BYTES:
        yield batch
        return
    middle = batch.num_rows // 2
    for first, last in ((0, middle), (middle, batch.num_rows)):
        # take() copies, so that a half does not keep the whole batch in memory.
        yield from _parts(batch.slice(first, last - first).take(pa.array(range(last - first), pa.int64())))
