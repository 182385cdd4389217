"""Artefacts that say which hashes come again in a pool, and how often: parted by the first bits of the hash.

A block is the hashes of a shard with one prefix, ascending, with their counts: 16 bytes each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.passes.artefacts.kinds import Good, Kind
from poolsieve.filters.words.mixing import first_bits

RECORD = np.dtype([("hash", "<u8"), ("count", "<i8")])
"""A hash and how often it was seen."""

Records = np.ndarray[Any, Any]

PENDING = 1 << 21
"""Hashes of a shard that are gathered before they are counted together, at least."""


class Repeats(Kind):
    """Of a scorer's `hashes` those that come twice or more, ascending, and how often."""

    asked = "hashes"

    def sent(self, batches: Iterable[Good]) -> Iterator[tuple[int, bytes]]:
        """The distinct hashes of a shard."""
        made, pending = np.empty(0, dtype=RECORD), Pending()
        for batch in batches:
            for hashes in self.scorer.hashes(batch.roles):
                pending.add(hashes)
                if pending.count >= max(PENDING, len(made)):  # so that adding up takes no square of the shard's length
                    made = added(made, pending.take())
        yield from packed(added(made, pending.take()), self.bits)

    def joined(self, blocks: Iterable[bytes]) -> pa.Table:
        """`hash` (uint64) and `count` (int64)."""
        whole = added(*(np.frombuffer(block, dtype=RECORD) for block in blocks))
        whole = whole[whole["count"] > 1]
        return pa.table({"hash": whole["hash"].copy(), "count": whole["count"].copy()})


class Pending:
    """Hashes that wait to be counted together."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray[Any, Any]] = []
        self.count = 0

    def add(self, hashes: np.ndarray[Any, Any]) -> None:
        """Some more: uint64 (n,)."""
        self.parts.append(hashes)
        self.count += len(hashes)

    def take(self) -> Records:
        """All of them, once each, with their counts; none are left."""
        found, counts = np.unique(np.concatenate([np.empty(0, np.uint64), *self.parts]), return_counts=True)
        self.parts, self.count = [], 0
        made = np.empty(len(found), dtype=RECORD)
        made["hash"], made["count"] = found, counts
        return made


def added(*records: Records) -> Records:
    """`RECORD` (n,): each hash once, ascending, with the sum of its counts."""
    whole = np.concatenate([np.empty(0, dtype=RECORD), *records])
    whole = whole[np.argsort(whole["hash"], kind="stable")]
    if not len(whole):
        return whole
    firsts = np.flatnonzero(np.concatenate([[True], whole["hash"][1:] != whole["hash"][:-1]]))
    made = whole[firsts]
    made["count"] = np.add.reduceat(whole["count"], firsts)
    return made


def packed(records: Records, bits: int) -> Iterator[tuple[int, bytes]]:
    """(first bits of the hash, records with them); `records` are ascending, and each block is too."""
    values, firsts = np.unique(first_bits(records["hash"], bits), return_index=True)
    for value, part in zip(values.tolist(), np.split(records, firsts[1:]), strict=False):
        yield value, part.tobytes()
