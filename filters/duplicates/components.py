"""Connected components, each labelled by its least row: so any algorithm, any order and any split gives the same.

By hooking and pointer jumping (Shiloach and Vishkin, "An O(log n) parallel connectivity algorithm", 1982).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from poolsieve.filters.duplicates.bands import Edges, Rows

Ints = np.ndarray[Any, np.dtype[np.int64]]


class Components(NamedTuple):
    """Rows that have an edge, ascending, and the least row of the component of each: uint64 (k,) both."""

    rows: Rows
    labels: Rows

    def forest(self) -> Edges:
        """As few edges as have the same components: what is left of a part's edges when it is handed on."""
        some = self.rows != self.labels
        return np.stack([self.labels[some], self.rows[some]], axis=1)


def components(edges: Edges) -> Components:
    """Components of uint64 (m, 2) edges, which may come in any order, in either direction and more than once."""
    rows, places = np.unique(edges, return_inverse=True)
    first, second = places.reshape(-1, 2).T
    return Components(rows, rows[_roots(len(rows), first, second)])


def _roots(count: int, first: Ints, second: Ints) -> Ints:
    """int64 (count,): the least node that is reached from each by edges between `first` and `second`."""
    root = np.arange(count)
    while len(first):
        a, b = root[first], root[second]
        apart = np.flatnonzero(a != b)
        first, second, a, b = first[apart], second[apart], a[apart], b[apart]
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
        _jump(root)
    return root


def _jump(root: Ints) -> None:
    """Has each node point at the end of its path, which is never above it."""
    while True:
        further = root[root]
        if (further == root).all():
            return
        root[:] = further
