"""Clusters of rows from their embeddings: SemDeDup (Abbas et al., arXiv 2303.09540, 2023), with verified leaders.

Rows are compared within cells of k-means, and each is in its two nearest: of pairs with a cosine of .91, a tenth would
be parted by one cell each. Pairs that are near enough are joined, and in what they join the best row takes those that
resemble it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import xxhash

from poolsieve.filters.duplicates.alike import Groups, Measure, families
from poolsieve.filters.duplicates.bands import Edges, Rows
from poolsieve.filters.duplicates.cells import centres, members, nearest_two
from poolsieve.filters.duplicates.characters import Bytes
from poolsieve.filters.duplicates.clusters import Bools, Clusters
from poolsieve.filters.duplicates.giants import CAP
from poolsieve.filters.duplicates.hamming import thinned
from poolsieve.filters.duplicates.leaders import best_equal, best_first
from poolsieve.filters.duplicates.roots import Ints
from poolsieve.filters.duplicates.sketch import BINS
from poolsieve.filters.duplicates.vectors import Vectors, cosines, paired, products

WHOLE = 4096
"""Different vectors up to which all are compared with all, if the number of cells is not given."""

_ROWS = 1024
"""Rows of a cell that are compared with it in one go."""

_KEPT = 1 << 22


class Meanings(NamedTuple):
    """Clusters, and how many cells had more rows than the cap and were cut."""

    clusters: Clusters
    crowded: int


def meaning_clusters(
    rows: Rows, vectors: Vectors, some: Bools, score: Any, *, threshold: float, cells: int | None = None, cap: int = CAP
) -> Meanings:
    """Clusters of n rows, of which each stands once in `rows`.

    Args:
        rows: uint64 (n,), in any order.
        vectors: int16 (n, width), of `vectors.directions`; equal ones are copies.
        some: bool (n,): which rows have one.
        score: (n,) numbers, of which the largest is best; None where no row is better than another.
        threshold: cosine from which a row stands for another.
        cells: of k-means; None: one up to `WHOLE` rows, then the root of their number.
        cap: rows of the largest cell and of the largest component.
    """
    hashes = _hashes(vectors)
    hashes[~some] = 0
    rank = best_first(score, hashes, rows)
    best = np.arange(len(rows))
    there = np.flatnonzero(some)
    best[there] = there[best_equal(hashes[there], rank[there])]
    at = there[best[there] == there]
    at = at[np.lexsort(hashes[at].T[::-1])]  # by hash: an order that has nothing to do with the pool's
    measure, crowded = _measure(vectors[at], threshold, cells, cap)
    found, cosine = families(rows, rank, best, Groups(at, np.arange(len(at))), measure, cap)
    return Meanings(found._replace(similarity=cosine.astype(np.float32)), crowded)


def _hashes(vectors: Vectors) -> Bytes:
    """uint8 (n, 16): of each vector's bytes."""
    rows = np.ascontiguousarray(vectors.astype("<i2", copy=False))
    joined = b"".join([xxhash.xxh3_128_digest(row) for row in rows])
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, 16).copy()


def _measure(vectors: Vectors, threshold: float, cells: int | None, cap: int) -> tuple[Measure, int]:
    squares = paired(vectors, vectors)

    def cosine(first: Ints, second: Ints) -> Any:
        return cosines(paired(vectors[first], vectors[second]), squares[first], squares[second])

    made = _Near(vectors, squares, threshold)
    crowded = _compare(made, _count(len(vectors), cells), cap) if len(vectors) else 0
    edges = made.whole()
    # All alike, so that a component beyond the cap is cut by the order of hashes: a flood of near embeddings would fall
    # apart at the next higher cosine, and nothing of it would go.
    equal = np.full(len(edges), BINS, dtype=np.int16)
    return Measure(edges, equal, cosine, threshold, np.float64(1)), crowded


def _count(rows: int, cells: int | None) -> int:
    if cells is not None:
        return min(cells, rows)
    return 1 if rows <= WHOLE else math.isqrt(rows)


def _compare(made: _Near, count: int, cap: int) -> int:
    """Compares the rows of each cell; how many cells were too large for that."""
    middles = centres(made.vectors, count) if count > 1 else made.vectors[:1]
    crowded = 0
    for cell, at in members(nearest_two(made.vectors, middles)):
        if len(at) <= cap:
            made.add(at)
            continue
        crowded += 1
        order = np.argsort(-products(made.vectors[at], middles[cell : cell + 1])[:, 0], kind="stable")
        for first in range(0, len(at), cap):
            made.add(at[order[first : first + cap]])
    return crowded


class _Near:
    """Edges so far between different vectors."""

    def __init__(self, vectors: Vectors, squares: Ints, threshold: float) -> None:
        self.vectors, self.squares, self.threshold = vectors, squares, threshold
        self.edges, self.count = [np.empty((0, 2), dtype=np.uint64)], 0

    def add(self, at: Ints) -> None:
        """Compares the vectors at some places, all with all."""
        there = self.vectors[at].astype(np.float32)
        least = self.threshold * float(self.squares[at].min()) * (1 - 2.0**-20)  # of all pairs that may be near
        for start in range(0, len(at), _ROWS):
            found = there[start : start + _ROWS] @ there[start:].T
            first, second = np.nonzero(found >= np.float32(least))
            upper = second > first
            first, second = first[upper], second[upper]
            self._take(at[start + first], at[start + second], found[first, second])

    def _take(self, first: Ints, second: Ints, product: Any) -> None:
        near = cosines(product, self.squares[first], self.squares[second]) >= self.threshold
        self.edges.append(np.stack([first[near], second[near]], axis=1).astype(np.uint64))
        self.count += int(near.sum())
        if self.count > _KEPT + 2 * len(self.vectors):
            edges = self.whole()
            self.edges = [thinned(edges, np.zeros(len(edges), dtype=np.int16), len(self.vectors))[0]]
            self.count = len(self.edges[0])

    def whole(self) -> Edges:
        """All of them."""
        return np.concatenate(self.edges)
