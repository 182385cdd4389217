"""Verdict for verdict with datatrove itself, filter by filter and as FineWeb's chain, on real documents and edge cases."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION, split_into_sentences, split_into_words
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.dataflow.transforms import apply_stages, program_for
from poolsieve.filters import Edit, Keep, Masked, PersonalData, Score, c4, col, fineweb, gopher
from poolsieve.filters.c4 import C4Lines
from poolsieve.filters.dsl.stages import Stage
from poolsieve.filters.pii import masked
from poolsieve.filters.words.punctuation import PUNCTUATION, TERMINAL
from poolsieve.filters.words.tokenizer import Tokenizer, tokenizer
from tests.filters.corpus import built, real

REAL = 900

REASONS = {
    "gopher_short_doc": "gopher.too_few_words",
    "gopher_long_doc": "gopher.too_many_words",
    "gopher_below_avg_threshold": "gopher.short_words",
    "gopher_above_avg_threshold": "gopher.long_words",
    "gopher_too_many_hashes": "gopher.too_many_hashes",
    "gopher_too_many_ellipsis": "gopher.too_many_ellipses",
    "gopher_too_many_bullets": "gopher.too_many_bullets",
    "gopher_too_many_end_ellipsis": "gopher.too_many_ellipsis_lines",
    "gopher_below_alpha_threshold": "gopher.too_few_alpha_words",
    "gopher_enough_stop_words": "gopher.too_few_stop_words",
    "dup_para_frac": "gopher.dup_para_frac",
    "dup_para_char_frac": "gopher.dup_para_char_frac",
    "dup_line_frac": "gopher.dup_line_frac",
    "dup_line_char_frac": "gopher.dup_line_char_frac",
    **{f"top_{n}_gram": f"gopher.top_{n}_gram" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"gopher.dup_{n}_grams" for n in range(5, 11)},
    "lorem_ipsum": "c4.lorem_ipsum",
    "curly_bracket": "c4.curly_bracket",
    "too_few_sentences": "c4.too_few_sentences",
    "line_punct_ratio": "fineweb.line_punct_ratio",
    "short_line_ratio": "fineweb.short_line_ratio",
    "char_dup_ratio": "fineweb.char_dup_ratio",
    "list_ratio": "fineweb.list_ratio",
}

CHAIN: tuple[Any, ...] = (
    GopherRepetitionFilter(),
    GopherQualityFilter(),
    C4QualityFilter(filter_no_terminal_punct=False),
    FineWebQualityFilter(),
)
FINEWEB = gopher.repetition() | gopher.quality() | c4.quality(terminal_punctuation=False, edit=True) | fineweb.quality()

FILTERS: dict[str, tuple[tuple[Any, ...], Callable[[], Stage]]] = {
    "gopher.repetition": (CHAIN[:1], gopher.repetition),
    "gopher.quality": (CHAIN[1:2], gopher.quality),
    "c4.quality": ((C4QualityFilter(),), c4.quality),
    "c4.quality, any line": (CHAIN[2:3], lambda: c4.quality(terminal_punctuation=False)),
    "fineweb.quality": (CHAIN[3:], fineweb.quality),
    "FineWeb's chain": (CHAIN, lambda: FINEWEB),
}


def theirs(filters: tuple[Any, ...], text: str) -> tuple[str | None, str]:
    """datatrove's first reason in our words (None: kept), and the text as it is then."""
    for one in filters:
        reason, text = _their(one, text)
        if reason is not None:
            return reason, text
    return None, text


@functools.cache
def _their(one: Any, text: str) -> tuple[str | None, str]:
    """One filter's. Remembered, since a chain asks what its filters were asked by themselves."""
    document = Document(text=text, id="0")
    found = one.filter(document)
    if found is True:
        return None, document.text
    name = "fineweb" if isinstance(one, FineWebQualityFilter) else "gopher"
    return (f"{name}.empty" if found[1] == "empty" else REASONS[found[1]]), document.text


def ours(stage: Stage, texts: list[str | None]) -> list[str | None]:
    """Our first reasons."""
    batch = pa.record_batch({"text": pa.array(texts, pa.string())})
    return list(apply_stages(program_for(stage, batch.schema), batch).column("reason").to_pylist())


def documents() -> list[str]:
    return [
        text
        for text in (*real(REAL), *built())
        if text.isprintable() or text.encode("utf-8", "replace").decode() == text
    ]


@pytest.mark.parametrize("name", FILTERS)
def test_the_same_verdict_and_first_reason_on_real_documents_and_edge_cases(name: str) -> None:
    filters, stage = FILTERS[name]
    texts = documents()
    assert len(texts) > 800 + len(built()) // 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean length of no words
        expected = [theirs(filters, text)[0] for text in texts]
    found = ours(stage(), list(texts))
    different = [(a, b, text[:80]) for a, b, text in zip(expected, found, texts, strict=True) if a != b]
    assert not different
    assert 0.02 < expected.count(None) / len(texts) < 0.98
    assert len(set(expected)) >= 3


def test_the_edited_text_is_that_of_datatrove() -> None:
    editor = C4Lines(terminal_punctuation=False)
    kept = [(text, theirs(CHAIN[2:3], text)) for text in documents()]
    texts = [(text, edited) for text, (reason, edited) in kept if reason is None]
    assert len(texts) > 200 and sum(text != edited for text, edited in texts) > 80
    assert [editor.edited(text) for text, _ in texts] == [edited for _, edited in texts]


