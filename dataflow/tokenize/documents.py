"""Which documents each chunk is made of: a table beside each token file."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.pools.formats.base import Ints
from poolsieve.dataflow.pools.formats.outgoing import Sink
from poolsieve.dataflow.pools.formats.parquet.writer import noted_writer

_FIELDS: list[pa.Field] = [
    pa.field("chunk", pa.int64()),
    pa.field("uid", pa.string()),
    pa.field("row", pa.int64()),
    pa.field("start", pa.int64()),
    pa.field("tokens", pa.int64()),
    pa.field("skipped", pa.int64()),
]
SCHEMA = pa.schema(_FIELDS)
"""One row for each part of a document in a chunk, in the order of the tokens: the chunk (from 0, the row of a pool of
tokens; the last one may be the file's tail, which is no row there), the document's uid and its row in the pool's file,
where in the chunk the part starts, how many ids it has (the end of text counted), and how many of the document's ids
went into chunks before."""

_ROWS = 1 << 16
"""Of a row group, so that what is written does not depend on where batches end."""


def parts(uid: pa.Array, row: Ints, start: Ints, size: Ints, length: int) -> pa.RecordBatch:
    """The rows of the table (`SCHEMA`) for some documents.

    Args:
        uid: string (n,).
        row: int64 (n,), of each document in its file.
        start: int64 (n,), position of its first id in the token file.
        size: int64 (n,), of its ids; at least 1.
        length: ids of a chunk.
    """
    first = start // length
    count = (start + size - 1) // length - first + 1
    owner = np.repeat(np.arange(len(size)), count)
    chunk = np.arange(len(owner)) + np.repeat(first - np.cumsum(count) + count, count)
    begin = np.maximum(start[owner], chunk * length)
    end = np.minimum((start + size)[owner], (chunk + 1) * length)
    columns = [
        chunk,
        uid.take(pa.array(owner, pa.int64())),
        row[owner],
        begin - chunk * length,
        end - begin,
        begin - start[owner],
    ]
    return pa.record_batch([pa.array(column) for column in columns], schema=SCHEMA)


class DocumentTable:
    """The table while it is being written, in row groups of one size."""

    def __init__(self, sink: Sink) -> None:
        self._writer = noted_writer(sink, SCHEMA)
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Takes rows of `SCHEMA`."""
        self._waiting.append(batch)
        self._rows += batch.num_rows
        if self._rows >= _ROWS:
            self._flush(self._rows // _ROWS * _ROWS)

    def close(self) -> None:
        """Writes what is waiting, and the footer."""
        if self._rows:
            self._flush(self._rows)
        self._writer.close()

    def _flush(self, rows: int) -> None:
        table = pa.Table.from_batches(self._waiting, SCHEMA)
        self._writer.write_table(table.slice(0, rows), row_group_size=_ROWS)
        self._waiting = table.slice(rows).to_batches()
        self._rows -= rows
