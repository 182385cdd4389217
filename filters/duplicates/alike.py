"""Clusters of rows by any sketch and any measure: copies, equal sketches, edges, components, leaders."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from poolsieve.filters.duplicates import runs
from poolsieve.filters.duplicates.bands import Edges, Rows
from poolsieve.filters.duplicates.clusters import Clusters, named
from poolsieve.filters.duplicates.edges import Counts
from poolsieve.filters.duplicates.giants import CAP, capped
from poolsieve.filters.duplicates.leaders import Alike, Led, taken
from poolsieve.filters.duplicates.roots import Ints


class Measure(NamedTuple):
    """How m sketches, each another one, resemble one another.

    Attributes:
        edges: uint64 (k, 2), places of sketches that are near.
        equal: int16 (k,), how alike these are, in 256ths.
        alike: of two sketches.
        least: that a row has with the one that stands for it.
        own: that a sketch has with itself, a NumPy scalar.
    """

    edges: Edges
    equal: Counts
    alike: Alike
    least: Any
    own: Any


class Groups(NamedTuple):
    """Rows by their sketch: `at`, int64 (k,), places of rows; `group`, int64 (k,), the sketch of each, from 0 on."""

    at: Ints
    group: Ints

    def best(self, rank: Ints) -> Ints:
        """int64 (m,): the best row of each sketch."""
        order = np.lexsort((rank[self.at], self.group))
        return self.at[order[runs.begins(self.group[order])]]


def families(
    rows: Rows, rank: Ints, best: Ints, groups: Groups, measure: Measure, cap: int = CAP
) -> tuple[Clusters, np.ndarray[Any, Any]]:
    """(clusters of n rows, but for their similarity; how alike each is to the row that stands for it).

    Args:
        rows: uint64 (n,).
        rank: int64 (n,), as of `leaders.best_first`.
        best: int64 (n,), the place of the best copy of each.
        groups: those of these best copies that have a sketch.
        measure: of their sketches.
        cap: sketches of the largest component.
    """
    one = groups.best(rank)
    split = np.zeros(len(rows), dtype=np.int64)
    led, split[one] = _led(rank[one], measure, cap)
    leader, equal = best.copy(), np.full(len(rows), measure.own)
    leader[groups.at], equal[groups.at] = one[led.leader[groups.group]], led.equal[groups.group]
    leader, equal = leader[best], equal[best]
    return named(rows, rank, best, leader, np.zeros(0, np.float32), split), equal


def _led(rank: Ints, measure: Measure, cap: int) -> tuple[Led, Ints]:
    found = capped(measure.edges, measure.equal, cap)
    labels, split = np.arange(len(rank), dtype=np.uint64), np.zeros(len(rank), dtype=np.int64)
    at = found.rows.astype(np.int64)
    labels[at], split[at] = found.labels, found.size_before()
    return taken(labels, rank, measure.alike, measure.least, measure.own), split
