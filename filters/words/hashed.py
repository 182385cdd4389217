"""Hashed n-grams: each n-gram of a document's words as the number of its bucket.

As in `data-selection` 1.0.3 (p-lambda/dsir, `hashed_ngram_dsir.py`), bucket by bucket: words are those of nltk's
WordPunctTokenizer (`\\w+|[^\\w\\s]+`) in the lower-cased text, an n-gram is its words with a blank between each two,
and its bucket is the SHA-256 of its UTF-8, as a number, modulo the number of buckets. Words and pairs that were met
before are not hashed again.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

PART = 1 << 17
"""Characters of text that are taken apart at a time: as words they need ten times as much."""

WORDS = 1 << 20
"""Words that are remembered; beyond that the memory starts anew."""

SLOTS = 1 << 22
"""Pairs of words that are remembered at most, 12 bytes each: a pair takes the place of another in its slot."""

Ints = np.ndarray[Any, np.dtype[np.int64]]
Buckets = np.ndarray[Any, np.dtype[np.int32]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Keys = np.ndarray[Any, np.dtype[np.uint64]]

_SECOND = np.uint64(32)
_LOW = np.uint64((1 << 32) - 1)
_NONE = np.uint64((1 << 64) - 1)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""2^64 by the golden ratio: multiplicative hashing (Knuth, The Art of Computer Programming 3, 6.4)."""

_CUT = re.compile(r"\s|\b")
"""Where a text may be cut without cutting a word."""


class Part(NamedTuple):
    """Words of several documents end to end, or of a piece of one long document.

    Attributes:
        words: as UTF-8.
        rows: int64 (r,): the documents that have words here.
        starts: int64 (r,): where each begins in `words`.
        carried: words at the front that belong to the piece before, and are here for the n-grams that begin there.
    """

    words: list[bytes]
    rows: Ints
    starts: Ints
    carried: int = 0


class HashedNgrams:
    """Buckets of all n-grams of 1 to `n` words. Safe to call from several threads, one of which works at a time.

    Args:
        n: words in the longest n-gram.
        buckets: how many there are, at most 2^31 - 1.
    """

    def __init__(self, n: int, buckets: int) -> None:
        self.n, self.buckets = n, buckets
        self._memory, self._lock = _memory(buckets), _lock(buckets)

    def counts(self, texts: Sequence[str]) -> Ints:
        """int64 (buckets,): how many n-grams of all texts fall into each."""
        made = np.zeros(self.buckets, dtype=np.int64)
        with self._lock:
            for part in parts(texts, self.n - 1):
                for _, found in self._found(part):
                    made += np.bincount(found, minlength=self.buckets)
        return made

    def sums(self, texts: Sequence[str], values: Floats) -> tuple[Floats, Ints]:
        """(float64 (n,), int64 (n,)): the sum of `values` (buckets,) over each text's n-grams, and its words.

        The order of a text's additions follows from the text alone.
        """
        sums, words = np.zeros(len(texts)), np.zeros(len(texts), dtype=np.int64)
        with self._lock:
            for part in parts(texts, self.n - 1):
                each = np.zeros(len(part.words))
                for places, found in self._found(part):
                    each[places] += values[found]
                sums[part.rows] += np.add.reduceat(each, part.starts)
                words[part.rows] += np.diff(part.starts, append=len(part.words))
                words[part.rows[0]] -= part.carried
        return sums, words

    def _found(self, part: Part) -> Iterator[tuple[Any, Buckets]]:
        """(places in `part.words` at which they begin, buckets of the n-grams) for each size."""
        memory = self._memory
        ids = memory.ids_of(part.words)
        yield slice(part.carried, None), memory.singles[ids[part.carried :]]
        ends = np.append(part.starts[1:], len(ids))
        row_end = np.repeat(ends, np.diff(part.starts, append=len(ids)))
        for size in range(2, self.n + 1):
            first = max(0, part.carried - size + 1)  # what begins before lies in the piece before
            places = np.arange(first, len(ids) - size + 1)
            places = places[places + size <= row_end[places]]
            if size == 2:
                yield places, memory.pairs(ids[places], ids[places + 1])
            else:
                yield places, hashed([b" ".join(part.words[i : i + size]) for i in places.tolist()], self.buckets)


def parts(texts: Sequence[str], carry: int) -> Iterator[Part]:
    """The texts' words: short texts in groups, a text of more than `PART` characters in pieces.

    Args:
        texts: the documents.
        carry: words of one piece that the next begins with.
    """
    some: list[str] = []
    rows: list[int] = []
    size = 0
    for row, text in enumerate(texts):
        lower = text.lower()
        if some and size + len(lower) > PART:
            yield from _grouped(some, rows)
            some, rows, size = [], [], 0
        if len(lower) > PART:
            yield from _in_pieces(lower, row, carry)
        else:
            some.append(lower)
            rows.append(row)
            size += len(lower)
    if some:
        yield from _grouped(some, rows)


def _grouped(texts: list[str], rows: list[int]) -> Iterator[Part]:
    words, begins = split("\n".join(texts))
    offsets = np.cumsum([0, *(len(text) + 1 for text in texts[:-1])])
    starts = np.searchsorted(begins, offsets)
    some = np.diff(starts, append=len(words)) > 0
    if words:
        yield Part(words, np.array(rows)[some], starts[some])


