"""Deciding again over many scored rows: seconds and peak memory of `decide` and `--what-if`.

    python benchmarks/decide.py --rows 10000000 --shards 100

Each is measured in a fresh process, start of Python and Beam included.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from common import in_fresh_process, scores_pool

SETUP = """
import time
import poolsieve
from poolsieve.filters import Top
pool, out, fraction = sys.argv[1], sys.argv[2], sys.argv[3]
recipe = poolsieve.Pool.parquet(pool + "/*.parquet", uid="uid") | Top("score", fraction=fraction)
"""
RUN = "kept = poolsieve.run(recipe, out, samples=False).counts.kept"
DECIDE = "kept = poolsieve.decide(recipe, out, samples=False).counts.kept"
WHAT_IF = "kept = poolsieve.decide(recipe, out, what_if=True).kept"
MEASURED = "\nstart = time.perf_counter()\n{}\nresult = {{'seconds': time.perf_counter() - start, 'kept': kept}}"


def main() -> None:
    """Prints seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "poolsieve-benchmarks")
    given = parser.parse_args()
    pool = scores_pool(given.folder, given.rows, given.shards)
    out = given.folder / "decide-out"
    shutil.rmtree(out, ignore_errors=True)
    print("run     ", show(in_fresh_process(SETUP + MEASURED.format(RUN), str(pool), str(out), "0.3")))
    print("decide  ", show(in_fresh_process(SETUP + MEASURED.format(DECIDE), str(pool), str(out), "0.15")))
    print("what-if ", show(in_fresh_process(SETUP + MEASURED.format(WHAT_IF), str(pool), str(out), "0.2")))


def show(found: dict[str, float]) -> str:
    """One line."""
    return f"{found['seconds']:.1f} s, peak {found['peak_mb']:.0f} MB, {found['kept']:.0f} kept"


if __name__ == "__main__":
    main()
