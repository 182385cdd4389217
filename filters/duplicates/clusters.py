"""Clusters of rows from their sketches: copies first, then candidates, verified edges, components, leaders."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from poolsieve.filters.duplicates import runs
from poolsieve.filters.duplicates.bands import Bands, Edges, Rows, distinct, stars
from poolsieve.filters.duplicates.characters import Bytes
from poolsieve.filters.duplicates.edges import Counts, counted, least_equal
from poolsieve.filters.duplicates.giants import CAP, Giants, capped
from poolsieve.filters.duplicates.leaders import Led, best_equal, best_first, leaders
from poolsieve.filters.duplicates.roots import Ints
from poolsieve.filters.duplicates.sketch import BINS, Floats, estimate
from poolsieve.scoring_models.base.config import Config

Bools = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Near(Config):
    """What counts as near.

    Args:
        edge: estimated similarity of two rows from which they are in one component.
        leader: from which a row is taken by a better one of its component.
        bands: how candidates are found.
        cap: rows of the largest component.
    """

    edge: float | str | Decimal = 0.5
    leader: float | str | Decimal = 0.55
    bands: Bands = field(default_factory=Bands)
    cap: int = CAP


class Clusters(NamedTuple):
    """Of n rows, in the order in which they were given.

    Attributes:
        cluster: uint64 (n,): the least row of its cluster.
        size: int64 (n,): rows of its cluster.
        rank: int64 (n,): 0 for the one that all others of the cluster resemble, then from the best on.
        copy: int64 (n,): 0 for the best of the rows with the same hash, then from the best on.
        similarity: float32 (n,): to that one, 1 for itself and its copies.
        of: uint64 (n,): that one.
        split: int64 (n,): how many rows its component had before it was split, 0 where it was not; copies have 0.
    """

    cluster: Rows
    size: Ints
    rank: Ints
    copy: Ints
    similarity: Floats
    of: Rows
    split: Ints

    @property
    def giants(self) -> Giants:
        """Those components that were split."""
        return Giants.of(self.split)


def clusters(
    rows: Rows, hashes: Bytes, sketches: Bytes | None, some: Bools | None, score: Any = None, near: Near = Near()
) -> Clusters:
    """Clusters of n rows, of which each stands once in `rows`.

    Args:
        rows: uint64 (n,), in any order.
        hashes: uint8 (n, 16): rows with equal ones are copies.
        sketches: uint8 (n, 256); None if only copies are looked for.
        some: bool (n,): which rows have a sketch.
        score: (n,) numbers, of which the largest is best; None where no row is better than another.
        near: what counts as near.
    """
    rank = best_first(score, hashes, rows)
    best = best_equal(hashes, rank)
    leader, equal = best.copy(), np.full(len(rows), BINS, dtype=np.int16)
    split = np.zeros(len(rows), dtype=np.int64)
    if sketches is not None and some is not None:
        each = np.flatnonzero((best == np.arange(len(rows))) & some)
        each = each[np.argsort(rows[each])]
        found, split[each] = _near(rows[each], taken(sketches, each), rank[each], near)
        leader[each], equal[each] = each[found.leader], found.equal
        leader, equal = leader[best], equal[best]
    return named(rows, rank, best, leader, estimate(equal), split)


def _near(rows: Rows, sketches: Bytes, rank: Ints, near: Near) -> tuple[Led, Ints]:
    """The leader of each of n rows, ascending, that are no copies of one another, and `Clusters.split`."""
    found = capped(*verified(rows, sketches, near), near.cap)
    labels, split = rows.copy(), np.zeros(len(rows), dtype=np.int64)
    at = np.searchsorted(rows, found.rows)
    labels[at], split[at] = found.labels, found.size_before()
    return leaders(labels, rank, sketches, least_equal(near.leader)), split


def taken(values: Bytes, at: Ints) -> Bytes:
    """`values[at]`, for ascending places or others; all of them in their order are not copied."""
    return values if len(at) == len(values) and (at == np.arange(len(at))).all() else values[at]


def verified(rows: Rows, sketches: Bytes, near: Near) -> tuple[Edges, Counts]:
    """Edges between rows that resemble each other, and their equal bytes; `rows` are ascending."""
    made = distinct(np.concatenate([stars(records) for records in near.bands.records(sketches, rows)]))
    equal = counted(made, rows, sketches)
    some = equal >= least_equal(near.edge)
    return made[some], equal[some]


class _Groups(NamedTuple):
    """Rows by the place of one of them, the best first: their order, where each group begins in it, and its size."""

    order: Ints
    firsts: Ints
    sizes: Ints

    @classmethod
    def of(cls, group: Ints, rank: Ints) -> _Groups:
        """Of n rows with the `rank` of each."""
        order = np.lexsort((rank, group))
        firsts = np.flatnonzero(runs.begins(group[order]))
        return cls(order, firsts, np.diff(firsts, append=len(order)))

    def back(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Values of the groups as values of the rows."""
        made = np.empty(len(self.order), dtype=values.dtype)
        made[self.order] = np.repeat(values, self.sizes)
        return made

    def places(self) -> Ints:
        """int64 (n,): each row's place in its group."""
        made = np.empty_like(self.order)
        made[self.order] = np.arange(len(self.order)) - np.repeat(self.firsts, self.sizes)
        return made


def named(rows: Rows, rank: Ints, best: Ints, leader: Ints, similarity: Floats, split: Ints) -> Clusters:
    """Clusters of n rows of which it is known which one stands for each.

    Args:
        rows: uint64 (n,).
        rank: int64 (n,), all different; of a leader the least of those that it takes.
        best: int64 (n,), the place of the best row with the same hash.
        leader: int64 (n,), the place of the row that stands for each.
        similarity: float32 (n,), to that one.
        split: int64 (n,), see `Clusters`.
    """
    groups = _Groups.of(leader, rank)
    least = np.minimum.reduceat(rows[groups.order], groups.firsts) if len(rows) else rows
    return Clusters(
        cluster=groups.back(least),
        size=groups.back(groups.sizes),
        rank=groups.places(),
        copy=_Groups.of(best, rank).places(),
        similarity=similarity,
        of=rows[leader],
        split=split,
    )
