"""A finaliser of 64-bit hashes, the same on any machine, and their first bits."""

from __future__ import annotations

from typing import Any

import numpy as np

Hashes = np.ndarray[Any, np.dtype[np.uint64]]


def mixed(x: Hashes) -> Hashes:
    """uint64, of the same shape: Stafford's variant 13 of MurmurHash3's 64-bit finaliser: all bits depend on all bits.

    >>> hex(int(mixed(np.array([1], dtype=np.uint64))[0]))
    '0x5692161d100b05e5'
    """
    made = x ^ (x >> np.uint64(30))
    made *= np.uint64(0xBF58476D1CE4E5B9)
    made ^= made >> np.uint64(27)
    made *= np.uint64(0x94D049BB133111EB)
    made ^= made >> np.uint64(31)
    return made


def first_bits(keys: Hashes, bits: int) -> Hashes:
    """uint64, of the same shape: the first bits of each, by which what has the same hash meets; 0 bits: one place."""
    return keys >> np.uint64(64 - bits) if bits else np.zeros_like(keys)
