"""Losses of a loaded causal model's tokens, without the logits of a whole batch ever being there.

The hidden states of all positions come from the model's base, and the head sees some of them at a time. Which way that
can go is found out when the model is loaded, from the model's own logits:

* `fused`: the head is a plain linear layer, and torch has `linear_cross_entropy` (2.15) in slices;
* `sliced`: the same in slices of our own, for an older torch, and on a CPU for bf16, where torch would copy the head;
* `own`: what comes behind the head (caps, scales) is the model's own code, called with slices of hidden states.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.causal.units import NOTHING
from poolsieve.scoring_models.hub.checkpoints import load_pretrained

AT_ONCE = {"cpu": 1 << 24, "cuda": 1 << 28}
"""Logits that are there at a time, by kind of device: 64 MiB and 1 GiB in fp32. Fewer rows make the head slower: at 128
and fewer, a quarter of its time on a CPU (50,304 words, 768 wide)."""

CLOSE = {"float32": 1e-4, "bfloat16": 4e-2, "float16": 1e-2}
"""Largest difference from the model's own logits, as a share of the largest one, that is let pass."""

WIDE = 100.0
"""The largest logit that a head is tried with: a cap (Gemma 2's is 30) shows there, and not at a small model's own."""

EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
"""Keys of models whose layers gather the tokens of a batch by expert."""


