"""JSON lines as batches: one object a line, plain, gzip or zstd, in flat memory."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from poolsieve.dataflow import progress
from poolsieve.dataflow.pools.casts import Errors, too_large
from poolsieve.dataflow.pools.formats.base import (
    UID,
    Ints,
    Location,
    NoneReadable,
    Skip,
    Want,
    batch_of,
    fill_uids,
    unreadable_rows,
)
from poolsieve.dataflow.pools.formats.jsonl.lines import Line, lines_of
from poolsieve.dataflow.pools.formats.jsonl.salvage import good_bytes
from poolsieve.dataflow.pools.json_types import DEEPEST, KeyTypes, first_of
from poolsieve.dataflow.pools.json_values import Value, array_of, as_written, field_of, fitting, list_kind
from poolsieve.dataflow.pools.shards import BATCH_BYTES, BATCH_ROWS, Batch, Shard
from poolsieve.dataflow.watched import is_damage
from poolsieve.scoring_models.base.errors import PlanError, RowError, unknown_name

_TRIES = 16
"""Shards to look at for keys and types before a plan gives up."""

_SAMPLES = 200
"""Rows that say which keys there are and what they hold."""

_SAMPLE_BYTES = 64 << 20
"""Of long lines fewer rows have to do: all of them are in memory at once."""

_EVIDENCE = 20
"""So many rows without a key are taken to mean that it is misspelt."""

_MOST_NAMES = 100_000
"""Names of keys that a plan goes through; deeper or later ones can be had by declaring a role."""

_BOM = b"\xef\xbb\xbf"

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_MAGIC |= {bytes([first]) + b"\x2a\x4d\x18": "zstd" for first in range(0x50, 0x60)}
"""First bytes -> compression, whatever the name. A zstd file may begin with a skippable frame (RFC 8878, 3.1.2)."""

_COMPRESSED = (".gz", ".zst")
"""Ends of names of files that are never split: a plan says so without opening them."""


class JsonlReader:
    """Reads pools of JSON lines. A source is a key, or else a nested field written with dots.

    Blank lines are no rows. Numbers are float64, since JSON does not tell integers from others.
    """

    has_columns = True
    typed_by_rows = True
    unsplit = "is compressed, or one line"

    def split_reads(self, path: str) -> bool:
        """A plain file is read to count its rows."""
        return not path.endswith(_COMPRESSED)

    def source(self, role: str, source: str) -> str:
        """`field:<source>`.

        Raises:
            PlanError: for an empty name.
        """
        if not source:
            raise PlanError(f"role {role!r} needs the name of a key, like {role}='text'")
        return f"field:{source}"

    def split(self, files: Location, shard: Shard) -> list[Shard]:
        """A plain file as byte ranges of at most `files.split_bytes` (or one line); it is read once to count its rows.

        A compressed file is one shard; by its name alone, it is not opened.
        """
        if not self.split_reads(shard.path):
            return [shard]
        with contextlib.closing(open_stream(files, shard)) as stream:
            return [shard] if stream.compression else _ranges(shard, stream.file, files.split_bytes)

    def needed_bytes(self, files: Location, shard: Shard, roles: Sequence[str]) -> int:
        """All of them."""
        return shard.size if shard.extent is None else shard.extent

    def columns(self, files: Location, shards: Sequence[Shard]) -> dict[str, pa.DataType]:
        """The keys of the first rows, nested ones with dots, that hold a text, a number or a boolean."""
        kinds = {name: _kind(value) for name, value in _fields(_sample(files, shards)).items()}
        return {name: kind for name, kind in kinds.items() if kind is not None}

    def fields(self, files: Location, shards: Sequence[Shard], rows: Ints | None) -> pa.Schema:
        """The keys of the rows that leave, with types that hold all their values (`pools.json_types`), unsettled."""
        if rows is None:
            return first_of(_sample(files, shards), _SAMPLES)
        keys = KeyTypes()
        for shard in shards:
            for found in self._objects(files, shard, rows):
                keys.add(found)
        return pa.schema(list(keys.types.items()))

    def _objects(self, files: Location, shard: Shard, rows: Ints) -> Iterator[dict[str, Any]]:
        """The objects at these positions."""
        wanted_rows = set(rows.tolist())
        with contextlib.closing(open_stream(files, shard)) as stream:
            lines = (line for line in lines_of(stream.read, files.max_document_bytes) if not line.blank)
            for number, line in enumerate(lines, shard.start):
                if number in wanted_rows and isinstance(found := parsed(line), dict):
                    yield found

    def role_types(self, files: Location, shards: Sequence[Shard], extra: Sequence[str]) -> dict[str, pa.DataType]:
        """The types of the roles and of `extra` keys, by the first rows of the first readable shards."""
        rows = _sample(files, shards)
        wanted = {**files.roles, **{name: name for name in extra if name != UID}}
        types = {role: _role_type(role, source, rows) for role, source in wanted.items()}
        return {**({UID: pa.string()} if UID in extra else {}), **types}

    def batches(
        self, files: Location, shard: Shard, roles: Sequence[str], types: Mapping[str, pa.DataType], want: Want | None
    ) -> Iterator[Batch]:
        """The shard's rows, in file order; see `PoolFiles.batches`."""
        sources = {role: files.roles.get(role, role) for role in roles if role != UID}
        if UID in files.roles:
            sources[UID] = files.roles[UID]
        rows, number = _Rows(shard, tuple(roles), types, sources), shard.start
        skip = None if want is None else Skip(want)
        with contextlib.closing(open_stream(files, shard)) as stream:
            for line in lines_of(stream.read, files.max_document_bytes):
                if line.blank or (not line.ended and stream.damage is not None):
                    continue
                skipped = skip is not None and skip(number)
                if skipped or rows.full(line):
                    yield from rows.flush()
                if not skipped:
                    rows.add(number, line)
                number += 1
            yield from rows.flush()
            if stream.damage is not None:
                yield from unreadable_rows(shard, number, roles, types, stream.damage)


