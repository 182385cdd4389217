"""Hashes of a text's shingles: each five words that follow one another.

With `f` the bytes of a word as `characters` has them, a word's hash is mixed(f[0] + f[1] R + f[2] R^2 ...) and a
shingle's is mixed(w[0] + w[1] M + ... + w[4] M^4), modulo 2^64. Both are differences of running sums, made for many
texts end to end; the powers by which a place in these sums differs from a place in the word are taken out again, so
that what stands before a word, or where a piece ends, leaves no trace.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from poolsieve.filters.duplicates.characters import Bytes, Places, seen
from poolsieve.filters.words.mixing import Hashes, mixed

WORDS = 5
"""In a shingle."""

PIECE = 1 << 16
"""Bytes that are hashed at a time: what is made of them stays in a processor's cache."""

LANES = 16
"""Bytes that follow one another, of which the running sums are made side by side."""

R, M = 0xD1342543DE82EF95, 0xAF251AF3B0F025B5
"""Multipliers modulo 2^64 of good spectrum (Steele and Vigna, "Computationally easy, spectrally good multipliers for
congruential pseudorandom number generators", 2022, table 6)."""

_MODULUS = 1 << 64
_SHIFT = LANES.bit_length() - 1
_POWERS = PIECE + LANES


class Texts(NamedTuple):
    """Texts end to end.

    Attributes:
        data: UTF-8, of which `bounds` are places.
        bounds: int64 (n + 1,): where each text begins, and where the last one ends.
    """

    data: memoryview
    bounds: Places

    @classmethod
    def of(cls, values: pa.Array) -> Texts:
        """A column of text as it stands in Arrow's buffers; what a null has there is nobody's business."""
        if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
            values = values.cast(pa.large_string())
        _, bounds, data = values.buffers()
        kind: np.dtype[Any] = np.dtype(np.int64 if pa.types.is_large_string(values.type) else np.int32)
        if not len(values) or bounds is None:
            return cls(memoryview(b""), np.zeros(1, dtype=np.int64))
        found = np.frombuffer(memoryview(bounds), kind, len(values) + 1, values.offset * kind.itemsize)
        return cls(memoryview(data or b"").cast("B"), found.astype(np.int64))


class _Words(NamedTuple):
    """Some words: where each begins, int64 (w,), and its sum, uint64 (w,), which is not mixed yet."""

    begins: Places
    sums: Hashes


def shingles(texts: Texts) -> Iterator[tuple[Places, Hashes]]:
    """(text, hash) of every shingle, int64 and uint64 (s,), some at a time; of a text of fewer words there are none."""
    rows, hashes = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64)
    for words in _whole_words(texts):
        rows = np.concatenate([rows, _rows(words.begins, texts.bounds)])
        hashes = np.concatenate([hashes, mixed(words.sums)])
        count = len(rows) - WORDS + 1
        if count > 0:
            inside = np.flatnonzero(rows[:count] == rows[WORDS - 1 :])
            yield rows[inside], mixed(_windows(hashes)[inside])
        rows, hashes = rows[max(count, 0) :], hashes[max(count, 0) :]


def _rows(begins: Places, bounds: Places) -> Places:
    """int64 (w,): the text of each word."""
    if not len(begins):
        return begins
    first = int(np.searchsorted(bounds, begins[0], "right")) - 1
    last = int(np.searchsorted(bounds, begins[-1], "right")) - 1
    edges = np.searchsorted(begins, bounds[first : last + 2])
    edges[0], edges[-1] = 0, len(begins)
    return np.repeat(np.arange(first, last + 1), np.diff(edges))


def _windows(hashes: Hashes) -> Hashes:
    """uint64 (w - 4,): the sum of each five words."""
    powers = _powers(M)
    sums = np.zeros(len(hashes) + 1, dtype=np.uint64)
    np.cumsum(hashes * powers.up[: len(hashes)], out=sums[1:])
    made = sums[WORDS:] - sums[:-WORDS]
    made *= powers.down[: len(made)]
    return made


