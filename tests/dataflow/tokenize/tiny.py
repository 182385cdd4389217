"""Tiny tokenizers as `save_pretrained` writes them, and pools of documents."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

END = "<|endoftext|>"


def words(n: int, seed: int = 0) -> str:
    made = random.Random(seed)
    return " ".join("".join(made.choices("abcdefgh", k=made.randint(1, 6))) for _ in range(n))


def bpe(folder: Path, size: int = 400, end: str | None = END, seed: int = 0) -> Path:
    """A byte-level BPE, as most causal models have."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[END, "<|pad|>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([words(3000, seed)], trainer)
    return saved(made, folder, end)


def unigram(folder: Path, end: str | None = "</s>") -> Path:
    """A Unigram model, which has its special tokens in its own vocabulary."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator([words(2000)] * 3, trainer)
    return saved(made, folder, end)


def word_list(folder: Path, size: int, end: str | None = "</s>") -> Path:
    """One id for each word between blanks, up to `size` of them."""
    vocabulary = {"</s>": 0, "<unk>": 1, **{f"w{i}": i for i in range(2, size)}}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return saved(made, folder, end)


def saved(made: Tokenizer, folder: Path, end: str | None) -> Path:
    more = {} if end is None else {"eos_token": end}
    PreTrainedTokenizerFast(tokenizer_object=made, **more).save_pretrained(folder)
    return folder


def write_documents(path: Path, texts: Sequence[Any], first: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"id": f"d{first + i}", "text": t}) + "\n" for i, t in enumerate(texts)))
    return path


def pool_of_documents(folder: Path, sizes: Sequence[int] = (30, 20, 25), longest: int = 60) -> Path:
    for shard, n in enumerate(sizes):
        texts = [words(1 + (i * 7 + shard) % longest, 100 * shard + i) for i in range(n)]
        write_documents(folder / f"docs-{shard}.jsonl", texts, 1000 * shard)
    return folder


def plainly(folder: Path, texts: Sequence[str | None], end: str = END) -> list[int]:
    """What a bare loop gives: the ids of each text, and the end behind each that has any."""
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.encode_special_tokens = True
    found: list[int] = []
    for text in texts:
        ids = made.encode(text, add_special_tokens=False).ids if text else []
        found += [*ids, made.token_to_id(end)] if ids else []
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ids_of(path: Path, dtype: str = "uint16") -> list[int]:
    found: list[int] = np.fromfile(path, dtype).tolist()
    return found
