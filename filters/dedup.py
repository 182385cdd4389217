"""`dedup.*`: rows that are copies of a better one, or near to one.

Clusters depend on which rows are alive, so they are derived values and no scores: what is stored is each row's sketch,
and another threshold, other bands or another idea of the best is a decision, which reads no text again. They are found
by one worker that sees all rows, in a kilobyte of memory each, or, of a large pool on a cluster, by rounds in which no
worker does; both give the same. Their values stand in the ledger under a name (`dup`, if nothing is said). `dup.of` is
the row that stands for a row, which it resembles, as `path:row`, and `dup.similarity` (float32) says how much;
`dup.rank` is 0 for the row that stands for the others, then counts from the best on, as `dup.copy` does among copies;
`dup.cluster` is the first row of the cluster, as `path:row`, and `dup.size` its rows.
"""

from __future__ import annotations

from typing import Any

from poolsieve.filters.against import not_in
from poolsieve.filters.dsl.derive import Derive
from poolsieve.filters.dsl.expr import col
from poolsieve.filters.dsl.ready import stage
from poolsieve.filters.dsl.stages import Chain, Keep, Score
from poolsieve.filters.minhash import Chains, MinHash
from poolsieve.filters.near import LEADER, Duplicates
from poolsieve.filters.sketches import ExactHash, TextSketch
from poolsieve.filters.unique import Unique

BUCKETS, PER_BUCKET, NGRAM = 14, 8, 5
"""FineWeb's, and datatrove's defaults."""


@stage(example="dedup.exact()", one_pool=("against",))
def exact(
    *,
    role: str = "text",
    normalised: bool = False,
    best: str | None = None,
    against: Any = None,
    name: str = "dup",
) -> Chain:
    """Keeps one row of those with the same text or bytes.

    Args:
        role: of text or bytes.
        normalised: whether capitals and blanks make no difference.
        best: a score or pool column; the row with the largest stays.
        against: another pool with that role; rows that it has are dropped first, with `<name>.against`.
        name: of the values.
    """
    hashed = Score(**{f"{name}.hash": ExactHash(role, normalised)})
    others = () if against is None else (not_in(against, name, role, normalised=normalised),)
    found = Derive(**{name: Duplicates(hash=f"{name}.hash", best=best)})
    return Chain((hashed, *others, found, Keep(col(f"{name}.copy") == 0, reason=f"{name}.exact")))


@stage(example="dedup.clusters()", one_pool=("against",))
def clusters(
    *,
    near: bool = True,
    threshold: float | str = LEADER,
    best: str | None = None,
    against: Any = None,
    text: str = "text",
    name: str = "dup",
) -> Chain:
    """Names clusters of rows with the same text, or that share most of their shingles; drops none of them.

    `Unique(name)`, `Cap(name, 3)` and other rules may follow.

    Args:
        near: whether to look for more than copies.
        threshold: see `dedup.minhash`.
        best: a score or pool column; the row with the largest stands for the others.
        against: see `dedup.minhash`.
        text: the role to read.
        name: of the values.
    """
    hashed, sketch = Score(**{f"{name}.hash": ExactHash(text)}), f"{name}.sketch" if near else None
    made = Duplicates(hash=f"{name}.hash", sketch=sketch, best=best, threshold=threshold)
    sketched = () if sketch is None else (Score(**{sketch: TextSketch(text=text)}),)
    others = () if against is None else (not_in(against, name, text, near=threshold if near else None),)
    return Chain((hashed, *sketched, *others, Derive(**{name: made})))


@stage(example="dedup.minhash()", one_pool=("against",))
def minhash(
    *,
    threshold: float | str = LEADER,
    best: str | None = None,
    against: Any = None,
    text: str = "text",
    name: str = "dup",
) -> Chain:
    """Keeps one row of those with the same text, and of those that share most of their shingles of five words.

    Each row that is dropped resembles the one that `<name>.of` names.

    Args:
        threshold: estimated Jaccard similarity from which the best row drops another; .6 for next to no wrong ones.
        best: a score or pool column; the row with the largest stays.
        against: another pool with that role; rows that it has, or has one like, are dropped first, with
            `<name>.against`.
        text: the role to read.
        name: of the values.
    """
    return clusters(threshold=threshold, best=best, against=against, text=text, name=name) | Unique(name)


@stage(example="dedup.datatrove()")
def datatrove(
    *,
    text: str = "text",
    buckets: int = BUCKETS,
    per_bucket: int = PER_BUCKET,
    ngram: int = NGRAM,
    hash: str = "xxh64",
    seed: int = 1,
    name: str = "dup",
    reason: str | None = None,
) -> Chain:
    """huggingface/datatrove 0.10's MinHash deduplication with its defaults: the rows that its own stages keep.

    `{name}.similarity` is the share of the signature's numbers that are those of the row kept. Chains of rows join
    clusters whose ends do not resemble one another, as they do there.

    Args:
        text: the role to read.
        buckets: parts of a signature; rows that have one of them in common are joined.
        per_bucket: numbers in a part.
        ngram: tokens that are hashed together.
        hash: "xxh64" or "sha1".
        seed: of the permutations.
        name: of the scores.
        reason: `{name}.near` if not given.
    """
    signature = f"{name}.signature"
    made = MinHash(text=text, count=buckets * per_bucket, ngram=ngram, hash=hash, seed=seed)
    families = Derive(**{name: Chains(signature=signature, buckets=buckets)})
    unique = Keep(col(f"{name}.rank") <= 0, reason=reason or f"{name}.near")
    return Chain((Score(**{signature: made}), families, unique))


@stage(example="dedup.fineweb()")
def fineweb(*, text: str = "text", name: str = "dup", reason: str | None = None) -> Chain:
    """The same as FineWeb was made (datatrove's `examples/fineweb.py`): 14 parts of 8 numbers, SHA-1's first 64 bits.

    Args:
        text: the role to read.
        name: of the scores.
        reason: `{name}.near` if not given.
    """
    return datatrove(text=text, hash="sha1", name=name, reason=reason)
