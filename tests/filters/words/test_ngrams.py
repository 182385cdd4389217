"""N-gram statistics of many documents at once against counting them one by one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.filters.gopher import GopherRepetition
from poolsieve.filters.words.ngrams import (
    _BASE,
    GROUP,
    _powers_at,
    _prefix_hashes,
    _read_jumping,
    _sorted,
    _stood_before,
    _top_of_size,
    duplicate_characters,
    groups,
    top_characters,
)
from poolsieve.filters.words.tokenizer import tokenizer
from tests.filters.corpus import real

SIZES = (2, 3, 4, 5, 7, 10)
DOCUMENTS = st.lists(
    st.lists(st.sampled_from(["a", "b", "ab", "ba", "aa", "x", "longer"]), max_size=40).map(" ".join), max_size=8
)


def top(tokens: list[str], size: int) -> int:
    """Characters of all copies of the most frequent n-gram, blanks included."""
    grams = [" ".join(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]
    gram, count = Counter(grams).most_common(1)[0] if grams else ("", 0)
    return len(gram) * count


def duplicated(tokens: list[str], size: int) -> int:
    """Characters of n-grams that stood before, jumping over what was counted."""
    seen, total, place = set[str](), 0, 0
    while place < len(tokens) - size + 1:
        gram = "".join(tokens[place : place + size])
        total += len(gram) if gram in seen else 0
        place += size if gram in seen else 1
        seen.add(gram)
    return total


def assert_counts(texts: list[str]) -> None:
    words = tokenizer().read(texts)
    tokens = [one.tokens() for one in words]
    found = [(top_characters(group, SIZES), duplicate_characters(group, SIZES)) for group in groups(words)]
    for size in SIZES:
        assert [int(n) for tops, _ in found for n in tops[size]] == [top(some, size) for some in tokens]
        assert [int(n) for _, doubles in found for n in doubles[size]] == [duplicated(some, size) for some in tokens]


@settings(deadline=None)  # the first call builds spaCy's tokenizer
@given(DOCUMENTS)
def test_documents_end_to_end_count_as_each_alone(texts: list[str]) -> None:
    assert_counts(texts)


def test_real_documents_count_as_each_alone() -> None:
    assert_counts([*real(300), "", "x", "a b " * 3000])


@pytest.mark.parametrize("characters", [4, 64])
def test_hashes_of_a_text_in_parts(characters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a text, \u65e5\U0001f600, " * 40
    ends = np.unique(np.random.default_rng(0).integers(0, len(text) + 1, 300))
    whole, of_all = _prefix_hashes(text, ends, np.arange(len(text) + 1))
    scale = _powers_at(ends)
    monkeypatch.setattr("poolsieve.filters.words.ngrams.CHARACTERS", characters)
    assert [made.tolist() for made in _prefix_hashes(text, ends)] == [whole.tolist()] == [of_all[ends].tolist()]
    assert _powers_at(ends).tolist() == scale.tolist() == [pow(int(_BASE), int(end), 1 << 64) for end in ends]
    assert_counts([*real(4), "a b " * 300])


@settings(deadline=None)  # the first call builds spaCy's tokenizer
@given(DOCUMENTS)
def test_hashes_that_are_all_the_same_change_nothing(texts: list[str]) -> None:
    words = tokenizer().read(texts)
    for group in groups(words):
        for size in SIZES:
            places = group.places(size)
            same = np.zeros(len(group.document), dtype=np.uint64)
            tokens = [one.tokens() for one in words]
            assert _top_of_size(group, same, places, size)[0].tolist() == [top(some, size) for some in tokens]
            sorted_ = _sorted(group, same[places], places)
            counted = _read_jumping(group, *_stood_before(group, *sorted_, size), size)
            assert counted.tolist() == [duplicated(some, size) for some in tokens]


def test_any_sizes_of_n_grams_or_none() -> None:
    texts = pa.record_batch({"text": ["a b a b a b", "one", "", None]})
    none = GopherRepetition(top=(), duplicate=()).score(texts).columns
    assert none["char_count"].to_pylist() == [11, 3, 0, None] and "top_2_gram" not in none
    one = GopherRepetition(top=(1,), duplicate=()).score(texts).columns
    assert one["top_1_gram"].to_pylist() == [3 / 11, 1.0, None, None]


def test_groups_keep_every_document_in_order() -> None:
    words = tokenizer().read(["one two three"] * 3 + ["many words " * (GROUP // 2)] + ["last one"])
    found = list(groups(words))
    assert [len(group.starts) - 1 for group in found] == [3, 1, 1]
    assert sum(len(group.ids) for group in found) == sum(map(len, words))
