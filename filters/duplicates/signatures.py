"""MinHash signatures as datatrove makes them, number by number.

huggingface/datatrove 0.10, `pipeline/dedup/minhash.py`, `utils/text.py` and `utils/word_tokenizers.py`: a text is
simplified (lower case, numbers as 0, punctuation as blanks, no accents), cut into spaCy's English tokens, and each run
of `ngram` tokens, with a blank between each two, is hashed. Each of the signature's numbers is the least of
((hash * a + b) mod 2^64) mod (2^61 - 1) over the runs, for an `a` and a `b` of its own.

Simplifying and cutting look at one whitespace-delimited piece of a text at a time, so both are remembered by piece:
a look-up in a dictionary replaces nearly all of their work.
"""

from __future__ import annotations

import hashlib
import re
import threading
import unicodedata
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import xxhash

from poolsieve.filters.duplicates.roots import Ints
from poolsieve.filters.words.marks import decomposed
from poolsieve.filters.words.mixing import Hashes
from poolsieve.filters.words.punctuation import SPACED
from poolsieve.filters.words.tokenizer import LONGEST, PIECES, Memory

PRIME = (1 << 61) - 1
"""Mersenne's, of datatrove's permutations."""

BLOCK = 1 << 12
"""Hashes that are permuted at a time: they and what is made of them stay in the processor's cache."""

# Decimal digits that Unicode has got since the tables of the oldest Python supported; datatrove asks a newer table.
_NEWER = (
    "\U00010d40-\U00010d49\U000116d0-\U000116e3\U00011bf0-\U00011bf9\U00011de0-\U00011de9\U00011f50-\U00011f59"
    "\U00016130-\U00016139\U00016d70-\U00016d79\U0001ccf0-\U0001ccf9\U0001e4f0-\U0001e4f9\U0001e5f1-\U0001e5fa"
)
_NUMBER = re.compile(rf"[\d{_NEWER}]+(?:[.,،٫⎖⎗⎘][\d{_NEWER}]+)?")
_BLANKS = {ord(mark): " " for mark in SPACED}


def simplified(text: str) -> str:
    """A text as datatrove compares it (`simplify_text` with its default configuration)."""
    text = _NUMBER.sub("0", text.lower()).translate(_BLANKS)
    text = " ".join(text.split())
    if not text.isascii():
        text = "".join(c for c in decomposed(text) if unicodedata.category(c) != "Mn")
    return text.strip()


class Simplified:
    """Tokens of simplified texts, with a memory. Not for several threads at once: see `memory()`."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Starts anew."""
        self.memory = Memory()
        self.pieces: dict[str, bytes] = {}
        self.words: list[bytes] = []
        self.sizes = array("i")
        self.open: set[str] = set()
        """Pieces whose tokens may depend on what stands beside them."""

    def tokens(self, text: str) -> tuple[bytes, Ints, Ints]:
        """(data, begins, stops): the tokens with a blank between each two in UTF-8, and the bytes of each."""
        if self.memory.full or len(self.pieces) >= PIECES:
            self.forget()
        ids = self._ids(text)
        self._learn_words()
        sizes = np.frombuffer(self.sizes, dtype=np.int32)[ids].astype(np.int64)
        stops = np.cumsum(sizes + 1) - 1
        return b" ".join(map(self.words.__getitem__, ids.tolist())), stops - sizes, stops

    def _ids(self, text: str) -> Any:
        pieces = text.split()
        known = self.pieces
        ids = b"".join([known.get(piece) or self._piece(piece) for piece in pieces])
        if self.open and not self.open.isdisjoint(pieces):
            return self.memory.read(simplified(text))
        return np.frombuffer(ids, dtype=np.int32)

    def _piece(self, piece: str) -> bytes:
        parts = simplified(piece).split()
        ids = b"".join([self.memory.pieces[part] for part in parts])
        if not self.memory.open.isdisjoint(parts):
            self.open.add(piece)
        if len(piece) <= LONGEST:
            self.pieces[piece] = ids
        return ids

    def _learn_words(self) -> None:
        for word in self.memory.words[len(self.words) :]:
            self.words.append(word.encode("utf-8", "surrogatepass"))
            self.sizes.append(len(self.words[-1]))


_local = threading.local()


def memory() -> Simplified:
    """This thread's."""
    if not hasattr(_local, "memory"):
        _local.memory = Simplified()
    found: Simplified = _local.memory
    return found


