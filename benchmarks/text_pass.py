"""The scoring pass over Parquet documents, nothing dropped: against a bare loop, against no Beam, and with two workers.

    python benchmarks/text_pass.py --rows 400000 --runs 3

The bare loop reads the same columns in batches of the same size and computes the same numbers; it stores nothing.
The plain loop calls poolsieve's own per-shard function for shard after shard, without Beam.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
from common import pairs, text_pool

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.decisions.decide import decide_shards
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.passes.scoring import score_shard
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.filters import Keep, col
from poolsieve.filters.dsl.statistics import char_count, word_count


def recipe_of(pool: Path) -> Recipe:
    """Words and characters of each document; the limits drop nothing."""
    return (
        Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text")
        | Keep(col("text").word_count() >= 0, reason="text.none")
        | Keep(col("text").char_count() >= 0, reason="text.empty")
    )


def bare(pool: Path) -> int:
    """Reads and computes, and nothing else."""
    total = 0
    for path in sorted(pool.glob("*.parquet")):
        with path.open("rb") as file:
            parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
            for batch in parquet.iter_batches(batch_size=4096, columns=["uid", "text"], use_threads=False):
                batch.validate(full=True)
                total += word_count(batch.column("text"))[0].as_py() + char_count(batch.column("text"))[0].as_py()
    return total


def whole(pool: Path, out: Path, workers: int = 1) -> None:
    """The whole job, from nothing to a ledger."""
    shutil.rmtree(out, ignore_errors=True)
    poolsieve.run(recipe_of(pool), out, workers=workers, samples=False)


def plain(pool: Path, out: Path) -> None:
    """The same per-shard functions as a loop, without Beam."""
    shutil.rmtree(out, ignore_errors=True)
    prepared = prepare(recipe_of(pool), str(out))
    for shard in prepared.shards:
        score_shard(shard, prepared.job, {}, stop=None, label="Pass1")
    for shard in prepared.shards:
        decide_shards([shard], prepared.job, {}, None, label="Decide")


def main() -> None:
    """Prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--row-bytes", type=int, default=2200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "poolsieve-benchmarks")
    given = parser.parse_args()
    pool = text_pool(given.folder, given.rows, given.shards, given.row_bytes)
    out = given.folder / "out"
    whole(pool, out)
    job, loop, ratio = pairs(lambda: whole(pool, out), lambda: bare(pool), given.runs)
    print(f"whole job {job:.1f} s, bare loop {loop:.1f} s: {1 / ratio:.2f} of the bare loop's throughput")
    job, loop, ratio = pairs(lambda: whole(pool, out), lambda: plain(pool, out), given.runs)
    print(f"whole job {job:.1f} s, without Beam {loop:.1f} s: Beam costs {ratio - 1:.1%}")
    two, one, ratio = pairs(lambda: whole(pool, out, 2), lambda: whole(pool, out), given.runs)
    print(f"two workers {two:.1f} s, one {one:.1f} s: {ratio:.2f} of the time")


if __name__ == "__main__":
    main()
