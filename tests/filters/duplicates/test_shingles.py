"""Shingles of many texts at once against a plain reading of each, wherever a piece of the text ends."""

from __future__ import annotations

import random
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.filters.duplicates import shingles as module
from poolsieve.filters.duplicates.characters import seen
from tests.filters.duplicates.plain import OLD, characters, joined, shingle_hashes, words
from tests.linear import check_linear

KNOWN = (
    "The Quick brown fox, 12 + 345 times.  Don't! (re-do)",
    "ÄÖÜ straße ΟΔΟΣ ЖУК İstanbul \u212aelvin ǅ ǆ Ⴀ",
    "漢字かなカナ混じりの文 mixed WITH ascii漢字123",
    "ภาษาไทยไม่มีช่องว่าง ฯ ພາສາລາວ မြန်မာ ខ្មែរ",
    "e\u0301te\u0301 na\u00efve \u2014 \u201cquoted\u201d \u00a0 \u3000\u3001 \ufeff \u200b x\u200dy",
    "हिन्दी में लिखा हुआ। अरबي ۱۲۳ עברית",
    "\U0001f600 \U00020000\U00020001x \U0001d400 \U000e0001 \U0010ffff",
    "\0 \x01 a_b-c\n\td\r\ne",
    "",
    "   ",
    "one",
    "exactly five words are here",
)

ALPHABET = st.sampled_from("aZ09 _\n'\xa0éÉßΣςжЖ\u0301\u2014\u200d漢ก、\U0001f600\U00020000\U0010ffff") | st.characters(
    exclude_categories=["Cs"]
)


def found(texts: list[str]) -> list[list[int]]:
    made: list[list[int]] = [[] for _ in texts]
    for rows, hashes in module.shingles(joined(texts)):
        for row, value in zip(rows.tolist(), hashes.tolist(), strict=True):
            made[row].append(value)
    return made


def test_known_texts_have_the_words_that_a_reader_would_say() -> None:
    assert words("The fox, 12 + 345 Don't") == ["the", "fox", "00", "000", "don", "t"]
    assert words("ЖУК漢字ab กา") == ["жук", "漢", "字", "ab", "ก", "า"]
    assert words("naïve\u2014“x”\u3000Y\u0301") == ["naïve", "x", "y\u0301"]


@pytest.mark.parametrize("piece", [1 << 16, 64, 16])
def test_shingles_are_those_of_a_plain_reading(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", piece)
    texts = [*KNOWN, " ".join(KNOWN), "".join(KNOWN)]
    assert found(texts) == [shingle_hashes(text) for text in texts]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.text(ALPHABET, max_size=60), max_size=8), st.integers(8, 80))
def test_no_cut_leaves_a_trace(texts: list[str], piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", piece)
        assert found(texts) == [shingle_hashes(text) for text in texts]


def test_every_character_is_what_a_plain_reading_says() -> None:
    codes = [code for code in range(0x30000) if not 0xD800 <= code < 0xE000]
    wrong = []
    for start in range(0, len(codes), 4096):
        text = "".join(map(chr, codes[start : start + 4096]))
        plain = [
            b"\0" * len(c.encode()) if kind == "between" else low.encode()
            for (kind, low), c in zip(characters(text), text, strict=True)
        ]
        if seen(text.encode()).folded.tobytes() != b"".join(plain):
            wrong.append(hex(codes[start]))
    assert not wrong


def test_unicode_3_2_knows_the_signs_that_are_between_words() -> None:
    assert OLD.unidata_version == "3.2.0" and unicodedata.unidata_version != "3.2.0"
    assert [kind for kind, _ in characters("\u2014\u3001\u0964\u060c\u00b7")] == ["between"] * 5


def test_a_word_and_a_text_of_any_length_take_linear_time() -> None:
    def read(text: str) -> None:
        for _ in module.shingles(joined([text])):
            pass

    check_linear(read, "a" * 40_000_000)
    check_linear(read, "ab é " * 4_000_000)
    check_linear(read, "漢" * 6_000_000)


def test_bytes_that_are_no_utf8_harm_nobody_else() -> None:
    neighbours = ["one two three four five six", "à la carte ou à la une du jour"]
    for broken in (b"\xf0", b"\xe2\x80", b"\x80" * 50, b"\xff\xfe" * 9, bytes(range(256))):
        parts = [neighbours[0].encode(), broken, neighbours[1].encode()]
        texts = module.Texts(memoryview(b"".join(parts)), np.cumsum([0, *map(len, parts)]).astype(np.int64))
        made: dict[int, list[int]] = {0: [], 1: [], 2: []}
        for rows, hashes in module.shingles(texts):
            for row, value in zip(rows.tolist(), hashes.tolist(), strict=True):
                made[row].append(value)
        assert made[0] == shingle_hashes(neighbours[0])
        assert len(made[2]) > 0


def test_a_long_text_is_the_same_alone_and_among_others() -> None:
    rng = random.Random(1)
    long = " ".join(rng.choices(["alpha", "βήτα", "гамма", "漢", "x1"], k=60_000))
    assert found(["before it", long, "and after it comes one more text"])[1] == found([long])[0]
