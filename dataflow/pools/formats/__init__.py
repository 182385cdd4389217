"""Formats of pools and exports, each one thing: a reader, a loss-free copy and a builder, registered here once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from poolsieve.dataflow.pools.formats.base import Reader
from poolsieve.dataflow.pools.formats.jsonl.read import JsonlReader
from poolsieve.dataflow.pools.formats.parquet.read import ParquetReader
from poolsieve.dataflow.pools.formats.webdataset.read import WebDatasetReader


@dataclass(frozen=True)
class Format:
    """One kind of file."""

    name: str
    reader: Reader


FORMATS: Mapping[str, Format] = {
    made.name: made
    for made in (
        Format("parquet", ParquetReader()),
        Format("webdataset", WebDatasetReader()),
        Format("jsonl", JsonlReader()),
    )
}
"""Name -> format: kinds of pool, and what an export may be written as."""
