"""What a pool of many small shards costs: plan, run, run again, decide and report, each in a process of its own.

    python benchmarks/shards.py --shards 1000 3000 10000 --descriptors 256

A shard has four short rows, so what is measured is what each shard costs beside its rows. Wall and CPU seconds are those
of the whole command, start of Python and Beam included; peak is the largest resident size. The exponent of a growth is
the slope of log(cost) over log(shards), by least squares: 1 where the cost of a shard stays the same. Milliseconds a
shard are those between the smallest pool and the largest, so that the start of a command is no part of them.
`--descriptors 256` runs everything with so few open files.

The bare loop is what Parquet alone costs: one thread reads a shard's file and writes those that a run writes for it
(rows, one for each scorer, the ledger), each flushed to the disk under a temporary name, with nothing between. Figures
are kept in the folder as they come (`figures-N.json`), so that a stopped measurement goes on with the next command;
`--anew` forgets them.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import itertools
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 4
"""Of a shard."""

BARE = "bare loop"

RECIPE = """
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, Top, col, scorer


def weight(text):
    return [float(sum(value.encode())) for value in text.to_pylist()]


def recipe(pool, fraction="0.3"):
    return (
        Pool.parquet(f"{pool}/**/*.parquet", uid="uid", text="text")
        | Keep(col("text").word_count() >= 4, reason="text.too_short")
        | Score(weight=scorer(weight, reads=("text",), columns={"weight": "float32"}))
        | Top("weight", fraction=fraction)
    )
"""


class Cost(NamedTuple):
    """What a command took."""

    wall: float
    cpu: float
    peak_mb: float


def tiny_pool(folder: Path, shards: int) -> Path:
    """Files of `ROWS` rows each, a thousand a folder; the same for the same number, made once."""
    target = folder / f"tiny-{shards}"
    if not (target / "whole").exists():
        shutil.rmtree(target, ignore_errors=True)
        rng = random.Random(0)
        for shard in range(shards):
            path = target / f"{shard // 1000:04d}" / f"part-{shard:06d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(_rows(shard, rng), path, compression="none", use_dictionary=False)
        (target / "whole").touch()
    return target


def _rows(shard: int, rng: random.Random) -> pa.Table:
    uids = [hashlib.blake2b(f"{shard} {row}".encode(), digest_size=16).hexdigest() for row in range(ROWS)]
    texts = [" ".join(f"w{rng.randrange(5000):04x}" for _ in range(rng.randint(2, 12))) for _ in range(ROWS)]
    return pa.table({"uid": uids, "text": texts})


def measured(arguments: Sequence[str], log: Path, descriptors: int) -> Cost:
    """Runs a command of poolsieve; its output goes to `log`.

    Raises:
        SystemExit: if it fails.
    """
    start = time.perf_counter()
    limits = functools.partial(resource.setrlimit, resource.RLIMIT_NOFILE, (descriptors, descriptors))
    with log.open("w") as file:
        command = [sys.executable, "-m", "poolsieve.jobs.cli", *arguments]
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, preexec_fn=limits)  # noqa: PLW1509
        _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{log.read_text()[-3000:]}")
    return Cost(time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def bare(pool: Path, out: Path, most: int = 1000) -> float:
    """CPU milliseconds a shard of a loop that does no more than read a shard and write a run's files of it again."""
    folders = [out / "rows", *(one for one in out.glob("scores/*") if one.is_dir()), *out.glob("decisions/*/ledger")]
    written = [sorted(folder.glob("*.parquet"))[:most] for folder in folders]
    tables = [[pq.read_table(path) for path in paths] for paths in written]
    read = sorted(pool.rglob("*.parquet"))[:most]
    with tempfile.TemporaryDirectory(dir=out) as folder:
        start = time.process_time()
        for path in read:
            pq.ParquetFile(path).read(use_threads=False)
        for number, table in enumerate(itertools.chain.from_iterable(tables)):
            _write(Path(folder) / f"{number}", table)
        return (time.process_time() - start) / len(read) * 1e3


def _write(path: Path, table: pa.Table) -> None:
    pq.write_table(table, f"{path}.tmp", compression="zstd", compression_level=1, use_dictionary=False)
    with open(f"{path}.tmp", "rb", buffering=0) as file:
        os.fsync(file.fileno())
    os.replace(f"{path}.tmp", path)


