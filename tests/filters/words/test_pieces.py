"""The tokens of pieces that spaCy is not asked for are those that it would give."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.filters.words.pieces import splitter
from tests.filters.corpus import built, real

MARKS = ",:;!?()[]{}<>_#*&'\"`.-/+=$%^~@|\\…’“”‘—–»«"
WORDS = [
    *("a", "b", "the", "can", "Mr", "co", "AB", "A", "Ab", "x", "8", "12", "0", "o", "em", "gonna", "dr", "vs", "D"),
    *("m", "g", "cm", "km", "km/h", "5km", "10%", "US$", "C$", "'s", "’s", "'S", "s", "9am", "e.g", "http", "http://"),
    *("www.x.org", "x.com", "é", "É", "ß", "日本", "Ω", "1st", "2D", "3.5", "v2.0", "re", "ll", "..", "...", "😀"),
]


def assert_same(pieces: list[str]) -> int:
    """Asserts that all sure pieces have spaCy's tokens; how many are sure."""
    split = splitter()
    sure = [(piece, tokens) for piece in pieces if (tokens := split.by_rules(piece)) is not None]
    assert [one for one in sure if one[1] != [token.text for token in split.spacy(one[0])]] == []
    return len(sure)


@pytest.mark.parametrize("part", range(2))
def test_pieces_of_real_documents(part: int) -> None:
    pieces = sorted({piece for text in (*real(1000), *built())[part::2] for piece in text.split()})
    assert assert_same(pieces) > 0.7 * len(pieces)


@pytest.mark.parametrize("seed", range(3))
def test_words_marks_and_special_cases_in_any_order(seed: int) -> None:
    dice = random.Random(seed)
    rules = [rule.strip() for rule in splitter().spacy.rules if rule.strip()]
    made = []
    for _ in range(20_000):
        parts = [dice.choice((dice.choice(WORDS), dice.choice(rules), *dice.choices(MARKS, k=3))) for _ in range(5)]
        made.append("".join("".join(parts[: dice.randint(1, 5)]).split()))
    assert assert_same(made) > 2000


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(WORDS) | st.sampled_from(MARKS) | st.text(max_size=2), max_size=6).map("".join))
def test_any_piece(text: str) -> None:
    assert_same(text.split())