@dataclass
class Stream:
    """The bytes of a shard, decompressed; `damage` says why it ended before its end."""

    file: Any
    compression: str | None
    source: Any
    start: int
    left: int | None
    damage: RowError | None = None
    position: int = 0
    failed: Any = None
    saved: bytes = b""

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end, and where the rest can't be read."""
        if self.damage is not None:
            return self._saved(size)
        size = size if self.left is None else min(size, self.left)
        try:
            data = bytes(self.file.read(size))
        except OSError as error:
            if not self.compression or not is_damage(error, self.source):
                raise
            data = self._what_is_left(size, error)
        self.position += len(data)
        self.left = None if self.left is None else self.left - len(data)
        return data

    def _what_is_left(self, size: int, error: OSError) -> bytes:
        """At most `size` of the good bytes before the damage; `saved` has the others. See `salvage`."""
        self.damage = RowError("truncated", f"the {self.compression} stream can't be read to its end: {error}")
        self.source.seek(0)
        # The stream that failed must live on: Arrow closes the file below a stream that is thrown away.
        self.failed, self.file = self.file, _decompressed(self.source, self.compression)
        skipped = 0
        while skipped < self.position:
            skipped += len(self.file.read(min(1 << 20, self.position - skipped)))
        found = []
        with contextlib.suppress(OSError):
            for _ in range(size):
                found.append(bytes(self.file.read(1)))
        data = b"".join(found)
        self.saved = good_bytes(self.source, str(self.compression), self.position + len(data))
        return data + self._saved(size - len(data))

    def _saved(self, size: int) -> bytes:
        data, self.saved = self.saved[:size], self.saved[size:]
        return data

    def close(self) -> None:
        """Closes the file."""
        self.source.close()


