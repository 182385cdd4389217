"""Peak memory of a whole job at 1x, 10x and 100x of the input.

python benchmarks/memory.py --rows 5000
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from common import in_fresh_process, text_pool

CODE = """
import poolsieve
from poolsieve.filters import Keep, Top, col
recipe = poolsieve.Pool.parquet(sys.argv[1] + "/*.parquet", uid="uid", text="text") | Keep(col("text").word_count() >= 3) | Top("width", fraction=0.3)
result = {"rows": poolsieve.run(recipe, sys.argv[2], samples=False).counts.rows_in}
"""


def main() -> None:
    """Prints rows and peak memory at each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000, help="rows at 1x; one shard for each 5,000")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "poolsieve-benchmarks")
    given = parser.parse_args()
    for times in (1, 10, 100):
        rows = given.rows * times
        pool = text_pool(given.folder, rows, max(1, rows // 5000), 2000)
        out = given.folder / f"memory-out-{times}"
        shutil.rmtree(out, ignore_errors=True)
        found = in_fresh_process(CODE, str(pool), str(out))
        print(f"{times:>3}x  {found['rows']:>9.0f} rows  peak {found['peak_mb']:.0f} MB")


if __name__ == "__main__":
    main()
