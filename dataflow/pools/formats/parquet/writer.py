"""A Parquet file that is being written, in flat memory, as `datasets` writes it for the Hub.

As in `datasets` 5 (`arrow_writer.py`, `config.py`): chunks that end where the contents say, with a note of how in the
footer; a page index; media plain and without compression, which would find nothing in a JPEG; row groups of 100 MB.
Other columns are compressed by zstd, where `datasets` takes snappy: texts take two thirds of the room
(`benchmarks/export.py --codecs`), and every reader of the Hub knows both.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from poolsieve.dataflow.pools.casts import is_bytes
from poolsieve.dataflow.pools.formats.outgoing import Sink

CHUNKING = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}
"""`DEFAULT_CDC_OPTIONS` of `datasets`: a subset made anew shares most of its chunks with the one before it."""

CHUNKING_KEY = "content_defined_chunking"
"""The footer's key under which it stands, as JSON: the only metadata that is added."""

WRITER: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 3,
    "write_page_index": True,
    "use_content_defined_chunking": CHUNKING,
}
"""For files without media."""

ROW_GROUP_BYTES = 100_000_000
"""A row group is closed when this much Arrow data is waiting: `MAX_ROW_GROUP_SIZE` of `datasets`."""

MEDIA = frozenset({"Audio", "Image", "Mesh", "Nifti", "Pdf", "Video"})
"""Features of `datasets` that hold files which are compressed already."""


class RowGroups:
    """A Parquet file that is being written, in row groups of about `ROW_GROUP_BYTES` and no more memory than that.

    Args:
        sink: takes the bytes.
        schema: of the file. A note of chunks that it brings from another file is replaced by our own.
        media: columns that hold images as bytes, beside those that the schema's metadata says are media.
    """

    def __init__(self, sink: Sink, schema: pa.Schema, media: Iterable[str] = ()) -> None:
        self.schema = schema
        plain = without_note(schema)
        options = column_options(plain, frozenset(media) | media_of(schema))
        self._writer = noted_writer(sink, plain, options)
        self._waiting: list[pa.RecordBatch] = []
        self._bytes = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Takes rows of exactly the file's schema; more than a row group's at once are cut."""
        most = max(1, batch.num_rows * ROW_GROUP_BYTES // max(1, batch.nbytes))
        for start in range(0, batch.num_rows, most):
            self._take(batch.slice(start, most))

    def _take(self, batch: pa.RecordBatch) -> None:
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


def noted_writer(sink: Sink, schema: pa.Schema, options: dict[str, Any] = WRITER) -> pq.ParquetWriter:
    """A writer whose footer says how its chunks were cut.

    Args:
        sink: takes the bytes.
        schema: of the file, without such a note.
        options: keywords of `ParquetWriter`, with `CHUNKING` among them.
    """
    made = pq.ParquetWriter(sink, schema, **options)  # type: ignore[arg-type]  # pyarrow-stubs: whole `IO` alone
    made.add_key_value_metadata({CHUNKING_KEY: json.dumps(CHUNKING)})
    return made


def without_note(schema: pa.Schema) -> pa.Schema:
    """The schema without a note of how a file was cut into chunks, which is none of its rows'."""
    metadata = dict(schema.metadata or {})
    if metadata.pop(CHUNKING_KEY.encode(), None) is None:
        return schema
    return schema.with_metadata(metadata) if metadata else schema.remove_metadata()


def column_options(schema: pa.Schema, media: frozenset[str]) -> dict[str, Any]:
    """Keywords for a `ParquetWriter`: `WRITER`, with columns of media plain and as they are.

    Args:
        schema: of the file.
        media: names of columns.
    """
    plain = {leaf for item in schema if item.name in media for leaf in _leaves(item)}
    if not plain:
        return WRITER
    # A column `image.bytes` beside a struct `image` has the path of that one's leaf, and is written as it is.
    others = [leaf for item in schema if item.name not in media for leaf in _leaves(item) if leaf not in plain]
    codec, level = WRITER["compression"], WRITER["compression_level"]
    return {
        **WRITER,
        "compression": {**dict.fromkeys(plain, "none"), **dict.fromkeys(others, codec)},
        "compression_level": dict.fromkeys(others, level),
        "use_dictionary": others,
        "column_encoding": dict.fromkeys(plain, "PLAIN"),
    }


def _leaves(item: pa.Field) -> list[str]:
    """Paths of a column's leaves, as Parquet has them: by the footer of an empty file."""
    sunk = io.BytesIO()
    pq.write_table(pa.schema([item]).empty_table(), sunk)
    schema = pq.read_metadata(sunk).schema
    return [schema.column(i).path for i in range(len(schema))]


def media_of(schema: pa.Schema) -> frozenset[str]:
    """Columns that are media by the note of `datasets` in a schema's metadata; none where there is no such note."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return frozenset(name for name in schema.names if _is_media(features.get(name)))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return frozenset()


def _is_media(feature: Any) -> bool:
    """A feature, or one within it, is media."""
    if isinstance(feature, list):
        return any(map(_is_media, feature))
    if not isinstance(feature, dict):
        return False
    return feature.get("_type") in MEDIA or any(map(_is_media, feature.values()))


def holds_bytes(kind: pa.DataType) -> bool:
    """Whether values of a type hold bytes, at any depth: what an image's column does, unless it names files."""
    if pa.types.is_nested(kind):
        return any(holds_bytes(kind.field(i).type) for i in range(kind.num_fields))
    return is_bytes(kind)
