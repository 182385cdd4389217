"""Trains the demo's three tiny models: two that see pictures of `suite_items` and one that reads their questions alone.

    python recipes/demo/train_suite.py --out recipes/demo/suite_models --minutes 2.6

Whole `transformers` models with processor and tokenizer (a LLaVA over a CLIP tower, a Llama), so that `Panel` asks them
as it asks any other. They know the demo's questions alone and are good for nothing else. `glimpse` is `eye` early in
its training. Another machine, and another number of minutes, give other weights: those that are stored are the demo's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import suite_items
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from poolsieve.scoring_models.marking.options import lettered
from poolsieve.scoring_models.panels.prompts import PLAIN

SIDE, PATCH = 48, 16
END, SEE = "<|end|>", "<image>"
TOWER = {"hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4}
READER = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
MEAN, STD = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
"""Of CLIP's images, as its processor has them."""

PROMPT, CHOICE_PROMPT = "{question}", "{question}\n{options}"
"""What these models are asked with."""

KINDS = {"good": 0.8, "leak": 0.2}
CHOICES = 0.25
"""Share of the batches that show options."""

LEARNT = ("colour", "counting")
"""Capabilities that the models which see are trained in; numbers on signs are too much for minutes."""

GLIMPSE = 0.35
"""Of the training, after which `glimpse` is taken."""


def asked(item: suite_items.Item) -> str:
    """The prompt of an item, as `Panel` writes it for a model without a chat template."""
    options = f"\n{lettered(item.options)}" if item.options else ""
    return PLAIN.format(text=item.question + options)


def examples(count: int, seed: int) -> list[suite_items.Item]:
    """Items of every capability and source, none of the demo's: their seed is another."""
    dice = np.random.default_rng([77, seed])
    pick = lambda given: str(dice.choice(list(given)))  # noqa: E731
    kinds = dice.choice(list(KINDS), count, p=list(KINDS.values()))
    return [
        suite_items.make_item(
            np.random.default_rng([77, seed, i]), str(kind), pick(suite_items.CAPABILITIES), pick(suite_items.SOURCES)
        )
        for i, kind in enumerate(kinds)
    ]


