"""`poolsieve.kept` beside a Python set of the same uids: bytes a kept row, lookups one by one and in batches.

    python benchmarks/kept.py [--rows 2000000] [--keep 0.5] [--runs 3]

Half of the uids that are asked for were kept, in random order. The set's bytes are its own and its texts' (`sys.getsizeof`);
ours are the files that are mapped. Times are of turns, and a ratio above 1 says that the set takes less time.
"""

from __future__ import annotations

import argparse
import pickle
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import pairs, scores_pool, seconds

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.kept.kept import Kept
from poolsieve.filters import Top


def decided(folder: Path, rows: int, shards: int, share: float) -> Path:
    """OUT of a run over uids and one score."""
    out = folder / f"kept-out-{rows}-{shards}-{share}"
    if not (out / "manifest.json").exists():
        pool = Pool.parquet(f"{scores_pool(folder, rows, shards)}/*.parquet", uid="uid")
        poolsieve.run(pool | Top("score", fraction=share), out)
    return out


def compare(label: str, kept: Kept, known: set[str], asked: list[str], runs: int) -> None:
    """Prints the ratios of one predicate."""
    few = asked[: len(asked) // 10]
    for what, uids, ours in (
        ("one by one", few, lambda: [kept(uid) for uid in few]),
        ("batches of 1,000", asked, lambda: [kept.mask(asked[i : i + 1000]) for i in range(0, len(asked), 1000)]),
        ("all at once", asked, lambda: kept.mask(asked)),
    ):
        mine, theirs, ratio = pairs(ours, lambda uids=uids: [uid in known for uid in uids], runs)  # type: ignore[misc]
        print(
            f"{label}, {what}: {len(uids) / mine / 1e6:.2f} million lookups a second, a set {len(uids) / theirs / 1e6:.2f}: "
            f"{ratio:.2g} times the set's time"
        )


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--keep", type=float, default=0.5)
    parser.add_argument("--asked", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "poolsieve-benchmarks")
    given = parser.parse_args()
    out, cache = decided(given.folder, given.rows, given.shards, given.keep), given.folder / "kept-cache"
    shutil.rmtree(cache, ignore_errors=True)
    table = poolsieve.open(out).ledger(["uid", "keep"])
    uids = table.column("uid").to_pylist()
    known = {uid for uid, keep in zip(uids, table.column("keep").to_pylist(), strict=True) if keep}
    order = np.random.default_rng(0).permutation(len(uids))[: given.asked]
    asked = [uids[i] for i in order]
    plain, scored = poolsieve.kept(out), poolsieve.kept(out, scores=["score"], cache=cache)
    made = seconds(lambda: scored.index)
    files = sum(path.stat().st_size for path in cache.rglob("*.npy"))
    size = (sys.getsizeof(known) + sum(map(sys.getsizeof, known))) / len(known)
    print(f"{len(plain):,} of {given.rows:,} rows kept; a pickle has {len(pickle.dumps(plain))} bytes")
    print(
        f"bytes a kept row: {plain.index.pairs.nbytes / len(plain):.1f}, with a score {files / len(plain):.1f}, a set {size:.0f}"
    )
    print(f"the list with a score was made in {made / len(plain) * 1e6:.2f} s for a million kept rows")
    compare("subset.npy", plain, known, asked, given.runs)


if __name__ == "__main__":
    main()