def test_words_and_sentences_are_those_of_datatrove() -> None:
    reader = tokenizer()
    for text in (*real(REAL)[::7], *built()):
        assert reader.read([text])[0].tokens() == split_into_words(text), text[:80]
        for line in text.splitlines():
            assert reader.sentence_count(line) == len(split_into_sentences(line)), line[:80]


ODD = st.lists(
    st.sampled_from(
        [
            *".!?…。\"'()[]-_#•\t\xa0\u3000\x1f",
            " ",
            "  ",
            "\n",
            "...",
            "Mr.",
            "don't",
            "U.K.",
            "e.g.",
            "a",
            "Word",
            "1.5",
            "…",
        ]
    )
    | st.text(max_size=3),
    max_size=40,
).map("".join)


@settings(max_examples=400, deadline=None)
@given(text=ODD)
def test_words_and_sentences_of_any_text(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    reader = tokenizer()
    assert reader.read([text])[0].tokens() == split_into_words(text)
    for line in text.splitlines():
        assert reader.sentence_count(line) == len(split_into_sentences(line))


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(ODD, min_size=1, max_size=4))
def test_any_text_has_the_same_verdict(texts: list[str]) -> None:
    given_texts = [text.encode("utf-8", "ignore").decode() * 9 for text in texts]
    for name, (filters, stage) in FILTERS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            expected = [theirs(filters, text)[0] for text in given_texts]
        assert ours(stage(), list(given_texts)) == expected, name


def test_a_word_that_datatrove_loses_now_and_then() -> None:
    """spaCy's memory zones stumble over one of its own symbols; datatrove then takes it out of the text."""
    for _ in range(2):
        reader = tokenizer()
        reader.forget()
        assert reader.read(["say IS_ALPHA, twice IS_ALPHA"])[0].tokens() == [
            "say",
            "IS_ALPHA",
            ",",
            "twice",
            "IS_ALPHA",
        ]


FACES = (
    "(see above:) )",
    "see:( (maybe)",
    "c:o )",
    "foo( =[1]",
    "x:) ) and:( (",
    "ok:)\n) so",
    "a:)  ) b",
    "e.g.:) .",
    " (see above:) ) ",
)


def test_special_cases_across_a_blank() -> None:
    for text in (*FACES, " ".join(FACES), "the to of and " + "word " * 41 + "x:) ) " * 5):
        assert tokenizer().read([text])[0].tokens() == split_into_words(text), text
        for line in text.splitlines():
            assert tokenizer().sentence_count(line) == len(split_into_sentences(line)), line
        for name, (filters, stage) in FILTERS.items():
            assert ours(stage(), [text * 9]) == [theirs(filters, text * 9)[0]], (name, text)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.sampled_from([":)", ":(", "):", "(", ")", ":", "=", "[", "-", "_", "'", "x", "Mr", ".", " ", " ", "\n"])
    )
)
def test_faces_anywhere(parts: list[str]) -> None:
    text = "".join(parts)
    assert tokenizer().read([text])[0].tokens() == split_into_words(text)


def test_the_tokenizer_may_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Tokenizer()
    monkeypatch.setattr("poolsieve.filters.words.tokenizer.PIECES", 50)
    monkeypatch.setattr("poolsieve.filters.words.tokenizer.DOCUMENTS", 2)
    texts = real(REAL)[:40]
    for text in texts:
        assert reader.read([text])[0].tokens() == split_into_words(text)
        assert len(reader.memory.pieces) <= 51 + max(len(text.split()) for text in texts)
        assert len(reader.documents) <= 2


def test_the_character_sets_are_those_of_datatrove() -> None:
    assert set(TERMINAL_PUNCTUATION) == TERMINAL
    assert set(PUNCTUATION_SET) == PUNCTUATION


def test_null_never_stays_and_never_fails() -> None:
    for _, stage in FILTERS.values():
        assert ours(stage(), [None])[0] is not None


def test_limits_move_without_the_text() -> None:
    text = "\n".join(built()[20:60:4])
    strict, loose = gopher.quality(max_bullet_line_ratio=0.0), gopher.quality(min_words=None, max_words=None)
    assert len([s for s in loose.flat() if not isinstance(s, Score)]) == len(strict.flat()) - 3
    scorers = [stage for chain in (strict, loose) for stage in chain.flat() if isinstance(stage, Score)]
    assert scorers[0] == scorers[1]
    assert ours(strict, [text]) != ours(loose, [text]) or ours(strict, [text]) == [None]


PII = [
    "write to jane.doe+x@mail.example.co.uk or 'bob@corp.io' now",
    "server 8.8.8.8, not 10.0.0.1 or 127.0.0.1, nor 999.1.1.1; again 8.8.4.4 and 1.1.1.1",
    "a@b.cc " * 5,
    "no address @ all, v10.2.3.4.5",
    "x@[192.168.0.1] y@-bad.com a@b",
]


def test_personal_data_is_masked_as_datatrove_does_it() -> None:
    for text in [*PII, *real(REAL)[::5]]:
        assert masked(text) == PIIFormatter().format(text)
    both = ours(
        Score(pii=PersonalData()) | Keep(col("pii.emails") + col("pii.ips") <= 0, reason="pii.found"), [*PII, None]
    )
    assert both == ["pii.found"] * 3 + [None, "pii.found", "pii.found"]
    after = Edit(text=Masked()) | Keep(col("text").char_count() >= 1, reason="text.empty")
    assert ours(after, list(PII)) == [None] * 5


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*"a1.@-_[] \n", "8.8.8.8", "mail.com", "25", "é"]), max_size=30).map("".join))
def test_any_text_is_masked_as_datatrove_does_it(text: str) -> None:
    assert masked(text) == PIIFormatter().format(text)