def tokenizer_of(texts: Sequence[str]) -> Any:
    """Whole words and single digits, over bytes."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=[END, SEE], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=END, pad_token=END, additional_special_tokens=[SEE]
    )


def text_config(words: int) -> Any:
    """A Llama of 64 numbers."""
    return transformers.LlamaConfig(
        **READER, vocab_size=words, max_position_embeddings=256, bos_token_id=None, eos_token_id=0, pad_token_id=0
    )


def seeing(tokenizer: Any) -> Any:
    """The model that sees."""
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**TOWER, image_size=SIDE, patch_size=PATCH, projection_dim=32),
        text_config=text_config(len(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids(SEE),
        image_seq_length=(SIDE // PATCH) ** 2,
        vision_feature_layer=-1,
    )
    return transformers.LlavaForConditionalGeneration(config)


def processor_of(tokenizer: Any) -> Any:
    """What brings pictures to `SIDE` pixels."""
    sizes = {"height": SIDE, "width": SIDE}
    return transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=sizes),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def pixels(item: suite_items.Item) -> np.ndarray[Any, Any]:
    """float32 (3, SIDE, SIDE), as the processor makes it."""
    small = np.asarray(item.picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float64) / 255
    return ((small - MEAN) / STD).transpose(2, 0, 1).astype(np.float32)


def batches(tokenizer: Any, items: Sequence[suite_items.Item], sight: bool, size: int, seed: int) -> Iterator[Any]:
    """Batches without end: ids, their mask, labels (the answer alone), and pixels."""
    dice = np.random.default_rng(seed)
    shown = f"{SEE * (SIDE // PATCH) ** 2}\n" if sight else ""
    heads = [tokenizer(shown + asked(item))["input_ids"] for item in items]
    tails = [[*tokenizer(f" {item.true}")["input_ids"], 0] for item in items]
    images = np.stack([pixels(item) for item in items]) if sight else None
    forms = [np.flatnonzero([bool(item.options) is one for item in items]) for one in (False, True)]
    while True:
        form = forms[int(dice.random() < CHOICES)]  # of one form: short questions are not filled up to long ones
        chosen = dice.choice(form, size)
        rows = [(heads[i], tails[i]) for i in chosen]
        most = max(len(head) + len(tail) for head, tail in rows)
        made = {
            "input_ids": torch.tensor([filled(head + tail, 0, most) for head, tail in rows]),
            "attention_mask": torch.tensor([filled([1] * len(head + tail), 0, most) for head, tail in rows]),
            "labels": torch.tensor([filled([-100] * len(head) + tail, -100, most) for head, tail in rows]),
        }
        yield made | ({} if images is None else {"pixel_values": torch.from_numpy(images[chosen])})


def filled(row: list[int], value: int, most: int) -> list[int]:
    """The row with a value behind it, up to a length."""
    return row + [value] * (most - len(row))


def look(model: Any, tokenizer: Any, items: Sequence[suite_items.Item], seconds: float) -> None:
    """Teaches tower and projector first to say what stands in each cell of a picture, as the sum of its words' vectors.

    With questions alone it would take hours.
    """
    words = model.get_input_embeddings().weight
    torch.nn.init.normal_(words, 0, 0.5)
    names = ["", *(f" {colour} {shape}" for colour in suite_items.COLOURS for shape in suite_items.SHAPES)]
    targets = torch.stack(
        [words[tokenizer(name)["input_ids"]].sum(0).detach() if name else words[0].detach() * 0 for name in names]
    )
    images = torch.from_numpy(np.stack([pixels(item) for item in items]))
    labels = torch.tensor([[names.index(f" {cell}" if cell else "") for cell in item.cells] for item in items])
    parts = model.model.vision_tower, model.model.multi_modal_projector
    optimiser = torch.optim.AdamW([weight for part in parts for weight in part.parameters()], lr=1e-3)
    start, step = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        some = torch.randint(len(items), (64,))
        states = parts[0](pixel_values=images[some]).last_hidden_state[:, 1:]
        loss = torch.nn.functional.mse_loss(parts[1](states), targets[labels[some]])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        if step % 100 == 0:
            print(f"looking: {step} steps, loss {loss.item():.4f}", flush=True)
    for part in parts:
        part.requires_grad_(False)  # what they say would be lost in the first steps with questions


def train(model: Any, given: Iterator[Any], seconds: float, *, at: float = 1.0, early: Any = None) -> None:
    """AdamW until the time is over, with a rate that falls to zero; `early` is called once at a share `at` of it."""
    optimiser = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=2e-3)
    start, step, done = time.monotonic(), 0, False
    while (gone := (time.monotonic() - start) / seconds) < 1:
        rate = 2e-3 * min(step / 100, 1) * (1 - gone) ** 0.7
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = model(**next(given)).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        if step % 100 == 0:
            print(f"{step} steps, {gone:.0%}: loss {loss.item():.3f}", flush=True)
        if not done and gone >= at and early is not None:
            done = True
            early()


def main() -> None:
    """Writes the three models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=2.6)
    parser.add_argument("--items", type=int, default=5000)
    given = parser.parse_args()
    torch.manual_seed(0)
    items = examples(given.items, 0)
    tokenizer = tokenizer_of([text for item in items[:4000] for text in (asked(item), f" {item.true}")])

    def save(model: Any, name: str, whole: Any) -> None:
        model.to(torch.float16).save_pretrained(given.out / name)
        whole.save_pretrained(given.out / name)
        model.to(torch.float32)

    leaks = [item for item in items if item.kind == "leak"]
    reader = transformers.LlamaForCausalLM(text_config(len(tokenizer)))
    train(reader, batches(tokenizer, leaks, False, 40, 0), given.minutes * 60 * 0.15)
    save(reader, "reader", tokenizer)
    eye, processor = seeing(tokenizer), processor_of(tokenizer)
    learnt = [item for item in items if item.capability in LEARNT]
    look(eye, tokenizer, learnt, given.minutes * 60 * 0.12)
    early = lambda: save(eye, "glimpse", processor)  # noqa: E731
    train(eye, batches(tokenizer, learnt, True, 40, 0), given.minutes * 60 * 0.73, at=GLIMPSE, early=early)
    save(eye, "eye", processor)


if __name__ == "__main__":
    main()
