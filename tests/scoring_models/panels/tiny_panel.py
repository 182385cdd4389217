"""Tiny models to ask: a chat model of text, and one that sees, with random weights and whole processors.

python tests/scoring_models/panels/tiny_panel.py FOLDER [text|vision]
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<|end|>", "<|user|>", "<|assistant|>", "<image>"]

WORDS = [
    "What",
    "colour",
    "is",
    "the",
    "thing",
    "here",
    "Answer",
    "with",
    "letter",
    "of",
    "one",
    "the",
    "choices",
    "red",
    "green",
    "blue",
    "A",
    "B",
    "C",
    "D",
    "yes",
    "no",
]

CHAT = (
    "{% for m in messages %}<|{{ m.role }}|>"
    "{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for part in m.content %}{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}"
    "{% endif %}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

SIDE, PATCH = 32, 8

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def tokenizer_of() -> Any:
    """A byte-level BPE with the special tokens of a chat, as `transformers` has it."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token="<|end|>",
        pad_token="<|end|>",
        additional_special_tokens=SPECIAL[1:],
        chat_template=CHAT,
    )


def _llama(words: int, context: int) -> Any:
    return transformers.LlamaConfig(
        **SIZES,
        vocab_size=words,
        num_key_value_heads=1,
        max_position_embeddings=context,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )


def make_text(folder: Path, seed: int = 0, *, context: int = 1024, chat: bool = True) -> Path:
    """Writes a chat model that reads text alone (a Llama); gives the folder."""
    torch.manual_seed(seed)
    tokenizer = tokenizer_of()
    made = transformers.LlamaForCausalLM(_llama(len(tokenizer), context))
    made.eval().save_pretrained(folder)
    if not chat:
        tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    return folder


def make_vision(folder: Path, seed: int = 0, *, context: int = 1024) -> Path:
    """Writes a model that sees (a LLaVA over a CLIP tower); gives the folder."""
    torch.manual_seed(seed)
    tokenizer = tokenizer_of()
    tower = transformers.CLIPVisionConfig(**SIZES, image_size=SIDE, patch_size=PATCH, projection_dim=32)
    config = transformers.LlavaConfig(
        vision_config=tower,
        text_config=_llama(len(tokenizer), context),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(SIDE // PATCH) ** 2,
    )
    made = transformers.LlavaForConditionalGeneration(config)
    # With random weights the tower's states say little of the pixels: what they are projected by says more.
    with torch.no_grad():
        for weights in made.model.multi_modal_projector.parameters():
            weights.normal_(0, 0.5)
    made.eval().save_pretrained(folder)
    sizes = {"height": SIDE, "width": SIDE}
    transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=sizes),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT,
    ).save_pretrained(folder)
    return folder


def picture(seed: int, side: int = 40) -> bytes:
    """A PNG of random blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    made = io.BytesIO()
    Image.fromarray(blocks).resize((side, side), Image.Resampling.NEAREST).save(made, "PNG")
    return made.getvalue()


if __name__ == "__main__":
    {"text": make_text, "vision": make_vision}[(sys.argv[2:3] or ["vision"])[0]](Path(sys.argv[1]))
