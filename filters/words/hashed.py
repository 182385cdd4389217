"""Hashed n-grams: each n-gram of a document's words as the number of its bucket.

As in `data-selection` 1.0.3 (p-lambda/dsir, `hashed_ngram_dsir.py`), bucket by bucket: words are those of nltk's
WordPunctTokenizer (`\\w+|[^\\w\\s]+`) in the lower-cased text, an n-gram is its words with a blank between each two,
and its bucket is the SHA-256 of its UTF-8, as a number, modulo the number of buckets. Words and pairs that were met
before are not hashed again: a word of up to 16 bytes is known by these, a longer one by a dictionary, a pair by the
numbers of its words.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

PART = 1 << 17
"""Characters of text that are taken apart at a time."""

WORDS = 1 << 20
"""Words that are remembered; beyond that the memory starts anew."""

SLOTS = 1 << 22
"""Pairs of words that are remembered at most, 16 bytes each: a pair takes the place of another in its slot."""

SHORT = 1 << 19
"""Words of up to 16 bytes that are found without the dictionary, 24 bytes each, likewise."""

Ints = np.ndarray[Any, np.dtype[np.int64]]
Buckets = np.ndarray[Any, np.dtype[np.int32]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Keys = np.ndarray[Any, np.dtype[np.uint64]]

_SECOND = np.uint64(32)
_LOW = np.uint64((1 << 32) - 1)
_NONE = np.uint64((1 << 64) - 1)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""2^64 by the golden ratio: multiplicative hashing (Knuth, The Art of Computer Programming 3, 6.4)."""

_SIXTEEN = 16
"""Bytes in a word's two keys."""

_BEYOND = np.array([(1 << 64) - (1 << 8 * size) for size in range(9)], dtype=np.uint64)
"""For each number of bytes in a key, the bits that are not the word's. UTF-8 has no byte of eight ones."""

_CUT = re.compile(r"\s|\b")
"""Where a text may be cut without cutting a word."""


class Words(NamedTuple):
    """Words as places in a text.

    Attributes:
        data: the text in UTF-8, and sixteen blanks.
        begins: int64 (n,): the byte at which each begins.
        stops: int64 (n,): the byte after each.
    """

    data: bytes
    begins: Ints
    stops: Ints

    def some(self, places: Any) -> Words:
        """Those at some places."""
        return Words(self.data, self.begins[places], self.stops[places])

    def apart(self) -> list[bytes]:
        """Each for itself."""
        spans = zip(self.begins.tolist(), self.stops.tolist(), strict=True)
        return [self.data[begin:stop] for begin, stop in spans]

    def keys(self) -> tuple[Keys, Keys]:
        """uint64 (n,) each: eight bytes of each word of up to sixteen, and the next eight, with ones beyond its end."""
        eight = np.ndarray(len(self.data) - 7, "<u8", self.data, strides=(1,))
        sizes = self.stops - self.begins
        first = eight[self.begins] | _BEYOND[np.minimum(sizes, 8)]
        return first, eight[self.begins + 8] | _BEYOND[np.maximum(sizes - 8, 0)]


class Part(NamedTuple):
    """Words of several documents end to end, or of a piece of one long document.

    Attributes:
        words: all of them.
        rows: int64 (r,): the documents that have words here.
        starts: int64 (r,): where each begins in `words`.
        carried: words at the front that belong to the piece before, and are here for the n-grams that begin there.
    """

    words: Words
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
                each = np.zeros(len(part.words.begins))
                for places, found in self._found(part):
                    each[places] += values[found]
                sums[part.rows] += np.add.reduceat(each, part.starts)
                words[part.rows] += np.diff(part.starts, append=len(each))
                words[part.rows[0]] -= part.carried
        return sums, words

    def _found(self, part: Part) -> Iterator[tuple[Any, Any]]:
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
                yield places, memory.longer(ids, places, size)


def parts(texts: Sequence[str], carry: int) -> Iterator[Part]:
    """The texts' words: short texts in groups, a text of more than `PART` characters in pieces.

    Args:
        texts: the documents.
        carry: words of one piece that the next begins with.
    """
    some: list[bytes] = []
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
            some.append(_utf8(lower))
            rows.append(row)
            size += len(lower)
    if some:
        yield from _grouped(some, rows)


def _grouped(texts: list[bytes], rows: list[int]) -> Iterator[Part]:
    words = split(b"\n".join(texts))
    offsets = np.cumsum([0, *(len(text) + 1 for text in texts[:-1])])
    starts = np.searchsorted(words.begins, offsets)
    some = np.diff(starts, append=len(words.begins)) > 0
    if some.any():
        yield Part(words, np.array(rows)[some], starts[some])


def _in_pieces(text: str, row: int, carry: int) -> Iterator[Part]:
    start, before = 0, list[bytes]()
    while start < len(text):
        cut = _CUT.search(text, start + PART)
        stop = cut.end() if cut else len(text)
        words = split(b" ".join([*before, _utf8(text[start:stop])]))
        count = len(words.begins)
        if count > len(before):
            yield Part(words, np.array([row]), np.array([0]), len(before))
        start, before = stop, words.some(slice(max(0, count - carry), None)).apart()


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def split(text: bytes) -> Words:
    """What `re.findall(r"\\w+|[^\\w\\s]+", text)` finds in UTF-8."""
    data = text + b" " * _SIXTEEN  # ends with a blank, as all words do here
    kinds = _kinds_of(data)
    changed = np.ones(len(kinds), dtype=bool)
    np.not_equal(kinds[1:], kinds[:-1], out=changed[1:])
    edges = np.flatnonzero(changed)
    some = np.flatnonzero(kinds[edges] != _BLANK)
    if len(kinds) < len(data):
        edges = np.flatnonzero(np.frombuffer(data, np.int8) >= _FIRST)[edges]
    return Words(data, edges[some], edges[some + 1])


