"""Tiny sequence classifiers as `save_pretrained` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

WORDS = [f"w{i}" for i in range(120)]


def make(folder: Path, kind: str = "bert", seed: int = 0, **config: Any) -> Path:
    """Writes a BERT or RoBERTa with random weights that tell texts apart, and its tokenizer; gives the folder."""
    torch.manual_seed(seed)
    special = ["<s>", "<pad>", "</s>", "<unk>"] if kind == "roberta" else ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    first, pad, last, unknown = special if kind == "roberta" else (special[1], special[0], *special[2:])
    words = {word: i for i, word in enumerate([*special, *WORDS])}
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    common = {"vocab_size": len(words), "initializer_range": 0.6, "pad_token_id": words[pad], **sizes, **config}
    network: Any
    if kind == "roberta":
        network = RobertaForSequenceClassification(RobertaConfig(max_position_embeddings=66, **common))
    else:
        network = BertForSequenceClassification(BertConfig(max_position_embeddings=64, **common))
    network.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(first, words[first]), (last, words[last])]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token=first,
        sep_token=last,
        pad_token=pad,
        unk_token=unknown,
        model_max_length=64,
    ).save_pretrained(folder)
    return folder
