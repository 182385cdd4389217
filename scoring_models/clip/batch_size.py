"""How many pairs CLIP takes at a time where the user does not say: 32 on a CPU, on a GPU by its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from poolsieve.scoring_models.clip.towers import Array, TorchTowers
from poolsieve.scoring_models.devices.batch_sizes import first_that_fits, fitting, weight_bytes, widest
from poolsieve.scoring_models.devices.gpu import total_memory

LISTED = (1024, 512, 256, 128, 64, 32)
"""Pairs at a time on a GPU."""

ON_CPU = 32
"""Pairs at a time on a CPU."""

HOST_BYTES = 64 * 2**20
"""Of a batch's pixels in host memory: 256 images of 224 x 224. A GPU gains nothing by more, and a feed's window of
decoded rows is 256 MiB."""


def batch_size_of(towers: TorchTowers, blank: Callable[[], tuple[Array, Array]], wanted: int | None) -> int:
    """Pairs at a time; on a GPU that many have gone through it once.

    Args:
        towers: loaded.
        blank: gives pixels, uint8 (1, height, width, 3), and tokens, int64 (1, context), of a pair to try it with.
        wanted: by the user, or by who scored here before; None: as many as the kind of device has room for.

    Raises:
        PoolsieveError: if the GPU has no room for `wanted`, or for the smallest of `LISTED`.
    """
    runner = towers.runner
    if runner.device.type == "cpu":
        return wanted or ON_CPU
    pixels, tokens = blank()
    sizes = (wanted,) if wanted else sizes_for(towers.model, total_memory(runner.torch, runner.device), pixels, tokens)
    return tried(towers, pixels, tokens, sizes)


def tried(towers: TorchTowers, pixels: Array, tokens: Array, sizes: tuple[int, ...]) -> int:
    """The first of `sizes` that the device has room for; arguments and errors as for `batch_size_of`."""
    return first_that_fits(
        towers.runner,
        "pairs",
        sizes,
        lambda n: towers.runner.once(towers.embed, (pixels.repeat(n, axis=0), tokens.repeat(n, axis=0))),
    )


def sizes_for(model: Any, total: int, pixels: Array, tokens: Array) -> tuple[int, ...]:
    """Sizes that a device of `total` bytes should have room for, largest first.

    What a pair takes is reckoned, not measured, so that it is the same everywhere: pixels as uint8, twice as fp32 and
    once as the model's; about four times the widest layer over all tokens of the longer tower; and 16 times the pixels
    for what early convolutions hold.
    """
    size = next(model.parameters()).element_size()
    raw = pixels.nbytes
    each = raw * (1 + 4 + 4 + size) + size * (4 * _tokens(model, pixels, tokens) * widest(model) + 16 * raw)
    host = tuple(n for n in LISTED if n * raw <= HOST_BYTES) or LISTED[-1:]
    return fitting(host, total, weight_bytes(model), each)


def _tokens(model: Any, pixels: Array, tokens: Array) -> int:
    """Of the longer tower; a network without positions is taken for one of patches of 16 pixels."""
    positions = getattr(model.visual, "positional_embedding", None)
    patches = positions.shape[0] if positions is not None else pixels.shape[1] * pixels.shape[2] // 256
    return max(int(patches), tokens.shape[1])
