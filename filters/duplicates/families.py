"""What the ledger says of duplicates: from numbers of rows to files and positions in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa

from poolsieve.filters.duplicates.characters import Bytes
from poolsieve.filters.duplicates.clusters import Bools, Clusters
from poolsieve.filters.duplicates.components import Ints
from poolsieve.scoring_models.base.derived import PATH, ROW, Part

COLUMNS: Mapping[str, pa.DataType] = {
    "rank": pa.int64(),
    "size": pa.int64(),
    "similarity": pa.float32(),
    "of": pa.string(),
    "cluster": pa.string(),
}
"""What is known of a row: its place in its cluster, 0 for the row that is kept; the cluster's rows; how much the row
resembles the one kept, null for that one itself; the one kept, as FILE:ROW; the cluster's first row, likewise."""


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
        """(values, some): uint8 (n, width) of a score of bytes of one size, zeros where `some`, bool (n,), is false."""
        chunks = self.scores[name]
        some = np.concatenate([np.empty(0, dtype=bool), *(np.asarray(chunk.is_valid()) for chunk in chunks)])
        made = np.zeros((len(some), width), dtype=np.uint8)
        made[some] = np.concatenate([np.empty((0, width), dtype=np.uint8), *(_bytes(one, width) for one in chunks)])
        return made, some

    def some(self, at: Ints) -> Members:
        """Those at some places, without their scores."""
        return Members(self.paths, self.file[at], self.row[at], {})

    def names(self, at: Ints) -> pa.Array:
        """FILE:ROW of some rows."""
        pairs = zip(self.file[at].tolist(), self.row[at].tolist(), strict=True)
        return pa.array([f"{self.paths[file]}:{row}" for file, row in pairs], pa.string())

    def table(self, found: Clusters, **more: pa.Array) -> pa.Table:
        """A line for each row of a cluster of two or more. `found` has the places of these rows; `more` n values."""
        at = np.flatnonzero(found.size > 1)
        own = found.rank[at] == 0
        here = pa.array(at, pa.int64())
        made = {
            PATH: pa.array(self.paths, pa.string()).take(pa.array(self.file[at], pa.int64())),
            ROW: pa.array(self.row[at], pa.int64()),
            "rank": pa.array(found.rank[at], pa.int64()),
            "size": pa.array(found.size[at], pa.int64()),
            "similarity": pa.array(found.similarity[at], pa.float32(), mask=own),
            "of": self.names(found.of[at].astype(np.int64)),
            "cluster": self.names(found.cluster[at].astype(np.int64)),
        }
        return pa.table({**made, **{name: values.take(here) for name, values in more.items()}})


def _bytes(chunk: pa.Array, width: int) -> Any:
    """uint8 (m, width) of the values that are not null."""
    valid = chunk.drop_null()
    data = valid.buffers()[1]
    flat = np.frombuffer(cast("Any", data), dtype=np.uint8) if data is not None else np.empty(0, dtype=np.uint8)
    return flat[valid.offset * width : (valid.offset + len(valid)) * width].reshape(-1, width)


def values(lines: pa.Table, columns: Iterable[str]) -> dict[str, pa.Array]:
    """The columns of rows that are alive. A row without a line is alone: rank 0, size 1, and the rest null."""
    made = {name: lines.column(name).combine_chunks() for name in columns}
    return {**made, "rank": made["rank"].fill_null(0), "size": made["size"].fill_null(1)}
