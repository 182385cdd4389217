"""What splitting a big file of JSON lines costs, against reading its bytes alone: processor seconds, best of three.

python benchmarks/splits.py --mb 256
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from poolsieve.dataflow import Pool


def write(path: Path, mb: int) -> None:
    """Lines of 200 to 6,000 bytes, from a seed."""
    rng = random.Random(0)
    some = [json.dumps({"id": i, "text": "word " * rng.randint(30, 1200)}).encode() for i in range(2000)]
    with path.open("wb") as file:
        while file.tell() < mb << 20:
            file.write(rng.choice(some) + b"\n")


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds, the best of three."""
    found = []
    for _ in range(3):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return min(found)


def read(path: Path) -> None:
    """Reads a file in blocks of a megabyte."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def main() -> None:
    """Prints both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=256)
    mb = parser.parse_args().mb
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.jsonl")
        write(path, mb)
        files = Pool.jsonl(str(path), text="text").with_split(None).located()
        (whole,) = Pool.jsonl(str(path), text="text", split_bytes=1 << 50).located().listing().shards
        pieces = files.reader.split(files, whole)
        took, bare = seconds(lambda: files.reader.split(files, whole)), seconds(lambda: read(path))
        print(f"{mb} MiB: {len(pieces)} pieces in {took:.2f} s of a core; its bytes alone {bare:.2f} s")


if __name__ == "__main__":
    main()
