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

from poolsieve.filters.against import Against
from poolsieve.filters.dsl.derive import Derive
from poolsieve.filters.dsl.expr import col
from poolsieve.filters.dsl.ready import stage
from poolsieve.filters.dsl.stages import Chain, Keep, Score
from poolsieve.filters.minhash import Chains, MinHash
from poolsieve.filters.near import LEADER, Duplicates
from poolsieve.filters.near_pictures import DISTANCE, NearPictures
from poolsieve.filters.near_vectors import THRESHOLD, NearVectors
from poolsieve.filters.sketches import ExactHash, ImageHash, TextSketch
from poolsieve.filters.unique import Unique, check_name
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short

BUCKETS, PER_BUCKET, NGRAM = 14, 8, 5
"""FineWeb's, and datatrove's defaults."""

_NEAR_ONES = "put dedup.clusters(against=POOL, name='other') before it, which drops what POOL has or has one like"
_COPIES = "put dedup.exact(role=..., against=POOL, name='other') before it, which drops copies of what POOL has"
_ALONE = {"against": f"signatures are compared within one pool; {_NEAR_ONES}"}


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
    check_name("dedup.exact", name)
    hashed = Score(**{f"{name}.hash": ExactHash(role, normalised)})
    others = () if against is None else (_not_in(against, name, role, normalised=normalised),)
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
    check_name("dedup.clusters", name)
    hashed, sketch = Score(**{f"{name}.hash": ExactHash(text)}), f"{name}.sketch" if near else None
    made = Duplicates(hash=f"{name}.hash", sketch=sketch, best=best, threshold=threshold)
    sketched = () if sketch is None else (Score(**{sketch: TextSketch(text=text)}),)
    others = () if against is None else (_not_in(against, name, text, near=threshold if near else None),)
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
            Below .5 there are few more: rows are compared that pairs of .5 and more join.
        best: a score or pool column; the row with the largest stays.
        against: another pool with that role; rows that it has, or has one like, are dropped first, with
            `<name>.against`.
        text: the role to read.
        name: of the values.
    """
    return clusters(threshold=threshold, best=best, against=against, text=text, name=name) | Unique(name)


@stage(example="dedup.images()", instead={"against": _COPIES})
def images(*, distance: int = DISTANCE, best: str | None = None, image: str = "image", name: str = "dup") -> Chain:
    """Keeps one row of those with the same bytes of an image, and of those whose images look alike.

    Each row that is dropped looks like the one that `<name>.of` names: their pHashes or their dHashes (`ImageHash`)
    differ in few bits, as those of the same picture at another size, quality or brightness, or with a small mark on it,
    do; a dHash of few changes, as that of a clear sky, does not count. A picture of one colour has no hash, and no
    duplicates but its copies. `<name>.similarity` is the share of equal bits of the nearer hash.

    Args:
        distance: bits, of 64, up to which the best row drops another; 12 at most.
        best: a score or pool column, as the image's width; the row with the largest stays.
        image: the role to read.
        name: of the values.
    """
    check_name("dedup.images", name)
    hashed = Score(**{f"{name}.hash": ExactHash(image)})
    sketched = Score(**{f"{name}.picture": ImageHash(image=image)})
    made = NearPictures(hash=f"{name}.hash", picture=f"{name}.picture", best=best, distance=distance)
    return Chain((hashed, sketched, Derive(**{name: made}))) | Unique(name)


@stage(example='dedup.semantic(embedding="clip.image_embedding")')
def semantic(
    *,
    embedding: str,
    threshold: float | str = THRESHOLD,
    clusters: int | None = None,
    best: str | None = None,
    name: str = "dup",
) -> Chain:
    """Keeps one row of those whose embeddings point the same way: SemDeDup, with the row kept named for each other.

    Abbas et al., arXiv 2303.09540, 2023: k-means, then pairs of a cluster with a high cosine. Here each row is compared
    in its two nearest clusters, and the best row stays (there the one farthest from the centre). Embeddings are rounded
    to whole numbers (an error of some .0001 in a cosine), with which k-means and cosines are exact: the same rows stay
    on any machine, however the pool is split. A row without an embedding, or with one that has no direction, stays.
    `<name>.similarity` is the cosine, and `<name>.copy` counts rows with the same rounded embedding.

    Args:
        embedding: a score or pool column of lists of floats, as `clip.image_embedding` of `Clip(embeddings=True)`.
        threshold: cosine from which the best row drops another.
        clusters: of k-means; if not given, the root of the number of rows.
        best: a score or pool column; the row with the largest stays.
        name: of the values.
    """
    check_name("dedup.semantic", name)
    made = NearVectors(embedding=embedding, threshold=threshold, clusters=clusters, best=best)
    return Chain((Derive(**{name: made}), Keep(col(f"{name}.rank") == 0, reason=f"{name}.near")))


@stage(example="dedup.datatrove()", instead=_ALONE)
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
    check_name("dedup.datatrove", name)
    for what, value in (("buckets", buckets), ("per_bucket", per_bucket)):
        if type(value) is not int or value < 1:
            raise PlanError(f"dedup.datatrove({what}={short(value)}): must be a whole number, 1 or more")
    signature = f"{name}.signature"
    made = MinHash(text=text, count=buckets * per_bucket, ngram=ngram, hash=hash, seed=seed)
    families = Derive(**{name: Chains(signature=signature, buckets=buckets)})
    unique = Keep(col(f"{name}.rank") <= 0, reason=reason or f"{name}.near")
    return Chain((Score(**{signature: made}), families, unique))


@stage(example="dedup.fineweb()", instead=_ALONE)
def fineweb(*, text: str = "text", name: str = "dup", reason: str | None = None) -> Chain:
    """The same as FineWeb was made (datatrove's `examples/fineweb.py`): 14 parts of 8 numbers, SHA-1's first 64 bits.

    Args:
        text: the role to read.
        name: of the scores.
        reason: `{name}.near` if not given.
    """
    return datatrove(text=text, hash="sha1", name=name, reason=reason)


def _not_in(pool: Any, name: str, role: str, *, near: float | str | None = None, normalised: bool = False) -> Chain:
    """Drops rows that another pool has, or has one like, with `<name>.against`.

    Args:
        pool: the other one.
        name: of the values: `<name>.hash` and, for what is near, `<name>.sketch` have been made.
        role: that they were made of, here and there.
        near: similarity from which a row goes; None for copies alone.
        normalised: as the hash is.
    """
    sketch = None if near is None else f"{name}.sketch"
    score = f"{name}.against"
    made = Against(pool=pool, hash=f"{name}.hash", sketch=sketch, role=role, normalised=normalised)
    rule = Keep(col(f"{score}.similarity") < (1 if near is None else float(near)), reason=score)
    return Chain((Score(**{score: made}), rule))
