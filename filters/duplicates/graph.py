"""Edges as places among their rows: what components take of memory is then some bytes for each, and not a copy of all.

Edges come as packed blocks, which are looked at one after the other: once for their rows, and once for where these are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from poolsieve.filters.duplicates import runs
from poolsieve.filters.duplicates.bands import Edges, Rows
from poolsieve.filters.duplicates.edges import Counts

EDGE = np.dtype([("first", "<u8"), ("second", "<u8"), ("equal", "<i2")])
"""An edge, and the equal bytes of its two sketches."""

Places = np.ndarray[Any, Any]
"""(m,) places among rows: uint32, or int64 where there are more than have one of 32 bits."""

Records = np.ndarray[Any, Any]


class Graph(NamedTuple):
    """Edges between rows.

    Attributes:
        rows: uint64 (k,), ascending.
        first: (m,) places among them.
        second: (m,) places among them.
        equal: int16 (m,), equal bytes of the two.
    """

    rows: Rows
    first: Places
    second: Places
    equal: Counts

    @classmethod
    def of(cls, edges: Edges, equal: Counts) -> Graph:
        """Of uint64 (m, 2) edges, in any order and direction."""
        made = np.empty(len(edges), dtype=EDGE)
        made["first"], made["second"], made["equal"] = edges[:, 0], edges[:, 1], equal
        return cls.of_blocks([made])

    @classmethod
    def of_blocks(cls, blocks: Sequence[Records]) -> Graph:
        """Of `EDGE` records."""
        rows = rows_of(block[name] for block in blocks for name in ("first", "second"))
        kind = np.dtype(np.uint32) if len(rows) <= 1 << 32 else np.dtype(np.int64)
        count = sum(map(len, blocks))
        made = cls(rows, np.empty(count, kind), np.empty(count, kind), np.empty(count, np.int16))
        begin = 0
        for block in blocks:
            here = slice(begin, begin + len(block))
            made.first[here] = np.searchsorted(rows, block["first"])
            made.second[here] = np.searchsorted(rows, block["second"])
            made.equal[here], begin = block["equal"], here.stop
        return made


def rows_of(parts: Iterable[Rows]) -> Rows:
    """uint64 (k,): each row once, ascending."""
    found = np.concatenate([np.empty(0, np.uint64), *map(np.unique, parts)])
    found.sort()
    return found[runs.begins(found)]
