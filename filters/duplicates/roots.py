"""The least node that each node is joined with, by one of two ways that give the same.

NumPy hooks and jumps (Shiloach and Vishkin, "An O(log n) parallel connectivity algorithm", 1982), and what is joined
then becomes one node of a smaller graph (Boruvka's way). With numba (extra `numba`) edges are joined one after the
other, the larger root below the smaller one: Rem's algorithm with splicing, as in Patwary, Blair and Manne,
"Experiments on Union-Find Algorithms for the Disjoint-Set Data Structure" (SEA 2010), in a fifth of the time.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np

Ints = np.ndarray[Any, np.dtype[np.int64]]

Nodes = np.ndarray[Any, np.dtype[Any]]

AT_ONCE = 1 << 22
"""Edges, or nodes, that NumPy looks at together: it makes arrays of as many numbers."""

MANY = 2_000_000
"""Edges from which it pays to load numba, in each process."""


def roots(count: int, first: Ints, second: Ints) -> Nodes:
    """The least node that is reached from each by edges between `first` and `second`, int64 (m,).

    uint32 (count,), or uint64 where that is too small: half of the memory is half of the time.
    """
    if len(first) >= MANY and importlib.util.find_spec("numba") is not None:
        return joined(count, first, second)
    return hooked(count, first, second)


def _each(count: int) -> Nodes:
    return np.arange(count, dtype=np.uint32 if count < 1 << 32 else np.uint64)


def joined(count: int, first: Ints, second: Ints) -> Nodes:
    """The same by numba, which must be installed."""
    from poolsieve.filters.duplicates import compiled

    root = _each(count)
    compiled.join(root, first, second)
    return root


def hooked(count: int, first: Ints, second: Ints) -> Nodes:
    """The same by NumPy."""
    return _least(count, [(first[part], second[part]) for part in _parts(len(first))])


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, start + AT_ONCE) for start in range(0, count, AT_ONCE))


def _least(count: int, edges: list[tuple[Any, Any]]) -> Nodes:
    """The same of edges in parts, which are given up. Each level has half as many nodes that are not done, or fewer."""
    root = _each(count)
    for a, b in edges:
        np.minimum.at(root, np.maximum(a, b).astype(np.intp, copy=False), np.minimum(a, b).astype(root.dtype))
    _jump(root)
    tops = _renumbered(root)
    left = [ends for a, b in edges if len((ends := _ends(root, a, b))[0])]
    edges.clear()
    if left:
        tops = tops[_least(len(tops), left)]
    for part in _parts(count):
        root[part] = tops[root[part]]
    return root


def _jump(root: Nodes) -> None:
    """Has each node point at the end of its path; it is never above it, so that the parts before are done."""
    for part in _parts(len(root)):
        further = root[root[part]]
        while not np.array_equal(further, root[part]):
            root[part] = further
            further = root[further]


def _renumbered(root: Nodes) -> Nodes:
    """The ends of all paths, ascending; each node points at the place of its end among them afterwards."""
    nodes, found, count = _each(min(len(root), AT_ONCE)), [root[:0]], 0
    for part in _parts(len(root)):
        here = root[part]
        ends = here == nodes[: len(here)] + root.dtype.type(part.start)
        places, held = np.flatnonzero(ends), here[~ends]
        here[ends] = np.arange(count, count + len(places))
        here[~ends] = root[held]
        found.append((places + part.start).astype(root.dtype))
        count += len(places)
    return np.concatenate(found)


def _ends(root: Nodes, a: Any, b: Any) -> tuple[Nodes, Nodes]:
    """Edges between what their nodes point at, without those that join nothing."""
    a, b = root[a], root[b]
    apart = np.flatnonzero(a != b)
    return a[apart], b[apart]
