"""The demo's recipe: DataComp's basic filters, a scorer of our own, and a small data filtering network.

    poolsieve run recipes/datacomp_dfn.py --out demo/out --truth demo/pool/truth.parquet

With the published network on a real pool:

    poolsieve run recipes/datacomp_dfn.py --out OUT -p 'pool=s3://bucket/{00000000..00001287}.tar' \\
        -p model=hf-hub:apple/DFN-public -p fraction=0.15
"""

from pathlib import Path

import pyarrow as pa

from poolsieve.dataflow import Pool, Recipe
from poolsieve.filters import Keep, Score, col, datacomp, dfn, scorer

HERE = Path(__file__).parent
IMAGES = "jpg;png;webp;gif"


def repeated(text: pa.Array) -> pa.Array:
    """Share of a caption's words that it has said before: 0 for a plain sentence, near 1 for a chant."""
    words = [None if caption is None else caption.lower().split() for caption in text.to_pylist()]
    return pa.array([None if w is None else 1 - len(set(w)) / max(len(w), 1) for w in words])


def recipe(
    pool: str = "demo/pool/webdataset/*.tar",
    model: str = f"local-dir:{HERE}/demo/clip",
    fraction: float = 0.45,
    parquet: bool = False,
) -> Recipe:
    """`fraction` is of the whole pool: the paper keeps 0.15 of a raw crawl; of the demo's pool over half matches."""
    if parquet:
        pool = pool.replace("webdataset/*.tar", "parquet/*.parquet")
        roles = {"width": "original_width", "height": "original_height"}
        source = Pool.parquet(pool, uid="uid", text="text", image="image", **roles)
    else:
        roles = {"width": "json:original_width", "height": "json:original_height"}
        source = Pool.webdataset(pool, uid="json:uid", text="txt", image=IMAGES, **roles)
    return (
        source
        | datacomp.basic()
        | Score(repeated=scorer(repeated, reads=("text",), columns={"share": "float32"}))
        | Keep(col("repeated") <= 0.6, reason="caption.repetitive")
        | dfn(model, fraction=fraction)
    )
