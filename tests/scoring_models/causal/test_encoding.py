"""Long texts are tokenised in sections, and have the ids of the whole."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from poolsieve.scoring_models.causal import encoding
from poolsieve.scoring_models.causal.encoding import encode_of, ids_of, sections
from poolsieve.scoring_models.hub.checkpoints import load_tokenizer
from tests.filters.corpus import real
from tests.scoring_models.causal import tiny_causal


def bytelevel() -> Any:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return made


def prefixed() -> Any:
    """As GPT-2's with a blank before the first word."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return made


def metaspace() -> Any:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    return made


def one_word() -> Any:
    """As Llama's: no words, a mark in place of each blank and before the first."""
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return made


def trained(made: Any) -> encoding.Encode:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    some = [" ".join(text.split()[:50]) for text in real(60)]
    made.train_from_iterator(some, trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False))
    return lambda some: [one.ids for one in made.encode_batch_fast(some, add_special_tokens=False)]


@pytest.mark.parametrize("make", [bytelevel, prefixed, metaspace, one_word])
def test_sections_have_the_ids_of_the_whole(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, text = trained(make()), "\n".join(real(12))[:60_000]
    whole = encode([text])[0]
    monkeypatch.setattr(encoding, "SECTION", 2000)
    assert [ids.tolist() for ids in ids_of(encode, ["a b", text, ""])] == [*encode(["a b"]), whole, []]
    # A tokenizer without words may have merges over blanks anywhere: where none is safe, the text stays whole.
    assert len(list(sections(encode, text))) > (10 if make is not one_word else 0)


def test_a_text_without_blanks_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    encode = trained(bytelevel())
    text = "".join(random.Random(0).choices("abc", k=9000))
    monkeypatch.setattr(encoding, "SECTION", 2000)
    assert list(sections(encode, text)) == [text]
    assert next(ids_of(encode, [text])).tolist() == encode([text])[0]


def test_a_special_token_that_a_text_spells_is_text(tmp_path: Path) -> None:
    tokenizer = load_tokenizer({"config.json": tiny_causal.make(tmp_path) / "config.json"})
    end, text = tokenizer.eos_token_id, "w1 <|end|> w2"
    assert end in tokenizer(text)["input_ids"]
    (found,) = ids_of(encode_of(tokenizer), [text])
    assert end not in found and tokenizer.decode(found) == text
