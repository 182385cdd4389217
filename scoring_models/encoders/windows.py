"""Texts of any length for a model with a fixed context: windows, sorted into a fixed list of shapes.

A model that sees a window in a batch of another shape gives other last digits. So each window goes into the shape that
its own length names, and a batch that is not full is filled up with blanks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

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


class WindowBatch(NamedTuple):
    """Windows of one shape: int64 ids and mask (windows, tokens), and which text each real window is of."""

    ids: np.ndarray[Any, np.dtype[np.int64]]
    mask: np.ndarray[Any, np.dtype[np.int64]]
    owners: np.ndarray[Any, np.dtype[np.int64]]


def shapes(context: int, tokens: int) -> tuple[Shape, ...]:
    """The shapes of batches of about `tokens` tokens, shortest windows first."""
    lengths = [*(length for length in LENGTHS if length < context), context]
    return tuple((max(1, tokens // length), length) for length in lengths)


def windows_of(
    ids: Sequence[int], context: int, overlap: int, before: Sequence[int], after: Sequence[int]
) -> list[list[int]]:
    """A text's tokens as windows of at most `context`, each between the special tokens; at least one window."""
    inner = context - len(before) - len(after)
    step = inner - overlap
    starts = range(0, max(len(ids) - overlap, 1), step)
    return [[*before, *ids[start : start + inner], *after] for start in starts]


def batches_of(texts: Sequence[Sequence[Sequence[int]]], shapes: Sequence[Shape], pad: int) -> list[WindowBatch]:
    """Every window of every text, in batches of the listed shapes."""
    waiting: dict[Shape, list[tuple[int, Sequence[int]]]] = {shape: [] for shape in shapes}
    for owner, windows in enumerate(texts):
        for window in windows:
            waiting[next(shape for shape in shapes if len(window) <= shape[1])].append((owner, window))
    return [batch for shape, windows in waiting.items() for batch in _filled(shape, windows, pad)]


def _filled(shape: Shape, windows: Sequence[tuple[int, Sequence[int]]], pad: int) -> Iterator[WindowBatch]:
    count, length = shape
    for start in range(0, len(windows), count):
        some = windows[start : start + count]
        ids = np.full((count, length), pad, dtype=np.int64)
        mask = np.zeros((count, length), dtype=np.int64)
        mask[:, 0] = 1  # a row without any token would divide by zero
        for row, (_, window) in enumerate(some):
            ids[row, : len(window)] = window
            mask[row, : len(window)] = 1
        yield WindowBatch(ids, mask, np.array([owner for owner, _ in some], dtype=np.int64))
