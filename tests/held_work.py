"""A small pool and a recipe whose workers wait to be let go, and runs of it as a user starts them."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow.leases import started_at
from poolsieve.dataflow.recipes.recipe import Pool
from poolsieve.filters import dedup
from tests import forked
from tests.conftest import run, write_pool

LIMIT = 900.0
"""Seconds after which something is taken to hang."""

RECIPE = '''
import os, time
from pathlib import Path
import pyarrow as pa
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, Top, col, scorer

FOLDER = "{folder}"

def hold() -> None:
    """Says who works here, and waits until it is let go."""
    Path(FOLDER, "at-work-" + str(os.getpid())).touch()
    while not os.path.exists(FOLDER + "/go"):
        time.sleep(0.05)
    if os.path.exists(FOLDER + "/fail"):
        raise MemoryError("no room")

def weigh(text: pa.Array) -> pa.Array:
    hold()
    return pa.array([None if t is None else len(t) * 1.5 for t in text.to_pylist()])

def longest(text: pa.Array) -> pa.Array:
    return pa.array([None if t is None else float(max(map(len, t.split()), default=0)) for t in text.to_pylist()])

def recipe(pool: str, cuts: int = 1):
    first = (
        Pool.parquet(pool, uid="uid", text="text")
        | Keep(col("text").word_count() >= 3, reason="caption.short")
        | Score(weight=scorer(weigh, reads=("text",), columns={{"w": "float32"}}))
        | Top("weight", fraction=0.6, of="pool")
    )
    if cuts < 2:
        return first
    second = scorer(longest, reads=("text",), columns={{"w": "float32"}})
    return first | Score(longest=second) | Top("longest", fraction=0.3, of="pool")
'''


def wait_until(true: Callable[[], Any], what: str) -> Any:
    until = time.monotonic() + LIMIT
    while not (found := true()):
        assert time.monotonic() < until, what
        time.sleep(0.1)
    return found


def fingerprint(out: str) -> dict[str, str]:
    """SHA-256 of every file that is the same on every runner: all but the report and what has times in it."""
    system, path = fsspec.core.url_to_fs(out)
    names = sorted(system.find(path))
    kept = [n for n in names if n.rpartition("/")[2] not in ("report.html", "report.json", "summary.json")]
    found = {n.partition(f"{path}/")[2]: hashlib.sha256(system.cat_file(n)).hexdigest() for n in kept}
    # What a killed run leaves for a moment is not what it made.
    return {name: digest for name, digest in found.items() if not name.startswith(("leases/", "runs/"))}


REPOSITORY = Path(__file__).parents[1]


def demo_gives_the_local_bytes(runner: str, folder: Path) -> None:
    """The demo's recipe with its tiny CLIP, as a new user runs it: where the demo's pool is, and with no flag but one."""
    pytest.importorskip("open_clip")
    script = [str(REPOSITORY / "recipes" / "demo" / "make_pool.py"), "demo/pool", "--rows", "160", "--shards", "4"]
    subprocess.run([sys.executable, *script], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    for out in ("local", runner):
        command = [
            str(Path(sys.executable).parent / "poolsieve"),
            "run",
            str(REPOSITORY / "recipes" / "datacomp_dfn.py"),
        ]
        where = [] if out == "local" else ["--runner", runner]
        done = subprocess.run(
            [*command, "--out", out, *where], cwd=folder, capture_output=True, text=True, timeout=LIMIT, check=False
        )
        assert done.returncode == 0, done.stderr
    found = fingerprint(str(folder / runner))
    assert {"manifest.json"} < set(found) and sum("ledger/" in name for name in found) == 4
    assert found == fingerprint(str(folder / "local"))


def rounds_give_the_local_bytes(runner: str, folder: Path) -> None:
    """Duplicates of a small pool, met by rounds as those of a large one, and gathered by one worker here."""
    rng = random.Random(2)
    bases = [" ".join("".join(rng.choices("abcdefgh", k=5)) for _ in range(150)) for _ in range(20)]
    texts = [text for base in bases for text in (base, base, f"{base} and more", f"so {base}")]
    rng.shuffle(texts)
    (folder / "pool").mkdir()
    for i in range(4):
        table = pa.table({"text": texts[i::4], "quality": [rng.random() for _ in texts[i::4]]})
        pq.write_table(table, folder / "pool" / f"{i}.parquet")
    pool = Pool.parquet(f"{folder}/pool/*.parquet", text="text", quality="quality")
    made = run(pool | dedup.minhash(best="quality"), folder / "local")
    assert made.reasons["dup.exact"] and made.reasons["dup.near"]
    run(pool | dedup.minhash(best="quality"), folder / runner, runner=runner, at_once=0)
    assert fingerprint(str(folder / runner)) == fingerprint(str(folder / "local"))


@dataclass
class Work:
    """A pool, a recipe that waits to be let go, and runs of it as a user starts them.

    `before` is what their command lines begin with, for runs that are to start elsewhere.
    """

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    before: Sequence[str] = ()

    def __post_init__(self) -> None:
        write_pool(self.folder / "pool", sizes=(60, 50, 40, 30))
        (self.folder / "recipe.py").write_text(RECIPE.format(folder=self.folder))

    def start(self, out: str, runner: str, *flags: str, cuts: int = 1) -> subprocess.Popen[str]:
        ours = [sys.executable, "-m", "poolsieve.jobs.cli", "run", "recipe.py", "--out", out, "--runner", runner]
        command = [*self.before, *ours]
        settings = ["-p", "pool=pool/*.parquet", "-p", f"cuts={cuts}", "--no-samples"]
        process = forked.Popen(
            [*command, *settings, "--", *flags],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "said.txt").open("w"),
            text=True,
        )
        self.started.append(process)
        return process

    def said(self) -> list[str]:
        """Lines on stderr but those of progress."""
        lines = (self.folder / "said.txt").read_text().splitlines()
        return [line for line in lines if line.startswith("poolsieve: ") or not line.startswith("poolsieve ")]

    def run(self, out: str, runner: str, *flags: str, cuts: int = 1) -> None:
        self.go()
        assert self.start(out, runner, *flags, cuts=cuts).wait(LIMIT) == 0, self.said()

    def at_work(self) -> list[int]:
        return [int(path.name.rpartition("-")[2]) for path in self.folder.glob("at-work-*")]

    def wait_for_work(self, client: subprocess.Popen[str]) -> int:
        """The pid of a worker that is in the middle of a shard."""

        def found() -> list[int]:
            assert client.poll() is None, self.said()
            return [pid for pid in self.at_work() if started_at(pid)]

        return int(wait_until(found, "no worker came to a shard")[0])

    def go(self) -> None:
        (self.folder / "go").touch()

    def fingerprint(self, out: str) -> dict[str, str]:
        return fingerprint(out if "://" in out else str(self.folder / out))

    def local(self, cuts: int = 1) -> dict[str, str]:
        out = f"local-{uuid.uuid4().hex[:6]}"
        self.run(out, "local", cuts=cuts)
        return self.fingerprint(out)

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()


def one_line(work: Work) -> str:
    said = work.said()
    assert len(said) == 1, said
    return said[0]
