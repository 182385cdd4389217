"""The shapes in which windows of tokens go through a model, and how many tokens a device takes at a time.

A model that sees a window in a batch of another shape gives other last digits. So each window goes into the shape that
its own length names, and a batch that is not full is filled up with blanks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.devices.batch_sizes import first_that_fits
from poolsieve.scoring_models.devices.gpu import total_memory
from poolsieve.scoring_models.devices.runner import Runner

LENGTHS = (
    *(32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1536, 2048, 3072, 4096),
    *(6144, 8192),
)
"""Tokens of a window, special ones included."""

LISTED = (32_768, 16_384, 8192, 4096, 2048)
"""Tokens of a batch on a GPU."""

ON_CPU = 512
"""Tokens of a batch on a CPU: there one window after the other is as fast, and needs no blanks."""

PIECE, LEAST = 16 * 2**10, 16
"""Bytes of text that one thread tokenises in one go: several batches of a CPU, and little enough that all cores soon
have one. A short text counts as `LEAST` of them."""

Shape = tuple[int, int]
"""(windows, tokens) of a batch."""


def shapes(context: int, tokens: int) -> tuple[Shape, ...]:
    """The shapes of batches of about `tokens` tokens, shortest windows first.

    >>> shapes(64, 128)
    ((4, 32), (2, 48), (2, 64))
    """
    lengths = [*(length for length in LENGTHS if length < context), context]
    return tuple((max(1, tokens // length), length) for length in lengths)


def shape_of(length: int, shapes: Sequence[Shape]) -> Shape:
    """The shape that a window of `length` tokens goes through: the shortest that holds it."""
    return next(shape for shape in shapes if length <= shape[1])


def shape_name(shape: Shape) -> str:
    """A shape's name: its tokens, since no two have as many."""
    return str(shape[1])


def pieces_of(sizes: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[list[int]]:
    """Positions of the rows that have a text, about `PIECE` bytes at a time.

    Args:
        sizes: int64 (n,), bytes of each row's text; -1 for null.

    >>> pieces_of(np.array([9000, -1, 9000, 5]))
    [[0, 2], [3]]
    """
    rows = np.flatnonzero(sizes >= 0)
    some = np.maximum(sizes[rows], LEAST)
    number = (np.cumsum(some) - some) // PIECE
    return [piece.tolist() for piece in np.split(rows, np.flatnonzero(np.diff(number)) + 1)]


def tokens_that_fit(
    runner: Runner,
    context: int,
    wanted: int | None,
    sizes: Callable[[int], tuple[int, ...]],
    attempt: Callable[[Shape], object],
) -> int:
    """Tokens of a batch; on a GPU that many have gone through it once, in windows of all lengths.

    Args:
        runner: of the device.
        context: tokens of the longest window.
        wanted: by the user, or by who scored here before; None: as many as the kind of device has room for.
        sizes: those that a device of so many bytes should have room for, largest first.
        attempt: runs blanks of a shape.

    Raises:
        PoolsieveError: if the GPU has no room for `wanted`, or for the smallest of `sizes`.
    """
    if runner.device.type == "cpu":
        return wanted or ON_CPU
    listed = (wanted,) if wanted else sizes(total_memory(runner.torch, runner.device))
    return tokens_tried(runner, context, listed, attempt)


def tokens_tried(runner: Runner, context: int, sizes: Sequence[int], attempt: Callable[[Shape], object]) -> int:
    """The first of `sizes` that the device has room for; arguments and errors as for `tokens_that_fit`."""

    def all_lengths(tokens: int) -> None:
        for shape in shapes(context, tokens):
            attempt(shape)

    return first_that_fits(runner, "tokens", sizes, all_lengths)


def recorded(settings: JsonObject) -> int | None:
    """The tokens that stored scores were made with, if they were one of `LISTED`."""
    match settings.get("shapes"):
        case [[int(windows), int(length)], *_]:
            # Windows of the shortest length, as many as go into one of the sizes: see `shapes`.
            return next((size for size in LISTED if 0 <= size - windows * length < length), None)
    return None
