"""Derived values: functions of a row's stored scores, evaluated anew in each walk and never stored as scores.

A frozen configuration with four gradations:

* *row-wise*: the row's own scores are enough;
* *pooled*: exact sums over the rows alive at its place in the recipe are needed first. They are integers, and add up in
  any order; a number with digits goes in as a multiple of a fixed small unit;
* *gathered*: all rows alive there must be seen at once, by one worker. For pools of the size of a benchmark;
* *joined*: what is gathered of a small pool is found in a large one by rounds, in which rows meet by keys, so that no
  worker sees all of them.

Sums, and the name of what was gathered, stand in `cuts.json` and can be frozen like a cut. A derived value stands in
the ledger alone: as a score it would go stale when an earlier limit moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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


HOME_BITS = 32
"""Bits of a row's key that are its place among the rows of its home; those above are the home's number."""

LINES = "lines"
"""Where the last round sends a home's lines: an Arrow stream of a table with `path`, `row` and the derived columns."""


class Home(NamedTuple):
    """Rows of a few neighbouring shards that are alive where a joined value stands.

    Attributes:
        number: of the home: keys of its rows are `number << HOME_BITS` and a place.
        keys: uint64 (n,), ascending. Keys of all rows are in the order of (path, row), whatever the shards.
        path: string (n,), the file of each, relative to the pool.
        row: int64 (n,), positions in it.
        scores: those that the value reads, n values each.
    """

    number: int
    keys: np.ndarray[Any, np.dtype[np.uint64]]
    path: pa.Array
    row: np.ndarray[Any, np.dtype[np.int64]]
    scores: Scores


class Block(NamedTuple):
    """What is sent to one place of a later round: packed records, since a shuffle of single ones takes ten times as
    long.

    Attributes:
        to: name of the round, or `LINES`.
        place: 0 or more; of a round that is held at home, and of `LINES`, a home's number.
        data: records of the round's own making.
    """

    to: str
    place: int
    data: bytes


class Extent(NamedTuple):
    """How large a pool is.

    Attributes:
        rows: alive or not, all of them.
        size: bytes of its files.
    """

    rows: int
    size: int


class Round(NamedTuple):
    """One meeting of what was sent.

    Attributes:
        name: of the round.
        hears: the rounds that send to it; "" is the beginning.
        at_home: whether its places are homes, whose rows it needs.
    """

    name: str
    hears: tuple[str, ...]
    at_home: bool = False


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


class Told(Reported, Protocol):
    """One that is gathered, and of whose table the report says what stands in no column."""

    def told(self, lines: pa.Table) -> Sums:
        """Exact sums over what was gathered of a shard's rows, null lines for rows of which nothing was."""
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


class Joined(Gathered, Protocol):
    """One whose table is also found by rounds. They give the lines that `gather` gives, with the derived columns alone.

    Each round brings together what was sent to one of its places. Nothing may depend on the order in which it came:
    blocks are sorted. How many places are needed follows from the extent of the pool.
    """

    def rounds(self, size: int) -> tuple[Round, ...]:
        """In order: each hears of earlier ones alone, and the last one of all sends to `LINES`.

        Nobody knows how many rows there are when the rounds are laid out, but how many bytes: `Extent.size`.
        """
        ...

    def begin(self, home: Home, extent: Extent) -> Iterator[Block]:
        """What the rows of a home send."""
        ...

    def join(
        self, name: str, heard: Mapping[str, Sequence[bytes]], home: Home | None, extent: Extent
    ) -> Iterator[Block]:
        """What is sent on from one place of a round.

        Args:
            name: of the round.
            heard: round that sent -> its blocks, sorted. There is at least one.
            home: the rows that are at home there; None unless the round is `at_home`.
            extent: of the pool.
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


def is_joined(derived: object) -> bool:
    """Whether rounds find what is gathered."""
    return is_gathered(derived) and hasattr(derived, "rounds")


def is_composite(made: object) -> bool:
    """Whether it is several scorers under one name."""
    return hasattr(made, "parts")