def open_stream(files: Location, shard: Shard) -> Stream:
    """The bytes of a shard; what it is compressed with is told by its first bytes, not by its name."""
    path = files.local_path(shard)
    # Python's own buffer, where it can be had: a remote file has one of its own, and knows failures of the storage.
    source: Any = files.open(shard) if path is None else open(path, "rb", buffering=1 << 20)  # noqa: SIM115
    first = source.read(4)
    compression = next((name for magic, name in _MAGIC.items() if first.startswith(magic)), None)
    source.seek(shard.first)
    file = source if compression is None else _decompressed(source, compression)
    return Stream(file, compression, source, shard.first, shard.extent, position=shard.first)


def _decompressed(source: Any, compression: str | None) -> Any:
    file = pa.PythonFile(source, mode="r")
    return pa.CompressedInputStream(file, compression)  # type: ignore[arg-type]  # pyarrow-stubs: literal names alone


def _ranges(shard: Shard, file: Any, limit: int) -> list[Shard]:
    """Byte ranges that end with lines, with the number of rows before each."""
    file.seek(0)
    found: list[tuple[int, int, int]] = []
    begin = row = before = 0
    for line in lines_of(lambda size: _read_on(file, size), 0):
        if begin < line.offset and line.offset + line.length + 1 - begin > limit:
            found.append((begin, line.offset - begin, before))
            begin, before = line.offset, row
        row += not line.blank
    found.append((begin, shard.size - begin, before))
    if len(found) == 1:
        return [shard]
    return [
        Shard(path=shard.path, first=first, extent=size, start=start, size=shard.size, tag=shard.tag)
        for first, size, start in found
    ]


def _read_on(file: Any, size: int) -> bytes:
    """Bytes of a file that is read to its end for one answer: the user may stop in between."""
    progress.check()
    return bytes(file.read(size))


class _Rows:
    """Lines on their way into a batch."""

    def __init__(
        self, shard: Shard, roles: tuple[str, ...], types: Mapping[str, pa.DataType], sources: Mapping[str, str]
    ) -> None:
        self._shard, self._roles, self._types, self._sources = shard, roles, types, sources
        kinds = {role: pa.string() if role == UID else types[role] for role in sources}
        self._kinds, self._fit = kinds, {role: fitting(kind, role) for role, kind in kinds.items()}
        self._start = shard.start
        self._clear()

    def _clear(self) -> None:
        self._places: list[tuple[int, int]] = []
        self._bytes = 0
        self._values: dict[str, list[Value]] = {role: [] for role in self._sources}
        self._errors: dict[str, Errors] = {role: {} for role in self._sources}
        self._bad: Errors = {}

    def full(self, line: Line) -> bool:
        """Whether a batch would be too large with one more line."""
        return len(self._places) == BATCH_ROWS or self._bytes + line.length > BATCH_BYTES

    def add(self, row: int, line: Line) -> None:
        """Takes one more line."""
        at = len(self._places)
        if not at:
            self._start = row
        found = parsed(line)
        if isinstance(found, RowError):
            self._bad[at] = found
            found = {}
        for role, source in self._sources.items():
            value = field_of(found, source)
            if role == UID and isinstance(value, float):  # or a whole number that is too large for orjson
                value = as_written(_without_mark(line), source)
            if value is not None:
                value = value if isinstance(value, RowError) else self._fit[role](value)
                if isinstance(value, RowError):
                    self._errors[role][at], value = value, None
            self._values[role].append(value)
        mark = len(_BOM) if line.data is not None and line.data.startswith(_BOM) else 0
        self._places.append((line.offset + self._shard.first + mark, line.length - mark))
        self._bytes += line.length

    def flush(self) -> Iterator[Batch]:
        """The rows so far, if there are any."""
        if self._places:
            yield self._batch()

    def _batch(self) -> Batch:
        count, places = len(self._places), np.array(self._places, dtype=np.int64).reshape(-1, 2)
        columns = {}
        for role, values in self._values.items():
            columns[role], wrong = array_of(values, self._kinds[role])
            self._errors[role].update(wrong)
        labels = columns[UID] = fill_uids(columns.get(UID), self._shard.path, self._start, count)
        made = Batch(
            start=self._start,
            uid=labels,
            nbytes=places[:, 1] + 1,
            roles=batch_of(self._roles, self._types, [columns[role] for role in self._roles], count),
            role_errors={role: self._errors[role] for role in self._roles if self._errors.get(role)},
            read_errors=self._bad,
            offset=places[:, 0],
            length=places[:, 1],
        )
        self._clear()
        return made


