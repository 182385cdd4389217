"""Shingles and sketches as one would write them down, a character and a number at a time."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import numpy as np

from poolsieve.filters.duplicates.characters import WITHOUT_BLANKS
from poolsieve.filters.duplicates.shingles import M, R, Texts

OLD = unicodedata.ucd_3_2_0
MODULUS = 1 << 64


def characters(text: str) -> Iterator[tuple[str, str]]:
    """(kind, in lower case)."""
    for c in text:
        category = OLD.category(c)
        if category[0] not in "LMN" and category not in ("Cn", "Co", "Cs") and ord(c) < 0x40000:
            yield "between", c
        elif any(first <= ord(c) <= last for first, last in WITHOUT_BLANKS):
            yield "own", c
        elif c in "0123456789":
            yield "word", "0"
        else:
            small = c.lower() if category in ("Lu", "Lt") else c
            yield "word", small if len(small) == 1 and len(small.encode()) == len(c.encode()) else c


def words(text: str) -> list[str]:
    made, before = list[str](), "between"
    for kind, c in characters(text):
        if kind == "word" and before == "word":
            made[-1] += c
        elif kind != "between":
            made.append(c)
        before = kind
    return made


def mixed(x: int) -> int:
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 % MODULUS
    x ^= x >> 27
    x = x * 0x94D049BB133111EB % MODULUS
    return x ^ (x >> 31)


def word_hash(word: str) -> int:
    return mixed(sum(byte * pow(R, i, MODULUS) for i, byte in enumerate(word.encode())) % MODULUS)


def shingle_hashes(text: str) -> list[int]:
    hashes = [word_hash(word) for word in words(text)]
    windows = (hashes[i : i + 5] for i in range(len(hashes) - 4))
    return [mixed(sum(h * pow(M, j, MODULUS) for j, h in enumerate(window)) % MODULUS) for window in windows]


def order(place: int) -> list[int]:
    """All bins in the order in which an empty one asks them."""
    return sorted(range(256), key=lambda other: (other != place, mixed(place * 256 + other)))


def sketch(text: str) -> bytes | None:
    smallest: dict[int, int] = {}
    for made in shingle_hashes(text):
        bin_, value = made >> 56, made % (1 << 56)
        smallest[bin_] = min(value, smallest.get(bin_, value))
    if not smallest:
        return None
    values = [smallest[next(bin_ for bin_ in order(place) if bin_ in smallest)] for place in range(256)]
    return bytes(mixed((value + mixed(place + 1)) % MODULUS) >> 56 for place, value in enumerate(values))


def joined(texts: list[str]) -> Texts:
    parts = [text.encode() for text in texts]
    return Texts(memoryview(b"".join(parts)), np.cumsum([0, *map(len, parts)]).astype(np.int64))
