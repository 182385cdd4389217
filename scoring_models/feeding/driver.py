"""Runs a scorer over a batch, and one bad row costs one row. No Beam, no torch at load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import cast

import pyarrow as pa

from poolsieve.scoring_models.base.arrow import nulls
from poolsieve.scoring_models.base.errors import RowError, is_fatal, row_error
from poolsieve.scoring_models.base.scorer import BatchScorer, LoadedByRow, PieceScorer, Scored, in_pieces
from poolsieve.scoring_models.feeding.feed import Check, feed_of, never
from poolsieve.scoring_models.feeding.meter import Meter
from poolsieve.scoring_models.feeding.pieces import OnPiece, gathered, nobody


def score_rows(
    scorer: BatchScorer | PieceScorer | LoadedByRow,
    batch: pa.RecordBatch,
    columns: Mapping[str, pa.DataType],
    *,
    threads: int,
    check: Check = never,
    meter: Meter | None = None,
    on_piece: OnPiece = nobody,
) -> Scored:
    """Scores of a batch, in the order and types of `columns`; rows that can't be scored are errors.

    Args:
        scorer: a scorer without a model, or a loaded model.
        batch: the columns that the scorer reads.
        columns: column -> type, as the scorer declares them.
        threads: that a model's feed may keep busy; callers who share a loaded model add theirs up, as far as there are
            cores.
        check: called about twice a second while a model works; what it raises ends this call, and no other.
        meter: of the loaded model; all of its callers give the same one, or none.
        on_piece: gets the pieces of a scorer that gives them, with what was done for each; the whole says no work then.

    Raises:
        PoolsieveError, OSError, MemoryError: what is no row's fault (storage, device, a broken contract).
    """
    if batch.num_rows == 0:
        return Scored({name: pa.array([], kind) for name, kind in columns.items()})
    if hasattr(scorer, "infer"):
        with feed_of(cast("LoadedByRow", scorer), meter) as feed:
            return feed.score(batch, columns, threads, check)
    if in_pieces(scorer):
        return gathered(cast("PieceScorer", scorer), batch, columns, check, on_piece)
    errors: dict[int, RowError] = {}
    parts = list(_bisected(cast("BatchScorer", scorer).score, batch, 0, columns, errors))
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
