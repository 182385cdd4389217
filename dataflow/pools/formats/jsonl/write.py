"""JSON lines to JSON lines: kept lines leave byte for byte, each with one line end, in a zstd stream."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import IO, Any, cast

import numpy as np
import orjson
import zstandard

from poolsieve.dataflow import progress
from poolsieve.dataflow.export.edited import EditedRows, with_text
from poolsieve.dataflow.export.rows import (
    ExportPlan,
    Ints,
    OutputFile,
    Picked,
    Written,
    check_same,
    count_lost,
    edited_rows,
    pick,
)
from poolsieve.dataflow.export.sink import Sink
from poolsieve.dataflow.pools.formats.base import ShardChanged
from poolsieve.dataflow.pools.formats.jsonl.read import Stream, open_stream
from poolsieve.dataflow.pools.formats.webdataset.write import dump, plain
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.scoring_models.base.errors import PlanError

LEVEL = 3
"""zstd's own usual level."""

READ = 4 << 20
"""Most bytes of one read."""

SCORES = "poolsieve"
"""The key that holds a line's scores."""


def write(export: ExportPlan, part: OutputFile, sink: Sink) -> Written:
    """Writes one file.

    Raises:
        ShardChanged: if a pool file is not the one that was scored.
        PlanError: if scores are asked for and a line has the key that would hold them.
    """
    done = Written()
    # One frame: many readers stop after the first.
    with zstandard.ZstdCompressor(level=LEVEL).stream_writer(cast(IO[bytes], sink), closefd=False) as packed:
        for item in part.inputs:
            check_same(export, item.shard)
            picked = pick(export, item.shard)
            done.unreadable += picked.unreadable
            edited = edited_rows(export, item.shard, picked)
            with contextlib.closing(open_stream(export.files, item.shard)) as stream:
                for data, rows in _lines(export, item.shard, picked, stream, edited):
                    packed.write(data)
                    done.rows += rows
                    progress.add("export", rows)
            count_lost(edited, done)
    return done


def _lines(
    export: ExportPlan, shard: Shard, picked: Picked, stream: Stream, edited: EditedRows | None
) -> Iterator[tuple[bytes, int]]:
    """(bytes, rows) in order; neighbours that leave as they are go together."""
    source = _Ranges(export, shard, stream)
    offset, length = picked.column("offset"), picked.column("length")
    alone = bool(export.scores) or edited is not None
    for first, last in _runs(offset, length, picked.copies, alone):
        start, stop = int(offset[first]), int(offset[last] + length[last])
        if not alone and picked.copies[first] == 1:
            yield from source.whole(start, stop, last - first + 1)
            continue
        line = source.take(start, stop - start)
        if edited is not None:
            line = with_texts(line, edited, picked.row[first : first + 1])
        made = with_scores(line, _scores(export, picked, first), shard) if export.scores else line
        yield (made + b"\n") * int(picked.copies[first]), int(picked.copies[first])


def _runs(offset: Ints, length: Ints, copies: Ints, alone: bool) -> Iterator[tuple[int, int]]:
    """(first, last) of neighbours in the file that leave once each; other rows alone."""
    if not len(offset):
        return
    apart = (offset[1:] != offset[:-1] + length[:-1] + 1) | (copies[1:] != 1) | (copies[:-1] != 1) | alone
    edges = [0, *(np.flatnonzero(apart) + 1).tolist(), len(offset)]
    yield from ((first, last - 1) for first, last in itertools.pairwise(edges))


class _Ranges:
    """Ascending byte ranges of a (decompressed) file."""

    def __init__(self, export: ExportPlan, shard: Shard, stream: Stream) -> None:
        self.url, self.stream, self.position = export.files.url(shard), stream, shard.first
        self.seekable = stream.compression is None

    def whole(self, start: int, stop: int, rows: int) -> Iterator[tuple[bytes, int]]:
        """A range in pieces, and a line end; its rows are counted with the end."""
        self._go(start)
        while self.position < stop:
            progress.check()
            yield self._read(min(READ, stop - self.position)), 0
        yield b"\n", rows

    def take(self, start: int, size: int) -> bytes:
        """A range at once."""
        self._go(start)
        parts = []
        while self.position < start + size:
            parts.append(self._read(start + size - self.position))
        return b"".join(parts)

    def _go(self, start: int) -> None:
        if self.seekable:
            self.stream.file.seek(start)
            self.stream.left, self.position = None, start
        while self.position < start:
            self._read(min(READ, start - self.position))

    def _read(self, size: int) -> bytes:
        data = self.stream.read(size)
        if not data:
            raise ShardChanged(f"{self.url} became shorter while it was exported; run the export again")
        self.position += len(data)
        return data


def _scores(export: ExportPlan, picked: Picked, i: int) -> bytes:
    return dump(plain({name: picked.scores.column(name)[i].as_py() for name in export.scores}))


def with_texts(line: bytes, edited: EditedRows, row: Ints) -> bytes:
    """The line's own bytes but for the keys that hold edited texts."""
    for name, text in zip(edited.derived, edited.take(row), strict=True):
        line = with_text(line, name, text[0].as_py())
    return line


def with_scores(line: bytes, scores: bytes, shard: Shard) -> bytes:
    """The line's own bytes with one more key before its last brace.

    Raises:
        PlanError: if it has that key.
    """
    found = orjson.loads(line)
    if SCORES in found:
        raise PlanError(
            f"{shard.path}: a line has the key {SCORES!r} already, from an earlier export: export without scores, or "
            "filter the pool that it came from"
        )
    body = line.rstrip()[:-1]
    return body + (b"," if found else b"") + f'"{SCORES}":'.encode() + scores + b"}"


def check_line(export: ExportPlan, shard: Shard) -> None:
    """Looks at the first line that leaves, so that scores already there are refused before a byte is written."""
    picked: Any = pick(export, shard) if export.scores else None
    if picked is not None and len(picked.row):
        with contextlib.closing(open_stream(export.files, shard)) as stream:
            start, size = int(picked.column("offset")[0]), int(picked.column("length")[0])
            with_scores(_Ranges(export, shard, stream).take(start, size), b"{}", shard)