def commands(recipe: Path, pool: Path, out: Path) -> dict[str, list[str]]:
    """Name of a measure -> arguments of poolsieve."""
    made = [str(recipe), "--out", str(out), "-p", f"pool={pool}"]
    return {
        "plan": ["plan", *made],
        "run": ["run", *made],
        "run again": ["run", *made],
        "decide": ["decide", *made, "-p", "fraction=0.2"],
        "report": ["report", str(out)],
    }


def measure(folder: Path, shards: int, descriptors: int) -> dict[str, Cost]:
    """All measures of a pool of so many shards, those that are kept and those that are lacking."""
    pool, out, recipe = tiny_pool(folder, shards), folder / f"out-{shards}", folder / "recipe.py"
    kept = folder / f"figures-{shards}.json"
    found = {name: Cost(**cost) for name, cost in json.loads(kept.read_text()).items()} if kept.exists() else {}
    if "run" not in found:
        shutil.rmtree(out, ignore_errors=True)  # what a stopped run had scored would be no part of its figures
    recipe.write_text(RECIPE)
    for name, arguments in commands(recipe, pool, out).items():
        if name not in found:
            found[name] = measured(arguments, folder / "log.txt", descriptors)
            if name == "run":
                milliseconds = bare(pool, out)
                found[BARE] = Cost(0.0, milliseconds * shards / 1e3, 0.0)
            kept.write_text(json.dumps({name: cost._asdict() for name, cost in found.items()}))
        print(f"{shards:>8,} {name:10}", show(found[name]), flush=True)
    print(f"{shards:>8,} {BARE:10} CPU {found[BARE].cpu / shards * 1e3:8.2f} ms a shard", flush=True)
    shutil.rmtree(out, ignore_errors=True)
    return found


def show(cost: Cost) -> str:
    """One line."""
    return f"wall {cost.wall:8.1f} s   CPU {cost.cpu:8.1f} s   peak {cost.peak_mb:6.0f} MB"


def exponent(shards: Sequence[int], costs: Sequence[float]) -> float:
    """Slope of log(cost) over log(shards), by least squares."""
    return float(np.polyfit(np.log(shards), np.log(costs), 1)[0])


def growth(found: dict[int, dict[str, Cost]]) -> None:
    """Prints, as a table of `docs/scale.md`, what a shard costs between the smallest pool and the largest."""
    sizes = sorted(found)
    few, many = found[sizes[0]], found[sizes[-1]]
    between = sizes[-1] - sizes[0]
    least = many[BARE].cpu / sizes[-1] * 1e3
    print(f"\nBetween {sizes[0]:,} and {sizes[-1]:,} shards; the bare loop takes {least:.2f} ms of CPU a shard.\n")
    print("| command | CPU ms a shard | of the bare loop | wall ms a shard | KB a shard | peak MB | exponents |")
    print("|---|---:|---:|---:|---:|---:|---|")
    for name in (name for name in few if name != BARE):
        slopes = [exponent(sizes, [found[n][name][i] for n in sizes]) for i in range(3)]
        wall, cpu = ((many[name][i] - few[name][i]) / between * 1e3 for i in range(2))
        memory = (many[name].peak_mb - few[name].peak_mb) / between * 1024
        print(
            f"| {name} | {cpu:.2f} | {cpu / least:.1f} | {wall:.2f} | {memory:.1f} | {many[name].peak_mb:.0f} | "
            f"CPU {slopes[1]:.2f}, wall {slopes[0]:.2f}, peak {slopes[2]:.2f} |"
        )


def main() -> None:
    """Prints the costs of pools of several sizes, and how they grow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, nargs="+", default=[1000, 3000, 10_000], help="up to 100,000")
    parser.add_argument("--descriptors", type=int, default=1024, help="open files that a command may have")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "poolsieve-benchmarks")
    parser.add_argument("--anew", action="store_true", help="measure again what is kept")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    for shards in given.shards if given.anew else ():
        (given.folder / f"figures-{shards}.json").unlink(missing_ok=True)
    found = {shards: measure(given.folder, shards, given.descriptors) for shards in sorted(given.shards)}
    if len(found) > 1:
        growth(found)
    if given.json:
        costs = {shards: {name: cost._asdict() for name, cost in one.items()} for shards, one in found.items()}
        given.json.write_text(json.dumps(costs, indent=1))


if __name__ == "__main__":
    main()
