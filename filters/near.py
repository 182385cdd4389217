"""Duplicates by sketches: copies, and rows that resemble a better one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from poolsieve.filters.duplicates.clusters import Near, clusters
from poolsieve.filters.duplicates.families import COLUMNS, Members, values
from poolsieve.filters.duplicates.sketch import BINS
from poolsieve.filters.sketches import HASH_BYTES
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.derived import Part, Scores
from poolsieve.scoring_models.base.errors import PlanError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class Duplicates(Config):
    """Clusters of rows of which each resembles the best one, by the sketches of the rows that are alive.

    Copies first: rows with the same `exact`. Of those that are left, rows whose `near` sketches agree are joined, and
    in each component the best row takes those that resemble it, then the best one that is left, and so on. So a row
    that is not the first of its cluster resembles the one that is; through a third is not enough.

    All rows alive are seen at once, by one worker: 16 bytes of memory for each, 256 more for a sketch, and 16 for each
    band of it while candidates are looked for.

    Args:
        exact: the score that `ExactHash` made.
        near: the score that `TextSketch` made; None: copies alone.
        best: a score, of which the largest is best; None: the least hash, which is nobody's choice.
        by: what counts as near.
        version: raised when the same scores would give other values.
    """

    exact: str
    near: str | None = None
    best: str | None = None
    by: Near = field(default_factory=Near)
    version: int = 1

    in_manifest: ClassVar[bool] = True

    @property
    def reads(self) -> tuple[str, ...]:
        """The sketches, and the score."""
        return tuple(name for name in (self.exact, self.near, self.best) if name is not None)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """See `families.COLUMNS`; and `copy`, whether it is a copy of the row that is kept."""
        return {**COLUMNS, "copy": pa.bool_()}

    def check_types(self, where: str, types: Mapping[str, pa.DataType]) -> None:
        """Refuses what is no sketch, or no number.

        Raises:
            PlanError: saying what it is.
        """
        for name, width, maker in ((self.exact, HASH_BYTES, "ExactHash"), (self.near, BINS, "TextSketch")):
            if name is not None and types[name] != pa.binary(width):
                raise PlanError(f"{where}: {name!r} is {types[name]}, and a sketch that {maker} made is needed")
        kind = None if self.best is None else types[self.best]
        if kind is not None and not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise PlanError(f"{where}: best={self.best!r} is {kind}, and a number is needed")

    def gather(self, parts: Iterator[Part]) -> pa.Table:
        """A line for each row of a cluster of two or more."""
        members = Members.of(parts, self.reads)
        hashes, hashed = members.bytes_of(self.exact, HASH_BYTES)
        at = np.flatnonzero(hashed)
        hashes = hashes[at]
        sketches, some = self._sketches(members, at)
        score = None if self.best is None else _numbers(members.scores[self.best])[at]
        found = clusters(np.arange(len(at), dtype=np.uint64), hashes, sketches, some, score, self.by)
        if found.giants:
            _log.warning("%d components of near rows were larger than %d, and were split", found.giants, self.by.cap)
        copies = (hashes == hashes[found.of.astype(np.int64)]).all(axis=1) & (found.rank > 0)
        return members.some(at).table(found, copy=pa.array(copies))

    def _sketches(self, members: Members, at: Any) -> tuple[Any, Any]:
        if self.near is None:
            return None, None
        sketches, some = members.bytes_of(self.near, BINS)
        return sketches[at], some[at]

    def values(self, scores: Scores, table: pa.Table) -> Mapping[str, pa.Array]:
        """The lines' columns; rank 0 and size 1 for a row that is in no cluster."""
        return values(table, self.columns)


def _numbers(chunks: list[pa.Array]) -> Any:
    """float64 or int64 (n,); NaN, which is worst, for null."""
    whole = pa.chunked_array(chunks) if chunks else pa.chunked_array([], pa.float64())
    if whole.null_count == 0 and pa.types.is_integer(whole.type):
        return whole.to_numpy()
    return whole.cast(pa.float64(), safe=False).to_numpy()
