"""Pieces that go spaCy's way step by step have its tokens, and take time linear in their length."""

from __future__ import annotations

import random
import re._parser as expressions  # what CPython parses expressions with
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.filters.words.affixes import WINDOW
from poolsieve.filters.words.pieces import splitter
from poolsieve.filters.words.tokenizer import tokenizer
from tests.filters.corpus import built, real
from tests.filters.words.test_pieces import MARKS, WORDS
from tests.linear import check_linear

MORE = ["US$", "اكواب", "كم", "°C", "°", "²", "%.", "+", "://", "@", "a.m.", "......", ". . .", "10.0.0.1", ":80", "?q"]
URL = ["a", "b.", "com", "@", ":", "://", "http", "/", "?", "#", "1", "10.", "127.0.0.1", "8.8.8.8", ":80", "-", "_"]
URL += ["é.", "x.org", "A", ".", "user", "ß", "日本", "+", "172.16.", "9.9"]


def ours(*pieces: str) -> list[str]:
    """Tokens by spaCy's steps alone, also where rules would do."""
    return splitter().by_steps(*pieces)


def spacys(*pieces: str) -> list[str]:
    return [token.text for token in splitter().spacy(" ".join(pieces))]


def some(dice: random.Random, choices: list[str], count: int) -> str:
    """A piece of a few of the choices."""
    return "".join("".join(dice.choices(choices, k=dice.randint(1, count))).split()) or "x"


def test_pieces_and_texts_of_real_documents() -> None:
    texts = (*real(160), *built())
    pieces = sorted({piece for text in texts for piece in text.split() if len(piece) < 3000})
    assert [piece for piece in pieces if ours(piece) != spacys(piece)] == []
    pieces_of = [text.split() for text in texts if text.split()]
    assert [text[:5] for text in pieces_of if max(map(len, text)) < 3000 and ours(*text) != spacys(*text)] == []


@pytest.mark.parametrize("seed", range(4))
def test_marks_words_and_special_cases_in_any_order(seed: int) -> None:
    dice = random.Random(seed)
    rules = sorted(rule.strip() for rule in splitter().spacy.rules if rule.strip())
    faces = [rule for rule in rules if not rule[0].isalnum()]
    choices = [*WORDS, *MORE, *MARKS, *dice.choices(rules, k=60), *dice.choices(faces, k=60)]
    for _ in range(8000):
        pieces = [some(dice, choices, 9) for _ in range(dice.choice((1, 1, 2, 4)))]
        assert ours(*pieces) == spacys(*pieces), pieces


@pytest.mark.parametrize("seed", range(2))
def test_faces_that_overlap(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(10_000):
        pieces = [some(dice, list(":;=-()[]/\\|'oOpPxX3.<>_^*D8"), 14) for _ in range(dice.choice((1, 1, 2, 3)))]
        assert ours(*pieces) == spacys(*pieces), pieces


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(WORDS + MORE) | st.sampled_from(MARKS) | st.text(max_size=2), max_size=12).map("".join))
def test_any_text(text: str) -> None:
    if pieces := text.split():
        assert ours(*pieces) == spacys(*pieces)


def test_urls_are_those_of_spacys_expression() -> None:
    dice = random.Random(3)
    ours, theirs = splitter().affixes.is_url, splitter().spacy.url_match
    texts = [some(dice, URL, 9) for _ in range(60_000)]
    assert [text for text in texts if ours(text) != bool(theirs(text))] == []
    assert sum(map(ours, texts)) > 2000


@pytest.mark.parametrize("count", [7, 8, 9, 12, 13, 14, 64, 300])
def test_runs_of_any_length(count: int) -> None:
    for unit in ["(", "()", "'s", ":)", "a", "!", "x:)", "a-b", "a.b@", "(see:)", "...", "5kg"]:
        piece = (unit * count)[:count]
        text = f"so {piece} ) {piece}:) ) end"
        assert tokenizer().read([text])[0].tokens() == spacys(text), text


def widths(pattern: Any) -> list[int]:
    """Characters that each alternative takes at most."""
    *_, (_, (_, alternatives)) = expressions.parse(pattern.__self__.pattern)
    return [one.getwidth()[1] for one in alternatives]


def test_a_window_holds_what_decides_at_an_end() -> None:
    """A suffix, what it looks back to (2 characters at most) and one more, by which a run of dots is known."""
    spacy = splitter().spacy
    for search in (spacy.prefix_search, spacy.suffix_search):
        *others, dots = sorted(widths(search))
        assert dots > 1000 and max(others) + 2 < WINDOW
    assert spacy.token_match is None


UNITS = ["(", "()", "[", "'s", ":)", "!", ":)(", "a:", "a@", "a.b@", "..a", "a.", "é-", "://", "a😀", "%.", "don't"]


@pytest.mark.parametrize("unit", UNITS)
def test_hostile_pieces_take_linear_time(unit: str) -> None:
    def read(text: str) -> None:
        tokenizer().documents.clear()
        assert "".join(tokenizer().read([text])[0].tokens()) == text.replace(" ", "")

    text = unit * (200_000 // len(unit))
    read(text + ":) )")
    check_linear(read, text)
