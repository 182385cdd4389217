"""The command line as a user meets it, in processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from poolsieve.dataflow import fs
from tests import forked
from tests.conftest import fingerprint_of, write_pool

POOLSIEVE = str(Path(sys.executable).parent / "poolsieve")
RECIPE = """
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, Top, col, scorer
import os
import time

def slow(text):
    time.sleep(float(os.environ.get("SLOW", "0")))
    return [None if t is None else float(len(t)) for t in text.to_pylist()]

def recipe(pool: str, words: int = 3, fraction: float = 0.3):
    return (
        Pool.parquet(pool + "/*.parquet", uid="uid", text="text")
        | Keep(col("text").word_count() >= words, reason="caption.short")
        | Score(slow=scorer(slow, reads=("text",), columns={"x": "float32"}))
        | Top("clip", fraction=fraction, of="pool")
    )
"""

SLOWLY = {**os.environ, "SLOW": "0.05"}
"""For a run that is to be met before its end."""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.py"
    path.write_text(RECIPE)
    return path


def cli(*arguments: str | Path, status: int = 0, run: Callable[..., Any] = forked.run) -> str:
    done = run([POOLSIEVE, *map(str, arguments)], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


installed = partial(cli, run=subprocess.run)
"""As an interpreter starts it; `cli` forks, from a process that has Beam loaded."""


def frugally(arguments: list[str], *, timeout: float, **how: Any) -> subprocess.CompletedProcess[str]:
    """`forked.run` of a command that is killed when it has taken more of the processor than a refusal may."""
    with forked.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(process.pid, resource.RLIMIT_CPU, (15, 15))
        out, err = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def test_help_teaches_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from poolsieve.jobs.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'apache_beam', 'pyarrow', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "poolsieve run recipe.py --out OUT" in done.stdout
    for command in ("plan", "run", "decide", "export", "report", "prune"):
        assert len(installed(command, "--help")) > 200


def test_a_whole_story(recipe: Path, pool: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    common = (recipe, "-p", f"pool={pool}", "--out", out)
    planned = json.loads(_stdout("plan", *common, "--json"))
    assert planned["shards"] == 3
    assert planned["passes"][0]["shards"] == 3
    assert planned["stages"][0]["low"] < planned["stages"][0]["keeps"] < planned["stages"][0]["high"]
    assert "1200 rows in, 360 kept (30.00%)" in installed("run", *common)
    assert json.loads(_stdout("plan", *common, "--json"))["passes"][0]["shards"] == 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert (out / "decisions" / manifest["decision"] / "report.html").exists()
    looked = installed("decide", "--out", out, "-p", "words=8", "--what-if")
    assert "against the current decision" in looked
    assert json.loads((out / "manifest.json").read_text()) == manifest
    installed("decide", "--out", out, "-p", "words=8")
    assert json.loads((out / "manifest.json").read_text())["decision"] != manifest["decision"]
    assert "removed decisions/" in installed("prune", out, "--yes")
    assert "rows in 1 files" in installed("export", out)
    assert "report.html" in installed("report", out, "--no-samples")


def _stdout(*arguments: str | Path) -> str:
    done = subprocess.run([POOLSIEVE, *map(str, arguments)], capture_output=True, text=True, timeout=240, check=True)
    return done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "nothing.py", "--out", "o"), "no recipe file"),
        (("run", "recipe.txt", "--out", "o"), "a recipe is a .py or .yaml file"),
        (("run", "{recipe}", "--out", "o"), "needs pool: add -p pool=VALUE"),
        (("run", "{recipe}", "--out", "o", "-p", "pool"), "write NAME=VALUE"),
        (("run", "{recipe}", "--out", "o", "-p", "pol=x"), "no parameter 'pol'"),
        (("run", "{recipe}", "--out", "o", "-p", "pool=/nowhere"), "/nowhere"),
        (("run", "{recipe}", "--out", "{pool}/o", "-p", "pool={pool}", "--workers", "0"), "at least one worker"),
        (("run", "{recipe}", "--out", "o", "-p", "pool={pool}", "--runner", "spork"), "'spork' is not one of"),
        (("run", "{recipe}", "--out", "o", "-p", "pool={pool}", "-p", "fraction=15"), "fraction=0.15"),
        (("run", "{recipe}", "--out", "o", "-p", "pool={pool}", "--cuts", "no.json"), "no cuts file"),
        (
            ("run", "{recipe}", "--out", "o", "-p", "pool={pool}", "--part", "0/2", "--part", "1/2"),
            "--part is given twice",
        ),
        (("decide", "--out", "nothing"), "no manifest.json"),
        (("export", "nothing"), "no manifest.json"),
        (("prune", "nothing", "--yes"), "no manifest.json"),
    ],
)
def test_wrong_arguments_cost_seconds(
    arguments: tuple[str, ...], message: str, recipe: Path, pool: Path, tmp_path: Path
) -> None:
    filled = [a.format(recipe=recipe, pool=pool) if "{" in a else a for a in arguments]
    filled = [str(tmp_path / a) if a in ("o", "nothing") else a for a in filled]
    assert message in cli(*filled, status=2, run=frugally)
    assert not (tmp_path / "o").exists()


def test_killed_at_any_moment_it_goes_on(recipe: Path, tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "big", sizes=[300] * 12)
    common = (recipe, "-p", f"pool={pool}")
    installed("run", *common, "--out", tmp_path / "whole")
    random.seed()
    command = [POOLSIEVE, "run", *map(str, common), "--out", str(tmp_path / "killed")]
    for _ in range(3):
        process = forked.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=SLOWLY
        )
        time.sleep(random.uniform(0.2, 2.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        manifest = tmp_path / "killed" / "manifest.json"
        assert not manifest.exists() or json.loads(manifest.read_text())["rows"]["in"] == 3600
    cli("run", *common, "--out", tmp_path / "killed")
    assert fingerprint_of(tmp_path / "whole") == fingerprint_of(tmp_path / "killed")
    assert not list(tmp_path.rglob(f"{fs.TEMPORARY}*")), "the run that went on leaves nothing half-written"


def test_ctrl_c_leaves_a_resumable_run_and_says_so(recipe: Path, tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "big", sizes=[30] * 200)  # so many that a busy machine sees the first before the last
    common = (recipe, "-p", f"pool={pool}", "--out", tmp_path / "out")
    process = forked.Popen([POOLSIEVE, "run", *map(str, common)], stderr=subprocess.PIPE, text=True, env=SLOWLY)
    rows = tmp_path / "out" / "rows"
    end = time.monotonic() + 120
    while len(list(rows.glob("*.parquet"))) < 2 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=90)
    assert process.returncode == 130, said
    assert "the same command goes on" in said
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert "6000 rows in" in cli("run", *common)


def test_gaps_that_were_allowed_stay_known(pool: Path, tmp_path: Path) -> None:
    path = tmp_path / "gaps.py"
    path.write_text(
        "from poolsieve.dataflow import Pool\nfrom poolsieve.filters import Keep, col\n"
        "def recipe(pool: str, words: int = 3):\n"
        "    source = Pool.parquet(pool + '/part-{000..003}.parquet', uid='uid', text='text', allow_gaps=True)\n"
        "    return source | Keep(col('text').word_count() >= words, reason='caption.short')\n"
    )
    out = tmp_path / "out"
    assert "names of the range without a file: 1" in cli("run", path, "-p", f"pool={pool}", "--out", out)
    cli("decide", "--out", out, "-p", "words=5")
    cli("report", out)
    manifest = json.loads((out / "manifest.json").read_text())
    report = json.loads((out / "decisions" / manifest["decision"] / "report.json").read_text())
    assert manifest["pool"]["gaps"] == report["gaps"] == [f"{pool}/part-003.parquet"]


def test_workers_is_a_number_or_auto(recipe: Path, pool: Path, tmp_path: Path) -> None:
    common = ("run", recipe, "-p", f"pool={pool}", "--out", tmp_path / "out", "--workers")
    assert "'many' is neither a number nor auto" in cli(*common, "many", status=2)
    assert "rows in" in cli(*common, "auto")
