"""Artefacts that hold a line for each row of pools of their own, or for some: parted by the first bits of its hash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.passes.artefacts.kinds import Good, Kind
from poolsieve.filters.words.mixing import Hashes, first_bits

HASH = "hash"
"""The column of lines that says where they go: fixed_size_binary of 8 bytes or more."""

PENDING_BYTES = 32 << 20
"""Of a shard's lines, that are gathered before they are sent."""


class Lines(Kind):
    """A scorer's `collected` of all its `lines` of one place. Shards send Arrow's stream of a table."""

    asked = "collected"

    def check(self, types: Mapping[str, pa.DataType]) -> None:
        """By the scorer's `check_pool`."""
        for name, kind in types.items():
            self.scorer.check_pool(f"pool {name!r}", kind)

    def sent(self, batches: Iterable[Good]) -> Iterator[tuple[int, bytes]]:
        """The lines of a shard, those of one hash once for all that are sent together."""
        waiting, size = list[pa.Table](), 0
        for batch in batches:
            waiting.append(self.scorer.lines(batch.roles, batch.path, batch.rows))
            size += waiting[-1].nbytes
            if size >= PENDING_BYTES:
                yield from self._blocks(waiting)
                waiting, size = [], 0
        if waiting:
            yield from self._blocks(waiting)

    def _blocks(self, tables: list[pa.Table]) -> Iterator[tuple[int, bytes]]:
        table = self.scorer.collected(tables)
        if not table.num_rows:
            return
        places, firsts = np.unique(first_bits(_starts(table), self.bits), return_index=True)
        ends = [*firsts[1:].tolist(), table.num_rows]
        for place, first, end in zip(places.tolist(), firsts.tolist(), ends, strict=True):
            yield place, _stream(table.slice(first, end - first))

    def joined(self, blocks: Iterable[bytes]) -> pa.Table:
        """The lines of a place, by hash."""
        made: pa.Table = self.scorer.collected(pa.ipc.open_stream(block).read_all() for block in blocks)
        return made


def _starts(table: pa.Table) -> Hashes:
    """uint64 (n,): the first 8 bytes of each line's hash, as a number that is in the order of bytes."""
    column = table.column(HASH).combine_chunks()
    width = column.type.byte_width
    data = np.frombuffer(cast("Any", column.buffers()[1]), np.uint8)[column.offset * width :][: len(column) * width]
    starts = np.ascontiguousarray(data.reshape(-1, width)[:, :8]).view(">u8").reshape(-1)
    return starts.astype(np.uint64)


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()
