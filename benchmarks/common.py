"""What the benchmarks share: pools of a stated size, timing in pairs, peak memory of a fresh process."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def text_pool(folder: Path, rows: int, shards: int, row_bytes: int) -> Path:
    """A Parquet pool of documents of about `row_bytes` bytes; made once, and found again by its numbers."""
    target = folder / f"text-{rows}-{shards}-{row_bytes}"
    if not target.exists():
        target.mkdir(parents=True)
        words = [f"w{i:04x}" for i in range(5000)]
        rng = random.Random(0)
        texts = [
            " ".join(rng.choices(words, k=max(1, int(row_bytes / 6 * rng.uniform(0.5, 1.5))))) for _ in range(2000)
        ]
        for shard in range(shards):
            n = rows // shards
            table = pa.table(
                {
                    "uid": [f"{shard:016x}{i:016x}" for i in range(n)],
                    "text": [texts[(shard * 7 + i) % len(texts)] for i in range(n)],
                    "width": np.random.default_rng(shard).integers(50, 900, n),
                }
            )
            pq.write_table(table, target / f"part-{shard:05d}.parquet", row_group_size=20_000, use_dictionary=False)
    return target


def scores_pool(folder: Path, rows: int, shards: int) -> Path:
    """A metadata-only pool: uid and one float32 score."""
    target = folder / f"scores-{rows}-{shards}"
    if not target.exists():
        target.mkdir(parents=True)
        for shard in range(shards):
            rng, n = np.random.default_rng(shard), rows // shards
            raw = rng.bytes(16 * n).hex()
            uids = [raw[32 * i : 32 * i + 32] for i in range(n)]
            score = rng.normal(0.2, 0.05, n).astype(np.float32)
            pq.write_table(pa.table({"uid": uids, "score": score}), target / f"part-{shard:05d}.parquet")
    return target


def pairs(first: Callable[[], object], second: Callable[[], object], runs: int) -> tuple[float, float, float]:
    """(median seconds of the first, of the second, median of first / second), run in turn so that drift cancels."""
    times = [(seconds(first), seconds(second)) for _ in range(runs)]
    a, b = zip(*times, strict=True)
    return statistics.median(a), statistics.median(b), statistics.median(x / y for x, y in times)


def seconds(work: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_fresh_process(code: str, *arguments: str) -> dict[str, float]:
    """Runs Python code in a new process; gives the JSON of its last line and `peak_mb`, its largest resident size."""
    tail = "\nimport resource; print(json.dumps({**result, 'peak_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))"
    done = subprocess.run(
        [sys.executable, "-c", "import json, sys\n" + code + tail, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
