"""Connected components, each labelled by its least row: so any algorithm, any order and any split gives the same."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from poolsieve.filters.duplicates.bands import Edges, Rows
from poolsieve.filters.duplicates.roots import roots


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
    first, second = np.ascontiguousarray(places.reshape(-1, 2).T)
    return Components(rows, rows[roots(len(rows), first, second)])
