"""Duplicates by sketches: copies, and rows that resemble a better one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.filters.duplicates.bands import Bands
from poolsieve.filters.duplicates.clusters import Near, clusters, taken
from poolsieve.filters.duplicates.edges import least_equal
from poolsieve.filters.duplicates.families import COLUMNS, Members, report, told, values
from poolsieve.filters.duplicates.giants import CAP
from poolsieve.filters.duplicates.meetings import Meetings, warn_of
from poolsieve.filters.duplicates.scores import check_best, check_bytes
from poolsieve.filters.duplicates.sketch import BINS
from poolsieve.filters.sketches import HASH_BYTES
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.derived import Alive, Block, Extent, Home, Part, Round, Scores, Sums
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short

EDGE, LEADER = 0.5, 0.55
"""Similarities of two rows of a component, and of a row and the one that stands for it. Of these and some twenty others
they found most of the variants with less than 2 % of wrong ones (`benchmarks/dedup.py`)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Duplicates(Config):
    """Clusters of the rows that are alive.

    Args:
        hash: the score of an `ExactHash`: rows with equal ones are copies. A row without one is nobody's copy.
        sketch: the score of a `TextSketch`; without it copies alone are found.
        best: a score or pool column of numbers; the largest of a cluster stands for the others. Without it, the row of
            the least hash, which is as good as any and the same in every run.
        threshold: estimated similarity from which a row stands for another.
        edge: from which two rows are joined in one component.
        bands: of a sketch.
        band_bytes: of a band.
        cap: rows of the largest component.
        version: raised when the same scores would give other values.
    """

    hash: str
    sketch: str | None = None
    best: str | None = None
    threshold: float | str = LEADER
    edge: float | str = EDGE
    bands: int = Bands().count
    band_bytes: int = Bands().size
    cap: int = CAP
    version: int = 1

    def __post_init__(self) -> None:
        Bands(self.bands, self.band_bytes)
        for name, value in (("threshold", self.threshold), ("edge", self.edge)):
            _check_share(name, value)
        if type(self.cap) is not int or self.cap < 2:
            raise PlanError(f"Duplicates(cap={short(self.cap)}): must be a whole number of rows, 2 or more")

    @property
    def near(self) -> Near:
        """What counts as near."""
        return Near(edge=self.edge, leader=self.threshold, bands=Bands(self.bands, self.band_bytes), cap=self.cap)

    @property
    def reads(self) -> tuple[str, ...]:
        """The hash, and the sketch and the best score where there are any."""
        return tuple(name for name in (self.hash, self.sketch, self.best) if name is not None)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """See `filters/dedup.py`."""
        return COLUMNS

    def check_types(self, where: str, types: Mapping[str, pa.DataType]) -> None:
        """Refuses scores that are no hash, no sketch and no number.

        Raises:
            PlanError: saying which.
        """
        check_bytes(where, types, (self.hash, HASH_BYTES, "an ExactHash"), (self.sketch, BINS, "a TextSketch"))
        check_best(where, self.best, types)

    def gather(self, parts: Iterator[Part]) -> pa.Table:
        """A line for each row of a cluster."""
        members = Members.of(parts, self.reads)
        hashes, hashed = members.bytes_of(self.hash, HASH_BYTES)
        at = np.flatnonzero(hashed)  # a row without a hash is nobody's copy, and has no sketch either
        sketches, some = self._sketches(members, at)
        score = members.best_by(self.best)
        score = None if score is None else score[at]
        found = clusters(np.arange(len(at), dtype=np.uint64), hashes[at], sketches, some, score, self.near)
        warn_of(found.giants, self.cap)
        return members.some(at).table(found)

    def _sketches(self, members: Members, at: Any) -> tuple[Any, Any]:
        if self.sketch is None:
            return None, None
        sketches, some = members.bytes_of(self.sketch, BINS)
        return taken(sketches, at), some[at]

    @property
    def _meetings(self) -> Meetings:
        return Meetings(self.hash, self.sketch, self.best, self.near)

    def rounds(self, size: int) -> tuple[Round, ...]:
        """See `duplicates/meetings.py`."""
        return self._meetings.rounds(size)

    def begin(self, home: Home, extent: Extent) -> Iterator[Block]:
        """Hashes of the rows that are at home."""
        return self._meetings.begin(home, extent)

    def join(
        self, name: str, heard: Mapping[str, Sequence[bytes]], home: Home | None, extent: Extent
    ) -> Iterator[Block]:
        """What one place of a round sends on."""
        return self._meetings.join(name, heard, home, extent)

    def values(self, scores: Scores, table: pa.Table) -> Mapping[str, pa.Array]:
        """The lines' columns."""
        return values(table)

    def report(self, scores: Scores, kept: Alive) -> Sums:
        """See `families.report`."""
        return report(scores, kept)

    def told(self, lines: pa.Table) -> Sums:
        """See `families.told`."""
        return told(lines)


def _check_share(name: str, value: Any) -> None:
    try:
        fine = not isinstance(value, bool) and 0 < float(value) <= 1 and least_equal(value) > 0
    except (TypeError, ValueError):
        fine = False
    if not fine:
        raise PlanError(f"Duplicates({name}={short(value)}): must be a number above 0, and 1 at most")
