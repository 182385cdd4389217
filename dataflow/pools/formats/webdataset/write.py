"""Tar to tar: kept samples leave as byte ranges, headers, padding and all, in the order that they had."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from poolsieve.dataflow import progress
from poolsieve.dataflow.export.rows import (
    ExportPlan,
    Ints,
    OutputFile,
    Picked,
    Written,
    check_same,
    copy_keys,
    distinct,
    pick,
)
from poolsieve.dataflow.export.sink import Sink
from poolsieve.dataflow.fs import is_local, open_remote
from poolsieve.dataflow.pools.formats.base import ShardChanged
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError

READ = 8 << 20
"""Most bytes of one read."""

SCORES = "poolsieve.json"
"""Extension of the member that holds a sample's scores."""


def write(export: ExportPlan, part: OutputFile, sink: Sink) -> Written:
    """Writes one tar.

    Raises:
        ShardChanged: if a pool file is not the one that was scored.
    """
    done = Written()
    previous: str | None = None
    for item in part.inputs:
        check_same(export, item.shard)
        picked = pick(export, item.shard)
        done.unreadable += picked.unreadable
        with contextlib.closing(_open(export, item.shard)) as file:
            previous = _Copy(export, item.shard, picked, file, sink, done).run(previous)
    end_archive(sink)
    return done


def end_archive(sink: Sink) -> None:
    """Two zero blocks, filled up to tar's record of 20 blocks, as every tar writer ends an archive."""
    sink.write(bytes(2 * tarfile.BLOCKSIZE))
    sink.write(bytes(-sink.tell() % tarfile.RECORDSIZE))


def _open(export: ExportPlan, shard: Shard) -> Any:
    system, path = export.files.connect(shard)
    if is_local(system):
        return open(path, "rb", buffering=0)
    # Reading ahead turns the small gaps between kept samples into one request instead of thousands.
    return open_remote(system, path, cache_type="readahead", block_size=READ)


class _Copy:
    """The rows of one shard on their way into a tar."""

    def __init__(self, export: ExportPlan, shard: Shard, picked: Picked, file: Any, sink: Any, done: Written) -> None:
        self.export, self.shard, self.picked, self.file, self.sink, self.done = export, shard, picked, file, sink, done
        self.offset, self.length = picked.column("offset"), picked.column("length")

    def run(self, previous: str | None) -> str | None:
        """Copies everything; returns the last key."""
        n = len(self.picked.row)
        if not n:
            return previous
        names, last = new_names(self.picked, previous)
        touched = range(n) if self.export.scores else sorted(names)
        begin = 0
        for i in [*touched, n]:
            self._ranges(begin, i)
            if i < n:
                self._sample(i, names.get(i))
            begin = i + 1
        return last

    def _ranges(self, first: int, last: int) -> None:
        """Samples that leave as they are: neighbours in the file are read together."""
        for start, stop, count in merged(self.offset[first:last], self.length[first:last]):
            self._copy(start, stop)
            self._count(count)

    def _copy(self, start: int, stop: int) -> None:
        self.file.seek(start)
        while start < stop:
            progress.check()
            data = self.file.read(min(READ, stop - start)) or self._padding(stop - start)
            self.sink.write(data)
            start += len(data)

    def _padding(self, missing: int) -> bytes:
        """An archive that was cut right after its last byte lacks that member's padding; nothing else may lack."""
        if missing < tarfile.BLOCKSIZE:
            return bytes(missing)
        raise ShardChanged(
            f"{self.export.files.url(self.shard)} became shorter while it was exported; run the export again"
        )

    def _count(self, rows: int) -> None:
        self.done.rows += rows
        progress.add("export", rows)

    def _sample(self, i: int, names: Sequence[str] | None) -> None:
        """One sample that gets other names, or scores."""
        data = self.read(i)
        if names is None:
            self.sink.write(data)
            self._scores(i, data, None)
            self._count(1)
            return
        for name in names:
            self.sink.write(b"".join(renamed(data, name)))
            self._scores(i, data, name)
        self._count(len(names))
        self.done.renamed += int(self.picked.copies[i] == 1)

    def read(self, i: int) -> bytes:
        """All bytes of one sample."""
        length = int(self.length[i])
        self.file.seek(int(self.offset[i]))
        parts: list[bytes] = []
        while (missing := length - sum(map(len, parts))) > 0:
            parts.append(self.file.read(min(READ, missing)) or self._padding(missing))
        return b"".join(parts)

    def _scores(self, i: int, data: bytes, name: str | None) -> None:
        if not self.export.scores:
            return
        key = name or self.picked.lines.column("key")[i].as_py()
        if b"poolsieve" in data.lower() or "\ufffd" in key:
            key = self.checked(data, name)
        values = {column: self.picked.scores.column(column)[i].as_py() for column in self.export.scores}
        self.sink.write(score_member(key, self.picked.uid[i].as_py(), values))

    def checked(self, data: bytes, name: str | None) -> str:
        """The key as the archive spells it, once no member has the name that the scores will have."""
        key = None
        for info, _ in members(data):
            key, _, extension = (
                split_name_as_written(info.name) if key is None else (key, *split_name_as_written(info.name)[1:])
            )
            if extension.lower() == SCORES:
                raise PlanError(
                    f"{self.shard.path}: sample {key!r} has a member .{SCORES} already, from an earlier export: export "
                    "without scores, or filter the pool that it came from"
                )
        return name or key or ""


