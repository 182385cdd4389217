"""Components of edges, of which those with too many rows are split.

Within a component leaders take the square of its size, and one of pages of a template may have any size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from poolsieve.filters.duplicates import runs
from poolsieve.filters.duplicates.bands import Edges, Rows
from poolsieve.filters.duplicates.edges import STEPS, Counts, least_equal
from poolsieve.filters.duplicates.graph import Graph
from poolsieve.filters.duplicates.roots import Ints, roots

CAP = 20_000
"""Rows of a component beyond which it is split."""

TOGETHER = 1024
"""Rows of what a split component came to that are looked at together all the same, for their number is no danger."""

Bools = np.ndarray[Any, np.dtype[np.bool_]]


class Capped(NamedTuple):
    """Components of at most some number of rows.

    Attributes:
        rows: uint64 (k,), those that have an edge, ascending.
        label: int64 (k,), the place among them of the least row of the component of each.
        split: int64 (g,), places of rows whose component had more.
        sizes: int64 (g,), how many it had.
    """

    rows: Rows
    label: Ints
    split: Ints
    sizes: Ints

    @property
    def labels(self) -> Rows:
        """uint64 (k,), the least row of the component of each."""
        return self.rows[self.label]

    def size_before(self) -> Ints:
        """int64 (k,): how many rows the component of each had before it was split; 0 where it was not."""
        return self.size_before_in(slice(0, len(self.rows)))

    def size_before_in(self, at: slice) -> Ints:
        """The same of some neighbouring rows."""
        made = np.zeros(at.stop - at.start, dtype=np.int64)
        some = slice(*np.searchsorted(self.split, (at.start, at.stop)))
        made[self.split[some] - at.start] = self.sizes[some]
        return made


class Giants(NamedTuple):
    """Components that were split: how many, the rows of the largest, and of all of them."""

    components: int
    largest: int
    rows: int

    @classmethod
    def of(cls, split: Ints) -> Giants:
        """From int64 (n,): for each row how many its component had, 0 where that was not split."""
        sizes, counts = np.unique(split[split > 0], return_counts=True)
        return cls.counted(dict(zip(sizes.tolist(), counts.tolist(), strict=True)))

    @classmethod
    def counted(cls, rows: Mapping[int, int]) -> Giants:
        """From how many rows were in components of each size."""
        return cls(sum(n // size for size, n in rows.items()), max(rows, default=0), sum(rows.values()))


def capped(edges: Edges, equal: Counts, cap: int = CAP) -> Capped:
    """Components of at most `cap` rows.

    The edges of one that has more are held to ever higher similarities; what is too large even so, rows with one and
    the same sketch, is cut by the order of its rows. What comes of it is put together again, in that order, as far as
    `TOGETHER`: a flood of rows that are all near to one another falls apart at one step, and most of it is to go.
    Nothing of this depends on the order of the edges, nor on other components.

    Args:
        edges: verified ones.
        equal: int16 (m,), their equal bytes.
        cap: rows.
    """
    return capped_graph(Graph.of(edges, equal), cap)


def capped_graph(graph: Graph, cap: int) -> Capped:
    """The same of a graph."""
    label = roots(len(graph.rows), graph.first, graph.second)
    sizes = np.bincount(label, minlength=len(label)) if len(label) else label
    large = np.flatnonzero(sizes > cap)
    if not len(large):
        return Capped(graph.rows, label, large, large)
    over = (sizes > cap)[label]
    at = np.flatnonzero(over)
    before = sizes[label[at]]
    label[at] = at[_split(_within(graph, over, at), cap)]
    return Capped(graph.rows, label, at, before)


def _within(graph: Graph, over: Bools, at: Ints) -> Graph:
    """The edges of rows that are over the cap; all rows of a component are."""
    place = np.cumsum(over, dtype=np.int64) - 1
    inside = over[graph.first]
    first, second = (place[ends[inside]] for ends in (graph.first, graph.second))
    return Graph(graph.rows[at], first, second, graph.equal[inside])


def _split(graph: Graph, cap: int) -> Ints:
    """int64 (k,): the place of the least row of what each came to, of k rows of which each was over the cap."""
    count, (_, first, second, equal) = len(graph.rows), graph
    whole = found = roots(count, first, second)
    for step in STEPS:
        over = _sizes(found) > cap
        if not over.any():
            break
        stays = ~over[first] | (equal >= least_equal(step))
        first, second, equal = first[stays], second[stays], equal[stays]
        found = roots(count, first, second)
    return _put_together(_cut(found, cap), whole, min(cap // 2, TOGETHER))


def _sizes(label: Ints) -> Ints:
    """How many rows have each row's label."""
    return np.bincount(label, minlength=len(label))[label]


def _put_together(label: Ints, giant: Ints, most: int) -> Ints:
    """With neighbouring components of one giant as one, of less than twice `most` rows.

    Args:
        label: int64 (k,), what giants came to.
        giant: int64 (k,), the component that each row was in at first.
        most: rows.
    """
    made, order = label.copy(), np.lexsort((label, giant))
    sizes = _sizes(label)[order]
    order = order[sizes <= most]
    begins = np.flatnonzero(runs.begins(giant[order]))
    place = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
    bins = place[runs.heads(runs.begins(label[order]))] // most  # by where each begins
    first = runs.heads(runs.begins(np.stack([giant[order], bins], axis=1)))
    made[order] = label[order][first]
    return made


def _cut(label: Ints, cap: int) -> Ints:
    """With those that are above the cap even so as several, by the order of their rows."""
    order = np.argsort(label, kind="stable")
    begins = np.flatnonzero(runs.begins(label[order]))
    place = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
    made = label.copy()
    made[order] = order[np.arange(len(order)) - place % cap]
    return made
