"""Rows of another corpus, as arrays in memory: which of them a sketch is nearest to."""

from __future__ import annotations

from typing import Any

import numpy as np

from poolsieve.filters.duplicates import runs
from poolsieve.filters.duplicates.bands import Bands
from poolsieve.filters.duplicates.characters import Bytes
from poolsieve.filters.duplicates.edges import CHUNK, Counts
from poolsieve.filters.duplicates.roots import Ints

MOST = 64
"""Rows that are looked at of those that have a whole band in common with a row: the first, in the order of their
hashes. A template of a million pages would otherwise cost a million comparisons a row."""

BLOCK = 1024
"""Rows that are looked up at a time."""

NONE = -1
"""The place of no row."""


class Nearest:
    """Sketches by their bands: 256 bytes a row, and 12 for each band.

    Args:
        sketches: uint8 (k, 256).
        bands: how candidates are found.
    """

    def __init__(self, sketches: Bytes, bands: Bands) -> None:
        self.sketches, self.bands = sketches, bands
        self._bands = [self._sorted(band) for band in range(bands.count)]

    def _sorted(self, band: int) -> tuple[Any, Any]:
        """uint64 (k,): keys of a band, ascending; int32 (k,): whose they are."""
        keys = self.bands.keys(self.sketches, band)
        order = np.argsort(keys, kind="stable")
        return keys[order], order.astype(np.int32)

    def of(self, asked: Bytes) -> tuple[Ints, Counts]:
        """(places, equal): int64 (n,), the nearest of each of uint8 (n, 256), or `NONE`; int16 (n,), equal bytes.

        The first of several that are as near.
        """
        places, equal = np.full(len(asked), NONE), np.zeros(len(asked), np.int16)
        for start in range(0, len(asked), BLOCK):
            here = slice(start, start + BLOCK)
            places[here], equal[here] = self._block(asked[here])
        return places, equal

    def _block(self, asked: Bytes) -> tuple[Ints, Counts]:
        places, equal = np.full(len(asked), NONE), np.zeros(len(asked), np.int16)
        rows, at = self._candidates(asked)
        found = self._equal(asked, rows, at)
        order = np.lexsort((at, -found, rows))
        best = order[runs.begins(rows[order])]
        places[rows[best]], equal[rows[best]] = at[best], found[best]
        return places, equal

    def _candidates(self, asked: Bytes) -> tuple[Ints, Ints]:
        """Pairs of (row asked for, row known) that have a band in common, each once."""
        found = [np.empty(0, np.int64)]
        for band, (keys, owners) in enumerate(self._bands):
            wanted = self.bands.keys(asked, band)
            first = np.searchsorted(keys, wanted, side="left")
            counts = np.minimum(np.searchsorted(keys, wanted, side="right") - first, MOST)
            rows = np.repeat(np.arange(len(asked)), counts)
            inside = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
            found.append(rows * len(keys) + owners[first[rows] + inside])
        both = np.unique(np.concatenate(found))
        return np.divmod(both, max(1, len(self.sketches)))

    def _equal(self, asked: Bytes, rows: Ints, at: Ints) -> Counts:
        made = np.empty(len(rows), np.int16)
        for start in range(0, len(rows), CHUNK):
            part = slice(start, start + CHUNK)
            made[part] = (asked[rows[part]] == self.sketches[at[part]]).sum(axis=1, dtype=np.int16)
        return made
