"""`poolsieve.kept` beside a Python set of the same uids: bytes a kept row, lookups one by one and in batches.

    python benchmarks/kept.py [--rows 2000000] [--keep 0.5] [--runs 3]
    python benchmarks/kept.py --bare 10000000

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
from poolsieve.dataflow.kept.index import Index
from poolsieve.dataflow.kept.kept import Kept
from poolsieve.filters import Top
from poolsieve.filters.lists import PAIR


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


def against_numpy(folder: Path, rows: int, asked: int, runs: int) -> None:
    """A list of random uids, mapped from disk, beside a bare `numpy.searchsorted` of 64-bit numbers in memory."""
    r = np.random.default_rng(0)
    listed = np.zeros(rows, PAIR)
    listed["f0"] = np.sort(r.integers(0, 1 << 64, rows, np.uint64))
    listed["f1"] = r.integers(0, 1 << 64, rows, np.uint64)
    path = folder / f"kept-bare-{rows}.npy"
    np.save(path, listed)
    index, bare = Index(pairs=np.load(path, mmap_mode="r")), np.ascontiguousarray(listed["f0"])
    some = listed[r.integers(0, rows, asked)]
    some["f1"][::2] += np.uint64(1)  # every other one was not kept
    for what, size in (("one by one", 1), ("batches of 1,000", 1000), ("all at once", asked)):
        few = some[: asked // 10] if size == 1 else some
        starts = range(0, len(few), size)
        one = size == 1
        mine, theirs, ratio = pairs(
            lambda one=one, few=few, starts=starts, size=size: (  # type: ignore[misc]
                [index.place(int(p["f0"]), int(p["f1"])) for p in few]
                if one
                else [index.places(few[i : i + size]) for i in starts]
            ),
            lambda few=few, starts=starts, size=size: [np.searchsorted(bare, few["f0"][i : i + size]) for i in starts],  # type: ignore[misc]
            runs,
        )
        print(
            f"{rows:,} uids as pairs, {what}: {len(few) / mine / 1e6:.2f} million lookups a second, bare searchsorted "
            f"{len(few) / theirs / 1e6:.2f}: {ratio:.2g} times its time"
        )
    print(f"bytes a row on disk: {path.stat().st_size / rows:.1f}")
    path.unlink()


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--keep", type=float, default=0.5)
    parser.add_argument("--asked", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "poolsieve-benchmarks")
    parser.add_argument("--bare", type=int, help="compare with numpy.searchsorted over so many random uids instead")
    given = parser.parse_args()
    if given.bare:
        given.folder.mkdir(parents=True, exist_ok=True)
        against_numpy(given.folder, given.bare, given.asked, given.runs)
        return
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
