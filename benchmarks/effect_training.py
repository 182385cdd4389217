"""A target model: trained on a stream of texts, its held-out loss at several amounts of data; where curves cross."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from effect_chart import Curve

from poolsieve.jobs.train.color.chunks import encoder
from poolsieve.jobs.train.color.presets import PRESETS, Preset

WARMUP = 20
"""Steps. The rate is constant after them, so that each point of a curve is a training of its own."""

Ids = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A model that is trained on what was selected: of the pair's kind, larger. `batch` chunks of `length` a step."""

    width: int = 96
    layers: int = 3
    heads: int = 6
    length: int = 128
    batch: int = 4
    rate: float = 2e-3

    @property
    def preset(self) -> Preset:
        """Its sizes, as `train color` has them."""
        return PRESETS["tiny"].changed(
            width=self.width, layers=self.layers, heads=self.heads, inner=4 * self.width, length=self.length
        )

    @property
    def step(self) -> int:
        """Tokens of a step."""
        return self.batch * self.length

    def points(self, tokens: int) -> list[int]:
        """Steps at which the held-out loss is taken: from 16 on, by the root of 2, and the last."""
        last = tokens // self.step
        steps = {round(16 * 2 ** (i / 2)) for i in range(64)}
        return sorted({step for step in steps if step < last} | {last})


def forward(preset: Preset, words: int) -> int:
    """Operations of a forward pass for one token: 2 for each parameter that multiplies it (Kaplan et al., arXiv
    2001.08361, section 2.1), and attention over half a context."""
    matrices = preset.layers * (4 * preset.width**2 + 2 * preset.width * preset.inner) + preset.width * words
    return 2 * matrices + 2 * preset.layers * preset.length * preset.width


def tokenizer_of(folder: Path) -> Any:
    """The tokenizer of a model's folder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder))


def stream(texts: Sequence[str], tokenizer: Any, length: int) -> Ids:
    """int64 (n, length): the texts one after the other, an end token behind each, in chunks; the tail is left out."""
    ids = encoder(tokenizer)(list(texts))
    flat = np.array([one for some in ids for one in (*some, tokenizer.eos_token_id)], dtype=np.int64)
    return flat[: len(flat) // length * length].reshape(-1, length)


def trained(target: Target, words: int, chunks: Ids, held_out: Ids, *, tokens: int, seed: int) -> Curve:
    """The held-out loss of a fresh model along one pass over the first `tokens` tokens of the chunks, or all of them."""
    import torch
    from transformers import PersimmonConfig, PersimmonForCausalLM

    torch.manual_seed(seed)
    model = PersimmonForCausalLM(PersimmonConfig(**target.preset.model(words)))
    optimiser = torch.optim.AdamW(model.parameters(), lr=target.rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    curve: Curve = []
    points = target.points(min(tokens, chunks.size))
    for step in range(1, points[-1] + 1):
        for group in optimiser.param_groups:
            group["lr"] = target.rate * min(1.0, step / WARMUP)
        ids = torch.from_numpy(chunks[(step - 1) * target.batch : step * target.batch])
        optimiser.zero_grad()
        _losses(model, ids).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step in points:
            curve.append((step * target.step, evaluated(model, held_out)))
    return curve


def _losses(model: Any, ids: Any) -> Any:
    """(n * (length - 1),) losses of chunks (n, length)."""
    from torch.nn.functional import cross_entropy

    logits = model(input_ids=ids, use_cache=False).logits[:, :-1].flatten(0, 1)
    return cross_entropy(logits, ids[:, 1:].flatten(), reduction="none")


def evaluated(model: Any, held_out: Ids) -> float:
    """Mean loss of the held-out chunks' predictions."""
    import torch

    with torch.inference_mode():
        parts = [_losses(model, torch.from_numpy(some)) for some in np.array_split(held_out, -(-len(held_out) // 32))]
    return float(torch.cat(parts).mean())


def needed(curve: Curve, loss: float) -> float | None:
    """Tokens at which a curve comes down to a loss: between two points by the logarithm of tokens; None if it does not.

    >>> needed([(1000, 5.0), (4000, 3.0)], 4.0)
    2000.0
    """
    before: tuple[int, float] | None = None
    for tokens, here in curve:
        if here <= loss:
            if before is None or before[1] <= here:
                return float(tokens)
            share = (before[1] - loss) / (before[1] - here)
            return round(math.exp(math.log(before[0]) + share * math.log(tokens / before[0])), 6)
        before = (tokens, here)
    return None


def fewer(random: Curve, other: Curve) -> tuple[float, float, float] | None:
    """(loss, tokens of random, tokens of the other) at the lowest loss that both curves reach.

    None where the one begins below where the other ends.

    >>> fewer([(1000, 5.0), (8000, 3.0)], [(1000, 3.0), (2000, 2.0)])
    (3.0, 8000.0, 1000.0)
    """
    loss = max(min(here for _, here in curve) for curve in (random, other))
    first, second = needed(random, loss), needed(other, loss)
    return None if first is None or second is None else (loss, first, second)
