"""What numba compiles (extra `numba`): to be imported where it is used. Each has an equal of NumPy's, byte for byte.

What is compiled is kept beside this file, or in the user's cache where that can't be written, so that it takes seconds
once and a fraction of one in each process. All whole numbers that meet here are uint64, or numba would make floats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

from poolsieve.filters.duplicates.grams import Grams
from poolsieve.filters.words.mixing import Hashes

Ints = np.ndarray[Any, np.dtype[np.int64]]

F = TypeVar("F", bound=Callable[..., Any])


def _compiled(function: F) -> F:
    try:
        made: F = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # there is no folder to keep it in
        made = numba.njit(nogil=True)(function)
    return made


_U, _W = np.uint64, np.uint32

_P1, _P2, _P3 = _U(0x9E3779B185EBCA87), _U(0xC2B2AE3D27D4EB4F), _U(0x165667B19E3779F9)
_P4, _P5 = _U(0x85EBCA77C2B2AE63), _U(0x27D4EB2F165667C5)
"""The primes of xxHash 64 (Collet, "xxHash fast digest algorithm", version 0.1.1, section "XXH64")."""


@_compiled
def _turned(x: Any, bits: Any) -> Any:
    return (x << bits) | (x >> (_U(64) - bits))


@_compiled
def _round(lane: Any, word: Any) -> Any:
    return _turned(lane + word * _P2, _U(31)) * _P1


@_compiled
def _merged(h: Any, lane: Any) -> Any:
    return (h ^ _round(_U(0), lane)) * _P1 + _P4


@_compiled
def _stripes(data: Hashes, begin: int, stop: int) -> Any:
    """xxHash's steps 1 to 3, of 32 bytes or more."""
    a, b, c, d = _P1 + _P2, _P2, _U(0), _U(0) - _P1
    for at in range(begin, stop - 31, 32):
        a, b = _round(a, data[at]), _round(b, data[at + 8])
        c, d = _round(c, data[at + 16]), _round(d, data[at + 24])
    h = _turned(a, _U(1)) + _turned(b, _U(7)) + _turned(c, _U(12)) + _turned(d, _U(18))
    return _merged(_merged(_merged(_merged(h, a), b), c), d)


@_compiled
def _rest(h: Any, data: Hashes, at: int, stop: int) -> Any:
    """Its steps 5 and 6: what is left of the bytes, and the last mixing."""
    while at + 8 <= stop:
        h = _turned(h ^ _round(_U(0), data[at]), _U(27)) * _P1 + _P4
        at += 8
    if at + 4 <= stop:
        h = _turned(h ^ ((data[at] & _U(0xFFFFFFFF)) * _P1), _U(23)) * _P2 + _P3
        at += 4
    for i in range(at, stop):
        h = _turned(h ^ ((data[i] & _U(0xFF)) * _P5), _U(11)) * _P1
    h = (h ^ (h >> _U(33))) * _P2
    h = (h ^ (h >> _U(29))) * _P3
    return h ^ (h >> _U(32))


@_compiled
def _xxh64(data: Hashes, begins: Ints, stops: Ints, made: Hashes) -> None:
    for i in range(len(made)):
        begin, stop = begins[i], stops[i]
        size = stop - begin
        h = _stripes(data, begin, stop) if size >= 32 else _P5
        made[i] = _rest(h + _U(size), data, begin + size // 32 * 32, stop)


_STATE = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)
_K1, _K2, _K3, _K4 = _W(0x5A827999), _W(0x6ED9EBA1), _W(0x8F1BBCDC), _W(0xCA62C1D6)
"""The first state of SHA-1 (FIPS 180-4, section 5.3.1), and the constants of each 20 of its steps (4.2.1)."""


@_compiled
def _left(x: Any, bits: int) -> Any:
    return _W((x << _W(bits)) | (x >> _W(32 - bits)))


@_compiled
def _step(words: Any, step: int, chosen: Any, a: Any, e: Any) -> Any:
    return _W(_left(a, 5) + chosen + e + words[step])


@_compiled
def _block(words: Any, state: Any) -> None:
    """SHA-1 of one block (6.1.2): `words`, uint32 (80,), of which it is the first 16; `state`, uint32 (5,)."""
    for i in range(16, 80):
        words[i] = _left(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1)
    a, b, c, d, e = state[0], state[1], state[2], state[3], state[4]
    for i in range(20):
        a, b, c, d, e = _step(words, i, ((b & c) | (~b & d)) + _K1, a, e), a, _left(b, 30), c, d
    for i in range(20, 40):
        a, b, c, d, e = _step(words, i, (b ^ c ^ d) + _K2, a, e), a, _left(b, 30), c, d
    for i in range(40, 60):
        a, b, c, d, e = _step(words, i, ((b & c) | (b & d) | (c & d)) + _K3, a, e), a, _left(b, 30), c, d
    for i in range(60, 80):
        a, b, c, d, e = _step(words, i, (b ^ c ^ d) + _K4, a, e), a, _left(b, 30), c, d
    for i, value in enumerate((a, b, c, d, e)):
        state[i] += value


