"""All pairs of 64-bit hashes that differ in few bits: none is missed.

A hash is cut into parts. Of two hashes that differ in `distance` bits, one part differs in few: with m parts and radii
that add up to distance - m + 1, some part is within its own radius, or all together would differ in more (the general
pigeonhole principle of Qin et al., "GPH: Similarity Search in Hamming Space", ICDE 2018; to look parts up is from
Norouzi, Punjani and Fleet, "Fast Search in Hamming Space with Multi-Index Hashing", CVPR 2012). So each part is looked
up in a table with every mask of as many bits, and what is found is compared whole.

Bits of a picture's hash depend on their neighbours: parts take theirs from all over it.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from poolsieve.filters.duplicates.bands import Edges
from poolsieve.filters.duplicates.roots import Ints, roots
from poolsieve.filters.words.mixing import Hashes, mixed

BITS = 64
"""Of a hash."""

FURTHEST = 12
"""The largest distance: beyond it, pictures that have nothing in common are near, and look-ups too many."""

CROWD = 1024
"""Hashes with one part in common beyond which they are compared in the order of the whole hash, not all with all."""

WINDOW = 64
"""Hashes that each of a crowd is compared with there."""

BUDGET = 2048
"""Hashes of other keys, the nearest first, that a hash is compared with by one part."""

_PARTS = range(3, 9)
_PAIRS = 1 << 20
_KEPT = 1 << 22
"""Pairs that are compared at a time, and edges from which they are thinned out."""

Counts = np.ndarray[Any, np.dtype[np.int16]]

Allowed = Callable[[Ints, Ints, Counts], np.ndarray[Any, np.dtype[np.bool_]]]
"""Places of m hashes, those of m others, and the bits between them -> bool (m,): which of them are near."""


class Pairs(NamedTuple):
    """Edges between n hashes, uint64 (m, 2), places; int16 (m,), bits that differ; hashes that stand in a crowd."""

    edges: Edges
    apart: Counts
    crowded: int = 0


def bits_apart(first: Hashes, second: Hashes) -> Counts:
    """int16 (n,): bits in which uint64 (n,) and (n,) differ."""
    words = np.bitwise_xor(first, second).view(np.uint16).reshape(-1, 4)
    return _ones()[words].sum(axis=1, dtype=np.int16)


@functools.cache
def _ones() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 (65536,): ones in each number of 16 bits."""
    numbers = np.arange(1 << 16, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
    return np.unpackbits(numbers, axis=1).sum(axis=1, dtype=np.uint8)


def near_pairs(hashes: Hashes, distance: int, allowed: Allowed | None = None) -> Pairs:
    """Edges that join all hashes at most `distance` bits apart, and at each lesser distance those at most that apart.

    Where there are millions of pairs, edges that would close a circle are left out, so that there are about as many as
    hashes.

    Args:
        hashes: uint64 (n,), each once, ascending.
        distance: bits.
        allowed: which of the pairs that near count; all without it.
    """
    made = _Gathered(hashes, distance, allowed)
    parts, crowds = _parts(len(hashes), distance), [np.empty(0, dtype=np.int64)]
    for (bits, radius), key in zip(parts, _keys(hashes, parts), strict=True):
        crowds.append(_add_part(made, key, bits, radius))
    return Pairs(*made.whole(), crowded=len(np.unique(np.concatenate(crowds))))


class _Gathered:
    """Edges so far."""

    def __init__(self, hashes: Hashes, distance: int, allowed: Allowed | None) -> None:
        self.hashes, self.distance, self.allowed, self.count = hashes, distance, allowed, 0
        self.edges, self.apart = [np.empty((0, 2), dtype=np.uint64)], [np.empty(0, dtype=np.int16)]

    def add(self, first: Ints, second: Ints) -> None:
        """Takes those of int64 (m,) and (m,) that are near."""
        apart = bits_apart(self.hashes[first], self.hashes[second])
        near = np.flatnonzero(apart <= self.distance)
        if self.allowed is not None:
            near = near[self.allowed(first[near], second[near], apart[near])]
        self.edges.append(np.stack([first[near], second[near]], axis=1).astype(np.uint64))
        self.apart.append(apart[near])
        self.count += len(near)
        if self.count > _KEPT + 2 * len(self.hashes):
            edges, apart = thinned(*self.whole(), len(self.hashes))
            self.edges, self.apart, self.count = [edges], [apart], len(apart)

    def whole(self) -> tuple[Edges, Counts]:
        """All of them."""
        return np.concatenate(self.edges), np.concatenate(self.apart)


def thinned(edges: Edges, apart: Counts, count: int) -> tuple[Edges, Counts]:
    """Fewer edges than nodes that have the same components at every distance (Kruskal's forest, level by level).

    An edge joins the least nodes of what it joins, not the two that were so far apart.

    Args:
        edges: uint64 (m, 2).
        apart: int16 (m,).
        count: nodes.
    """
    ends, label = edges.astype(np.int64), np.arange(count)
    made, levels = [np.empty((0, 2), dtype=np.int64)], [np.empty(0, dtype=np.int16)]
    for level in np.unique(apart):
        here = label[ends[apart == level]]
        here = here[here[:, 0] != here[:, 1]]
        lower = roots(count, here[:, 0], here[:, 1])
        joined = np.flatnonzero(lower != np.arange(count))
        made.append(np.stack([lower[joined], joined], axis=1))
        levels.append(np.full(len(joined), level, dtype=np.int16))
        label = lower[label]
    return np.concatenate(made).astype(np.uint64), np.concatenate(levels)


def _parts(count: int, distance: int) -> list[tuple[int, int]]:
    """(bits, radius) of each part; as many parts as need the least work for so many hashes."""
    return min((_cut(distance, parts) for parts in _PARTS), key=lambda cut: _work(count, cut))


def _cut(distance: int, parts: int) -> list[tuple[int, int]]:
    spare = distance - parts + 1
    return [((BITS + i) // parts, (spare + i) // parts) for i in range(parts)]


def _work(count: int, cut: list[tuple[int, int]]) -> float:
    """Look-ups, and pairs that chance finds, which take about five times as long (measured)."""
    masks = [(bits, sum(math.comb(bits, k) for k in range(radius + 1))) for bits, radius in cut]
    return sum(some * (count + 5 * count * count / (1 << bits)) for bits, some in masks)


def _keys(hashes: Hashes, parts: list[tuple[int, int]]) -> Iterator[Ints]:
    """int64 (n,) of each part: its bits, taken from all over the hash in an order that is always the same."""
    order, first = np.argsort(mixed(np.arange(BITS, dtype=np.uint64))).astype(np.uint64), 0
    for bits, _ in parts:
        key = np.zeros(len(hashes), dtype=np.uint64)
        for bit in order[first : first + bits]:
            key = (key << np.uint64(1)) | ((hashes >> bit) & np.uint64(1))
        yield key.astype(np.int64)
        first += bits


def _add_part(made: _Gathered, key: Ints, bits: int, radius: int) -> Ints:
    """Adds what one part finds; int64, the places of hashes in its crowds."""
    if radius < 0:
        return np.empty(0, dtype=np.int64)
    order = np.argsort(key, kind="stable")
    sizes = np.bincount(key, minlength=1 << bits)
    crowded = sizes[key[order]] > CROWD
    for first, second in _windows(order[crowded], key):
        made.add(first, second)
    rows = order[~crowded]
    sizes[sizes > CROWD] = 0
    looks = _Looks(key[rows], sizes)
    for first, second in looks.up(bits, radius):
        made.add(rows[first], rows[second])
    return np.concatenate([order[crowded], rows[looks.spent > BUDGET]])


def _windows(rows: Ints, key: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Each of a crowd with the next ones of it; `rows` are ordered by key, then by hash."""
    for step in range(1, min(WINDOW, len(rows) - 1) + 1):
        first, second = rows[:-step], rows[step:]
        same = key[first] == key[second]
        yield first[same], second[same]


class _Looks:
    """Ascending keys that are looked up among themselves; what each has been compared with is `spent`."""

    def __init__(self, key: Ints, sizes: Ints) -> None:
        self.key, self.sizes, self.spent = key, sizes, np.zeros(len(key), dtype=np.int64)

    def up(self, bits: int, radius: int) -> Iterator[tuple[Ints, Ints]]:
        """Pairs of places of keys that are at most `radius` bits apart, each once."""
        firsts, places = np.cumsum(self.sizes) - self.sizes, np.arange(len(self.key))
        ends = firsts[self.key] + self.sizes[self.key]
        yield from _spread(places, places + 1, ends - places - 1)
        for ones in range(1, radius + 1):
            for chosen in itertools.combinations(range(bits), ones):
                other = self.key ^ sum(1 << bit for bit in chosen)
                some = np.flatnonzero((other > self.key) & (self.sizes[other] > 0) & (self.spent <= BUDGET))
                count = self.sizes[other[some]]
                self.spent[some] += count
                yield from _spread(some, firsts[other[some]], count)


def _spread(first: Ints, start: Ints, count: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of `first` with `count` places from `start` on, all int64 (n,), some at a time."""
    ends = np.cumsum(count)
    cuts = np.searchsorted(ends, np.arange(0, int(ends[-1]) if len(ends) else 0, _PAIRS), side="right")
    for low, high in itertools.pairwise([*cuts.tolist(), len(first)]):
        size = count[low:high]
        steps = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
        if len(steps):
            yield np.repeat(first[low:high], size), np.repeat(start[low:high], size) + steps
