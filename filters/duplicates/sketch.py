"""Sketches of texts: 256 bytes whose agreement estimates the Jaccard similarity of two texts' sets of shingles.

One-permutation MinHash (Li, Owen, Zhang, "One Permutation Hashing", NIPS 2012): shingles fall into 256 bins by eight
bits of their hash, and of each bin the smallest of the other bits counts. An empty bin takes the smallest of another,
by a fixed order of its own (Shrivastava, "Optimal Densification for Fast and Accurate Minwise Hashing", ICML 2017).
One byte is kept of each (Li, Koenig, "b-Bit Minwise Hashing", WWW 2010), mixed with the number of its bin: else two
texts of one shingle each would agree everywhere by the accident of one equal byte.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from poolsieve.filters.duplicates.characters import Bytes
from poolsieve.filters.duplicates.shingles import Texts, shingles
from poolsieve.filters.words.mixing import Hashes, mixed

BINS = 256
"""Bytes of a sketch."""

EMPTY = np.uint64((1 << 64) - 1)
"""The smallest of no shingle."""

ROWS = 256
"""Sketches that are finished at a time."""

FEW = 64
"""Bins with a shingle up to which all of them are compared for each empty one; else one after the other is asked."""

_VALUE = np.uint64((1 << 56) - 1)

Bools = np.ndarray[Any, np.dtype[np.bool_]]
Floats = np.ndarray[Any, np.dtype[np.float32]]


def sketches(texts: Texts) -> tuple[Bytes, Bools]:
    """(uint8 (n, 256), bool (n,)): the sketch of each text, and which have one: those of five words and more."""
    smallest = minima(texts)
    some = (smallest != EMPTY).any(axis=1)
    made = np.zeros(smallest.shape, dtype=np.uint8)
    for start in range(0, len(some), ROWS):
        rows = start + np.flatnonzero(some[start : start + ROWS])
        made[rows] = finished(smallest[rows])
    return made, some


def minima(texts: Texts) -> Hashes:
    """uint64 (n, 256): the smallest hash of each bin, `EMPTY` where there is none."""
    made = np.full((len(texts.bounds) - 1, BINS), EMPTY, dtype=np.uint64)
    flat = made.reshape(-1)
    for rows, hashes in shingles(texts):
        bins = (hashes >> np.uint64(56)).view(np.int64)
        np.minimum.at(flat, rows * BINS + bins, hashes & _VALUE)
    return made


def finished(smallest: Hashes) -> Bytes:
    """uint8 (n, 256): sketches of texts that have a shingle each."""
    filled(smallest)
    return (mixed(smallest + _salt()) >> np.uint64(56)).astype(np.uint8)


def filled(smallest: Hashes) -> None:
    """Gives each empty bin of uint64 (n, 256) the value of the first one in its order that isn't; no row is empty."""
    full = smallest != EMPTY
    counts = full.sum(axis=1)
    few = np.flatnonzero(counts <= FEW)
    if len(few):
        smallest[few] = _first_of_few(smallest[few], full[few])
    many = np.flatnonzero((counts > FEW) & (counts < BINS))
    if len(many):
        smallest[many] = _asked(smallest[many])


def _first_of_few(smallest: Hashes, full: Bools) -> Hashes:
    rows, bins = np.nonzero(full)
    ranks = _ranks()[bins]
    firsts = np.searchsorted(rows, np.arange(len(full)))
    best = np.minimum.reduceat(ranks, firsts, axis=0)
    return np.take_along_axis(smallest, _orders()[np.arange(BINS), best].astype(np.int64), axis=1)


def _asked(smallest: Hashes) -> Hashes:
    made, orders = smallest.copy(), _orders()
    rows, bins = np.nonzero(smallest == EMPTY)
    turn = 1
    while len(rows):
        found = smallest[rows, orders[bins, turn]]
        made[rows, bins] = found
        left = np.flatnonzero(found == EMPTY)
        rows, bins, turn = rows[left], bins[left], turn + 1
    return made


@functools.cache
def _orders() -> Bytes:
    """uint8 (256, 256): for each bin all bins in the order in which it asks them, itself first."""
    keys = mixed(np.arange(BINS * BINS, dtype=np.uint64)).reshape(BINS, BINS)
    np.fill_diagonal(keys, 0)
    return np.argsort(keys, axis=1, kind="stable").astype(np.uint8)


@functools.cache
def _ranks() -> Bytes:
    """uint8 (256, 256): of each bin its rank in the order of every other."""
    return np.ascontiguousarray(np.argsort(_orders(), axis=1, kind="stable").astype(np.uint8).T)


@functools.cache
def _salt() -> Hashes:
    """uint64 (256,): what tells the bins' values apart."""
    return mixed(np.arange(1, BINS + 1, dtype=np.uint64))


def similarity(first: Bytes, second: Bytes) -> Floats:
    """float32 (n,): estimates of Jaccard's similarity, from two times n sketches: uint8 (n, 256).

    Bytes of different values agree once in 256 times, which is taken off. Its standard deviation is about
    sqrt(J (1 - J) / 256): .03 at .5; larger for texts of fewer shingles than that.
    """
    return estimate((first == second).sum(axis=1))


def estimate(equal: np.ndarray[Any, Any]) -> Floats:
    """float32 (n,): what so many equal bytes of two sketches say."""
    return np.maximum((equal - 1) / (BINS - 1), 0).astype(np.float32)
