"""`dedup.*`: rows that are copies of a better one, or near to one.

Clusters depend on which rows are alive, so they are derived values and no scores: what is stored is each row's sketch,
and another threshold, other bands or another idea of the best is a decision, which reads no text again. They are found
by one worker that has the hash, the sketch and the score of all rows in memory (some 300 bytes a row). Their values
stand in the ledger under a name (`dup`, if nothing is said). `dup.of` is the row that stands for a row, which it
resembles, as `path:row`, and `dup.similarity` (float32) says how much; `dup.rank` is 0 for the row that stands for the
others, then counts from the best on, as `dup.copy` does among copies; `dup.cluster` is the first row of the cluster,
as `path:row`, and `dup.size` its rows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.filters.dsl.derive import Derive
from poolsieve.filters.dsl.expr import col
from poolsieve.filters.dsl.ready import stage
from poolsieve.filters.dsl.stages import Chain, Keep, Score
from poolsieve.filters.duplicates.bands import Bands
from poolsieve.filters.duplicates.clusters import Clusters, Near, clusters
from poolsieve.filters.duplicates.edges import CAP, least_equal
from poolsieve.filters.duplicates.sketch import BINS
from poolsieve.filters.sketches import HASH_BYTES, ExactHash, TextSketch
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.derived import PATH, ROW, Alive, Part, Scores, Sums
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short

EDGE, LEADER = 0.5, 0.55
"""Similarities of two rows of a component, and of a row and the one that stands for it. Of these and some twenty others
they found most of the variants with less than 2 % of wrong ones (`benchmarks/dedup.py`)."""

_log = logging.getLogger(__name__)


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
        """See the module."""
        ints = {"size": pa.int64(), "rank": pa.int64(), "copy": pa.int64()}
        return {"cluster": pa.string(), **ints, "similarity": pa.float32(), "of": pa.string()}

    def check_types(self, where: str, types: Mapping[str, pa.DataType]) -> None:
        """Refuses scores that are no hash, no sketch and no number.

        Raises:
            PlanError: saying which.
        """
        for name, size, made in ((self.hash, HASH_BYTES, "an ExactHash"), (self.sketch, BINS, "a TextSketch")):
            if name is not None and types[name] != pa.binary(size):
                raise PlanError(f"{where}: {name!r} is {types[name]}, and the score of {made} is needed")
        if self.best is not None and not _is_number(types[self.best]):
            raise PlanError(f"{where}: best={self.best!r} is {types[self.best]}, and numbers are needed")

    def gather(self, parts: Iterator[Part]) -> pa.Table:
        """A line for each row."""
        seen = _seen([part for part in parts if len(part.rows)], self)
        rows = np.arange(len(seen.rows), dtype=np.uint64)
        found = clusters(rows, seen.hashes, seen.sketches, seen.some, seen.score, self.near)
        if found.giants:
            _log.warning("%d components of near rows had more than %d rows and were split", found.giants, self.cap)
        return _table(seen, found)

    def values(self, scores: Scores, table: pa.Table) -> Mapping[str, pa.Array]:
        """The lines' columns."""
        return {name: table.column(name).combine_chunks() for name in self.columns}

    def report(self, scores: Scores, kept: Alive) -> Sums:
        """Clusters of several rows (counted where the row that stands for them is), copies, and other near rows."""
        size, rank, copy = (np.asarray(scores[name].fill_null(0)) for name in ("size", "rank", "copy"))
        counts = {"clusters": (rank == 0) & (size > 1), "copies": copy > 0, "near": (rank > 0) & (copy == 0)}
        return {"": {name: int(some.sum()) for name, some in counts.items()}}


def _check_share(name: str, value: Any) -> None:
    try:
        fine = not isinstance(value, bool) and 0 < float(value) <= 1 and least_equal(value) > 0
    except (TypeError, ValueError):
        fine = False
    if not fine:
        raise PlanError(f"Duplicates({name}={short(value)}): must be a number above 0, and 1 at most")


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


class _Seen(NamedTuple):
    """All rows that are alive, in the order of (path, row)."""

    paths: pa.ChunkedArray
    rows: np.ndarray[Any, Any]
    hashes: np.ndarray[Any, Any]
    sketches: np.ndarray[Any, Any] | None
    some: np.ndarray[Any, Any] | None
    score: np.ndarray[Any, Any] | None


