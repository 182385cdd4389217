"""Components of edges by one worker, and by rounds in which no place sees all of them: seconds, memory and bytes an edge.

    python benchmarks/components.py                     # a million edges in 32 places
    python benchmarks/components.py --edges 10000000 --bits 7

Edges are packed records of 18 bytes, as homes send them. Their shapes: `near`, small stars and pairs as sketches make
them; `giant`, a random graph of which one component has most rows; `path`, rows that resemble the next one alone, in
their order or not; `star`, all near to one row. Each shape runs in a process of its own, both ways must give the same
labels. Memory is what NumPy and Python take beside the edges (tracemalloc); of the rounds it is that of the place that takes
most, with what is sent to it. Seconds are the processor's, and of all places together. Beam's own work is not in them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import in_fresh_process

SHAPES = ("near", "giant", "path", "shuffled", "star")

CODE = """
import time, tracemalloc
from collections import Counter, defaultdict
import numpy as np
from poolsieve.filters.duplicates.contractions import TIMES, Contractions, begun, rounds
from poolsieve.filters.duplicates.giants import capped_graph
from poolsieve.filters.duplicates.graph import EDGE, Graph

shape, m, bits, homes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), 16
rng, cap = np.random.default_rng(0), 20_000
if shape == "near":
    sizes = rng.geometric(.5, m) + 1
    sizes = sizes[: np.searchsorted(np.cumsum(sizes - 1), m)]
    firsts = np.repeat(np.cumsum(sizes) - sizes, sizes - 1)
    ends = np.stack([firsts, np.delete(np.arange(sizes.sum()), np.cumsum(sizes) - sizes)], axis=1)
elif shape == "giant":
    ends = rng.integers(0, m, (m, 2))
elif shape == "star":
    ends = np.stack([np.zeros(m, np.int64), np.arange(1, m + 1)], axis=1)
else:
    order = np.arange(m + 1) if shape == "path" else rng.permutation(m + 1)
    ends = np.stack([order[:-1], order[1:]], axis=1)
names = np.sort(rng.choice(1 << 40, int(ends.max()) + 1, replace=False).astype(np.uint64)) if m < 1 << 22 else np.arange(ends.max() + 1, dtype=np.uint64) << np.uint64(9)
if shape == "near":
    names = rng.permuted(names)
ends = np.sort(names[ends[ends[:, 0] != ends[:, 1]]], axis=1)
ends = ends[rng.permutation(len(ends))]
edges = np.empty(len(ends), EDGE)
edges["first"], edges["second"], edges["equal"] = ends[:, 0], ends[:, 1], rng.integers(129, 257, len(ends))
del ends, names
count = len(edges)
blocks = [part.copy() for part in np.array_split(edges, homes)]
del edges

begin = time.process_time()
tracemalloc.start()
whole = capped_graph(Graph.of_blocks(blocks), cap)
result = {"edges": count, "one": tracemalloc.get_traced_memory()[1] / count}
tracemalloc.stop()
begin = time.process_time()
whole = capped_graph(Graph.of_blocks(blocks), cap)
result["one_seconds"] = time.process_time() - begin

found, sent, bytes_of = [], defaultdict(lambda: defaultdict(lambda: defaultdict(list))), Counter()

def labelled(some):
    found.append((some.rows, some.labels))
    return iter(())

def send(sender, made):
    for to, place, data in made:
        bytes_of[to] += len(data)
        sent[to][place][sender].append(data)

def heavy(heard):
    return sum(len(data) for some in heard.values() for data in some)

made = Contractions(TIMES, bits, cap, labelled)
begin = time.process_time()
for block in blocks:
    send("second", begun(block, bits))
most = {}
for name, _, _ in rounds("second", TIMES):
    places, mine = sent.pop(name, {}), time.process_time()
    for heard in places.values():
        send(name, made.join(name, {sender: sorted(some) for sender, some in heard.items()}))
    begin += 0
    if places:
        largest = max(places.values(), key=heavy)
        keep, pause = len(found), time.process_time()
        tracemalloc.start()
        for _ in made.join(name, largest):
            pass
        most[name] = tracemalloc.get_traced_memory()[1] + heavy(largest)
        tracemalloc.stop()
        del found[keep:]
        begin += time.process_time() - pause
result["seconds"] = time.process_time() - begin
rows, labels = (np.concatenate(part) for part in zip(*found))
order = np.argsort(rows)
result["same"] = int(np.array_equal(rows[order], whole.rows) and np.array_equal(labels[order], whole.labels))
result["sent"] = sum(bytes_of.values()) / count
result["rest"] = bytes_of["rest"] / 16 / count
result["most"] = max(most.values())
result["in_place"] = max(most.values()) / count
"""


def main() -> None:
    """Prints a line for each shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, default=1_000_000)
    parser.add_argument("--bits", type=int, default=5, help="of the number of places")
    parser.add_argument("--shapes", nargs="*", default=SHAPES, choices=SHAPES)
    given = parser.parse_args()
    for shape in given.shapes:
        found = in_fresh_process(CODE, shape, str(given.edges), str(given.bits))
        if not found["same"]:
            raise SystemExit(f"{shape}: the ways differ")
        n = found["edges"]
        print(
            f"{shape}: {int(n):,} edges; one worker: {found['one_seconds'] / n * 1e6:.2f} us and {found['one']:.0f} bytes an edge "
            f"beside its 18; rounds: {found['seconds'] / n * 1e6:.2f} us, {found['sent']:.0f} bytes an edge are sent, "
            f"{found['most'] / 1e6:.0f} MB in the largest of {1 << given.bits} places, {found['rest']:.4f} of the edges are left for one worker"
        )


if __name__ == "__main__":
    main()
