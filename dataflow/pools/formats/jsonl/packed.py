"""A file of JSON lines that is being written: one zstd frame, since many readers stop after the first."""

from __future__ import annotations

from typing import IO, cast

import zstandard

from poolsieve.dataflow.pools.formats.outgoing import Sink

LEVEL = 3
"""zstd's own usual level."""

SCORES = "poolsieve"
"""The key that holds a line's scores."""


def packed(sink: Sink) -> zstandard.ZstdCompressionWriter:
    """A stream into `sink`, which ends with its block and leaves the sink open."""
    return zstandard.ZstdCompressor(level=LEVEL).stream_writer(cast(IO[bytes], sink), closefd=False)
