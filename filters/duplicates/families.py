"""Families of rows that resemble one another: which row each keeps, and how that is told of its other rows.

However a family was found, it is given as one number for each row: the row that is kept for it. What the ledger says of
a row follows from these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.base.derived import PATH, ROW, Part

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]

COLUMNS: Mapping[str, pa.DataType] = {
    "rank": pa.int64(),
    "size": pa.int64(),
    "similarity": pa.float32(),
    "of": pa.string(),
    "cluster": pa.string(),
}
"""What is known of a row: its place in its family, 0 for the row that is kept; the family's rows; how much the row
resembles the one kept, null for that one itself; the one kept, as FILE:ROW; the family's first row, likewise."""


class Rows(NamedTuple):
    """The n rows of a pool that are alive, in the order of (path, row).

    Attributes:
        paths: (files,) the files.
        file: int64 (n,), the file of each row.
        row: int64 (n,), its position there.
        uid: string (n,).
        scores: by name, n values each.
    """

    paths: Sequence[str]
    file: Ints
    row: Ints
    uid: pa.ChunkedArray
    scores: Mapping[str, pa.ChunkedArray]

    @classmethod
    def of(cls, parts: Iterable[Part], kinds: Mapping[str, pa.DataType]) -> Rows:
        """Of all parts, which come in that order. `kinds` are the types of the scores that are read."""
        paths, counts, rows, uids = list[str](), list[int](), list[Ints](), list[pa.Array]()
        scores: dict[str, list[pa.Array]] = {name: [] for name in kinds}
        for part in parts:
            paths.append(part.path)
            counts.append(len(part.rows))
            rows.append(np.asarray(part.rows, dtype=np.int64))
            uids.append(part.uid.cast(pa.string()))
            for name, values in part.scores.items():
                scores[name].append(values)
        return cls(
            paths,
            np.repeat(np.arange(len(paths)), counts),
            np.concatenate([np.empty(0, dtype=np.int64), *rows]),
            pa.chunked_array(uids, pa.string()),
            {name: pa.chunked_array(chunks, cast("Any", kinds[name])) for name, chunks in scores.items()},
        )

    def names(self, at: Ints) -> pa.Array:
        """FILE:ROW of some rows."""
        pairs = zip(self.file[at].tolist(), self.row[at].tolist(), strict=True)
        return pa.array([f"{self.paths[file]}:{row}" for file, row in pairs], pa.string())


def table(rows: Rows, kept: Ints, order: Ints, similarity: Floats) -> pa.Table:
    """A line for each row of a family of two or more.

    Args:
        rows: the n rows.
        kept: int64 (n,), for each row the one that is kept for it; itself for those.
        order: int64 (n,), the rows from best to worst: in a family the one kept has rank 0, the others follow by it.
        similarity: float (n,), how much a row resembles the one kept for it.
    """
    sizes = np.bincount(kept, minlength=len(kept))[kept]
    at = np.flatnonzero(sizes > 1)
    first = np.full(len(kept), len(kept), dtype=np.int64)
    np.minimum.at(first, kept, np.arange(len(kept)))
    place = np.empty(len(kept), dtype=np.int64)
    place[order] = np.arange(len(kept))
    own = at == kept[at]
    return pa.table(
        {
            PATH: pa.array(rows.paths, pa.string()).take(pa.array(rows.file[at], pa.int64())),
            ROW: pa.array(rows.row[at], pa.int64()),
            "rank": pa.array(_ranks(kept[at], np.where(own, -1, place[at])), pa.int64()),
            "size": pa.array(sizes[at], pa.int64()),
            "similarity": pa.array(similarity[at], pa.float32(), mask=own),
            "of": rows.names(kept[at]),
            "cluster": rows.names(first[kept[at]]),
        }
    )


def _ranks(family: Ints, place: Ints) -> Ints:
    """int64 (m,): each row's place in its family, 0 for the least `place`."""
    order = np.lexsort([place, family])
    there = family[order]
    starts = np.flatnonzero(np.concatenate([[True], there[1:] != there[:-1]])) if len(there) else np.empty(0, np.int64)
    ranks = np.empty(len(family), dtype=np.int64)
    ranks[order] = np.arange(len(family)) - np.repeat(starts, np.diff([*starts, len(family)]))
    return ranks


def values(lines: pa.Table) -> dict[str, pa.Array]:
    """The columns of `COLUMNS` of rows that are alive. One without a line is alone: rank 0, size 1, the rest null."""
    made = {name: lines.column(name).combine_chunks() for name in COLUMNS}
    return {**made, "rank": made["rank"].fill_null(0), "size": made["size"].fill_null(1)}