@_compiled
def _swapped(x: Any) -> Any:
    """The four low bytes of a number in the other order."""
    low = _W(x)
    return _W((low << _W(24)) | ((low & _W(0xFF00)) << _W(8)) | ((low >> _W(8)) & _W(0xFF00)) | (low >> _W(24)))


@_compiled
def _fill(words: Any, data: Hashes, begin: int, at: int, stop: int) -> None:
    """Writes the block from `at` on of a message, padded (5.1.1), into 16 words; the last has its length in bits."""
    full = max(0, min(16, (stop - at) >> 2))
    for i in range(full):
        words[i] = _swapped(data[at + 4 * i])
    for i in range(full, 16):
        words[i] = 0
    if full < 16 and at <= stop:
        left = _U(8 * ((stop - at) & 3))
        words[full] = _swapped((data[stop - ((stop - at) & 3)] & ((_U(1) << left) - _U(1))) | (_U(0x80) << left))
    if at + 56 > stop:
        bits = 8 * (stop - begin)
        words[14], words[15] = _W(bits >> 32), _W(bits & 0xFFFFFFFF)


@_compiled
def _sha1(data: Hashes, begins: Ints, stops: Ints, made: Hashes) -> None:
    words, state = np.empty(80, dtype=np.uint32), np.empty(5, dtype=np.uint32)
    for i in range(len(made)):
        for j, value in enumerate(_STATE):
            state[j] = value
        begin, stop = begins[i], stops[i]
        for at in range(begin, stop + 9, 64):
            _fill(words, data, begin, at, stop)
            _block(words, state)
        made[i] = _U(_swapped(state[0])) | (_U(_swapped(state[1])) << _U(32))


def _from_each(data: bytes) -> Hashes:
    """uint64 (len(data) + 1,): the eight bytes from each place on; zeros follow the last one."""
    return np.ndarray(len(data) + 1, dtype="<u8", buffer=data + bytes(8), strides=(1,))


def xxh64(runs: Grams) -> Hashes:
    """uint64 (n,): `signatures.HASHES["xxh64"]`."""
    made = np.empty(len(runs.begins), dtype=np.uint64)
    _xxh64(_from_each(runs.data), runs.begins, runs.stops, made)
    return made


def sha1(runs: Grams) -> Hashes:
    """uint64 (n,): `signatures.HASHES["sha1"]`."""
    made = np.empty(len(runs.begins), dtype=np.uint64)
    _sha1(_from_each(runs.data), runs.begins, runs.stops, made)
    return made


HASHES = {"xxh64": xxh64, "sha1": sha1}

_PRIME = _U((1 << 61) - 1)


@_compiled
def _least(hashes: Hashes, starts: Ints, a: Hashes, b: Hashes, made: Hashes) -> None:
    for text in range(len(made)):
        row, stop = made[text], starts[text + 1] if text + 1 < len(starts) else len(hashes)
        for i in range(starts[text], stop):
            for j in range(len(a)):
                x = hashes[i] * a[j] + b[j]
                x = (x & _PRIME) + (x >> _U(61))
                row[j] = min(row[j], x, x - _PRIME)  # as in `signatures`


def least(hashes: Hashes, starts: Ints, a: Hashes, b: Hashes) -> Hashes:
    """uint64 (texts, numbers): `signatures.least`."""
    made = np.full((len(starts), len(a)), np.iinfo(np.uint64).max, dtype=np.uint64)
    _least(hashes, starts, a, b, made)
    return made


@_compiled
def join(root: Any, first: Ints, second: Ints) -> None:
    """`roots.joined`: has each node point at the least of its component; `root`, uint32 (count,), has each itself."""
    for i in range(len(first)):
        a, b = _U(first[i]), _U(second[i])
        above, below = root[a], root[b]
        while above != below:
            if above < below:
                a, b, above, below = b, a, below, above
            root[a] = below
            if above == a:
                break
            a, above = _U(above), root[above]
    for node in range(len(root)):
        root[node] = root[root[node]]  # ends stand before what they hold
