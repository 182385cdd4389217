"""Candidates for near duplicates: rows whose sketches have a whole band of bytes in common (Leskovec, Rajaraman and
Ullman, "Mining of Massive Datasets", 3.4).

A band record is 16 bytes, a key of the band and a row. Records of one key are a bucket, and a bucket is a star: an edge
from its least row to each other one. So a bucket of a million rows has a million edges, and its component is found in
one round, where a chain of neighbours would take twenty.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from poolsieve.filters.duplicates import runs
from poolsieve.filters.duplicates.characters import Bytes
from poolsieve.filters.duplicates.sketch import BINS
from poolsieve.filters.words.mixing import Hashes, first_bits, mixed
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short

RECORD = np.dtype([("key", "<u8"), ("row", "<u8")])
"""A band record."""

Rows = Hashes
"""uint64 (n,): keys of rows; their order is that of (path, row)."""

Records = np.ndarray[Any, Any]
Edges = np.ndarray[Any, np.dtype[np.uint64]]
"""uint64 (m, 2): pairs of rows, the lesser first."""

_WORD = 8


@dataclass(frozen=True, eq=False)
class Bands(Config):
    """How a sketch's 256 bytes are cut into bands.

    Two texts of similarity J become candidates with a probability of about 1 - (1 - J^size)^count.

    Args:
        count: bands.
        size: bytes of a band; below 4, chance makes candidates in a pool of millions, which are verified for nothing.
    """

    count: int = 42
    size: int = 6

    def __post_init__(self) -> None:
        for name, value in (("count", self.count), ("size", self.size)):
            if type(value) is not int or value < 1:
                raise PlanError(f"Bands({name}={short(value)}): must be a whole number, 1 or more")
        if self.count * self.size > BINS:
            raise PlanError(f"Bands({self.count}, {self.size}): more than the {BINS} bytes of a sketch")

    def keys(self, sketches: Bytes, band: int) -> Hashes:
        """uint64 (n,): the key of one band of each sketch, uint8 (n, 256); two bands share keys by chance alone."""
        part = sketches[:, band * self.size : (band + 1) * self.size]
        made = np.full(len(sketches), band, dtype=np.uint64)
        for start in range(0, self.size, _WORD):
            word = np.zeros((len(sketches), _WORD), dtype=np.uint8)
            word[:, : min(_WORD, self.size - start)] = part[:, start : start + _WORD]
            made = mixed(mixed(made) + word.view("<u8")[:, 0])
        return made

    def records(self, sketches: Bytes, rows: Rows) -> Iterator[Records]:
        """`RECORD` (n,) of each band in turn."""
        for band in range(self.count):
            made = np.empty(len(rows), dtype=RECORD)
            made["key"], made["row"] = self.keys(sketches, band), rows
            yield made


def packed(records: Records, bits: int) -> Iterator[tuple[int, bytes]]:
    """(first bits of the key, records with them), ascending: what goes through a shuffle as one element each.

    Args:
        records: of one band.
        bits: of the prefix; 0 for a single block.
    """
    prefix = first_bits(records["key"], bits)
    order = np.argsort(prefix, kind="stable")
    values, firsts = np.unique(prefix[order], return_index=True)
    for value, part in zip(values.tolist(), np.split(records[order], firsts[1:]), strict=False):
        yield value, part.tobytes()


def stars(records: Records) -> Edges:
    """The edges of all buckets, once each and sorted, whatever the order of the records; a row may come twice."""
    order = np.lexsort((records["row"], records["key"]))
    keys, rows = records["key"][order], records["row"][order]
    centres = rows[runs.heads(runs.begins(keys))]
    some = centres != rows
    return distinct(np.stack([centres[some], rows[some]], axis=1))


def distinct(edges: Edges) -> Edges:
    """Each edge once, sorted."""
    edges = edges[np.lexsort((edges[:, 1], edges[:, 0]))]
    return edges[runs.begins(edges)]
