"""k-means over directions, in whole numbers: the same cells on every machine, of any order of the rows.

Spherical k-means (Dhillon and Modha, "Concept Decompositions for Large Sparse Text Data Using Clustering", 2001) of a
sample. Sums of whole numbers are exact, and so are the products that a row's cell follows from (`vectors`): centres
need not be kept to be the same the next time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from poolsieve.filters.duplicates import runs
from poolsieve.filters.duplicates.roots import Ints
from poolsieve.filters.duplicates.vectors import Vectors, products, scaled

SAMPLE = 64
"""Vectors of the sample for each centre."""

ROUNDS = 10
"""Most that centres are moved."""

_BLOCK = 1 << 24
"""Products at a time."""


def centres(vectors: Vectors, count: int) -> Vectors:
    """int16 (count, width): k-means' of the first vectors, as many as a sample has, starting at the very first.

    Args:
        vectors: (n, width), each another one, in an order that has nothing to do with what they say.
        count: at most n.
    """
    sample, made = vectors[: SAMPLE * count], vectors[:count].copy()
    before = np.full(len(sample), -1)
    for _ in range(ROUNDS):
        nearest = nearest_two(sample, made)[:, 0]
        if (nearest == before).all():
            break
        moved, some = scaled(_sums(sample, nearest, count))
        made[some] = moved[some]  # an empty cell stays where it is
        before = nearest
    return made


def _sums(vectors: Vectors, cell: Ints, count: int) -> Any:
    """float64 (count, width): the exact sums of each cell's vectors."""
    made = np.zeros((count, vectors.shape[1]), dtype=np.int64)
    order = np.argsort(cell, kind="stable")
    for at in range(0, len(order), 1 << 13):
        part = order[at : at + (1 << 13)]
        firsts = np.flatnonzero(runs.begins(cell[part]))
        made[cell[part[firsts]]] += np.add.reduceat(vectors[part].astype(np.int64), firsts, axis=0)
    return made.astype(np.float64)


def nearest_two(vectors: Vectors, middles: Vectors) -> Ints:
    """int64 (n, 2): the nearest centre of each, of equally near ones the first, and the next one; twice an only one."""
    made = np.zeros((len(vectors), 2), dtype=np.int64)
    step = max(1, _BLOCK // len(middles))
    for at in range(0, len(vectors), step):
        found = products(vectors[at : at + step], middles)
        places = np.arange(len(found))
        made[at : at + step, 0] = found.argmax(axis=1)
        found[places, made[at : at + step, 0]] = -np.inf
        made[at : at + step, 1] = found.argmax(axis=1) if len(middles) > 1 else 0
    return made


def members(cells: Ints) -> Iterator[tuple[int, Ints]]:
    """(cell, places of those in it, ascending) of int64 (n, 2); one that has both the same is in it once."""
    place = np.repeat(np.arange(len(cells)), 2)
    cell = cells.reshape(-1)
    some = np.ones(len(cell), dtype=bool)
    some[1::2] = cells[:, 0] != cells[:, 1]
    place, cell = place[some], cell[some]
    order = np.argsort(cell, kind="stable")
    firsts = np.flatnonzero(runs.begins(cell[order]))
    for part in np.split(order, firsts[1:]) if len(order) else ():
        yield int(cell[part[0]]), place[part]
