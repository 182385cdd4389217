"""`examples/slurm.sh` as Slurm runs it: its tasks in processes of their own at once, one of them killed and done again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import poolsieve
from tests.conftest import write_pool
from tests.dataflow.parts.test_parts import files_of

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm.sh"

RECIPE = """
import os, time
import pyarrow as pa
from pathlib import Path
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, scorer, col

def slow(texts):
    started = time.monotonic()
    if os.environ.get("HANGS"):
        Path(os.environ["HANGS"]).touch()
        time.sleep(300)
    return {{"": pa.array([float(len(text)) for text in texts.to_pylist()], pa.float32())}}

recipe = (
    Pool.parquet("{pool}/*.parquet", uid="uid", text="text")
    | Score(s=scorer(slow, reads=("text",), columns={{"": "float32"}}))
    | Keep(col("s") >= 40)
)
"""

FIRST, LAST, STEP = 10, 30, 10


def started(what: str, tmp_path: Path, task: int | None = None, **more: str) -> subprocess.Popen[str]:
    """The script, in the environment that `sbatch --array=10-30:10` gives to a task of it."""
    array = {} if task is None else {"ID": task, "MIN": FIRST, "MAX": LAST, "COUNT": 3, "STEP": STEP}
    environ = {
        **os.environ,
        **{f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in array.items()},
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "RECIPE": str(tmp_path / "recipe.py"),
        "OUT": str(tmp_path / "out"),
        "PARTS": "slurm/5",
        "ROUNDS": "1",
        **more,
    }
    return subprocess.Popen(
        [SCRIPT, what], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path
    )


def ended(one: subprocess.Popen[str], status: int = 0) -> str:
    said, _ = one.communicate(timeout=400)
    assert one.returncode == status, said
    return said


def test_tasks_at_once_one_killed_and_done_again_give_the_files_of_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = write_pool(tmp_path / "pool", sizes=(120, 90, 150, 40, 300, 60))
    (tmp_path / "recipe.py").write_text(RECIPE.format(pool=pool))
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "poolsieve"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m poolsieve.jobs.cli "$@"\n')
    command.chmod(0o755)
    hangs = tmp_path / "hangs"
    going = {task: started("task", tmp_path, task) for task in (FIRST, LAST)}
    killed = started("task", tmp_path, FIRST + STEP, HANGS=str(hangs))
    deadline = time.monotonic() + 300
    while not hangs.exists():
        assert killed.poll() is None, killed.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    said = [ended(one) for one in going.values()]
    assert "part 0,3/5, pass 1 of 1" in said[0] and "part 2/5, pass 1 of 1" in said[1]

    told = ended(started("finish", tmp_path), status=3)
    assert f"poolsieve run {tmp_path}/recipe.py --out {tmp_path}/out --part 1,4/5" in told
    assert "parts 1,4 began and did not end" in told and "Traceback" not in told
    ended(started("task", tmp_path, FIRST + STEP))
    assert "manifest" in ended(started("finish", tmp_path))

    monkeypatch.chdir(tmp_path)  # which a recipe's text is kept with
    poolsieve.run(tmp_path / "recipe.py", tmp_path / "one")
    found = files_of(tmp_path / "out")
    # The lease of the killed task stays: it is dead, and whoever must be alone removes it.
    assert {name: file for name, file in found.items() if not name.startswith("leases/")} == files_of(tmp_path / "one")
