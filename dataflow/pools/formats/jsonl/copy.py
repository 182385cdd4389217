"""JSON lines to JSON lines: kept lines leave byte for byte, each with one line end, in a zstd stream."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import orjson
import pyarrow as pa

from poolsieve.dataflow import progress
from poolsieve.dataflow.pools.formats.base import Ints, Location, ShardChanged
from poolsieve.dataflow.pools.formats.jsonl.packed import SCORES, packed
from poolsieve.dataflow.pools.formats.jsonl.read import Stream, open_stream
from poolsieve.dataflow.pools.formats.outgoing import (
    Added,
    EditedTexts,
    Look,
    Outgoing,
    Picked,
    Sink,
    Written,
)
from poolsieve.dataflow.pools.json_text import dump, end_of, plain
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.scoring_models.base.errors import PlanError

READ = 4 << 20
"""Most bytes of one read."""


class JsonlCopier:
    """Copies lines; scores and edited texts go into a line's own text, which stays as it is but for them."""

    takes_edits = True
    takes_scores = True
    needs_lines = True
    copies_unread = True

    def schema(self, files: Location, shard: Shard) -> str:
        """None: each line has its own keys."""
        return ""

    def look(self, files: Location, shard: Shard, pick: Callable[[], Picked], added: Added) -> Look:
        """The first line that leaves, so that scores already there are refused; see `Copier.look`."""
        picked = pick() if added.scores else None
        if picked is not None and len(picked.row):
            with contextlib.closing(open_stream(files, shard)) as stream:
                start, size = int(picked.column("offset")[0]), int(picked.column("length")[0])
                with_scores(_Ranges(files.url(shard), shard, stream).take(start, size), b"{}", shard)
        return Look()

    def copy(
        self, files: Location, shards: Iterable[Outgoing], added: Added, sink: Sink, *, threads: bool = True
    ) -> Written:
        """One file of the shards' lines.

        Raises:
            PlanError: if scores are asked for and a line has the key that would hold them.
        """
        done = Written()
        with packed(sink) as file:
            for item in shards:
                picked = item.pick()
                done.unreadable += picked.unreadable
                edited = item.edited(picked)
                with contextlib.closing(open_stream(files, item.shard)) as stream:
                    source = _Ranges(files.url(item.shard), item.shard, stream)
                    for data, rows in _lines(item.shard, picked, source, edited):
                        file.write(data)
                        done.rows += rows
                        progress.add("export", rows)
                done.count_empty(edited.lost if edited is not None else {})
        return done


def _lines(shard: Shard, picked: Picked, source: _Ranges, edited: EditedTexts | None) -> Iterator[tuple[bytes, int]]:
    """(bytes, rows) in order; neighbours that leave as they are go together."""
    offset, length = picked.column("offset"), picked.column("length")
    scored = bool(picked.scores.column_names)
    alone = scored or edited is not None
    for first, last in _runs(offset, length, picked.copies, alone):
        start, stop = int(offset[first]), int(offset[last] + length[last])
        if not alone and picked.copies[first] == 1:
            yield from source.whole(start, stop, last - first + 1)
            continue
        line = source.take(start, stop - start)
        if edited is not None:
            line = with_texts(line, edited.take(picked.row[first : first + 1]))
        made = with_scores(line, dump(plain(picked.scores_of(first))), shard) if scored else line
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

    def __init__(self, url: str, shard: Shard, stream: Stream) -> None:
        self.url, self.stream, self.position = url, stream, shard.first
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


def with_texts(line: bytes, texts: Mapping[str, pa.Array]) -> bytes:
    """The line's own bytes but for the keys that hold edited texts."""
    for name, values in texts.items():
        line = with_text(line, name, values[0].as_py())
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


def with_text(line: bytes, key: str, text: str | None) -> bytes:
    """A JSON object's own bytes with another value of one key; the key comes last if it is new."""
    value = json.dumps(text, ensure_ascii=False)
    whole = line.decode("utf-8-sig").rstrip()
    span = _value_span(whole, key)
    if span is not None:
        return f"{whole[: span[0]]}{value}{whole[span[1] :]}".encode()
    body = whole[:-1].rstrip()
    comma = "" if body.endswith("{") else ","
    return f"{body}{comma}{json.dumps(key, ensure_ascii=False)}:{value}}}".encode()


_SPACES = " \t\r\n"


def _value_span(whole: str, key: str) -> tuple[int, int] | None:
    """Where the value of an object's key stands (of the last one, which is the one that counts)."""
    found, at = None, _skip(whole, _skip(whole, 0) + 1)
    while whole[at] == '"':
        named = end_of(whole, at)
        name = json.loads(whole[at:named], strict=False)
        start = _skip(whole, _skip(whole, named) + 1)
        stop = end_of(whole, start)
        found = (start, stop) if name == key else found
        at = _skip(whole, stop)
        at = _skip(whole, at + 1) if whole[at] == "," else at
    return found


def _skip(whole: str, at: int) -> int:
    """The next place that is no whitespace."""
    while whole[at] in _SPACES:
        at += 1
    return at
