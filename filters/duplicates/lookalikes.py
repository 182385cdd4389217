"""Clusters of pictures from their two perceptual hashes: copies first, then hashes that differ in few bits.

Two pictures look alike if their pHashes are near, or their dHashes: what is written over a picture moves the one, and
what makes it so light that parts of it are white moves the other. Skies and blurred walls get lighter to one side, and
of all such the dHash is nearly the same; so it may differ in less than half as many bits as it has changes, and one of
few changes says nothing. Without that, one of 400 pairs of different cuts of photographs was near, and with it one of
38,000 (`benchmarks/dedup_images.py`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from poolsieve.filters.duplicates import runs
from poolsieve.filters.duplicates.alike import Groups, Measure, families
from poolsieve.filters.duplicates.bands import Rows
from poolsieve.filters.duplicates.characters import Bytes
from poolsieve.filters.duplicates.clusters import Bools, Clusters
from poolsieve.filters.duplicates.hamming import BITS, Allowed, Counts, Pairs, bits_apart, near_pairs
from poolsieve.filters.duplicates.leaders import best_equal, best_first
from poolsieve.filters.duplicates.roots import Ints
from poolsieve.filters.duplicates.sketch import BINS
from poolsieve.filters.words.mixing import Hashes

FEWEST = 12
"""Changes of a dHash, of 112, from which it says something."""


CAP = 100_000
"""Different pictures of a component beyond which it is split; more than of texts, since a comparison is a few bytes."""


class Looks(NamedTuple):
    """Clusters, and how many different hashes were in a crowd (`hamming.CROWD`)."""

    clusters: Clusters
    crowded: int


def picture_clusters(
    rows: Rows, hashes: Bytes, pictures: Bytes, some: Bools, score: Any, *, distance: int, cap: int = CAP
) -> Looks:
    """Clusters of n rows, of which each stands once in `rows`.

    Args:
        rows: uint64 (n,), in any order.
        hashes: uint8 (n, 16): rows with equal ones are copies.
        pictures: uint8 (n, 16), dHash and pHash.
        some: bool (n,): which rows have them.
        score: (n,) numbers, of which the largest is best; None where no row is better than another.
        distance: bits in which a row may differ from the one that stands for it.
        cap: different pictures of the largest component.
    """
    rank = best_first(score, hashes, rows)
    best = best_equal(hashes, rank)
    at = np.flatnonzero((best == np.arange(len(rows))) & some)
    different, group = np.unique(pictures[at], axis=0, return_inverse=True)
    measure, crowded = Looked(different).measure(distance)
    found, equal = families(rows, rank, best, Groups(at, group.reshape(-1)), measure, cap)
    return Looks(found._replace(similarity=(equal / np.float32(BITS)).astype(np.float32)), crowded)


def changes(dhashes: Hashes) -> Counts:
    """int16 (n,): how many of 112 neighbours, across and down, differ among the 8 x 8 bits of uint64 (n,)."""
    bits = np.unpackbits(dhashes.astype(">u8").view(np.uint8), bitorder="big").reshape(-1, 8, 8)
    across, down = bits[:, :, 1:] != bits[:, :, :-1], bits[:, 1:] != bits[:, :-1]
    return (across.sum(axis=(1, 2)) + down.sum(axis=(1, 2))).astype(np.int16)


class Looked:
    """The dHashes and pHashes of uint8 (m, 16)."""

    def __init__(self, pictures: Bytes) -> None:
        self.dhash, self.phash = np.ascontiguousarray(pictures).view(">u8").astype(np.uint64).T.copy()
        self.changes = changes(self.dhash)

    def measure(self, distance: int) -> tuple[Measure, int]:
        """How they resemble one another, and how many hashes were crowded."""
        says = np.flatnonzero(self.changes >= FEWEST)
        first = _edges(self.dhash, says, distance, lambda a, b, apart: self._allowed(says[a], says[b], apart))
        second = _edges(self.phash, np.arange(len(self.phash)), distance, None)
        edges, apart = np.concatenate([first.edges, second.edges]), np.concatenate([first.apart, second.apart])
        equal = (BINS - BINS // BITS * apart).astype(np.int16)
        measure = Measure(edges, equal, self.equal_bits, BITS - distance, np.int16(BITS))
        return measure, first.crowded + second.crowded

    def _allowed(self, first: Ints, second: Ints, apart: Counts) -> Bools:
        return 2 * apart < np.minimum(self.changes[first], self.changes[second])

    def equal_bits(self, first: Ints, second: Ints) -> Counts:
        """int16 (n,): of the hash by which two pictures are nearer, and which may say so."""
        by_dhash = bits_apart(self.dhash[first], self.dhash[second])
        fewest = np.minimum(self.changes[first], self.changes[second])
        by_dhash[(fewest < FEWEST) | (2 * by_dhash >= fewest)] = BITS
        return BITS - np.minimum(by_dhash, bits_apart(self.phash[first], self.phash[second]))


def _edges(hashes: Hashes, at: Ints, distance: int, allowed: Allowed | None) -> Pairs:
    """Edges between the pictures at `at` by one hash.

    `allowed` is told places among `at`. Equal hashes are a star: from one picture to each other one.
    """
    order = at[np.argsort(hashes[at], kind="stable")]
    begin = runs.begins(hashes[order])
    one = order[begin]
    where = np.searchsorted(at, one)
    fine: Allowed | None = None if allowed is None else lambda a, b, apart: allowed(where[a], where[b], apart)
    pairs = near_pairs(hashes[one], distance, fine)
    heads, others = order[runs.heads(begin)][~begin], order[~begin]
    edges = np.concatenate([one[pairs.edges.astype(np.int64)], np.stack([heads, others], axis=1)])
    apart = np.concatenate([pairs.apart, np.zeros(len(others), dtype=np.int16)])
    return Pairs(edges.astype(np.uint64), apart, pairs.crowded)