class TokenLosses:
    """A causal model of transformers on its device, and the sums of its losses.

    Args:
        model: in evaluation mode.
        who: the scorer, for messages.

    Raises:
        PlanError: if its logits can't be had from the hidden states of its base, or if a position sees later ones.
    """

    def __init__(self, model: Any, who: str) -> None:
        import torch

        self.torch, self.model, self.base = torch, model, model.base_model
        self.head = model.get_output_embeddings()
        self.vocabulary = int(model.get_input_embeddings().weight.shape[0])
        if self.base is model or self.head is None or not hasattr(self.head, "weight"):
            raise PlanError(
                f"{who}: transformers' {type(model).__name__} has no base and head that could be told apart"
            )
        self.words = int(self.head.weight.shape[0])
        self._shell = _shell(model)
        with torch.inference_mode():
            self._check(who)
            self.way = self._way()

    @property
    def alone(self) -> bool:
        """Whether windows that are computed together have a part in each other's last digits."""
        config = self.model.config
        return any((getattr(config, key, 0) or 0) > 1 for key in EXPERTS)

    def sums(self, ids: Any, targets: Any) -> Any:
        """float64 (windows,): the losses of each window's targets, added up; ids and targets int64 (windows, ids)."""
        hidden = self._hidden(ids)
        rows, flat = hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1)
        step = slice_of(len(rows), self._most())
        # A last slice of another size might go through another kernel, and give other last digits.
        missing = -len(rows) % step
        rows = self.torch.nn.functional.pad(rows, (0, 0, 0, missing))
        flat = self.torch.nn.functional.pad(flat, (0, missing), value=NOTHING)
        losses = self._losses(rows, flat, step)
        return losses[: ids.numel()].reshape(ids.shape).double().sum(dim=1)

    def _most(self) -> int:
        return max(1, AT_ONCE.get(self.head.weight.device.type, AT_ONCE["cuda"]) // self.words)

    def _hidden(self, ids: Any) -> Any:
        return self.base(input_ids=ids, use_cache=False)[0]

    def _losses(self, rows: Any, targets: Any, step: int) -> Any:
        if self.way == "fused":
            return self._fused(rows, targets, step)
        logits = self._linear if self.way == "sliced" else self._own
        parts = zip(rows.split(step), targets.split(step), strict=True)
        entropy = self.torch.nn.functional.cross_entropy
        return self.torch.cat([entropy(logits(some), wanted, reduction="none") for some, wanted in parts])

    def _fused(self, rows: Any, targets: Any, step: int) -> Any:
        options = self.torch.nn.LinearCrossEntropyOptions(batch_chunk_size=step, chunking_method=None)
        bias = getattr(self.head, "bias", None)
        given = {"linear_bias": bias, "reduction": "none", "ignore_index": NOTHING, "options": options}
        return self.torch.nn.functional.linear_cross_entropy(rows, self.head.weight, targets, **given)

    def _linear(self, rows: Any) -> Any:
        return self.head(rows).float()

    def _own(self, rows: Any) -> Any:
        """float32 (n, words): logits of hidden states (n, width), by the model's own code behind its base."""
        return self._shell(inputs_embeds=rows[None], use_cache=False).logits[0].float()

    def _check(self, who: str) -> None:
        """Compares with the model's own logits, and asks whether it is causal at all."""
        name = type(self.model).__name__
        ids = self._some_ids()
        own = self.model(input_ids=ids, use_cache=False).logits.float()
        if bool(own.isnan().any()):
            raise PlanError(
                f"{who}: {name} gives logits that are NaN: its weights are damaged, or {self._kind()} is too narrow "
                "for them (precision='fp32')"
            )
        hidden = self._hidden(ids)
        mine = self._tried(lambda: self._own(hidden.reshape(-1, hidden.shape[-1])))
        if mine is None or not self._close(mine.reshape(own.shape), own):
            raise PlanError(
                f"{who}: the logits of transformers' {name} don't follow from the last hidden states of its base; "
                "poolsieve reads no such model"
            )
        changed = ids.clone()
        changed[:, -1] = (changed[:, -1] + 1) % self.vocabulary
        if not self._close(self._hidden(changed)[:, :-1], hidden[:, :-1]):
            raise PlanError(f"{who}: a token of {name} sees those behind it: it is no causal language model")

    def _some_ids(self) -> Any:
        device = self.head.weight.device
        return (self.torch.arange(12, device=device) * 7919 % self.vocabulary).reshape(2, 6)

    def _close(self, one: Any, other: Any) -> bool:
        kind = self._kind()
        largest = max(float(other.abs().max()), 1e-6)
        return float((one - other).abs().max()) <= CLOSE.get(kind, 4e-2) * largest

    def _kind(self) -> str:
        """The type of the weights, as `float32`."""
        return str(self.head.weight.dtype).removeprefix("torch.")

    def _tried(self, make: Callable[[], Any]) -> Any:
        """What `make` gives; None if the model's code can't do that, however it says so."""
        try:
            return make()
        except self.torch.OutOfMemoryError:
            raise
        except Exception:  # noqa: BLE001  (somebody else's forward, called with less than it may want)
            return None

    def _way(self) -> str:
        """How the losses are had. The head is tried with hidden states that give large logits."""
        torch, weight = self.torch, self.head.weight
        wave = torch.arange(8 * weight.shape[1], device=weight.device, dtype=torch.float32)
        rows = torch.sin(wave * 12.9898).reshape(8, -1).to(weight.dtype)
        rows = rows * (WIDE / self._linear(rows).abs().max().clamp(min=1e-6)).to(weight.dtype)
        if type(self.head) is not torch.nn.Linear or not self._close(self._linear(rows), self._own(rows)):
            return "own"
        there = hasattr(torch.nn.functional, "linear_cross_entropy")
        if not there or (weight.device.type == "cpu" and weight.dtype != torch.float32):
            return "sliced"
        targets = torch.arange(8, device=weight.device) % self.words
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # it only warns where it makes the whole logits
            found = self._tried(lambda: self._fused(rows, targets, 4))
        plain = torch.nn.functional.cross_entropy(self._linear(rows), targets, reduction="none")
        return "fused" if found is not None and self._close(found.float(), plain) else "sliced"

    def flops(self, windows: int, tokens: int) -> float:
        """Floating-point operations for so many windows of so many ids (`flops_of`)."""
        from poolsieve.scoring_models.devices.flops import flops_of

        def forward(model: Any) -> object:
            ids = self.torch.zeros(windows, tokens, dtype=self.torch.int64, device="meta")
            return model(input_ids=ids, use_cache=False)

        return flops_of(self.model, forward)


def slice_of(rows: int, most: int) -> int:
    """Rows of a slice, so that all slices are of one size and none has more than `most`.

    >>> slice_of(480, 333), slice_of(512, 333), slice_of(100, 333)
    (240, 256, 100)
    """
    parts = -(-rows // most)
    return -(-rows // parts)


def _shell(model: Any) -> Any:
    """The model without its base: in place of it, whatever is given as embeddings comes out as hidden states."""
    import torch
    from transformers.modeling_outputs import BaseModelOutputWithPast

    class Output(BaseModelOutputWithPast):  # type: ignore[misc]
        """Hidden states, and nothing of what else a model's base may give (caches, weights of its attention)."""

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)

    class Given(torch.nn.Module):  # type: ignore[misc]
        """Hidden states in the place of the base that would make them."""

        @property
        def decoder(self) -> Any:
            """OPT calls this part of its base."""
            return self

        def forward(self, *_: Any, inputs_embeds: Any = None, **__: Any) -> Any:
            return Output(last_hidden_state=inputs_embeds)

    shell = copy.copy(model)
    shell.__dict__["_modules"] = {**model._modules, model.base_model_prefix: Given()}
    return shell


def load_causal(folder: str, precision: str, who: str) -> Any:
    """A causal language model; see `load_pretrained`."""
    return load_pretrained("AutoModelForCausalLM", folder, precision, who, "causal language model")
