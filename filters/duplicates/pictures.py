"""Two perceptual hashes of a picture, 64 bits each; in numbers of bits, near pictures are less than about ten apart.

dHash (Krawetz, "Kind of Like That", hackerfactor.com, 2013) says of 8 x 8 places whether it gets lighter to the right;
pHash (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010) which of the 64 lowest
frequencies of 32 x 32 pixels lie above their median. The bits are those of the package `imagehash`, but for the levels
that they start from: a JPEG is decoded at the smallest scale that leaves 64 pixels, which takes a fraction of the time.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from PIL import Image

from poolsieve.scoring_models.base.errors import RowError
from poolsieve.scoring_models.base.images_io import decoded, open_image, turn, unsafe

BYTES = 8
"""Of each hash."""

SIDE = 32
"""Pixels of the square whose frequencies are looked at."""

FLAT = 4
"""Levels, of 256, from the darkest to the lightest place; a picture of fewer has no hash: all such would be equal."""

_DECODED = 2 * SIDE
_GAP = 3.0
"""What is left by a coarse first reduction of large pictures, in times of the wanted size (Pillow's `reducing_gap`)."""

_ONE = 1 << 12
"""One, in the integers that cosines are multiplied as: floats would add up differently on other processors."""


def picture_hashes(data: bytes) -> tuple[bytes, bytes] | RowError | None:
    """(dHash, pHash) of an encoded picture; None for a flat one, or why it can't be decoded."""
    levels = grey(data)
    if isinstance(levels, RowError):
        return levels
    square = _resized(levels, SIDE, SIDE)
    if int(square.max()) - int(square.min()) < FLAT:
        return None
    return dhash(_resized(levels, BYTES + 1, BYTES)), phash(square)


def grey(data: bytes) -> Image.Image | RowError:
    """The picture in levels of grey; a JPEG at the smallest of its scales that has 64 pixels both ways."""
    image = open_image(data)
    if isinstance(image, RowError):
        return image
    refused = unsafe(image, data)  # before its size is that of the smaller scale
    if refused is not None:
        return refused
    with turn(image.width * image.height):
        image.draft("L", (_DECODED, _DECODED))
        made = decoded(image, data)
        return made if isinstance(made, RowError) else made.convert("L")


def _resized(image: Image.Image, width: int, height: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    made = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=_GAP)
    return np.asarray(made).astype(np.int64)


def dhash(levels: np.ndarray[Any, Any]) -> bytes:
    """8 bytes of integers (8, 9): whether each level is above the one on its left, row by row."""
    return np.packbits(levels[:, 1:] > levels[:, :-1]).tobytes()


def phash(levels: np.ndarray[Any, Any]) -> bytes:
    """8 bytes of integers (32, 32): which of the 8 x 8 lowest frequencies are above their median."""
    cosines = _cosines()
    low = cosines @ levels @ cosines.T
    middle = np.sort(low, axis=None)[BYTES * BYTES // 2 - 1 : BYTES * BYTES // 2 + 1].sum()
    return np.packbits(2 * low > middle).tobytes()


@functools.cache
def _cosines() -> np.ndarray[Any, np.dtype[np.int64]]:
    """int64 (8, 32): the first rows of the DCT's matrix (type II), in units of 1 / `_ONE`."""
    angles = [[math.pi * row * (2 * place + 1) / (2 * SIDE) for place in range(SIDE)] for row in range(BYTES)]
    return np.array([[round(_ONE * math.cos(angle)) for angle in row] for row in angles], dtype=np.int64)
