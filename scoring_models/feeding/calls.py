"""What a caller of a feed waits for: its rows on their way through a model, and their scores laid out. No Beam."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.base.arrow import nulls
from poolsieve.scoring_models.base.errors import PoolsieveError, RowError, is_fatal, row_error
from poolsieve.scoring_models.base.scorer import Scored, Scores

T = TypeVar("T")

Ints = np.ndarray[Any, np.dtype[np.int64]]

Join = Callable[[Scores, Ints, int], Scores]
"""`joined` of a loaded model, see `LoadedByRow`."""


class _Found(NamedTuple):
    """What the model gave for some parts: the row of each, its place in the order of arrival, arrays by column."""

    rows: Sequence[int]
    numbers: Sequence[int]
    scores: Scores


@dataclass(eq=False)
class Call:
    """One caller's rows: what has been found of them, and how much is still on its way.

    `left` counts rows that are not decoded, and then their parts. Only for a feed, which changes it under its own lock.
    """

    batch: pa.RecordBatch
    columns: Mapping[str, pa.DataType]
    threads: int
    left: int = 0
    seconds: float = 0.0
    found: list[_Found] = field(default_factory=list)
    errors: dict[int, RowError] = field(default_factory=dict)
    failure: BaseException | None = None

    def decoded(self, rows: int, parts: int, errors: Mapping[int, RowError]) -> None:
        """`rows` rows have become `parts` parts; the others have an error, or nothing to score."""
        self.errors.update(errors)
        self.left += parts - rows

    def fail(self, row: int, error: RowError) -> None:
        """A row that can't be decoded, or a part of it that can't be scored: the whole row has no score."""
        self.errors.setdefault(row, error)
        self.left -= 1

    def through(self, rows: Sequence[int], numbers: Sequence[int], scores: Scores) -> None:
        """Parts that the model has seen."""
        self.found.append(_Found(rows, numbers, scores))
        self.left -= len(rows)

    def scored(self, joined: Join | None = None) -> Scored:
        """All that was found, laid out by row.

        Raises:
            PoolsieveError: a row had several parts, and the model can't join them; or it gave other columns.
        """
        rows, made = self._by_row(joined)
        columns = {name: self._column(name, kind, rows, made) for name, kind in self.columns.items()}
        return Scored(columns, self.errors, self.seconds)

    def _by_row(self, joined: Join | None) -> tuple[Ints, Scores]:
        """Positions of the rows that have scores, ascending, and their scores; no columns if there is no such row."""
        rows, parts = self._parts()
        own, owners = np.unique(rows, return_inverse=True)
        if joined is None:
            if len(own) < len(rows):
                raise PoolsieveError("a model gave several parts for a row, and has no method `joined` for them")
            return own, parts
        made: list[tuple[Ints, Scores]] = []

        def join(some: Sequence[int]) -> None:
            first, last = np.searchsorted(owners, (some[0], some[-1] + 1)).tolist()
            of_some = {name: values[first:last] for name, values in parts.items()}
            made.append((own[some[0] : some[-1] + 1], joined(of_some, owners[first:last] - some[0], len(some))))

        halved(join, range(len(own)), lambda place, error: self.errors.update({int(own[place]): error}))
        names = made[0][1] if made else {}
        scores = {name: np.concatenate([scores[name] for _, scores in made]) for name in names}
        return np.concatenate([rows for rows, _ in made]) if made else own[:0], scores

    def _parts(self) -> tuple[Ints, Scores]:
        """All parts of the rows that have no error, by row, each row's as `decode` gave them: their rows and arrays."""
        rows, numbers = (
            np.array([one for found in self.found for one in found[which]], dtype=np.int64) for which in (0, 1)
        )
        order = np.lexsort((numbers, rows))
        good = order[~np.isin(rows[order], list(self.errors))]
        if not len(good):
            return rows[:0], {}
        return rows[good], {
            name: np.concatenate([found.scores[name] for found in self.found])[good] for name in self.found[0].scores
        }

    def _column(self, name: str, kind: pa.DataType, rows: Ints, made: Scores) -> pa.Array:
        n = self.batch.num_rows
        if not len(rows):
            return nulls(n, kind)
        if len(made.get(name, ())) != len(rows):
            have = ", ".join(f"{len(values)} of {have!r}" for have, values in made.items())
            raise PoolsieveError(f"a model gave {have} for {len(rows)} rows; its scorer says column {name!r}")
        place = np.zeros(n, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        return _arrow(made[name], kind).take(pa.array(place, pa.int64(), mask=~np.isin(np.arange(n), rows)))


def halved(work: Callable[[Sequence[T]], None], rows: Sequence[T], failed: Callable[[T, RowError], None]) -> None:
    """Does `work` on rows, if there are any, halving them where it raises, until the row that it can't stand is alone.

    Raises:
        BaseException: what is no row's fault, see `is_fatal`.
    """
    if not rows:
        return
    try:
        work(rows)
    except Exception as error:
        if is_fatal(error):
            raise
        if len(rows) == 1:
            failed(rows[0], row_error(error))
            return
    else:
        return
    # Outside the handler: an exception that is being handled keeps its traceback, and with it the batch, alive.
    half = len(rows) // 2
    halved(work, rows[:half], failed)
    halved(work, rows[half:], failed)


def _arrow(values: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array:
    """NumPy values of shape (m,) or (m, d) as an Arrow array of `kind`."""
    if values.ndim == 1:
        return pa.array(values, kind)
    inner = kind.value_type  # type: ignore[attr-defined]  # rows of numbers are declared as a list type
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), inner)
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
