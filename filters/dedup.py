"""`dedup.*`: of rows that are duplicates of one another, one is kept."""

from __future__ import annotations

from poolsieve.filters.dsl.derive import Derive
from poolsieve.filters.dsl.expr import col
from poolsieve.filters.dsl.ready import stage
from poolsieve.filters.dsl.stages import Chain, Keep, Rule, Score
from poolsieve.filters.duplicates.clusters import Near
from poolsieve.filters.items.flags import NotTrue
from poolsieve.filters.minhash import Chains, MinHash
from poolsieve.filters.near import Duplicates
from poolsieve.filters.sketches import ExactHash, TextSketch

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


@stage(example="dedup.exact()")
def exact(
    *,
    role: str = "text",
    normalised: bool = False,
    best: str | None = None,
    name: str = "dup",
    reason: str | None = None,
) -> Chain:
    """Of rows with the same text (or the same bytes) one stays.

    `{name}.exact` is stored; clusters stand in the ledger as `{name}.rank`, `.size`, `.of`, `.cluster` and others.

    Args:
        role: what is compared, text or bytes.
        normalised: compare texts without capitals and with one blank for each run of blanks.
        best: a score of an earlier stage, of which the largest stays; else the least hash does, then the first.
        name: of the scores.
        reason: `{name}.exact` if not given.
    """
    hashed = f"{name}.exact"
    made = Derive(**{name: Duplicates(exact=hashed, best=best)})
    unique = Keep(col(f"{name}.rank") <= 0, reason=reason or f"{name}.exact")
    return Chain((Score(**{hashed: ExactHash(role, normalised=normalised)}), made, unique))


@stage(example="dedup.minhash()")
def minhash(
    *, text: str = "text", strict: bool = False, best: str | None = None, name: str = "dup", reason: str | None = None
) -> Chain:
    """Copies, then near duplicates: each row that goes resembles one that stays, by an estimated Jaccard of .55.

    `{name}.exact` and `{name}.sketch` are stored, 272 bytes a row; clusters stand in the ledger as `{name}.rank` (0 for
    the row that stays), `.size`, `.similarity` and `.of` (the row that stays), `.cluster` and `.copy`. Another
    threshold needs no pool again: see `Duplicates`, which this is made of.

    Args:
        text: the role to read.
        strict: .60 instead of .55: fewer rows go, and those that go resemble one that stays more.
        best: a score of an earlier stage, of which the largest stays; else the least hash does, then the first.
        name: of the scores.
        reason: of near ones, `{name}.near` if not given; copies go as `{name}.exact`.
    """
    hashed, sketch = f"{name}.exact", f"{name}.sketch"
    by = Near(leader=0.6 if strict else 0.55)
    scores = Chain((Score(**{hashed: ExactHash(text)}), Score(**{sketch: TextSketch(text=text)})))
    made = Derive(**{name: Duplicates(exact=hashed, near=sketch, best=best, by=by)})
    unique = Keep(col(f"{name}.rank") <= 0, reason=reason or f"{name}.near")
    return Chain((scores, made, Rule(NotTrue(f"{name}.copy"), f"{name}.exact"), unique))
