"""Tiny models to ask: a chat model of text, and one that sees, with random weights and whole processors.

python tests/scoring_models/panels/tiny_panel.py FOLDER [text|vision|grid]
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

GRID = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
"""What a Qwen2-VL has in place of the last."""

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


def tokenizer_of(special: list[str] = SPECIAL) -> Any:
    """A byte-level BPE with the special tokens of a chat, as `transformers` has it."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=344, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token="<|end|>",
        pad_token="<|end|>",
        additional_special_tokens=special[1:],
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


def make_grid(folder: Path, seed: int = 0) -> Path:
    """Writes a model that keeps an image's grid of positions between two steps (a Qwen2-VL)."""
    torch.manual_seed(seed)
    tokenizer = tokenizer_of([*SPECIAL[:3], *GRID])
    ids = dict(zip(("start", "end", "image", "video"), tokenizer.convert_tokens_to_ids(GRID), strict=True))
    text = _llama(len(tokenizer), 1024).to_dict()
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    config = transformers.Qwen2VLConfig(
        text_config={**text, "model_type": "qwen2_vl_text", "rope_parameters": rope},
        vision_config={
            **{"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 4},
            **{"spatial_merge_size": 2, "temporal_patch_size": 2},
        },
        image_token_id=ids["image"],
        video_token_id=ids["video"],
        vision_start_token_id=ids["start"],
        vision_end_token_id=ids["end"],
    )
    made = transformers.Qwen2VLForConditionalGeneration(config)
    made.generation_config.eos_token_id = 0
    made.eval().save_pretrained(folder)
    sizes = {"patch_size": 4, "merge_size": 2, "temporal_patch_size": 2}
    chat = CHAT.replace("<image>", "".join(GRID[i] for i in (0, 2, 1)))
    transformers.Qwen2VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(**sizes, min_pixels=16 * 16, max_pixels=SIDE * SIDE),
        video_processor=transformers.Qwen2VLVideoProcessor(**sizes),
        tokenizer=tokenizer,
        chat_template=chat,
    ).save_pretrained(folder)
    return folder


def picture(seed: int, side: int = 40) -> bytes:
    """A PNG of random blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    made = io.BytesIO()
    Image.fromarray(blocks).resize((side, side), Image.Resampling.NEAREST).save(made, "PNG")
    return made.getvalue()


if __name__ == "__main__":
    {"text": make_text, "vision": make_vision, "grid": make_grid}[(sys.argv[2:3] or ["vision"])[0]](Path(sys.argv[1]))
