"""A model of `transformers` that is asked one item at a time: what it writes, and how likely it finds an option.

One item at a time, and in one thread at a time: what a model says then depends on the item alone, and models that see
keep the positions of an image between two steps (Qwen2-VL's `rope_deltas`).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError, RowError
from poolsieve.scoring_models.base.images_io import decode_image
from poolsieve.scoring_models.causal.files import context_of
from poolsieve.scoring_models.causal.losses import load_causal
from poolsieve.scoring_models.devices.runner import Runner
from poolsieve.scoring_models.hub.checkpoints import CONFIG, load_pretrained, load_tokenizer
from poolsieve.scoring_models.hub.files import read_json
from poolsieve.scoring_models.panels.prompts import PLAIN

LONGEST_PROMPT = 131_072
"""Ids of a prompt and its answer, for a model whose configuration names no limit."""

WIDTHS = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of a number."""


class Refused(Exception):
    """An item that this model can't be asked, for a reason of its own; the others may be."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.row_error = RowError(kind, message)


class Said(NamedTuple):
    """What a model wrote.

    Attributes:
        text: without special tokens; of a model without a chat template the first line.
        tokens_in, tokens_out: ids that it read (those of the image too) and wrote.
        cut: whether it was stopped by the limit.
    """

    text: str
    tokens_in: int
    tokens_out: int
    cut: bool


class Likely(NamedTuple):
    """How likely a model finds some continuations: sums of log-probabilities in nats; ids that it read."""

    sums: tuple[float, ...]
    tokens_in: int


class PanelModel:
    """A model in memory.

    Args:
        files: of the model, by name.
        dtype: of torch, as "float32".
        runner: of the device; the model goes there.
        vision: whether it sees.
        who: the model, for messages.

    Raises:
        PlanError: if it can't be loaded, or lacks weights.
    """

    def __init__(self, files: Mapping[str, Path], dtype: str, runner: Runner, *, vision: bool, who: str) -> None:
        import torch

        self.torch, self.runner, self.who = torch, runner, who
        folder = str(files[CONFIG].parent)
        self.tokenizer = load_tokenizer(files)
        self.processor = _processor(folder, who) if vision else None
        model = load_vision(folder, dtype, who) if vision else load_causal(folder, dtype, who)
        self.model = runner.placed(lambda: model.to(runner.device))
        self.most = context_of(files) or LONGEST_PROMPT
        asked = self.processor or self.tokenizer
        self.chat = bool(getattr(asked, "chat_template", None))
        self.control = _control_tokens(self.tokenizer, self.processor)
        self.model.generation_config = _greedy(self.model.generation_config, self.tokenizer)
        known = inspect.signature(self.model.forward).parameters
        self._keeps, self._types = "logits_to_keep" in known, "token_type_ids" in known

    def said(self, text: str, image: bytes | None, most: int) -> Said:
        """The likeliest continuation, token by token.

        Args:
            text: what is asked.
            image: bytes of the image; None to ask without one.
            most: ids of the answer; fewer where the model's context ends.

        Raises:
            Refused: if this model can't be asked that.
        """
        with self.torch.inference_mode():
            inputs = self._inputs(text, image, 1)
            most = min(most, self.most - inputs["input_ids"].shape[1])
            seen = _nan_watch()
            made = self.model.generate(**inputs, max_new_tokens=most, do_sample=False, logits_processor=[seen])
        if seen.found:
            raise self._no_number()
        ids = made[0, inputs["input_ids"].shape[1] :].tolist()
        ends = self.model.generation_config.eos_token_id
        cut = len(ids) >= most and ids[-1] not in (ends if isinstance(ends, list) else [ends])
        written = self.tokenizer.decode(ids, skip_special_tokens=True)
        return Said(written if self.chat else _line(written), inputs["input_ids"].shape[1], len(ids), cut)

    def likely(self, text: str, image: bytes | None, continuations: Sequence[str]) -> Likely:
        """Log-probabilities of each continuation of the same prompt.

        A continuation's ids are those of its text alone, put behind the prompt's. One that the model reads as nothing
        has the sum 0. Where each is one id, the prompt is read once.

        Raises:
            Refused: if this model can't be asked that, or its numbers are NaN.
        """
        with self.torch.inference_mode():
            texts = [one if self.chat else f" {one}" for one in continuations]
            ids = [self.tokenizer(one, add_special_tokens=False)["input_ids"] for one in texts]
            inputs = self._inputs(text, image, max(map(len, ids)))
            if all(len(one) == 1 for one in ids):
                scores = self._scores(inputs, 1)[-1]
                sums = [float(scores[one[0]]) for one in ids]
            else:
                sums = [self._sum(inputs, one) for one in ids]
        if any(map(math.isnan, sums)):
            raise self._no_number()
        return Likely(tuple(sums), int(inputs["input_ids"].shape[1]))

    def _no_number(self) -> Refused:
        return Refused("not_a_number", f"{self.who} gives NaN in {self.model.dtype}: say precision='fp32'")

    def _sum(self, inputs: JsonObject, ids: Sequence[int]) -> float:
        if not ids:
            return 0.0
        scores = self._scores(_longer(self.torch, inputs, ids[:-1]), len(ids))[-len(ids) :]
        places = self.torch.arange(len(ids), device=scores.device)
        return float(scores[places, self.torch.tensor(list(ids), device=scores.device)].double().sum())

    def _scores(self, inputs: JsonObject, last: int) -> Any:
        """float32 (at least `last`, words): log-probabilities of what follows each of the last positions."""
        keep = {"logits_to_keep": last} if self._keeps else {}
        logits = self.model(**inputs, use_cache=False, **keep).logits[0, -last:].float()
        return self.torch.log_softmax(logits, dim=-1)

    def _inputs(self, text: str, image: bytes | None, more: int) -> JsonObject:
        """The model's inputs for one item, on its device."""
        picture = None if image is None else _opened(image)
        self._check_control(text)
        made = self._chatted(text, picture) if self.chat else self._plain(text, picture)
        length = made["input_ids"].shape[1]
        if length + more > self.most:
            raise Refused("too_long", f"{length:,} ids and up to {more:,} of an answer; {self.who} has {self.most:,}")
        read = {name: value for name, value in made.items() if name != "token_type_ids" or self._types}
        moved = {name: value.to(self.runner.device) for name, value in read.items()}
        kind = self.model.dtype
        return {name: value.to(kind) if value.is_floating_point() else value for name, value in moved.items()}

    def _chatted(self, text: str, picture: Any) -> Any:
        options: JsonObject = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
        if any(token in text for token in self.control):
            options["sanitize_control_tokens"] = True
        if self.processor is None:
            message: JsonObject = {"role": "user", "content": text}
            return self.tokenizer.apply_chat_template([message], add_generation_prompt=True, **options)
        shown = [] if picture is None else [{"type": "image", "image": picture}]
        message = {"role": "user", "content": [*shown, {"type": "text", "text": text}]}
        return self.processor.apply_chat_template([message], add_generation_prompt=True, **options)

    def _plain(self, text: str, picture: Any) -> Any:
        whole = PLAIN.format(text=text)
        if picture is None:
            return self.tokenizer(whole, return_tensors="pt", split_special_tokens=True)
        processor: Any = self.processor
        token = getattr(processor, "image_token", None)
        return processor(text=f"{token}\n{whole}" if token else whole, images=picture, return_tensors="pt")

    def _check_control(self, text: str) -> None:
        """A special token's name in an item is text; where transformers can't read it so, this model isn't asked."""
        asked = self.processor or self.tokenizer
        if self.chat and "sanitize_control_tokens" in inspect.signature(asked.apply_chat_template).parameters:
            return
        if not self.chat and self.processor is None:
            return
        found = next((token for token in self.control if token in text), None)
        if found is not None:
            raise Refused("control_token", f"the item's text holds {found!r}, which is no text to {self.who}")


