"""What the ledger says of duplicates: from numbers of rows to files and positions in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.filters.duplicates.bands import Rows
from poolsieve.filters.duplicates.characters import Bytes
from poolsieve.filters.duplicates.clusters import Bools, Clusters
from poolsieve.filters.duplicates.roots import Ints
from poolsieve.filters.duplicates.scores import worse
from poolsieve.scoring_models.base.derived import PATH, ROW, Alive, Part, Scores, Sums

COLUMNS: Mapping[str, pa.DataType] = {
    "cluster": pa.string(),
    "size": pa.int64(),
    "rank": pa.int64(),
    "copy": pa.int64(),
    "similarity": pa.float32(),
    "of": pa.string(),
}
"""See `filters/dedup.py`."""

SIZES, SIMILARITY, SPLIT = "sizes", "similarity", "split"
"""Groups of what `report` and `told` count; lines have the last as a column that is in no ledger."""


class Members(NamedTuple):
    """The n rows of a pool that are alive, in the order of (path, row).

    Attributes:
        paths: (files,) the files.
        file: int64 (n,), the file of each row.
        row: int64 (n,), its position there.
        scores: by name, the arrays of its parts, n values together.
    """

    paths: Sequence[str]
    file: Ints
    row: Ints
    scores: Mapping[str, list[pa.Array]]

    @classmethod
    def of(cls, parts: Iterable[Part], names: Sequence[str]) -> Members:
        """Of all parts, which come in that order, with the scores of those names."""
        paths, rows = list[str](), [np.empty(0, dtype=np.int64)]
        scores: dict[str, list[pa.Array]] = {name: [] for name in names}
        for part in parts:
            paths.append(part.path)
            rows.append(np.asarray(part.rows, dtype=np.int64))
            for name in names:
                scores[name].append(part.scores[name])
        return cls(
            paths, np.repeat(np.arange(len(paths)), [len(one) for one in rows[1:]]), np.concatenate(rows), scores
        )

    def bytes_of(self, name: str, width: int) -> tuple[Bytes, Bools]:
        """See `fixed_bytes`, of a score."""
        return fixed_bytes(self.scores[name], width)

    def best_by(self, name: str | None) -> Ints | None:
        """int64 (n,): a score as numbers, of which the largest is best, see `scores.worse`; None for no score."""
        if name is None:
            return None
        chunks = self.scores[name]
        return worse(pa.concat_arrays(chunks) if chunks else pa.nulls(0, pa.float64())).score()

    def some(self, at: Ints) -> Members:
        """Those at some places, without their scores."""
        return Members(self.paths, self.file[at], self.row[at], {})

    def table(self, found: Clusters) -> pa.Table:
        """A line for each row of a cluster of two or more; `found` has the places of these rows."""
        files = pa.array(self.paths, pa.string()).take(pa.array(self.file, pa.int64()))
        return lines(files, pa.array(self.row, pa.int64()), found, lambda rows: rows.astype(np.int64))


def lines(path: Any, row: Any, found: Clusters, places: Callable[[Rows], Ints]) -> pa.Table:
    """A line for each row of a cluster of two or more, or of a component that was split.

    Args:
        path: string (n,).
        row: int64 (n,).
        found: clusters of these n rows.
        places: where rows, as `found` names them, are among these.
    """

    some = told_of(found)
    alone = found.size[some] == 1  # as a row without a line, but for what it was in

    def names(rows: Rows) -> Any:
        at = pa.array(places(rows), pa.int64(), mask=alone)
        return pc.binary_join_element_wise(path.take(at), row.take(at).cast(pa.string()), ":")

    at = pa.array(np.flatnonzero(some), pa.int64())
    return pa.table(
        {
            PATH: path.take(at),
            ROW: row.take(at),
            "cluster": names(found.cluster[some]),
            "size": found.size[some],
            "rank": found.rank[some],
            "copy": found.copy[some],
            "similarity": pa.array(found.similarity[some], pa.float32(), mask=alone),
            "of": names(found.of[some]),
            SPLIT: found.split[some],
        }
    )


def told_of(found: Clusters) -> Bools:
    """bool (n,): which rows have a line."""
    return (found.size > 1) | (found.split > 0)


def bytes_in(values: pa.Array, width: int) -> tuple[Bytes, Bools]:
    """(values, some): as `Members.bytes_of`, of one array."""
    some = np.asarray(values.is_valid())
    made = np.zeros((len(some), width), dtype=np.uint8)
    made[some] = _bytes(values, width)
    return made, some


def fixed_bytes(chunks: Sequence[pa.Array], width: int) -> tuple[Bytes, Bools]:
    """(values, some): uint8 (n, width) of arrays of bytes of one size, zeros where `some`, bool (n,), is false."""
    some = np.concatenate([np.empty(0, dtype=bool), *(np.asarray(chunk.is_valid()) for chunk in chunks)])
    made = np.zeros((len(some), width), dtype=np.uint8)
    made[some] = np.concatenate([np.empty((0, width), dtype=np.uint8), *(_bytes(one, width) for one in chunks)])
    return made, some


def _bytes(chunk: pa.Array, width: int) -> Any:
    """uint8 (m, width) of the values that are not null."""
    valid = chunk.drop_null()
    data = valid.buffers()[1]
    flat = np.frombuffer(cast("Any", data), dtype=np.uint8) if data is not None else np.empty(0, dtype=np.uint8)
    return flat[valid.offset * width : (valid.offset + len(valid)) * width].reshape(-1, width)


_ALONE = {"size": 1, "rank": 0, "copy": 0}


def values(lines: pa.Table) -> dict[str, pa.Array]:
    """The columns of rows that are alive. A row without a line is alone: in no cluster, and like no other."""
    made = {name: lines.column(name).combine_chunks() for name in COLUMNS}
    return made | {name: made[name].fill_null(value) for name, value in _ALONE.items()}


def report(scores: Scores, kept: Alive) -> Sums:
    """Clusters of several rows (counted where the row that stands for them is), copies, and other near rows.

    Beside these `SIZES` has the clusters by the least size of their class (2, 3, 4 to 7, 8 to 15, ...), and
    `SIMILARITY` the near rows by hundredths of their similarity, rounded down.
    """
    size, rank, copy = (np.asarray(scores[name].fill_null(0)) for name in ("size", "rank", "copy"))
    stands, near = (rank == 0) & (size > 1), (rank > 0) & (copy == 0)
    counts = {"clusters": stands, "copies": copy > 0, "near": near}
    alike = scores["similarity"].to_numpy(zero_copy_only=False)[near]
    alike = alike[np.isfinite(alike)]
    return {
        "": {name: int(some.sum()) for name, some in counts.items()},
        SIZES: _counted(_size_class(size[stands])),
        SIMILARITY: _counted(np.floor(alike.astype(np.float64) * 100).astype(np.int64)),
    }


def told(lines: pa.Table) -> Sums:
    """Rows of components that were split, by how many rows their component had; of lines of an earlier version none."""
    if SPLIT not in lines.column_names:
        return {}
    sizes = np.asarray(lines.column(SPLIT).combine_chunks().fill_null(0))
    return {SPLIT: _counted(sizes[sizes > 0])}


def size_class(least: int) -> tuple[int, int]:
    """Least and largest size of a class of clusters, by its least.

    >>> [size_class(least) for least in (2, 3, 4, 64)]
    [(2, 2), (3, 3), (4, 7), (64, 127)]
    """
    return (least, least) if least < 4 else (least, 2 * least - 1)


def _size_class(size: Ints) -> Ints:
    """int64 (n,): the least size of each cluster's class."""
    large = np.int64(1) << (np.frexp(np.maximum(size, 1))[1] - 1).astype(np.int64)
    return np.where(size < 4, size, large)


def _counted(values: Ints) -> dict[str, int]:
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(map(str, found.tolist()), counts.tolist(), strict=True))
