"""Loading stored answers and scoring every item by them, against a plain loop over the same file.

    python benchmarks/stored_answers.py --lines 10000000

The loop is what a script would do: the file as Python values, a dictionary of lists, and counts for each item. It
checks nothing, and it keeps a list for each answer. Lines are of 27 models in two settings, in any order.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import in_fresh_process

sys.path.insert(0, str(Path(__file__).parents[1]))
from poolsieve.scoring_models import Answers

MODELS, ROWS = 27, 4096
HERE = f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"


def written(folder: Path, lines: int) -> str:
    """A file of about that many answers."""
    dice, items = np.random.default_rng(0), max(1, lines // (2 * MODELS))
    order = dice.permutation(items * MODELS * 2)
    item, rest = np.divmod(order, 2 * MODELS)
    names = pa.array([f"item-{number:08x}" for number in range(items)])
    models = pa.array([f"model-{number:02}" for number in range(MODELS)])
    columns = {
        "item": names.take(pa.array(item)),
        "model": models.take(pa.array(rest // 2)),
        "image": pa.array(rest % 2 == 1),
        "correct": pa.array(dice.random(len(order)) < 0.5),
    }
    pq.write_table(pa.table(columns), folder / "answers.parquet")
    return str(folder / "answers.parquet")


def ours(path: str) -> list[int]:
    """How many models answered each item right with its image."""
    panel = Answers(path)
    uids = pa.array(sorted(set(pq.read_table(path, columns=["item"]).column(0).unique().to_pylist())))
    batches = [pa.record_batch({"uid": uids.slice(start, ROWS)}) for start in range(0, len(uids), ROWS)]
    return [count for batch in batches for count in panel.score(batch).columns["right"].to_pylist()]


def plain(path: str) -> list[int]:
    """The same by a loop."""
    stored: dict[str, list[tuple[str, bool, bool]]] = defaultdict(list)
    for some in pq.ParquetFile(path).iter_batches():
        for item, *answer in zip(*(column.to_pylist() for column in some.columns), strict=True):
            stored[item].append(tuple(answer))
    return [sum(right for _, image, right in sorted(stored[item]) if image) for item in sorted(stored)]


CODE = """
import time
from stored_answers import ours, plain
start = time.perf_counter()
counts = {"ours": ours, "plain": plain}[sys.argv[2]](sys.argv[1])
result = {"seconds": time.perf_counter() - start, "sum": sum(n * count for n, count in enumerate(counts))}
"""


def main() -> None:
    """Prints one line for each, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    lines = parser.parse_args().lines
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), lines)
        found = {name: in_fresh_process(HERE + CODE, path, name) for name in ("ours", "plain")}
    if found["ours"]["sum"] != found["plain"]["sum"]:
        raise SystemExit("the two do not agree")
    for name, one in found.items():
        print(f"{name}: {lines:,} answers in {one['seconds']:.1f} s, peak {one['peak_mb']:,.0f} MB")
    print(f"the loop takes {found['plain']['seconds'] / found['ours']['seconds']:.1f} times as long")


if __name__ == "__main__":
    main()
