"""What is scored: a document, read in windows, or a chunk of ids. And batches of them.

Sources: the chunk is CoLoR-Filter's unit (Brandfonbrener et al., arXiv 2406.10670; `olmo/data/memmap_dataset.py` and
`olmo/score.py` of its code): contiguous ids, nothing is reset at a document's end, the mean of length - 1 losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.scoring_models.base.arrow import is_id_list
from poolsieve.scoring_models.base.errors import PoolsieveError
from poolsieve.scoring_models.devices.token_shapes import Shape

Ids = np.ndarray[Any, np.dtype[np.int32]]
Batch = np.ndarray[Any, np.dtype[np.int64]]

NOTHING = -100
"""The target of a position that predicts nothing (`ignore_index` of torch's losses)."""

LARGEST = 2**31 - 1
"""The largest id that a window holds."""


def windows_of(ids: Sequence[int] | Ids, start: int, window: int) -> list[Ids]:
    """A document's windows, int32, at most `window` long: each begins with the last id of the one before.

    So every id of the document is predicted once. A document of fewer than two tokens has none.

    Args:
        ids: of the document's tokens.
        start: the id that is put before them.
        window: ids of a window, at least 2.

    >>> [some.tolist() for some in windows_of([1, 2, 3, 4, 5], 0, 3)]
    [[0, 1, 2], [2, 3, 4], [4, 5]]
    """
    if len(ids) < 2:
        return []
    whole = np.empty(len(ids) + 1, dtype=np.int32)
    whole[0], whole[1:] = start, ids
    return [whole[at : at + window].copy() for at in range(0, len(ids), window - 1)]


def filled(shape: Shape, windows: Sequence[Ids]) -> tuple[Batch, Batch]:
    """int64 ids and targets (windows, ids) of a batch: each position's target is the next id, or `NOTHING`.

    What fills up has id 0 and stands behind: a causal model's earlier positions never see it, so no mask is needed.
    """
    ids = np.zeros(shape, dtype=np.int64)
    targets = np.full(shape, NOTHING, dtype=np.int64)
    for row, window in enumerate(windows):
        ids[row, : len(window)] = window
        targets[row, : len(window) - 1] = window[1:]
    return ids, targets


def chunk_lengths(values: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    """int64 (n,): ids of each row, -1 for null.

    Raises:
        PoolsieveError: for a column that holds no lists of integers.
    """
    if not is_id_list(values.type):
        raise PoolsieveError(f"token ids are lists of integers, not {values.type}: name a column of such lists")
    return np.asarray(pc.list_value_length(values).fill_null(-1), dtype=np.int64)


def chunk_of(values: pa.Array, row: int) -> Ids:
    """A row's ids, int32.

    Raises:
        ValueError: for an id that is null, or does not fit.
    """
    some = values[row].values
    if some.null_count:
        raise ValueError(f"the chunk has {some.null_count} ids that are null")
    ids = some.to_numpy(zero_copy_only=False)
    check_ids(ids, LARGEST + 1)
    return ids.astype(np.int32)


def check_ids(ids: Any, vocabulary: int) -> None:
    """Raises `ValueError` for an id below 0 or not below `vocabulary`.

    >>> check_ids(np.array([3, 7]), 5)
    Traceback (most recent call last):
    ValueError: token id 7, and the model has 5: the ids are another tokenizer's, or the files of another dtype
    """
    if not len(ids):
        return
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocabulary:
        wrong = low if low < 0 else high
        raise ValueError(
            f"token id {wrong}, and the model has {vocabulary}: the ids are another tokenizer's, or the files of "
            "another dtype"
        )
