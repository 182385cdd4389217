"""Runs a scorer over a batch: threads, micro-batches, and one bad row that costs one row. No Beam, no torch at load."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.base.arrow import nulls
from poolsieve.scoring_models.base.errors import PoolsieveError, RowError, error_text
from poolsieve.scoring_models.base.scorer import BatchScorer, Loaded, ModelBatch, Scored, Scores


def score_rows(
    scorer: BatchScorer | Loaded, batch: pa.RecordBatch, columns: Mapping[str, pa.DataType], *, threads: int
) -> Scored:
    """Scores of a batch, in the order and types of `columns`; rows that can't be scored are errors.

    Args:
        scorer: a scorer without a model, or a loaded model.
        batch: the columns that the scorer reads.
        columns: column -> type, as the scorer declares them.
        threads: micro-batches of a model that may be worked on at a time.

    Raises:
        PoolsieveError, OSError, MemoryError: what is no row's fault (storage, device, a broken contract).
    """
    if batch.num_rows == 0:
        return Scored({name: pa.array([], kind) for name, kind in columns.items()})
    if hasattr(scorer, "infer"):
        return _ModelRun(cast(Loaded, scorer), batch, columns).run(threads)
    errors: dict[int, RowError] = {}
    parts = list(_bisected(scorer.score, batch, 0, columns, errors))
    whole = {
        name: pa.concat_arrays([part.columns[name] for part in parts]).cast(kind) for name, kind in columns.items()
    }
    return Scored(whole, errors)


def _bisected(
    score: Callable[[pa.RecordBatch], Scored],
    batch: pa.RecordBatch,
    start: int,
    columns: Mapping[str, pa.DataType],
    errors: dict[int, RowError],
) -> Iterator[Scored]:
    """Scores of a batch in order, halving it where it fails until the failing row is alone."""
    try:
        made = score(batch)
    except Exception as error:
        if is_fatal(error):
            raise
        if batch.num_rows == 1:
            errors[start] = row_error(error)
            yield Scored({name: nulls(1, kind) for name, kind in columns.items()})
            return
        half = batch.num_rows // 2
        first, second = batch.take(pa.array(range(half))), batch.take(pa.array(range(half, batch.num_rows)))
    else:
        errors.update({start + i: error for i, error in made.errors.items()})
        yield made
        return
    # Outside the handler: an exception that is being handled keeps its traceback, and with it the batch, alive.
    yield from _bisected(score, first, start, columns, errors)
    yield from _bisected(score, second, start + half, columns, errors)


def is_fatal(error: BaseException) -> bool:
    """Whether an exception is no row's fault: storage, memory, the device, or a broken contract of the scorer."""
    if isinstance(error, (PoolsieveError, MemoryError)):
        return True
    if isinstance(error, OSError):
        # Pillow raises a bare OSError without an errno ("image file is truncated") for what is wrong with an image.
        bare = type(error) is OSError and error.errno is None
        return not bare and type(error).__module__.partition(".")[0] != "PIL"
    name = type(error).__name__
    return name in ("OutOfMemoryError", "AcceleratorError") or "CUDA" in str(error)


def row_error(error: BaseException) -> RowError:
    """An exception as strings: its class in snake case, and its text."""
    kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(error).__name__).lower()
    return RowError(kind, error_text(error))


class _ModelRun:
    """One batch through one loaded model."""

    def __init__(self, loaded: Loaded, batch: pa.RecordBatch, columns: Mapping[str, pa.DataType]) -> None:
        self.loaded, self.batch, self.columns = loaded, batch, columns
        self.errors: dict[int, RowError] = {}
        self.found: list[tuple[Sequence[int], Scores]] = []
        self.lock = threading.Lock()

    def run(self, threads: int) -> Scored:
        """Works through the micro-batches, `threads` at a time, and lays their scores out by row."""
        pieces = list(self.loaded.micro_batches(self.batch))
        if threads == 1 or len(pieces) <= 1:
            for piece in pieces:
                self.piece(piece)
        else:
            with ThreadPoolExecutor(min(threads, len(pieces)), thread_name_prefix="poolsieve-model") as pool:
                list(pool.map(self.piece, pieces))
        return Scored({name: self._column(name, kind) for name, kind in self.columns.items()}, self.errors)

    def piece(self, rows: Sequence[int]) -> None:
        """Prepares and infers one micro-batch, halving it where the model fails."""
        try:
            prepared, errors = self.loaded.prepare(self.batch, rows)
            found = [(part.rows, self._checked(part)) for part in prepared]
        except Exception as error:
            if is_fatal(error):
                raise
            if len(rows) == 1:
                self._keep([], {rows[0]: row_error(error)})
                return
        else:
            self._keep(found, errors)
            return
        half = len(rows) // 2
        self.piece(rows[:half])
        self.piece(rows[half:])

    def _checked(self, part: ModelBatch) -> Scores:
        made = self.loaded.infer(part)
        return {name: np.asarray(made[name])[: len(part.rows)] for name in self.columns}

    def _keep(self, found: list[tuple[Sequence[int], Scores]], errors: Mapping[int, RowError]) -> None:
        with self.lock:
            self.found.extend(found)
            self.errors.update(errors)

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
