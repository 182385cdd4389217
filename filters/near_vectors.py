"""Duplicates by embeddings: rows that mean the same as a better one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.filters.duplicates.families import COLUMNS, Members, report, told, values
from poolsieve.filters.duplicates.giants import CAP
from poolsieve.filters.duplicates.meanings import Meanings, meaning_clusters
from poolsieve.filters.duplicates.scores import check_best
from poolsieve.filters.duplicates.vectors import WIDEST, directions
from poolsieve.scoring_models.base.arrow import is_float_list
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.derived import Alive, Part, Scores, Sums
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short

THRESHOLD = 0.95
"""A cosine."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class NearVectors(Config):
    """Clusters of the rows that are alive, by their embeddings.

    One worker sees all rows: two bytes for each number of an embedding, beside the embeddings themselves. A row whose
    embedding is missing, not finite, of length 0 or of another width than most is nobody's duplicate.

    Args:
        embedding: a score or pool column of lists of floats.
        best: a score or pool column of numbers; the largest of a cluster stands for the others. Without it, the row
            whose embedding has the least hash.
        threshold: cosine from which a row stands for another.
        clusters: of k-means, within which rows are compared; None: one up to 4,096 different embeddings, then the root
            of their number.
        cap: rows of the largest of these, and of the largest component of near rows.
        version: raised when the same scores would give other values.
    """

    embedding: str
    best: str | None = None
    threshold: float | str = THRESHOLD
    clusters: int | None = None
    cap: int = CAP
    version: int = 1

    def __post_init__(self) -> None:
        if not _is_cosine(self.threshold):
            what = f"NearVectors(threshold={short(self.threshold)})"
            raise PlanError(f"{what}: must be a cosine, a number above 0, and 1 at most")
        for name, value, least in (("clusters", self.clusters, 1), ("cap", self.cap, 2)):
            if (value is not None or name == "cap") and (type(value) is not int or value < least):
                raise PlanError(f"NearVectors({name}={short(value)}): must be a whole number, {least} or more")

    @property
    def reads(self) -> tuple[str, ...]:
        """The embedding, and the best score where there is one."""
        return (self.embedding,) if self.best is None else (self.embedding, self.best)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """See `filters/dedup.py`."""
        return COLUMNS

    def check_types(self, where: str, types: Mapping[str, pa.DataType]) -> None:
        """Refuses what is no list of floats, what is too wide, and a best that is no number.

        Raises:
            PlanError: saying what it is.
        """
        kind = types[self.embedding]
        if not is_float_list(kind):
            raise PlanError(
                f"{where}: {self.embedding!r} is {kind}, and lists of floats are needed, as `clip.image_embedding` of "
                "Clip(embeddings=True)"
            )
        if isinstance(kind, pa.FixedSizeListType) and not 1 <= kind.list_size <= WIDEST:
            raise PlanError(f"{where}: {self.embedding!r} has {kind.list_size:,} numbers; 1 to {WIDEST:,} are taken")
        check_best(where, self.best, types)

    def gather(self, parts: Iterator[Part]) -> pa.Table:
        """A line for each row of a cluster."""
        members = Members.of(parts, self.reads)
        found = directions(members.scores[self.embedding])
        settings: dict[str, Any] = {"threshold": float(self.threshold), "cells": self.clusters, "cap": self.cap}
        rows = np.arange(len(found.some), dtype=np.uint64)
        made = meaning_clusters(rows, found.vectors, found.some, members.best_by(self.best), **settings)
        self._warn(made)
        return members.table(made.clusters)

    def _warn(self, found: Meanings) -> None:
        if found.clusters.giants.components:
            said = "%d components of near embeddings had more than %d different ones and were split"
            _log.warning(said, found.clusters.giants.components, self.cap)
        if found.crowded:
            said = "%d clusters of k-means had more than %d embeddings and were split: take more clusters"
            _log.warning(said, found.crowded, self.cap)

    def values(self, scores: Scores, table: pa.Table) -> Mapping[str, pa.Array]:
        """The lines' columns."""
        return values(table)

    def report(self, scores: Scores, kept: Alive) -> Sums:
        """See `families.report`."""
        return report(scores, kept)

    def told(self, lines: pa.Table) -> Sums:
        """See `families.told`."""
        return told(lines)


def _is_cosine(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and 0 < float(value) <= 1
    except (TypeError, ValueError):
        return False
