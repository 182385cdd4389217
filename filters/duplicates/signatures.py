"""MinHash signatures as datatrove makes them, number by number.

huggingface/datatrove 0.10, `pipeline/dedup/minhash.py`: each run of tokens (`grams`) is hashed, and each of the
signature's numbers is the least of ((hash * a + b) mod 2^64) mod (2^61 - 1) over the runs, for an `a` and a `b` of its
own. With numba (extra `numba`) both are done by `compiled`, in a sixth of the time; the bytes are the same.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xxhash

from poolsieve.filters.duplicates.grams import Grams, grams
from poolsieve.filters.duplicates.roots import Ints
from poolsieve.filters.words.mixing import Hashes

PRIME = (1 << 61) - 1
"""Mersenne's, of datatrove's permutations."""

BLOCK = 1 << 15
"""Hashes that are permuted at a time: what is made of them stays in the processor's cache, and calls take no time."""

MANY = 1 << 18
"""Characters of texts from which it pays to load numba, in each process."""

Hash = Callable[[Grams], Hashes]
Least = Callable[[Hashes, Ints, Hashes, Hashes], Hashes]


def _xxh64(runs: Grams) -> Hashes:
    return np.fromiter(map(xxhash.xxh64_intdigest, runs.each()), dtype=np.uint64, count=len(runs.begins))


def _sha1(runs: Grams) -> Hashes:
    sha1: Callable[..., Any] = hashlib.sha1
    return np.frombuffer(b"".join([sha1(run, usedforsecurity=False).digest()[:8] for run in runs.each()]), dtype="<u8")


HASHES: Mapping[str, Hash] = {"xxh64": _xxh64, "sha1": _sha1}
"""xxHash 64, the default of datatrove 0.10, or the first eight bytes of SHA-1, little-endian, as FineWeb was made with
(datatrove's `examples/fineweb.py`): of each run, uint64 (n,)."""


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


def ways(characters: int) -> tuple[Mapping[str, Hash], Least]:
    """How to hash, and how to find the least, for texts of so many characters: `HASHES` and `least`, or numba's."""
    if characters < MANY or importlib.util.find_spec("numba") is None:
        return HASHES, least
    from poolsieve.filters.duplicates import compiled

    return compiled.HASHES, compiled.least


def signatures(
    texts: Sequence[str | None], *, count: int = 112, ngram: int = 5, kind: str = "xxh64", seed: int = 1
) -> list[Hashes | None]:
    """The signature of each text: uint64 (count,); None for null, and for fewer tokens than `ngram`."""
    hashes, lowest = ways(sum(len(text) for text in texts if text is not None))
    found = [hashes[kind](grams(text, ngram)) if text is not None else np.empty(0, np.uint64) for text in texts]
    full = [i for i, one in enumerate(found) if len(one)]
    made: list[Hashes | None] = [None] * len(texts)
    if not full:
        return made
    sizes = np.array([len(found[i]) for i in full])
    rows = lowest(np.concatenate([found[i] for i in full]), np.cumsum(sizes) - sizes, *permutations(count, seed))
    for i, row in zip(full, rows, strict=True):
        made[i] = row
    return made
