"""Signatures are datatrove's own, number by number."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from poolsieve.filters.duplicates import signatures as ours
from poolsieve.filters.duplicates.grams import Grams, grams
from poolsieve.filters.words.punctuation import SPACED

minhash = pytest.importorskip("datatrove.pipeline.dedup.minhash")

TEXTS = [
    "The quick brown fox jumps over the lazy dog. It doesn't care; we can't say why (or won't)!",
    "Prices: $1,234.56, 12.5%, 3,14159, ٣٫١٤ and １２３ 5km 10ms 7:30pm, U.S.A. e.g. i.e. a.m.",
    "Ça déjà vu naïve Ångström ΌΔΥΣΣΕΥΣ ΣΑΣ ΟΔΟΣ. ŉ İstanbul ẞ STRASSE ﬁne ½ Ⅷ",
    "e\u0301 \u0301 \u0301\u0301 alone \u0301x y\u0338 ≠ a≠b ≯c \u037e;\u1fef` z",
    "nul\x00l tab\tnew\nline\r\n\x1c\x85\u2028 nbsp\xa0nbsp \u3000 wide\u200bzero\ufeff bom",
    "don't dont cant cannot gonna gotta lemme im ill o.o :) :-) :D xD =3 v.v 0_0 ^_^ <3 \\o/ (-: 8) cs c++ vs",
    "中文文本没有空格，所以是一个词。 日本語テキスト。 ไทย ภาษาไทย 한국어 문장입니다 हिन्दी किताब",
    "one two three four",
    "one two three four five",
    "",
    "   \n",
    "a",
    "! ! ! ! ! !",
    "1 2 3 4 5 6 7 8 9 10 11",
    "x" * 3000 + " " + "y z " * 50,
]


def theirs(kind: str) -> Any:
    from datatrove.utils.hashing import HashConfig, create_hash_func

    config = minhash.MinhashConfig(hash_config=HashConfig(precision=64, hash_fc=kind))
    made = minhash.MinhashDedupSignature("unused", config)
    by_bytes = create_hash_func(config.hash_config, bytes)
    made._hash_func = lambda text: by_bytes(text.encode())  # xxhash 4 takes no strings, which datatrove gives it
    return made


@pytest.fixture(scope="module")
def xxh64() -> Any:
    return theirs("xxhash")


def check(made: Any, texts: list[str], kind: Any) -> None:
    for text, signature in zip(texts, ours.signatures(texts, kind=kind), strict=True):
        shingles = made.get_shingles(text)
        assert ours.HASHES[kind](grams(text, 5)).tolist() == shingles.ravel().tolist(), text[:80]
        if signature is None:
            assert shingles.size == 0
        else:
            assert signature.reshape(14, 8).tolist() == made.get_signature(shingles)


def test_the_same_marks_are_blanks() -> None:
    from datatrove.utils.text import PUNCTUATION

    assert frozenset(PUNCTUATION) == SPACED


@pytest.mark.parametrize(("kind", "named"), [("xxh64", "xxhash"), ("sha1", "sha1")])
def test_signatures_are_datatroves(kind: str, named: str) -> None:
    check(theirs(named), TEXTS, kind)


@pytest.mark.parametrize(("kind", "named"), [("xxh64", "xxhash"), ("sha1", "sha1")])
def test_numbas_are_datatroves_too(kind: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = pytest.importorskip("poolsieve.filters.duplicates.compiled")
    monkeypatch.setattr(ours, "MANY", 0)
    assert ours.ways(0) == (compiled.HASHES, compiled.least)
    check(theirs(named), TEXTS, kind)


LENGTHS = st.integers(0, 70) | st.sampled_from([119, 120, 127, 128, 129, 183, 184, 5000])  # blocks of 32 and 64 bytes


@settings(max_examples=200, deadline=None)
@given(st.lists(LENGTHS, max_size=40), st.integers(0, 2**32))
@example(list(range(140)), 0)
def test_numba_hashes_any_bytes_as_libraries_do(lengths: list[int], seed: int) -> None:
    compiled = pytest.importorskip("poolsieve.filters.duplicates.compiled")
    r = np.random.default_rng(seed)
    size = max([0, *lengths]) + 9
    begins = np.array([r.integers(0, size - length + 1) for length in lengths], dtype=np.int64)
    runs = Grams(r.bytes(size), begins, begins + np.array(lengths, dtype=np.int64))
    for kind, library in ours.HASHES.items():
        assert compiled.HASHES[kind](runs).tolist() == library(runs).tolist()


WORDS = [
    "a",
    "don't",
    "Ångström",
    "中文文本没有",
    "ไทย",
    "日",
    "🙂🙂",
    "e\u0301",
    "x" * 70,
    "U.S.A.",
    "1,5",
    "—",
    "\ud800",
]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(WORDS) | st.text(max_size=9), max_size=60).map(" ".join) | st.none(), max_size=9),
    st.integers(1, 7),
    st.sampled_from(["xxh64", "sha1"]),
)
def test_numba_gives_the_same_signatures(texts: list[str | None], ngram: int, kind: str) -> None:
    compiled = pytest.importorskip("poolsieve.filters.duplicates.compiled")
    plain = ours.signatures(texts, ngram=ngram, kind=kind, count=9)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ours, "ways", lambda _: (compiled.HASHES, compiled.least))
        found = ours.signatures(texts, ngram=ngram, kind=kind, count=9)
    assert [one if one is None else one.tolist() for one in found] == [
        one if one is None else one.tolist() for one in plain
    ]


def test_numba_is_loaded_for_long_texts_alone() -> None:
    pytest.importorskip("numba")
    script = """