def _in_pieces(text: str, row: int, carry: int) -> Iterator[Part]:
    start, before = 0, list[bytes]()
    while start < len(text):
        cut = _CUT.search(text, start + PART)
        stop = cut.end() if cut else len(text)
        words = before + split(text[start:stop])[0]
        if len(words) > len(before):
            yield Part(words, np.array([row]), np.array([0]), len(before))
        start, before = stop, words[max(0, len(words) - carry) :]


def split(text: str) -> tuple[list[bytes], Ints]:
    """(words as UTF-8, int64 (n,): where each begins): what `re.findall(r"\\w+|[^\\w\\s]+", text)` finds.

    A blank goes between two words that touch, anything blank becomes one; then bytes are split in C.
    """
    plain = text.isascii()
    data = text.encode() if plain else text.encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(data, dtype=np.uint8 if plain else np.uint32)
    kinds = _kinds(128 if plain else sys.maxunicode + 1)[codes]
    changed = np.ones(len(codes), dtype=bool)
    np.not_equal(kinds[1:], kinds[:-1], out=changed[1:])
    begins = np.flatnonzero(changed & (kinds != _BLANK))
    touching = begins[1:] if len(begins) and begins[0] == 0 else begins
    touching = touching[kinds[touching - 1] != _BLANK]
    spaced = np.insert(np.where(kinds == _BLANK, codes.dtype.type(32), codes), touching, 32).tobytes()
    joined = spaced if plain else spaced.decode("utf-32-le", "surrogatepass").encode("utf-8", "surrogatepass")
    return joined.split(), begins


_BLANK, _WORD, _OTHER = 0, 1, 2


@functools.cache
def _kinds(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 (count,): what each of the first characters is to the tokenizer's pattern (`re`'s own definitions)."""
    every = list(map(chr, range(count)))
    blank = np.fromiter(map(str.isspace, every), bool, count)
    word = np.fromiter(map(str.isalnum, every), bool, count)
    word[ord("_")] = True
    return np.where(blank, _BLANK, np.where(word, _WORD, _OTHER)).astype(np.uint8)


def hashed(grams: Sequence[bytes], buckets: int) -> Buckets:
    """int32 (n,): SHA-256 of each, as a number, modulo `buckets`."""
    digests = b"".join([made.digest() for made in map(hashlib.sha256, grams)])
    words = np.frombuffer(digests, dtype=">u8").reshape(-1, 4).astype(np.uint64) % np.uint64(buckets)
    step, made = np.uint64((1 << 64) % buckets), words[:, 0]
    for i in range(1, 4):  # products stay below 2^62
        made = (made * step + words[:, i]) % np.uint64(buckets)
    return made.astype(np.int32)


class _Numbered(dict[bytes, int]):
    """Word -> a number of its own, given when it is first asked for."""

    def __missing__(self, word: bytes) -> int:
        self[word] = made = len(self)
        return made


class _Memory:
    """Buckets of the words and pairs of words that were met."""

    def __init__(self, buckets: int) -> None:
        self.buckets = buckets
        self.keys, self.values = np.empty(SLOTS, dtype=np.uint64), np.zeros(SLOTS, dtype=np.int32)
        self._forget()

    def _forget(self) -> None:
        self.ids = _Numbered()
        self.words: list[bytes] = []
        self.before_blank: list[bytes] = []
        self.singles: Buckets = np.zeros(0, dtype=np.int32)
        self.keys.fill(_NONE)

    def ids_of(self, words: list[bytes]) -> Ints:
        """int64 (n,): numbers of words, which `singles` has buckets of."""
        if len(self.words) > WORDS:
            self._forget()
        made = np.fromiter(map(self.ids.__getitem__, words), np.int64, len(words))
        if len(self.ids) > len(self.words):
            new = list(self.ids)[len(self.words) :]
            self.words += new
            self.before_blank += [word + b" " for word in new]
            self.singles = np.concatenate([self.singles, hashed(new, self.buckets)])
        return made

    def pairs(self, first: Ints, second: Ints) -> Buckets:
        """int32 (n,): buckets of pairs of words, by their numbers."""
        keys = (first.astype(np.uint64) << _SECOND) | second.astype(np.uint64)
        slots = ((keys * _MULTIPLIER) >> np.uint64(64 - SLOTS.bit_length() + 1)).astype(np.int64)
        made = self.values[slots]
        new = np.flatnonzero(self.keys[slots] != keys)
        if len(new):
            made[new] = self._new(keys[new])
        return made

    def _new(self, keys: Keys) -> Buckets:
        unique, where = np.unique(keys, return_inverse=True)
        first = map(self.before_blank.__getitem__, (unique >> _SECOND).tolist())
        second = map(self.words.__getitem__, (unique & _LOW).tolist())
        made = hashed(list(map(operator.add, first, second)), self.buckets)
        slots = ((unique * _MULTIPLIER) >> np.uint64(64 - SLOTS.bit_length() + 1)).astype(np.int64)
        self.keys[slots] = unique
        won = self.keys[slots] == unique
        self.values[slots[won]] = made[won]
        return made[where]


@functools.cache
def _memory(buckets: int) -> _Memory:
    """One for all scorers of a process that have as many buckets."""
    return _Memory(buckets)


@functools.cache
def _lock(buckets: int) -> threading.Lock:
    """Of that memory."""
    return threading.Lock()
