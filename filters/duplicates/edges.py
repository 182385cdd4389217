"""Candidates are looked at again: an edge stays if the sketches of its rows say so.

Unverified, rows that have little in common are joined: by chance, and by chains of others that do.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from poolsieve.filters.duplicates import runs
from poolsieve.filters.duplicates.bands import Edges, Rows
from poolsieve.filters.duplicates.characters import Bytes
from poolsieve.filters.duplicates.components import Components, components
from poolsieve.filters.duplicates.roots import roots
from poolsieve.filters.duplicates.sketch import BINS

CHUNK = 1 << 14
"""Pairs of sketches that are compared at a time."""

CAP = 20_000
"""Rows of a component beyond which it is split: within one, leaders take the square of its size."""

STEPS = tuple(Fraction(step, 20) for step in range(12, 21))
"""Similarities (.6 to 1) that edges of a component beyond the cap are held to, one after the other."""

TOGETHER = 1024
"""Rows of what a split component came to that are looked at together all the same, for their number is no danger."""

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


def capped(edges: Edges, equal: Counts, cap: int = CAP) -> tuple[Components, int]:
    """Components of at most `cap` rows, and how many had more.

    The edges of one that has more are held to ever higher similarities; what is too large even so, rows with one and
    the same sketch, is cut by the order of its rows. What comes of it is put together again, in that order, as far as
    `TOGETHER`: a flood of rows that are all near to one another falls apart at one step, and most of it is to go.
    Nothing of this depends on the order of the edges.

    Args:
        edges: verified ones.
        equal: int16 (m,), their equal bytes.
        cap: rows.
    """
    whole = found = components(edges)
    split = over = _over(found, cap)
    if not over.any():
        return found, 0
    for step in STEPS:
        if not over.any():
            break
        inside = over[np.searchsorted(found.rows, edges[:, 0])]
        stays = ~inside | (equal >= least_equal(step))
        edges, equal = edges[stays], equal[stays]
        found = _with_all(found.rows, components(edges))
        over = _over(found, cap)
    found = _cut(found, cap) if over.any() else found
    return _put_together(found, whole.labels, split, min(cap // 2, TOGETHER)), len(np.unique(whole.labels[split]))


def _over(found: Components, cap: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """bool (k,): which rows are in a component of more than `cap`."""
    return np.asarray(_sizes(found.labels) > cap)


def _with_all(rows: Rows, found: Components) -> Components:
    """The same with rows that have no edge any more, each its own component."""
    labels = rows.copy()
    labels[np.searchsorted(rows, found.rows)] = found.labels
    return Components(rows, labels)


def _put_together(found: Components, giant: Rows, split: np.ndarray[Any, np.dtype[np.bool_]], most: int) -> Components:
    """With neighbouring components of one giant as one, of less than twice `most` rows.

    Args:
        found: what giants, and others, came to.
        giant: uint64 (k,), the component that each row was in at first.
        split: bool (k,), whether that one was split.
        most: rows.
    """
    made, at = found.labels.copy(), np.flatnonzero(split)
    order = at[np.lexsort((found.rows[at], found.labels[at], giant[at]))]
    label, sizes = found.labels[order], _sizes(found.labels[order])
    order, label = order[sizes <= most], label[sizes <= most]
    begins = np.flatnonzero(runs.begins(giant[order]))
    place = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
    bins = place[runs.heads(runs.begins(label))] // most  # by where each begins
    first = runs.heads(runs.begins(np.stack([giant[order], bins.astype(np.uint64)], axis=1)))
    made[order] = label[first]
    return Components(found.rows, made)


def _sizes(labels: Rows) -> np.ndarray[Any, np.dtype[np.intp]]:
    """How many rows have each row's label."""
    _, where, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    return np.asarray(sizes[where])


def _cut(found: Components, cap: int) -> Components:
    order = np.argsort(found.labels, kind="stable")
    labels = found.labels[order]
    _, firsts = np.unique(labels, return_index=True)
    place = np.arange(len(order)) - np.repeat(firsts, np.diff(firsts, append=len(order)))
    made = found.labels.copy()
    made[order] = found.rows[order][np.arange(len(order)) - place % cap]
    return Components(found.rows, made)
