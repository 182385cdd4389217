"""`dedup.*`: of rows that are duplicates of one another, one is kept."""

from __future__ import annotations

from poolsieve.filters.dsl.derive import Derive
from poolsieve.filters.dsl.expr import col
from poolsieve.filters.dsl.ready import stage
from poolsieve.filters.dsl.stages import Chain, Keep, Score
from poolsieve.filters.minhash import Chains, MinHash

BUCKETS, PER_BUCKET, NGRAM = 14, 8, 5
"""FineWeb's, and datatrove's defaults."""


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

    `{name}.signature` is stored; families stand in the ledger as `{name}.rank` (0 for the row kept), `.size`,
    `.similarity` (share of the signature's numbers that are the kept row's), `.of` and `.cluster`. Chains of rows join
    families whose ends do not resemble one another, as they do there.

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