def _seen(parts: list[Part], made: Duplicates) -> _Seen:
    rows = np.concatenate([part.rows for part in parts]) if parts else np.zeros(0, dtype=np.int64)
    paths = [pa.repeat(pa.scalar(part.path, pa.string()), len(part.rows)) for part in parts]
    hashes, there = _bytes_of(parts, made.hash, HASH_BYTES)
    # A row without a hash gets one that no other has: no two such rows are copies.
    numbers = np.flatnonzero(~there).astype(">u8")
    hashes[~there] = np.hstack([np.full((len(numbers), 8), 255, np.uint8), numbers.view(np.uint8).reshape(-1, 8)])
    sketches, some = (None, None) if made.sketch is None else _bytes_of(parts, made.sketch, BINS)
    score = None if made.best is None else _numbers([part.scores[made.best] for part in parts])
    return _Seen(pa.chunked_array(paths, pa.string()), rows, hashes, sketches, some, score)


def _bytes_of(parts: list[Part], name: str, size: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(uint8 (n, size), bool (n,)): a score's bytes, and where there are any."""
    arrays = [part.scores[name] for part in parts]
    there = [np.asarray(one.is_valid()) for one in arrays]
    blocks = [
        np.frombuffer(memoryview(one.buffers()[1] or b""), np.uint8, len(one) * size, one.offset * size).reshape(
            -1, size
        )
        for one in arrays
    ]
    if not arrays:
        return np.zeros((0, size), dtype=np.uint8), np.zeros(0, dtype=bool)
    return np.concatenate(blocks), np.concatenate(there)


def _numbers(arrays: list[pa.Array]) -> np.ndarray[Any, Any]:
    """(n,): numbers; where some are missing, float64 with NaN, which is the worst."""
    whole = pa.chunked_array(arrays) if arrays else pa.chunked_array([], pa.float64())
    return whole.to_numpy() if not whole.null_count else whole.cast(pa.float64(), safe=False).to_numpy()


def _table(seen: _Seen, found: Clusters) -> pa.Table:
    rows = pa.array(seen.rows, pa.int64())
    paths: Any = seen.paths.combine_chunks()
    names = pc.binary_join_element_wise(paths, rows.cast(pa.string()), ":")
    return pa.table(
        {
            PATH: paths,
            ROW: rows,
            "cluster": names.take(pa.array(found.cluster)),
            "size": found.size,
            "rank": found.rank,
            "copy": found.copy,
            "similarity": found.similarity,
            "of": names.take(pa.array(found.of)),
        }
    )


@stage(example="dedup.exact()")
def exact(*, role: str = "text", normalised: bool = False, best: str | None = None, name: str = "dup") -> Chain:
    """Keeps one row of those with the same text or bytes.

    Args:
        role: of text or bytes.
        normalised: whether capitals and blanks make no difference.
        best: a score or pool column; the row with the largest stays.
        name: of the values.
    """
    hashed = Score(**{f"{name}.hash": ExactHash(role, normalised)})
    found = Derive(**{name: Duplicates(hash=f"{name}.hash", best=best)})
    return Chain((hashed, found, Keep(col(f"{name}.copy") == 0, reason=f"{name}.exact")))


@stage(example="dedup.minhash()")
def minhash(
    *, threshold: float | str = LEADER, best: str | None = None, text: str = "text", name: str = "dup"
) -> Chain:
    """Keeps one row of those with the same text, and of those that share most of their shingles of five words.

    Each row that is dropped resembles the one that `<name>.of` names.

    Args:
        threshold: estimated Jaccard similarity from which the best row drops another; .6 for next to no wrong ones.
        best: a score or pool column; the row with the largest stays.
        text: the role to read.
        name: of the values.
    """
    hashed = Score(**{f"{name}.hash": ExactHash(text)})
    sketched = Score(**{f"{name}.sketch": TextSketch(text=text)})
    made = Duplicates(hash=f"{name}.hash", sketch=f"{name}.sketch", best=best, threshold=threshold)
    copies = Keep(col(f"{name}.copy") == 0, reason=f"{name}.exact")
    near = Keep(col(f"{name}.rank") == 0, reason=f"{name}.near")
    return Chain((hashed, sketched, Derive(**{name: made}), copies, near))
