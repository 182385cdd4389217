"""The job through Beam's portability layer: a job service and an external worker pool, in processes of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from poolsieve.dataflow.job import RecipeSource
from tests.conftest import fingerprint_of, run

RECIPE = '''
from __future__ import annotations
from dataclasses import dataclass
import pyarrow as pa
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, Top, col, scorer

@dataclass
class Weights:
    """A class of the recipe file, which no worker could import."""
    letter: float = 1.5

def weigh(text: pa.Array) -> pa.Array:
    return pa.array([None if t is None else len(t) * Weights().letter for t in text.to_pylist()])

def recipe(pool: str, least: int = 3):
    return (
        Pool.parquet(pool, uid="uid", text="text")
        | Keep(col("text").word_count() >= least, reason="caption.short")
        | Score(weight=scorer(weigh, reads=("text",), columns={"w": "float32"}))
        | Top("weight", fraction=0.4, of="pool")
        | Keep(col("clip") > 0.1, reason="clip.low")
    )
'''


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on port {port}")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[str]]:
    """Beam flags for a job service with an EXTERNAL pool of workers that start in another folder."""
    job, pool = free_port(), free_port()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    commands = [
        ["apache_beam.runners.portability.local_job_service_main", "-p", str(job)],
        ["apache_beam.runners.worker.worker_pool_main", f"--service_port={pool}"],
    ]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", *command],
            env={**os.environ, "PATH": path},
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=(tmp_path / f"{i}.log").open("w"),
            start_new_session=True,
        )
        for i, command in enumerate(commands)
    ]
    try:
        for port in (job, pool):
            wait_for(port)
        yield [
            f"--job_endpoint=localhost:{job}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{pool}",
        ]
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_same_ledger_through_a_job_service(
    pool: Path,
    tmp_path: Path,
    cluster: list[str],
    recipe_file: Callable[..., RecipeSource],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(pool.parent)  # relative paths must mean the same on a worker that runs from /
    source = recipe_file(RECIPE, pool="pool/*.parquet")
    run(source, tmp_path / "local")
    run(source, tmp_path / "portable", runner="portable", beam_flags=cluster)
    assert len(fingerprint_of(tmp_path / "local")) == 4
    assert fingerprint_of(tmp_path / "local") == fingerprint_of(tmp_path / "portable")
