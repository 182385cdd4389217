"""What a caller of a feed waits for: its rows on their way through a model, and their scores laid out. No Beam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.base.arrow import nulls
from poolsieve.scoring_models.base.errors import RowError
from poolsieve.scoring_models.base.scorer import Scored, Scores


@dataclass(eq=False)
class Call:
    """One caller's rows: what has been found of them, and how many are still on their way (`left`).

    Only for a feed, which changes it under its own lock.
    """

    batch: pa.RecordBatch
    columns: Mapping[str, pa.DataType]
    threads: int
    left: int = 0
    seconds: float = 0.0
    found: list[tuple[Sequence[int], Scores]] = field(default_factory=list)
    errors: dict[int, RowError] = field(default_factory=dict)
    failure: BaseException | None = None

    def fail(self, row: int, error: RowError) -> None:
        """A row that can't be scored."""
        self.errors[row] = error
        self.left -= 1

    def scored(self) -> Scored:
        """All that was found, laid out by row."""
        return Scored(
            {name: self._column(name, kind) for name, kind in self.columns.items()}, self.errors, self.seconds
        )

    def _column(self, name: str, kind: pa.DataType) -> pa.Array:
        n = self.batch.num_rows
        if not self.found:
            return nulls(n, kind)
        rows = np.concatenate([np.asarray(rows, dtype=np.int64) for rows, _ in self.found])
        values = np.concatenate([made[name] for _, made in self.found])
        place = np.zeros(n, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        return _arrow(values, kind).take(pa.array(place, pa.int64(), mask=~np.isin(np.arange(n), rows)))


def _arrow(values: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array:
    """NumPy values of shape (m,) or (m, d) as an Arrow array of `kind`."""
    if values.ndim == 1:
        return pa.array(values, kind)
    inner = kind.value_type  # type: ignore[attr-defined]  # rows of numbers are declared as a list type
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), inner)
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
