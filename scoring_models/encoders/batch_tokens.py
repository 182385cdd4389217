"""How many tokens an encoder takes at a time where the user does not say: 512 on a CPU, on a GPU by its kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.devices.batch_sizes import first_that_fits, fitting, weight_bytes, widest
from poolsieve.scoring_models.devices.gpu import total_memory
from poolsieve.scoring_models.encoders.engines import Engine, TorchEngine
from poolsieve.scoring_models.encoders.windows import shapes

LISTED = (32_768, 16_384, 8192, 4096, 2048)
"""Tokens of a batch on a GPU."""

ON_CPU = 512
"""Tokens of a batch on a CPU: there one window after the other is as fast, and needs no blanks."""


def tokens_of(run: Engine, context: int, wanted: int | None) -> int:
    """Tokens of a batch; on a GPU that many have gone through it once.

    Args:
        run: the loaded network.
        context: tokens of the longest window.
        wanted: by the user, or by who scored here before; None: as many as the kind of device has room for.

    Raises:
        PoolsieveError: if the GPU has no room for `wanted`, or for the smallest of `LISTED`.
    """
    if not isinstance(run, TorchEngine) or run.runner.device.type == "cpu":
        return wanted or ON_CPU
    total = total_memory(run.runner.torch, run.runner.device)
    return tried(run, context, (wanted,) if wanted else sizes_for(run.network, total, context))


def tried(run: TorchEngine, context: int, sizes: tuple[int, ...]) -> int:
    """The first of `sizes` that the device has room for, in windows of all lengths; else as for `tokens_of`."""

    def attempt(tokens: int) -> None:
        for shape in shapes(context, tokens):
            blank = np.zeros(shape, dtype=np.int64)
            run.runner.once(run.logits, (blank, np.ones_like(blank)))

    return first_that_fits(run.runner, "tokens", sizes, attempt)


def sizes_for(network: Any, total: int, context: int) -> tuple[int, ...]:
    """Sizes that a device of `total` bytes should have room for, largest first.

    What a token takes is reckoned, not measured, so that it is the same everywhere: four times the widest layer, and
    four times the weights of its attention over a window of the longest kind, as DeBERTa holds them. Heads are taken to
    be 64 wide, and the widest layer four times the model's width.
    """
    size, most = next(network.parameters()).element_size(), widest(network)
    heads = max(1, most // 256)
    return fitting(LISTED, total, weight_bytes(network), size * 4 * (most + heads * context))


def recorded(settings: JsonObject) -> int | None:
    """The tokens that stored scores were made with, if they were one of `LISTED`."""
    match settings.get("shapes"):
        case [[int(windows), int(length)], *_]:
            # Windows of the shortest length, as many as go into one of the sizes: see `shapes`.
            return next((size for size in LISTED if 0 <= size - windows * length < length), None)
    return None
