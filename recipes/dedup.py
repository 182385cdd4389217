"""Deduplication: of documents that are equal or resemble one another the best one stays.

    poolsieve run recipes/dedup.py --out OUT -p 'pool=docs/*.jsonl.zst' -p best=quality
    poolsieve decide --out OUT -p threshold=0.6 --what-if

`docs/duplicates.md` says what is found and what it costs; `make demo-dedup` runs this on documents with planted copies,
and its report shows the clusters.
"""

from poolsieve.dataflow import Pool, Recipe
from poolsieve.filters import dedup


def recipe(pool: str, threshold: float = 0.55, best: str = "", text: str = "text", uid: str = "") -> Recipe:
    """`best` is a score or a number of the pool, of which the largest stays; `text` and `uid` are columns."""
    kind = Pool.jsonl if ".json" in pool else Pool.parquet
    columns = {best: best} if best else {}
    return kind(pool, text=text, uid=uid or None, **columns) | dedup.minhash(threshold=threshold, best=best or None)
