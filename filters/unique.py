"""Rules over clusters of rows, which `dedup.clusters` names: one row of each stays, or a few.

The first row of a cluster by its `rank` is the one that all others of it resemble. A cluster's rows may also be ranked
by another score; the one that stays then need not be one that they resemble, but for copies, which are all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from poolsieve.filters.dsl.derive import Derive
from poolsieve.filters.dsl.expr import col
from poolsieve.filters.dsl.stages import Chain, Keep, Stage
from poolsieve.filters.duplicates import runs
from poolsieve.filters.duplicates.scores import check_best, worse
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.derived import PATH, ROW, Part, Scores
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short


@dataclass(frozen=True, eq=False, kw_only=True)
class Place(Config):
    """The place of a row in its cluster by a score, from 0 for the largest; equal ones stand by their rank.

    Rows without the score, or with NaN, are the last. A row that is in no cluster has 0. All rows of clusters are seen
    at once, by one worker.

    Args:
        by: the name of the clusters.
        best: a score or pool column of numbers.
        version: raised when the same scores would give other values.
    """

    by: str
    best: str
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The cluster, the rank in it, and the score."""
        return (f"{self.by}.cluster", f"{self.by}.rank", self.best)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """The place, int64."""
        return {"": pa.int64()}

    def check_types(self, where: str, types: Mapping[str, pa.DataType]) -> None:
        """Refuses clusters that are none, and a score that is no number.

        Raises:
            PlanError: saying which.
        """
        check_clusters(where, types, *self.reads[:2])
        check_best(where, self.best, types)

    def gather(self, parts: Iterator[Part]) -> pa.Table:
        """A line for each row of a cluster."""
        tables = [self._clustered(part) for part in parts]
        if not tables:
            return pa.table({PATH: pa.array([], pa.string()), ROW: pa.array([], pa.int64()), "place": _ints([])})
        table = pa.concat_tables(tables)
        codes = table.column("cluster").combine_chunks().dictionary_encode().indices.to_numpy()
        found = worse(table.column("best").combine_chunks())
        order = np.lexsort((table.column("rank").to_numpy(), found.key, found.none, codes))
        places = np.empty(len(order), dtype=np.int64)
        places[order] = np.arange(len(order)) - runs.heads(runs.begins(codes[order]))
        return table.select([PATH, ROW]).append_column("place", _ints(places))

    def _clustered(self, part: Part) -> pa.Table:
        """The rows of a part that are in clusters."""
        cluster, rank, best = (part.scores[name] for name in self.reads)
        made = {PATH: pa.repeat(pa.scalar(part.path), len(cluster)), ROW: _ints(part.rows)}
        return pa.table({**made, "cluster": cluster, "rank": rank, "best": best}).filter(cluster.is_valid())

    def values(self, scores: Scores, table: pa.Table) -> Mapping[str, pa.Array]:
        """The lines' places."""
        return {"": table.column("place").combine_chunks().fill_null(0)}


def _ints(values: object) -> pa.Array:
    return pa.array(values, pa.int64())  # type: ignore[call-overload, no-any-return]


def check_clusters(where: str, types: Mapping[str, pa.DataType], *names: str) -> None:
    """Refuses what is not of clusters: `cluster` is a string, all else is int64.

    Raises:
        PlanError: saying what it is.
    """
    for name in names:
        wanted = pa.string() if name.endswith(".cluster") else pa.int64()
        if types[name] != wanted:
            raise PlanError(f"{where}: {name!r} is {types[name]}, and clusters that `dedup` names are needed")


def check_name(stage: str, by: object) -> None:
    """Refuses what can be no name of clusters.

    Raises:
        PlanError: saying what a name is.
    """
    if not isinstance(by, str) or not by:
        raise PlanError(f"{stage}({short(by)}): give the name of the clusters, as 'dup' of dedup.clusters()")


def Unique(by: str = "dup", *, best: str | None = None) -> Chain:  # noqa: N802  (a stage's name)
    """Keeps the row of each cluster that stands for it, and rows that are in none.

    The others are dropped with `<by>.exact` if they are copies of a better row, else with `<by>.near`.

    Args:
        by: the name of the clusters, as `dedup.clusters` has it.
        best: a score or pool column; of each cluster the row alive with the largest stays instead, and the others are
            dropped with `<by>.not_best`.

    >>> [rule.reason for rule in Unique("dup").flat()]
    ['dup.exact', 'dup.near']
    """
    check_name("Unique", by)
    if best is not None:
        ranked, place = _ranked("Unique", by, best)
        return Chain((*ranked, Keep(col(place) == 0, reason=f"{by}.not_best")))
    copies = Keep(col(f"{by}.copy") == 0, reason=f"{by}.exact")
    return Chain((copies, Keep(col(f"{by}.rank") == 0, reason=f"{by}.near")))


def Cap(by: str, most: int, *, best: str | None = None) -> Chain:  # noqa: N802
    """Keeps at most so many rows of each cluster, the one that stands for it first; the others have `<by>.above_cap`.

    Args:
        by: the name of the clusters, as `dedup.clusters` has it.
        most: rows of a cluster that stay.
        best: a score or pool column by which rows of a cluster are ranked instead of their `rank`.

    >>> [rule.reason for rule in Cap("dup", 3).flat()]
    ['dup.above_cap']
    """
    check_name("Cap", by)
    if type(most) is not int or most < 1:
        raise PlanError(f"Cap({by!r}, {short(most)}): must be a whole number of rows, 1 or more")
    ranked, place = ((), f"{by}.rank") if best is None else _ranked("Cap", by, best)
    return Chain((*ranked, Keep(col(place) < most, reason=f"{by}.above_cap")))


def _ranked(stage: str, by: str, best: object) -> tuple[tuple[Stage, ...], str]:
    """The stage that ranks by a score, and the name of its value."""
    if not isinstance(best, str) or not best:
        raise PlanError(f"{stage}({by!r}, best={short(best)}): give the name of a score or of a numeric column")
    name = f"{by}.by.{best}"
    return (Derive(**{name: Place(by=by, best=best)}),), name