def parsed(line: Line) -> dict[str, Any] | RowError:
    """The object of a line, or what is wrong with it. Of a key that stands twice the last value counts."""
    if line.data is None:
        return too_large(f"a line of {line.length:,} bytes")
    try:
        value = orjson.loads(_without_mark(line))
    except orjson.JSONDecodeError as error:
        return RowError("json_decode", str(error)[:200])
    if not isinstance(value, dict):
        return RowError("json_decode", f"the line is no JSON object but {type(value).__name__}")
    return value


def _without_mark(line: Line) -> bytes:
    return (line.data or b"").removeprefix(_BOM)


def _before(most: int) -> Callable[[Line], bool]:
    """Whether the lines so far, this one left out, have fewer bytes than `most`: the first line always has."""
    seen = 0

    def more(line: Line) -> bool:
        nonlocal seen
        before, seen = seen, seen + (line.length if line.data is not None else 0)
        return before < most

    return more


def _sample(files: Location, shards: Sequence[Shard]) -> list[dict[str, Any]]:
    """The first rows that are objects."""
    rows: list[dict[str, Any]] = []
    reasons = []
    for shard in shards[:_TRIES]:
        with contextlib.closing(open_stream(files, shard)) as stream:
            lines = (line for line in lines_of(stream.read, files.max_document_bytes) if not line.blank)
            first = [
                parsed(line) for line in itertools.takewhile(_before(_SAMPLE_BYTES), itertools.islice(lines, _SAMPLES))
            ]
        rows += [row for row in first if isinstance(row, dict)]
        bad = next((row for row in first if isinstance(row, RowError)), stream.damage)
        if rows:
            return rows
        if bad is not None:
            reasons.append(f"{shard.path}: {bad.kind}")
    if reasons:
        raise NoneReadable(f"none of the pool's first {len(reasons)} shards has a JSON object ({reasons[0]})")
    return rows


def _fields(rows: Sequence[Mapping[str, Any]]) -> dict[str, Value]:
    """The keys, nested ones with dots, with their first values that are not null; of the first objects that fit."""
    found: dict[str, Value] = {}
    for row in rows:
        waiting: list[tuple[str, Mapping[str, Any]]] = [("", row)]
        while waiting and len(found) < _MOST_NAMES:
            prefix, some = waiting.pop()
            for key, value in some.items():
                name = prefix + key
                if found.get(name) is None:
                    found[name] = value
                if isinstance(value, dict) and prefix.count(".") < DEEPEST:
                    waiting.append((f"{name}.", value))
    return found


def _has(row: Mapping[str, Any], source: str) -> bool:
    """Whether a row has a key, if only with null."""
    found: Any = row
    for name in [] if source in row else source.split("."):
        if not (isinstance(found, dict) and name in found):
            return False
        found = found[name]
    return True


def _kind(value: Value) -> pa.DataType | None:
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, (int, float)):
        return pa.float64()
    return pa.string() if value is None or isinstance(value, str) else None


def _role_type(role: str, source: str, rows: Sequence[Mapping[str, Any]]) -> pa.DataType:
    value = next((found for row in rows if (found := field_of(dict(row), source)) is not None), None)
    if value is None and len(rows) >= _EVIDENCE and not any(_has(row, source) for row in rows):
        asked = f"role {role!r} reads key {source!r}, which" if role != source else f"key {source!r}"
        raise unknown_name(f"{asked} none of the first {len(rows)} rows has", source, _fields(rows))
    kind = pa.string() if role == UID else _kind(value) or list_kind(field_of(dict(row), source) for row in rows)
    if kind is None:
        raise PlanError(f"role {role!r} reads key {source!r}, which holds a {type(value).__name__}: name a field in it")
    return kind
