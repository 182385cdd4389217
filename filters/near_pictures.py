"""Duplicates by pictures: copies, and rows whose picture looks like that of a better one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from poolsieve.filters.duplicates.families import COLUMNS, Members, report, told, values
from poolsieve.filters.duplicates.hamming import CROWD, FURTHEST
from poolsieve.filters.duplicates.lookalikes import CAP, Looks, picture_clusters
from poolsieve.filters.duplicates.pictures import BYTES
from poolsieve.filters.duplicates.scores import check_best, check_bytes
from poolsieve.filters.sketches import HASH_BYTES
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.derived import Alive, Part, Scores, Sums
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short

DISTANCE = 8
"""Bits; see `benchmarks/dedup_images.py` for what it finds of photographs."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class NearPictures(Config):
    """Clusters of the rows that are alive, by their pictures.

    One worker sees all rows, some 350 bytes each. No pair within the distance is missed, but in crowds of more than
    1,024 different hashes that have a third of their bits in common, of which a run warns.

    Args:
        hash: the score of an `ExactHash`: rows with equal ones are copies. A row without one is nobody's copy.
        picture: the name of an `ImageHash`, of which both scores are read.
        best: a score or pool column of numbers; the largest of a cluster stands for the others. Without it, the row of
            the least hash, which is as good as any and the same in every run.
        distance: bits, of 64, in which a row's picture may differ from that of the row that stands for it.
        cap: different pictures of the largest component.
        version: raised when the same scores would give other values.
    """

    hash: str
    picture: str
    best: str | None = None
    distance: int = DISTANCE
    cap: int = CAP
    version: int = 1

    def __post_init__(self) -> None:
        if type(self.distance) is not int or not 0 <= self.distance <= FURTHEST:
            what = f"NearPictures(distance={short(self.distance)})"
            raise PlanError(f"{what}: must be a whole number of bits from 0 to {FURTHEST}")
        if type(self.cap) is not int or self.cap < 2:
            raise PlanError(f"NearPictures(cap={short(self.cap)}): must be a whole number of rows, 2 or more")

    @property
    def reads(self) -> tuple[str, ...]:
        """The hashes, and the best score where there is one."""
        return tuple(name for name in (self.hash, *self._looks, self.best) if name is not None)

    @property
    def _looks(self) -> tuple[str, str]:
        return f"{self.picture}.dhash", f"{self.picture}.phash"

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """See `filters/dedup.py`."""
        return COLUMNS

    def check_types(self, where: str, types: Mapping[str, pa.DataType]) -> None:
        """Refuses scores that are no hashes and no number.

        Raises:
            PlanError: saying which.
        """
        looks = ((name, BYTES, "an ImageHash") for name in self._looks)
        check_bytes(where, types, (self.hash, HASH_BYTES, "an ExactHash"), *looks)
        check_best(where, self.best, types)

    def gather(self, parts: Iterator[Part]) -> pa.Table:
        """A line for each row of a cluster."""
        members = Members.of(parts, self.reads)
        hashes, hashed = members.bytes_of(self.hash, HASH_BYTES)
        (dhash, some), (phash, _) = (members.bytes_of(name, BYTES) for name in self._looks)
        pictures = np.concatenate([dhash, phash], axis=1)
        at = np.flatnonzero(hashed)  # a row without a hash is nobody's copy, and has no picture either
        score = members.best_by(self.best)
        score = None if score is None else score[at]
        rows, settings = np.arange(len(at), dtype=np.uint64), {"distance": self.distance, "cap": self.cap}
        found = picture_clusters(rows, hashes[at], pictures[at], some[at], score, **settings)
        self._warn(found)
        return members.some(at).table(found.clusters)

    def _warn(self, found: Looks) -> None:
        if found.clusters.giants.components:
            said = "%d components of near pictures had more than %d different ones and were split"
            _log.warning(said, found.clusters.giants.components, self.cap)
        if found.crowded:
            said = "%d hashes of pictures share parts with more than %d others: near ones among those may be missed"
            _log.warning(said, found.crowded, CROWD)

    def values(self, scores: Scores, table: pa.Table) -> Mapping[str, pa.Array]:
        """The lines' columns."""
        return values(table)

    def report(self, scores: Scores, kept: Alive) -> Sums:
        """See `families.report`."""
        return report(scores, kept)

    def told(self, lines: pa.Table) -> Sums:
        """See `families.told`."""
        return told(lines)
