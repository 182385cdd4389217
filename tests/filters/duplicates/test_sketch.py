"""Sketches: against a plain reading, the same however texts are put together, and estimates that are unbiased."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.filters.duplicates import sketch as module
from poolsieve.filters.duplicates.sketch import EMPTY, minima, similarity, sketches
from tests.filters.duplicates.plain import joined, shingle_hashes, sketch

WORDS = [f"w{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(600)]


def some_text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(WORDS, k=words))


def made(texts: list[str]) -> list[bytes | None]:
    found, some = sketches(joined(texts))
    return [found[i].tobytes() if some[i] else None for i in range(len(texts))]


def test_sketches_are_those_of_a_plain_reading() -> None:
    rng = random.Random(0)
    texts = [some_text(rng, words) for words in (5, 6, 9, 40, 68, 69, 200, 500, 3000, 9000)]
    assert made(texts) == [sketch(text) for text in texts]


def test_texts_of_fewer_words_have_no_sketch() -> None:
    assert made(["", "one", "one two three four", "  \n", "!!!", "漢字漢字"]) == [None] * 6
    assert made(["漢字漢字漢"]) != [None]


def test_an_empty_bin_asks_the_same_others_by_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    texts = joined([some_text(rng, words) for words in range(5, 300, 7)])
    monkeypatch.setattr(module, "FEW", 256)
    by_ranks, _ = sketches(texts)
    monkeypatch.setattr(module, "FEW", 0)
    in_turn, _ = sketches(texts)
    np.testing.assert_array_equal(by_ranks, in_turn)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1 << 32), st.data())
def test_a_sketch_is_of_its_text_alone(seed: int, data: st.DataObject) -> None:
    rng = random.Random(seed)
    texts = [some_text(rng, rng.choice((0, 1, 4, 5, 7, 60, 400))) + rng.choice(("", "é", " 漢")) for _ in range(12)]
    whole = made(texts)
    order = data.draw(st.permutations(range(len(texts))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(texts)), max_size=4)))
    parts = [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(texts)], strict=True)]
    again = {i: one for part in parts for i, one in zip(part, made([texts[i] for i in part]), strict=True)}
    assert [again[i] for i in range(len(texts))] == whole
    assert [made([text])[0] for text in texts] == whole


@pytest.mark.parametrize("words", [5, 6, 8])
def test_short_texts_that_share_nothing_do_not_agree_by_accident(words: int) -> None:
    rng = random.Random(2)
    texts = list({some_text(rng, words) for _ in range(2000)})
    found, _ = sketches(joined(texts))
    agree = similarity(found[:-1], found[1:])
    assert len({one.tobytes() for one in found}) == len(texts) and agree.max() < 0.2


@pytest.mark.parametrize("size", [30, 300, 3000])
def test_the_estimate_is_unbiased_and_as_close_as_theory_says(size: int) -> None:
    rng = random.Random(size)
    errors = []
    for _ in range(60):
        words = rng.choices(WORDS, k=size)
        other = words[: size // 3] + rng.choices(WORDS, k=size - size // 3)
        pair = [" ".join(words), " ".join(other)]
        a, b = (set(shingle_hashes(text)) for text in pair)
        found, _ = sketches(joined(pair))
        errors.append(float(similarity(found[:1], found[1:])[0]) - len(a & b) / len(a | b))
    deviation = np.sqrt(0.2 * 0.8 / min(size, 256))
    assert abs(np.mean(errors)) < 3 * deviation / np.sqrt(len(errors)) + 0.004
    assert np.std(errors) < 1.5 * deviation


def test_every_bin_gets_its_share() -> None:
    rng = random.Random(3)
    found = minima(joined([some_text(rng, 20_000) for _ in range(4)]))
    assert (found != EMPTY).all()
    assert 0.3 < float(np.median(found / 2**56)) * 20_000 / 256 < 1.2
