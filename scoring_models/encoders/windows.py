"""Texts of any length for an encoder with a fixed context: windows, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from poolsieve.scoring_models.devices.token_shapes import Shape

Ids = np.ndarray[Any, np.dtype[np.int32]]
Batch = np.ndarray[Any, np.dtype[np.int64]]


def windows_of(
    ids: Sequence[int] | Ids,
    context: int,
    overlap: int,
    around: tuple[Sequence[int], Sequence[int]],
    most: int | None = None,
) -> list[Ids]:
    """A text's tokens as windows of at most `context`, int32; at least one window.

    Args:
        ids: the text's tokens.
        context: tokens of a window, special ones included.
        overlap: tokens that neighbouring windows share.
        around: special tokens before and after a window's own.
        most: windows at most, the first ones; None for all.
    """
    tokens = np.asarray(ids, dtype=np.int32)
    before, after = (np.asarray(some, dtype=np.int32) for some in around)
    inner = context - len(before) - len(after)
    starts = range(0, max(len(tokens) - overlap, 1), inner - overlap)[:most]
    return [np.concatenate([before, tokens[start : start + inner], after]) for start in starts]


def filled(shape: Shape, windows: Sequence[Ids], pad: int) -> tuple[Batch, Batch]:
    """int64 ids and mask (windows, tokens) of a batch: the windows, and blanks behind them."""
    ids = np.full(shape, pad, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    mask[:, 0] = 1  # a row without any token would divide by zero
    for row, window in enumerate(windows):
        ids[row, : len(window)] = window
        mask[row, : len(window)] = 1
    return ids, mask