def _longer(torch: Any, inputs: JsonObject, ids: Sequence[int]) -> JsonObject:
    """The inputs with some ids behind: what says something of each id goes on as for text."""
    if not ids:
        return inputs
    first = inputs["input_ids"]
    behind = torch.tensor([list(ids)], dtype=first.dtype, device=first.device)
    fills = {"input_ids": behind, "attention_mask": torch.ones_like(behind)}
    return {
        name: torch.cat([value, fills.get(name, torch.zeros_like(behind)).to(value.dtype)], dim=1)
        if value.shape == first.shape
        else value
        for name, value in inputs.items()
    }


def _opened(data: bytes) -> Any:
    image = decode_image(data)
    if isinstance(image, RowError):
        raise Refused(*image)
    return image.convert("RGB")


def _line(text: str) -> str:
    """The first line that is not blank."""
    return text.strip().partition("\n")[0].strip()


def _control_tokens(tokenizer: Any, processor: Any) -> tuple[str, ...]:
    """Texts that the tokenizer reads as special tokens."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    image = [getattr(processor, name, None) for name in ("image_token", "boi_token", "eoi_token")]
    return tuple(dict.fromkeys([*tokenizer.all_special_tokens, *added, *filter(None, map(_text_of, image))]))


def _text_of(token: Any) -> str | None:
    return token if isinstance(token, str) else getattr(token, "content", None)


def _nan_watch() -> Any:
    """A processor of logits that changes none; its `found` says whether one was NaN, so that there is no likeliest."""
    from transformers import LogitsProcessor

    class Watch(LogitsProcessor):  # type: ignore[misc]
        """See above."""

        found = False

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            self.found = self.found or bool(scores.isnan().any())
            return scores

    return Watch()


def _greedy(own: Any, tokenizer: Any) -> Any:
    """Of a model's own settings its ends alone: no sampling, no penalties, no limits of length."""
    from transformers import GenerationConfig

    end = own.eos_token_id if own.eos_token_id is not None else tokenizer.eos_token_id
    first = end[0] if isinstance(end, list) else end
    pad = own.pad_token_id if own.pad_token_id is not None else first
    return GenerationConfig(bos_token_id=own.bos_token_id, eos_token_id=end, pad_token_id=pad, do_sample=False)


def _processor(folder: str, who: str) -> Any:
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of many classes, by what is wrong in which file
        said = " ".join(str(error).split())[:400]
        raise PlanError(f"{who}: can't load the processor in {folder}: {said}") from error


def load_vision(folder: str, dtype: str, who: str) -> Any:
    """A model that sees; see `load_pretrained`."""
    return load_pretrained("AutoModelForImageTextToText", folder, dtype, who, "model that sees")


def weight_bytes(files: Mapping[str, Path], dtype: str) -> int:
    """Bytes that a model's weights take in memory: of its files, times what their numbers are widened by."""
    config = read_json(files[CONFIG])
    stored = str(config.get("dtype") or config.get("torch_dtype") or "float32").removeprefix("torch.")
    size = sum(path.stat().st_size for name, path in files.items() if name.endswith(".safetensors"))
    return size * WIDTHS[dtype] // WIDTHS.get(stored, 4)
