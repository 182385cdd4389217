"""Duplicates by one worker that sees all rows, and by rounds in which they meet: seconds, memory and bytes a row.

    python benchmarks/joined.py                       # 100,000 rows in homes of 10,000
    python benchmarks/joined.py --rows 1000000 --home 100000

Rows have random sketches, or are of families: a tenth are copies of another row, a tenth share about three quarters of
their sketch with one. Both ways start from the same arrays and must give the same lines. Each runs in a process of its
own: seconds are the processor's; memory is what NumPy, Python and the blocks take above the scores, which both read.
Of the rounds it is that of the one place, of all rounds, that takes most, with what is sent to it; a worker has one at a
time. Beam's own work is in neither: the blocks are handed on in memory.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import in_fresh_process

START = """
import hashlib, time, tracemalloc
from collections import Counter
import numpy as np
import pyarrow as pa
from poolsieve.dataflow.decisions.joining import begun, in_turn, lines_in, met
from poolsieve.filters.near import Duplicates
from poolsieve.scoring_models.base.derived import HOME_BITS, LINES, Extent, Home, Part

count, each, rng = int(sys.argv[1]), int(sys.argv[2]), np.random.default_rng(0)
hashes = rng.integers(0, 256, (count, 16), dtype=np.uint8)
sketches = rng.integers(0, 256, (count, 256), dtype=np.uint8)
some = rng.permutation(count)[: count // 5 * 2].reshape(2, 2, -1)
hashes[some[0, 0]], sketches[some[0, 0]] = hashes[some[0, 1]], sketches[some[0, 1]]
for at in np.array_split(np.arange(len(some[1, 0])), 100):
    own = rng.random((len(at), 256)) < .25
    sketches[some[1, 0][at]] = np.where(own, sketches[some[1, 0][at]], sketches[some[1, 1][at]])
scores = {
    "hash": pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), count, [None, pa.py_buffer(hashes)]),
    "sketch": pa.FixedSizeBinaryArray.from_buffers(pa.binary(256), count, [None, pa.py_buffer(sketches)]),
}
made = Duplicates(hash="hash", sketch="sketch")
starts = range(0, count, each)
sizes = [min(each, count - start) for start in starts]
there = [{name: one.slice(start, n) for name, one in scores.items()} for start, n in zip(starts, sizes)]

def told(lines):
    lines = lines.sort_by([("path", "ascending"), ("row", "ascending")]).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, lines.schema) as stream:
        stream.write_table(lines)
    return int.from_bytes(hashlib.blake2b(sink.getvalue(), digest_size=6).digest(), "little")
"""

WHOLE = """
def gathered():
    parts = (Part(f"{i:06d}", np.arange(n), pa.nulls(n), own) for i, (n, own) in enumerate(zip(sizes, there)))
    return made.gather(parts)

begin = time.process_time()
lines = gathered()
result = {"seconds": time.process_time() - begin, "told": told(lines), "lines": lines.num_rows}
tracemalloc.start()
gathered()
result["most"] = tracemalloc.get_traced_memory()[1]
"""

ROUNDS = """
homes = {}
for i, (n, own) in enumerate(zip(sizes, there)):
    keys = np.arange(n, dtype=np.uint64) + np.uint64(i << HOME_BITS)
    homes[i] = Home(i, keys, pa.array([f"{i:06d}"] * n), np.arange(n), own)
begin = time.process_time()
extent = Extent(count, 0)
sent = in_turn(made, homes, extent)
lines = pa.concat_tables([lines_in(data for _, data in one) for one in sent[LINES].values()])
result = {"seconds": time.process_time() - begin, "told": told(lines), "lines": lines.num_rows}
bytes_of = {name: {place: sum(len(data) for _, data in one) for place, one in found.items()} for name, found in sent.items()}
result["sent"] = sum(sum(one.values()) for one in bytes_of.values())
result["blocks"] = sum(len(one) for found in sent.values() for one in found.values())
most = Counter()
tracemalloc.start()
for held in made.rounds(0):
    place = max(bytes_of[held.name], key=bytes_of[held.name].get)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    for block in met(held, sent[held.name][place], lambda: homes[place], made, extent):
        pass
    most[held.name] = tracemalloc.get_traced_memory()[1] - before + bytes_of[held.name][place]
result["most"], result["where"] = max(most.values()), [round.name for round in made.rounds(0)].index(most.most_common(1)[0][0])
result["label"], result["edges"] = most["label"], bytes_of["label"][0] // 18
"""


def main() -> None:
    """Prints both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--home", type=int, default=10_000, help="rows that are read together")
    given = parser.parse_args()
    whole, rounds = (in_fresh_process(START + way, str(given.rows), str(given.home)) for way in (WHOLE, ROUNDS))
    if whole["told"] != rounds["told"]:
        raise SystemExit("the ways differ")
    n = given.rows
    print(f"{n:,} rows, {int(whole['lines']):,} of them in clusters")
    print(
        f"one worker: {whole['seconds'] / n * 1e6:.0f} us of the processor a row, {whole['most'] / n:.0f} bytes a row above the scores' 272"
    )
    print(
        f"rounds: {rounds['seconds'] / n * 1e6:.0f} us, {rounds['sent'] / n:.0f} bytes a row are sent in {int(rounds['blocks']):,} blocks; "
        f"{rounds['most'] / 1e6:.0f} MB in the largest place (of round {int(rounds['where']) + 1}), {rounds['label'] / rounds['edges']:.0f} bytes an edge in the one that labels components ({int(rounds['edges']):,} edges)"
    )


if __name__ == "__main__":
    main()
