"""Tiny causal language models as `save_pretrained` writes them, with random weights that tell tokens apart.

python tests/scoring_models/causal/tiny_causal.py FOLDER [KIND]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

WORDS = [f"w{i}" for i in range(90)]

KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}),
    "llama": ("LlamaConfig", "LlamaForCausalLM", {"num_key_value_heads": 1}),
    "neox": ("GPTNeoXConfig", "GPTNeoXForCausalLM", {}),
    "olmo2": ("Olmo2Config", "Olmo2ForCausalLM", {}),
    "gemma2": ("Gemma2Config", "Gemma2ForCausalLM", {"head_dim": 16, "num_key_value_heads": 1}),
    "granite": ("GraniteConfig", "GraniteForCausalLM", {"logits_scaling": 8.0}),
    "cohere": ("CohereConfig", "CohereForCausalLM", {"logit_scale": 0.0625}),
    "mixtral": ("MixtralConfig", "MixtralForCausalLM", {"num_local_experts": 4, "num_key_value_heads": 1}),
    "mamba": ("MambaConfig", "MambaForCausalLM", {"state_size": 8}),
    "phi": ("PhiConfig", "PhiForCausalLM", {}),
    "opt": ("OPTConfig", "OPTForCausalLM", {"ffn_dim": 64, "word_embed_proj_dim": 16}),
    "bert": ("BertConfig", "BertLMHeadModel", {}),
    "bloom": ("BloomConfig", "BloomForCausalLM", {"n_head": 2, "n_layer": 2}),
}
"""Name -> configuration, class, and what it takes beside the common sizes."""

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}


def tokenizer_of(vocabulary: int = 300) -> Any:
    """A byte-level BPE trained on the words, with one special token, as GPT-2 has it, and no padding token."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    return made


def make(folder: Path, kind: str = "gpt2", seed: int = 0, tokenizer: Any = None, **config: Any) -> Path:
    """Writes a model of a kind, and its tokenizer; gives the folder."""
    torch.manual_seed(seed)
    tokenizer = tokenizer or tokenizer_of()
    config_class, model_class, own = KINDS[kind]
    sizes = {} if kind == "gpt2" else SIZES
    given = {"vocab_size": tokenizer.get_vocab_size(), "initializer_range": 0.3, **sizes, **own, **config}
    end = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    made = getattr(transformers, model_class)(getattr(transformers, config_class)(**given, **end))
    made.eval().save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|end|>", eos_token="<|end|>", model_max_length=64
    ).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    make(Path(sys.argv[1]), *sys.argv[2:3])
