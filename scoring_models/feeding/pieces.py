"""Scores that come in pieces, put together again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.base.errors import PoolsieveError, RowError
from poolsieve.scoring_models.base.scorer import PieceScorer, Scored
from poolsieve.scoring_models.feeding.feed import Check

OnPiece = Callable[[list[int], Scored], None]
"""Gets rows of the batch and their scores, as they come."""


def nobody(rows: list[int], made: Scored) -> None:
    """For a caller who wants the whole alone."""


def gathered(
    scorer: PieceScorer, batch: pa.RecordBatch, columns: Mapping[str, pa.DataType], check: Check, on_piece: OnPiece
) -> Scored:
    """All scores of a batch that has rows, from a scorer that gives them in pieces.

    Args:
        scorer: is asked.
        batch: the columns that it reads.
        columns: column -> type, as the scorer declares them.
        check: called by the scorer while it waits; what it raises ends the call.
        on_piece: gets each piece, in the types of `columns`, and what was done for it; empty ones too.

    Raises:
        PoolsieveError: if a row has come twice or not at all, which is the scorer's fault.
    """
    parts: list[Scored] = []
    order: list[int] = []
    with contextlib.closing(scorer.pieces(batch, check)) as pieces:  # given up, it asks no further question
        for rows, made in pieces:
            typed = {name: made.columns[name].cast(kind) for name, kind in columns.items()}
            parts.append(Scored(typed, made.errors, work=made.work))
            order += rows
            on_piece(rows, parts[-1])
    if sorted(order) != list(range(batch.num_rows)):
        raise PoolsieveError(f"{type(scorer).__name__} gave {len(order)} rows for {batch.num_rows}, or one twice")
    return _whole(parts, order, columns)


def _whole(parts: list[Scored], order: list[int], columns: Mapping[str, pa.DataType]) -> Scored:
    """The parts' rows in the order of the batch."""
    take, found = pa.array(np.argsort(np.array(order, dtype=np.int64)), pa.int64()), list[RowError | None]()
    for part in parts:
        found += [part.errors.get(i) for i in range(len(next(iter(part.columns.values()))))]
    errors = {row: error for row, error in zip(order, found, strict=True) if error is not None}
    return Scored(
        {name: pa.concat_arrays([part.columns[name] for part in parts]).take(take) for name in columns}, errors
    )