import sys
from poolsieve.filters import dedup
from poolsieve.filters.duplicates.signatures import MANY, signatures
stage = dedup.fineweb()
signatures(["a text of some more words than five"])
assert "numba" not in sys.modules
signatures(["one two three four five " * MANY])
assert "numba" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


PIECES = [word for text in TEXTS for word in text.split(" ")] + ["\u2019s", "9.9.9", "A.B.", "..", "…", "0", "ſ", "Σ"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=5, max_size=40), st.sampled_from([" ", "\n", "  ", "\t", ", "]))
def test_any_mixture(xxh64: Any, pieces: list[str], blank: str) -> None:
    check(xxh64, [blank.join(pieces)], "xxh64")


@settings(max_examples=150, deadline=None)
@given(st.text(min_size=5, max_size=60))
def test_any_text(xxh64: Any, text: str) -> None:
    check(xxh64, [" ".join(text), text], "xxh64")


def test_permutations_are_datatroves(xxh64: Any) -> None:
    for found, wanted in zip(ours.permutations(112), xxh64.parameters, strict=True):
        assert found.tolist() == wanted[0].tolist()


@pytest.mark.parametrize("numbas", [False, True])
def test_blocks_do_not_show(numbas: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "BLOCK", 1 << 12)
    least = pytest.importorskip("poolsieve.filters.duplicates.compiled").least if numbas else ours.least
    r = np.random.default_rng(0)
    hashes = r.integers(0, 1 << 63, 3 * ours.BLOCK + 17, dtype=np.uint64)
    starts = np.unique(np.concatenate([[0], r.integers(0, len(hashes), 40), [ours.BLOCK, 2 * ours.BLOCK - 1]]))
    a, b = ours.permutations(5)
    whole = least(hashes, starts, a, b)
    for i, (start, stop) in enumerate(zip(starts, [*starts[1:], len(hashes)], strict=True)):
        x = [(int(h) * int(a[j]) + int(b[j])) % 2**64 % ours.PRIME for j in range(5) for h in hashes[start:stop]]
        assert whole[i].tolist() == np.array(x).reshape(5, -1).min(axis=1).tolist()
