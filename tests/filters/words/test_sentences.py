"""Where sentences are: as spaCy's own splitter says of each line, and as many as `c4.quality` counts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.filters.words.sentences import sentence_spans
from poolsieve.filters.words.tokenizer import tokenizer

WORDS = [
    "One",
    "word",
    "Mr.",
    "U.S.",
    "end.",
    "?!",
    "...",
    '"',
    "(so)",
    "—",
    "don't",
    "3.5",
    "中文。",
    "日本",
    "é!",
    "x.y",
]


@pytest.fixture(scope="module")
def spacy_sentences() -> Any:
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    return lambda line: [sent.text for sent in nlp(line).sents]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), max_size=5))
def test_they_are_spacys_of_each_line(spacy_sentences: Any, lines: list[str]) -> None:
    text = "\n".join(lines)
    assert [text[first:end] for first, end in sentence_spans(text)] == [
        sentence.strip() for line in lines if line for sentence in spacy_sentences(line)
    ]


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=80) | st.text(alphabet='aB.?! \n\t"\u3000。é', max_size=80))
def test_every_character_is_in_one(text: str) -> None:
    spans = sentence_spans(text)
    inside = "".join(text[first:end] for first, end in spans)
    assert "".join(inside.split()) == "".join(text.split())
    assert all(text[first:end].strip() == text[first:end] != "" for first, end in spans)
    for line in text.split("\n"):
        if line.strip():
            assert len(sentence_spans(line)) == tokenizer().sentence_count(" ".join(line.split()))
