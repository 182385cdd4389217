"""WebDataset shards as batches: one forward pass over each tar, reading the members that the roles need."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, cast

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.pools.casts import Errors, is_json, is_text, storage, to_type
from poolsieve.dataflow.pools.formats.base import (
    UID,
    Ints,
    Location,
    NoneReadable,
    Skip,
    Want,
    batch_of,
    fill_uids,
)
from poolsieve.dataflow.pools.formats.webdataset.archive import Sample, samples
from poolsieve.dataflow.pools.json_text import object_of
from poolsieve.dataflow.pools.json_values import Value, array_of, as_written, field_of, fitting, list_kind
from poolsieve.dataflow.pools.shards import BATCH_BYTES, BATCH_ROWS, Batch, Shard
from poolsieve.scoring_models.base.errors import PlanError, RowError, unknown_name

KEY = "__key__"
"""The source that is a sample's key."""

_SAMPLES = 64
"""Samples to look at for the type of a JSON field."""

_EVIDENCE = 8
"""Samples without a source's member or field before a plan says that there is no such source."""

_TRIES = 16
"""Shards to look at before a plan gives up."""

_TEXTS = {"txt", "text", "json", "html", "md"}
_SIZES = {"width", "height"}


@dataclass(frozen=True)
class MemberSource:
    """Where values come from: a member by extension (the first that is there), a JSON member's field, or the key."""

    extensions: tuple[str, ...] = ()
    path: str = ""

    @property
    def is_json(self) -> bool:
        """Whether the value is a field of a JSON member."""
        return bool(self.path)

    def __str__(self) -> str:
        if not self.extensions:
            return "key"
        return f"{self.extensions[0]}:{self.path}" if self.path else "member:" + ";".join(self.extensions)


def parse_source(role: str, source: str) -> MemberSource:
    """Reads `jpg;png`, `json:original_width`, `meta.json:a.b` or `__key__`.

    Raises:
        PlanError: for anything else.
    """
    if source == KEY:
        return MemberSource()
    member, colon, path = source.partition(":")
    extensions = tuple(part.strip().lstrip(".").lower() for part in member.split(";"))
    if colon and not (path and len(extensions) == 1 and extensions[0].endswith("json")):
        raise PlanError(f"role {role!r} reads {source!r}; a field of a JSON member reads 'json:field' or 'json:a.b'")
    if not all(extensions) or any("/" in part for part in extensions):
        raise PlanError(f"role {role!r} reads {source!r}; members are named by extension, like 'jpg;jpeg;png;webp'")
    return MemberSource(extensions, path)


class WebDatasetReader:
    """Reads pools of tars. A row is a sample: adjacent members with the same key."""

    has_columns = False
    typed_by_rows = False
    unsplit = "is a tar, which is read from its start"

    def split_reads(self, path: str) -> bool:
        """Nothing is to be read for it."""
        return False

    def source(self, role: str, source: str) -> str:
        """`member:jpg;png`, `json:field` or `key`."""
        return str(parse_source(role, source))

    def split(self, files: Location, shard: Shard) -> list[Shard]:
        """A tar is read from its start, and so never split."""
        return [shard]

    def needed_bytes(self, files: Location, shard: Shard, roles: Sequence[str]) -> int:
        """All of them: a tar is read from its start to its end."""
        return shard.size

    def columns(self, files: Location, shards: Sequence[Shard]) -> dict[str, pa.DataType]:
        """None: what a tar's members mean has to be said by roles."""
        return {}

    def fields(self, files: Location, shards: Sequence[Shard], rows: Ints | None) -> pa.Schema:
        """`__key__`, `uid`, and one field for each member that a role names, by the roles' names in order.

        What no role names stays behind, so that every file has one and the same schema.

        Raises:
            PlanError: if no role names a member.
        """
        sources = [parse_source(role, source) for role, source in sorted(files.roles.items())]
        named = dict.fromkeys(extension for source in sources for extension in source.extensions)
        members = [extension for extension in named if extension not in (UID, KEY)]
        if not members:
            raise PlanError(
                "the pool's roles name no member, so there is nothing to make columns of: declare text= or image= in "
                "the recipe's pool, or export in the pool's own format"
            )
        images = parse_source("image", files.roles["image"]).extensions if "image" in files.roles else ()
        own = [pa.field(KEY, pa.string()), pa.field(UID, pa.string())]
        return pa.schema([*own, *(_member_field(name, name in images) for name in members)])

    def role_types(self, files: Location, shards: Sequence[Shard], extra: Sequence[str]) -> dict[str, pa.DataType]:
        """The types of the roles, by the first samples of the first readable shard."""
        for name in extra:
            if name != UID:
                hint = f" Declare it: Pool.webdataset(..., {name}='json:{name}')"
                raise unknown_name(f"the pool has no role {name!r}", name, files.roles, hint)
        sources = {role: parse_source(role, source) for role, source in files.roles.items()}
        first = _first_samples(files, shards, sources)
        types = {role: _role_type(role, source, first) for role, source in sources.items()}
        return {**({UID: pa.string()} if UID in extra else {}), **types}

    def batches(
        self, files: Location, shard: Shard, roles: Sequence[str], types: Mapping[str, pa.DataType], want: Want | None
    ) -> Iterator[Batch]:
        """The shard's samples, in file order; see `PoolFiles.batches`."""
        needed = [*roles, *([UID] if UID not in roles else [])]
        sources = {role: parse_source(role, files.roles[role]) for role in needed if role in files.roles}
        wanted = _wanted(sources, types, files.max_document_bytes)
        skip = None if want is None else Skip(want)
        with contextlib.closing(_open(files, shard)) as file:
            rows = _Rows(shard, tuple(roles), types, sources)
            for number, sample in enumerate(samples(file, wanted, skip)):
                yield from rows.add(number, sample, skip is not None and skip(number))
            yield from rows.flush()


