"""How many tokens an encoder takes at a time where the user does not say: 512 on a CPU, on a GPU by its kind."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from poolsieve.scoring_models.devices.batch_sizes import fitting, weight_bytes, widest
from poolsieve.scoring_models.devices.token_shapes import LISTED, ON_CPU, Shape, tokens_that_fit, tokens_tried
from poolsieve.scoring_models.encoders.engines import Engine, TorchEngine


def tokens_of(run: Engine, context: int, wanted: int | None) -> int:
    """Tokens of a batch of the loaded network `run`; see `tokens_that_fit`.

    Raises:
        PoolsieveError: if the GPU has no room for `wanted`, or for the smallest of `LISTED`.
    """
    if not isinstance(run, TorchEngine):
        return wanted or ON_CPU
    sizes = functools.partial(sizes_for, run.network, context=context)
    return tokens_that_fit(run.runner, context, wanted, sizes, functools.partial(_attempt, run))


def tried(run: TorchEngine, context: int, sizes: tuple[int, ...]) -> int:
    """The first of `sizes` that the device has room for, in windows of all lengths; else as for `tokens_of`."""
    return tokens_tried(run.runner, context, sizes, functools.partial(_attempt, run))


def _attempt(run: TorchEngine, shape: Shape) -> None:
    blank = np.zeros(shape, dtype=np.int64)
    run.runner.once(run.logits, (blank, np.ones_like(blank)))


def sizes_for(network: Any, total: int, context: int) -> tuple[int, ...]:
    """Sizes that a device of `total` bytes should have room for, largest first.

    What a token takes is reckoned, not measured, so that it is the same everywhere: four times the widest layer, and
    four times the weights of its attention over a window of the longest kind, as DeBERTa holds them. Heads are taken to
    be 64 wide, and the widest layer four times the model's width.
    """
    size, most = next(network.parameters()).element_size(), widest(network)
    heads = max(1, most // 256)
    return fitting(LISTED, total, weight_bytes(network), size * 4 * (most + heads * context))