def _whole_words(texts: Texts) -> Iterator[_Words]:
    """Words piece by piece, each when its end was seen."""
    last = _Words(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64))
    begins = True
    for start, stop in _pieces(texts):
        at, sums, head, begins = _piece(texts, start, stop, begins)
        if len(last.begins):
            last.sums[:] += head * _power(R, start - int(last.begins[0]))
        words = _Words(np.concatenate([last.begins, at]), np.concatenate([last.sums, sums]))
        yield _Words(words.begins[:-1], words.sums[:-1])
        last = _Words(words.begins[-1:], words.sums[-1:].copy())
    yield last


def _power(base: int, exponent: int) -> Hashes:
    """uint64 (1,): an array, since NumPy warns when a lone number wraps around."""
    return np.array([pow(base, exponent, _MODULUS)], dtype=np.uint64)


def _pieces(texts: Texts) -> Iterator[tuple[int, int]]:
    """(start, stop) of the pieces, none of which ends inside a character."""
    start, end = int(texts.bounds[0]), int(texts.bounds[-1])
    while start < end:
        stop = min(start + PIECE, end)
        for _ in range(3 if stop < end else 0):
            stop -= texts.data[stop] & 0xC0 == 0x80
        yield start, stop
        start = stop


def _piece(texts: Texts, start: int, stop: int, begins: bool) -> tuple[Places, Hashes, np.uint64, bool]:
    """(begins, sums) of words that begin here; the sum before the first; whether a word must begin after the end.

    Args:
        texts: all of them.
        start: of the piece.
        stop: after its last byte.
        begins: whether a byte of a word at `start` begins a word.
    """
    folded, owns = seen(bytes(texts.data[start:stop]))
    edges = np.searchsorted(texts.bounds, (start, stop))
    word, first = folded != 0, np.empty(len(folded) + 1, dtype=bool)
    first[0] = begins
    np.logical_not(word, out=first[1:])
    first[texts.bounds[edges[0] : edges[1]] - start] = True
    first[owns] = True
    begin = np.ones(len(first), dtype=bool)
    np.logical_and(first[:-1], word, out=begin[:-1])
    places = np.flatnonzero(begin)
    return places[:-1] + start, *_sums(folded, places), bool(first[-1])


def _sums(folded: Bytes, places: Places) -> tuple[Hashes, np.uint64]:
    """(sums of the words that begin at `places`, of which the last is the end; the sum before the first)."""
    running = _running(folded)
    ends = running.reshape(-1).take((places & (LANES - 1)) * running.shape[1] + (places >> _SHIFT))
    made = ends[1:] - ends[:-1]
    made *= _powers(R).down[places[:-1]]
    return made, ends[0]


def _running(folded: Bytes) -> Hashes:
    """uint64 (LANES, n // LANES + 1): at (i % LANES, i // LANES) the sum before byte i, for 0 <= i <= n.

    NumPy adds whole rows many at a time, and what follows one another (`cumsum`) one by one.
    """
    columns = len(folded) // LANES + 1
    padded = np.zeros((columns, LANES), dtype=np.uint8)
    padded.reshape(-1)[: len(folded)] = folded
    terms = np.ascontiguousarray(padded.T).astype(np.uint64)
    terms *= _lanes()[:, :columns]
    made = np.empty_like(terms)
    made[0, 0] = 0
    np.cumsum(terms.sum(axis=0)[:-1], out=made[0, 1:])
    for lane in range(1, LANES):
        np.add(made[lane - 1], terms[lane - 1], out=made[lane])
    return made


@functools.cache
def _lanes() -> Hashes:
    """uint64 (LANES, more than a piece needs): the powers of R in the order of `_running`."""
    return np.ascontiguousarray(_powers(R).up.reshape(-1, LANES).T)


class _Powers(NamedTuple):
    up: Hashes
    down: Hashes


@functools.cache
def _powers(base: int) -> _Powers:
    """uint64: base^i, and base^-i, modulo 2^64."""
    return _Powers(*(_power_row(one) for one in (base, pow(base, -1, _MODULUS))))


def _power_row(base: int) -> Hashes:
    made: np.ndarray[Any, Any] = np.full(_POWERS, base, dtype=np.uint64)
    made[0] = 1
    return np.multiply.accumulate(made)
