"""Which rows of a component stay: each other row names one that it resembles.

In the order of a score, then of hashes, then of rows, each row that is still there is a leader, and takes the rows that
resemble it. A component's rows may resemble one another in a chain only; leaders of a chain are several.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from poolsieve.filters.duplicates import runs
from poolsieve.filters.duplicates.bands import Rows
from poolsieve.filters.duplicates.characters import Bytes
from poolsieve.filters.duplicates.edges import equal_bytes
from poolsieve.filters.duplicates.roots import Ints
from poolsieve.filters.duplicates.sketch import BINS

Alike = Callable[[Ints, Ints], np.ndarray[Any, Any]]
"""Places of m sketches and of m others -> numbers (m,), the larger the more alike."""


class Led(NamedTuple):
    """Of n rows: int64 (n,), the place of the leader of each, and (n,), how alike their sketches are: equal bytes."""

    leader: Ints
    equal: np.ndarray[Any, Any]


def best_first(score: np.ndarray[Any, Any] | None, hashes: Bytes, rows: Rows) -> Ints:
    """int64 (n,): the rank of each row, 0 for the best: the largest score (NaN last), then the least hash, then row.

    Args:
        score: (n,) numbers; None where no row is better than another.
        hashes: uint8 (n, 16).
        rows: uint64 (n,).
    """
    return ranks(rows, hashes, () if score is None else (_descending(score),))


def ranks(rows: Rows, hashes: Bytes, worse: Sequence[np.ndarray[Any, Any]]) -> Ints:
    """int64 (n,): the same where `worse` says how bad each row is: numbers, of which the last array counts most."""
    keys = np.ascontiguousarray(hashes).view(">u8")
    order = np.lexsort((rows, keys[:, 1], keys[:, 0], *worse))
    made = np.empty(len(order), dtype=np.int64)
    made[order] = np.arange(len(order))
    return made


def best_equal(hashes: Bytes, rank: Ints) -> Ints:
    """int64 (n,): the place of the best row with the same hash, uint8 (n, 16)."""
    keys = np.ascontiguousarray(hashes).view(">u8")
    order = np.lexsort((rank, keys[:, 1], keys[:, 0]))
    made = np.empty(len(order), dtype=np.int64)
    made[order] = order[runs.heads(runs.begins(keys[order]))]
    return made


def _descending(score: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Larger for worse; integers keep all of their digits."""
    if np.issubdtype(score.dtype, np.floating):
        return -score  # NaN is sorted behind all others
    return np.unique(score, return_inverse=True)[1] * -1


def leaders(labels: Rows, rank: Ints, sketches: Bytes, least: int) -> Led:
    """The leader of each row.

    Args:
        labels: uint64 (n,), the component of each.
        rank: int64 (n,), all different, as of `best_first`.
        sketches: uint8 (n, 256).
        least: bytes that a row has equal with its leader.
    """
    return taken(labels, rank, lambda first, second: equal_bytes(sketches, first, second), least, np.int16(BINS))


def taken(labels: Rows, rank: Ints, alike: Alike, least: Any, own: Any) -> Led:
    """The leader of each row by any measure.

    Args:
        labels: uint64 (n,), the component of each.
        rank: int64 (n,), all different, as of `best_first`.
        alike: of two rows.
        least: that a row has with its leader.
        own: that a row has with itself, a NumPy scalar of the measure's type.
    """
    leader = np.arange(len(labels))
    equal = np.full(len(labels), own)
    left = np.lexsort((rank, labels))
    while len(left):
        first = runs.begins(labels[left])
        best = left[runs.heads(first)]
        left, best = left[~first], best[~first]
        found = alike(best, left)
        near = found >= least
        leader[left[near]], equal[left[near]] = best[near], found[near]
        left = left[~near]
    return Led(leader, equal)
