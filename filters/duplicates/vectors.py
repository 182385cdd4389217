"""Directions of embeddings as whole numbers, so that their products are the same on every machine.

A vector is scaled to a length of 4,000 and rounded. Products of such vectors, and all sums on the way to one, are whole
numbers below 2^24 (Cauchy and Schwarz), which float32 holds exactly: a matrix product gives the same bits in any order,
by any BLAS, in blocks of any size, where products of the floats themselves differ in their last bits from block to
block. What is lost is about .0001 of a cosine, less than float16 loses, which embeddings are stored as.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.filters.duplicates.clusters import Bools
from poolsieve.filters.duplicates.roots import Ints
from poolsieve.scoring_models.base.errors import PoolsieveError

LENGTH = 4000
"""Of a vector; (LENGTH + sqrt(WIDEST) / 2)^2 < 2^24, the second term for what is rounded."""

WIDEST = 8192
"""Numbers in a vector."""

_BITS = 20
"""Of a vector's largest number, before its length is taken: WIDEST squares of these are below 2^53."""

_BLOCK = 1 << 22
"""Numbers that are worked on in one go."""

Vectors = np.ndarray[Any, np.dtype[np.int16]]
Products = np.ndarray[Any, np.dtype[np.float32]]


class Directions(NamedTuple):
    """`vectors`, int16 (n, width), zeros where `some`, bool (n,), is false: no list, of another width, or no length."""

    vectors: Vectors
    some: Bools


def directions(chunks: list[pa.Array]) -> Directions:
    """Of arrays of lists of floats, one behind the other. The width is that of most lists (of two such, the smaller).

    Raises:
        PoolsieveError: for lists of more than `WIDEST` numbers.
    """
    lengths = [np.asarray(pc.list_value_length(one).cast(pa.int64()).fill_null(-1)) for one in chunks]
    joined = np.concatenate([np.empty(0, dtype=np.int64), *lengths])
    width = _common(joined)
    made, some = np.zeros((len(joined), width), dtype=np.int16), np.zeros(len(joined), dtype=bool)
    start, step = 0, max(1, _BLOCK // width)
    for chunk, length in zip(chunks, lengths, strict=True):
        for first in range(0, len(chunk), step):
            part = length[first : first + step] == width
            at = start + first + np.flatnonzero(part)
            made[at], some[at] = _of_lists(chunk.slice(first, step).filter(pa.array(part)), width)
        start += len(chunk)
    return Directions(made, some)


def _common(lengths: Ints) -> int:
    found, counts = np.unique(lengths[lengths > 0], return_counts=True)
    width = int(found[np.argmax(counts)]) if len(found) else 1
    if width > WIDEST:
        raise PoolsieveError(f"embeddings have {width:,} numbers, and duplicates are found among {WIDEST:,} at most")
    return width


def _of_lists(lists: Any, width: int) -> tuple[Vectors, Bools]:
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64).reshape(-1, width)
    return scaled(values)


def scaled(values: np.ndarray[Any, Any]) -> tuple[Vectors, Bools]:
    """(int16 (n, width), zeros where there is no direction; bool (n,), where there is one) of float64 (n, width).

    Whole numbers, powers of two, one root and one division of each: every machine does these alike.
    """
    largest = np.abs(values).max(axis=1, initial=0)
    some = np.isfinite(largest) & (largest > 0)
    values, largest = np.where(some[:, None], values, 0), np.where(some, largest, 1)
    whole = np.rint(np.ldexp(values, _BITS - np.frexp(largest)[1][:, None])).astype(np.int64)
    length = np.sqrt((whole * whole).sum(axis=1).astype(np.float64))
    made = np.rint(whole * float(LENGTH) / np.where(some, length, 1)[:, None])
    return made.astype(np.int16), some


def products(first: Vectors, second: Vectors) -> Products:
    """float32 (n, m): the exact products of n vectors with m."""
    return first.astype(np.float32) @ second.astype(np.float32).T


def paired(first: Vectors, second: Vectors) -> Ints:
    """int64 (n,): the exact product of each with its own."""
    made = np.empty(len(first), dtype=np.int64)
    step = max(1, _BLOCK // max(1, first.shape[1]))
    for at in range(0, len(first), step):
        part = slice(at, at + step)
        made[part] = np.einsum("ij,ij->i", first[part].astype(np.int64), second[part].astype(np.int64))
    return made


def cosines(product: Any, first: Any, second: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """float64: of products and of the squared lengths of both sides, whole numbers; 1 at most."""
    whole = np.asarray(first, dtype=np.float64) * np.asarray(second, dtype=np.float64)  # below 2^53
    return np.minimum(np.asarray(product, dtype=np.float64) / np.sqrt(whole), 1.0)
