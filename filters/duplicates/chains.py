"""Families of documents as datatrove makes them: chains of equal buckets, and the union that its order leads to.

huggingface/datatrove 0.10, `MinhashDedupBuckets` and `MinhashDedupCluster` of `pipeline/dedup/minhash.py`: in each
bucket, documents with equal numbers stand one behind the other, by file and by place in it, and each is joined with the
one before it. Unions are made bucket by bucket, in the order of the numbers; the larger set's root stays, the earlier
document's where both are as large. A family keeps its root, so that the order decides which document that is.
"""

from __future__ import annotations

import numpy as np

from poolsieve.filters.duplicates.roots import Ints
from poolsieve.filters.words.mixing import Hashes


def bucket_edges(numbers: Hashes) -> Ints:
    """int64 (edges, 2): documents that follow one another in a bucket and are equal there, in datatrove's order.

    `numbers`: uint64 (documents, k), those of one bucket; documents in the order of their files and places.
    """
    order = np.lexsort(numbers.T[::-1])
    there = numbers[order]
    same = np.flatnonzero((there[1:] == there[:-1]).all(axis=1))
    return np.stack([order[same], order[same + 1]], axis=1)


def kept_by(signatures: Hashes) -> Ints:
    """int64 (documents,): for each document the one that its family keeps, itself for that one and for one alone.

    `signatures`: uint64 (documents, buckets, numbers), documents in the order of their files and places in them.
    """
    parent, size = list(range(len(signatures))), [1] * len(signatures)
    for bucket in range(signatures.shape[1]):
        for a, b in bucket_edges(signatures[:, bucket]).tolist():
            _join(parent, size, a, b)
    return np.array([_root(parent, i) for i in range(len(parent))], dtype=np.int64)


def _join(parent: list[int], size: list[int], a: int, b: int) -> None:
    a, b = _root(parent, a), _root(parent, b)
    if a == b:
        return
    if size[a] < size[b]:
        a, b = b, a
    parent[b] = a
    size[a] += size[b]


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i