def _wanted(sources: Mapping[str, MemberSource], types: Mapping[str, pa.DataType], most: int) -> dict[str, int | None]:
    """The extensions that are read, with the most bytes of those that hold texts."""
    found: dict[str, int | None] = {}
    for role, source in sources.items():
        kind = pa.string() if role == UID else types[role]
        text = source.is_json or is_text(kind) or is_json(kind)
        found |= {name: most if text else found.get(name) for name in source.extensions}
    return found


def _open(files: Location, shard: Shard) -> IO[bytes]:
    return io.BufferedReader(cast(io.RawIOBase, files.open(shard)), 1 << 20)


class _Rows:
    """Samples on their way into a batch."""

    def __init__(
        self,
        shard: Shard,
        roles: tuple[str, ...],
        types: Mapping[str, pa.DataType],
        sources: Mapping[str, MemberSource],
    ) -> None:
        self._shard, self._roles, self._types, self._sources = shard, roles, types, sources
        self._kinds = {role: pa.string() if role == UID else types[role] for role in sources}
        self._start = self._bytes = 0
        self._samples: list[Sample] = []
        self._values: dict[str, list[Value]] = {role: [] for role in sources}

    def add(self, row: int, sample: Sample, skipped: bool) -> Iterator[Batch]:
        """Takes one more sample; yields the batch that is full without it. A skipped one closes the batch too."""
        size = sum(len(data) for data in sample.members.values() if isinstance(data, bytes))
        if skipped or len(self._samples) == BATCH_ROWS or (self._samples and self._bytes + size > BATCH_BYTES):
            yield from self.flush()
        if skipped:
            return
        if not self._samples:
            self._start = row
        values = _values(sample, self._sources)
        for role, value in values.items():
            self._values[role].append(value)
        # Only what the columns hold stays in memory.
        sample.members = {}
        self._samples.append(sample)
        self._bytes += size

    def flush(self) -> Iterator[Batch]:
        """The rows so far, if there are any."""
        if self._samples:
            # Nothing here may hold on to the values while the batch is worked on.
            yield self._batch(*self._take())

    def _take(self) -> tuple[list[Sample], dict[str, list[Value]]]:
        taken = self._samples, self._values
        self._samples, self._values, self._bytes = [], {role: [] for role in self._sources}, 0
        return taken

    def _batch(self, taken: Sequence[Sample], values: Mapping[str, list[Value]]) -> Batch:
        count, columns, errors = len(taken), {}, {}
        for role, source in self._sources.items():
            columns[role], errors[role] = _column(values[role], source, role, self._kinds[role])
        labels = columns[UID] = fill_uids(columns.get(UID), self._shard.path, self._start, count)
        offset = np.fromiter((sample.offset for sample in taken), np.int64, count)
        length = np.fromiter((sample.end for sample in taken), np.int64, count) - offset
        return Batch(
            start=self._start,
            uid=labels,
            nbytes=length,
            roles=batch_of(self._roles, self._types, [columns[role] for role in self._roles], count),
            role_errors={role: errors[role] for role in self._roles if errors.get(role)},
            read_errors={row: sample.error for row, sample in enumerate(taken) if sample.error is not None},
            offset=offset,
            length=length,
            key=pa.array([clean(sample.key) for sample in taken], pa.string()),
        )