_BLANK, _WORD, _OTHER = 0, 1, 2
_FIRST = -64
"""A byte is the first of a character if it is at least this as a signed number: the others are 0b10xxxxxx."""


def _kinds_of(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 (n,): what each character is."""
    if data.isascii():
        return np.frombuffer(data.translate(_plain_kinds()), dtype=np.uint8)
    codes = data.decode("utf-8", "surrogatepass").encode("utf-32-le", "surrogatepass")
    return _kinds().take(np.frombuffer(codes, dtype="<u4"))


@functools.cache
def _kinds() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 (characters of Unicode,): what each is to the tokenizer's pattern, by `re` itself."""
    codes = np.arange(sys.maxunicode + 1, dtype="<u4")
    every = codes.tobytes().decode("utf-32-le", "surrogatepass")
    made = np.full(len(every), _OTHER, dtype=np.uint8)
    for kind, pattern in ((_WORD, r"\w+"), (_BLANK, r"\s+")):
        for found in re.finditer(pattern, every):
            made[found.start() : found.end()] = kind
    return made


@functools.cache
def _plain_kinds() -> bytes:
    """The same of ASCII, for `bytes.translate`."""
    return _kinds()[:128].tobytes().ljust(256)


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

    def __init__(self) -> None:
        self.words: list[bytes] = []

    def __missing__(self, word: bytes) -> int:
        self[word] = made = len(self)
        self.words.append(word)
        return made


class _Slots:
    """Keys -> number, for most of those that were met: one takes the place of another in its slot.

    Args:
        count: of slots, a power of two.
        keys: numbers that a key consists of.
    """

    def __init__(self, count: int, keys: int) -> None:
        self.shift = np.uint64(64 - count.bit_length() + 1)
        self.table = np.empty((count, keys + 1), dtype=np.uint64)
        self.forget()

    def forget(self) -> None:
        """All of them."""
        self.table.fill(_NONE)

    def get(self, keys: Sequence[Keys], make: Callable[[Ints], Any]) -> Ints:
        """int64 (n,): the number of each key.

        Args:
            keys: uint64 (n,) each; the first is never 2^64 - 1.
            make: places in `keys` of those that are not here -> their numbers, 0 or more.
        """
        mixed = functools.reduce(lambda made, key: made + key * _MULTIPLIER, keys[1:], keys[0])
        slots = ((mixed * _MULTIPLIER) >> self.shift).view(np.int64)
        rows = self.table.take(slots, axis=0)
        known = np.logical_and.reduce([rows[:, i] == key for i, key in enumerate(keys)])
        made, new = rows[:, -1].view(np.int64), np.flatnonzero(~known)
        if len(new):
            made[new] = make(new)
            self.table[slots[new]] = np.stack([*(key[new] for key in keys), made[new].view(np.uint64)], axis=1)
        return made


class _Memory:
    """Buckets of the words and pairs of words that were met."""

    def __init__(self, buckets: int) -> None:
        self.buckets = buckets
        self.short, self.met = _Slots(SHORT, 2), _Slots(SLOTS, 1)
        self._forget()

    def _forget(self) -> None:
        self.numbers = _Numbered()
        self.before_blank: list[bytes] = []
        self.singles: Buckets = np.zeros(0, dtype=np.int32)
        self.short.forget()
        self.met.forget()

    def ids_of(self, words: Words) -> Ints:
        """int64 (n,): numbers of words, which `singles` has buckets of."""
        if len(self.numbers) > WORDS:
            self._forget()
        is_short = words.stops - words.begins <= _SIXTEEN
        made = np.empty(len(is_short), dtype=np.int64)
        made[~is_short] = self._numbers(words.some(~is_short))
        short = words.some(is_short)
        made[is_short] = self.short.get(short.keys(), lambda new: self._numbers(short.some(new)))
        if new := self.numbers.words[len(self.singles) :]:
            self.before_blank += [word + b" " for word in new]
            self.singles = np.concatenate([self.singles, hashed(new, self.buckets)])
        return made

    def _numbers(self, words: Words) -> Ints:
        return np.fromiter(map(self.numbers.__getitem__, words.apart()), np.int64, len(words.begins))

    def pairs(self, first: Ints, second: Ints) -> Ints:
        """int64 (n,): buckets of pairs of words, by their numbers."""
        keys = (first.view(np.uint64) << _SECOND) | second.view(np.uint64)
        return self.met.get([keys], lambda new: self._hash_pairs(keys[new]))

    def _hash_pairs(self, keys: Keys) -> Buckets:
        unique, where = np.unique(keys, return_inverse=True)
        first = map(self.before_blank.__getitem__, (unique >> _SECOND).tolist())
        second = map(self.numbers.words.__getitem__, (unique & _LOW).tolist())
        return hashed(list(map(operator.add, first, second)), self.buckets)[where]

    def longer(self, ids: Ints, places: Ints, size: int) -> Buckets:
        """int32 (n,): buckets of the n-grams of `size` words that begin at `places`."""
        words = [self.numbers.words[i] for i in ids.tolist()]
        return hashed([b" ".join(words[i : i + size]) for i in places.tolist()], self.buckets)


@functools.cache
def _memory(buckets: int) -> _Memory:
    """One for all scorers of a process that have as many buckets."""
    return _Memory(buckets)


@functools.cache
def _lock(buckets: int) -> threading.Lock:
    """Of that memory."""
    return threading.Lock()
