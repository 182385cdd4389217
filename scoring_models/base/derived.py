"""Derived values: functions of a row's stored scores, evaluated anew in each walk and never stored as scores.

A frozen configuration with three gradations:

* *row-wise*: the row's own scores are enough;
* *pooled*: exact sums over the rows alive at its place in the recipe are needed first. They are integers, and add up in
  any order; a number with digits goes in as a multiple of a fixed small unit;
* *gathered*: all rows alive there must be seen at once, by one worker. For pools of the size of a benchmark.

Sums, and the name of what was gathered, stand in `cuts.json` and can be frozen like a cut. A derived value stands in
the ledger alone: as a score it would go stale when an earlier limit moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.scorer import Scorer

Scores = Mapping[str, pa.Array]
"""Name of a score -> its values, length n."""

Sums = Mapping[str, Mapping[str, int]]
"""Group -> name -> an exact sum."""

Alive = np.ndarray[Any, np.dtype[np.bool_]]

ROW, PATH = "row", "path"
"""Columns of a gathered table that say which row a line is of."""


class Part(NamedTuple):
    """Rows of one shard that are alive where a derived value stands.

    Attributes:
        path: of the file, relative to the pool.
        rows: int64 (n,), ascending positions in the file.
        uid: string (n,).
        scores: those that it reads, n values each.
    """

    path: str
    rows: np.ndarray[Any, np.dtype[np.int64]]
    uid: pa.Array
    scores: Scores


@runtime_checkable
class Derived(Protocol):
    """What every derived value has. `version` is raised when the same scores would give other values."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Full names of earlier scores, or of pool columns, which then are stored as scores."""
        ...

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """Column -> Arrow type, as a scorer has them; "" is the main one."""
        ...

    @property
    def version(self) -> int:
        """See the class."""
        ...

    def to_dict(self) -> JsonObject:
        """The configuration, as plain JSON values."""
        ...

    def values(self, scores: Scores, table: Any) -> Mapping[str, pa.Array]:
        """The columns for n rows.

        Args:
            scores: those that it reads.
            table: None where nothing is pooled; the `Sums` of the pool; or what was gathered of these n rows, a
                `pa.Table` with null lines where the row was not alive.
        """
        ...


class Reported(Derived, Protocol):
    """One that the report says more of than its histogram."""

    def report(self, scores: Scores, kept: Alive) -> Sums:
        """Exact sums over a shard, for the report: `scores` are those it reads, and its own columns by their names."""
        ...


class Pooled(Derived, Protocol):
    """One that needs sums over the pool."""

    def tally(self, scores: Scores, alive: Alive) -> Sums:
        """Exact sums over the rows of a shard that are alive, by group ("" without groups)."""
        ...


class Gathered(Derived, Protocol):
    """One that needs all rows at once."""

    def gather(self, parts: Iterator[Part]) -> pa.Table:
        """What is known of the rows once all were seen: the columns `path` and `row`, and any others.

        The parts come sorted by path, each file's rows ascending. The same parts give the same table.
        """
        ...


class Composite(Protocol):
    """Several scorers and derived values under one name, for `Score(name=...)`."""

    def parts(self, name: str) -> Mapping[str, Scorer | Derived]:
        """Full name of each step -> what it is, in order; what a step reads may be an earlier one's score."""
        ...


def is_pooled(derived: object) -> bool:
    """Whether sums over the pool must be known first."""
    return hasattr(derived, "tally")


def is_gathered(derived: object) -> bool:
    """Whether all rows must be seen at once first."""
    return hasattr(derived, "gather")


def is_composite(made: object) -> bool:
    """Whether it is several scorers under one name."""
    return hasattr(made, "parts")
