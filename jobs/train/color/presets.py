"""Sizes and schedules of CoLoR-Filter's auxiliary models: the published ones, and small ones for a CPU.

Sources: Brandfonbrener et al., arXiv 2406.10670, section 5 and appendix; the `150m` configuration of its code
(`davidbrandfonbrener/color-filter-olmo`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.errors import PlanError, unknown_name

WORD_MULTIPLE = 128
"""Rows of the embedding are filled up to a multiple: 50,280 words have 50,304 rows, as published."""

DIFFERS = (
    "QK-norm is over each head, with one scale for all heads; the reference's is over all heads at once",
    "weights begin as N(0, 0.02), PersimmonForCausalLM's way",
    "chunks are cut from one stream over all files of a pool; the reference drops the tail of each file",
)
"""What a model of ours has otherwise than the reference's.

Of transformers' classes `PersimmonForCausalLM` is the nearest: rotary positions over whole heads, QK-norm, LayerNorm
before each part, a plain MLP with GELU, untied words. OLMo 1 has no QK-norm, OLMo 2 has RMSNorm behind each part, both
have gated MLPs; GPT-NeoX has no QK-norm; StableLM's MLP is gated; Phi's parts stand side by side. Persimmon's biases
begin at zero and are not trained, so that there are none in effect.
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class Preset(Config):
    """A model's size, and how the prior and the conditional are trained.

    Attributes:
        width, layers, heads, inner: of the model (`d_model`, its blocks, attention heads, width of the MLP).
        length: ids of a chunk, and the model's context.
        words: of a tokenizer that is trained along.
        batch: chunks of one step.
        steps: of the prior.
        epochs: of the conditional over the target.
        warmup, target_warmup: steps of the prior and of the conditional; at most a tenth of the steps.
        rate: the highest learning rate; a cosine leads to a tenth of it.
        zloss: weight of the squared logarithm of the sum of exponentials, in training alone.
    """

    width: int
    layers: int
    heads: int
    inner: int
    length: int = 512
    words: int = 50_280
    batch: int = 256
    steps: int = 24_000
    epochs: int = 1
    warmup: int = 1000
    target_warmup: int = 20
    rate: float = 1e-3
    zloss: float = 1e-4
    decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-15
    clip: float = 1.0
    floor: float = 0.1

    def __post_init__(self) -> None:
        for name in ("length", "batch", "steps", "epochs", "words"):
            least = {"length": 2, "words": 300}.get(name, 1)
            if type(getattr(self, name)) is not int or getattr(self, name) < least:
                raise PlanError(f"{name}={getattr(self, name)!r}: a whole number from {least} on is wanted")

    def changed(self, **given: Any) -> Preset:
        """The same with what is not None of `given` in its place."""
        return dataclasses.replace(self, **{name: value for name, value in given.items() if value is not None})

    @property
    def tokens(self) -> int:
        """Ids that the prior sees."""
        return self.steps * self.batch * self.length

    def model(self, words: int) -> dict[str, Any]:
        """`PersimmonConfig`'s arguments for a vocabulary of so many words."""
        return {
            "vocab_size": -(-words // WORD_MULTIPLE) * WORD_MULTIPLE,
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": self.inner,
            "max_position_embeddings": self.length,
            "hidden_act": "gelu",
            "qk_layernorm": True,
            "tie_word_embeddings": False,
            "attention_dropout": 0.0,
            "hidden_dropout": 0.0,
            "use_cache": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0},
        }


PRESETS: Mapping[str, Preset] = {
    "olmo-150m": Preset(width=1024, layers=12, heads=16, inner=4096),
    "small": Preset(
        width=128, layers=4, heads=4, inner=512, length=256, words=4096, batch=8, steps=500, epochs=4, warmup=50
    ),
    "tiny": Preset(
        width=48,
        layers=2,
        heads=3,
        inner=192,
        length=128,
        words=1024,
        batch=8,
        steps=200,
        epochs=4,
        warmup=20,
        rate=3e-3,
    ),
}
"""Name -> preset."""


def preset(name: str) -> Preset:
    """A preset by its name.

    Raises:
        PlanError: naming the nearest.
    """
    if name not in PRESETS:
        raise unknown_name(f"there is no preset {name!r}", name, PRESETS)
    return PRESETS[name]
