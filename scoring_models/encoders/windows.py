"""Texts of any length for a model with a fixed context: windows, sorted into a fixed list of shapes.

A model that sees a window in a batch of another shape gives other last digits. So each window goes into the shape that
its own length names, and a batch that is not full is filled up with blanks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

LENGTHS = (
    32,
    48,
    64,
    96,
    128,
    160,
    192,
    224,
    256,
    320,
    384,
    448,
    512,
    640,
    768,
    896,
    1024,
    1536,
    2048,
    3072,
    4096,
    6144,
    8192,
)
"""Tokens of a window, special ones included."""

Shape = tuple[int, int]
"""(windows, tokens) of a batch."""

Ids = np.ndarray[Any, np.dtype[np.int32]]
Batch = np.ndarray[Any, np.dtype[np.int64]]


def shapes(context: int, tokens: int) -> tuple[Shape, ...]:
    """The shapes of batches of about `tokens` tokens, shortest windows first."""
    lengths = [*(length for length in LENGTHS if length < context), context]
    return tuple((max(1, tokens // length), length) for length in lengths)


def shape_of(length: int, shapes: Sequence[Shape]) -> Shape:
    """The shape that a window of `length` tokens goes through: the shortest that holds it."""
    return next(shape for shape in shapes if length <= shape[1])


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