def clean(name: str) -> str:
    """A member's name as valid text: bytes that are no UTF-8 are replaced."""
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _values(sample: Sample, sources: Mapping[str, MemberSource]) -> dict[str, Value]:
    parsed: dict[str, Value] = {}
    values = {}
    for role, source in sources.items():
        if not source.extensions:
            values[role] = None if sample.damage else clean(sample.key)
            continue
        name = next((name for name in source.extensions if name in sample.members), None)
        value: Value = None if name is None else sample.members[name]
        if source.is_json and isinstance(value, bytes) and name is not None:
            data = value
            if name not in parsed:
                parsed[name] = object_of(data)
            value = parsed[name] if isinstance(parsed[name], RowError) else field_of(parsed[name], source.path)
            if role == UID and isinstance(value, float):
                value = as_written(data, source.path)
        values[role] = value
    return values


def _column(values: list[Value], source: MemberSource, role: str, kind: pa.DataType) -> tuple[pa.Array, Errors]:
    errors = {row: value for row, value in enumerate(values) if isinstance(value, RowError)}
    for row in errors:
        values[row] = None
    if not source.is_json:
        raw = pa.array(values, pa.binary() if source.extensions else pa.string())
        found, bad = to_type(raw, storage(kind))
        return found, {**errors, **bad}
    fit = fitting(kind, role)
    for row, value in enumerate(values):
        if value is not None:
            values[row] = fitted = fit(value)
            if isinstance(fitted, RowError):
                errors[row], values[row] = fitted, None
    made, wrong = array_of(values, kind)
    return made, {**errors, **wrong}


@dataclass
class _Seen:
    """What the first samples hold."""

    count: int = 0
    members: set[str] = field(default_factory=set)
    fields: dict[str, set[str]] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)


def _first_samples(files: Location, shards: Sequence[Shard], sources: Mapping[str, MemberSource]) -> _Seen:
    seen = _Seen()
    reasons: dict[str, str] = {}
    wanted = {source.extensions[0]: files.max_document_bytes for source in sources.values() if source.is_json}
    for shard in shards[:_TRIES]:
        with contextlib.closing(_open(files, shard)) as file:
            for sample in samples(file, wanted):
                if sample.damage:
                    reasons.setdefault(shard.path, sample.error.kind if sample.error else "")
                    continue
                _look(seen, sample, sources)
                if seen.count >= _SAMPLES:
                    return seen
        if seen.count:
            return seen
    if reasons and len(reasons) == min(len(shards), _TRIES):
        first = next(iter(reasons.items()))
        raise NoneReadable(f"none of the pool's first {len(reasons)} shards is a readable tar ({first[0]}: {first[1]})")
    return seen


def _look(seen: _Seen, sample: Sample, sources: Mapping[str, MemberSource]) -> None:
    seen.count += 1
    seen.members.update(sample.members)
    for role, source in sources.items():
        if source.is_json and isinstance(data := sample.members.get(source.extensions[0]), bytes):
            value = object_of(data)
            if isinstance(value, dict):
                seen.fields.setdefault(source.extensions[0], set()).update(value)
                found = field_of(value, source.path)
                if found is not None and seen.values.get(role) is None:
                    seen.values[role] = found


def _role_type(role: str, source: MemberSource, seen: _Seen) -> pa.DataType:
    _check(role, source, seen)
    if role == UID or not source.extensions:
        return pa.string()
    if not source.is_json:
        return pa.string() if role in ("text", "json") or set(source.extensions) <= _TEXTS else pa.binary()
    value = seen.values.get(role)
    if value is None:
        return pa.float64() if role in _SIZES else pa.string()
    if isinstance(value, bool):
        return pa.bool_()
    return pa.float64() if isinstance(value, (int, float)) else list_kind([value]) or pa.string()


def _member_field(extension: str, image: bool) -> pa.Field:
    """What a whole member holds, by its extension."""
    if extension == "json" or extension.endswith(".json"):
        return pa.field(extension, pa.json_())
    kind = pa.string() if extension in _TEXTS else pa.binary()
    return pa.field(extension, kind, metadata={"role": "image"} if image and kind == pa.binary() else None)


def _check(role: str, source: MemberSource, seen: _Seen) -> None:
    """Refuses a source of which the first samples have nothing; a few samples prove nothing."""
    if seen.count < _EVIDENCE or not source.extensions:
        return
    if not seen.members.intersection(source.extensions):
        what = f"role {role!r} reads members .{' or .'.join(source.extensions)}, which none of the first samples has"
        raise unknown_name(what, source.extensions[0], seen.members)
    fields = seen.fields.get(source.extensions[0], set())
    if source.is_json and fields and source.path not in fields and source.path.split(".")[0] not in fields:
        what = f"role {role!r} reads the JSON field {source.path!r}, which none of the first samples has"
        raise unknown_name(what, source.path, fields)
