"""A million equal documents, and a cluster of a million near rows, through all rounds of a pool too large for one worker.

    python benchmarks/flood.py                  # both
    python benchmarks/flood.py near --rows 200000

Rows are in homes of 100,000. The near ones differ from one sketch in 5 % of its bytes each. Each runs in a process of
its own, all places in it one after the other: seconds are the processor's; memory is what the process took beside the
scores, all that was ever sent among it, and what the largest of all places was sent.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import in_fresh_process

HOW = ("equal", "near")

CODE = """
import resource, time
import numpy as np
import pyarrow as pa
from poolsieve.dataflow.decisions.joining import in_turn, lines_in
from poolsieve.filters.near import Duplicates
from poolsieve.scoring_models.base.derived import HOME_BITS, LINES, Extent, Home

how, n, each, rng = sys.argv[1], int(sys.argv[2]), 100_000, np.random.default_rng(0)
hashes = rng.integers(0, 256, (n, 16), dtype=np.uint8)
sketches = np.tile(rng.integers(0, 256, 256, dtype=np.uint8), (n, 1))
if how == "equal":
    hashes[:] = hashes[0]
else:
    for at in np.array_split(np.arange(n), 50):
        other = rng.random((len(at), 256)) < .05
        sketches[at] = np.where(other, rng.integers(0, 256, other.shape, dtype=np.uint8), sketches[at])

def fixed(values):
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(values.shape[1]), len(values), [None, pa.py_buffer(values)])

homes = {}
for i, begin in enumerate(range(0, n, each)):
    here = slice(begin, min(begin + each, n))
    keys = np.arange(here.stop - begin, dtype=np.uint64) + np.uint64(i << HOME_BITS)
    scores = {"hash": fixed(hashes[here]), "sketch": fixed(sketches[here])}
    homes[i] = Home(i, keys, pa.array([f"{i:06d}"] * len(keys)), np.arange(len(keys)), scores)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begin = time.process_time()
sent = in_turn(Duplicates(hash="hash", sketch="sketch"), homes, Extent(1 << 28, 1 << 40))
lines = [lines_in(data for _, data in one) for one in sent[LINES].values()]
result = {"seconds": time.process_time() - begin, "memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024}
heavy = [sum(len(data) for _, data in one) for places in sent.values() for one in places.values()]
result["sent"], result["most"] = sum(heavy), max(heavy)
result["stay"] = n - sum(int((np.asarray(some["rank"]) > 0).sum()) for some in lines)
"""


def main() -> None:
    """Prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("how", nargs="*", help="equal, near; both if left out")
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    for how in given.how or HOW:
        found = in_fresh_process(CODE, how, str(given.rows))
        print(
            f"{given.rows:,} {how}: {found['seconds']:.0f} s, {found['memory'] / 1e9:.1f} GB, {found['sent'] / 1e6:.0f} MB sent, "
            f"{found['most'] / 1e6:.0f} MB of them to one place; {int(found['stay']):,} stay"
        )


if __name__ == "__main__":
    main()