def check_members(export: ExportPlan, shard: Shard) -> None:
    """Looks at the first sample that leaves, so that scores already there are refused before a byte is written.

    Raises:
        PlanError: if scores can't be added.
    """
    if not export.scores:
        return
    picked = pick(export, shard)
    with contextlib.closing(_open(export, shard)) as file, io.BytesIO() as nowhere:
        copy = _Copy(export, shard, picked, file, nowhere, Written())
        copy.checked(copy.read(0), None)


def merged(offset: Ints, length: Ints) -> Iterator[tuple[int, int, int]]:
    """(start, stop, samples) of maximal runs of adjacent samples."""
    if not len(offset):
        return
    breaks = np.flatnonzero(offset[1:] != offset[:-1] + length[:-1]) + 1
    edges = [0, *breaks.tolist(), len(offset)]
    for first, last in itertools.pairwise(edges):
        yield int(offset[first]), int(offset[last - 1] + length[last - 1]), last - first


def new_names(picked: Picked, previous: str | None) -> tuple[dict[int, list[str]], str | None]:
    """New keys of the rows that can't keep theirs, by position, and the key of the last sample.

    Rows that leave several times are named `{uid}-{j}`. A sample whose key is that of the sample before it (the pool
    had others between them, which stay behind) gets a number, since a reader would take the two for one.
    """
    keys = picked.lines.column("key").to_numpy(zero_copy_only=False)
    if keys[0] != previous and (keys[1:] != keys[:-1]).all() and (picked.copies == 1).all():
        return {}, str(keys[-1])
    names: dict[int, list[str]] = {}
    for i, (key, copies) in enumerate(zip(keys, picked.copies.tolist(), strict=True)):
        made = copy_keys(picked.uid[i].as_py(), copies) if copies > 1 else [distinct(key, previous)]
        if made != [key]:
            names[i] = [distinct(made[0], previous), *made[1:]]
        previous = made[-1]
    return names, previous


def split_name_as_written(name: str) -> tuple[str, str, str]:
    """(key, dot, extension) of a member's name as it is spelled; a key ends at the first dot after the last slash."""
    folder, slash, base = name.rpartition("/")
    stem, dot, extension = base.partition(".")
    return folder + slash + stem, dot, extension


def members(data: bytes) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """The members of a piece of an archive, each with its data and padding."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
        for info in archive:
            size = -(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE if info.isreg() else 0
            yield info, data[info.offset_data : info.offset_data + size]


def renamed(data: bytes, key: str) -> Iterator[bytes]:
    """The bytes of a sample under another key: its members' data as it was, their headers with the new name.

    Raises:
        PoolsieveError: for a sparse member, whose header holds more than a name.
    """
    for info, payload in members(data):
        _, dot, extension = split_name_as_written(info.name)
        if not (info.isreg() and dot):
            continue
        if info.issparse():
            raise PoolsieveError(f"member {info.name!r} is stored with holes and can't be copied under another name")
        info.name = f"{key}.{extension}"
        pax = {name: value for name, value in info.pax_headers.items() if name != "path"}
        info.pax_headers = pax
        yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        yield payload


def member(name: str, data: bytes) -> bytes:
    """A member of our own: no owner, no date, so that the same data gives the same bytes."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    head = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    return head + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def score_member(key: str, uid: str, scores: Mapping[str, Any]) -> bytes:
    """`{key}.poolsieve.json`: the uid and the scores; what is null or NaN is null."""
    return member(f"{key}.{SCORES}", dump({"uid": uid, "scores": {k: plain(v) for k, v in scores.items()}}))


def dump(value: Any) -> bytes:
    """JSON as members hold it, in UTF-8; characters that no UTF-8 has are escaped."""
    try:
        return json.dumps(value, ensure_ascii=False, default=str, allow_nan=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, default=str, allow_nan=False).encode()


def plain(value: Any) -> Any:
    """A value as JSON can hold it: NaN and the infinities are null, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value