def _xxh64(runs: Iterator[bytes], n: int) -> Hashes:
    return np.fromiter(map(xxhash.xxh64_intdigest, runs), dtype=np.uint64, count=n)


def _sha1(runs: Iterator[bytes], n: int) -> Hashes:
    sha1: Callable[..., Any] = hashlib.sha1
    return np.frombuffer(b"".join([sha1(run, usedforsecurity=False).digest()[:8] for run in runs]), dtype="<u8")


HASHES: dict[str, Callable[[Iterator[bytes], int], Hashes]] = {"xxh64": _xxh64, "sha1": _sha1}


def run_hashes(text: str, ngram: int = 5, kind: str = "xxh64") -> Hashes:
    """uint64 (n - ngram + 1,): the hash of each run of `ngram` of a text's n tokens; empty if there are fewer.

    `kind`: xxHash 64, the default of datatrove 0.10, or the first eight bytes of SHA-1, little-endian, as FineWeb was
    made with (datatrove's `examples/fineweb.py`).
    """
    data, begins, stops = memory().tokens(text)
    n = max(0, len(begins) - ngram + 1)
    spans = zip(begins[:n].tolist(), stops[ngram - 1 :].tolist(), strict=True) if n else ()
    return HASHES[kind]((data[begin:stop] for begin, stop in spans), n)


def permutations(count: int, seed: int = 1) -> tuple[Hashes, Hashes]:
    """(a, b), uint64 (count,) each: `MinhashDedupSignature.parameters`, drawn as there, so that they are its own."""
    draw = np.random.RandomState(seed)
    a = draw.randint(1, PRIME, dtype=np.uint64, size=(1, count))
    return a[0], draw.randint(0, PRIME, dtype=np.uint64, size=(1, count))[0]


def least(hashes: Hashes, starts: Ints, a: Hashes, b: Hashes) -> Hashes:
    """uint64 (texts, numbers): the signatures of texts whose hashes stand one behind the other.

    Args:
        hashes: uint64 (n,), of all texts.
        starts: int64 (texts,): where those of each text begin; each has at least one.
        a: uint64 (numbers,), factors.
        b: the same, summands.
    """
    made = np.full((len(starts), len(a)), np.iinfo(np.uint64).max, dtype=np.uint64)
    for first in range(0, len(hashes), BLOCK):
        block = hashes[first : first + BLOCK]
        low, high = np.searchsorted(starts, [first, first + len(block)], side="left")
        low = max(0, low - (low == len(starts) or starts[low] > first))
        cuts = np.maximum(starts[low:high] - first, 0)
        _permuted(block, cuts, a, b, made[low:high])
    return made


def _permuted(block: Hashes, cuts: Ints, a: Hashes, b: Hashes, into: Hashes) -> None:
    """Lowers `into`, uint64 (texts, numbers), by one block of hashes; `cuts` say where each text's begin in it."""
    prime, shift = np.uint64(PRIME), np.uint64(61)
    spare, over = np.empty_like(block), np.empty_like(block)
    for i in range(len(a)):
        np.multiply(block, a[i], out=spare)
        np.add(spare, b[i], out=spare)
        # x mod p for p = 2^61 - 1: the two parts of x added up are less than 2 p, so that p is subtracted once at most,
        # and where it must not be, the difference wraps around and is the greater one.
        np.right_shift(spare, shift, out=over)
        np.bitwise_and(spare, prime, out=spare)
        np.add(spare, over, out=spare)
        np.subtract(spare, prime, out=over)
        np.minimum(spare, over, out=spare)
        column = into[:, i]
        np.minimum(column, np.minimum.reduceat(spare, cuts), out=column)


def signatures(
    texts: Sequence[str | None], *, count: int = 112, ngram: int = 5, kind: str = "xxh64", seed: int = 1
) -> list[Hashes | None]:
    """The signature of each text: uint64 (count,); None for null, and for fewer tokens than `ngram`."""
    found = [run_hashes(text, ngram, kind) if text is not None else np.empty(0, np.uint64) for text in texts]
    full = [i for i, hashes in enumerate(found) if len(hashes)]
    made: list[Hashes | None] = [None] * len(texts)
    if not full:
        return made
    sizes = np.array([len(found[i]) for i in full])
    rows = least(np.concatenate([found[i] for i in full]), np.cumsum(sizes) - sizes, *permutations(count, seed))
    for i, row in zip(full, rows, strict=True):
        made[i] = row
    return made
