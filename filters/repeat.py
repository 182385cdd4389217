"""`Repeat`: rows that stand for large clusters leave several times.

What the web has many copies of is often worth reading more than once: TxT360 (LLM360, 2024) keeps one row of each
cluster and repeats it by the cluster's size. Nothing is dropped here, and the ledger has one line for each row as
always: its `repeat` says how often a kept one leaves, and whatever writes kept rows honours it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from poolsieve.filters.dsl.derive import Derive
from poolsieve.filters.unique import check_clusters, check_name
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.derived import Scores
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short

REPEAT = "repeat"
"""The value's name in the ledger."""

MOST = 1000
"""Times that a row may be repeated: beyond, somebody has written a count of rows."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Times(Config):
    """How often a row leaves if it is kept, int64: by the size of its cluster if it is the first there, else once.

    Args:
        by: the name of the clusters.
        table: (size, times), sizes ascending; the last one whose size is not above the cluster's holds, and below the
            first a row leaves once.
        place: the value that is 0 for the row that stands for its cluster.
        version: raised when the same scores would give other values.
    """

    by: str
    table: tuple[tuple[int, int], ...]
    place: str
    version: int = 1

    repeats: ClassVar[bool] = True
    """Its value is how often a kept row leaves."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The size of the cluster, and the place in it."""
        return (f"{self.by}.size", self.place)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """The times."""
        return {"": pa.int64()}

    def check_types(self, where: str, types: Mapping[str, pa.DataType]) -> None:
        """Refuses clusters that are none, and the rank where the rows that stay were chosen by a score.

        Raises:
            PlanError: saying what they are, or by which score.
        """
        check_clusters(where, types, *self.reads)
        start = f"{self.by}.by."
        scores = [name.removeprefix(start) for name in types if name.startswith(start)]
        if scores and not self.place.startswith(start):
            raise PlanError(
                f"{where}: rows of {self.by!r} are chosen by {scores[0]!r} before it, so that the first by rank may be "
                f"gone: give Repeat best={scores[0]!r} too"
            )

    def values(self, scores: Scores, table: Any) -> Mapping[str, pa.Array]:
        """The times of each row."""
        size, place = (np.asarray(scores[name].fill_null(1)) for name in self.reads)
        sizes = np.array([one for one, _ in self.table], dtype=np.int64)
        times = np.array([1, *(many for _, many in self.table)], dtype=np.int64)
        found = times[np.searchsorted(sizes, size, side="right")]
        return {"": pa.array(np.where(place == 0, found, 1), pa.int64())}


def Repeat(by: str, table: Mapping[int, int], *, best: str | None = None) -> Derive:  # noqa: N802  (a stage's name)
    """Has the row that stands for a cluster leave as often as a table says for the cluster's size.

    Drops nothing: put `Unique` before it, or `dedup.minhash()`, which has it. The ledger's `repeat` says how often a
    row leaves; exports, `subset.npy`, positions of kept rows and `kept.stream` have it so often.

    Args:
        by: the name of the clusters, as `dedup.clusters` has it.
        table: size of a cluster -> times; the entry with the largest size that is not above the cluster's holds.
        best: as the `Unique` before it has it.

    >>> Repeat("dup", {1: 1, 2: 2, 5: 3}).values["repeat"].table
    ((1, 1), (2, 2), (5, 3))
    >>> Repeat("dup", {1: 1, 2: 0})
    Traceback (most recent call last):
    poolsieve...PlanError: Repeat('dup', {2: 0}): a row is repeated once or more; to drop rows use Cap or Keep
    """
    check_name("Repeat", by)
    if not isinstance(table, Mapping) or not table:
        raise PlanError(f"Repeat({by!r}, {short(table)}): give a table of size -> times, as {{1: 1, 2: 2, 5: 3}}")
    for size, times in table.items():
        _check_entry(by, size, times)
    place = f"{by}.rank" if best is None else f"{by}.by.{best}"
    return Derive(**{REPEAT: Times(by=by, table=tuple(sorted(table.items())), place=place)})


def _check_entry(by: str, size: Any, times: Any) -> None:
    where = f"Repeat({by!r}, {{{short(size)}: {short(times)}}})"
    if type(size) is not int or size < 1:
        raise PlanError(f"{where}: the size of a cluster is a whole number, 1 or more")
    if type(times) is not int:
        raise PlanError(f"{where}: times are a whole number, 1 or more")
    if times < 1:
        raise PlanError(f"{where}: a row is repeated once or more; to drop rows use Cap or Keep")
    if times > MOST:
        raise PlanError(f"{where}: more than {MOST:,} times")
