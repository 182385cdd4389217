"""What each byte of UTF-8 is to a shingle: a byte of a word, or one between words.

A word is a run of letters, digits, marks, and whatever Unicode 3.2 did not know. Letters are in lower case, the ten
ASCII digits are all 0. Scripts that have no blanks between words have words of one character. Everything is taken from
Unicode 3.2, which Python keeps beside the version that it has (`unicodedata.ucd_3_2_0`), so that a sketch doesn't
depend on Python's version.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Any, NamedTuple

import numpy as np

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Codes = np.ndarray[Any, np.dtype[np.uint32]]
Places = np.ndarray[Any, np.dtype[np.int64]]

BETWEEN, WORD, OWN = 0, 1, 2
"""Kinds of characters: between words, part of one, a word of its own."""

WITHOUT_BLANKS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # signs that stand for Chinese characters
    (0x3040, 0x312F),  # Hiragana, Katakana, Bopomofo
    (0x31A0, 0x31BF),  # Bopomofo
    (0x31F0, 0x31FF),  # Katakana
    (0x3400, 0x4DBF),  # Chinese characters
    (0x4E00, 0xA4CF),  # Chinese characters, Yi
    (0xF900, 0xFAFF),  # Chinese characters
    (0xFF66, 0xFF9F),  # Katakana of half width
    (0x20000, 0x3FFFD),  # Chinese characters
)
"""First and last of the characters that are words of their own, but for the marks among them (U+0E2F is a letter)."""

_CODES = 0x40000
"""Characters beyond are parts of words, as the last one before is, which stands for them."""

_LETTERS = range(ord("A"), ord("Z") + 1)
_SIZES = np.array([1] * 0xC0 + [2] * 0x20 + [3] * 0x10 + [4] * 0x10, dtype=np.uint8)
"""Bytes of a character by its first byte."""

_FIRST = np.array([0, 0, 0xC0, 0xE0, 0xF0], dtype=np.uint32)
"""What is set in the first byte of a character of so many bytes."""


class Seen(NamedTuple):
    """A piece of text.

    Attributes:
        folded: uint8 (n,): 0 between words, else a byte of a word in lower case.
        owns: int64 (m,): where a word begins though there is nothing between it and the one before; n is possible.
    """

    folded: Bytes
    owns: Places


def seen(data: bytes) -> Seen:
    """What the bytes of a piece are; a character is whole in it, and seen without its neighbours."""
    folded = np.frombuffer(bytearray(data.translate(_plain())), dtype=np.uint8)
    if data.isascii():
        return Seen(folded, np.zeros(0, dtype=np.int64))
    return Seen(folded, _beyond_ascii(np.frombuffer(data, dtype=np.uint8), folded))


def _beyond_ascii(data: Bytes, folded: Bytes) -> Places:
    """Writes characters beyond ASCII into `folded`; where a word begins because of them."""
    places = np.flatnonzero(data >= 0xC0)
    sizes = _SIZES[data[places]]
    codes = np.minimum(_codes(data, places, sizes), _CODES - 1)
    kinds = _kinds()[codes]
    between, own = kinds == BETWEEN, kinds == OWN
    _blank(folded, places[between], sizes[between])
    lower = _lower()[codes]
    other = lower != codes
    _write(folded, places[other], sizes[other], lower[other])
    return np.union1d(places[own], places[own] + sizes[own])


def _codes(data: Bytes, places: Places, sizes: Bytes) -> Codes:
    """uint32 (m,): the characters that begin at `places`."""
    first = data[places].astype(np.uint32)
    codes = first & (np.uint32(0x7F) >> sizes)
    for size in range(2, 5):
        some = np.flatnonzero(sizes >= size)
        # Bytes that are no UTF-8 may say that more come than there are.
        next_byte = data[np.minimum(places[some] + size - 1, len(data) - 1)]
        codes[some] = (codes[some] << np.uint32(6)) | (next_byte & np.uint8(0x3F))
    return codes


def _blank(folded: Bytes, places: Places, sizes: Bytes) -> None:
    for size in range(1, 5):
        folded[np.minimum(places[sizes >= size] + size - 1, len(folded) - 1)] = 0


def _write(folded: Bytes, places: Places, sizes: Bytes, codes: Codes) -> None:
    """Writes characters of as many bytes as there were."""
    for size in range(2, 5):
        at, code = places[sizes == size], codes[sizes == size]
        for i in range(size):
            head = _FIRST[size] if i == 0 else np.uint32(0x80)
            bits = code >> np.uint32(6 * (size - 1 - i))
            folded[at + i] = head | (bits if i == 0 else bits & np.uint32(0x3F))


@functools.cache
def _plain() -> bytes:
    """What each byte is if characters beyond ASCII are parts of words."""
    table = bytearray(256)
    table[0x80:] = range(0x80, 0x100)
    for code in _LETTERS:
        table[code] = table[code + 32] = code + 32
    table[ord("0") : ord("9") + 1] = b"0" * 10
    return bytes(table)


@functools.cache
def _kinds() -> Bytes:
    """uint8 (`_CODES`,): the kind of each character."""
    made = np.array([_kind(chr(code)) for code in range(_CODES)], dtype=np.uint8)
    for first, last in WITHOUT_BLANKS:
        part = made[first : last + 1]
        part[part == WORD] = OWN
    return made


def _kind(character: str) -> int:
    category = unicodedata.ucd_3_2_0.category(character)
    return WORD if category[0] in "LMN" or category in ("Cn", "Co", "Cs") else BETWEEN


@functools.cache
def _lower() -> Codes:
    """uint32 (`_CODES`,): each capital's small letter, if it has as many bytes (U+0130 and some twenty have not)."""
    made = np.arange(_CODES, dtype=np.uint32)
    for code in range(0x80, _CODES):
        character = chr(code)
        if unicodedata.ucd_3_2_0.category(character) in ("Lu", "Lt"):
            small = character.lower()
            if len(small) == 1 and len(small.encode()) == len(character.encode()):
                made[code] = ord(small)
    return made
