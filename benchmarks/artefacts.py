"""What an artefact in parts costs: bytes through the shuffle, of the parts and in memory, a line and a document.

    python benchmarks/artefacts.py --documents 20000 --lines 40

Documents of random words, of which every other line is one of a tenth as many that stand in many documents.
"""

from __future__ import annotations

import argparse
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import Pool
from poolsieve.dataflow.passes.artefacts.kinds import Good, Kind
from poolsieve.dataflow.passes.artefacts.lines import Lines
from poolsieve.dataflow.passes.artefacts.repeats import Repeats
from poolsieve.dataflow.store.artefacts import write_part, write_parts
from poolsieve.filters.against import Against, Known
from poolsieve.filters.lines import Repeated
from poolsieve.filters.parted import Counted, read_parted

POOL = Pool.jsonl("none.jsonl", text="text")
SHARDS = 8

USUAL, COUNTING = pa.default_memory_pool(), list[pa.MemoryPool]()
"""Arrow's memory, and what counts it, which has to live as long as what it gave."""


def main() -> None:
    """Prints a line for each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--lines", type=int, default=40, help="of a document")
    parser.add_argument("--bits", type=int, default=4, help="of a hash, that say where it goes")
    given = parser.parse_args()
    lines, documents = given.documents * given.lines, given.documents
    for name, kind, count in (
        ("a line counted", Repeats(Repeated(pool=POOL), given.bits), lines),
        ("a document for against=, copies alone", Lines(Against(pool=POOL, hash="h"), given.bits), documents),
        ("a document for against=", Lines(Against(pool=POOL, hash="h", sketch="s"), given.bits), documents),
    ):
        print(f"{name}: {measured(kind, given.documents, given.lines, count)}")


def measured(kind: Kind, documents: int, lines: int, count: int) -> str:
    """What making an artefact took, and what it takes to read."""
    blocks: dict[int, list[Any]] = {}
    for shard in range(SHARDS):
        for place, block in kind.sent(batches(shard, documents // SHARDS, lines)):
            blocks.setdefault(place, []).append(block)
    sent, largest = sum(len(one) for some in blocks.values() for one in some), max(blocks.items(), key=_bytes)
    _, joining = peak_of(lambda: kind.joined(largest[1]))
    with tempfile.TemporaryDirectory() as folder:
        url = f"{folder}/x.json"
        parts = [write_part(url, place, kind.joined(some)) for place, some in blocks.items()]
        write_parts(url, kind.bits, parts)
        rows, held = sum(part.rows for part in parts), peak_of(lambda: opened(kind, url))[1]
    return (
        f"{sent / count:.1f} bytes through the shuffle; {joining / _bytes(largest):.1f} times a place's blocks in memory; "
        f"{sum(part.size for part in parts) / max(1, rows):.0f} bytes a row of the parts, {held / max(1, rows):.0f} in a "
        f"reader's memory"
    )


def _bytes(item: tuple[int, list[Any]]) -> int:
    return sum(map(len, item[1]))


def opened(kind: Kind, url: str) -> Any:
    """As a scorer has it."""
    parted = read_parted(url)
    return (
        Counted(parted, 1) if isinstance(kind, Repeats) else Known(pa.concat_tables(parted.tables).unify_dictionaries())
    )


def peak_of(function: Callable[[], Any]) -> tuple[Any, int]:
    """What a function gives, and the most memory of NumPy's for it and of Arrow's, added up."""
    counting = pa.proxy_memory_pool(USUAL)
    COUNTING.append(counting)
    pa.set_memory_pool(counting)
    tracemalloc.start()
    made = function()
    peak = tracemalloc.get_traced_memory()[1] + (counting.max_memory() or 0)
    tracemalloc.stop()
    pa.set_memory_pool(USUAL)
    return made, peak


def batches(shard: int, documents: int, lines: int) -> Iterator[Good]:
    """A shard's documents, 1,000 at a time."""
    rng = np.random.default_rng(shard)
    for start in range(0, documents, 1000):
        rows = np.arange(start, min(documents, start + 1000))
        texts = [_text(rng, lines, documents) for _ in rows]
        yield Good("against", f"{shard}.jsonl", pa.record_batch({"text": texts}), rows)


def _text(rng: np.random.Generator, lines: int, documents: int) -> str:
    often = rng.integers(0, max(1, documents * lines // 10), lines)
    own = rng.integers(0, 2**63, lines)
    made = zip(often.tolist(), own.tolist(), range(lines), strict=True)
    return "\n".join(f"the line of number {a if i % 2 else b:x} has some words beside it" for a, b, i in made)


if __name__ == "__main__":
    main()
