"""How many rows a device takes at a time: from its kind, so that two workers of one kind agree, then tried.

What is free at the moment is never asked: it would be another number on the next worker, and other last digits in its
scores. That a size is too large after all shows when it is tried, before any score is stored.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

from poolsieve.scoring_models.base.errors import PoolsieveError
from poolsieve.scoring_models.devices.runner import Runner

_log = logging.getLogger(__name__)

SHARE = 2
"""The part of a device's memory, beside the weights, that a batch may be reckoned to take: one in so many. An estimate
of what a model holds at a time is no better than that, and a second batch is copied while the first is computed."""


def fitting(listed: Sequence[int], total: int, weights: int, each: int) -> tuple[int, ...]:
    """The listed sizes that a kind of device should have room for, largest first; the smallest one in any case.

    Args:
        listed: sizes, largest first.
        total: bytes of the device.
        weights: bytes of the model.
        each: bytes that one row (or token) takes while it is computed.

    >>> fitting((256, 128, 64), 16 * 2**30, 2 * 2**30, 40 * 2**20)
    (128, 64)
    >>> fitting((256, 128, 64), 2**30, 2 * 2**30, 40 * 2**20)
    (64,)
    """
    room = max(total - weights, 0) // SHARE
    return tuple(size for size in listed if size * each <= room) or tuple(listed[-1:])


def first_that_fits(runner: Runner, what: str, sizes: Sequence[int], attempt: Callable[[int], object]) -> int:
    """The first size at which `attempt` does not run out of the device's memory.

    Args:
        runner: of the device.
        what: the rows, for messages: "pairs".
        sizes: largest first, at least one.
        attempt: runs dummy rows at a size.

    Raises:
        PoolsieveError: if none fits, or the device fails otherwise.
    """
    for size in sizes:
        with runner.named(), contextlib.suppress(runner.torch.OutOfMemoryError):
            attempt(size)
            if size != sizes[0]:
                _log.warning(
                    "%s: %s has no room for %d %s at a time, as its kind should have; it takes %d, which scorer.json "
                    "records for all workers",
                    *(runner.who, runner.name(), sizes[0], what, size),
                )
            return size
        runner.recover()
    raise PoolsieveError(
        f"{runner.who}: {runner.name()} has no room for the model and {sizes[-1]} {what} at a time: name fewer in the "
        "recipe, or another device"
    )


def weight_bytes(model: Any) -> int:
    """Bytes of a torch module's parameters and buffers."""
    return sum(part.numel() * part.element_size() for part in (*model.parameters(), *model.buffers()))


def widest(model: Any) -> int:
    """The most features that a linear layer of a torch module gives, embeddings apart: four times the width, mostly."""
    return max((int(layer.out_features) for layer in model.modules() if hasattr(layer, "out_features")), default=1)
