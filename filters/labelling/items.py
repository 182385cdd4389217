"""Labelled rows of a whole pool: in one order, their labels as places among the classes, their lists as a matrix.

Rows stand in the order of (uid, path, row), whatever order they came in, so that sums of floats and ties come out alike
however the pool is cut into files; only where uids repeat do the files' names decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.scoring_models.base.errors import PoolsieveError
from poolsieve.scoring_models.base.kinds import short

Ints = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]

MOST_CLASSES = 10_000
"""Beyond this a column holds no classes: a probability of each for every row would not fit in memory."""

LARGEST = 1e18
"""Its square is a float32."""

_BLOCK = 1 << 22
"""Numbers that are looked at in one go, so that what is computed beside a big matrix stays small."""


class Items(NamedTuple):
    """The n rows of a pool that are alive, in the order of (uid, path, row).

    Attributes:
        path: string (n,), the file of each row.
        row: int64 (n,), its position there.
        uid: string (n,).
        label: string, integer or boolean (n,).
        values: float (n, width), zeros where `there` is false.
        there: bool (n,), whether a row has a list of `width` numbers; they may be NaN.
        given: bool (n,), whether a row has a list at all.
    """

    path: pa.Array
    row: Ints
    uid: pa.Array
    label: pa.Array
    values: Floats
    there: Bools
    given: Bools

    def place(self, item: int) -> str:
        """Where a row stands, for messages."""
        return f"{self.path[item].as_py()}, row {self.row[item]}"


_NO_TEXT, _NO_ROW = pa.array([], pa.string()), np.zeros(0, dtype=bool)
_NOTHING = Items(_NO_TEXT, np.zeros(0, dtype=np.int64), _NO_TEXT, _NO_TEXT, np.zeros((0, 0)), _NO_ROW, _NO_ROW)


def in_order(parts: Iterable[Any], label: str, lists: str, width: int | None = None, exact: bool = False) -> Items:
    """The rows of all parts in one order.

    Memory: what the parts hold, and the matrix; a part's lists are let go as soon as they stand in it.

    Args:
        parts: (path, rows, uid, scores by name) of each shard, in any order.
        label: the score that is the label.
        lists: the score that is a list of floats.
        width: numbers in a list; None: as many as most lists have (of two such, the smaller).
        exact: keep float64 lists as float64; else the matrix is float32.
    """
    paths, rows, uids, labels, chunks = _columns(parts, label, lists)
    if not labels:
        return _NOTHING
    keys = pa.table({"uid": pa.chunked_array(uids, pa.string()), "path": _repeated(paths, rows), "row": _joined(rows)})
    order = pc.sort_indices(keys, [("uid", "ascending"), ("path", "ascending"), ("row", "ascending")])
    keys, sorted_labels = keys.take(order), pa.chunked_array(labels).take(order).combine_chunks()
    kind = np.float64 if exact and pa.types.is_float64(chunks[0].type.value_type) else np.float32
    values, there, given = _matrix(chunks, _inverse(np.asarray(order)), width, kind)
    return Items(
        keys["path"].combine_chunks(),
        keys["row"].to_numpy(),
        keys["uid"].combine_chunks(),
        sorted_labels,
        values,
        there,
        given,
    )


def _columns(parts: Iterable[Any], label: str, lists: str) -> tuple[list[Any], ...]:
    paths, rows, uids, labels, chunks = [], [], [], [], []
    for path, row, uid, scores in parts:
        if not len(row):
            continue
        paths.append(path)
        rows.append(np.asarray(row, dtype=np.int64))
        uids.append(uid.cast(pa.string()))
        labels.append(scores[label])
        chunks.append(scores[lists])
    return paths, rows, uids, labels, chunks


def _repeated(paths: Sequence[str], rows: Sequence[Ints]) -> pa.ChunkedArray:
    return pa.chunked_array(
        [pa.repeat(pa.scalar(path, pa.string()), len(row)) for path, row in zip(paths, rows, strict=True)], pa.string()
    )


def _joined(rows: Sequence[Ints]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(row, pa.int64()) for row in rows], pa.int64())


def _inverse(order: Ints) -> Ints:
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    return places


def _matrix(chunks: list[Any], places: Ints, width: int | None, kind: Any) -> tuple[Floats, Bools, Bools]:
    """Lists as rows of a matrix, each at its place. Empties `chunks`."""
    lengths = np.concatenate([_lengths(chunk) for chunk in chunks])
    width = _common(lengths) if width is None else width
    values = np.zeros((len(places), width), dtype=kind)
    there, given = np.zeros(len(places), dtype=bool), np.zeros(len(places), dtype=bool)
    given[places], there[places] = lengths >= 0, lengths == width
    end = len(places)
    while chunks:
        chunk = chunks.pop()
        start = end - len(chunk)
        good = lengths[start:end] == width
        flat = chunk.filter(pa.array(good)).flatten().to_numpy(zero_copy_only=False)
        with np.errstate(over="ignore"):  # what float32 can't hold is infinite, and no row's number
            values[places[start:end][good]] = flat.reshape(-1, width)
        end = start
    return values, there, given


def _lengths(chunk: pa.Array) -> Ints:
    """int64 (n,): numbers in each list, -1 for null."""
    return np.asarray(pc.list_value_length(chunk).cast(pa.int64()).fill_null(-1), dtype=np.int64)


def _common(lengths: Ints) -> int:
    found, counts = np.unique(lengths[lengths > 0], return_counts=True)
    return int(found[np.argmax(counts)]) if len(found) else 1


def classes_of(labels: pa.Array, given: Sequence[Any] | None) -> list[Any]:
    """The classes: those that are given, in their order, else every label that there is, sorted.

    Raises:
        PoolsieveError: for fewer than two, or for more than `MOST_CLASSES` different labels.
    """
    found = pc.unique(labels.drop_null())
    if given is None and len(found) > MOST_CLASSES:
        raise PoolsieveError(
            f"the labels have {len(found):,} different values, such as {short(found[0].as_py())}: classes are at most "
            f"{MOST_CLASSES:,}"
        )
    if len(found) < 2:
        only = short(found[0].as_py()) if len(found) else "none"
        raise PoolsieveError(f"labels of at least two classes are needed to find wrong ones; there is {only}")
    return sorted(found.to_pylist()) if given is None else list(given)


def codes_of(labels: pa.Array, classes: Sequence[Any]) -> Ints:
    """int64 (n,): each label's place among the classes; -1 for null, -2 for a label that is none of them.

    Raises:
        PoolsieveError: if the classes are of another kind than the labels.
    """
    try:
        known = pa.array(classes, type=labels.type)
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise PoolsieveError(
            f"classes={short(list(classes))} are no values of the labels' type {labels.type}"
        ) from error
    places = pc.index_in(labels, value_set=known)
    codes = np.asarray(places.cast(pa.int64()).fill_null(-2), dtype=np.int64)
    return np.where(np.asarray(labels.is_null()), -1, codes)


def finite(values: Floats) -> Bools:
    """bool (n,): rows without NaN, infinities, and numbers beyond `LARGEST`."""
    step = max(1, _BLOCK // max(1, values.shape[1]))
    found = [(np.abs(values[at : at + step]) <= LARGEST).all(axis=1) for at in range(0, len(values), step)]
    return np.concatenate(found) if found else np.zeros(0, dtype=bool)


def counted(reasons: Mapping[str, Bools]) -> dict[str, int]:
    """Reason -> rows, for the reasons that some row has."""
    return {reason: int(rows.sum()) for reason, rows in reasons.items() if rows.any()}
