"""Tokens of captions against open_clip's own tokenizer, and what long and hostile captions may cost."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

open_clip = pytest.importorskip("open_clip")
pytest.importorskip("torch")

from poolsieve.scoring_models import Clip  # noqa: E402
from poolsieve.scoring_models.clip import captions  # noqa: E402
from poolsieve.scoring_models.clip.captions import REMEMBERED, Captions, NestedEntities, merged  # noqa: E402
from poolsieve.scoring_models.feeding.driver import score_rows  # noqa: E402
from tests.scoring_models.clip.test_scorer import folder, image_bytes  # noqa: E402, F401
from tests.test_hostile_text import UNITS  # noqa: E402

PIECES = [
    *UNITS.values(),
    *("&amp;", "&lt;", "<", "&eacute;", "&#233;", "&#x26;amp;", "&amp;amp;eacute;", "&copy"),
    *("Σ", "ΑΣ ", "ΣΑ", "İ", "ß", "ﬁ", "\u0345", "\u0316", "\u0344", "q", "â€™", "Ã©", "ï»¿", "Ｆull"),
    *("<start_of_text>", "<END_OF_TEXT>", "'LL ", "I'm", "🇩🇪", "a", "the ", "photo ", "Photo"),
    *("\x1c", "\x85", "\u2028", "\r", "\x0b", "\x0c", "\n", "\n\n", " ", "\x1b[31m"),
]


def texts() -> list[str]:
    """Mixtures, runs, and random letters."""
    dice = random.Random(0)
    made = ["", " ", "\n", "a", "<start_of_text>", "a photo of a cat"]
    made += ["".join(dice.choices(PIECES, k=dice.randint(1, 60))) for _ in range(200)]
    made += [piece * dice.randint(2, 120) for piece in PIECES]
    for letters in ("abcdefghijklmnopqrstuvwxyz", "aeinst", "ab", "😂❤…", "!=-"):
        made += ["".join(dice.choices(letters, k=dice.randint(1, 1500))) for _ in range(8)]
    return made


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return open_clip.SimpleTokenizer()


@pytest.fixture(scope="module")
def expected(tokenizer: Any) -> dict[int, Any]:
    """Context -> open_clip's tokens of all texts."""
    return {context: tokenizer(texts(), context_length=context).numpy() for context in (3, 20, 77)}


@pytest.mark.parametrize("context", [3, 20, 77])
@pytest.mark.parametrize(("block", "long", "marks"), [(4096, 256, 1000), (40, 10, 2)])
def test_tokens_are_open_clips(
    block: int, long: int, marks: int, context: int, expected: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captions, "BLOCK", block)
    monkeypatch.setattr(captions, "LONG", long)
    monkeypatch.setattr(captions, "MARKS", marks)
    made = Captions(tokenizer, context)
    assert made._words is not None
    found = made(texts())
    assert found.dtype == np.int64
    wrong = [text for text, a, b in zip(texts(), found, expected[context], strict=True) if not np.array_equal(a, b)]
    assert wrong == []


def test_all_merges_of_a_word_are_open_clips(tokenizer: Any) -> None:
    """Also where the first tokens would be the same."""
    dice = random.Random(1)
    for letters in ("abcdefghijklmnopqrstuvwxyz", "aeinst", "ab", "a", "o_"):
        for _ in range(30):
            word = "".join(dice.choices(letters, k=dice.randint(1, 200)))
            symbols = [*word[:-1], word[-1] + "</w>"]
            assert " ".join(merged(symbols, tokenizer.bpe_ranks)) == tokenizer.bpe(word)


OTHERS: dict[str, Callable[[], Any]] = {
    "another way to clean": lambda: open_clip.SimpleTokenizer(clean="canonicalize"),
    "a mask": lambda: open_clip.SimpleTokenizer(reduction_mask="simple"),
    "merges in another order": lambda: shuffled(),
}


def shuffled() -> Any:
    made = open_clip.SimpleTokenizer()
    pairs = list(made.bpe_ranks)
    random.Random(0).shuffle(pairs)
    made.bpe_ranks = {pair: rank for rank, pair in enumerate(pairs)}
    return made


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_tokenizer_is_called_as_it_is(name: str) -> None:
    other = OTHERS[name]()
    made = Captions(other, 77)
    assert made._words is None
    some = ["A photo, of: two cats!", "dogs", "", "a _b_"]
    assert np.array_equal(made(some), other(some, context_length=77).numpy())


def test_a_context_of_two_tokens(tokenizer: Any) -> None:
    assert Captions(tokenizer, 2)(["a cat"]).tolist() == [[49406, 49407]]


@pytest.mark.parametrize("unit", ["a house by the sea ", "Ein Café „am Meer“\n", "tick &amp; tock\n"])
def test_of_a_caption_of_megabytes_only_the_beginning_is_split_into_words(unit: str, tokenizer: Any) -> None:
    numbered = "".join(f"w{i} {unit}" for i in range(100_000))
    made = Captions(tokenizer, 77)
    found = made([numbered])
    assert made._words is not None
    assert made._words._remembered.cache_info().misses < 77
    assert np.array_equal(found, tokenizer([numbered[: numbered.index("w200 ")]]).numpy())


@pytest.mark.parametrize("letters", ["abcdefghijklmnopqrstuvwxyz", "acgt", "a", "😂❤"])
def test_of_a_word_of_a_megabyte_only_the_beginning_is_merged(
    letters: str, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = []

    def counted(symbols: list[str], ranks: Any) -> list[str]:
        lengths.append(len(symbols))
        return merged(symbols, ranks)

    monkeypatch.setattr(captions, "merged", counted)
    word = "".join(random.Random(0).choices(letters, k=1_000_000))
    found = Captions(tokenizer, 77)([word])
    assert sum(lengths) < 400_000
    assert np.array_equal(found, tokenizer([word[:4000]]).numpy())


def test_words_are_not_remembered_without_end(tokenizer: Any) -> None:
    before = len(tokenizer.cache)
    made = Captions(tokenizer, 77)
    made([" ".join(f"qx{i}zw{j}" for j in range(30)) for i in range(200)])
    assert made._words is not None
    assert made._words._remembered.cache_info().maxsize == REMEMBERED
    assert len(tokenizer.cache) == before


@pytest.mark.parametrize("body", ["amp;", "#38;", "AMP;", "#x26;"])
def test_entities_nested_without_end_are_refused_at_once(body: str, tokenizer: Any) -> None:
    made = Captions(tokenizer, 77)
    with pytest.raises(NestedEntities, match="250000 nested HTML entities in 1"):
        made(["&" + body * 250_000])
    deep = "a &" + body * 300 + "eacute; b"
    assert np.array_equal(made([deep]), tokenizer([deep]).numpy())


def test_a_caption_that_can_not_be_cleaned_costs_its_row(folder: Any) -> None:  # noqa: F811
    config = Clip(f"local-dir:{folder}", batch_size=4)
    captions_of = ["a cat", "&" + "amp;" * 250_000, "a dog", "&#" + "9" * 5000 + ";"]
    images = pa.array([image_bytes(i) for i in range(4)], pa.binary())
    made = score_rows(config.load(), pa.record_batch({"image": images, "text": captions_of}), config.columns, threads=2)
    assert {i: error.kind for i, error in made.errors.items()} == {1: "nested_entities", 3: "value_error"}
    assert [value is None for value in made.columns[""].to_pylist()] == [False, True, False, True]
