"""DataComp's basic filters over metadata (caption, width, height): against a bare loop, and with two workers.

    python benchmarks/basic.py --rows 1000000 --runs 3

The bare loop reads the same columns and applies the same conditions to each row in Python, cheapest first, with
fastText only for rows that are still alive; it stores nothing.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import pairs

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.filters import datacomp
from poolsieve.scoring_models import Language

WORDS = ["a", "the", "photo", "of", "red", "large", "house", "garden", "river", "woman", "with", "camera", "and", "on"]
WORDS += ["table", "kitchen", "street", "bicycle", "mountain", "snow", "dog", "flower", "vintage", "picture", "design"]


def captions_pool(folder: Path, rows: int, shards: int) -> Path:
    """Captions of 1 to 20 words with an image's original size."""
    target = folder / f"captions-{rows}-{shards}"
    if not target.exists():
        target.mkdir(parents=True)
        for shard in range(shards):
            dice, n = np.random.default_rng(shard), rows // shards
            table = {
                "uid": [f"{shard:016x}{i:016x}" for i in range(n)],
                "text": [" ".join(dice.choice(WORDS, int(k))) for k in dice.integers(1, 21, n)],
                "width": dice.integers(100, 2000, n),
                "height": dice.integers(100, 2000, n),
            }
            pq.write_table(pa.table(table), target / f"part-{shard:05d}.parquet")
    return target


def bare(pool: Path) -> int:
    """Rows that stay, counted row by row."""
    import fasttext

    (path,) = Language("lid.176.ftz").files().values()
    predict = fasttext.load_model(str(path)).predict
    kept = 0
    for file in sorted(pool.glob("*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(4096, columns=["uid", "text", "width", "height"]):
            for text, width, height in zip(*(batch.column(i).to_pylist() for i in (1, 2, 3)), strict=True):
                if len(text.split()) > 2 and len(text) > 5 and min(width, height) >= 200:
                    alike = max(width, height) / min(width, height) <= 3
                    kept += alike and predict(text)[0][0] == "__label__en"
    return kept


def whole(pool: Path, out: Path, workers: int = 1) -> int:
    """The whole job, from nothing to a ledger; rows that stay."""
    shutil.rmtree(out, ignore_errors=True)
    source = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text", width="width", height="height")
    return poolsieve.run(source | datacomp.basic(), out, workers=workers, samples=False).counts.kept


def main() -> None:
    """Prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "poolsieve-benchmarks")
    given = parser.parse_args()
    pool, out = captions_pool(given.folder, given.rows, given.shards), given.folder / "basic-out"
    if whole(pool, out) != bare(pool):
        raise SystemExit("the job and the bare loop keep different numbers of rows")
    job, loop, ratio = pairs(lambda: whole(pool, out), lambda: bare(pool), given.runs)
    print(f"whole job {job:.1f} s, bare loop {loop:.1f} s: {1 / ratio:.2f} of the bare loop's throughput")
    two, one, ratio = pairs(lambda: whole(pool, out, 2), lambda: whole(pool, out), given.runs)
    print(f"two workers {two:.1f} s, one {one:.1f} s: {ratio:.2f} of the time")


if __name__ == "__main__":
    main()
