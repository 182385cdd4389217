"""A Parquet file that is being written, in flat memory, as the Hub likes it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from poolsieve.dataflow.pools.formats.outgoing import Sink

WRITER: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 3,
    "write_page_index": True,
    # Chunks that end where the contents say: a subset made anew shares most of its bytes with the one before it.
    "use_content_defined_chunking": True,
}
"""What `datasets` writes with, so that the Hub can show, search and deduplicate the files."""

ROW_GROUP_BYTES = 96 << 20
"""A row group is closed when this much Arrow data is waiting; `datasets` has 100 MB."""


class RowGroups:
    """A Parquet file that is being written, in row groups of about `ROW_GROUP_BYTES` and no more memory than that."""

    def __init__(self, sink: Sink, schema: pa.Schema) -> None:
        self.schema = schema
        self._writer = pq.ParquetWriter(sink, schema, **WRITER)  # type: ignore[arg-type]  # pyarrow-stubs: whole `IO` alone
        self._waiting: list[pa.RecordBatch] = []
        self._bytes = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Takes rows of exactly the file's schema."""
        if self._waiting and self._bytes + batch.nbytes > ROW_GROUP_BYTES:
            self._flush()
        self._waiting.append(batch)
        self._bytes += batch.nbytes

    def close(self) -> None:
        """Writes what is waiting, and the footer."""
        if self._waiting:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._waiting, self._waiting[0].schema)
        self._waiting, self._bytes = [], 0
        self._writer.write_table(table, row_group_size=table.num_rows)
