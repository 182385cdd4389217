"""Candidates are looked at again: an edge stays if the sketches of its rows say so.

Unverified, rows that have little in common are joined: by chance, and by chains of others that do.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from poolsieve.filters.duplicates.bands import Edges, Rows
from poolsieve.filters.duplicates.characters import Bytes
from poolsieve.filters.duplicates.roots import roots
from poolsieve.filters.duplicates.sketch import BINS

CHUNK = 1 << 14
"""Pairs of sketches that are compared at a time."""

STEPS = tuple(Fraction(step, 20) for step in range(12, 21))
"""Similarities (.6 to 1) that edges of a component beyond the cap are held to, one after the other."""

Counts = np.ndarray[Any, np.dtype[np.int16]]


def least_equal(threshold: float | str | Decimal | Fraction) -> int:
    """How many bytes must be equal for an estimate of at least `threshold`, in the decimal that was written.

    >>> least_equal(0.5), least_equal(0.55), least_equal(1)
    (129, 142, 256)
    """
    return math.ceil(Fraction(str(threshold)) * (BINS - 1) + 1)


def equal_bytes(sketches: Bytes, first: Any, second: Any) -> Counts:
    """int16 (m,): equal bytes of the sketches at places `first` and `second`, int64 (m,) both."""
    made = np.empty(len(first), dtype=np.int16)
    for start in range(0, len(first), CHUNK):
        part = slice(start, start + CHUNK)
        made[part] = (sketches[first[part]] == sketches[second[part]]).sum(axis=1, dtype=np.int16)
    return made


def counted(edges: Edges, rows: Rows, sketches: Bytes) -> Counts:
    """int16 (m,): equal bytes of each edge's two rows.

    Args:
        edges: of `rows`.
        rows: ascending.
        sketches: uint8 (n, 256), theirs.
    """
    places = np.searchsorted(rows, edges)
    return equal_bytes(sketches, places[:, 0], places[:, 1])


def contracted(edges: Edges, equal: Counts) -> tuple[Edges, Counts]:
    """As few edges as have the same components, at each of the similarities that `capped` may hold them to.

    From the highest similarity down, an edge is kept if it joins what none above it does (Kruskal's forest of the most
    similar); of its bytes only the step that they reach is kept. There are fewer of these edges than rows.
    """
    nodes, places = np.unique(edges, return_inverse=True)
    first, second = np.ascontiguousarray(places.reshape(-1, 2).T)
    levels = np.array([0, *map(least_equal, STEPS)])
    reached = np.searchsorted(levels, equal, side="right") - 1
    label, made, held = np.arange(len(nodes)), [np.empty((0, 2), np.uint64)], [np.empty(0, np.int16)]
    for step in range(len(levels) - 1, -1, -1):
        some = reached == step
        root = roots(len(nodes), label[first[some]], label[second[some]])
        moved = np.flatnonzero(root != np.arange(len(nodes)))
        made.append(np.stack([nodes[root[moved]], nodes[moved]], axis=1))
        held.append(np.full(len(moved), levels[step], dtype=np.int16))
        label = root[label]
    return np.concatenate(made), np.concatenate(held)
