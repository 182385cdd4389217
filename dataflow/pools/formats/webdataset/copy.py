"""Tar to tar: kept samples leave as byte ranges, headers, padding and all, in the order that they had."""

from __future__ import annotations

import contextlib
import io
import itertools
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO

import numpy as np

from poolsieve.dataflow import progress
from poolsieve.dataflow.pools.formats.base import Ints, Location, ShardChanged
from poolsieve.dataflow.pools.formats.outgoing import (
    Added,
    Look,
    Outgoing,
    Picked,
    Sink,
    Written,
    copy_keys,
    distinct,
)
from poolsieve.dataflow.pools.formats.webdataset.members import (
    SCORES,
    end_archive,
    members,
    renamed,
    score_member,
    split_name_as_written,
)
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.scoring_models.base.errors import PlanError

READ = 8 << 20
"""Most bytes of one read. Reading ahead as much turns the small gaps between kept samples into one request."""


class WebDatasetCopier:
    """Copies samples as byte ranges; scores are a member of their own."""

    takes_edits = False
    takes_scores = True
    needs_lines = True
    copies_unread = False

    def schema(self, files: Location, shard: Shard) -> str:
        """None: a tar has no schema."""
        return ""

    def look(self, files: Location, shard: Shard, pick: Callable[[], Picked], added: Added) -> Look:
        """The first sample that leaves, so that scores already there are refused; see `Copier.look`."""
        if added.scores:
            with contextlib.closing(files.open(shard, ahead=READ)) as file, io.BytesIO() as nowhere:
                copy = _Copy(files.url(shard), shard, pick(), file, nowhere, Written())
                copy.checked(copy.read(0), None)
        return Look(keyed=True)

    def copy(
        self, files: Location, shards: Iterable[Outgoing], added: Added, sink: Sink, *, threads: bool = True
    ) -> Written:
        """One tar of the shards' samples."""
        done = Written()
        previous: str | None = None
        for item in shards:
            picked = item.pick()
            done.unreadable += picked.unreadable
            with contextlib.closing(files.open(item.shard, ahead=READ)) as file:
                previous = _Copy(files.url(item.shard), item.shard, picked, file, sink, done).run(previous)
        end_archive(sink)
        return done


class _Copy:
    """The rows of one shard on their way into a tar."""

    def __init__(self, url: str, shard: Shard, picked: Picked, file: IO[bytes], sink: Sink, done: Written) -> None:
        self.url, self.shard, self.picked = url, shard, picked
        self.file, self.sink, self.done = file, sink, done
        self.offset, self.length = picked.column("offset"), picked.column("length")
        self.scored = bool(picked.scores.column_names)

    def run(self, previous: str | None) -> str | None:
        """Copies everything; returns the last key."""
        n = len(self.picked.row)
        if not n:
            return previous
        names, last = new_names(self.picked, previous)
        touched = range(n) if self.scored else sorted(names)
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
        raise ShardChanged(f"{self.url} became shorter while it was exported; run the export again")

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
        if not self.scored:
            return
        key = name or self.picked.lines.column("key")[i].as_py()
        if b"poolsieve" in data.lower() or "\ufffd" in key:
            key = self.checked(data, name)
        self.sink.write(score_member(key, self.picked.uid[i].as_py(), self.picked.scores_of(i)))

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
