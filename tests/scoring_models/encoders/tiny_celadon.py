"""A tiny Celadon in the published layout, with weights that tell texts apart."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import DebertaV2Config, DebertaV2Model

WORDS = [f"w{i}" for i in range(120)]
SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]


def make(folder: Path, seed: int = 0, **changes: object) -> Path:
    """Writes config.json, model.safetensors and the tokenizer; gives the folder."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    config = DebertaV2Config(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
        relative_attention=True,
        position_buckets=16,
        position_biased_input=False,
        pos_att_type=["p2c", "c2p"],
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        type_vocab_size=0,
        pad_token_id=0,
        initializer_range=0.7,
    )
    encoder = DebertaV2Model(config)
    state = {f"deberta.{name}": value.contiguous() for name, value in encoder.state_dict().items()}
    for i in range(5):
        state[f"heads.{i}.weight"] = torch.randn(4, 32)
        state[f"heads.{i}.bias"] = torch.randn(4) * 0.1
    save_file({name: value.clone() for name, value in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({**config.to_dict(), **changes}))
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate([*SPECIAL, *WORDS])}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    about = {"tokenizer_class": "PreTrainedTokenizerFast", **named, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    return folder
