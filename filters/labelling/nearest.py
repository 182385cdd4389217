"""Exact nearest neighbours by cosine, without an item's own duplicates.

faiss compares every item with every other (`faiss.knn`: what `IndexFlatIP` does, without a copy of the vectors) and
names a few candidates more than are wanted. Those are compared anew, sums in float64 and one item at a time, and ties
go to the item that stands first; where the candidates can't be told from what was left out, the item is compared with
all. So the neighbours are those of the definition, whatever faiss's blocks and threads do to the last bits.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np

from poolsieve.filters.labelling.items import Bools, Floats, Ints
from poolsieve.scoring_models.base.errors import PoolsieveError

MORE = 16
"""Candidates beyond those that are wanted."""

_QUERIES = 4096
_BLOCK = 1 << 20
"""Products at a time."""

_ROUNDING = 2.0**-23
"""Of float32, twice over; a sum of d products of unit vectors is off by at most d times half of it."""


class Near(NamedTuple):
    """The nearest first. `rows`: int64 (n, count); `cosine`: float64 (n, count)."""

    rows: Ints
    cosine: Floats


def unit(values: Floats) -> Bools:
    """Makes the rows of a float32 matrix one long, in place; bool (n,): those that have a length."""
    step = max(1, (1 << 22) // max(1, values.shape[1]))
    there = np.zeros(len(values), dtype=bool)
    for at in range(0, len(values), step):
        block = values[at : at + step].astype(np.float64)
        length = np.sqrt((block * block).sum(axis=1, keepdims=True))
        there[at : at + step] = (np.isfinite(length) & (length > 0))[:, 0]
        values[at : at + step] = np.divide(block, length, out=np.zeros_like(block), where=length > 0) + 0.0
    return there


def duplicates(values: Floats) -> Ints:
    """int64 (n,): the group of rows that each is in, equal to the last bit; groups are numbered as they come."""
    known: dict[bytes, int] = {}
    made = (hashlib.blake2b(row.data, digest_size=16).digest() for row in np.ascontiguousarray(values))
    return np.fromiter((known.setdefault(one, len(known)) for one in made), dtype=np.int64, count=len(values))


def neighbours(values: Floats, group: Ints, count: int) -> Near:
    """The `count` nearest items of each, its group left out.

    Args:
        values: float32 (n, width), one long each.
        group: int64 (n,), as of `duplicates`: a group's items are equal.
        count: how many.

    Raises:
        PoolsieveError: if there are not as many.
    """
    members = _Members(group)
    if len(group) - int(members.sizes.max(initial=0)) < count:
        raise PoolsieveError(
            f"of {len(group)} items {int(members.sizes.max(initial=0))} are equal to one another: the others are fewer "
            f"than the {count} neighbours that are wanted"
        )
    once = values if len(members.first) == len(values) else values[members.first]
    near = _among(once, count)
    if len(once) == len(values):
        return near
    rows, cosine = members.spread(near, count)
    return Near(rows[group], cosine[group])


class _Members:
    """Items by group: `order[start:start + size]`, the first of each group in `first`."""

    def __init__(self, group: Ints) -> None:
        self.order = np.argsort(group, kind="stable")
        self.sizes = np.bincount(group)
        self.start = np.cumsum(self.sizes) - self.sizes
        self.first = self.order[self.start]

    def spread(self, near: Near, count: int) -> Near:
        """From near groups to the first `count` of their items; a group of -1 is none."""
        upto = np.cumsum(np.where(near.rows >= 0, self.sizes[near.rows], 0), axis=1)
        rows = np.empty((len(near.rows), count), dtype=np.int64)
        cosine = np.empty((len(near.rows), count))
        every = np.arange(len(near.rows))
        for place in range(count):
            which = (upto <= place).sum(axis=1)
            group = near.rows[every, which]
            before = upto[every, which] - self.sizes[group]
            rows[:, place], cosine[:, place] = self.order[self.start[group] + place - before], near.cosine[every, which]
        return Near(rows, cosine)


def _among(values: Floats, count: int) -> Near:
    """The nearest among items that are all different; -1 behind them where there are fewer than `count` others."""
    wanted = min(len(values), count + 1 + MORE)
    near = Near(np.full((len(values), count), -1, dtype=np.int64), np.zeros((len(values), count)))
    for at in range(0, len(values), _QUERIES):
        queries = values[at : at + _QUERIES]
        cosine, found = _candidates(queries, values, wanted)
        rows = np.sort(found, axis=1)
        _fill(near, at, rows, _cosines(queries, values, rows))
        if wanted < len(values):
            sure = cosine[:, -1] + values.shape[1] * _ROUNDING
            _compare_with_all(near, values, at + np.flatnonzero(near.cosine[at : at + _QUERIES, -1] <= sure))
    return near


def _candidates(queries: Floats, values: Floats, wanted: int) -> tuple[Any, Any]:
    import faiss

    return faiss.knn(queries, values, wanted, metric=faiss.METRIC_INNER_PRODUCT)  # type: ignore[no-any-return]


def _compare_with_all(near: Near, values: Floats, items: Ints) -> None:
    every = np.arange(len(values))[None]
    for item in items:
        _fill(near, item, every, _cosines(values[item : item + 1], values, every))


def _fill(near: Near, at: int, rows: Ints, cosine: Floats) -> None:
    """The nearest of candidates in ascending order, for the items from `at` on, which are not their own."""
    items = np.arange(at, at + len(rows))[:, None]
    cosine = np.where(rows == items, -np.inf, cosine)
    order = np.argsort(-cosine, axis=1, kind="stable")[:, : near.rows.shape[1]]
    best = np.take_along_axis(cosine, order, axis=1)
    there = best > -np.inf
    near.rows[at : at + len(rows), : order.shape[1]] = np.where(there, np.take_along_axis(rows, order, axis=1), -1)
    near.cosine[at : at + len(rows), : order.shape[1]] = np.where(there, best, 0.0)


def _cosines(queries: Floats, values: Floats, rows: Ints) -> Floats:
    """float64 (q, m): pairwise sums along the numbers of one item, so that no bit depends on who else is asked for."""
    out, wide = np.empty(rows.shape), values.shape[1]
    step = max(1, _BLOCK // max(1, wide))
    for item in range(0, len(rows), max(1, step // rows.shape[1])):
        some = slice(item, item + max(1, step // rows.shape[1]))
        query = queries[some, None].astype(np.float64)
        for at in range(0, rows.shape[1], step):
            out[some, at : at + step] = (values[rows[some, at : at + step]] * query).sum(axis=2)
    return out
