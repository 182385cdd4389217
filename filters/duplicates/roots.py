"""The least node that each node is joined with, by one of two ways that give the same.

NumPy hooks and jumps (Shiloach and Vishkin, "An O(log n) parallel connectivity algorithm", 1982). With numba (extra
`numba`) edges are joined one after the other (Tarjan, "Efficiency of a Good But Not Linear Set Union Algorithm", 1975),
the larger root below the smaller one, which takes an eighth of the time.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

Ints = np.ndarray[Any, np.dtype[np.int64]]

AT_ONCE = 1 << 24
"""Edges, or nodes, that NumPy looks at together: it makes arrays of as many numbers."""

MANY = 1_000_000
"""Edges from which it pays to compile: that takes a second in each process."""


def roots(count: int, first: Ints, second: Ints) -> Ints:
    """int64 (count,): the least node that is reached from each by edges between `first` and `second`, int64 (m,)."""
    if len(first) >= MANY and importlib.util.find_spec("numba") is not None:
        return joined(count, first, second)
    return hooked(count, first, second)


def hooked(count: int, first: Ints, second: Ints) -> Ints:
    """The same by NumPy."""
    root = np.arange(count)
    for start in range(0, len(first), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        _hook(root, first[part], second[part])
        _jump(root)
    return root


def _hook(root: Ints, a: Ints, b: Ints) -> None:
    """Has the larger root of each edge point at the smaller one, until no edge has two."""
    while len(a):
        a, b = _ends(root, a), _ends(root, b)
        apart = a != b
        a, b = a[apart], b[apart]
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))


def _ends(root: Ints, nodes: Ints) -> Ints:
    """The end of the path of each node."""
    while True:
        further = root[nodes]
        if np.array_equal(further, nodes):
            return nodes
        nodes = further


def _jump(root: Ints) -> None:
    """Has each node point at the end of its path, which is never above it; in parts, for the memory's sake."""
    moved = True
    while moved:
        moved = False
        for start in range(0, len(root), AT_ONCE):
            part = root[start : start + AT_ONCE]
            further = root[part]
            if not np.array_equal(further, part):
                moved, part[:] = True, further


def joined(count: int, first: Ints, second: Ints) -> Ints:
    """The same by numba, which must be installed."""
    root = np.arange(count)
    _compiled()(root, first, second)
    return root


@functools.cache
def _compiled() -> Callable[[Ints, Ints, Ints], None]:
    import numba

    return numba.njit(_join)  # type: ignore[no-any-return]


def _join(root: Ints, first: Ints, second: Ints) -> None:
    for i in range(len(first)):
        a, b = first[i], second[i]
        while root[a] != a:
            root[a] = root[root[a]]
            a = root[a]
        while root[b] != b:
            root[b] = root[root[b]]
            b = root[b]
        root[max(a, b)] = min(a, b)
    for node in range(len(root)):
        root[node] = root[root[node]]  # roots stand before what they hold
